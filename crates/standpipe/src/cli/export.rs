//! `standpipe export`: streams as the JSON that creates them through the Firehose API, here or at AWS.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};
use standpipe_convert::Deserializer;
use standpipe_convert::parquet::{Compression, ParquetOptions};
use standpipe_ingest::{Destination, DestinationKind, Operation, check_destination, shape};
use standpipe_model::{Encryption, ObjectOptions};
use standpipe_sinks::PostgresOptions;
use standpipe_sinks::http::HttpFormat;
use standpipe_sinks::postgres::Conflict;

use super::client::{ConnectArgs, FirehoseClient};
use super::import::describe;
use super::{CONFIG_PATH, complain, count, env, print, streams};
use crate::config::{Config, KeyKeeper};
use crate::daemon::conversion::compression_name;
use crate::daemon::{mapping, processing};
use crate::endpoints::{ClusterAuth, CopyRight, Endpoint, RedshiftTarget, Target};
use crate::spec::{ColumnSource, Conversion, OutputFormat, Partitioning, S3Destination, StreamSpec};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The streams' names; all of them where none is given.
    pub streams: Vec<String>,
    /// A folder that gets one file per stream, for `--cli-input-json file://…`; `-` prints them one behind the other.
    #[arg(long, short, default_value = "-", value_name = "DIR|-")]
    pub output: PathBuf,
    /// End with 1 where anything of a stream cannot be said in the API.
    #[arg(long)]
    pub strict: bool,
    /// With an endpoint, the daemon there is asked for its streams; else those of the configuration file are taken.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// A stream in the members of `CreateDeliveryStream`.
struct Exported {
    name: String,
    input: Map<String, Value>,
    /// What the API has no member for.
    left_out: Vec<String>,
}

pub(super) async fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let exported = match args.connect.endpoint {
        Some(_) => of_daemon(&args.streams, &args.connect).await?,
        None => of_file(&args.streams, args.connect.config.as_deref().unwrap_or(Path::new(CONFIG_PATH)))?,
    };
    let (mut failed, mut left_out) = (0, 0);
    for stream in &exported {
        stream.left_out.iter().for_each(|what| complain(&format!("{}: left out {what}", stream.name)));
        left_out += stream.left_out.len();
        match check(&stream.input) {
            Ok(()) => write(stream, &args.output)?,
            Err(why) => {
                complain(&format!("{}: not exported: {why}", stream.name));
                failed += 1;
            }
        }
    }
    let done = count((exported.len() - failed) as u64, "stream");
    complain(&format!("{done} exported, {failed} not; {} left out", count(left_out as u64, "setting")));
    Ok(if failed > 0 || args.strict && left_out > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn of_file(names: &[String], path: &Path) -> anyhow::Result<Vec<Exported>> {
    let config = Config::load(path, &env)?;
    let wanted =
        |stream: &&StreamSpec| names.is_empty() || names.iter().any(|name| name == stream.name.as_str());
    for name in names {
        let known = config.streams.iter().any(|stream| stream.name.as_str() == name);
        anyhow::ensure!(known, "{} has no stream {name}", path.display());
    }
    Ok(config.streams.iter().filter(wanted).map(|stream| of_spec(stream, &config)).collect())
}

async fn of_daemon(names: &[String], connect: &ConnectArgs) -> anyhow::Result<Vec<Exported>> {
    let client = FirehoseClient::connect(connect)?;
    let mut names = names.to_vec();
    if names.is_empty() {
        let take = |page: &[String]| {
            names.extend_from_slice(page);
            Ok(())
        };
        streams::list(&client, take).await?;
    }
    let mut exported = Vec::new();
    for name in names {
        let described = streams::describe(&client, &name).await?;
        let mut input = describe::create_input(&described).context("the answer describes no stream")?;
        let tags = streams::tags(&client, &name).await?;
        if tags.as_array().is_some_and(|tags| !tags.is_empty()) {
            input.insert("Tags".to_owned(), tags);
        }
        exported.push(Exported { name, input, left_out: Vec::new() });
    }
    Ok(exported)
}

fn of_spec(spec: &StreamSpec, config: &Config) -> Exported {
    let Destination { kind, configuration } = mapping::from_spec(spec, config);
    let input = json!({
        "DeliveryStreamName": spec.name.as_str(),
        "DeliveryStreamType": "DirectPut",
        format!("{}DestinationConfiguration", kind.name()): configuration,
    });
    let mut input = input.as_object().cloned().unwrap_or_default();
    let mut left_out = Vec::new();
    if let Some(name) = &spec.encryption_key {
        match encryption(name, config) {
            Some(given) => drop(input.insert("DeliveryStreamEncryptionConfigurationInput".to_owned(), given)),
            None => left_out.push("encryption".to_owned()),
        }
    }
    if !spec.processors.is_empty()
        && processing::described(&spec.processors, &|name| config.function_arn(name)).is_none()
    {
        left_out.push("processors".to_owned());
    }
    left_out.extend(spec.further.iter().map(|branch| format!("destinations.{}", branch.id)));
    left_out.extend(spec.journal_limit_bytes.map(|_| "journal_limit".to_owned()));
    if kind == DestinationKind::Iceberg && spec.backup.is_some() {
        left_out.push("backup".to_owned());
    }
    left_out.extend((spec.retention_ms > 0).then(|| "retention".to_owned()));
    let backup = spec.backup.iter().map(|backup| ("backup", backup));
    for (path, destination) in [("destination", &spec.destination)].into_iter().chain(backup) {
        let target = destination.endpoint.as_ref().map(|endpoint| endpoint.target.name());
        let target = target.or(destination.appends().then_some("iceberg"));
        let at = target.map_or("s3".to_owned(), |kind| format!("{kind}.error_output"));
        left_out.extend(unsaid(destination).map(|key| format!("{path}.{at}.{key}")));
    }
    left_out.extend(spec.destination.endpoint.iter().flat_map(unsaid_of_endpoint));
    let max_lag = spec.destination.patience.and_then(|patience| patience.max_lag_ms);
    left_out.extend(max_lag.map(|_| "destination.iceberg.max_lag".to_owned()));
    left_out.extend(spec.destination.conversion.iter().flat_map(unsaid_of_format));
    if let Some(backup) = &spec.backup {
        let unsaid = [
            ("file_extension", !backup.file_extension.is_empty()),
            ("custom_time_zone", !matches!(backup.custom_time_zone.as_str(), "" | "UTC")),
        ];
        left_out.extend(unsaid.iter().filter(|(_, set)| *set).map(|(key, _)| format!("backup.s3.{key}")));
    }
    Exported { name: spec.name.to_string(), input, left_out }
}

/// What the API calls a key of the file; `None` for one that has no name there.
fn encryption(name: &str, config: &Config) -> Option<Value> {
    let key = config.keys.get(name)?;
    let arn = key.arns.first().or(match &key.keeper {
        KeyKeeper::AwsKms(kms) if kms.key_id.starts_with("arn:") => Some(&kms.key_id),
        _ => None,
    });
    match arn {
        Some(arn) => Some(json!({ "KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": arn })),
        None if config.default_key.as_deref() == Some(name) => Some(json!({ "KeyType": "AWS_OWNED_CMK" })),
        None => None,
    }
}

/// The keys of a format that are set and have no member in the API.
fn unsaid_of_format(conversion: &Conversion) -> Vec<String> {
    let default = ParquetOptions::default();
    let (format, mut keys) = match &conversion.output {
        OutputFormat::Parquet(parquet) => (
            "parquet",
            vec![
                ("statistics", parquet.statistics != default.statistics),
                ("bloom_filters", !parquet.bloom_filters.is_empty()),
                ("sort_columns", !parquet.sort_columns.is_empty()),
                ("row_group_rows", parquet.row_group_rows != default.row_group_rows),
            ],
        ),
        OutputFormat::Orc(_) => ("orc", Vec::new()),
        OutputFormat::Iceberg(parquet) => {
            let mut keys = Vec::new();
            keys.extend(
                (parquet.compression != Compression::Zstd).then_some("destination.iceberg.compression"),
            );
            keys.extend((conversion.deserializer != Deserializer::default()).then_some("deserializer"));
            return keys.into_iter().map(str::to_owned).collect();
        }
        OutputFormat::Avro { .. } | OutputFormat::Json => return vec!["format".to_owned()],
    };
    keys.insert(0, ("compression", compression_name(&conversion.output).is_none()));
    keys.push(("schema", matches!(conversion.columns_from, Some(ColumnSource::Infer(_)))));
    keys.into_iter().filter(|(_, set)| *set).map(|(key, _)| format!("format.{format}.{key}")).collect()
}

/// The keys of an endpoint that are set and have no member in the API, or must not be written.
fn unsaid_of_endpoint(endpoint: &Endpoint) -> Vec<String> {
    let (reach, keys) = match &endpoint.target {
        Target::Http(http) => (
            &http.reach,
            vec![
                ("access_key", http.access_key.is_some()),
                ("format", http.format != HttpFormat::default()),
                ("headers", !http.headers.is_empty()),
                ("records_max", http.records_max.is_some()),
                ("bytes_max", http.bytes_max.is_some()),
            ],
        ),
        Target::OpenSearch(cluster) => (
            &cluster.reach,
            vec![
                ("endpoint", cluster.endpoints.len() > 1),
                ("data_stream", cluster.index.data_stream),
                ("username", matches!(cluster.auth, ClusterAuth::Basic { .. })),
                ("api_key", matches!(cluster.auth, ClusterAuth::ApiKey { .. })),
                ("aws", matches!(cluster.auth, ClusterAuth::Aws { .. })),
                ("gzip", cluster.gzip),
                ("documents_max", cluster.documents_max.is_some()),
                ("bytes_max", cluster.bytes_max.is_some()),
            ],
        ),
        Target::Postgres(table) => (
            &table.reach,
            vec![
                ("password", table.password.is_some()),
                ("columns", table.columns.iter().any(|(_, path)| path.is_some())),
                ("conflict", table.conflict != Conflict::default()),
                ("ledger", table.ledger != PostgresOptions::LEDGER),
                ("records_max", table.records_max.is_some()),
                ("bytes_max", table.bytes_max.is_some()),
            ],
        ),
        Target::Redshift(RedshiftTarget { table, credentials, keeps_staged, .. }) => (
            &table.reach,
            vec![
                ("password", table.password.is_some()),
                ("ledger", table.ledger != PostgresOptions::LEDGER),
                ("credentials", matches!(credentials, CopyRight::Keys(_))),
                ("iam_role", matches!(credentials, CopyRight::Role(role) if !role.starts_with("arn:"))),
                ("keep_staged", !keeps_staged),
            ],
        ),
        Target::Splunk(splunk) => (
            &splunk.reach,
            vec![
                ("token", true),
                ("acknowledgement", splunk.acknowledgement_ms.is_none()),
                ("bytes_max", splunk.bytes_max.is_some()),
            ],
        ),
    };
    let kind = endpoint.target.name();
    let of_all = [
        ("tls", reach.has_tls()),
        ("proxy", reach.proxy.is_some()),
        ("max_lag", endpoint.max_lag_ms.is_some()),
    ];
    let set = keys.into_iter().chain(of_all).filter(|(_, set)| *set);
    set.map(|(key, _)| format!("destination.{kind}.{key}")).collect()
}

/// The keys of a destination that are set and have no member in the API.
fn unsaid(destination: &S3Destination) -> impl Iterator<Item = &'static str> {
    let ObjectOptions { storage_class, acl, encryption, tags, metadata, lock } = &destination.object;
    let default = Partitioning::default();
    let partitioning = destination.partitioning.as_ref().unwrap_or(&default);
    [
        ("compression_level", destination.compression_level.is_some()),
        ("delimiter", !destination.delimiter.is_empty()),
        ("storage_class", storage_class.is_some()),
        ("acl", acl.is_some()),
        ("encryption", *encryption == Encryption::S3),
        ("tags", !tags.is_empty()),
        ("metadata", !metadata.is_empty()),
        ("object_lock", lock.is_some()),
        ("partitioning.limit", partitioning.active_max != default.active_max),
        ("partitioning.window", partitioning.window_bytes.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, set)| set.then_some(key))
}

/// Checks the input as the API would, with a password for the one that is not written.
fn check(input: &Map<String, Value>) -> Result<(), String> {
    let structure = shape::input_of(Operation::CreateDeliveryStream);
    let rules = |_| {
        let destination = DestinationKind::ALL.into_iter().find_map(|kind| {
            let member = format!("{}DestinationConfiguration", kind.name());
            let mut configuration = input.get(&member)?.as_object()?.clone();
            if kind == DestinationKind::Redshift {
                configuration.entry("Password").or_insert_with(|| "********".into());
            }
            Some(Destination { kind, configuration })
        });
        destination.as_ref().map_or(Ok(()), check_destination)
    };
    shape::check(structure, &Value::Object(input.clone()))
        .and_then(rules)
        .map_err(|error| error.message.as_deref().unwrap_or(error.code.as_str()).to_owned())
}

fn write(stream: &Exported, output: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&stream.input)? + "\n";
    if output == Path::new("-") {
        return print(&text);
    }
    std::fs::create_dir_all(output)
        .with_context(|| format!("cannot make the folder {}", output.display()))?;
    let path = output.join(format!("{}.json", stream.name));
    let file = std::fs::File::create_new(&path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_exported_without_their_passwords_and_what_the_api_has_no_word_for_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("standpipe.yaml");
        let text = "stores: {aws: {type: s3}}
streams:
- name: to-redshift
  destination:
    redshift: {host: r, database: d, user: u, password: hunter2, table: t, iam_role: 'arn:aws:iam::123456789012:role/r', staging: {bucket: b}}
- name: to-postgres
  destination:
    postgres: {host: p, database: d, user: u, password: hunter2, table: t, columns: {a: .b}, error_output: {bucket: b}}
";
        std::fs::write(&path, text).unwrap();
        let exported = of_file(&[], &path).unwrap();
        let left_out = [
            vec!["destination.redshift.password"],
            vec!["destination.postgres.password", "destination.postgres.columns"],
        ];
        for (stream, left_out) in exported.iter().zip(left_out) {
            assert_eq!(check(&stream.input), Ok(()), "{}", stream.name);
            assert_eq!(stream.left_out, left_out);
            assert!(!Value::Object(stream.input.clone()).to_string().contains("hunter2"));
        }
    }
}
