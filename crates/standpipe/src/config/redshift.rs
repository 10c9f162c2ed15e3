//! The `redshift` section: a table that is loaded by `COPY` from a bucket.

use standpipe_model::Compression;
use standpipe_sinks::PostgresOptions;

use super::compound::Sub;
use super::endpoints::{ERROR_OUTPUT, StoreUse, common_with};
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
    batch: ERROR_OUTPUT.batch,
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

#[cfg(test)]
mod tests {
    use super::super::tests::{bad, good, load};
    use super::*;
    use crate::endpoints::Endpoint;

    fn with(redshift: &str) -> String {
        let stores = "stores: {s3: {type: s3}, disk: {type: file, path: d}}\ndefault_store: s3\n";
        format!("{stores}streams:\n- name: a\n  destination:\n    redshift: {redshift}\n")
    }

    const BASE: &str = "host: c, database: app, user: me, table: t, staging: {bucket: b}";

    #[test]
    fn a_table_comes_with_what_most_users_have_and_all_that_can_be_said_of_it() {
        let spec = good(&with(&format!("{{{BASE}, iam_role: default}}"))).streams.remove(0);
        let destination = &spec.destination;
        let Some(Endpoint { retry_ms: 3_600_000, target: Target::Redshift(table), .. }) =
            &destination.endpoint
        else {
            panic!("{:?}", destination.endpoint)
        };
        assert_eq!((table.copy_options.as_str(), table.keeps_staged), ("JSON 'auto'", true));
        assert_eq!(
            (destination.compression, destination.default_extension().as_str()),
            (Compression::Gzip, ".gz")
        );
        assert_eq!((table.address().as_str(), table.table.connections_max), ("redshift://c:5439/app t", 1));
        assert_eq!((table.table.limits().rows_max, table.table.limits().bytes_max), (1_000_000, 16 << 20));

        let text = r#"{host: c, port: 5440, database: app, user: me, password: hunter2, table: s.t, columns: [b, '"A"'],
          copy_options: "CSV", credentials: {access_key_id: k, secret_access_key: hunter3, session_token: hunter4},
          keep_staged: false, ledger: notes, retry: 0s, staging: {bucket: b, prefix: in/, compression: none}}"#;
        let spec = good(&with(text)).streams.remove(0);
        let Some(Endpoint { retry_ms: 0, target: Target::Redshift(table), .. }) = &spec.destination.endpoint
        else {
            panic!()
        };
        assert_eq!(spec.destination.compression, Compression::Uncompressed);
        assert!(matches!(&table.credentials, CopyRight::Keys(keys) if keys.access_key_id == "k"));
        assert_eq!((table.table.columns[1].0.as_str(), table.table.ledger.as_str()), ("\"A\"", "notes"));
        assert!(!format!("{spec:?}").contains("hunter"));
        let kept = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<crate::spec::StreamSpec>(&kept).unwrap(), spec);
    }

    #[test]
    fn what_cannot_be_loaded_is_refused_by_name() {
        for (more, expect) in [
            ("", "streams[0].destination.redshift: the key \"iam_role\" or \"credentials\" is missing"),
            (
                ", iam_role: r, credentials: {access_key_id: k, secret_access_key: s}",
                "streams[0].destination.redshift.credentials: give either \"iam_role\" or \"credentials\", not both",
            ),
            (
                ", credentials: {access_key_id: k}",
                "streams[0].destination.redshift.credentials: the key \"secret_access_key\" or \"secret_access_key_file\" is missing",
            ),
            (
                ", iam_role: r, copy_options: FORMAT AVRO 'auto'",
                "streams[0].destination.redshift: copy_options has AVRO, and records are staged one behind the other",
            ),
            (
                ", iam_role: r, tls: {mode: verify-ca}",
                "streams[0].destination.redshift.tls: mode: verify-ca needs \"ca_file\"",
            ),
        ] {
            let problems = load(&[("standpipe.yaml", &with(&format!("{{{BASE}{more}}}")))]).expect_err(more);
            assert!(problems.iter().any(|problem| problem.ends_with(expect)), "{more}: {problems:?}");
        }
        let staged = |staging: &str| {
            with(&format!("{{host: c, database: app, user: me, table: t, iam_role: r, staging: {staging}}}"))
        };
        bad(
            &staged("{bucket: b, compression: zip}"),
            &[
                "standpipe.yaml:6:107: streams[0].destination.redshift.staging.compression: what COPY reads is compressed as gzip or not at all",
            ],
        );
        bad(
            &staged("{store: disk}"),
            &[
                "standpipe.yaml:6:90: streams[0].destination.redshift.staging.store: the store \"disk\" is of type file, and COPY reads from S3 only",
            ],
        );
        bad(
            &staged("{bucket: b, delimiter: newline}"),
            &[
                "standpipe.yaml:6:105: streams[0].destination.redshift.staging.delimiter: this is not for what COPY reads: \"buffering\" stands beside \"staging\", and objects hold the records one behind the other, as gzip or as they are",
            ],
        );
    }
}
