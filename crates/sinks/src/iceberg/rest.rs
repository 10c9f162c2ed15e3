//! Calls of a REST catalog.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use standpipe_model::{ErrorClass, SinkError, Timestamp};
use tokio::sync::OnceCell;

use super::auth::{Bearer, RestAuth};
use super::table::TableMetadata;
use crate::cause::causes;
use crate::client::{BodyTrouble, ClientError, ClientOptions, coded, excerpt, read_body, send};

/// The most bytes of an answer: some thousands of columns, in many versions.
const ANSWER_MAX: usize = 64 << 20;
/// What stands between the levels of a namespace in a path.
const LEVELS: &str = "\u{1f}";

/// How a catalog is reached.
#[derive(Debug, Clone)]
pub struct RestOptions {
    /// Its address, which `/v1/…` follows.
    pub uri: String,
    /// Which of its warehouses, where it has several.
    pub warehouse: Option<String>,
    /// Who asks.
    pub auth: RestAuth,
    /// TLS and time limits.
    pub client: ClientOptions,
}

/// A catalog could not be asked, or has not what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// How it is reached cannot be used.
    #[error("the settings of the Iceberg catalog cannot be used: {0}")]
    Settings(String),
    /// There is no such table, or no such namespace.
    #[error("the Iceberg catalog has no such table: {0}")]
    NoTable(String),
    /// It refused, until its settings or ours are right.
    #[error("the Iceberg catalog refused: {0}")]
    Refused(String),
    /// It did not answer, or could not for the time being.
    #[error("the Iceberg catalog did not answer: {0}")]
    Away(String),
    /// The table has changed since it was looked at.
    #[error("the table has changed meanwhile: {0}")]
    Conflict(String),
    /// What it answered is not what its specification says.
    #[error("the answer of the Iceberg catalog cannot be read: {0}")]
    Unread(String),
}

impl From<RestError> for SinkError {
    fn from(error: RestError) -> Self {
        let (class, code) = match &error {
            RestError::Settings(_) => (ErrorClass::Misconfigured, "Iceberg.Settings"),
            RestError::NoTable(_) => (ErrorClass::Misconfigured, "Iceberg.NoSuchTable"),
            RestError::Refused(_) => (ErrorClass::Misconfigured, "Iceberg.Refused"),
            RestError::Away(_) => (ErrorClass::Transient, "Iceberg.CatalogUnavailable"),
            RestError::Conflict(_) => (ErrorClass::Transient, "Iceberg.CommitConflict"),
            RestError::Unread(_) => (ErrorClass::Transient, "Iceberg.UnknownAnswer"),
        };
        coded(class, code, error.to_string()).with_source(error)
    }
}

impl From<ClientError> for RestError {
    fn from(error: ClientError) -> Self {
        Self::Settings(causes(&error))
    }
}

/// A REST catalog. `Debug` shows no secret.
#[derive(Debug)]
pub struct RestCatalog {
    http: Client,
    uri: String,
    warehouse: Option<String>,
    bearer: Bearer,
    /// The address of what it has, once it has said so.
    base: OnceCell<Url>,
}

/// What a catalog says of itself.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    defaults: Properties,
    #[serde(default)]
    overrides: Properties,
}

#[derive(Default, Deserialize)]
struct Properties {
    prefix: Option<String>,
}

#[derive(Deserialize)]
struct Loaded {
    metadata: TableMetadata,
}

impl RestCatalog {
    /// A client by these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`RestError::Settings`].
    pub fn new(options: RestOptions) -> Result<Self, RestError> {
        let uri = options.uri.trim_end_matches('/').to_owned();
        Ok(Self {
            http: options.client.client()?,
            bearer: Bearer::new(options.auth, &uri),
            warehouse: options.warehouse,
            uri,
            base: OnceCell::new(),
        })
    }

    /// What a table is; without its former snapshots, unless they are asked for.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn table(
        &self,
        namespace: &[&str],
        table: &str,
        with_snapshots: bool,
        now: Timestamp,
    ) -> Result<TableMetadata, RestError> {
        let mut url = self.address_of(namespace, table, now).await?;
        url.query_pairs_mut().append_pair("snapshots", if with_snapshots { "all" } else { "refs" });
        let Loaded { metadata } = self.call(self.http.get(url), now).await?;
        Ok(metadata)
    }

    /// Changes a table, if it is still what the change requires.
    ///
    /// # Errors
    /// [`RestError`]: [`Conflict`](RestError::Conflict) where it is not. After [`Away`](RestError::Away) it may be changed.
    pub async fn commit(
        &self,
        namespace: &[&str],
        table: &str,
        change: &Value,
        now: Timestamp,
    ) -> Result<(), RestError> {
        let url = self.address_of(namespace, table, now).await?;
        let request = self.http.post(url).header(CONTENT_TYPE, "application/json").body(change.to_string());
        self.call::<IgnoredAny>(request, now).await.map(drop)
    }

    async fn address_of(&self, namespace: &[&str], table: &str, now: Timestamp) -> Result<Url, RestError> {
        let base = self.base.get_or_try_init(|| self.find_base(now)).await?;
        Ok(below(base, &["namespaces", &namespace.join(LEVELS), "tables", table]))
    }

    /// Asks where the things of the warehouse are.
    async fn find_base(&self, now: Timestamp) -> Result<Url, RestError> {
        let mut url = self.address("config")?;
        if let Some(warehouse) = &self.warehouse {
            url.query_pairs_mut().append_pair("warehouse", warehouse);
        }
        let Said { defaults, overrides } = self.call(self.http.get(url), now).await?;
        // A prefix comes as it is to stand in the path.
        self.address(&overrides.prefix.or(defaults.prefix).unwrap_or_default())
    }

    fn address(&self, path: &str) -> Result<Url, RestError> {
        let text = format!("{}/v1/{path}", self.uri);
        Url::parse(&text).map_err(|error| RestError::Settings(format!("{text}: {error}")))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        mut request: RequestBuilder,
        now: Timestamp,
    ) -> Result<T, RestError> {
        if let Some(token) = self.bearer.token(&self.http, now).await? {
            request = request.bearer_auth(token.expose());
        }
        let answer = receive(request).await;
        // It may be the token that is refused: it was withdrawn, or the catalog has forgotten it.
        if matches!(answer, Err(RestError::Refused(_))) {
            self.bearer.forget();
        }
        answer
    }
}

/// An address below another.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// What an error of a catalog says, or one of a server of tokens.
#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    Catalog { error: Told },
    OAuth { error: String, error_description: Option<String> },
}

#[derive(Deserialize)]
struct Told {
    message: String,
    r#type: String,
}

/// Sends a request, and reads its answer.
pub(super) async fn receive<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, RestError> {
    let away = |error: reqwest::Error| RestError::Away(causes(&error.without_url()));
    let response = send(request).await.map_err(away)?;
    let status = response.status();
    let body = read_body(response, ANSWER_MAX).await.map_err(|trouble| match trouble {
        BodyTrouble::TooLarge => RestError::Unread(format!("it has more than {ANSWER_MAX} bytes")),
        BodyTrouble::Broken(error) => away(error),
    })?;
    match status.is_success() {
        true => serde_json::from_slice(&body).map_err(|error| RestError::Unread(error.to_string())),
        false => Err(refused(status, &body)),
    }
}

fn refused(status: StatusCode, body: &[u8]) -> RestError {
    let (code, message) = match serde_json::from_slice(body) {
        Ok(Refusal::Catalog { error: Told { message, .. } }) if status == StatusCode::NOT_FOUND => {
            return RestError::NoTable(excerpt(message.as_bytes()));
        }
        Ok(Refusal::Catalog { error: Told { message, r#type } }) => (r#type, message),
        Ok(Refusal::OAuth { error, error_description }) => (error, error_description.unwrap_or_default()),
        // Of something in between, or at another address.
        Err(_) => (String::new(), String::new()),
    };
    let words = excerpt(format!("HTTP status {} {code} {message}", status.as_u16()).trim_end().as_bytes());
    match status {
        StatusCode::CONFLICT => RestError::Conflict(words),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => RestError::Away(words),
        status if status.is_client_error() => RestError::Refused(words),
        _ => RestError::Away(words),
    }
}
