//! Writing what was imported: one document, or a file for each stream.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::super::print;
use super::stream::Stream;

/// Writes the streams that were mapped to standard output, or into a folder where standard output gets the stores.
///
/// # Errors
/// A file is there already, or cannot be written.
pub(super) fn write(source: &str, store: &str, streams: &[Stream], output: &Path) -> anyhow::Result<()> {
    if output == Path::new("-") {
        return print(&document(source, store, streams)?);
    }
    std::fs::create_dir_all(output)
        .with_context(|| format!("cannot make the folder {}", output.display()))?;
    for stream in streams.iter().filter(|stream| stream.failure.is_none()) {
        let path = output.join(format!("{}.yaml", stream.name));
        let text = remarks(stream, "") + &yaml(stream)?;
        let file = std::fs::File::create_new(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    print(&format!(
        "# For standpipe.yaml, beside streams_dir: {}\n{}",
        output.display(),
        stores(store, streams)?
    ))
}

/// Stores and streams as one document.
pub(super) fn document(source: &str, store: &str, streams: &[Stream]) -> anyhow::Result<String> {
    let stores = stores(store, streams)?;
    let none = if streams.iter().all(|stream| stream.failure.is_some()) { " []" } else { "" };
    let mut text =
        format!("# Streams of {}, for standpipe.yaml.\n{stores}streams:{none}\n", one_line(source));
    for stream in streams {
        text += &item(stream, "  ")?;
    }
    Ok(text)
}

/// The sections of stores, functions, schemas and keys that the streams name.
fn stores(name: &str, streams: &[Stream]) -> anyhow::Result<String> {
    let buckets: BTreeSet<&str> =
        streams.iter().flat_map(|stream| &stream.buckets).map(String::as_str).collect();
    let mut regions = streams.iter().filter_map(|stream| stream.region.as_deref());
    let region = regions.next().unwrap_or("us-east-1");
    let mut text = format!(
        "# The buckets may be in S3 (as here), or in a store of your own: then with `endpoint`, or another `type`.\n\
         # Without `access_key_id` the usual AWS chain gives the credentials.\nstores:\n  {}:\n    type: s3\n    region: {}\n    buckets:{}\n",
        scalar(name)?,
        scalar(region)?,
        if buckets.is_empty() { " []" } else { "" },
    );
    for bucket in buckets {
        text += &format!("      - {}\n", scalar(bucket)?);
    }
    Ok(text + &functions(streams)? + &schemas(streams)? + &keys(streams)?)
}

/// The section of functions that the streams call, where they call any.
fn functions(streams: &[Stream]) -> anyhow::Result<String> {
    let names: BTreeSet<&String> = streams.iter().flat_map(|stream| &stream.functions).collect();
    let mut text = String::new();
    for name in names {
        text += &format!("  {}: {{ path: {} }}\n", scalar(name)?, scalar(&format!("./{name}.wasm"))?);
    }
    let about = "# In the place of Lambda functions; docs/functions.md says how to build them.\nfunctions:\n";
    Ok(if text.is_empty() { text } else { format!("{about}{text}") })
}

/// The section of schemas that the streams convert to, where they do.
fn schemas(streams: &[Stream]) -> anyhow::Result<String> {
    let names: BTreeSet<&String> = streams.iter().flat_map(|stream| &stream.schemas).collect();
    let mut text = String::new();
    for name in names {
        let (database, table) = name.split_once('.').unwrap_or((name, ""));
        let get = one_line(&format!("get-table --database-name {database} --name {table} > {name}.json"));
        text += &format!("  # aws glue {get}\n");
        text += &format!("  {}: {{ file: {} }}\n", scalar(name)?, scalar(&format!("./{name}.json"))?);
    }
    let about = "# The columns of tables; docs/formats.md says how else they can be written.\nschemas:\n";
    Ok(if text.is_empty() { text } else { format!("{about}{text}") })
}

/// The section of keys that the streams name, where they name any.
fn keys(streams: &[Stream]) -> anyhow::Result<String> {
    let keys: BTreeMap<_, _> = streams.iter().filter_map(|stream| stream.key.as_ref()).cloned().collect();
    let mut text = String::new();
    for (name, arn) in keys {
        let region = arn.split(':').nth(3).unwrap_or_default();
        let (name, arn, region) = (scalar(&name)?, scalar(&arn)?, scalar(region)?);
        text += &format!("  {name}:\n    type: aws_kms\n    key_id: {arn}\n    region: {region}\n");
    }
    Ok(if text.is_empty() { text } else { format!("keys:\n{text}") })
}

/// A stream as an item of `streams`.
fn item(stream: &Stream, indent: &str) -> anyhow::Result<String> {
    let mut text = remarks(stream, indent);
    if stream.failure.is_none() {
        for (number, line) in yaml(stream)?.lines().enumerate() {
            text += &format!("{indent}{}{line}\n", if number == 0 { "- " } else { "  " });
        }
    }
    Ok(text)
}

fn yaml(stream: &Stream) -> anyhow::Result<String> {
    Ok(serde_yaml::to_string(&stream.yaml)?)
}

fn scalar(text: &str) -> anyhow::Result<String> {
    Ok(serde_yaml::to_string(&text)?.trim_end().to_owned())
}

/// What is known of a stream beside its YAML, as comments.
fn remarks(stream: &Stream, indent: &str) -> String {
    let mut lines = vec![format!("{}, from {}", stream.name, stream.origin)];
    lines.extend(stream.failure.iter().map(|why| format!("NOT IMPORTED: {why}")));
    lines.extend(stream.remarks.iter().cloned());
    lines.extend(stream.notes.iter().map(ToString::to_string));
    lines.iter().map(|line| format!("{indent}# {}\n", one_line(line))).collect()
}

/// The text without what would end a comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
