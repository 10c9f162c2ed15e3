//! What lines become, and which fail their record.

use proptest::prelude::*;

use super::super::tests::{codes, kept, run};
use super::*;

fn processor(yaml_as_json: &str) -> CsvToJson {
    CsvToJson::new(&serde_json::from_str(yaml_as_json).unwrap()).unwrap()
}

#[test]
fn with_a_header_each_record_is_a_file_of_its_own() {
    let done =
        run(processor(r#"{"header":true}"#), &["a,b\n1,x\n2,\"y, \"\"z\"\"\"\n", "b\r\n3\r\n", "a,b\n", ""]);
    assert_eq!(kept(&done), [r#"{"a":"1","b":"x"}"#, r#"{"a":"2","b":"y, \"z\""}"#, r#"{"b":"3"}"#]);
    assert_eq!(done.dropped, 2);
}

#[test]
fn names_make_each_line_a_row() {
    let names = processor(r#"{"header":["id","name"],"types":{"id":"int"},"delimiter":"\\t","quote":""}"#);
    let done = run(names, &["1\t\"x\"", "2\ty\n\n3\tz"]);
    assert_eq!(
        kept(&done),
        [r#"{"id":1,"name":"\"x\""}"#, r#"{"id":2,"name":"y"}"#, r#"{"id":3,"name":"z"}"#]
    );
    let done = run(processor(r#"{"header":false,"delimiter":";"}"#), &["a;b,c"]);
    assert_eq!(kept(&done), [r#"{"_1":"a","_2":"b,c"}"#]);
}

#[test]
fn types_are_checked_and_digits_stay() {
    let options = r#"{"header":["i","f","b"],"types":{"i":"int","f":"float","b":"bool"}}"#;
    let rows = [
        "-7,1.10,TRUE",
        " 8 ,12345678901234567890.50,no",
        ",,",
        "+9,.5,1",
        "1.5,1,1",
        "1,x,1",
        "1,1,maybe",
        "1,NaN,1",
    ];
    let done = run(processor(options), &rows);
    assert_eq!(
        kept(&done),
        [
            r#"{"i":-7,"f":1.10,"b":true}"#,
            r#"{"i":8,"f":12345678901234567890.50,"b":false}"#,
            r#"{"i":null,"f":null,"b":null}"#,
            r#"{"i":9,"f":0.5,"b":true}"#
        ]
    );
    assert_eq!(codes(&done), ["CsvToJson.TypeMismatch"; 4]);
    assert_eq!(done.failures[&4].message, "Line 1: `1.5` is no Int, which `i` holds.");
}

#[test]
fn a_line_that_does_not_fit_fails_its_record() {
    let done = run(processor(r#"{"header":true}"#), &["a,b\n1,2\n3", "a,a\n1,2"]);
    assert_eq!((kept(&done).len(), codes(&done)), (0, vec!["CsvToJson.MalformedRecord"; 2]));
    assert_eq!(done.failures[&0].message, "Line 3 has 1 fields, and there are 2 columns.");
    assert_eq!(done.failures[&1].message, "The column `a` is there twice.");
    let done = run(processor(r#"{"header":["a"]}"#), &[&b"\xff\xfe"[..]]);
    assert_eq!(codes(&done), ["CsvToJson.MalformedRecord"]);
}

#[test]
fn long_names_over_many_lines_fail_at_the_limit() {
    let bomb = format!("{}\n{}", "x".repeat(100_000), "1\n".repeat(100_000));
    assert_eq!(codes(&run(processor("{}"), &[bomb])), ["CsvToJson.LimitExceeded"]);
}

#[test]
fn options_are_checked() {
    for (options, error) in [
        (r#"{"delimiter":";;"}"#, "csv_to_json: delimiter `;;` must be one ASCII character"),
        (
            r#"{"quote":","}"#,
            "csv_to_json: quote `,` must be one ASCII character other than the delimiter, or empty",
        ),
        (r#"{"header":[]}"#, "csv_to_json: header `[]` must name at least one column"),
        (r#"{"header":["a","a"]}"#, "csv_to_json: header `a` is there twice"),
        (
            r#"{"header":["a"],"types":{"b":"int"}}"#,
            "csv_to_json: types `b` is not among the columns of `header`",
        ),
    ] {
        let wrong = CsvToJson::new(&serde_json::from_str(options).unwrap()).unwrap_err();
        assert_eq!(wrong.to_string(), error);
    }
    assert!(serde_json::from_str::<CsvToJsonOptions>(r#"{"headers":true}"#).is_err());
}

proptest! {
    #[test]
    fn fields_come_out_as_they_went_in(
        table in proptest::collection::vec(proptest::collection::vec("[ -~\n\u{e4}\"]{1,8}", 3), 1..6)
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        table.iter().for_each(|line| writer.write_record(line).unwrap());
        let done = run(processor(r#"{"header":["a","b","c"]}"#), &[writer.into_inner().unwrap()]);
        let back: Vec<Vec<String>> = done.rows.iter().map(|row| {
            let object: BTreeMap<String, String> = serde_json::from_slice(&row.data).unwrap();
            object.into_values().collect()
        }).collect();
        prop_assert_eq!(back, table);
    }

    #[test]
    fn rubbish_is_kept_dropped_or_fails(record in proptest::collection::vec(any::<u8>(), 0..200)) {
        run(processor(r#"{"types":{"a":"float"}}"#), &[record]);
    }
}
