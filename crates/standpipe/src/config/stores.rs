//! The `stores` section: the object stores that streams deliver to, by name, with how they are reached.

use std::path::PathBuf;
use std::time::Duration;

use standpipe_model::Secret;

use super::reader::{ReadSection, Section};
use super::shapes::{ByType, FilePath, List, Size, Span, Truth, Url, secret, text};

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
    /// The region to sign for; from the environment or the profile where absent.
    pub region: Option<String>,
    /// Whether the bucket is a part of the path and not of the host name.
    pub force_path_style: bool,
    /// Fixed keys; the usual chain (environment, profile, container, instance) where absent.
    pub keys: Option<S3Keys>,
    /// The profile of the shared AWS configuration files.
    pub profile: Option<String>,
    /// Buckets whose ARN in an API call leads to this store.
    pub buckets: Vec<String>,
    /// Certificate authorities (PEM) trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Objects of at least this many bytes go up in parts.
    pub multipart_threshold: u64,
    /// How long connections and requests may take.
    pub timeouts: Timeouts,
}

/// Fixed S3 credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token of temporary credentials.
    pub session_token: Option<Secret>,
}

/// How long a store may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// For one request, the upload of its body included.
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
    /// The account's access key; the managed identity where neither this nor a SAS token is given.
    pub access_key: Option<Secret>,
    /// A shared access signature, in place of the access key.
    pub sas_token: Option<Secret>,
    /// The address, for emulators; Azure's own for the account where absent.
    pub endpoint: Option<String>,
    /// Buckets whose ARN in an API call leads to this store.
    pub buckets: Vec<String>,
    /// How long connections and requests may take.
    pub timeouts: Timeouts,
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
    let region = section.optional(
        "region",
        text(1..=64),
        "The region to sign for; from the environment or the profile where absent.",
    );
    let force_path_style = section.or(
        "force_path_style",
        Truth,
        "false",
        "Whether the bucket is a part of the path and not of the host name, as most servers that are not AWS need it.",
    );
    let keys = s3_keys(section);
    let profile =
        section.optional("profile", text(1..=128), "The profile of the shared AWS configuration files.");
    if profile.is_some() && section.given("access_key_id") {
        section.refuse("profile", "give either a profile or an access key, not both");
    }
    let ca_file = section.optional(
        "ca_file",
        FilePath,
        "Certificate authorities (PEM) that are trusted instead of the system's.",
    );
    let multipart_threshold = section.or(
        "multipart_threshold",
        Size(5 << 20..=5 << 30),
        "16MiB",
        "Objects of at least this size go up in parts, while they are still being made.",
    );
    let buckets = buckets(section);
    let timeouts = timeouts(section);
    Some(StoreConfig::S3(S3Store {
        endpoint,
        region,
        force_path_style,
        keys,
        profile,
        buckets,
        ca_file,
        multipart_threshold,
        timeouts,
    }))
}

fn s3_keys(section: &mut Section<'_, '_>) -> Option<S3Keys> {
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
        "The account's access key; the managed identity where neither this nor a SAS token is given.",
        "A file that holds the access key.",
    );
    let sas_token = secret(
        section,
        "sas_token",
        "sas_token_file",
        "A shared access signature, in place of the access key.",
        "A file that holds the shared access signature.",
    );
    if access_key.is_some() && sas_token.is_some() {
        section.refuse("", "give either an access key or a SAS token, not both");
    }
    let endpoint = section.optional(
        "endpoint",
        Url,
        "The store's address, for emulators; Azure's own for the account where absent.",
    );
    let buckets = buckets(section);
    let timeouts = timeouts(section);
    let account = account?;
    Some(StoreConfig::Azure(AzureStore { account, access_key, sas_token, endpoint, buckets, timeouts }))
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
        "10s",
        "How long a connection may take to stand, TLS included.",
    );
    let request = section.or(
        "request_timeout",
        Span::secs(1..=3600),
        "5m",
        "How long one request may take, the upload of its body included.",
    );
    Timeouts { connect, request }
}
