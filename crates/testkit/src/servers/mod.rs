//! The real servers that tests deliver to.
//!
//! Each is a struct whose `start` installs the server if need be, starts it on a free loopback port and waits until it
//! answers. Dropping the struct ends it.
//!
//! ```no_run
//! use standpipe_testkit::servers::Versitygw;
//!
//! let store = Versitygw::start()?;
//! println!("{} with key {}", store.access().endpoint, store.access().access_key_id);
//! # anyhow::Ok(())
//! ```

mod go;
mod iceberg;
mod local_kms;
mod minio;
mod moto;
mod opensearch;
mod postgres;
#[cfg(feature = "redshift")]
mod redshift;
mod telegraf;
mod toxiproxy;
mod versions;
mod versitygw;

use std::path::PathBuf;

use anyhow::Result;

pub use iceberg::Iceberg;
pub use local_kms::LocalKms;
pub use minio::Minio;
pub use moto::Moto;
pub use opensearch::OpenSearch;
pub use postgres::Postgres;
#[cfg(feature = "redshift")]
pub use redshift::Redshift;
pub use telegraf::Telegraf;
pub use toxiproxy::{Proxy, Toxic, Toxiproxy};
pub use versitygw::Versitygw;

/// How to reach an S3-compatible store that a fixture started.
#[derive(Debug, Clone)]
pub struct S3Access {
    /// `http://127.0.0.1:port`, or `https://localhost:port` with TLS.
    pub endpoint: String,
    /// The access key id of the store's owner.
    pub access_key_id: String,
    /// The secret that goes with it.
    pub secret_access_key: String,
    /// The certificate to trust, in PEM, where the endpoint is https.
    pub ca_file: Option<PathBuf>,
}

impl S3Access {
    /// The region that every store here answers for.
    pub const REGION: &'static str = "us-east-1";

    fn owner(endpoint: String) -> Self {
        let (access_key_id, secret_access_key) = ("standpipe".to_owned(), "standpipe-secret".to_owned());
        Self { endpoint, access_key_id, secret_access_key, ca_file: None }
    }

    /// This store behind another address, such as a [`Proxy`]'s.
    #[must_use]
    pub fn through(&self, endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), ..self.clone() }
    }

    /// This store as an entry under `stores:` in standpipe's configuration, in one line without its name.
    pub fn store_yaml(&self) -> String {
        format!(
            "{{ type: s3, endpoint: \"{}\", region: {}, force_path_style: true, access_key_id: {}, \
             secret_access_key: {} }}",
            self.endpoint,
            Self::REGION,
            self.access_key_id,
            self.secret_access_key
        )
    }
}

/// Installs one server.
pub type Install = fn() -> Result<()>;

/// Every server with the function that installs it, in the order of the shortest first.
pub fn all() -> Vec<(&'static str, Install)> {
    vec![
        ("postgres", Postgres::install),
        ("local-kms", LocalKms::install),
        ("toxiproxy", Toxiproxy::install),
        ("versitygw", Versitygw::install),
        ("opensearch", OpenSearch::install),
        ("iceberg", Iceberg::install),
        ("telegraf", Telegraf::install),
        ("minio", Minio::install),
    ]
}
