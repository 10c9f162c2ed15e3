//! The SDK's client, set up so that it tries once, waits a bounded time and trusts whom it should.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    self, BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::options::{S3Credentials, S3Options, S3OptionsError};

/// Servers close idle connections after some twenty seconds and up; one that is younger is likely to live.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// The slowest transfer that is still waited for, in bytes per second.
const UPLOAD_RATE_MIN: u64 = 64 << 10;

/// Makes the client. Nothing is connected yet, and credentials of the chain are looked up when the first request needs
/// them.
pub(super) fn build(options: &S3Options) -> Result<Client, S3OptionsError> {
    options.validate()?;
    let access = AwsAccess::new(&options.region, &options.credentials, options.ca_pem.as_deref())?;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(access.http_client)
        .region(Region::new(options.region.clone()))
        .credentials_provider(access.credentials)
        .force_path_style(options.path_style)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // The checksum is made here and sent as a header; left to itself the SDK sends it as a trailer.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .timeout_config(timeouts(options, 0));
    let config = match &options.endpoint {
        Some(endpoint) => config.endpoint_url(endpoint),
        None => config,
    };
    Ok(Client::from_conf(config.build()))
}

/// The settings of one request that sends `bytes`.
pub(super) fn request_settings(options: &S3Options, bytes: usize) -> config::Builder {
    aws_sdk_s3::Config::builder().timeout_config(timeouts(options, bytes))
}

fn timeouts(options: &S3Options, bytes: usize) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .operation_timeout(time_for(options, bytes))
        .build()
}

/// How long a request with so many bytes is waited for.
pub(super) fn time_for(options: &S3Options, bytes: usize) -> Duration {
    options.request_timeout + Duration::from_secs(bytes as u64 / UPLOAD_RATE_MIN)
}

/// How an AWS service is reached: connections with TLS by *ring*, and who signs. A client of another service is made of
/// it like the one for S3.
#[derive(Debug, Clone)]
pub struct AwsAccess {
    /// Connections.
    pub http_client: SharedHttpClient,
    /// Who signs.
    pub credentials: SharedCredentialsProvider,
}

impl AwsAccess {
    /// Access in a region, trusting the certificates in `ca_pem` beside the system's. Nothing is connected yet.
    ///
    /// # Errors
    /// [`S3OptionsError`]: the certificates or the credentials cannot be used.
    pub fn new(
        region: &str,
        credentials: &S3Credentials,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, S3OptionsError> {
        let http_client = connections(ca_pem)?;
        let credentials = provider(region, credentials, http_client.clone())?;
        Ok(Self { http_client, credentials })
    }
}

fn connections(ca_pem: Option<&[u8]>) -> Result<SharedHttpClient, S3OptionsError> {
    let mut trust = TrustStore::default();
    if let Some(pem) = ca_pem {
        check_certificates(pem)?;
        trust = trust.with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trust).build();
    let tls = tls.map_err(|error| S3OptionsError::Certificates(error.to_string()))?;
    Ok(HttpBuilder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .pool_idle_timeout(POOL_IDLE)
        .build_https())
}

/// The SDK panics over a certificate that it cannot read, so it gets none of those.
fn check_certificates(pem: &[u8]) -> Result<(), S3OptionsError> {
    let unusable = |error: &dyn std::fmt::Display| S3OptionsError::Certificates(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    match roots.is_empty() {
        true => Err(unusable(&"there is none")),
        false => Ok(()),
    }
}

fn provider(
    region: &str,
    credentials: &S3Credentials,
    http: SharedHttpClient,
) -> Result<SharedCredentialsProvider, S3OptionsError> {
    match credentials {
        S3Credentials::Static { access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_ref().map(|token| token.expose().to_owned());
            let secret = secret_access_key.expose();
            Ok(SharedCredentialsProvider::new(Credentials::new(
                access_key_id,
                secret,
                token,
                None,
                "standpipe",
            )))
        }
        S3Credentials::Chain => chain(region, http),
    }
}

#[cfg(not(feature = "aws-chain"))]
fn chain(_: &str, _: SharedHttpClient) -> Result<SharedCredentialsProvider, S3OptionsError> {
    Err(S3OptionsError::NoChain)
}

#[cfg(feature = "aws-chain")]
fn chain(region: &str, http: SharedHttpClient) -> Result<SharedCredentialsProvider, S3OptionsError> {
    Ok(SharedCredentialsProvider::new(chain::Lazy::new(Region::new(region.to_owned()), http)))
}

#[cfg(feature = "aws-chain")]
mod chain {
    use aws_config::default_provider::credentials::DefaultCredentialsChain;
    use aws_config::provider_config::ProviderConfig;
    use aws_credential_types::provider::future::ProvideCredentials as Providing;
    use aws_sdk_s3::config::{ProvideCredentials, Region, SharedHttpClient};
    use tokio::sync::OnceCell;

    /// The chain, set up when it is first asked: its own set-up reads files, and a sink is made without any I/O.
    #[derive(Debug)]
    pub(super) struct Lazy {
        region: Region,
        http: SharedHttpClient,
        chain: OnceCell<DefaultCredentialsChain>,
    }

    impl Lazy {
        pub(super) fn new(region: Region, http: SharedHttpClient) -> Self {
            Self { region, http, chain: OnceCell::new() }
        }

        async fn set_up(&self) -> DefaultCredentialsChain {
            let config = ProviderConfig::without_region()
                .with_region(Some(self.region.clone()))
                .with_http_client(self.http.clone());
            DefaultCredentialsChain::builder().configure(config).build().await
        }
    }

    impl ProvideCredentials for Lazy {
        fn provide_credentials<'a>(&'a self) -> Providing<'a>
        where
            Self: 'a,
        {
            Providing::new(async move {
                self.chain.get_or_init(|| self.set_up()).await.provide_credentials().await
            })
        }
    }
}
