//! The `redshift` section: a table that is loaded by `COPY` from a bucket.

use standpipe_model::Compression;
use standpipe_sinks::PostgresOptions;

use super::compound::Sub;
use super::endpoints::{StoreUse, common_with};
use super::postgres::{COLUMN_NAMES, Server, Usual, check_tls, connections, server};
use super::reader::Section;
use super::shapes::{Int, Size, Truth, secret, text};
use super::stores::S3Keys;
use super::streams::DestinationDraft;
use crate::endpoints::{CopyRight, PostgresTarget, RedshiftTarget, Target};

const USUAL: Usual = Usual {
    host_doc: "The cluster or workgroup, as `lake.abc.eu-central-1.redshift.amazonaws.com`.",
    port: "5439",
    request_timeout: "15m",
};

const STAGING: StoreUse = StoreUse {
    key: "staging|s3_configuration",
    doc: "The S3 bucket that records are loaded from, and that gets what is not loaded (`S3Configuration`).",
    also: &["compression"],
    why: "this is not for what COPY reads: \"buffering\" stands beside \"staging\", and objects hold the records one \
          behind the other, as gzip or as they are",
    retry: "1h",
};

fn keys(section: &mut Section<'_, '_>) -> Option<S3Keys> {
    let access_key_id = section.required("access_key_id", text(1..=128), "The access key id.");
    let secret_access_key = secret(
        section,
        "secret_access_key",
        "secret_access_key_file",
        "The secret access key; better a variable or a file than here.",
        "A file that holds the secret access key.",
    );
    let session_token = secret(
        section,
        "session_token",
        "session_token_file",
        "The session token of temporary credentials.",
        "A file that holds the session token.",
    );
    if !section.given("secret_access_key") && !section.given("secret_access_key_file") {
        section.refuse("", "the key \"secret_access_key\" or \"secret_access_key_file\" is missing");
    }
    Some(S3Keys { access_key_id: access_key_id?, secret_access_key: secret_access_key?, session_token })
}

/// By what right the bucket is read.
fn right(section: &mut Section<'_, '_>) -> Option<CopyRight> {
    let role = section.optional(
        "iam_role",
        text(1..=2048),
        "The role that the cluster reads the bucket by (`IAM_ROLE`): its ARN, or `default`.",
    );
    let keys = section.optional(
        "credentials",
        Sub(keys),
        "The access key that it reads the bucket by (`CREDENTIALS`), in the place of a role.",
    );
    section.exclusive("iam_role", "credentials");
    if !section.given("iam_role") && !section.given("credentials") {
        section.refuse("", "the key \"iam_role\" or \"credentials\" is missing");
    }
    role.map(CopyRight::Role).or(keys.map(CopyRight::Keys))
}

/// The table, on its server.
fn table(section: &mut Section<'_, '_>) -> Option<PostgresTarget> {
    let Server { host, port, database, user, password, tls, reach } = server(section, &USUAL);
    let table = section.required(
        "table|data_table_name",
        text(1..=512),
        "The table as SQL writes it, as `orders` or `sales.orders` (`DataTableName`). It must exist.",
    );
    let columns = section.optional(
        "columns|data_table_columns",
        COLUMN_NAMES,
        "The columns as SQL writes them (`DataTableColumns`); all of them where absent.",
    );
    let ledger = section.or(
        "ledger",
        text(1..=512),
        PostgresOptions::LEDGER,
        "The table that says what was loaded; it is made where it is not there.",
    );
    let connections_max = connections(section, "1");
    let records_max =
        section.or("records_max", Int(1..=10_000_000), "1000000", "The most records of one `COPY`.");
    let bytes_max = section.or("bytes_max", Size(1 << 10..=16 << 20), "16MiB", "The most bytes of them.");
    let columns = columns.unwrap_or_default();
    Some(PostgresTarget {
        columns: columns.into_iter().map(|name| (name, None)).collect(),
        password,
        ledger,
        records_max: usize::try_from(records_max).ok(),
        bytes_max: Some(bytes_max),
        tls,
        connections_max,
        reach,
        ..PostgresTarget::at(host?, port, database?, user?, table?)
    })
}

/// Reads a table of Redshift.
pub(super) fn redshift(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let table = table(section);
    let copy_options = section.or(
        "copy_options",
        text(0..=10_240),
        "JSON 'auto'",
        "What `COPY` is told (`CopyOptions`), beside `GZIP`, which goes by `staging`.",
    );
    let credentials = right(section);
    let keeps_staged = section.or(
        "keep_staged",
        Truth,
        "true",
        "Whether staged objects and their manifests stay once they are loaded.",
    );
    let common = common_with(section, &STAGING);
    let target = RedshiftTarget { table: table?, copy_options, credentials: credentials?, keeps_staged };
    if let Err(error) = target.options().check() {
        section.refuse("", error);
    }
    check_tls(section, &target.table);
    let mut draft = common.with(Target::Redshift(target))?;
    if !draft.spots.given("compression") {
        draft.spec.compression = Compression::Gzip;
    }
    if !matches!(draft.spec.compression, Compression::Gzip | Compression::Uncompressed) {
        section
            .refuse_at(draft.spots.of("compression"), "what COPY reads is compressed as gzip or not at all");
    }
    Some(draft)
}
