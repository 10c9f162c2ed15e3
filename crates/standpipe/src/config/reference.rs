//! Keeps what is generated from the sections current: the JSON Schema and the reference in `docs/configuration.md`.
//!
//! `UPDATE_DOCS=1 cargo test -p standpipe --lib` writes both.

use std::fmt::Write as _;
use std::fs;

use super::reader::{describe, first};
use super::root::root;
use super::schema::{Field, Schema};
use super::{Config, schema_json};
use crate::generated::{check, check_part, repository};

/// Tables of keys, one per section, in the order of the sections.
#[derive(Default)]
struct Reference {
    text: String,
    /// Tables with the path they were first printed under, so that equal sections are printed once.
    printed: Vec<(String, String)>,
}

impl Reference {
    fn section(&mut self, path: &str, fields: &[Field], kind: Option<&str>) {
        let mut table = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
        if let Some(kind) = kind {
            writeln!(table, "| `type` | `{kind}` | required | What kind of store it is. |").unwrap();
        }
        for field in fields {
            let (name, mut others) = (first(field.names), field.names.split('|').skip(1));
            let also = others.next().map(|other| format!(" (also `{other}`)")).unwrap_or_default();
            let default = match &field.default {
                _ if field.required => "required".to_owned(),
                _ if let Some(other) = field.or => format!("this or `{other}`"),
                Some(default) if default.is_empty() => "empty".to_owned(),
                Some(default) => format!("`{default}`"),
                None => "".to_owned(),
            };
            let words = words(field.schema.as_ref().unwrap());
            writeln!(table, "| `{name}`{also} | {words} | {default} | {} |", field.doc).unwrap();
        }
        let heading = match kind {
            Some(kind) => format!("### `{path}`, type `{kind}`"),
            None if path.is_empty() => "### Top level".to_owned(),
            None => format!("### `{path}`"),
        };
        match self.printed.iter().find(|(printed, _)| *printed == table) {
            Some((_, earlier)) => writeln!(self.text, "{heading}\n\nThe keys of `{earlier}`.\n").unwrap(),
            None => {
                writeln!(self.text, "{heading}\n\n{table}").unwrap();
                self.printed.push((table, path.to_owned()));
                for field in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    let below = format!("{path}{dot}{}", first(field.names));
                    self.below(&below, field.schema.as_ref().unwrap());
                }
            }
        }
    }

    fn below(&mut self, path: &str, schema: &Schema) {
        match schema {
            Schema::List(item) => self.below(&format!("{path}[]"), item),
            Schema::Map(item) => self.below(&format!("{path}.<name>"), item),
            Schema::Section(fields) => self.section(path, fields, None),
            Schema::Tagged { kinds, .. } => {
                for (kind, fields) in kinds {
                    self.section(path, fields, Some(kind));
                }
            }
            Schema::Either(one, other) => {
                self.below(path, one);
                self.below(path, other);
            }
            Schema::Text | Schema::Pattern { .. } | Schema::Int { .. } | Schema::Bool | Schema::Choice(_) => {
            }
        }
    }
}

/// What a value may be, in a few words.
fn words(schema: &Schema) -> String {
    match schema {
        Schema::Text => "text".to_owned(),
        Schema::Pattern { what, .. } => what.clone(),
        Schema::Int { min, max } => format!("whole number, {min} to {max}"),
        Schema::Bool => "`true` or `false`".to_owned(),
        Schema::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Schema::List(item) => match **item {
            Schema::Section(_) => "list of sections".to_owned(),
            _ => format!("list of {}", words(item)),
        },
        Schema::Map(item) => match **item {
            Schema::Tagged { .. } => "sections by name".to_owned(),
            _ => format!("map of name to {}", words(item)),
        },
        Schema::Section(_) | Schema::Tagged { .. } => "section".to_owned(),
        Schema::Either(one, other) => format!("{}, or {}", words(one), words(other)),
    }
}

/// Whether the schema accepts a document, as an editor would tell.
pub(super) fn schema_accepts(text: &str) -> Result<(), String> {
    let document: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("standpipe.json", serde_json::from_str(&schema_json()).unwrap()).unwrap();
    let schema = compiler.compile("standpipe.json", &mut schemas).unwrap();
    schemas.validate(&document, schema).map_err(|error| format!("{error:#}"))
}

#[test]
fn the_schema_refuses_what_the_daemon_refuses() {
    for text in [
        "lisen: 127.0.0.1:1",
        "stores: {a: {type: s4}}",
        "stores: {a: {type: file}}",
        "stores: {a: {type: file, path: x, endpoint: http://h}}",
        "streams: [{name: a}]",
        "streams: [{name: a, destination: {s3: {}}, destinations: [{id: a, s3: {}}]}]",
        "journal: {sync_threads: 0}",
        "limits: {body_budget: 5M}",
        "streams: [{name: a, destination: {s3: {compression: gz}}}]",
    ] {
        assert!(schema_accepts(text).is_err(), "{text}");
    }
}

#[test]
fn the_schema_is_current() {
    check("docs/standpipe.schema.json", &schema_json());
}

#[test]
fn the_reference_is_current() {
    let mut reference = Reference::default();
    reference.section("", &describe(root), None);
    check_part("docs/configuration.md", &reference.text);
}

/// Every file that is shown to users loads, with any variable set.
#[test]
fn the_example_files_load() {
    for name in [
        "examples/standpipe.yaml",
        "examples/partitioning.yaml",
        "examples/parquet.yaml",
        "examples/orc.yaml",
        "examples/http.yaml",
        "examples/http-presets.yaml",
        "examples/iceberg.yaml",
        "examples/opensearch.yaml",
        "examples/postgres.yaml",
        "examples/redshift.yaml",
        "examples/splunk.yaml",
        "examples/fan-out.yaml",
        "deploy/standpipe.yaml",
    ] {
        let credentials = tempfile::tempdir().unwrap();
        for file in ["firehose-secret", "store-secret"] {
            fs::write(credentials.path().join(file), "secret\n").unwrap();
        }
        let folder = credentials.path().to_string_lossy().into_owned();
        let env =
            |name: &str| Some(if name == "CREDENTIALS_DIRECTORY" { folder.clone() } else { "x".to_owned() });
        let path = repository().join(name);
        let config = Config::load(&path, &env);
        assert!(config.is_ok(), "{}", config.unwrap_err());
        schema_accepts(&fs::read_to_string(path).unwrap()).unwrap();
    }
}

#[test]
fn the_page_of_http_endpoints_names_each_preset() {
    let config = Config::load(&repository().join("examples/http-presets.yaml"), &|_| None).unwrap();
    let page = fs::read_to_string(repository().join("docs/http-endpoint.md")).unwrap();
    for stream in &config.streams {
        assert!(page.contains(&format!("| `{}` |", stream.name)), "{} has no line", stream.name);
    }
    let lines = page.lines().filter(|line| line.contains("| `to-")).count();
    assert_eq!(lines, config.streams.len(), "each line has its stream");
}
