"""Reads a table with pyiceberg, and prints in JSON what a query of DuckDB finds in it, which calls it `t`: the catalog's
address, the store's with key and secret, the table, and the query."""

import json
import sys

import duckdb
from pyiceberg.catalog.rest import RestCatalog

uri, endpoint, access_key_id, secret_access_key, table, query = sys.argv[1:]
catalog = RestCatalog(
    "catalog",
    **{
        "uri": uri,
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        "s3.endpoint": endpoint,
        "s3.access-key-id": access_key_id,
        "s3.secret-access-key": secret_access_key,
        "s3.region": "us-east-1",
    },
)
t = catalog.load_table(table).scan().to_arrow()
print(json.dumps(duckdb.sql(query).fetchall(), default=str))
