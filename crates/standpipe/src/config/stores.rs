//! The `stores` section: the object stores that streams deliver to, by name, with how they are reached.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;
use standpipe_sinks::s3::S3Credentials;

use super::compound::{ByType, List};
use super::reader::{Cursor, ReadSection, Section, Shape};
use super::schema::Schema;
use super::shapes::{FilePath, Size, Span, Truth, Url, secret, text};
use crate::exposed::{expose, expose_some};

/// How one object store is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// An S3-compatible store.
    S3(S3Store),
    /// A folder of the local file system.
    File(FileStore),
    /// Google Cloud Storage.
    Gcs(GcsStore),
    /// Azure Blob Storage.
    Azure(AzureStore),
}

impl StoreConfig {
    /// The word in `type:`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::File(_) => "file",
            Self::Gcs(_) => "gcs",
            Self::Azure(_) => "azure",
        }
    }

    /// The buckets whose ARN in an API call leads to this store.
    pub fn buckets(&self) -> &[String] {
        match self {
            Self::S3(S3Store { buckets, .. })
            | Self::Gcs(GcsStore { buckets, .. })
            | Self::Azure(AzureStore { buckets, .. }) => buckets,
            Self::File(_) => &[],
        }
    }
}

/// An S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Store {
    /// The address; AWS's own for the region where absent.
    pub endpoint: Option<String>,
    /// The region to sign for; `us-east-1` where absent.
    pub region: Option<String>,
    /// Whether the bucket is a part of the path and not of the host name.
    pub force_path_style: bool,
    /// Fixed keys; the usual chain (environment, profile, container, instance) where absent.
    pub keys: Option<S3Keys>,
    /// Buckets whose ARN in an API call leads to this store.
    pub buckets: Vec<String>,
    /// Certificate authorities (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Objects of at least this many bytes go up in parts of this many bytes.
    pub multipart_threshold: u64,
    /// How long connections and requests may take.
    pub timeouts: Timeouts,
}

/// Fixed credentials of AWS, or of what speaks its language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    #[serde(serialize_with = "expose")]
    pub secret_access_key: Secret,
    /// The session token of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose_some")]
    pub session_token: Option<Secret>,
}

impl S3Keys {
    /// How requests are signed: with these keys, or by the usual chain where there are none.
    pub(crate) fn credentials(keys: Option<&Self>) -> S3Credentials {
        let Some(Self { access_key_id, secret_access_key, session_token }) = keys.cloned() else {
            return S3Credentials::Chain;
        };
        S3Credentials::Static { access_key_id, secret_access_key, session_token }
    }
}

/// How a service of AWS is reached, or one that speaks its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsService {
    /// The address; AWS's own for the region where absent.
    pub endpoint: Option<String>,
    /// The region to sign for; `us-east-1` where absent.
    pub region: Option<String>,
    /// Fixed credentials; the usual chain where absent.
    pub credentials: Option<S3Keys>,
    /// Certificate authorities (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl AwsService {
    /// The region to sign for.
    pub(crate) fn region(&self) -> String {
        self.region.clone().unwrap_or_else(|| "us-east-1".to_owned())
    }
}

/// How long a store may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// For one request, beside the time that its bytes need.
    pub request: Duration,
}

/// A folder of the local file system; the buckets are its sub-folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStore {
    /// The folder.
    pub path: PathBuf,
}

/// Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsStore {
    /// The address, for emulators; Google's own where absent.
    pub endpoint: Option<String>,
    /// The key file of a service account; the application default credentials where absent.
    pub service_account_file: Option<PathBuf>,
    /// Buckets whose ARN in an API call leads to this store.
    pub buckets: Vec<String>,
    /// How long connections and requests may take.
    pub timeouts: Timeouts,
}

/// Azure Blob Storage; a bucket is a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureStore {
    /// The storage account.
    pub account: String,
    /// The account's access key; the managed identity where absent.
    pub access_key: Option<Secret>,
    /// The address, for emulators; Azure's own for the account where absent.
    pub endpoint: Option<String>,
    /// Buckets whose ARN in an API call leads to this store.
    pub buckets: Vec<String>,
    /// How long connections and requests may take.
    pub timeouts: Timeouts,
}

/// A region's name.
pub(super) struct Region;

impl Shape for Region {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let region = at.text()?;
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if (1..=64).contains(&region.len()) && region.chars().all(named) {
            return Some(region);
        }
        at.refuse(format!("\"{region}\" is not a region: letters, digits, '-' and '_'"))
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "region".to_owned(), pattern: "^[a-zA-Z0-9_-]{1,64}$" }
    }
}

/// The shape of one store.
pub(super) const STORE: ByType<StoreConfig> = ByType(&[
    ("s3", s3 as ReadSection<StoreConfig>),
    ("file", file as ReadSection<StoreConfig>),
    ("gcs", gcs as ReadSection<StoreConfig>),
    ("azure", azure as ReadSection<StoreConfig>),
]);

fn s3(section: &mut Section<'_, '_>) -> Option<StoreConfig> {
    let endpoint =
        section.optional("endpoint", Url, "The store's address; AWS's own for the region where absent.");
    let region = section.optional("region", Region, "The region to sign for; `us-east-1` where absent.");
    let force_path_style = section.or(
        "force_path_style",
        Truth,
        "false",
        "Whether the bucket is a part of the path and not of the host name, as most servers that are not AWS need it.",
    );
    let keys = s3_keys(section);
    let ca_file = section.optional(
        "ca_file",
        FilePath,
        "Certificate authorities (PEM) that are trusted beside the system's.",
    );
    let multipart_threshold = section.or(
        "multipart_threshold",
        Size(5 << 20..=1 << 30),
        "8MiB",
        "Objects of at least this size go up in parts of this size, while they are still being made. Some parts of each \
         object are in memory.",
    );
    let buckets = buckets(section);
    let timeouts = timeouts(section);
    Some(StoreConfig::S3(S3Store {
        endpoint,
        region,
        force_path_style,
        keys,
        buckets,
        ca_file,
        multipart_threshold,
        timeouts,
    }))
}

/// Reads how a service of AWS is reached, of whose `endpoint` is said what it is.
pub(super) fn aws_service(section: &mut Section<'_, '_>, endpoint_doc: &'static str) -> AwsService {
    let endpoint = section.optional("endpoint", Url, endpoint_doc);
    let region = section.optional("region", Region, "The region to sign for; `us-east-1` where absent.");
    let credentials = s3_keys(section);
    let ca_file = section.optional(
        "ca_file",
        FilePath,
        "Certificate authorities (PEM) that are trusted beside the system's.",
    );
    let timeout = section.or("timeout", Span::secs(1..=60), "5s", "How long one call may take.");
    AwsService { endpoint, region, credentials, ca_file, timeout }
}

pub(super) fn s3_keys(section: &mut Section<'_, '_>) -> Option<S3Keys> {
    let access_key_id = section.optional(
        "access_key_id",
        text(1..=128),
        "The access key id; the usual AWS chain (environment, profile, container, instance) where absent.",
    );
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
    let has_secret = section.given("secret_access_key") || section.given("secret_access_key_file");
    if section.given("access_key_id") != has_secret {
        let (given, missing) = if has_secret {
            ("a secret access key", "access_key_id")
        } else {
            ("an access key id", "secret_access_key")
        };
        section.refuse("", format!("{given} without \"{missing}\""));
    }
    if section.given("session_token") && !has_secret {
        section.refuse("session_token", "a session token without an access key");
    }
    Some(S3Keys { access_key_id: access_key_id?, secret_access_key: secret_access_key?, session_token })
}

fn file(section: &mut Section<'_, '_>) -> Option<StoreConfig> {
    let path = section.required("path", FilePath, "The folder; a stream's bucket is a folder below it.")?;
    Some(StoreConfig::File(FileStore { path }))
}

fn gcs(section: &mut Section<'_, '_>) -> Option<StoreConfig> {
    let endpoint =
        section.optional("endpoint", Url, "The store's address, for emulators; Google's own where absent.");
    let service_account_file = section.optional(
        "service_account_file",
        FilePath,
        "The key file (JSON) of a service account; the application default credentials where absent.",
    );
    let buckets = buckets(section);
    let timeouts = timeouts(section);
    Some(StoreConfig::Gcs(GcsStore { endpoint, service_account_file, buckets, timeouts }))
}

fn azure(section: &mut Section<'_, '_>) -> Option<StoreConfig> {
    let account = section.required("account", text(3..=24), "The storage account.");
    let access_key = secret(
        section,
        "access_key",
        "access_key_file",
        "The account's access key; the managed identity where absent.",
        "A file that holds the access key.",
    );
    let endpoint = section.optional(
        "endpoint",
        Url,
        "The store's address, for emulators; Azure's own for the account where absent.",
    );
    let buckets = buckets(section);
    let timeouts = timeouts(section);
    let account = account?;
    Some(StoreConfig::Azure(AzureStore { account, access_key, endpoint, buckets, timeouts }))
}

fn buckets(section: &mut Section<'_, '_>) -> Vec<String> {
    section
        .optional(
            "buckets",
            List(text(1..=255)),
            "Buckets whose ARN in an API call leads to this store and not to the default store.",
        )
        .unwrap_or_default()
}

fn timeouts(section: &mut Section<'_, '_>) -> Timeouts {
    let connect = section.or(
        "connect_timeout",
        Span::secs(1..=300),
        "5s",
        "How long a connection may take to stand, TLS included.",
    );
    let request = section.or(
        "request_timeout",
        Span::secs(1..=3600),
        "60s",
        "How long one request may take, beside the time that its bytes need.",
    );
    Timeouts { connect, request }
}
