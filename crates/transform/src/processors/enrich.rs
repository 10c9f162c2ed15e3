//! `enrich`: columns of a reference table are added to records, by a key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use jaq_json::Val;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::jq::{Fault, Program, on_stack};
use super::{OptionError, json};
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};
use crate::table::{Table, TableRow};

/// What becomes of a record whose key the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMiss {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
    /// It fails.
    Fail,
}

/// The options of `enrich`, beside the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrichOptions {
    /// A jq program that gives a record's key.
    pub key: String,
    /// The columns that are added, each with the name of its member; all but that of the keys if there are none.
    #[serde(default)]
    pub columns: Vec<(String, String)>,
    /// What becomes of a record whose key the table does not have, or that has none.
    #[serde(default)]
    pub on_miss: OnMiss,
}

impl EnrichOptions {
    /// Whether they can be worked with, whatever the table has.
    ///
    /// # Errors
    /// The key is no program, or a member is named twice.
    pub fn check(&self) -> Result<(), OptionError> {
        let mut names = BTreeSet::new();
        match self.columns.iter().find(|(_, name)| !names.insert(name)) {
            Some((_, twice)) => {
                Err(OptionError::new("enrich", "columns", twice, "is the name of two columns"))
            }
            None => self.program().map(drop),
        }
    }

    fn program(&self) -> Result<Program, OptionError> {
        Program::new(&self.key)
            .map_err(|error| OptionError::new("enrich", "key", &self.key, error.to_string()))
    }
}

/// Adds columns of a table to records.
#[derive(Debug)]
pub struct Enrich {
    key: Program,
    columns: Vec<Column>,
    on_miss: OnMiss,
    table: Arc<Table>,
}

#[derive(Debug)]
struct Column {
    column: String,
    name: String,
    /// The beginning of the member: `"name":`.
    member: String,
}

impl Enrich {
    /// Takes the options and the table.
    ///
    /// # Errors
    /// The key is no program, or the table does not have a column.
    pub fn new(options: &EnrichOptions, table: Arc<Table>) -> Result<Self, OptionError> {
        options.check()?;
        let is_known = |column: &str| table.columns().any(|known| known == column);
        if let Some((unknown, _)) = options.columns.iter().find(|(column, _)| !is_known(column)) {
            return Err(OptionError::new("enrich", "columns", unknown, "is not a column of the table"));
        }
        let all = || table.columns().map(|column| (column.to_owned(), column.to_owned())).collect();
        let columns: Vec<_> = if options.columns.is_empty() { all() } else { options.columns.clone() };
        let column = |(column, name): (String, String)| {
            let member = serde_json::to_string(&name).expect("a string is written into memory") + ":";
            Column { column, name, member }
        };
        let (key, columns) = (options.program()?, columns.into_iter().map(column).collect());
        Ok(Self { key, columns, on_miss: options.on_miss, table })
    }

    /// The key of a row; nothing if it has none.
    fn key(&self, row: &[u8]) -> Result<Option<String>, String> {
        let mut values = json::values(row).map_err(|error| error.to_string())?;
        let (value, bytes) = match (values.next(), values.next()) {
            (Some(value), None) => value.map_err(|error| error.to_string())?,
            _ => return Err("the record is not one JSON document".to_owned()),
        };
        if !matches!(value, Val::Obj(_)) {
            return Err("the record is not a JSON object".to_owned());
        }
        let mut key: Option<Option<String>> = None;
        let ran = self.key.run(value, bytes, |output| {
            if key.is_some() {
                return Err(Fault::Error("the key has more than one value".to_owned()));
            }
            key = Some(json::key_text(&output));
            Ok(())
        });
        ran.map_err(|fault| fault.to_string())?;
        Ok(key.flatten())
    }

    /// A row with the columns of its table row, which take the place of what it has under their names.
    fn with(&self, row: &Bytes, found: &TableRow) -> serde_json::Result<Bytes> {
        let members: Members<'_> = serde_json::from_slice(row)?;
        let is_added = |name: &str| self.columns.iter().any(|column| column.name == name);
        let mut out = Vec::with_capacity(row.len() + 64 * self.columns.len());
        out.push(b'{');
        for (name, value) in members.0.iter().filter(|(name, _)| !is_added(name)) {
            if out.len() > 1 {
                out.push(b',');
            }
            serde_json::to_writer(&mut out, name)?;
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        for Column { column, member, .. } in &self.columns {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(member.as_bytes());
            found.write_json(column, &mut out);
        }
        out.push(b'}');
        Ok(out.into())
    }
}

/// The members of an object in their order, their values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Processor for Enrich {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        let keys: Vec<_> = on_stack(|| rows.iter().map(|row| self.key(&row.data)).collect());
        let failed = |code: &str, message: String| Failure::once(FailureKind::Processing, code, message);
        for (row, key) in rows.into_iter().zip(keys) {
            let found = key.map(|key| key.and_then(|key| self.table.get(&key)));
            match (found, self.on_miss) {
                (Err(message), _) => out.fail(row.origin, failed("Enrich.MalformedRecord", message)),
                (Ok(Some(found)), _) => match self.with(&row.data, found) {
                    Ok(data) => out.keep(row.with_data(data)),
                    Err(error) => out.fail(row.origin, failed("Enrich.MalformedRecord", error.to_string())),
                },
                (Ok(None), OnMiss::Keep) => out.keep(row),
                (Ok(None), OnMiss::Drop) => {}
                (Ok(None), OnMiss::Fail) => {
                    let message = "The table does not have the record's key.".to_owned();
                    out.fail(row.origin, failed("Enrich.KeyNotFound", message));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::{codes, kept, run};
    use super::*;
    use crate::table::TableFormat;

    fn table() -> Arc<Table> {
        let rows = [
            json!({"id": "a", "site": "north", "floor": 3}),
            json!({"id": 7, "site": "süd \"2\"", "floor": null}),
            json!({"id": true, "site": "x"}),
        ];
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        Arc::new(Table::read("sites", TableFormat::JsonLines, "id", lines.as_bytes()).unwrap())
    }

    fn enrich(options: serde_json::Value) -> Enrich {
        Enrich::new(&serde_json::from_value(options).unwrap(), table()).unwrap()
    }

    #[test]
    fn columns_are_added_and_the_rest_stays_as_it_was_written() {
        let rows = [
            r#"{"device": {"id":"a"} , "v":1.50}"#,
            r#"{"device":{"id":7.0},"site":"old"}"#,
            r#"{"device":{"id":true}}"#,
        ];
        assert_eq!(
            kept(&run(enrich(json!({"key": ".device.id"})), &rows)),
            [
                r#"{"device":{"id":"a"},"v":1.50,"floor":3,"site":"north"}"#,
                r#"{"device":{"id":7.0},"floor":null,"site":"süd \"2\""}"#,
                r#"{"device":{"id":true},"floor":null,"site":"x"}"#,
            ]
        );
        let only = enrich(json!({"key": ".id", "columns": [["site", "site"]]}));
        assert_eq!(kept(&run(only, &[r#"{"id":"a"}"#])), [r#"{"id":"a","site":"north"}"#]);
        let renamed = enrich(json!({"key": ".id", "columns": [["site", "where"], ["floor", "id"]]}));
        let row = r#"{"id":"a","site":"old"}"#;
        assert_eq!(kept(&run(renamed, &[row])), [r#"{"site":"old","where":"north","id":3}"#]);
    }

    #[test]
    fn a_miss_keeps_drops_or_fails() {
        let rows = [r#"{"id":"b"}"#, r#"{"id":null}"#, "{}", r#"{"id":"a"}"#];
        let done = run(enrich(json!({"key": ".id"})), &rows);
        assert_eq!(kept(&done)[..3], rows[..3]);
        let done = run(enrich(json!({"key": ".id", "on_miss": "drop"})), &rows);
        assert_eq!((kept(&done).len(), done.dropped), (1, 3));
        let done = run(enrich(json!({"key": ".id", "on_miss": "fail"})), &rows);
        assert_eq!((kept(&done).len(), codes(&done)), (1, vec!["Enrich.KeyNotFound"; 3]));
    }

    #[test]
    fn what_has_no_members_fails_whatever_a_miss_does() {
        let rows = ["", "plain", "[]", "1", "{}{}", "{\"id\":\"a\"} x"];
        assert_eq!(codes(&run(enrich(json!({"key": ".id"})), &rows)), ["Enrich.MalformedRecord"; 6]);
        let several = run(enrich(json!({"key": ".id[]"})), &[r#"{"id":["a","b"]}"#]);
        assert_eq!(several.failures[&0].message, "the key has more than one value");
    }

    #[test]
    fn options_and_tables_are_checked() {
        let options = |options| serde_json::from_value(options).unwrap();
        let error = |json| Enrich::new(&options(json), table()).unwrap_err().to_string();
        assert_eq!(
            error(json!({"key": ".id", "columns": [["id", "x"]]})),
            "enrich: columns `id` is not a column of the table"
        );
        assert!(error(json!({"key": ".", "columns": [["x", "x"]]})).contains("`x`"));
        let twice = error(json!({"key": ".", "columns": [["site", "x"], ["floor", "x"]]}));
        assert_eq!(twice, "enrich: columns `x` is the name of two columns");
        assert!(error(json!({"key": "input"})).starts_with("enrich: key `input` uses `input`"));
    }

    proptest! {
        #[test]
        fn what_is_added_is_all_that_is_changed(members in proptest::collection::btree_map("[b-e]{1,3}", "\\PC*", 0..5)) {
            let mut record = json!(members);
            record["id"] = json!("a");
            let done = run(enrich(json!({"key": ".id", "columns": [["floor", "floor"]]})), &[record.to_string()]);
            record["floor"] = json!(3);
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&done.rows[0].data).unwrap(), record);
        }
    }
}
