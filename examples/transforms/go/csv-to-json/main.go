// A handler for the Lambda contract in Go: each record is a line of CSV, and comes out as a JSON object with the names
// in the environment variable COLUMNS. Empty lines are dropped, lines of another length fail.
//
//	GOOS=wasip1 GOARCH=wasm go build -o csv-to-json.wasm
package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"log"
	"os"
	"strings"
)

type event struct {
	Records []struct {
		RecordID string `json:"recordId"`
		Data     []byte `json:"data"`
	} `json:"records"`
}

type response struct {
	Records []record `json:"records"`
}

type record struct {
	RecordID string `json:"recordId"`
	Result   string `json:"result"`
	Data     []byte `json:"data,omitempty"`
}

func main() {
	var in event
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		log.Fatal(err)
	}
	columns := strings.Split(os.Getenv("COLUMNS"), ",")
	var out response
	for _, r := range in.Records {
		out.Records = append(out.Records, transform(r.RecordID, r.Data, columns))
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		log.Fatal(err)
	}
}

func transform(id string, data []byte, columns []string) record {
	if len(bytes.TrimSpace(data)) == 0 {
		return record{RecordID: id, Result: "Dropped"}
	}
	fields, err := csv.NewReader(bytes.NewReader(data)).Read()
	if err != nil || len(fields) != len(columns) {
		return record{RecordID: id, Result: "ProcessingFailed", Data: data}
	}
	object := make(map[string]string, len(columns))
	for i, column := range columns {
		object[column] = fields[i]
	}
	line, _ := json.Marshal(object)
	return record{RecordID: id, Result: "Ok", Data: line}
}
