//! `standpipe schema`: the configuration's JSON Schema; `schema infer`, the columns that the records of a file make, and
//! `schema show`, those of a stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde::{Deserialize, Serialize, Serializer};
use standpipe_convert::infer::Inferred;
use standpipe_convert::{Column, TableSchema};

use super::batches::AdminArgs;
use super::{complain, count, input, no_variable, print, query_about};
use crate::config::{check_table_name, schema_json};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// What to do instead of printing the configuration's JSON Schema.
    #[command(subcommand)]
    pub command: Option<SchemaCommand>,
}

/// The commands about schemas of tables.
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Propose the columns of a table from JSON records, as an entry of `schemas`.
    ///
    /// Each column gets the narrowest type that takes every value seen; what fits no other is a string. Records that are
    /// no JSON objects are left out, and counted on standard error.
    Infer(InferArgs),
    /// Show the columns that a stream converts its rows to, as an entry of `schemas`.
    ///
    /// Of a stream with `schema: infer` these are the ones that its rows have come to so far.
    Show(ShowArgs),
}

/// Arguments of `schema show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The stream.
    pub stream: String,
    /// The destination that is meant, where the stream has several.
    #[arg(long, value_name = "ID")]
    pub destination: Option<String>,
    /// The name of the table, instead of its own.
    #[arg(long, value_name = "DATABASE.TABLE", value_parser = table)]
    pub table: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "yaml")]
    pub output: Output,
    /// Where to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Arguments of `schema infer`.
#[derive(Debug, Args)]
pub struct InferArgs {
    /// The file with a record on each line; standard input for `-`.
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// The name of the table.
    #[arg(long, value_name = "DATABASE.TABLE", default_value = "default.records", value_parser = table)]
    pub table: String,
    /// Look at so many records, from the first.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub records: Option<u64>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "yaml")]
    pub output: Output,
}

/// How a schema is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// As it is written in `standpipe.yaml`.
    Yaml,
    /// The same in JSON.
    Json,
}

fn table(name: &str) -> Result<String, String> {
    check_table_name(name).map(|()| name.to_owned())
}

pub(super) async fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        None => print(&schema_json())?,
        Some(SchemaCommand::Infer(args)) => infer(args)?,
        Some(SchemaCommand::Show(args)) => show(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let mut query = query_about(args.destination.as_deref());
    let path = format!("/streams/{}/schema?{}", args.stream, query.finish());
    let answer = args.admin.call(Method::GET, &path).await?;
    let Shown { name, columns } =
        serde_json::from_value(answer).context("the daemon showed something else")?;
    ensure!(!columns.columns().is_empty(), "no record has shown a column yet");
    print(&entry(args.table.as_ref().unwrap_or(&name), &columns, args.output)?)
}

/// The schema of a stream, as the daemon shows it.
#[derive(Deserialize)]
struct Shown {
    name: String,
    columns: TableSchema,
}

fn infer(args: &InferArgs) -> anyhow::Result<()> {
    let (mut sample, limit) = (Sample::default(), args.records.unwrap_or(u64::MAX));
    sample.too_long = input::records(&args.input, false, |record| {
        sample.push(record);
        Ok(sample.records < limit)
    })?;
    complain(&sample.show());
    let schema = sample.inferred.schema().context("no schema comes of these records")?;
    print(&entry(&args.table, &schema, args.output)?)
}

/// Records that a schema is proposed from.
#[derive(Debug, Default)]
struct Sample {
    inferred: Inferred,
    records: u64,
    rows: u64,
    left_out: u64,
    /// The first of them, and why.
    first: Option<String>,
    too_long: u64,
}

impl Sample {
    fn push(&mut self, record: &[u8]) {
        self.records += 1;
        match self.inferred.add(record) {
            Ok(rows) => self.rows += rows as u64,
            Err(error) => {
                self.left_out += 1;
                self.first.get_or_insert_with(|| format!("record {}: {error}", self.records));
            }
        }
    }

    fn show(&self) -> String {
        let mut text = format!("{}: {}", count(self.records, "record"), count(self.rows, "row"));
        if let Some(first) = &self.first {
            text += &format!(", {} left out, first {first}", self.left_out);
        }
        if self.too_long > 0 {
            text += &format!("; {} longer than a record may be", count(self.too_long, "line"));
        }
        text
    }
}

/// The columns in their order.
struct Columns<'a>(&'a TableSchema);

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |column: &Column| {
            let required = if column.required { " not null" } else { "" };
            no_variable(&format!("{}{required}", column.kind))
        };
        serializer.collect_map(self.0.columns().iter().map(|column| (&column.name, text(column))))
    }
}

/// The table as an entry of `schemas`.
fn entry(table: &str, schema: &TableSchema, output: Output) -> anyhow::Result<String> {
    let columns = BTreeMap::from([("columns", Columns(schema))]);
    let schemas = BTreeMap::from([("schemas", BTreeMap::from([(table, columns)]))]);
    Ok(match output {
        Output::Yaml => serde_yaml::to_string(&schemas)?,
        Output::Json => serde_json::to_string_pretty(&schemas)? + "\n",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const RECORDS: &str = r#"{"year": 2013, "TailNum": "N14228", "delays": {"dep": 2, "arr": 11.5}, "when": "2013-01-01T05:15:00Z"}
{"year": 2013, "tailnum": null, "stops": ["IAH"], "a.b": true, "null": 1, "true": 1, "7": 1, "~": 1, "<<": 1, "a: b # c": 1}

[1, 2]
{"year": 2014, "${HOME}": {"${HOME}": 1, "'\"": {}}, "\n\t\\ é\u0001😀": 12345678901, "- x": 1, "*y": 1, "!z": 1, "%": 1, "{": 1}
{"no JSON
{"a very long one": {"of many members that is": 1, "written": 1, "in more than": 1, "eighty columns": {"of text": 1, "so": 1}}}
"#;

    #[test]
    fn what_is_proposed_is_read_by_the_configuration_and_the_rest_is_told() {
        let mut sample = Sample::default();
        RECORDS.lines().for_each(|line| sample.push(line.as_bytes()));
        let told = "7 records: 4 rows, 3 left out, first record 3: The record was empty or contained only whitespace.";
        assert_eq!(sample.show(), told);
        let schema = sample.inferred.schema().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("standpipe.yaml");
        for output in [Output::Yaml, Output::Json] {
            let text = entry("lake.flights", &schema, output).unwrap();
            std::fs::write(&path, &text).unwrap();
            let config = Config::load(&path, &|_| None).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(config.schemas["lake.flights"], schema, "{text}");
        }
        let yaml = entry("lake.flights", &schema, Output::Yaml).unwrap();
        let head =
            "schemas:\n  lake.flights:\n    columns:\n      year: int\n      tailnum: string\n      delays: ";
        assert!(yaml.starts_with(head), "{yaml}");
    }

    #[test]
    fn no_more_records_are_looked_at_than_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.json");
        std::fs::write(&path, "{\"a\":1}\n{\"b\":1}\n{\"c\":1}\n").unwrap();
        let mut seen = Vec::new();
        let each = |record: &[u8]| {
            seen.push(record.to_vec());
            Ok(seen.len() < 2)
        };
        assert_eq!(input::records(&path, false, each).unwrap(), 0);
        assert_eq!(seen, [b"{\"a\":1}", b"{\"b\":1}"]);
    }

    #[test]
    fn a_table_is_in_a_database() {
        assert_eq!(table("lake.flights").as_deref(), Ok("lake.flights"));
        assert!(table("flights").unwrap_err().contains("database.table"));
    }
}
