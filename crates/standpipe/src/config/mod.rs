//! `standpipe.yaml`: from the file to a validated [`Config`], or to every problem at once with its place.
//!
//! ```text
//! file ─► tree (located YAML) ─► sections over a Section reader ─► drafts ─► checks across sections ─► Config
//! ```
//!
//! The sections (`root`, `access`, `stores`, `streams`, `rates`, `settings`) are the only list of keys there is: the JSON Schema
//! ([`schema_json`]) and the reference table of the documentation come from the same calls.
//!
//! # Invariants
//! - YAML ends here: the other modules get plain, validated values.
//! - A secret never appears in a problem, and its type prints as `***`.
//! - Nothing is clamped or ignored in silence: what is not right is refused, with the limit.

mod access;
mod branches;
mod catalogs;
mod check;
mod columns;
mod compound;
mod endpoints;
mod format;
mod functions;
mod iceberg;
mod keys;
mod load;
mod opensearch;
mod partitioning;
mod postgres;
mod problem;
mod processors;
mod rates;
mod reader;
mod redshift;
mod root;
mod schema;
mod settings;
mod shapes;
mod stores;
mod streams;
mod substitute;
mod tables;
mod tls;
mod tree;
mod units;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use access::Credential;
pub use catalogs::{Catalogs, GlueConfig, IcebergConfig};
pub(crate) use columns::check_table_name;
pub(crate) use functions::is_function_name;
pub use functions::{FunctionConfig, Grant};
pub use keys::{FileKeyConfig, KeyConfig, KeyKeeper, KmsKeyConfig};
pub(crate) use problem::did_you_mean;
pub use problem::{ConfigProblems, Problem, Spot};
pub use rates::{CredentialRates, PutRates, RatesConfig};
pub use settings::{DiskShare, JournalConfig, LimitsConfig, StopConfig};
pub use stores::{AwsService, AzureStore, FileStore, GcsStore, S3Keys, S3Store, StoreConfig, Timeouts};
pub(crate) use streams::{compression_word, key_setting};
pub use tables::{TableConfig, TableObject, TableSource};
pub use tls::TlsConfig;
pub(crate) use units::parse_duration;

use standpipe_convert::TableSchema;
use standpipe_ingest::access::Policy;
use standpipe_model::StreamName;

use crate::spec::StreamSpec;

/// A validated configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the Firehose API listens.
    pub listen: SocketAddr,
    /// TLS of the Firehose API; `None` for plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// The region in ARNs.
    pub region: String,
    /// The account in ARNs: 12 digits.
    pub account_id: String,
    /// Where journals and the catalog are kept.
    pub data_dir: PathBuf,
    /// Who may write, by this file; see [`Config::load_credentials`] for the others. Nobody signs only where the API
    /// listens on loopback, or where clients must show a certificate.
    pub credentials: Vec<Credential>,
    /// A file with further credentials.
    pub credentials_file: Option<PathBuf>,
    /// Policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// The object stores by name.
    pub stores: BTreeMap<String, StoreConfig>,
    /// The store for buckets that no store lists: the one named, or the only one there is.
    pub default_store: Option<String>,
    /// The master keys by name.
    pub keys: BTreeMap<String, KeyConfig>,
    /// The key of streams that are encrypted without naming one (`AWS_OWNED_CMK`).
    pub default_key: Option<String>,
    /// How often keys that are in use are tried.
    pub key_check_interval: Duration,
    /// The functions that processors call, by name.
    pub functions: BTreeMap<String, FunctionConfig>,
    /// The reference tables that processors and functions look up, by name.
    pub tables: BTreeMap<String, TableConfig>,
    /// The columns of tables, by the name `database.table`.
    pub schemas: BTreeMap<String, TableSchema>,
    /// The catalogs that have the columns of other tables.
    pub catalogs: Catalogs,
    /// The stores that roles lead to, by the role's ARN.
    pub roles: BTreeMap<String, String>,
    /// Where the log groups of streams are kept as files; only the daemon's own log where absent.
    pub delivery_log_dir: Option<PathBuf>,
    /// The streams of the file and of `streams_dir`, in the order of reading.
    pub streams: Vec<StreamSpec>,
    /// The journals' share of the disk.
    pub journal: JournalConfig,
    /// The front end's limits.
    pub limits: LimitsConfig,
    /// The limits of rate.
    pub rates: RatesConfig,
    /// The limits that streams have of their own.
    pub stream_rates: BTreeMap<StreamName, PutRates>,
    /// The file of the audit log.
    pub audit: Option<PathBuf>,
    /// How the daemon stops.
    pub stop: StopConfig,
}

impl Config {
    /// The name of the store that a call's bucket and role lead to: the one that the role is mapped to, else the one
    /// that lists the bucket, else the default store.
    pub fn store_for(&self, bucket: &str, role_arn: &str) -> Option<&str> {
        let lists = |store: &StoreConfig| store.buckets().iter().any(|listed| listed == bucket);
        let listing = || self.stores.iter().find(|(_, store)| lists(store)).map(|(name, _)| name);
        self.roles.get(role_arn).or_else(listing).or(self.default_store.as_ref()).map(String::as_str)
    }

    /// The ARN that leads to a function of that name.
    pub(crate) fn function_arn(&self, name: &str) -> String {
        format!("arn:aws:lambda:{}:{}:function:{name}", self.region, self.account_id)
    }

    /// The name of the key that a `KeyARN` leads to: the one that lists it, else the one that it is in its KMS.
    pub fn key_of_arn(&self, arn: &str) -> Option<&str> {
        let lists = |key: &KeyConfig| key.arns.iter().any(|listed| listed == arn);
        let is = |key: &KeyConfig| matches!(&key.keeper, KeyKeeper::AwsKms(kms) if kms.key_id == arn);
        let named = self
            .keys
            .iter()
            .find(|(_, key)| lists(key))
            .or_else(|| self.keys.iter().find(|(_, key)| is(key)));
        named.map(|(name, _)| name.as_str())
    }
}

/// The JSON Schema (2020-12) of `standpipe.yaml`, for editors; ends with a newline.
pub fn schema_json() -> String {
    let schema = schema::document(&reader::describe(root::root));
    let mut text = serde_json::to_string_pretty(&schema).expect("a tree of texts and numbers serialises");
    text.push('\n');
    text
}
