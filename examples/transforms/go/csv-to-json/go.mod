module standpipe.example/csv-to-json

go 1.24
