//! The members of an S3 destination, extended or not, as keys of `destination.s3` and `backup.s3`.

use serde_json::{Map, Value, json};
use standpipe_model::Compression;
use standpipe_sinks::key;

use super::stream::{Fields, Scope, enabled, open, structure, text};
use super::{conversion, members, processing};
use crate::config;

/// The key of the backup, which the mapping of a stream moves to where the file has it.
pub(super) const BACKUP: &str = "backup";
const PARTITIONING: &str = "DynamicPartitioningConfiguration";
const CONVERSION: &str = "DataFormatConversionConfiguration";

/// The keys that the store of an endpoint's error output has, too.
pub(super) const IN_ERROR_OUTPUT: [&str; 5] =
    ["store", "bucket", "prefix", "error_output_prefix", "encryption"];

/// Takes a member's value; the text says why it cannot.
pub(super) type Take = fn(&Value, &mut Fields, &mut Scope<'_>) -> Result<(), String>;

/// What becomes of each member, in the order of the YAML's keys. What needs more than its own value comes before:
/// the bucket, without which there is no destination, the prefixes, which are checked as a pair, and the backup.
const MEMBERS: [(&str, Take); 9] = [
    ("CompressionFormat", compression),
    ("ProcessingConfiguration", processing::processing),
    (PARTITIONING, processing::partitioning),
    (CONVERSION, conversion::conversion),
    ("FileExtension", file_extension),
    ("CustomTimeZone", custom_time_zone),
    ("BufferingHints", buffering),
    ("EncryptionConfiguration", encryption),
    ("CloudWatchLoggingOptions", logging),
];

/// Why there is no partitioning beside prefixes that are left out.
const NO_PREFIX: &str = "the prefix that it needs is left out";

/// AWS's own buffering, where a definition names none: it differs from ours.
const AWS_SIZE_MIB: u64 = 5;
const AWS_CONVERTED_SIZE_MIB: u64 = 128;
const AWS_INTERVAL_S: u64 = 300;

/// Maps a destination.
///
/// # Errors
/// It has no bucket.
pub(super) fn destination(mut given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    let mut yaml = Fields::default();
    let arn = given.remove("BucketARN").unwrap_or_default();
    let arn = text(&arn).map_err(|why| format!("{}.BucketARN {why}", scope.path))?;
    let bucket = arn.rsplit(":::").next().unwrap_or_default();
    if !arn.starts_with("arn:") || bucket.is_empty() || bucket == arn {
        return Err(format!("{}.BucketARN: {arn:?} is not the ARN of a bucket", scope.path));
    }
    yaml.text("store", scope.store);
    yaml.text("bucket", bucket);
    scope.buckets.insert(bucket.to_owned());
    if let Some(role) = given.remove("RoleARN") {
        let role = text(&role).unwrap_or_else(|_| role.to_string());
        scope.remark("RoleARN", &format!("{role}; the store's credentials take its place"));
    }
    let partitioned = processing::is_partitioned(&given);
    if !prefixes(&mut given, &mut yaml, scope)
        && let Some(partitioning) = given.remove(PARTITIONING).filter(|_| partitioned)
    {
        scope.note(PARTITIONING, &partitioning, NO_PREFIX);
    }
    let hints = match given.get(CONVERSION).is_some_and(conversion::is_on) {
        true => json!({ "SizeInMBs": AWS_CONVERTED_SIZE_MIB }),
        false => Value::Object(Map::new()),
    };
    given.entry("BufferingHints").or_insert(hints);
    let backup = backup(&mut given, scope)?;
    for (member, take) in MEMBERS {
        let Some(value) = given.remove(member) else { continue };
        if let Err(why) = open(&value).map_or(Ok(()), Err).and_then(|()| take(&value, &mut yaml, scope)) {
            scope.note(member, &value, why);
        }
    }
    if yaml.0.iter().any(|(key, _)| *key == conversion::FORMAT) {
        // Rows of a file have no ends, and need none.
        yaml.0.retain(|(key, _)| *key != "delimiter");
    }
    if let Some(backup) = backup {
        yaml.fields(BACKUP, backup);
    }
    scope.leave(given, &[]);
    Ok(yaml)
}

/// The two prefixes, if they are right together; whether they are.
fn prefixes(given: &mut Map<String, Value>, yaml: &mut Fields, scope: &mut Scope<'_>) -> bool {
    let partitioned = processing::is_partitioned(given);
    let names = [("Prefix", "prefix"), ("ErrorOutputPrefix", "error_output_prefix")];
    let values = names.map(|(member, _)| given.remove(member).filter(|value| !value.is_null()));
    let texts = values.clone().map(|value| value.as_ref().map_or(Ok(String::new()), text));
    let checked = match &texts {
        [Ok(prefix), Ok(error)] => {
            key::validate(prefix, error, partitioned).map_err(|error| error.to_string())
        }
        [Err(why), _] | [_, Err(why)] => Err(why.clone()),
    };
    for (((member, key), value), text) in names.into_iter().zip(&values).zip(&texts) {
        match (&checked, value, text) {
            (_, None, _) => {}
            (Ok(()), _, Ok(text)) => yaml.text(key, text.as_str()),
            (Ok(()), Some(value), Err(why)) | (Err(why), Some(value), _) => {
                scope.note(member, value, why.as_str());
            }
        }
    }
    checked.is_ok()
}

/// The backup, where there is one.
///
/// # Errors
/// It has no bucket.
pub(super) fn backup(
    given: &mut Map<String, Value>,
    scope: &mut Scope<'_>,
) -> Result<Option<Fields>, String> {
    let [mode, backup] =
        ["S3BackupMode", "S3BackupConfiguration"].map(|name| given.remove(name).unwrap_or_default());
    if let Some(why) = open(&mode) {
        scope.note("S3BackupMode", &mode, why);
    }
    if mode != "Enabled" {
        return Ok(None);
    }
    match structure(backup.clone()) {
        Ok(members) => destination(members, &mut scope.within("S3BackupConfiguration")).map(Some),
        Err(why) => {
            scope.note("S3BackupConfiguration", &backup, why);
            Ok(None)
        }
    }
}

fn compression(value: &Value, yaml: &mut Fields, _: &mut Scope<'_>) -> Result<(), String> {
    let name = text(value)?;
    let known = serde_json::from_value::<Compression>(name.as_str().into());
    let known = known.map_err(|_| "standpipe knows no such compression".to_owned())?;
    yaml.text("compression", config::compression_word(known));
    Ok(())
}

fn file_extension(value: &Value, yaml: &mut Fields, _: &mut Scope<'_>) -> Result<(), String> {
    let extension = text(value)?;
    config::key_setting("", &extension)?;
    if !extension.is_empty() {
        yaml.text("file_extension", extension);
    }
    Ok(())
}

fn custom_time_zone(value: &Value, yaml: &mut Fields, _: &mut Scope<'_>) -> Result<(), String> {
    let zone = text(value)?;
    config::key_setting(&zone, "")?;
    if !zone.is_empty() {
        yaml.text("custom_time_zone", zone);
    }
    Ok(())
}

pub(super) fn buffering(value: &Value, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    let mut hints = members(Some(value));
    let mut fields = Fields::default();
    let mut scope = scope.within("BufferingHints");
    for (member, key, default, range, unit) in [
        ("SizeInMBs", "size", AWS_SIZE_MIB, 1..=128, "MiB"),
        ("IntervalInSeconds", "interval", AWS_INTERVAL_S, 0..=900, "s"),
    ] {
        let given = hints.remove(member).unwrap_or_else(|| default.into());
        let number = text(&given).and_then(|text| match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!(
                "the API allows {} to {}; the default stands in for it",
                range.start(),
                range.end()
            )),
        });
        if let Err(why) = &number {
            scope.note(member, &given, why.as_str());
        }
        fields.text(key, format!("{}{unit}", number.unwrap_or(default)));
    }
    scope.leave(hints, &[]);
    yaml.fields("buffering", fields);
    Ok(())
}

fn encryption(value: &Value, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    let Some(key) = value.pointer("/KMSEncryptionConfig/AWSKMSKeyARN") else {
        // What is left is that there is none, as without the member.
        return match value.get("NoEncryptionConfig") {
            Some(_) => Ok(()),
            None => Err("it names neither a key nor NoEncryptionConfig".to_owned()),
        };
    };
    let key = text(key)?;
    scope.remark("EncryptionConfiguration", "the store's credentials need the use of that key");
    let mut fields = Fields::default();
    fields.text("kms", key);
    yaml.fields("encryption", fields);
    Ok(())
}

pub(super) fn logging(value: &Value, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    if !enabled(value)? {
        return Ok(());
    }
    let mut fields = Fields::default();
    for (member, key) in [("LogGroupName", "group"), ("LogStreamName", "stream")] {
        let name =
            text(value.get(member).unwrap_or(&Value::Null)).map_err(|why| format!("{member} {why}"))?;
        fields.text(key, name);
    }
    let where_to =
        "failed deliveries are told in standpipe's own log, or in files of its name below delivery_log_dir";
    scope.remark("CloudWatchLoggingOptions", where_to);
    yaml.fields("logging", fields);
    Ok(())
}
