//! The members of a `RedshiftDestinationConfiguration`, as keys of `destination.redshift`, or of `destination.postgres` where the
//! URL names a PostgreSQL.

use serde_json::{Map, Value, json};
use standpipe_sinks::postgres::PostgresFormat;

use super::endpoints::{self, named, required};
use super::s3;
use super::stream::{Fields, Scope, text};
use crate::endpoints::jdbc::{self, JdbcUrl};

/// Where batches are told that AWS cuts by the bucket.
const BUCKET: &str = "S3Configuration";

/// The key under `destination`.
pub(super) fn key(given: &Map<String, Value>) -> &'static str {
    let url = given.get("ClusterJDBCURL").and_then(Value::as_str).and_then(JdbcUrl::parse);
    if url.is_some_and(|url| url.is_postgres) { "postgres" } else { "redshift" }
}

/// Maps a table.
///
/// # Errors
/// It has no address, no table, records that are no rows here, or no bucket.
pub(super) fn table(mut given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    given.retain(|_, value| !value.is_null());
    // AWS's, where the file has less for one of them.
    given.entry("RetryOptions").or_insert_with(|| json!({"DurationInSeconds": 3600}));
    match key(&given) {
        "postgres" => endpoints::destination(given, scope, postgres, error_output),
        _ => endpoints::destination(given, scope, redshift, staging),
    }
}

fn redshift(given: &mut Map<String, Value>, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    let options = server_and_table(given, yaml, scope)?;
    yaml.text("copy_options", options);
    let role = named(given, "RoleARN", scope)?;
    scope.remark("RoleARN", "COPY reads the bucket by it (IAM_ROLE): the cluster must have that role");
    yaml.text("iam_role", role);
    Ok(())
}

fn postgres(given: &mut Map<String, Value>, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    let options = server_and_table(given, yaml, scope)?;
    let compression = given.get(BUCKET).and_then(|bucket| bucket.get("CompressionFormat"));
    let gzip = compression.is_some_and(|format| format == "GZIP");
    let format = jdbc::format_of(&options, gzip)
        .map_err(|error| format!("{}.CopyCommand.CopyOptions: {error}", scope.path))?;
    if let PostgresFormat::Csv { delimiter, null } = format {
        let mut csv = Fields::default();
        csv.text("delimiter", delimiter);
        csv.text("null", null);
        yaml.fields("csv", csv);
    }
    Ok(())
}

/// Maps what both have; what `COPY` is told comes back.
fn server_and_table(
    given: &mut Map<String, Value>,
    yaml: &mut Fields,
    scope: &mut Scope<'_>,
) -> Result<String, String> {
    let url = named(given, "ClusterJDBCURL", scope)?;
    let url = JdbcUrl::parse(&url).ok_or_else(|| {
        format!("{}.ClusterJDBCURL: {url:?} is not like jdbc:redshift://host:port/database", scope.path)
    })?;
    yaml.text("host", url.host);
    yaml.text("port", url.port.to_string());
    yaml.text("database", url.database);
    match given.remove("Username") {
        Some(user) => {
            yaml.text("user", text(&user).map_err(|why| format!("{}.Username {why}", scope.path))?);
        }
        None => scope.variable(yaml, "user", "the user of the database"),
    }
    given.remove("Password");
    scope.secret(yaml, "Password", "password");
    let mut copy = required(given, "CopyCommand", scope)?;
    let mut scope = scope.within("CopyCommand");
    yaml.text("table", named(&mut copy, "DataTableName", &scope)?);
    let mut words = |member| match copy.remove(member) {
        Some(value) => text(&value).map_err(|why| format!("{}.{member} {why}", scope.path)),
        None => Ok(String::new()),
    };
    let (columns, options) = (words("DataTableColumns")?, words("CopyOptions")?);
    let columns = columns.split(',').map(str::trim).filter(|name| !name.is_empty());
    let columns: Vec<String> = columns.map(str::to_owned).collect();
    if !columns.is_empty() {
        yaml.texts("columns", columns);
    }
    scope.leave(copy, &[]);
    Ok(options)
}

/// Maps the bucket that records are loaded from.
fn staging(
    bucket: Map<String, Value>,
    given: &mut Map<String, Value>,
    yaml: &mut Fields,
    scope: &mut Scope<'_>,
) -> Result<(), String> {
    let mut staging = kept(bucket, given, yaml, scope)?;
    if !staging.0.iter().any(|(key, _)| *key == "compression") {
        // What AWS takes for it where nothing is said.
        staging.text("compression", "none");
    }
    yaml.fields("staging", staging);
    Ok(())
}

/// Maps the bucket that gets what the table refuses.
fn error_output(
    bucket: Map<String, Value>,
    given: &mut Map<String, Value>,
    yaml: &mut Fields,
    scope: &mut Scope<'_>,
) -> Result<(), String> {
    let mut errors = kept(bucket, given, yaml, scope)?;
    errors.0.retain(|(key, _)| *key != "compression");
    scope.remark(BUCKET, "nothing is staged there: it gets what the table refuses");
    yaml.fields("error_output", errors);
    Ok(())
}

/// What both buckets keep; when batches close, and the copy of all records, stand beside.
fn kept(
    bucket: Map<String, Value>,
    given: &mut Map<String, Value>,
    yaml: &mut Fields,
    scope: &mut Scope<'_>,
) -> Result<Fields, String> {
    let logging = given.remove("CloudWatchLoggingOptions").unwrap_or_default();
    let backup = s3::backup(given, scope)?;
    let (mut kept, mut beside) = (s3::destination(bucket, &mut scope.within(BUCKET))?, Vec::new());
    kept.0.retain(|(key, value)| {
        beside.extend((*key == "buffering").then(|| (*key, value.clone())));
        s3::IN_ERROR_OUTPUT.contains(key) || *key == "compression"
    });
    yaml.0.extend(beside);
    if let Err(why) = s3::logging(&logging, &mut kept, scope) {
        scope.note("CloudWatchLoggingOptions", &logging, why);
    }
    if let Some(backup) = backup {
        yaml.fields(s3::BACKUP, backup);
    }
    Ok(kept)
}
