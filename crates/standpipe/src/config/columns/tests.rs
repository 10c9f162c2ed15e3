//! Schemas in the configuration and in files, good and bad.

use standpipe_convert::TableSchema;

use super::super::tests::{bad, good, load};

/// The columns as they are written.
fn written(schema: &TableSchema) -> Vec<String> {
    let columns = schema.columns().iter().map(|column| {
        let end = if column.required { " not null" } else { "" };
        format!("{} {}{end}", column.name, column.kind)
    });
    columns.collect()
}

/// The columns of a file.
fn of_file(text: &str) -> Result<Vec<String>, Vec<String>> {
    let main = "schemas: {lake.t: {file: ./t.json}}";
    load(&[("standpipe.yaml", main), ("t.json", text)]).map(|config| written(&config.schemas["lake.t"]))
}

#[test]
fn columns_keep_their_order_and_are_typed_as_in_hive() {
    let config = good(
        "schemas: { lake.flights: { columns: { year: int, tailnum: string not null, delays: \"struct<dep:double,arr:double>\" } } }",
    );
    let expected = ["year int", "tailnum string not null", "delays struct<dep:double,arr:double>"];
    assert_eq!(written(&config.schemas["lake.flights"]), expected);
}

#[test]
fn schemas_that_make_no_sense_are_refused_with_their_place() {
    bad(
        "schemas:\n  flights: {columns: {a: int}}\n  a.b: {columns: {a: int8}}\n  a.c: {columns: {a: int, A: int}}\n  a.d: {}\n  a.e: \
         {columns: {}}\n  a.f: {columns: {a: int}, file: x}\n  a.g: {file: missing.json}\n",
        &[
            "standpipe.yaml:2:12: schemas.flights: \"flights\" is no schema's name: database.table, without blanks",
            "standpipe.yaml:3:22: schemas.a.b.columns.a: 'int8' is not a type: boolean, tinyint, smallint, int, bigint, float, \
             double, decimal(p,s), string, char(n), varchar(n), date, timestamp, binary, array<t>, map<string,t> or \
             struct<name:t,…>",
            "standpipe.yaml:4:8: schemas.a.c: two columns are named 'A', or one has no name",
            "standpipe.yaml:5:8: schemas.a.d: give \"columns\", or a \"file\" that has them",
            "standpipe.yaml:6:8: schemas.a.e: 0 columns, allowed are 1 to 5000",
            "standpipe.yaml:7:34: schemas.a.f.file: give either \"columns\" or \"file\", not both",
            "missing.json: cannot read the file: No such file or directory (os error 2)",
        ],
    );
}

#[test]
fn a_table_of_glue_is_a_schema() {
    let table = r#"{"Table": {"Name": "t", "StorageDescriptor": {"Columns": [
	{"Name": "b", "Type": "bigint", "Comment": "x"}, {"Name": "a", "Type": "array<string>"}]},
	"PartitionKeys": [{"Name": "day", "Type": "date"}]}}"#;
    assert_eq!(of_file(table).unwrap(), ["b bigint", "a array<string>"]);
    let wrong = r#"{"Table": {"StorageDescriptor": {"Columns": [{"Name": "b", "Type": "uniontype<int>"}, {"Name": "c"}]}}}"#;
    let problems = of_file(wrong).unwrap_err();
    assert!(
        problems[0]
            .starts_with("t.json:1:46: Table.StorageDescriptor.Columns[0]: 'uniontype<int>' is not a type")
    );
    assert_eq!(problems[1], "t.json:1:87: Table.StorageDescriptor.Columns[1]: the key \"Type\" is missing");
}

#[test]
fn an_arrow_schema_is_a_schema() {
    let field = |name: &str, kind: &str, children: &str| {
        format!(r#"{{"name": "{name}", "nullable": true, "type": {kind}, "children": [{children}]}}"#)
    };
    let int =
        |bits: u8, signed: bool| format!(r#"{{"name": "int", "bitWidth": {bits}, "isSigned": {signed}}}"#);
    let utf8 = r#"{"name": "utf8"}"#;
    let members = [field("k", utf8, ""), field("v", &int(32, true), "")].join(", ");
    let fields = [
        field("a", &int(8, true), ""),
        field("b", &int(8, false), ""),
        field("c", &int(32, false), ""),
        field("d", r#"{"name": "floatingpoint", "precision": "SINGLE"}"#, ""),
        field("e", r#"{"name": "decimal", "precision": 9, "scale": 2}"#, ""),
        field("f", r#"{"name": "timestamp", "unit": "NANOSECOND", "timezone": "UTC"}"#, ""),
        field("g", r#"{"name": "date", "unit": "DAY"}"#, ""),
        field("h", r#"{"name": "list"}"#, &field("item", r#"{"name": "binary"}"#, "")),
        field(
            "i",
            r#"{"name": "map", "keysSorted": false}"#,
            &field("entries", r#"{"name": "struct"}"#, &members),
        ),
        field("j", r#"{"name": "struct"}"#, &members),
        field("k", r#"{"name": "bool"}"#, "").replace("true", "false"),
    ];
    let schema = format!(r#"{{"fields": [{}], "metadata": []}}"#, fields.join(", "));
    let expected = [
        "a tinyint",
        "b smallint",
        "c bigint",
        "d float",
        "e decimal(9,2)",
        "f timestamp",
        "g date",
        "h array<binary>",
        "i map<string,int>",
        "j struct<k:string,v:int>",
        "k boolean not null",
    ];
    assert_eq!(of_file(&schema).unwrap(), expected);
    for (kind, expect) in [
        (int(64, false), "there is no type for unsigned numbers of 64 bits"),
        (
            r#"{"name": "floatingpoint", "precision": "HALF"}"#.to_owned(),
            "there is no type for numbers of precision HALF",
        ),
        (
            r#"{"name": "timestamp", "timezone": "Europe/Vienna"}"#.to_owned(),
            "a timestamp is in UTC, not in Europe/Vienna",
        ),
        (r#"{"name": "list"}"#.to_owned(), "there is no child 0 under \"children\""),
        (r#"{"name": "struct"}"#.to_owned(), "the name of a member should stand before '>'"),
        (r#"{"name": "union"}"#.to_owned(), "there is no type for Arrow's union"),
    ] {
        let schema = format!(r#"{{"fields": [{}]}}"#, field("a", &kind, ""));
        assert_eq!(of_file(&schema).unwrap_err(), [format!("t.json:1:13: fields[0]: {expect}")], "{kind}");
    }
}

#[test]
fn a_json_schema_is_a_schema() {
    let schema = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/Row",
        "$defs": {
            "Row": {"type": "object", "required": ["id", "when", "maybe"], "properties": {
                "id": {"type": "integer", "minimum": 0}, "n": {"type": "integer", "format": "int32"},
                "when": {"type": "string", "format": "date-time"}, "day": {"type": "string", "format": "date"},
                "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                "raw": {"type": ["string", "null"], "contentEncoding": "base64"},
                "on": {"type": "boolean"}, "ratio": {"type": "number", "format": "float"},
                "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
                "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
                "place": {"$ref": "#/$defs/a~1b"}
            }},
            "a/b": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}}
        }
    }"##;
    let expected = [
        "id bigint not null",
        "n int",
        "when timestamp not null",
        "day date",
        "maybe double",
        "raw binary",
        "on boolean",
        "ratio float",
        "tags array<string>",
        "counts map<string,bigint>",
        "place struct<x:double,y:double>",
    ];
    assert_eq!(of_file(schema).unwrap(), expected);
}

#[test]
fn what_json_schema_says_and_no_column_can_be_is_refused_by_name() {
    let depth = "properties.a: types may be nested 32 deep";
    for (property, expect) in [
        (r#"{"allOf": []}"#, "properties.a: allOf is not supported: a column has one type"),
        (
            r#"{"type": ["string", "integer"]}"#,
            "properties.a: it needs one \"type\", and may have null beside it",
        ),
        (r#"{"enum": ["x"]}"#, "properties.a: it needs one \"type\", and may have null beside it"),
        (
            r#"{"oneOf": [{"type": "string"}, {"type": "integer"}]}"#,
            "properties.a: of several types only one, and null beside it, can be a column's",
        ),
        (r#"{"type": "array"}"#, "properties.a: the array has no \"items\""),
        (
            r#"{"type": "object", "additionalProperties": true}"#,
            "properties.a: the object has neither \"properties\" nor a schema of \"additionalProperties\"",
        ),
        (r##"{"$ref": "#/$defs/No"}"##, "properties.a: \"#/$defs/No\" refers to nothing in this file"),
        (r#"{"$ref": "other.json"}"#, "properties.a: \"other.json\" refers to nothing in this file"),
        (r##"{"$ref": "#/properties/a"}"##, depth),
        (r#"{"type": "text"}"#, "properties.a: \"text\" is not a type of JSON Schema"),
    ] {
        let schema = format!(r#"{{"type": "object", "properties": {{"a": {property}}}}}"#);
        assert_eq!(of_file(&schema).unwrap_err(), [format!("t.json:1:40: {expect}")], "{property}");
    }
    // One that holds itself has no end.
    let looped = r##"{"properties": {"a": {"type": "array", "items": {"$ref": "#/properties/a"}}}}"##;
    assert!(of_file(looped).unwrap_err()[0].ends_with("types may be nested 32 deep"));
    assert_eq!(
        of_file("{\"name\": \"t\"}").unwrap_err(),
        [
            "t.json:1:1: it has neither the \"fields\" of an Arrow schema, nor the \"properties\" of a JSON Schema, nor the \"Table\" of Glue"
        ]
    );
}

#[test]
fn a_schema_of_many_columns_is_read() {
    let columns: Vec<String> =
        (0..2_000).map(|n| format!(r#""column_{n}": {{"type": ["integer", "null"]}}"#)).collect();
    let schema = format!(r#"{{"properties": {{{}}}}}"#, columns.join(",\n\t"));
    assert_eq!(of_file(&schema).unwrap().len(), 2_000);
}
