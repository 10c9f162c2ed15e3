//! What shows a cluster who asks.

use std::fmt::{self, Debug};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64_simd::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use standpipe_model::{ErrorClass, SinkError};
use tokio::sync::Mutex;

use super::options::{OpenSearchAuth, OpenSearchOptionsError, SigningService};
use crate::cause::causes;
use crate::client::coded;
use crate::s3::AwsAccess;

/// Credentials are asked for again after this time at the latest, and before they expire.
const KEPT: Duration = Duration::from_mins(10);
const BEFORE_EXPIRY: Duration = Duration::from_mins(1);

/// Credentials as requests need them.
pub(super) enum Authority {
    Nobody,
    Header(HeaderValue),
    Signer(Signer),
}

pub(super) struct Signer {
    region: String,
    service: &'static str,
    provider: SharedCredentialsProvider,
    /// With when they are to be asked for again.
    kept: Mutex<Option<(Credentials, SystemTime)>>,
}

impl Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Header(_) => "Header",
            Self::Signer(_) => "Signer",
        })
    }
}

impl Authority {
    pub(super) fn new(auth: &OpenSearchAuth) -> Result<Self, OpenSearchOptionsError> {
        let header = |text: String| {
            let mut value = HeaderValue::try_from(text).map_err(|_| OpenSearchOptionsError::Credential)?;
            value.set_sensitive(true);
            Ok(Self::Header(value))
        };
        match auth {
            OpenSearchAuth::None => Ok(Self::Nobody),
            OpenSearchAuth::Basic { username, .. } if username.contains(':') => {
                Err(OpenSearchOptionsError::Credential)
            }
            OpenSearchAuth::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose());
                header(format!("Basic {}", STANDARD.encode_to_string(pair)))
            }
            OpenSearchAuth::ApiKey(key) => header(format!("ApiKey {}", key.expose())),
            OpenSearchAuth::SigV4 { region, service, credentials } => {
                let service = match service {
                    SigningService::Es => "es",
                    SigningService::Aoss => "aoss",
                };
                let provider = AwsAccess::new(region, credentials, None)?.credentials;
                Ok(Self::Signer(Signer { region: region.clone(), service, provider, kept: Mutex::default() }))
            }
        }
    }

    /// The headers that show who posts `body` to `url`.
    pub(super) async fn headers(
        &self,
        url: &Url,
        body: &[u8],
        now: SystemTime,
    ) -> Result<HeaderMap, SinkError> {
        match self {
            Self::Nobody => Ok(HeaderMap::new()),
            Self::Header(value) => Ok(HeaderMap::from_iter([(AUTHORIZATION, value.clone())])),
            Self::Signer(signer) => signer.headers(url, body, now).await,
        }
    }
}

impl Signer {
    async fn headers(&self, url: &Url, body: &[u8], now: SystemTime) -> Result<HeaderMap, SinkError> {
        let identity = self.credentials(now).await?.into();
        let cannot = |error: &dyn std::error::Error| {
            let text = format!("the request cannot be signed: {error}");
            coded(ErrorClass::Misconfigured, "OpenSearch.CannotSign", text)
        };
        let mut settings = SigningSettings::default();
        // Serverless refuses what comes without.
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder().identity(&identity).region(&self.region);
        let params = params.name(self.service).time(now).settings(settings).build();
        let params = params.map_err(|error| cannot(&error))?.into();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or_default());
        let headers = [("host", host.as_str())].into_iter();
        let request = SignableRequest::new("POST", url.as_str(), headers, SignableBody::Bytes(body));
        let request = request.map_err(|error| cannot(&error))?;
        let (signed, _) = sign(request, &params).map_err(|error| cannot(&error))?.into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in signed.headers() {
            let name = HeaderName::try_from(name).map_err(|error| cannot(&error))?;
            let mut value = HeaderValue::try_from(value).map_err(|error| cannot(&error))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    async fn credentials(&self, now: SystemTime) -> Result<Credentials, SinkError> {
        let mut kept = self.kept.lock().await;
        if let Some((credentials, _)) = kept.as_ref().filter(|(_, until)| now < *until) {
            return Ok(credentials.clone());
        }
        let asked = self.provider.provide_credentials().await.map_err(|error| {
            let class = match error {
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                    ErrorClass::Misconfigured
                }
                _ => ErrorClass::Transient,
            };
            let text = format!("there are no AWS credentials: {}", causes(&error));
            coded(class, "OpenSearch.NoCredentials", text).with_source(error)
        })?;
        let expiry = asked.expiry().and_then(|at| at.checked_sub(BEFORE_EXPIRY));
        let until = expiry.map_or(now + KEPT, |at| at.min(now + KEPT));
        *kept = Some((asked.clone(), until));
        Ok(asked)
    }
}
