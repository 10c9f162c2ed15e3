//! How an endpoint that speaks HTTP is reached: TLS, proxy, timeouts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;
use standpipe_sinks::ClientOptions;

use super::EndpointError;
use crate::exposed::expose_some;

/// How an endpoint is reached. Definitions hold it on disk, secrets included, in files that only their owner may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Certificate authorities (PEM) trusted beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The client's certificate (PEM), with its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The proxy's URL.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose_some")]
    pub proxy: Option<Secret>,
    /// For making a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// For a request with its answer, in milliseconds.
    pub request_timeout_ms: u64,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            ca_file: None,
            cert_file: None,
            key_file: None,
            proxy: None,
            connect_timeout_ms: 10_000,
            request_timeout_ms: 180_000,
        }
    }
}

impl Reach {
    /// Whether certificates are set.
    pub(crate) fn has_tls(&self) -> bool {
        !self.files().is_empty()
    }

    /// The files that it is made of.
    pub(super) fn files(&self) -> Vec<&Path> {
        [&self.ca_file, &self.cert_file, &self.key_file].into_iter().flatten().map(PathBuf::as_path).collect()
    }

    /// What a client is made of.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn options(&self) -> Result<ClientOptions, EndpointError> {
        let identity_pem = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                let pem = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
                Some(Secret::new(String::from_utf8_lossy(&pem)))
            }
            _ => None,
        };
        Ok(ClientOptions {
            ca_pem: self.ca_file.as_deref().map(read).transpose()?,
            identity_pem,
            proxy: self.proxy.clone(),
            keep_cookies: false,
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EndpointError> {
    fs::read(path).map_err(|source| EndpointError::File { path: path.display().to_string(), source })
}
