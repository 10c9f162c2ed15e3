//! `COPY … FROM 's3://…' … MANIFEST`, carried out.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::SinkExt as _;
use pgwire::error::{PgWireError, PgWireResult};
use serde_json::Value;
use sqlparser::ast::{CopyLegacyOption, CopySource, CopyTarget, Ident, Statement};
use sqlparser::dialect::RedshiftSqlDialect;
use sqlparser::parser::Parser;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::rows::{Format, lines};
use super::session::{error, told};
use crate::s3::S3;
use crate::servers::{Redshift, S3Access};

/// What Redshift says of records that do not fit.
const LOAD_FAILED: &str = "failed.  Check 'stl_load_errors' system table for details.";

/// A statement, taken apart.
#[derive(Debug)]
pub(super) struct Load {
    table: String,
    /// As the statement names them; none for all.
    columns: Vec<String>,
    manifest: String,
    /// Key id and secret; the store's owner by the role.
    keys: Option<(String, String)>,
    format: Format,
    gzip: bool,
}

impl Load {
    /// Reads a statement.
    ///
    /// # Errors
    /// It is none of Redshift's, or has what this double does not do.
    pub(super) fn parse(sql: &str) -> PgWireResult<Self> {
        let syntax = |why: String| error("ERROR", "42601", why);
        let parsed = Parser::parse_sql(&RedshiftSqlDialect {}, sql).map_err(|why| syntax(why.to_string()))?;
        let [
            Statement::Copy {
                source: CopySource::Table { table_name, columns },
                to: false,
                target: CopyTarget::File { filename },
                legacy_options,
                ..
            },
        ] = parsed.as_slice()
        else {
            return Err(syntax(format!("this is no COPY from a file: {parsed:?}")));
        };
        let name = |ident: &Ident| ident.value.to_lowercase();
        let mut load = Self {
            table: table_name.to_string(),
            columns: columns.iter().map(name).collect(),
            manifest: filename.clone(),
            keys: None,
            format: Format::Delimited { delimiter: '|', null: None },
            gzip: false,
        };
        let (mut has_right, mut has_manifest) = (false, false);
        let (mut delimiter, mut null, mut is_csv) = (None, None, false);
        for option in legacy_options {
            match option {
                CopyLegacyOption::Manifest { .. } => has_manifest = true,
                CopyLegacyOption::Credentials(text) => (load.keys, has_right) = (Some(keys(text)?), true),
                CopyLegacyOption::IamRole(role) => {
                    has_right = role.to_string().contains(Redshift::ROLE);
                }
                CopyLegacyOption::Json(Some(how)) if how == "auto" => load.format = Format::Json,
                CopyLegacyOption::Csv(more) if more.is_empty() => is_csv = true,
                CopyLegacyOption::Delimiter(c) => delimiter = Some(*c),
                CopyLegacyOption::Null(text) => null = Some(text.clone()),
                CopyLegacyOption::Gzip => load.gzip = true,
                CopyLegacyOption::Region(_)
                | CopyLegacyOption::StatUpdate(_)
                | CopyLegacyOption::CompUpdate { .. } => {}
                other => return Err(error("ERROR", "0A000", format!("the double does not do {other}"))),
            }
        }
        if !has_manifest {
            return Err(error("ERROR", "0A000", "the double reads manifests only"));
        }
        if !has_right {
            return Err(error("ERROR", "XX000", "not authorized to get credentials of role"));
        }
        if load.format != Format::Json {
            load.format = match is_csv {
                true => Format::Csv { delimiter: delimiter.unwrap_or(','), null: null.unwrap_or_default() },
                false => Format::Delimited { delimiter: delimiter.unwrap_or('|'), null },
            };
        }
        Ok(load)
    }
}

fn keys(text: &str) -> PgWireResult<(String, String)> {
    let find = |name: &str| {
        let found = text.split(';').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        let missing = || error("ERROR", "XX000", format!("CREDENTIALS has no {name}"));
        found.map(|(_, value)| value.to_owned()).ok_or_else(missing)
    };
    Ok((find("aws_access_key_id")?, find("aws_secret_access_key")?))
}

/// Loads what the manifest names, within the transaction of the client.
///
/// # Errors
/// What Redshift would say.
pub(super) async fn load(backend: &Client, store: &S3Access, load: Load) -> PgWireResult<usize> {
    let store = match &load.keys {
        Some((id, secret)) => {
            S3Access { access_key_id: id.clone(), secret_access_key: secret.clone(), ..store.clone() }
        }
        None => store.clone(),
    };
    let store = S3::open(&store).map_err(|why| error("ERROR", "XX000", why.to_string()))?;
    let manifest = fetch(&store, &load.manifest).await?;
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|why| {
        error("ERROR", "XX000", format!("Manifest file is not in correct json format: {why}"))
    })?;
    let entries = manifest["entries"].as_array().cloned().unwrap_or_default();
    let urls: Vec<&str> = entries.iter().filter_map(|entry| entry["url"].as_str()).collect();
    if urls.is_empty() {
        return Err(error("ERROR", "XX000", "The manifest names no file"));
    }
    let columns = match load.columns.is_empty() {
        false => load.columns.clone(),
        true => all_columns(backend, &load.table).await?,
    };
    let mut rows = 0;
    for url in urls {
        let object = fetch(&store, url).await?;
        let object = if load.gzip { unpacked(&object, &load.table)? } else { object };
        let text = lines(&load.format, &object, &columns).map_err(|_| failed(&load.table))?;
        rows += copied(backend, &load, &columns, text).await?;
    }
    Ok(rows)
}

async fn fetch(store: &S3, url: &str) -> PgWireResult<Vec<u8>> {
    let place = url.strip_prefix("s3://").and_then(|place| place.split_once('/'));
    let (bucket, key) = place.ok_or_else(|| error("ERROR", "XX000", format!("{url} is no object")))?;
    let got = store.get(bucket, key).await;
    got.map_err(|why| error("ERROR", "XX000", format!("S3ServiceException:{why}")))
}

fn unpacked(object: &[u8], table: &str) -> PgWireResult<Vec<u8>> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(object).read_to_end(&mut plain).map_err(|_| failed(table))?;
    Ok(plain)
}

fn failed(table: &str) -> PgWireError {
    error("ERROR", "XX000", format!("Load into table {table} {LOAD_FAILED}"))
}

async fn all_columns(backend: &Client, table: &str) -> PgWireResult<Vec<String>> {
    let sql = format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
         ORDER BY attnum"
    );
    let messages = backend.simple_query(&sql).await.map_err(|error| told("ERROR", &error))?;
    let names = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(names.collect())
}

/// Hands text to the backend's own `COPY`. A name that is not there is told of as it is; all else is the records' fault.
async fn copied(backend: &Client, load: &Load, columns: &[String], text: Vec<u8>) -> PgWireResult<usize> {
    let columns: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
    let sql = format!("COPY {} ({}) FROM STDIN {}", load.table, columns.join(", "), load.format.options());
    let sink = backend.copy_in::<_, Bytes>(&sql).await.map_err(|error| told("ERROR", &error))?;
    let mut sink = std::pin::pin!(sink);
    let sent = async {
        sink.send(Bytes::from(text)).await?;
        sink.finish().await
    };
    let rows = sent.await.map_err(|error: tokio_postgres::Error| match error.as_db_error() {
        Some(said) if !said.code().code().starts_with("57") => failed(&load.table),
        _ => told("ERROR", &error),
    })?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}
