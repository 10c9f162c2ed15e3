//! The top level of `standpipe.yaml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use standpipe_convert::TableSchema;
use standpipe_ingest::access::Policy;

use super::access::{CREDENTIAL, CredentialDraft, POLICIES};
use super::catalogs::{Catalogs, catalogs};
use super::columns::schemas;
use super::compound::{List, Map, Named, Sub};
use super::functions::{FunctionConfig, functions};
use super::keys::{KeyConfig, KeyNames, key_names};
use super::rates::RatesConfig;
use super::reader::{Cursor, Section, Shape, Spots};
use super::schema::Schema;
use super::settings::{JournalConfig, LimitsConfig, StopConfig, audit, journal, limits, stop};
use super::shapes::{FilePath, Listen, text};
use super::stores::{STORE, StoreConfig};
use super::streams::{STREAM, StreamDraft};
use super::tables::{TableConfig, tables};
use super::tls::{TlsConfig, tls};

/// The file as it was read, before the checks across sections.
pub(super) struct Draft {
    pub(super) spots: Spots,
    pub(super) listen: SocketAddr,
    pub(super) tls: Option<TlsConfig>,
    pub(super) admin: SocketAddr,
    pub(super) region: String,
    pub(super) account_id: String,
    pub(super) data_dir: PathBuf,
    pub(super) credentials: Vec<CredentialDraft>,
    pub(super) credentials_file: Option<PathBuf>,
    pub(super) policies: Vec<Named<Policy>>,
    pub(super) stores: Vec<Named<StoreConfig>>,
    pub(super) default_store: Option<String>,
    pub(super) keys: Vec<Named<KeyConfig>>,
    pub(super) default_key: Option<String>,
    pub(super) key_check_interval: Duration,
    pub(super) functions: Vec<Named<FunctionConfig>>,
    pub(super) tables: Vec<Named<TableConfig>>,
    pub(super) schemas: Vec<Named<TableSchema>>,
    pub(super) catalogs: Catalogs,
    pub(super) roles: Vec<Named<String>>,
    pub(super) delivery_log_dir: Option<PathBuf>,
    pub(super) streams: Vec<StreamDraft>,
    pub(super) streams_dir: Option<PathBuf>,
    pub(super) journal: JournalConfig,
    pub(super) limits: LimitsConfig,
    pub(super) rates: RatesConfig,
    pub(super) audit: Option<PathBuf>,
    pub(super) stop: StopConfig,
}

/// Reads the top level.
pub(super) fn root(section: &mut Section<'_, '_>) -> Option<Draft> {
    let listen = section.or("listen", Listen, "127.0.0.1:4573", "Where the Firehose API listens.");
    let tls = section.optional("tls", Sub(tls), "TLS on `listen`; plain HTTP there where absent.");
    let admin = section.or("admin", Listen, "127.0.0.1:8573", "Where health and metrics are served.");
    let region = section.or("region", text(1..=64), "us-east-1", "The region; it only appears in ARNs.");
    let account_id = section.or(
        "account_id",
        AccountId,
        "000000000000",
        "The account, 12 digits; it only appears in ARNs.",
    );
    let data_dir = section.or(
        "data_dir",
        FilePath,
        "/var/lib/standpipe",
        "Where journals and the stream catalog are kept.",
    );
    let Access { credentials, credentials_file, policies } = access(section);
    let stores = section
        .optional("stores", Map(STORE), "The object stores, by a name of your own.")
        .unwrap_or_default();
    let Targets { default_store, roles, delivery_log_dir } = targets(section);
    let KeyNames { keys, default_key, key_check_interval } = key_names(section);
    let (functions, tables) = (functions(section), tables(section));
    let (schemas, catalogs) = (schemas(section), catalogs(section));
    let streams = section.optional("streams", List(STREAM), "The streams; more can be made through the API.");
    let streams_dir = section.optional(
        "streams_dir",
        FilePath,
        "A folder of further streams: each `*.yaml` or `*.yml` is one stream, or holds a list `streams`.",
    );
    let journal = section.section("journal", journal, "How much disk the journals may take.");
    let (limits, rates) =
        section.section("limits", limits, "What the front end takes on at once, and in a second.");
    let audit = section.section("audit", audit, "Where it is noted down who called what.");
    let stop = section.section("stop", stop, "How the daemon stops.");
    Some(Draft {
        spots: section.spots(),
        listen,
        tls,
        admin,
        region,
        account_id,
        data_dir,
        credentials,
        credentials_file,
        policies,
        stores,
        default_store,
        keys,
        default_key,
        key_check_interval,
        functions,
        tables,
        schemas,
        catalogs,
        roles,
        delivery_log_dir,
        streams: streams.unwrap_or_default(),
        streams_dir,
        journal,
        limits,
        rates,
        audit,
        stop,
    })
}

/// Who may do what.
struct Access {
    credentials: Vec<CredentialDraft>,
    credentials_file: Option<PathBuf>,
    policies: Vec<Named<Policy>>,
}

fn access(section: &mut Section<'_, '_>) -> Access {
    let credentials = section
        .optional(
            "credentials",
            List(CREDENTIAL),
            "The access keys that producers sign with. Only a daemon on loopback may go without, or one with \
             `client_auth: required`.",
        )
        .unwrap_or_default();
    let credentials_file = section.optional(
        "credentials_file",
        FilePath,
        "A file with a list of further credentials. What changes in it counts within a second or two, without a reload.",
    );
    let policies = section
        .optional("policies", POLICIES, "Policies in IAM's words, by a name of your own, for credentials.")
        .unwrap_or_default();
    Access { credentials, credentials_file, policies }
}

/// Where names in API calls lead.
struct Targets {
    default_store: Option<String>,
    roles: Vec<Named<String>>,
    delivery_log_dir: Option<PathBuf>,
}

fn targets(section: &mut Section<'_, '_>) -> Targets {
    let default_store = section.optional(
        "default_store",
        text(1..=64),
        "Where a `BucketARN` of an API call leads unless a store lists that bucket. Where absent, the only store there \
         is.",
    );
    let roles = section
        .optional(
            "roles",
            Map(text(1..=64)),
            "The store that a `RoleARN` of an API call leads to, by the role's ARN; it comes before the store that lists the \
             bucket. A role decides on access, which here belongs to a store.",
        )
        .unwrap_or_default();
    let delivery_log_dir = section.optional(
        "delivery_log_dir",
        FilePath,
        "A folder for the log groups of streams (`CloudWatchLoggingOptions`): `<log group>/<log stream>.log` in it gets a \
         JSON line for each attempt that failed and for records that are not delivered, at most 30 a minute. Where absent, \
         they go to the daemon's own log.",
    );
    Targets { default_store, roles, delivery_log_dir }
}

/// Reads a file of `streams_dir` that holds a list.
pub(super) fn stream_file(section: &mut Section<'_, '_>) -> Option<Vec<StreamDraft>> {
    section.required("streams", List(STREAM), "The streams.")
}

/// Twelve digits.
struct AccountId;

impl Shape for AccountId {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let text = at.text()?;
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Some(text);
        }
        at.refuse(format!("\"{text}\" is not an account: 12 digits"))
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "12 digits".to_owned(), pattern: "^[0-9]{12}$" }
    }
}
