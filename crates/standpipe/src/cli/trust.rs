//! TLS of the command line's own clients: whom they trust, and what they show of themselves.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Trust, for every command that talks to the Firehose API.
#[derive(Debug, Clone, Default, Args)]
pub struct TrustArgs {
    /// The certificate authorities to trust instead of the system's, in PEM.
    #[arg(long, env = "AWS_CA_BUNDLE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The certificate to show where the daemon asks for one (`client_ca`), in PEM.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
}

impl TrustArgs {
    /// A connector by these arguments; without a `ca_file` among them, one that trusts `published`.
    ///
    /// # Errors
    /// A file cannot be used, or the system has no certificate authorities.
    pub fn connector(&self, published: Option<&Path>) -> anyhow::Result<HttpsConnector<HttpConnector>> {
        let provider = rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?;
        let config = match self.ca_file.as_deref().or(published) {
            Some(path) => config.with_root_certificates(authorities(path)?),
            None => config
                .with_native_roots()
                .context("cannot load the system's certificate authorities; try --ca-file")?,
        };
        let config = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("cannot use the key {}", key.display()))?;
                config
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .with_context(|| format!("cannot use the certificate {}", certificate.display()))?
            }
            _ => config.with_no_client_auth(),
        };
        Ok(https(config))
    }
}

/// A connector that trusts nobody, for plain HTTP: a machine without any certificate authorities can still do that.
pub(super) fn plain() -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .context("cannot set up TLS")?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(https(config))
}

fn https(config: ClientConfig) -> HttpsConnector<HttpConnector> {
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build()
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().with_context(|| format!("cannot read the certificates of {}", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "there is no certificate in {}", path.display());
    Ok(found)
}

fn authorities(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| format!("cannot trust what is in {}", path.display()))?;
    }
    Ok(roots)
}
