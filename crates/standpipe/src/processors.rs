//! The processors that a stream lists, between their specification and the chain that runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standpipe_transform::processors::{
    AppendDelimiterToRecord, CloudWatchLogProcessing, CsvToJson, CsvToJsonOptions, Decompression, Jq,
    JqOptions, Method, OptionError, Redact, RedactOptions,
};
use standpipe_transform::{Chain, Processor, WasmFunction};

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

/// Functions that have been loaded, by name.
pub type LoadedFunctions = BTreeMap<String, WasmFunction>;

impl ProcessorSpec {
    /// Whether a record may come to many times its size.
    pub(crate) fn expands(&self) -> bool {
        matches!(self, Self::Decompress { .. })
    }

    /// Whether what becomes of records is up to a function.
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

    /// The processor.
    ///
    /// # Errors
    /// An option that it cannot work with.
    fn make(&self, functions: &LoadedFunctions) -> Result<Box<dyn Processor>, OptionError> {
        Ok(match self {
            Self::Decompress { limit_bytes } => Box::new(Decompression::new("GZIP", *limit_bytes)?),
            Self::CloudwatchLogs { messages_only } => Box::new(CloudWatchLogProcessing::new(*messages_only)),
            Self::CsvToJson(options) => Box::new(CsvToJson::new(options)?),
            Self::Jq(options) => Box::new(Jq::new(options)?),
            Self::Redact { paths, patterns, method, replacement } => {
                let (paths, patterns) = (paths.clone(), patterns.clone());
                let replacement = replacement.clone();
                Box::new(Redact::new(&RedactOptions {
                    paths,
                    patterns,
                    method: *method,
                    replacement,
                    key: None,
                })?)
            }
            Self::Wasm(WasmCall { function, arn, retries, batch_bytes }) => {
                let loaded = functions.get(function).ok_or_else(|| OptionError {
                    processor: "wasm",
                    field: "function",
                    value: function.clone(),
                    reason: "is not configured under functions".to_owned(),
                })?;
                Box::new(loaded.called_as(arn.clone(), *retries, *batch_bytes))
            }
            Self::AppendDelimiter(delimiter) => Box::new(AppendDelimiterToRecord::new(delimiter)?),
        })
    }
}

/// The chain of these processors, in their order, with the functions that they call.
///
/// # Errors
/// An option that one of them cannot work with, or a function that is not there.
pub fn chain(processors: &[ProcessorSpec], functions: &LoadedFunctions) -> Result<Arc<Chain>, OptionError> {
    let made = processors.iter().map(|processor| processor.make(functions)).collect::<Result<_, _>>()?;
    Ok(Arc::new(Chain::new(made)))
}

/// Whether the options of these processors can be worked with; functions are judged where they are loaded.
///
/// # Errors
/// An option that one of them cannot work with.
pub fn check(processors: &[ProcessorSpec]) -> Result<(), OptionError> {
    let none = LoadedFunctions::new();
    let mut built_in = processors.iter().filter(|processor| !processor.calls_function());
    built_in.try_for_each(|processor| processor.make(&none).map(drop))
}
