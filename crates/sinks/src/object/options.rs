//! Settings of a Google or Azure store, and the client that they make.

use std::sync::Arc;
use std::time::Duration;

use object_store::{ClientOptions, ObjectStore, RetryConfig};
use standpipe_model::Secret;

/// The slowest upload that is still waited for, in bytes per second.
const UPLOAD_RATE_MIN: u64 = 64 << 10;

/// How to reach and use a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStoreOptions {
    /// Whose store it is.
    pub provider: ObjectProvider,
    /// The size of a part, and how much is buffered before an upload becomes one of many parts.
    pub part_bytes: u64,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a request may take, beside the time that a part's bytes need.
    pub request_timeout: Duration,
}

/// Whose store it is, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectProvider {
    /// Google Cloud Storage.
    #[cfg(feature = "gcs")]
    Gcs {
        /// A service account's key in JSON; the machine's own identity where absent.
        service_account_key: Option<Secret>,
        /// Another endpoint than Google's.
        endpoint: Option<String>,
    },
    /// Azure Blob Storage; the bucket is the container.
    #[cfg(feature = "azure")]
    Azure {
        /// The storage account.
        account: String,
        /// The account's key; the machine's own identity where absent.
        access_key: Option<Secret>,
        /// Another endpoint than Azure's.
        endpoint: Option<String>,
    },
}

impl ObjectProvider {
    /// The store's name in messages.
    pub(super) fn name(&self) -> String {
        match self {
            #[cfg(feature = "gcs")]
            Self::Gcs { endpoint, .. } => endpoint.clone().unwrap_or_else(|| "gcs".to_owned()),
            #[cfg(feature = "azure")]
            Self::Azure { account, endpoint, .. } => {
                endpoint.clone().unwrap_or_else(|| format!("azure {account}"))
            }
        }
    }
}

impl ObjectStoreOptions {
    /// The defaults for a store.
    pub fn new(provider: ObjectProvider) -> Self {
        Self {
            provider,
            part_bytes: 8 << 20,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(60),
        }
    }

    /// The client for one bucket. Nothing is connected yet.
    pub(super) fn open(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
        match &self.provider {
            #[cfg(feature = "gcs")]
            ObjectProvider::Gcs { service_account_key, endpoint } => {
                let mut builder = object_store::gcp::GoogleCloudStorageBuilder::new()
                    .with_bucket_name(bucket)
                    .with_retry(once())
                    .with_client_options(self.client_options(endpoint.as_deref()));
                if let Some(key) = service_account_key {
                    builder = builder.with_service_account_key(key.expose());
                }
                if let Some(endpoint) = endpoint {
                    builder = builder.with_base_url(endpoint);
                }
                Ok(Arc::new(builder.build()?))
            }
            #[cfg(feature = "azure")]
            ObjectProvider::Azure { account, access_key, endpoint } => {
                let mut builder = object_store::azure::MicrosoftAzureBuilder::new()
                    .with_account(account)
                    .with_container_name(bucket)
                    .with_retry(once())
                    .with_client_options(self.client_options(endpoint.as_deref()));
                if let Some(key) = access_key {
                    builder = builder.with_access_key(key.expose());
                }
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint.clone());
                }
                Ok(Arc::new(builder.build()?))
            }
        }
    }

    fn client_options(&self, endpoint: Option<&str>) -> ClientOptions {
        let sending = Duration::from_secs(self.part_bytes / UPLOAD_RATE_MIN);
        ClientOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_timeout(self.request_timeout + sending)
            .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
    }
}

/// The worker alone owns retry.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}
