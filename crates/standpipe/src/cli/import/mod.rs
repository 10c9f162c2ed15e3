//! `standpipe import …`: definitions that people already have, as streams of `standpipe.yaml`.
//!
//! ```text
//! template, state, description ─► Definition: the input of CreateDeliveryStream ─► Stream: YAML, and what it leaves out
//! ```
//!
//! Every input becomes the same JSON first, with AWS's own member names, so that what a member maps to is said once (in
//! `stream`). Nothing is left out in silence: each member without a counterpart is told with its value, why, and
//! what to do, in the YAML and on standard error.
//!
//! # Limits
//! - A file may have `FILE_MAX` bytes; the parsers bound depth and aliases.
//! - No value of a member that holds a secret is told.

mod cloudformation;
mod conversion;
pub(super) mod describe;
mod endpoints;
mod output;
mod processing;
mod s3;
mod stream;
mod tables;
mod template;
mod terraform;

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{complain, count};
use stream::Stream;

/// The most bytes of a file that is read; a template may have 1 MB, a state file of a large project tens.
const FILE_MAX: u64 = 256 << 20;

/// What definitions are made of.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// A CloudFormation template, YAML or JSON.
    Cloudformation(TemplateArgs),
    /// The output of `terraform show -json`, of a state or of a plan.
    TerraformShow(ImportArgs),
    /// The output of `aws firehose describe-delivery-stream`, of one stream or of several, or a folder of such files.
    Describe(ImportArgs),
}

/// Arguments of every import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// A folder that gets one file per stream, as `streams_dir` reads them; `-` prints one document.
    #[arg(long, short, default_value = "-", value_name = "DIR|-")]
    pub output: PathBuf,
    /// What the store is called that the buckets are in.
    #[arg(long, default_value = "aws", value_name = "NAME")]
    pub store: String,
    /// End with 1 where any member could not be mapped.
    #[arg(long)]
    pub strict: bool,
}

/// Arguments of `import cloudformation`.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// The arguments of every import.
    #[command(flatten)]
    pub import: ImportArgs,
    /// The value of a parameter, the name of a resource (`LakeBucket=my-lake`) or one of its attributes
    /// (`Role.Arn=arn:…`); may be given several times.
    #[arg(long = "parameter", short, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub parameters: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// One stream as its source defines it.
#[derive(Debug, Default)]
pub(super) struct Definition {
    /// Where it stands in the source, such as `Resources.Clicks`.
    origin: String,
    /// The region it is in, where the source says so.
    region: Option<String>,
    /// The input of `CreateDeliveryStream`. What a template leaves open stands there as the template's own function.
    input: Map<String, Value>,
    /// What a reader of the result should know.
    remarks: Vec<String>,
}

pub(super) fn run(command: &ImportCommand) -> anyhow::Result<ExitCode> {
    let (args, found) = match command {
        ImportCommand::Cloudformation(args) => {
            let text = read(&args.import.file)?;
            (&args.import, cloudformation::read(&text, &args.parameters)?)
        }
        ImportCommand::TerraformShow(args) => (args, terraform::read(&read(&args.file)?)?),
        ImportCommand::Describe(args) => (args, described(&args.file)?),
    };
    let source = args.file.display().to_string();
    anyhow::ensure!(!found.is_empty(), "{source} defines no delivery stream");
    let streams: Vec<Stream> = found.into_iter().map(|found| stream::map(found, &args.store)).collect();
    for problem in streams.iter().flat_map(Stream::problems) {
        complain(&problem);
    }
    output::write(&source, &args.store, &streams, &args.output)?;
    let failed = streams.iter().filter(|stream| stream.failure.is_some()).count();
    let left_out: usize = streams.iter().map(|stream| stream.notes.len()).sum();
    complain(&format!(
        "{} imported, {failed} not; {} left out",
        count((streams.len() - failed) as u64, "stream"),
        count(left_out as u64, "member"),
    ));
    Ok(if failed > 0 || args.strict && left_out > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads one file of descriptions, or every `*.json` of a folder in the order of their names.
fn described(path: &Path) -> anyhow::Result<Vec<Definition>> {
    if !path.is_dir() {
        return describe::read(&read(path)?);
    }
    let entries = std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("cannot read the folder {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut found = Vec::new();
    for file in files {
        found.extend(describe::read(&read(&file)?).with_context(|| file.display().to_string())?);
    }
    Ok(found)
}

/// Reads a text file; `-` is standard input.
fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().take(FILE_MAX + 1).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(FILE_MAX + 1).read_to_string(&mut text)),
    };
    let len = read.with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(len as u64 <= FILE_MAX, "{} has more than {FILE_MAX} bytes", path.display());
    Ok(text)
}

/// The members of a value; none where it is no object.
fn members(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}
