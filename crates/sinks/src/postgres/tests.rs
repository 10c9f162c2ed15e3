//! Names, paths, texts, classes and settings, without a server.

use standpipe_model::{ErrorClass, Position, RowOrigin, Secret};
use tokio_postgres::error::SqlState;

use super::PostgresSink;
use super::error::{class, is_about_rows};
use super::ledger::runs;
use super::names::{NameError, TableName, column};
use super::options::{Conflict, PostgresFormat, PostgresOptions, PostgresTls, TlsMode};
use super::path::Path;
use super::request::rows;
use super::table::Column;
use super::text::Kind;
use crate::sample;

fn columns(columns: &[(&str, &str, Kind)]) -> Vec<Column> {
    let column = |(name, path, kind): &(&str, &str, Kind)| Column {
        name: (*name).to_owned(),
        path: path.parse().unwrap(),
        kind: *kind,
    };
    columns.iter().map(column).collect()
}

/// The text of a row, or why it has none.
fn text(data: &[u8], of: &[(&str, &str, Kind)], format: &PostgresFormat) -> Result<String, String> {
    let made = rows(&sample::rows(&[data]), &[0], &columns(of), format, false);
    match made.refused.first() {
        Some(refusal) => Err(refusal.message.clone()),
        None => Ok(String::from_utf8(made.part(&(0..1)).to_vec()).unwrap()),
    }
}

#[test]
fn names_are_read_as_sql_reads_them() {
    for (given, expect) in [
        ("events", Ok("\"events\"")),
        (" Public.Events ", Ok("\"public\".\"events\"")),
        ("\"Public\".\"odd \"\".name\"", Ok("\"Public\".\"odd \"\".name\"")),
        ("größe", Ok("\"größe\"")),
        ("", Err(NameError::Empty(String::new()))),
        ("a.", Err(NameError::Empty("a.".to_owned()))),
        ("a.b.c", Err(NameError::Parts("a.b.c".to_owned()))),
        ("a; drop table b", Err(NameError::Characters("a; drop table b".to_owned()))),
        ("\"a\"b", Err(NameError::Characters("\"a\"b".to_owned()))),
        ("\"a", Err(NameError::Quote("\"a".to_owned()))),
    ] {
        assert_eq!(
            TableName::parse(given).map(|name| name.to_string()),
            expect.map(str::to_owned),
            "{given}"
        );
    }
    assert_eq!(column("userId"), Ok("userid".to_owned()));
    assert!(column("a.b").is_err());
}

#[test]
fn paths_are_the_simple_ones_of_jq() {
    for good in [".", ".a", ".a.b_1", ".a[0].b", ".[2]", ".\"odd name\".x", ".[\"odd name\"]", ".é"] {
        assert!(good.parse::<Path>().is_ok(), "{good}");
    }
    for bad in ["", "a", ".a.", "..", ".a | .b", ".a[]", ".a[-1]", ".a[0", ".\"a", ".a b", ".[\"a\"", ".a?"] {
        assert!(bad.parse::<Path>().is_err(), "{bad}");
    }
}

#[test]
fn members_become_columns_by_their_paths() {
    let of = [
        ("id", ".id", Kind::Plain),
        ("name", ".user.\"full name\"", Kind::Plain),
        ("second", ".items[1]", Kind::Plain),
        ("user", ".user", Kind::Json),
        ("all", ".", Kind::Json),
    ];
    let row = r#"{"id":1,"id":12345678901234567890.12,"items":["a","b"],"user":{"full name":"O\tK"}}"#;
    assert_eq!(
        text(row.as_bytes(), &of, &PostgresFormat::Json),
        Ok(format!(
            "12345678901234567890.12\tO\\tK\tb\t{{\"full name\":\"O\\\\tK\"}}\t{}\n",
            row.replace('\\', "\\\\")
        ))
    );
    let nowhere = text(br#"{"id":null,"user":7,"items":{}}"#, &of[..4], &PostgresFormat::Json);
    assert_eq!(nowhere, Ok("\\N\t\\N\t\\N\t7\n".to_owned()));
}

#[test]
fn a_record_of_which_no_member_is_wanted_may_be_any_json() {
    let whole = [("all", ".", Kind::Json), ("first", ".[0]", Kind::Plain)];
    for (row, expect) in [
        ("[7, {}]", Ok("[7, {}]\t7\n")),
        (" \"text\"\n", Ok("\"text\"\t\\N\n")),
        ("{\"a\":1}", Ok("{\"a\":1}\t\\N\n")),
        ("null", Ok("\\N\t\\N\n")),
        ("", Err("The record is no JSON: EOF while parsing a value at line 1 column 0.")),
        ("[7] 8", Err("The record is no JSON: trailing characters at line 1 column 5.")),
    ] {
        let made = text(row.as_bytes(), &whole, &PostgresFormat::Json);
        assert_eq!(made.as_deref().map_err(String::as_str), expect, "{row}");
    }
}

#[test]
fn values_are_written_for_what_a_column_takes() {
    for (json, kind, expect) in [
        (r#""a\\b\n\tc\r\u00e9""#, Kind::Plain, r"a\\b\n\tc\ré"),
        (r#""\\N""#, Kind::Plain, r"\\N"),
        (r#""""#, Kind::Plain, ""),
        ("null", Kind::Plain, r"\N"),
        ("null", Kind::Json, r"\N"),
        ("-1.50e3", Kind::Plain, "-1.50e3"),
        ("true", Kind::Plain, "true"),
        (r#"{"a": [1]}"#, Kind::Plain, r#"{"a": [1]}"#),
        (r#""text""#, Kind::Json, r#""text""#),
        (
            r#"[1, null, [2], "a\"b\\", {"c":"d"}]"#,
            Kind::Array,
            r#"{1,NULL,{2},"a\\"b\\\\","{\\"c\\":\\"d\\"}"}"#,
        ),
        (r#"["x", {"a":1}, [1], null]"#, Kind::JsonArray, r#"{"\\"x\\"","{\\"a\\":1}","[1]",NULL}"#),
        (r#""{1,2}""#, Kind::Array, "{1,2}"),
        ("[]", Kind::Array, "{}"),
    ] {
        let row = format!(r#"{{"v":{json}}}"#);
        let made = text(row.as_bytes(), &[("v", ".v", kind)], &PostgresFormat::Json);
        assert_eq!(made, Ok(format!("{expect}\n")), "{json}");
    }
}

#[test]
fn what_cannot_become_a_line_is_refused_and_says_why() {
    let deep = format!(r#"{{"v":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (row, kind, expect) in [
        (&b"\xff"[..], Kind::Plain, "The record is no valid UTF-8."),
        (b"[1]", Kind::Plain, "The record is no JSON object: invalid type: sequence, expected a JSON object"),
        (b"", Kind::Plain, "The record is no JSON object: EOF while parsing a value at line 1 column 0."),
        (b"{\"v\":1} {}", Kind::Plain, "The record is no JSON object: trailing characters"),
        (b"{\"v\":NaN}", Kind::Plain, "The record is no JSON object: expected value"),
        (
            b"{\"v\":\"a\\u0000\"}",
            Kind::Plain,
            "The record has the character U+0000, which PostgreSQL does not store, for the column v.",
        ),
        (b"{\"v\":\"\\ud800\"}", Kind::Plain, "The record has no valid text: "),
        (
            deep.as_bytes(),
            Kind::Array,
            "The record has an array of more than 6 dimensions, for the column v.",
        ),
    ] {
        let made = text(row, &[("v", ".v", kind)], &PostgresFormat::Json).unwrap_err();
        assert!(made.starts_with(expect), "{made}");
    }
}

#[test]
fn fields_of_csv_become_columns_by_their_order() {
    let of = [("a", ".a", Kind::Plain), ("b", ".b", Kind::Json), ("c", ".c", Kind::Array)];
    let comma = PostgresFormat::Csv { delimiter: ',', null: String::new() };
    for (line, expect) in [
        ("1,2,3\r\n", Ok("1\t2\t3\n")),
        (r#"a"b,"x,y""#, Err("The record has a quote that is not closed.")),
        (r#""say ""hi""","{""k"":1}",{1}"#, Ok("say \"hi\"\t{\"k\":1}\t{1}\n")),
        (r#","",x\y"#, Ok("\\N\t\tx\\\\y\n")),
        ("1,2", Err("The record has 2 fields for 3 columns.")),
        ("1,2,3\n4,5,6", Err("The record has more than one line.")),
        ("\"1\n\",2,3", Ok("1\\n\t2\t3\n")),
    ] {
        let made = text(line.as_bytes(), &of, &comma);
        assert_eq!(made.as_deref().map_err(String::as_str), expect, "{line}");
    }
    let pipes = PostgresFormat::Csv { delimiter: '|', null: "NULL".to_owned() };
    assert_eq!(text(b"NULL|\"NULL\"|", &of, &pipes).as_deref(), Ok("\\N\tNULL\t\n"));
}

#[test]
fn only_what_is_wanted_is_made_with_its_order_in_front() {
    let all = sample::rows(&["{}", "{\"v\":1}", "no", "{\"v\":2}"]);
    let made = rows(&all, &[1, 2, 3], &columns(&[("v", ".v", Kind::Plain)]), &PostgresFormat::Json, true);
    assert_eq!(made.part(&(0..2)), "0\t1\n1\t2\n");
    assert_eq!(made.part(&(1..2)), "1\t2\n");
    assert_eq!((made.numbers, made.refused[0].row), (vec![1, 3], 2));
}

#[test]
fn a_state_says_whose_fault_it_is() {
    use ErrorClass::{Misconfigured, Throttled, Transient};
    for (code, about_rows, expect) in [
        ("22P02", true, Transient),
        ("23505", true, Transient),
        ("54001", true, Transient),
        ("P0001", true, Transient),
        ("28P01", false, Misconfigured),
        ("3D000", false, Misconfigured),
        ("42P01", false, Misconfigured),
        ("42501", false, Misconfigured),
        ("0A000", false, Misconfigured),
        ("53300", false, Throttled),
        ("40P01", false, Transient),
        ("40001", false, Transient),
        ("53100", false, Transient),
        ("57P01", false, Transient),
        ("57014", false, Transient),
        ("XX000", false, Transient),
    ] {
        let state = SqlState::from_code(code);
        assert_eq!((is_about_rows(&state), class(&state)), (about_rows, expect), "{code}");
    }
}

#[test]
fn debug_shows_nothing_of_the_password_and_settings_that_contradict_are_refused() {
    let mut options = PostgresOptions::new("db.example.com", "app", "loader", "public.events");
    options.password = Some(Secret::new("hidden"));
    let sink = PostgresSink::new(&options).unwrap();
    assert_eq!(
        format!("{sink:?}"),
        r#"PostgresSink { place: "postgresql://db.example.com:5432/app \"public\".\"events\"", .. }"#
    );
    let refusal = |change: &dyn Fn(&mut PostgresOptions)| {
        let mut options = PostgresOptions::new("db", "app", "loader", "public.events");
        options.columns = vec![("id".to_owned(), None)];
        change(&mut options);
        PostgresSink::new(&options).unwrap_err().to_string()
    };
    let csv = |delimiter| PostgresFormat::Csv { delimiter, null: String::new() };
    assert_eq!(refusal(&|it| it.format = csv('"')), "'\"' cannot stand between fields");
    assert_eq!(
        refusal(&|it| (it.format, it.columns[0].1) = (csv(','), Some(".".to_owned()))),
        "the column 'id' has a path, which rows of CSV do not have"
    );
    assert_eq!(
        refusal(&|it| it.conflict = Conflict::Update { key: vec![], newest_by: None }),
        "conflict: update needs the columns of the key"
    );
    assert_eq!(
        refusal(&|it| it.conflict = Conflict::Ignore { key: vec!["other".to_owned()] }),
        "'other' is none of the columns"
    );
    assert_eq!(
        refusal(&|it| it.table = "a b".to_owned()),
        NameError::Characters("a b".to_owned()).to_string()
    );
    assert!(refusal(&|it| it.columns[0].1 = Some(".a | .b".to_owned())).starts_with("'.a | .b' is no path"));
    assert_eq!(refusal(&|it| it.tls.mode = TlsMode::VerifyCa), "verify-ca needs the certificate authority");
    let ca = |mode| PostgresTls { mode, ca_pem: Some(b"none".to_vec()), identity_pem: None };
    assert_eq!(
        refusal(&|it| it.tls = ca(TlsMode::Require)),
        "certificate authorities are looked at with verify-ca and verify-full only"
    );
    assert!(
        refusal(&|it| it.tls = ca(TlsMode::VerifyFull))
            .starts_with("the file of certificate authorities cannot")
    );
}

#[test]
fn rows_are_noted_in_runs_of_records_and_where_there_are_too_many_over_the_narrowest_gaps() {
    let of = [(1, 0), (2, 0), (2, 1), (3, 0), (5, 0), (9, 0), (10, 2), (12, 0)];
    let origins = of.map(|(position, sub)| RowOrigin { position: Position(position), sub });
    for (most, expect) in [
        (9, "[0..4, 4..5, 5..7, 7..8]"),
        (4, "[0..4, 4..5, 5..7, 7..8]"),
        (3, "[0..4, 4..5, 5..8]"),
        (2, "[0..5, 5..8]"),
        (1, "[0..8]"),
    ] {
        assert_eq!(format!("{:?}", runs(&origins, most)), expect, "{most}");
    }
}
