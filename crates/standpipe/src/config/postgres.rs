//! The `postgres` section: a table that records are loaded into.

use std::time::Duration;

use standpipe_model::Secret;
use standpipe_sinks::PostgresOptions;
use standpipe_sinks::postgres::{Conflict, PostgresFormat, TlsMode};

use super::compound::{List, Map, Sub};
use super::endpoints::{certificates, common};
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, Int, Size, Span, Text, secret, text};
use super::streams::DestinationDraft;
use super::tree::Value;
use crate::endpoints::{PostgresTarget, Reach, Target};

const TLS_MODE: Choice<TlsMode> = Choice(&[
    ("disable", TlsMode::Disable),
    ("prefer", TlsMode::Prefer),
    ("require", TlsMode::Require),
    ("verify-ca", TlsMode::VerifyCa),
    ("verify-full", TlsMode::VerifyFull),
]);

/// What becomes of a key that is there, without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnConflict {
    Error,
    Ignore,
    Update,
}

const ON_CONFLICT: Choice<OnConflict> =
    Choice(&[("error", OnConflict::Error), ("ignore", OnConflict::Ignore), ("update", OnConflict::Update)]);

/// The most connections.
pub(super) fn connections(section: &mut Section<'_, '_>, usual: &'static str) -> usize {
    usize::try_from(section.or("connections", Int(1..=100), usual, "The most connections.")).unwrap_or(1)
}

/// Columns by name, or with where their values stand.
struct Columns;

/// Columns by name.
pub(super) const COLUMN_NAMES: List<Text> = List(text(1..=130));

impl Columns {
    const PATHS: Map<Text> = Map(text(1..=1024));
}

impl Shape for Columns {
    type Out = Vec<(String, Option<String>)>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Self::Out> {
        if matches!(at.node.value, Value::Map(_)) {
            let columns = Self::PATHS.read(at)?;
            return Some(
                columns.into_iter().filter_map(|(name, _, path)| Some((name, Some(path?)))).collect(),
            );
        }
        Some(COLUMN_NAMES.read(at)?.into_iter().map(|name| (name, None)).collect())
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(COLUMN_NAMES.schema()), Box::new(Self::PATHS.schema()))
    }
}

/// One character.
struct Delimiter;

impl Shape for Delimiter {
    type Out = char;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<char> {
        let text = at.text()?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(delimiter), None) => Some(delimiter),
            _ => at.refuse("expected one character, such as \",\" or \"\\t\""),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "one character".to_owned(), pattern: "^.$" }
    }
}

fn csv(section: &mut Section<'_, '_>) -> Option<PostgresFormat> {
    let delimiter = section.or("delimiter", Delimiter, ",", "What stands between fields (`DELIMITER`).");
    let null =
        section.or("null", text(0..=64), "", "What stands for NULL where it is not in quotes (`NULL AS`).");
    Some(PostgresFormat::Csv { delimiter, null })
}

/// TLS: how far, and with which certificates.
fn protection(section: &mut Section<'_, '_>) -> Option<(TlsMode, Reach)> {
    let mode = section.or(
        "mode",
        TLS_MODE,
        "prefer",
        "How far, in the words of `sslmode`. Only the last two look at who the server is.",
    );
    let ca = "Certificate authorities (PEM), with verify-ca and verify-full, in the place of the system's.";
    Some((mode, certificates(section, ca)?))
}

fn conflict(section: &mut Section<'_, '_>) -> Conflict {
    let on = section.or(
        "conflict",
        ON_CONFLICT,
        "error",
        "What happens to a record whose key the table has: it goes to the error output, it is dropped, or it takes the \
         row's place.",
    );
    let key = section
        .optional(
            "key",
            List(text(1..=130)),
            "The columns of the key; `update` needs it, with `ignore` any key counts without it.",
        )
        .unwrap_or_default();
    let newest_by = section.optional(
        "newest_by",
        text(1..=130),
        "With `update`, the column whose greater value wins. Without it the record that is loaded later wins, which need \
         not be the one that was put later.",
    );
    if on == OnConflict::Error && section.given("key") {
        section.refuse("key", "\"key\" is for conflict: ignore or update");
    }
    if on != OnConflict::Update && section.given("newest_by") {
        section.refuse("newest_by", "\"newest_by\" is for conflict: update");
    }
    match on {
        OnConflict::Error => Conflict::Error,
        OnConflict::Ignore => Conflict::Ignore { key },
        OnConflict::Update => Conflict::Update { key, newest_by },
    }
}

/// A server that speaks PostgreSQL's protocol: where it is, how it is reached, and who asks.
pub(super) struct Server {
    pub(super) host: Option<String>,
    pub(super) port: u16,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) tls: TlsMode,
    pub(super) reach: Reach,
}

/// What servers differ in.
pub(super) struct Usual {
    pub(super) host_doc: &'static str,
    pub(super) port: &'static str,
    pub(super) request_timeout: &'static str,
}

/// Reads a server.
pub(super) fn server(section: &mut Section<'_, '_>, usual: &Usual) -> Server {
    let host = section.required("host", text(1..=1024), usual.host_doc);
    let port = section.or("port", Int(1..=65535), usual.port, "Its port.");
    let (mode, files) =
        section.optional("tls", Sub(protection), "Encryption and certificates.").unwrap_or_default();
    let connect = section.or("connect_timeout", Span::secs(1..=300), "10s", "Until a connection stands.");
    let request = section.or(
        "request_timeout",
        Span::secs(1..=3600),
        usual.request_timeout,
        "For one statement with its answer; the server ends it then, too.",
    );
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let reach = Reach { connect_timeout_ms: millis(connect), request_timeout_ms: millis(request), ..files };
    let database = section.required("database", text(1..=63), "The database.");
    let user = section.required("user|username", text(1..=63), "Who connects (`Username`).");
    let password = secret(
        section,
        "password",
        "password_file",
        "With which password (`Password`).",
        "A file that holds it.",
    );
    Server { host, port: u16::try_from(port).unwrap_or(u16::MAX), database, user, password, tls: mode, reach }
}

const USUAL: Usual = Usual {
    host_doc: "The server; several with commas between, of which the one that takes writes is used; or the folder of its \
               socket.",
    port: "5432",
    request_timeout: "3m",
};

/// Reads a table.
pub(super) fn postgres(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let Server { host, port, database, user, password, tls, reach } = server(section, &USUAL);
    let table = section.required(
        "table|data_table_name",
        text(1..=512),
        "The table as SQL writes it, as `orders` or `sales.\"Orders\"` (`DataTableName`). It must exist.",
    );
    let columns = section.optional(
        "columns|data_table_columns",
        Columns,
        "The columns as SQL writes them (`DataTableColumns`): a list, where values stand in members of the same names, or \
         a map to where they stand, as `{ amount: .order.amount, doc: . }`. Where absent, all columns that the table does \
         not fill itself.",
    );
    let format =
        section.optional("csv", Sub(csv), "Records are lines of CSV; where absent, they are JSON objects.");
    let conflict = conflict(section);
    let ledger = section.or(
        "ledger",
        text(1..=512),
        PostgresOptions::LEDGER,
        "The table that says what was loaded; it is made where it is not there.",
    );
    let connections_max = connections(section, "4");
    let records_max = section.optional(
        "records_max",
        Int(1..=1_000_000),
        "The most records of a request. 10,000 where absent.",
    );
    let bytes_max = section.optional(
        "bytes_max",
        Size(1 << 10..=20 << 20),
        "The most bytes of them. 16 MiB where absent.",
    );
    let common = common(section);
    let target = PostgresTarget {
        host: host?,
        port,
        user: user?,
        password,
        database: database?,
        table: table?,
        columns: columns.unwrap_or_default(),
        format: format.unwrap_or_default(),
        conflict,
        ledger,
        records_max: records_max.and_then(|most| usize::try_from(most).ok()),
        bytes_max,
        tls,
        connections_max,
        reach,
    };
    check(section, &target);
    common.with(Target::Postgres(target))
}

/// What contradicts itself, or is no name.
fn check(section: &mut Section<'_, '_>, target: &PostgresTarget) {
    if let Err(error) = target.options().check() {
        section.refuse("", error);
    }
    check_tls(section, target);
}

/// TLS that contradicts itself.
pub(super) fn check_tls(section: &mut Section<'_, '_>, target: &PostgresTarget) {
    let verifies = matches!(target.tls, TlsMode::VerifyCa | TlsMode::VerifyFull);
    if target.reach.ca_file.is_some() && !verifies {
        section.refuse("tls", "\"ca_file\" is looked at with mode: verify-ca and verify-full only");
    }
    if target.reach.ca_file.is_none() && target.tls == TlsMode::VerifyCa {
        section.refuse("tls", "mode: verify-ca needs \"ca_file\"");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bad, good, load};
    use super::*;
    use crate::endpoints::Endpoint;

    fn with(postgres: &str) -> String {
        format!(
            "stores: {{disk: {{type: file, path: d}}}}\nstreams:\n- name: a\n  destination:\n    postgres: {postgres}\n"
        )
    }

    #[test]
    fn a_table_comes_with_all_that_can_be_said_of_it() {
        let text = r#"{host: db, database: app, user: loader, password: hunter2, table: sales.orders,
          columns: {id: .id, doc: .}, conflict: update, key: [id], newest_by: doc, tls: {mode: require},
          buffering: {size: 1MiB, interval: 5s}, error_output: {}}"#;
        let spec = good(&with(text)).streams.remove(0);
        let Some(Endpoint { retry_ms: 300_000, target: Target::Postgres(table), .. }) =
            &spec.destination.endpoint
        else {
            panic!("{:?}", spec.destination.endpoint)
        };
        assert_eq!(table.address(), "postgresql://db:5432/app sales.orders");
        assert_eq!(table.columns[1], ("doc".to_owned(), Some(".".to_owned())));
        assert_eq!(
            (table.tls, table.limits().rows_max, table.limits().bytes_max),
            (TlsMode::Require, 10_000, 16 << 20)
        );
        assert!(!format!("{spec:?}").contains("hunter2"));
        let kept = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<crate::spec::StreamSpec>(&kept).unwrap(), spec);

        let text = "{host: db, database: app, user: me, table: t, columns: [b, a], csv: {delimiter: \";\"}, error_output: {}}";
        let spec = good(&with(text)).streams.remove(0);
        let Some(Endpoint { target: Target::Postgres(table), .. }) = &spec.destination.endpoint else {
            panic!()
        };
        assert_eq!(table.format, PostgresFormat::Csv { delimiter: ';', null: String::new() });
        assert_eq!(table.columns, [("b".to_owned(), None), ("a".to_owned(), None)]);
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        let base = "host: db, database: app, user: me, table: t, error_output: {}";
        for (more, expect) in [
            (
                "conflict: update",
                "streams[0].destination.postgres: conflict: update needs the columns of the key",
            ),
            ("key: [a]", "streams[0].destination.postgres.key: \"key\" is for conflict: ignore or update"),
            (
                "columns: [a], conflict: ignore, key: [b]",
                "streams[0].destination.postgres: 'b' is none of the columns",
            ),
            (
                "tls: {mode: verify-ca}",
                "streams[0].destination.postgres.tls: mode: verify-ca needs \"ca_file\"",
            ),
            (
                "columns: {a: .x | .y}",
                "streams[0].destination.postgres: '.x | .y' is no path such as .order.items[0].\"odd name\"; a jq \
                 processor before can do what paths cannot",
            ),
            (
                "csv: {delimiter: ab}",
                "streams[0].destination.postgres.csv.delimiter: expected one character, such as \",\" or \"\\t\"",
            ),
        ] {
            let text = with(&format!("{{{base}, {more}}}"));
            let problems = load(&[("standpipe.yaml", &text)]).expect_err(more);
            assert!(problems.iter().any(|problem| problem.ends_with(expect)), "{more}: {problems:?}");
        }
        bad(
            &with("{host: db}"),
            &[
                "standpipe.yaml:5:15: streams[0].destination.postgres: the key \"database\" is missing: The database.",
                "standpipe.yaml:5:15: streams[0].destination.postgres: the key \"user\" is missing: Who connects (`Username`).",
                "standpipe.yaml:5:15: streams[0].destination.postgres: the key \"table\" is missing: The table as SQL writes it, as `orders` or `sales.\"Orders\"` (`DataTableName`). It must exist.",
                "standpipe.yaml:5:15: streams[0].destination.postgres: the key \"error_output\" is missing: The object store that gets what the destination does not take (`S3Configuration`).",
            ],
        );
    }
}
