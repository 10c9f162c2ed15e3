//! A small client of the Firehose API: one signed request per call, and the retries of an SDK.
//!
//! A retry repeats the very same body under the same `amz-sdk-invocation-id`, which is how the daemon knows that a put
//! whose answer was lost is the same put.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

use super::env;
use super::trust::{self, TrustArgs};
use crate::config::Config;
use crate::daemon::Endpoints;

/// The most bytes of an answer that are read; the largest real one, of a full batch, has some hundred kilobytes.
const ANSWER_MAX: usize = 16 << 20;
/// How long one request may take; the daemon answers within its own limits, which are shorter.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The first pause before a retry; doubles each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest pause before a retry.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// How to reach the daemon, for every command that talks to it.
#[derive(Debug, Clone, Args)]
pub struct ConnectArgs {
    /// The Firehose API's address [default: http://127.0.0.1:4573, or where the daemon of --config listens].
    #[arg(long, env = "STANDPIPE_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<Uri>,
    /// The region to sign for; the daemon takes any.
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub region: String,
    /// Take address and access key from this configuration file and not from the environment (STANDPIPE_ACCESS_KEY_ID
    /// and STANDPIPE_SECRET_ACCESS_KEY, or those of AWS).
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How often a request is repeated that met a busy daemon or a broken connection.
    #[arg(long, default_value_t = 8)]
    pub retries: u32,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// Why a call was not answered with success.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer came.
    #[error("cannot reach {endpoint}")]
    Unreachable {
        /// The address.
        endpoint: Uri,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer took longer than a minute.
    #[error("{endpoint} did not answer within {} seconds", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// The address.
        endpoint: Uri,
    },
    /// The daemon refused.
    #[error("{code}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The error's name, as `ResourceNotFoundException`.
        code: String,
        /// What it says.
        message: String,
    },
    /// The request could not be made.
    #[error("cannot sign the request")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system has no random numbers.
    #[error("cannot draw an invocation id")]
    Entropy(#[source] getrandom::Error),
    /// The answer is not what the operation promises.
    #[error("the answer cannot be understood")]
    Answer(#[source] serde_json::Error),
}

impl CallError {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, code, .. } => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || matches!(code.as_str(), "ThrottlingException" | "ServiceUnavailableException")
            }
            Self::Sign(_) | Self::Entropy(_) | Self::Answer(_) => false,
        }
    }
}

/// A client of the Firehose API; clones share their connections.
#[derive(Debug, Clone)]
pub struct FirehoseClient {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    region: String,
    credentials: Credentials,
    retries: u32,
}

impl FirehoseClient {
    /// A client by the arguments of the command line.
    ///
    /// # Errors
    /// No credentials were found, or the configuration file cannot be used.
    pub fn connect(args: &ConnectArgs) -> anyhow::Result<Self> {
        let config = args.config.as_ref().map(|path| Config::load(path, &env)).transpose()?;
        let published = match (&args.endpoint, &config) {
            (None, Some(config)) => Endpoints::published(&config.data_dir).ok(),
            // Another daemon is not trusted for what this machine's has written down.
            _ => None,
        };
        let endpoint = match (&args.endpoint, &published, &config) {
            (Some(endpoint), ..) => endpoint.clone(),
            (None, Some(daemon), _) => reachable(daemon.tls, daemon.listen).parse()?,
            // Its data directory is not for everybody to read.
            (None, None, Some(config)) => reachable(config.tls.is_some(), config.listen).parse()?,
            (None, None, None) => Uri::from_static("http://127.0.0.1:4573"),
        };
        let endpoint = with_root(endpoint)?;
        let credentials = credentials(config.as_ref(), &env)?;
        let https = match endpoint.scheme_str() {
            Some("https") => args.trust.connector(published.and_then(|daemon| daemon.ca_file).as_deref())?,
            _ => trust::plain()?,
        };
        let http = Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { http, endpoint, region: args.region.clone(), credentials, retries: args.retries })
    }

    /// Calls an operation, repeating it while that may help.
    ///
    /// # Errors
    /// The last error, when it is not temporary or the retries are used up.
    pub async fn call(&self, operation: &str, body: Bytes) -> Result<Bytes, CallError> {
        let invocation = invocation_id()?;
        let mut attempt = 1;
        loop {
            match self.attempt(operation, &body, &invocation, attempt).await {
                Err(error) if error.is_temporary() && attempt <= self.retries => {
                    tokio::time::sleep(backoff(attempt)?).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// How often a request is repeated.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    async fn attempt(
        &self,
        operation: &str,
        body: &Bytes,
        invocation: &str,
        attempt: u32,
    ) -> Result<Bytes, CallError> {
        let request = self.request(operation, body, invocation, attempt)?;
        let unreachable = |source| CallError::Unreachable { endpoint: self.endpoint.clone(), source };
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await.map_err(unreachable)?;
            Ok((status, body.to_bytes()))
        };
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await;
        let (status, body) = answer.map_err(|_| CallError::Timeout { endpoint: self.endpoint.clone() })??;
        if status == StatusCode::OK { Ok(body) } else { Err(refused(status, &body)) }
    }

    fn request(
        &self,
        operation: &str,
        body: &Bytes,
        invocation: &str,
        attempt: u32,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let sign_error = |error: Box<dyn std::error::Error + Send + Sync>| CallError::Sign(error);
        let host = self.endpoint.authority().map_or("", |authority| authority.as_str());
        let target = format!("Firehose_20150804.{operation}");
        let of = format!("attempt={attempt}; max={}", self.retries + 1);
        let headers = [
            (HOST.as_str(), host),
            (CONTENT_TYPE.as_str(), "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
            ("amz-sdk-invocation-id", invocation),
            ("amz-sdk-request", of.as_str()),
        ];
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("firehose")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| sign_error(error.into()))?
            .into();
        let uri = self.endpoint.to_string();
        let signable = SignableRequest::new("POST", &uri, headers.into_iter(), SignableBody::Bytes(body))
            .map_err(|error| sign_error(error.into()))?;
        let (instructions, _) =
            sign(signable, &params).map_err(|error| sign_error(error.into()))?.into_parts();
        let mut request = Request::post(&self.endpoint);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(body.clone())).map_err(|error| sign_error(error.into()))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// The address at which a daemon that listens at `listen`, perhaps with TLS, can be reached from this machine.
pub(super) fn reachable(tls: bool, listen: std::net::SocketAddr) -> String {
    let ip = match listen.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", std::net::SocketAddr::new(ip, listen.port()))
}

/// The endpoint as the address of a request.
fn with_root(endpoint: Uri) -> anyhow::Result<Uri> {
    let good = matches!(endpoint.scheme_str(), Some("http" | "https")) && endpoint.authority().is_some();
    anyhow::ensure!(good, "the endpoint {endpoint} is not an address with http:// or https://");
    let mut parts = endpoint.into_parts();
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    Uri::from_parts(parts).context("the endpoint is not an address")
}

/// The access key: of the configuration file where one is named, else of the environment.
fn credentials(config: Option<&Config>, env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Credentials> {
    if let Some(config) = config {
        let first = match config.credentials.first() {
            Some(first) => Some(first.clone()),
            None => config.load_credentials(env)?.into_iter().next(),
        };
        let Some(first) = first else {
            // A daemon without credentials takes any signature.
            return Ok(Credentials::new("standpipe", "standpipe", None, None, "none configured"));
        };
        let token = first.session_token.as_ref().map(|token| token.expose().to_owned());
        return Ok(Credentials::new(
            first.access_key_id,
            first.secret.expose(),
            token,
            None,
            "configuration file",
        ));
    }
    for [id, secret, token] in [
        ["STANDPIPE_ACCESS_KEY_ID", "STANDPIPE_SECRET_ACCESS_KEY", "STANDPIPE_SESSION_TOKEN"],
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
    ] {
        if let (Some(id), Some(secret)) = (env(id), env(secret)) {
            return Ok(Credentials::new(id, secret, env(token), None, "environment"));
        }
    }
    anyhow::bail!(
        "no access key: set STANDPIPE_ACCESS_KEY_ID and STANDPIPE_SECRET_ACCESS_KEY, or name the daemon's --config"
    )
}

/// A random UUID, as the SDKs send.
fn invocation_id() -> Result<String, CallError> {
    let mut id = [0u8; 16];
    getrandom::fill(&mut id).map_err(CallError::Entropy)?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let hex = hex::encode(id);
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// The pause before the retry that follows `attempt`: exponential, with a random half so that clients do not march in
/// step.
pub(super) fn backoff(attempt: u32) -> Result<Duration, CallError> {
    let full = BACKOFF_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    let share = getrandom::u32().map_err(CallError::Entropy)?;
    Ok(full / 2 + full.mul_f64(f64::from(share) / f64::from(u32::MAX) / 2.0))
}

/// The error in an answer, by the JSON 1.1 protocol.
fn refused(status: StatusCode, body: &[u8]) -> CallError {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| json.get(key).and_then(serde_json::Value::as_str);
    // A name may come with a namespace in front: `com.amazonaws…#ResourceNotFoundException`.
    let code = text("__type").and_then(|name| name.rsplit('#').next()).unwrap_or(status.as_str()).to_owned();
    let message = text("message")
        .or_else(|| text("Message"))
        .unwrap_or_else(|| status.canonical_reason().unwrap_or(""));
    CallError::Refused { status, code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_key_comes_from_standpipes_variables_then_from_those_of_aws() {
        let both = |name: &str| Some(format!("{name} value"));
        assert_eq!(credentials(None, &both).unwrap().access_key_id(), "STANDPIPE_ACCESS_KEY_ID value");
        let aws = |name: &str| name.starts_with("AWS_").then(|| name.to_owned());
        assert_eq!(credentials(None, &aws).unwrap().access_key_id(), "AWS_ACCESS_KEY_ID");
        assert_eq!(credentials(None, &aws).unwrap().session_token(), Some("AWS_SESSION_TOKEN"));
        let half = |name: &str| (name == "STANDPIPE_ACCESS_KEY_ID").then(|| name.to_owned());
        assert!(credentials(None, &half).unwrap_err().to_string().starts_with("no access key"));
    }

    #[test]
    fn the_access_key_of_a_configuration_is_its_first_also_where_that_is_in_the_credentials_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("standpipe.yaml");
        std::fs::write(folder.path().join("c.yaml"), "[{access_key_id: f, secret_access_key: s}]").unwrap();
        for (yaml, expect) in [
            ("credentials: [{access_key_id: m, secret_access_key: s}]\ncredentials_file: c.yaml\n", "m"),
            ("credentials_file: c.yaml\n", "f"),
            ("", "standpipe"),
        ] {
            std::fs::write(&path, yaml).unwrap();
            let config = Config::load(&path, &|_| None).unwrap();
            assert_eq!(credentials(Some(&config), &|_| None).unwrap().access_key_id(), expect);
        }
    }

    #[test]
    fn errors_are_classed_by_whether_a_retry_helps() {
        let error = |status: u16, body: &str| refused(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let slow = error(503, r#"{"__type":"ServiceUnavailableException","message":"Slow down."}"#);
        assert!(slow.is_temporary());
        assert_eq!(slow.to_string(), "ServiceUnavailableException: Slow down.");
        let gone =
            error(400, r#"{"__type":"com.x#ResourceNotFoundException","message":"Firehose a not found."}"#);
        assert!(!gone.is_temporary());
        assert_eq!(gone.to_string(), "ResourceNotFoundException: Firehose a not found.");
        assert_eq!(error(502, "<html>").to_string(), "502: Bad Gateway");
        assert!(error(502, "<html>").is_temporary());
    }

    #[test]
    fn pauses_grow_up_to_a_limit_and_never_vanish() {
        for (attempt, most) in [(1, 200), (2, 400), (3, 800), (20, 10_000), (u32::MAX, 10_000)] {
            let pause = backoff(attempt).unwrap().as_millis();
            assert!(pause >= most / 2 && pause <= most, "{attempt}: {pause}");
        }
    }

    #[test]
    fn endpoints_get_a_root_and_need_a_scheme() {
        assert_eq!(with_root("http://h:1".parse().unwrap()).unwrap().to_string(), "http://h:1/");
        assert!(with_root("h:1".parse().unwrap()).is_err());
        assert_eq!(reachable(false, "0.0.0.0:9".parse().unwrap()), "http://127.0.0.1:9");
        assert_eq!(reachable(true, "[::]:9".parse().unwrap()), "https://[::1]:9");
    }
}
