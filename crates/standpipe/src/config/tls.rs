//! `tls`: certificates for the Firehose API's listener.

use std::net::SocketAddr;
use std::path::PathBuf;

use standpipe_ingest::{ClientAuth, TlsVersion};

use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, FilePath, Listen};

/// The words for [`ClientAuth`].
const CLIENT_AUTH: Choice<ClientAuth> =
    Choice(&[("required", ClientAuth::Required), ("optional", ClientAuth::Optional)]);

/// TLS of the Firehose API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, in PEM.
    pub certificate: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The CAs of clients' certificates, and whether clients must have one.
    pub clients: Option<(PathBuf, ClientAuth)>,
    /// Where the API also listens in plain.
    pub plain_listen: Option<SocketAddr>,
}

impl TlsConfig {
    /// Whether nobody gets in without a certificate that the operator's CA issued.
    pub(crate) fn authenticates(&self) -> bool {
        matches!(self.clients, Some((_, ClientAuth::Required)))
    }
}

/// Reads `tls`.
pub(super) fn tls(section: &mut Section<'_, '_>) -> Option<TlsConfig> {
    let certificate = section.required(
        "certificate",
        FilePath,
        "The certificate in PEM, followed by what leads from it to its CA. Files are read again when they change.",
    );
    let key = section.required("key", FilePath, "Its private key in PEM: PKCS #8, PKCS #1 or SEC 1.");
    let min_version = section.or("min_version", Version, "1.2", "The oldest version of TLS that is spoken.");
    let client_ca = section.optional(
        "client_ca",
        FilePath,
        "The CAs in PEM whose certificates clients may show (mutual TLS). Where absent, none is asked for.",
    );
    let client_auth = section.optional(
        "client_auth",
        CLIENT_AUTH,
        "Whether clients must show a certificate of `client_ca`; `required` where absent. Where it is, `credentials` \
         may be left out, and the certificate alone decides who may write.",
    );
    if client_auth.is_some() && !section.given("client_ca") {
        section.refuse("client_auth", "it needs \"client_ca\": whose certificates are good");
    }
    let plain_listen = section.optional(
        "plain_listen",
        Listen,
        "Where the Firehose API listens without TLS as well, such as for producers on this machine. Nowhere where \
         absent.",
    );
    let auth = client_auth.unwrap_or(ClientAuth::Required);
    Some(TlsConfig {
        certificate: certificate?,
        key: key?,
        min_version,
        clients: client_ca.map(|ca| (ca, auth)),
        plain_listen,
    })
}

/// A version of TLS, which YAML takes for a number unless it is quoted.
struct Version;

impl Shape for Version {
    type Out = TlsVersion;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<TlsVersion> {
        match at.text()?.as_str() {
            "1.2" => Some(TlsVersion::Tls12),
            "1.3" => Some(TlsVersion::Tls13),
            other => at.refuse(format!("\"{other}\" is not one of 1.2, 1.3")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "`1.2`, `1.3`".to_owned(), pattern: r"^1\.[23]$" }
    }
}
