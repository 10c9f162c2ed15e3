//! TLS of a listener: from certificates and keys to what a handshake needs, exchangeable while connections stay open.
//!
//! rustls with *ring*; TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN. Files are not read here, PEM comes in as text.
//!
//! # Limits
//! - Revoked client certificates are not recognised: no CRL and no OCSP.
//!
//! # Invariants
//! - A [`TlsContext`] is only made of a key that belongs to its certificate.
//! - A context has session tickets of its own: with another client CA no session of the old one is resumed.
//! - What is asked of clients' certificates counts for all connections: where it changes, those that are open end.

mod certificate;
mod handshake;

use std::sync::{Arc, PoisonError, RwLock};

use standpipe_model::{Secret, Timestamp};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_util::sync::CancellationToken;

pub use handshake::HandshakeResult;
pub(crate) use handshake::handshake;

/// What a client may choose by ALPN, the better one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without one is refused in the handshake.
    Required,
    /// A client may go without one; one that is shown must be good.
    Optional,
}

/// What a listener's TLS is made of.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The certificate and what leads from it to its CA, in PEM, the certificate itself first.
    pub certificate: String,
    /// Its private key in PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: Secret,
    /// The CAs of clients' certificates in PEM, and whether clients must have one; `None` asks for none.
    pub clients: Option<(String, ClientAuth)>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// Certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate in the text.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// It has a certificate that is cut off or garbled.
    #[error("the certificate is damaged")]
    BadCertificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no private key in the text.
    #[error("there is no private key in it (PKCS #8, PKCS #1 or SEC 1 in PEM, not encrypted)")]
    NoKey,
    /// It has a key that is cut off or garbled. What is wrong with it is not told, it would be a part of it.
    #[error("the private key is damaged")]
    BadKey,
    /// The key is of an unknown kind, or does not belong to the certificate.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// There is no certificate among the CAs of clients.
    #[error("there is no CA certificate in it")]
    NoClientCa,
    /// The CAs of clients cannot be used.
    #[error("the client CA cannot be used")]
    BadClientCa(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which of the texts of [`TlsOptions`] an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPart {
    /// The certificate, or it together with the key.
    Certificate,
    /// The key.
    Key,
    /// The CAs of clients.
    ClientCa,
}

impl TlsError {
    /// What the error is about.
    pub fn part(&self) -> TlsPart {
        match self {
            Self::NoCertificate | Self::BadCertificate(_) | Self::Pair(_) => TlsPart::Certificate,
            Self::NoKey | Self::BadKey => TlsPart::Key,
            Self::NoClientCa | Self::BadClientCa(_) => TlsPart::ClientCa,
        }
    }
}

/// The CAs of clients' certificates in PEM, and whether clients must have one.
type Clients = Option<(String, ClientAuth)>;

/// Checked certificates, ready for handshakes.
#[derive(Debug, Clone)]
pub struct TlsContext {
    config: Arc<ServerConfig>,
    expires_at: Timestamp,
    clients: Clients,
}

impl TlsContext {
    /// Checks certificates and key, and makes a context of them. An expired certificate is no error here.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let chain =
            certificates(&options.certificate).map_err(|error| TlsError::BadCertificate(error.into()))?;
        let mut expiries = Vec::new();
        for certificate in &chain {
            let expiry = certificate::expires_at(certificate);
            expiries.push(expiry.map_err(|error| TlsError::BadCertificate(error.into()))?);
        }
        // The chain is as good as the first of it to expire.
        let expires_at = expiries.into_iter().min().ok_or(TlsError::NoCertificate)?;
        let key =
            PrivateKeyDer::from_pem_slice(options.key.expose().as_bytes()).map_err(|error| match error {
                pem::Error::NoItemsFound => TlsError::NoKey,
                _ => TlsError::BadKey,
            })?;
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match options.min_version {
            TlsVersion::Tls12 => &[&TLS12, &TLS13],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .expect("ring speaks both versions");
        let builder = match &options.clients {
            Some((ca, auth)) => builder.with_client_cert_verifier(verifier(ca, *auth, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self { config: Arc::new(config), expires_at, clients: options.clients.clone() })
    }

    /// When the first certificate of the chain expires.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect()
}

fn verifier(
    ca: &str,
    auth: ClientAuth,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca).map_err(|error| TlsError::BadClientCa(error.into()))? {
        roots.add(certificate).map_err(|error| TlsError::BadClientCa(error.into()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| match error {
        VerifierBuilderError::NoRootAnchors => TlsError::NoClientCa,
        error => TlsError::BadClientCa(error.into()),
    })
}

/// What was asked of clients' certificates when a connection was made, until something else is.
#[derive(Debug, Default)]
pub(crate) struct Trust(CancellationToken);

impl Trust {
    /// Whether something else is asked by now.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for that.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn over(&self) {
        self.0.cancelled().await;
    }
}

/// The TLS of a listener: every handshake takes the context that is in force when it begins.
#[derive(Debug)]
pub struct Tls(RwLock<InForce>);

#[derive(Debug)]
struct InForce {
    context: TlsContext,
    trust: Arc<Trust>,
}

impl Tls {
    /// TLS by `context`, until another replaces it.
    pub fn new(context: TlsContext) -> Self {
        Self(RwLock::new(InForce { context, trust: Arc::default() }))
    }

    /// Puts a context in force for the handshakes to come. Connections that are open stay as they are, unless it asks
    /// something else of clients' certificates: then they end, and what still comes over them is refused.
    pub fn replace(&self, context: TlsContext) {
        let mut in_force = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if in_force.context.clients != context.clients {
            in_force.trust.0.cancel();
            in_force.trust = Arc::default();
        }
        in_force.context = context;
    }

    /// When the certificate in force expires.
    pub fn expires_at(&self) -> Timestamp {
        self.0.read().unwrap_or_else(PoisonError::into_inner).context.expires_at
    }

    fn in_force(&self) -> (TlsAcceptor, Arc<Trust>) {
        let in_force = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&in_force.context.config).into(), Arc::clone(&in_force.trust))
    }
}

#[cfg(test)]
mod tests;
