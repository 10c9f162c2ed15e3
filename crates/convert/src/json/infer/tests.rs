//! What values come to, alone and together, and the bounds.

use super::*;
use crate::RowReader;

fn of(records: &[&str]) -> Inferred {
    let mut inferred = Inferred::default();
    for record in records {
        inferred.add(record.as_bytes()).expect(record);
    }
    inferred
}

/// The columns of the proposed schema, which takes the records.
fn columns(records: &[&str]) -> Vec<String> {
    let schema = of(records).schema().expect("a schema");
    let mut reader = RowReader::new(&schema, &Deserializer::default());
    for record in records {
        reader.push(record.as_bytes()).expect(record);
    }
    let columns = schema.columns().iter();
    columns
        .map(|Column { name, kind, .. }| {
            assert_eq!(kind.to_string().parse().as_ref(), Ok(kind));
            format!("{name} {kind}")
        })
        .collect()
}

#[test]
fn values_widen_and_what_fits_nothing_else_is_a_string() {
    for (values, expected) in [
        (&["null"][..], "string"),
        (&["true", "null"], "boolean"),
        (&["1", "-2147483648"], "int"),
        (&["2147483648", "1"], "bigint"),
        (&["1", "9223372036854775808"], "decimal(38,0)"),
        (&["99999999999999999999999999999999999999", "2147483648"], "decimal(38,0)"),
        (&["999999999999999999999999999999999999999", "1"], "string"),
        (&["1", "1.5"], "double"),
        (&["1e3", "2147483648"], "double"),
        (&["1.5", "9223372036854775808"], "string"),
        (&["1e400"], "string"),
        (&["1", "true"], "string"),
        (&["1", "\"1\""], "string"),
        (&["\"2020-1-2\"", "null", "\"1999-12-31\""], "date"),
        (&["\"2020-01-02T03:04:05.6Z\"", "\"2020-1-2 3:4:5\""], "timestamp"),
        (&["\"2020-01-02\"", "\"2020-01-02 03:04:05\""], "string"),
        (&["\"2020-02-30\""], "string"),
        (&["\"2020-01-02\"", "\"\""], "string"),
        (&["[]", "[null]"], "array<string>"),
        (&["[1, null]", "[]", "[2.5]"], "array<double>"),
        (&["[[1], []]", "null"], "array<array<int>>"),
        (&["[1]", "1"], "string"),
        (&["[1]", "{\"a\": 1}"], "string"),
        (&["{}", "null"], "string"),
        (&["{}", "{\"b\": 1, \"A\": null}", "{\"B\": 0.5}"], "struct<b:double,a:string>"),
        (&["{\"a.b\": {\"c d\": true}}"], "struct<a.b:struct<c d:boolean>>"),
        (&["{\"a:b\": 1}"], "string"),
        (&["{\" a\": 1}"], "string"),
        (&["{\"\": 1}"], "string"),
        (&["[{\"a\": 1}, {\"b\": [\"x\"]}]"], "array<struct<a:int,b:array<string>>>"),
    ] {
        let records = values.iter().map(|value| format!("{{\"c\":{value}}}")).collect::<Vec<_>>();
        let mut records: Vec<&str> = records.iter().map(String::as_str).collect();
        for _ in ["as they came", "turned round"] {
            assert_eq!(columns(&records), [format!("c {expected}")], "{records:?}");
            records.reverse();
        }
    }
}

#[test]
fn columns_are_as_first_seen_in_lower_case_with_their_dots() {
    let records = [
        r#"{"Year": 1, "a.B": "x", "": 2} {"ÄÖ": true}"#,
        r#"{"day": null, "year": 2, "DAY": 3, "day": "x"}"#,
    ];
    assert_eq!(columns(&records), ["year int", "a.b string", "äö boolean", "day string"]);
}

#[test]
fn a_record_that_is_none_leaves_nothing_behind() {
    let mut inferred = of(&[r#"{"a": 1}"#]);
    assert_eq!(inferred.add(b"{\"a\": 1}{\"a\": 2}\n"), Ok(2));
    for record in
        ["", " \n", "1", "\"x\"", "tru", "[1]", "{\"b\": 1", r#"{"a": "x"} nonsense"#, r#"{"a": "x"}[1]"#]
    {
        assert!(inferred.add(record.as_bytes()).is_err(), "{record}");
    }
    assert!(inferred.add(b"{\"b\": \"\xff\"}").is_err());
    let schema = inferred.schema().expect("a schema");
    assert_eq!(schema.columns(), [Column::parse("a", "int").expect("a column")]);
}

#[test]
fn there_are_bounds_of_columns_members_and_depth() {
    assert_eq!(of(&["{}", r#"{"": 1}"#]).schema(), Err(SchemaError::Columns(0)));
    let object = |count: usize| {
        let members: Vec<String> = (0..count).map(|number| format!("\"k{number}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(columns(&[&object(COLUMNS_MAX)]).len(), COLUMNS_MAX);
    let many = of(&[&object(COLUMNS_MAX + 9)]);
    assert_eq!(many.schema(), Err(SchemaError::Columns(COLUMNS_MAX + 1)));
    let within = format!("{{\"c\":{}}}", object(COLUMNS_MAX + 1));
    assert_eq!(columns(&[&within]), ["c string"]);
    let nested =
        |depth: usize, value: &str| format!("{{\"c\":{}{value}{}}}", "[".repeat(depth), "]".repeat(depth));
    let arrays =
        |depth: usize, kind: &str| [format!("c {}{kind}{}", "array<".repeat(depth), ">".repeat(depth))];
    assert_eq!(columns(&[&nested(DEPTH_MAX, "1")]), arrays(DEPTH_MAX, "int"));
    assert_eq!(columns(&[&nested(DEPTH_MAX + 1, "1")]), arrays(DEPTH_MAX, "string"));
    assert_eq!(columns(&[&nested(200, "1")]), arrays(DEPTH_MAX, "string"));
    assert_eq!(columns(&[&nested(200, "1"), &nested(0, "1")]), ["c string"]);
    let skipped = nested(200, "1").replace("\"c\"", "\"\"");
    assert_eq!(columns(&[&skipped, r#"{"c":1}"#]), ["c int"]);
    assert!(Inferred::default().add(nested(201, "1").as_bytes()).is_err());
}

/// What becomes of a schema, with at most so many names, and how often a key was left out.
fn beyond(columns: &[&str], names_max: usize, values: &[&str]) -> (Vec<String>, u64) {
    let column = |text: &&str| {
        let (name, kind) = text.split_once(' ').expect("a name and a type");
        Column::parse(name, kind).expect(kind)
    };
    let base = TableSchema::try_from(columns.iter().map(column).collect::<Vec<_>>()).expect("a schema");
    let whole = |values: &[&str]| {
        let beginning = Inferred::beyond(&base, &Deserializer::default(), names_max);
        let mut news = News::new(&beginning, RowReader::new(&base, &Deserializer::default()));
        values.iter().for_each(|value| news.look(value.as_bytes()));
        news.seen().unwrap_or(beginning)
    };
    let inferred = whole(values);
    // Seen in parts it is the same, and what was seen again adds nothing.
    let mut joined = Inferred::beyond(&base, &Deserializer::default(), names_max);
    values.iter().for_each(|value| joined.join(whole(&[value])));
    let evolved = inferred.evolved().expect("a schema");
    assert_eq!(joined.evolved().expect("a schema"), evolved, "{values:?}");
    let mut again = Inferred::beyond(&evolved, &Deserializer::default(), names_max);
    again.join(joined);
    assert_eq!(again.evolved().expect("a schema"), evolved, "{values:?}");
    let text = |column: &Column| format!("{} {}", column.name, column.kind);
    (evolved.columns().iter().map(text).collect(), inferred.left_out())
}

#[test]
fn a_schema_evolves_by_what_readers_of_earlier_files_take_and_by_nothing_else() {
    for (columns, values, expected) in [
        // New names come last; what says nothing yet is no column yet.
        (
            &["a int"][..],
            &[r#"{"C":"x","a":1}"#, r#"{"b":true}"#][..],
            &["a int", "c string", "b boolean"][..],
        ),
        (&["a int"], &[r#"{"n":null,"e":[],"o":{},"p":{"q":[null]}}"#], &["a int"]),
        (&[], &[r#"{"n":null}"#, "17", "nonsense", r#"{"n":{"m":null,"o":1}}"#], &["n struct<o:int>"]),
        (&[], &[r#"{"n":null,"e":[]}"#], &[]),
        // A new name is what all of its values are.
        (&["a int"], &[r#"{"b":1}"#, r#"{"b":1.5}"#], &["a int", "b double"]),
        (&["a int"], &[r#"{"b":1}"#, r#"{"b":"x"}"#], &["a int", "b string"]),
        // Of one that is there, one value that does not fit keeps the others from nothing.
        (&["a int"], &[r#"{"a":"x"}"#, r#"{"a":2147483648}"#, r#"{"a":1.5}"#], &["a bigint"]),
        (&["a int"], &[r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#, r#"{"a":1.5}"#, r#"{"a":true}"#], &["a int"]),
        (&["a date"], &[r#"{"a":"2020-01-01 10:00:00"}"#], &["a date"]),
        (&["a bigint"], &[r#"{"a":9223372036854775808}"#], &["a bigint"]),
        (&["a string", "d double"], &[r#"{"a":1,"d":2147483648}"#], &["a string", "d double"]),
        // Within structs and arrays likewise.
        (
            &["s struct<a:int,b:date>"],
            &[r#"{"s":{"c":{"d":1},"A":2147483648,"b":"2020-01-02"}}"#],
            &["s struct<a:bigint,b:date,c:struct<d:int>>"],
        ),
        (&["s struct<a:int>"], &[r#"{"s":{"a:b":1}}"#, r#"{"s":7}"#], &["s struct<a:int>"]),
        (&["l array<int>"], &[r#"{"l":["x",2147483648]}"#], &["l array<int>"]),
        (&["l array<int>"], &[r#"{"l":2147483648}"#], &["l array<bigint>"]),
        (
            &["l array<struct<a:int>>"],
            &[r#"{"l":[{"b":1},{"a":2147483648}]}"#],
            &["l array<struct<a:bigint,b:int>>"],
        ),
        (&["m map<string,int>"], &[r#"{"m":{"b":"x"}}"#], &["m map<string,int>"]),
    ] {
        let (evolved, left_out) = beyond(columns, 100, values);
        assert_eq!(
            (evolved.as_slice(), left_out),
            (&expected.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()[..], 0),
            "{values:?}"
        );
    }
}

#[test]
fn what_does_not_become_a_row_adds_nothing() {
    for (columns, values, expected) in [
        (&["a int"][..], &[r#"{"a":"x","b":1}"#, r#"{"c":1,"a":1.5}"#][..], &["a int"][..]),
        // Nor what would become one but for one of its values.
        (&["a int", "d date"], &[r#"{"a":2147483648,"d":"x","b":1}"#], &["a int", "d date"]),
        (&["a int"], &[r#"{"a":2147483648,"b":1}"#, r#"{"a":"x","c":1}"#], &["a bigint", "b int"]),
        (
            &["a int", "c int"],
            &[r#"{"a":2147483648}"#, r#"{"c":2147483648}"#, r#"{"a":2147483648,"c":2147483648,"d":1}"#],
            &["a bigint", "c bigint", "d int"],
        ),
        (&["s struct<a:int>"], &[r#"{"s":{"a":"x","b":1}}"#], &["s struct<a:int>"]),
        (&["l array<int>"], &[r#"{"l":[2147483648,"x"],"b":1}"#], &["l array<int>"]),
        (&["a int"], &[r#"{"b":1}{"a":"x"}"#], &["a int"]),
    ] {
        let (evolved, left_out) = beyond(columns, 100, values);
        assert_eq!(
            (evolved, left_out),
            (expected.iter().map(|c| (*c).to_owned()).collect(), 0),
            "{values:?}"
        );
    }
    assert_eq!(beyond(&["a int"], 1, &[r#"{"a":"x","b":1}"#]), (vec!["a int".to_owned()], 0));
}

#[test]
fn a_schema_grows_to_its_limit_and_what_is_too_much_is_counted() {
    let record = r#"{"b":1,"s":{"x":1,"y":[{"z":1}]},"c":1,"d":1}"#;
    let has = |names_max| beyond(&["a int"], names_max, &[record]);
    assert_eq!(has(1), (vec!["a int".into()], 4));
    assert_eq!(has(3), (["a int", "b int", "c int"].map(str::to_owned).into(), 2));
    let (all, left_out) = has(8);
    assert_eq!((all.len(), left_out), (5, 0));
    // Members of what is there count too, and a limit that was lowered takes nothing away.
    let (kept, left_out) = beyond(&["s struct<a:int,b:int>"], 2, &[r#"{"s":{"c":1}}"#]);
    assert_eq!((kept, left_out), (vec!["s struct<a:int,b:int>".to_owned()], 1));
    // However many there are, those that are known are seen behind them.
    let many: String = (0..2 * COLUMNS_MAX).map(|number| format!("\"k{number}\":1,")).collect();
    let (kept, left_out) = beyond(&["a int"], 1, &[&format!("{{{many}\"a\":2147483648}}")]);
    assert_eq!((kept, left_out), (vec!["a bigint".to_owned()], 2 * COLUMNS_MAX as u64));
    let long = format!(r#"{{"{}":1,"":1}}"#, "k".repeat(256));
    assert_eq!(beyond(&[], 10, &[&long]), (vec![], 2));
}
