//! The `functions` section: functions in WebAssembly that processors call, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;

use super::compound::{List, Map, Named, Sub};
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, FilePath, Int, Size, Span, secret_text, text};

/// How often a call that failed may be repeated, as the Firehose API has it.
pub(super) const RETRIES: Int = Int(0..=300);
/// How much data may go into a call.
pub(super) const BATCH: Size = Size(1 << 10..=6 << 20);

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// The file.
    pub path: PathBuf,
    /// The SHA-256 that it must have, in hexadecimal digits.
    pub sha256: Option<String>,
    /// What it is told; some of it may be secret.
    pub config: BTreeMap<String, Secret>,
    /// The tables that it may look up.
    pub tables: BTreeSet<String>,
    /// What it may use that makes it impure.
    pub grants: BTreeSet<Grant>,
    /// The memory of a call.
    pub memory_bytes: usize,
    /// The time of a call.
    pub deadline: Duration,
    /// The size of an answer.
    pub output_bytes: usize,
    /// How often a call that failed is repeated.
    pub retries: u32,
    /// The most data in a call.
    pub batch_bytes: usize,
}

/// What a function may use beyond its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// The time of day.
    Clock,
    /// Chance.
    Random,
}

/// Reads `functions`.
pub(super) fn functions(section: &mut Section<'_, '_>) -> Vec<Named<FunctionConfig>> {
    let functions = section.optional(
        "functions",
        Map(Sub(function)),
        "Functions in WebAssembly, by the names that `wasm` processors and ARNs of Lambda functions call them by.",
    );
    functions.unwrap_or_default()
}

fn function(section: &mut Section<'_, '_>) -> Option<FunctionConfig> {
    let path = section.required("path", FilePath, "The WebAssembly file: a component, or a WASI program.");
    let sha256 = section.optional(
        "sha256",
        Digest,
        "The SHA-256 that the file must have, in hexadecimal digits; any where absent.",
    );
    let config = section.optional(
        "config",
        Map(secret_text()),
        "What the function is told: values by name. They may be secret, and are never shown.",
    );
    let tables = section.optional(
        "tables",
        List(text(1..=64)),
        "The tables that a component may look rows up in, by their names under `tables`.",
    );
    let grants = section.optional(
        "grant",
        List(Choice(&[("clock", Grant::Clock), ("random", Grant::Random)])),
        "What it may use that makes it impure: the time of day, chance.",
    );
    let memory =
        section.or("memory", Size(64 << 10..=4 << 30), "64MiB", "The most memory that a call may take.");
    let deadline = section.or(
        "deadline",
        Span(Duration::from_millis(10)..=Duration::from_mins(5)),
        "1s",
        "The most time that a call may take.",
    );
    let output =
        section.or("output", Size(1 << 10..=64 << 20), "6MiB", "The most bytes that a call may answer.");
    let retries =
        section.or("retries", RETRIES, "3", "How often a call that failed is repeated (`NumberOfRetries`).");
    let batch = section.or(
        "batch",
        BATCH,
        "1MiB",
        "The most data in a call (`BufferSizeInMBs`); a record that is larger makes a call by itself.",
    );
    let config = config.unwrap_or_default().into_iter();
    Some(FunctionConfig {
        path: path?,
        sha256,
        config: config.filter_map(|(name, _, value)| Some((name, Secret::new(value?)))).collect(),
        tables: tables.unwrap_or_default().into_iter().collect(),
        grants: grants.unwrap_or_default().into_iter().collect(),
        memory_bytes: usize::try_from(memory).ok()?,
        deadline,
        output_bytes: usize::try_from(output).ok()?,
        retries: u32::try_from(retries).ok()?,
        batch_bytes: usize::try_from(batch).ok()?,
    })
}

/// A name that an ARN of a Lambda function can lead to.
pub(crate) fn is_function_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// A SHA-256.
struct Digest;

impl Shape for Digest {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let text = at.text()?.to_ascii_lowercase();
        match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Some(text),
            false => at.refuse(format!("\"{text}\" is not a SHA-256: 64 hexadecimal digits")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "SHA-256".to_owned(), pattern: "^[0-9a-fA-F]{64}$" }
    }
}
