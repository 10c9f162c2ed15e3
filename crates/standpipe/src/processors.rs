//! The processors that a stream lists, between their specification and the chain that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;
use standpipe_sinks::key::PartitionKeys;
use standpipe_transform::processors::{
    AppendDelimiterToRecord, CloudWatchLogProcessing, CsvToJson, CsvToJsonOptions, Decompression, Enrich,
    EnrichOptions, Jq, JqOptions, MetadataExtraction, Method, OptionError, RecordDeAggregation, Redact,
    RedactOptions,
};
use standpipe_transform::{Chain, Processor, Table, WasmFunction};

use crate::exposed::expose_some;

/// The only language of queries (`JsonParsingEngine`).
pub(crate) const JQ: &str = "JQ-1.6";

/// A processor, by the name that the configuration file has for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessorSpec {
    /// Takes apart what is compressed (`Decompression`).
    Decompress {
        /// The most bytes that a record may come to.
        limit_bytes: usize,
    },
    /// Drops what CloudWatch Logs sends to test, and takes the messages out (`CloudWatchLogProcessing`).
    CloudwatchLogs {
        /// Only the messages are kept (`DataMessageExtraction`).
        messages_only: bool,
    },
    /// Makes JSON of CSV.
    CsvToJson(CsvToJsonOptions),
    /// Runs a jq program.
    Jq(JqOptions),
    /// Adds columns of a table.
    Enrich {
        /// The table's name in the configuration.
        table: String,
        /// The rest.
        options: EnrichOptions,
    },
    /// Hides parts.
    Redact {
        /// Where the values are.
        paths: Vec<String>,
        /// What they look like.
        patterns: Vec<String>,
        /// What takes their place.
        method: Method,
        /// The replacement.
        replacement: String,
        /// The key of hashes, which is kept with the definition: batches that are open keep theirs.
        #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose_some")]
        key: Option<Secret>,
    },
    /// Takes records apart (`RecordDeAggregation`).
    #[serde(rename = "record_deaggregation")]
    RecordDeAggregation {
        /// What is between them, in base64; they are JSON documents where absent.
        delimiter: Option<String>,
    },
    /// Finds the partition keys of each record (`MetadataExtraction`).
    MetadataExtraction {
        /// A jq program that gives an object of them.
        query: String,
    },
    /// Calls a function (`Lambda`).
    Wasm(WasmCall),
    /// Ends each record (`AppendDelimiterToRecord`).
    AppendDelimiter(String),
}

/// How a stream calls a function; what is `None` is as the function's configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmCall {
    /// The function's name in the configuration.
    pub function: String,
    /// The ARN that a call of the API gave, which the error output names; its name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// How often a call that failed is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The most data in a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<usize>,
}

impl WasmCall {
    /// A call of the function of that name, with nothing said about it.
    pub fn of(function: impl Into<String>) -> Self {
        Self { function: function.into(), arn: None, retries: None, batch_bytes: None }
    }
}

/// What processors need of the configuration, by name.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Functions.
    pub functions: BTreeMap<String, WasmFunction>,
    /// Reference tables.
    pub tables: BTreeMap<String, Arc<Table>>,
}

impl ProcessorSpec {
    /// Whether a record may come to many times its size.
    pub(crate) fn expands(&self) -> bool {
        matches!(self, Self::Decompress { .. })
    }

    /// Whether it calls a function, which may give other rows at a second try.
    pub(crate) fn calls_function(&self) -> bool {
        self.function().is_some()
    }

    /// The name of the function that it calls.
    pub(crate) fn function(&self) -> Option<&str> {
        match self {
            Self::Wasm(call) => Some(&call.function),
            _ => None,
        }
    }

    /// The name of the table that it looks rows up in.
    pub(crate) fn table(&self) -> Option<&str> {
        match self {
            Self::Enrich { table, .. } => Some(table),
            _ => None,
        }
    }

    /// The processor.
    ///
    /// # Errors
    /// An option that it cannot work with.
    fn make(&self, loaded: &Loaded) -> Result<Box<dyn Processor>, OptionError> {
        Ok(match self {
            Self::Decompress { limit_bytes } => Box::new(Decompression::new("GZIP", *limit_bytes)?),
            Self::CloudwatchLogs { messages_only } => Box::new(CloudWatchLogProcessing::new(*messages_only)),
            Self::CsvToJson(options) => Box::new(CsvToJson::new(options)?),
            Self::Jq(options) => Box::new(Jq::new(options)?),
            Self::Enrich { table, options } => {
                let found = loaded.tables.get(table);
                let found = found.ok_or_else(|| unknown("enrich", "table", table, "tables"))?;
                Box::new(Enrich::new(options, Arc::clone(found))?)
            }
            Self::Redact { paths, patterns, method, replacement, key } => {
                let (paths, patterns, method) = (paths.clone(), patterns.clone(), *method);
                let (replacement, key) = (replacement.clone(), key.clone());
                Box::new(Redact::new(&RedactOptions { paths, patterns, method, replacement, key })?)
            }
            Self::RecordDeAggregation { delimiter } => {
                let kind = if delimiter.is_some() { "DELIMITED" } else { "JSON" };
                Box::new(RecordDeAggregation::new(kind, delimiter.as_deref())?)
            }
            Self::MetadataExtraction { query } => Box::new(MetadataExtraction::new(query, JQ)?),
            Self::Wasm(WasmCall { function, arn, retries, batch_bytes }) => {
                let found = loaded.functions.get(function);
                let found = found.ok_or_else(|| unknown("wasm", "function", function, "functions"))?;
                Box::new(found.called_as(arn.clone(), *retries, *batch_bytes))
            }
            Self::AppendDelimiter(delimiter) => Box::new(AppendDelimiterToRecord::new(delimiter)?),
        })
    }
}

fn unknown(processor: &'static str, field: &'static str, name: &str, section: &str) -> OptionError {
    let reason = format!("is not configured under {section}");
    OptionError { processor, field, value: name.to_owned(), reason }
}

/// The chain of these processors, in their order, with the functions and tables that they name.
///
/// # Errors
/// An option that one of them cannot work with, or what it names is not there.
pub fn chain(processors: &[ProcessorSpec], loaded: &Loaded) -> Result<Arc<Chain>, OptionError> {
    let made = processors.iter().map(|processor| processor.make(loaded)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Chain::new(made)))
}

/// Whether the options of these processors can be worked with; functions and tables are judged where they are loaded.
///
/// # Errors
/// An option that one of them cannot work with.
pub fn check(processors: &[ProcessorSpec]) -> Result<(), OptionError> {
    let none = Loaded::default();
    processors.iter().try_for_each(|processor| match processor {
        ProcessorSpec::Wasm(_) => Ok(()),
        ProcessorSpec::Enrich { options, .. } => options.check(),
        built_in => built_in.make(&none).map(drop),
    })
}

/// Whether tables have what these processors add of them; those that are not among `tables` are not judged.
///
/// # Errors
/// A column that a table does not have.
pub fn check_tables(
    processors: &[ProcessorSpec],
    tables: &BTreeMap<String, Arc<Table>>,
) -> Result<(), OptionError> {
    processors.iter().try_for_each(|processor| match processor {
        ProcessorSpec::Enrich { table, options } => match tables.get(table) {
            Some(table) => Enrich::new(options, Arc::clone(table)).map(drop),
            None => Ok(()),
        },
        _ => Ok(()),
    })
}

/// The partition keys that the prefix asks for are not those that the processors give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionKeysError {
    /// A query gives a key that is of no use.
    #[error("the metadata extraction gives the key {0}, which the prefix does not ask for")]
    Unasked(String),
    /// No query gives a key that every record needs.
    #[error("the prefix asks for the key {0}, which no metadata extraction gives")]
    Missing(String),
    /// A query cannot be run at all.
    #[error(transparent)]
    Query(#[from] OptionError),
}

/// Checks the keys of metadata extractions against those that the prefix asks for, as far as the queries say what they
/// give.
///
/// # Errors
/// [`PartitionKeysError`], with the first key that is given or asked for in vain.
pub fn check_partition_keys(
    asked: &PartitionKeys<'_>,
    processors: &[ProcessorSpec],
) -> Result<(), PartitionKeysError> {
    let mut given = Some(BTreeSet::new());
    for processor in processors {
        let ProcessorSpec::MetadataExtraction { query } = processor else { continue };
        let known = MetadataExtraction::new(query, JQ)?.known_keys();
        if let Some(unasked) = known.iter().flatten().find(|key| !asked.query.contains(key.as_str())) {
            return Err(PartitionKeysError::Unasked(unasked.clone()));
        }
        given = given.zip(known).map(|(given, known)| &given | &known);
    }
    let missing = |given: BTreeSet<String>| asked.query.iter().find(|key| !given.contains(**key));
    match given.and_then(missing) {
        Some(missing) => Err(PartitionKeysError::Missing((*missing).to_owned())),
        None => Ok(()),
    }
}
