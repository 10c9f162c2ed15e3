//! The coercions of both deserializers, and what a record that fails leaves behind: nothing.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::schema::Column;

fn table(columns: &[(&str, &str)]) -> TableSchema {
    let columns = columns.iter().map(|(name, kind)| Column::parse(name, kind).expect(kind));
    TableSchema::new(columns.collect()).expect("a good table")
}

fn strict() -> Deserializer {
    Deserializer::Hive { timestamp_formats: Vec::new() }
}

/// The rows of the column `c`, as arrow prints them, or why there are none.
fn read(kind: &str, deserializer: &Deserializer, record: &str) -> Result<Vec<String>, String> {
    let mut reader = RowReader::new(&table(&[("c", kind)]), deserializer);
    reader.push(record.as_bytes()).map_err(|error| error.to_string())?;
    let batch = reader.finish().expect("the columns fit");
    let options = arrow_cast::display::FormatOptions::default().with_null("null");
    let shown = arrow_cast::display::ArrayFormatter::try_new(batch.column(0), &options).expect("it prints");
    Ok((0..batch.num_rows()).map(|row| shown.value(row).to_string()).collect())
}

fn openx(kind: &str, value: &str) -> Result<String, String> {
    read(kind, &Deserializer::default(), &format!("{{\"c\":{value}}}")).map(|mut rows| rows.remove(0))
}

fn hive(kind: &str, value: &str) -> Result<String, String> {
    read(kind, &strict(), &format!("{{\"c\":{value}}}")).map(|mut rows| rows.remove(0))
}

#[test]
fn openx_coerces_what_it_can() {
    for (kind, value, expected) in [
        ("boolean", "true", "true"),
        ("boolean", "\"FALSE\"", "false"),
        ("tinyint", "-128", "-128"),
        ("smallint", "\"7\"", "7"),
        ("int", "1.0", "1"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("float", "\"1.5\"", "1.5"),
        ("double", "1e3", "1000.0"),
        ("decimal(10,2)", "12.345", "12.35"),
        ("decimal", "\"12\"", "12"),
        ("string", "12.50", "12.50"),
        ("string", "true", "true"),
        ("string", "{\"A\": [1, null], \"b\": \"x\\n\"}", "{\"a\":[1,null],\"b\":\"x\\n\"}"),
        ("char(2)", "\"äöü\"", "äö"),
        ("varchar(3)", "12345", "123"),
        ("date", "\"2020-1-2\"", "2020-01-02"),
        ("timestamp", "\"2020-01-02T03:04:05.6Z\"", "2020-01-02T03:04:05.600"),
        ("timestamp", "1577934245.5", "2020-01-02T03:04:05.500"),
        ("timestamp", "\"1577934245000\"", "2020-01-02T03:04:05"),
        ("binary", "\"hi\"", "6869"),
        ("array<int>", "7", "[7]"),
        ("array<int>", "[1, \"2\", null]", "[1, 2, null]"),
        ("map<string,int>", "{\"Ab\": 1}", "{ab: 1}"),
        ("map<string,int>", "{\"Ab\": 1, \"c\": 2, \"aB\": 3}", "{c: 2, ab: 3}"),
        (
            "array<map<string,array<int>>>",
            "[{\"a\": [1], \"a\": [2], \"A\": [3]}, {\"a\": []}]",
            "[{a: [3]}, {a: []}]",
        ),
        ("struct<A:int,b:string>", "{\"a\": 1, \"B\": \"x\"}", "{A: 1, b: x}"),
        ("struct<a:int,b:string>", "[1, \"x\", 9]", "{a: 1, b: x}"),
        ("struct<a:int,b:array<string>>", "{\"b\": []}", "{a: null, b: []}"),
        ("int", "null", "null"),
        ("struct<a:int>", "null", "null"),
    ] {
        assert_eq!(openx(kind, value).as_deref(), Ok(expected), "{value} as {kind}");
    }
}

#[test]
fn of_many_keys_of_a_map_that_come_twice_the_last_counts() {
    let entries = |numbers: std::ops::Range<u32>| {
        numbers.map(|number| format!("\"{}{}\": {number}", if number < 50 { 'K' } else { 'k' }, number % 50))
    };
    let given = format!("{{{}}}", entries(0..100).collect::<Vec<_>>().join(", "));
    let expected = format!("{{{}}}", entries(50..100).collect::<Vec<_>>().join(", ")).replace('"', "");
    assert_eq!(openx("map<string,int>", &given), Ok(expected));
}

proptest! {
    #[test]
    fn floats_keep_every_bit(bits: u64, single: u32) {
        let (double, single) = (f64::from_bits(bits), f32::from_bits(single));
        let table = table(&[("d", "double"), ("s", "float")]);
        let mut reader = RowReader::new(&table, &Deserializer::default());
        prop_assume!(double.is_finite() && single.is_finite());
        for row in [format!(r#"{{"d":{double},"s":{single}}}"#), format!(r#"{{"d":"{double:e}","s":{single:e}}}"#)] {
            reader.push(row.as_bytes()).unwrap();
        }
        let rows = reader.finish().unwrap();
        let doubles = rows.column(0).as_primitive::<Float64Type>();
        let singles = rows.column(1).as_primitive::<Float32Type>();
        for row in 0..2 {
            prop_assert_eq!(doubles.value(row).to_bits(), double.to_bits());
            prop_assert_eq!(singles.value(row).to_bits(), single.to_bits());
        }
    }
}

#[test]
fn what_does_not_fit_is_said_with_its_column() {
    let lead = "Data does not match the schema. ";
    for (kind, value, expected) in [
        ("int", "\"oops\"", "For input string: \"oops\" (column c)"),
        ("int", "2147483648", "For input string: \"2147483648\" (column c)"),
        ("int", "1.5", "For input string: \"1.5\" (column c)"),
        ("boolean", "1", "For input string: \"1\" (column c)"),
        ("decimal(3,0)", "1000", "For input string: \"1000\" (column c)"),
        ("timestamp", "\"yesterday\"", "For input string: \"yesterday\" (column c)"),
        ("date", "20200101", "For input string: \"20200101\" (column c)"),
        ("struct<a:int>", "\"v\"", "Data is not JSONObject  but java.lang.String with value v (column c)"),
        ("struct<a:struct<b:int>>", "{\"a\":{\"b\":\"x\"}}", "For input string: \"x\" (column c.a.b)"),
        ("map<string,int>", "5", "Data is not JSONObject  but java.lang.Integer with value 5 (column c)"),
        (
            "int",
            "[1]",
            "One or more fields have incorrect format. Exception when validating field (root) (column c)",
        ),
        ("int not null", "null", "A value is required. (column c)"),
    ] {
        assert_eq!(openx(kind, value), Err(format!("{lead}{expected}")), "{value} as {kind}");
    }
    for (kind, value, expected) in [
        ("array<int>", "7", "Start of Array expected"),
        ("struct<a:int>", "[1]", "Start of Object expected"),
        ("map<string,int>", "7", "Start of Object expected"),
        ("int", "\"7\"", "Current token (VALUE_STRING) not numeric, can not use numeric value accessors"),
        (
            "string",
            "{\"a\":1}",
            "One or more fields have incorrect format. Exception when validating field (root)",
        ),
        ("timestamp", "\"2020-01-02T03:04:05\"", "For input string: \"2020-01-02T03:04:05\""),
        ("timestamp", "1577934245", "For input string: \"1577934245\""),
    ] {
        assert_eq!(hive(kind, value), Err(format!("{lead}{expected} (column c)")), "{value} as {kind}");
    }
    assert_eq!(hive("timestamp", "\"2020-01-02 03:04:05\"").as_deref(), Ok("2020-01-02T03:04:05"));
    assert_eq!(hive("string", "5").as_deref(), Ok("5"));
    assert_eq!(hive("map<string,int>", "{\"Ab\": 1}").as_deref(), Ok("{Ab: 1}"), "keys stay as they are");
}

#[test]
fn records_are_documents_one_behind_the_other() {
    let deserializer = Deserializer::default();
    let rows = |record| read("int", &deserializer, record);
    let own = |rows: &[&str]| Ok(rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>());
    assert_eq!(rows("{\"c\":1}{\"c\":2}\n {\"d\":3} "), own(&["1", "2", "null"]));
    assert_eq!(rows("[4, 5]"), own(&["4"]), "by position");
    for (record, expected) in [
        ("", "The record was empty or contained only whitespace."),
        (" \n", "The record was empty or contained only whitespace."),
        (
            "5",
            "The input JSON contained a primitive at the top level. The top level must be an object or array.",
        ),
        (
            "null",
            "The input JSON contained a primitive at the top level. The top level must be an object or array.",
        ),
    ] {
        assert_eq!(rows(record), Err(expected.to_owned()), "{record}");
    }
    for record in ["{", "{\"c\":1", "{\"c\":1}}", "{\"c\" 1}", "nope", "{\"c\":01}", "{\"c\":\"\u{1}\"}"] {
        let error = rows(record).expect_err(record);
        assert!(error.starts_with("Encountered malformed JSON. "), "{record}: {error}");
    }
    let deep = format!("{{\"d\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(rows(&deep).is_err(), "it ends");
}

#[test]
fn keys_are_compared_and_mapped_as_asked_for() {
    let table = table(&[("year", "int"), ("a_b", "int"), ("ts", "int")]);
    let first = |deserializer: &Deserializer, record: &str| -> Vec<Option<i32>> {
        let mut reader = RowReader::new(&table, deserializer);
        reader.push(record.as_bytes()).expect("it fits");
        let batch = reader.finish().expect("the columns fit");
        batch
            .columns()
            .iter()
            .map(|column| column.as_primitive::<arrow_array::types::Int32Type>().iter().next().flatten())
            .collect()
    };
    let record = r#"{"YEAR": 1, "a.b": 2, "timestamp": 3, "year": 4}"#;
    assert_eq!(first(&Deserializer::default(), record), [Some(4), None, None], "the last one counts");
    let mappings = BTreeMap::from([("ts".to_owned(), "timestamp".to_owned())]);
    let openx = OpenX { case_insensitive: false, dots_to_underscores: true, mappings };
    assert_eq!(first(&Deserializer::OpenX(openx), record), [Some(4), Some(2), Some(3)]);
    assert_eq!(first(&strict(), record), [Some(4), None, None]);
}

#[test]
fn a_record_that_fails_leaves_nothing_behind() {
    let table = table(&[
        ("id", "bigint"),
        ("s", "string"),
        ("l", "array<struct<a:int,m:map<string,string>>>"),
        ("b", "boolean"),
        ("n", "struct<x:array<int>>"),
    ]);
    let good = |id: i64| {
        format!(
            r#"{{"id":{id},"s":"s{id}","l":[{{"a":{id},"m":{{"k":"v"}}}}],"b":true,"n":{{"x":[1,null]}}}}"#
        )
    };
    let bad = [
        r#"{"id":1,"s":"x","l":[{"a":1,"m":{"k":"v","j":{"#,
        r#"{"id":1,"l":[{"a":1},{"a":"x"}]}"#,
        r#"{"id":1,"b":true,"n":{"x":[1,2,"x"]}}"#,
        r#"{"id":1,"s":null,"l":null}{"id":"x"}"#,
    ];
    let (mut reader, mut alone) =
        (RowReader::new(&table, &Deserializer::default()), RowReader::new(&table, &Deserializer::default()));
    for id in 0..200 {
        assert_eq!(reader.push(good(id).as_bytes()), Ok(1));
        assert_eq!(alone.push(good(id).as_bytes()), Ok(1));
        reader.push(bad[id as usize % bad.len()].as_bytes()).expect_err("it does not fit");
    }
    let (batch, expected): (RecordBatch, RecordBatch) =
        (reader.finish().expect("they fit"), alone.finish().expect("they fit"));
    assert_eq!(batch, expected);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values()[199], 199);
    assert_eq!((reader.rows(), reader.push(b"{}")), (0, Ok(1)), "it goes on");
}

#[test]
fn a_record_that_says_little_of_many_columns_very_often_is_refused() {
    let columns: Vec<(String, &str)> = (0..1_000).map(|number| (format!("c{number}"), "bigint")).collect();
    let columns: Vec<(&str, &str)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let table = table(&columns);
    assert_eq!(RowPlan::new(&table, &Deserializer::default()).row_bytes(), 8_000);
    let mut reader = RowReader::new(&table, &Deserializer::default());
    assert_eq!(reader.push("{}".repeat(2_000).as_bytes()), Ok(2_000));
    let error = reader.push("{}".repeat(100_000).as_bytes()).expect_err("800 MB of nulls");
    assert_eq!(
        error.to_string(),
        "Data does not match the schema. The record comes to too many rows or items."
    );
    assert_eq!(reader.rows(), 2_000);
}

#[test]
fn a_key_is_one_column() {
    let table = table(&[("a", "int"), ("ts", "int"), ("when", "int"), ("x_y", "int"), ("x.y", "int")]);
    let check =
        |openx| RowReader::check(&table, &Deserializer::OpenX(openx)).map_err(|error| error.to_string());
    assert_eq!(check(OpenX::default()), Ok(()));
    let mapped = |column: &str, key: &str| OpenX {
        mappings: BTreeMap::from([(column.to_owned(), key.to_owned())]),
        ..OpenX::default()
    };
    let twice = "the key 'ts' would be column 'ts' and column 'when'";
    assert_eq!(check(mapped("when", "TS")), Err(twice.to_owned()));
    assert_eq!(check(mapped("gone", "a")), Err("mappings: there is no column 'gone'".to_owned()));
    let dots = OpenX { dots_to_underscores: true, ..OpenX::default() };
    assert_eq!(check(dots), Err("the key 'x_y' would be column 'x_y' and column 'x.y'".to_owned()));
}
