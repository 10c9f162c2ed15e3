//! Tables of AWS Glue, or of a server that speaks its language: their columns.
//!
//! The two calls are made here and not by an SDK: it would be one of the largest crates of the build, for two operations
//! of some three hundred. One call is one try within a time limit; who asks decides on another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use standpipe_convert::{Column, TableSchema};
use standpipe_model::Timestamp;
use standpipe_sinks::ClientOptions;
use standpipe_sinks::s3::AwsAccess;

use crate::config::{GlueConfig, S3Keys};
use crate::spec::{CatalogTable, LATEST};
use crate::worker::chain;

/// The most bytes of an answer: some thousands of columns with what is said of them.
const ANSWER_MAX: usize = 16 << 20;

/// The columns of a table could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GlueError {
    /// Its settings cannot be used.
    #[error("the settings of the catalog 'glue' cannot be used: {0}")]
    Settings(String),
    /// There is no such database, table or version.
    #[error("Glue has no such table: {0}")]
    NoTable(String),
    /// It refused, for the time being or until its settings are right.
    #[error("Glue refused: {0}")]
    Refused(String),
    /// It did not answer, or not in its language.
    #[error("Glue did not answer: {0}")]
    Away(String),
    /// The table's columns are none that rows can be converted to.
    #[error("the columns that Glue has cannot be used: {0}")]
    Columns(String),
}

/// A client of Glue. `Debug` shows no secret.
#[derive(Debug)]
pub(crate) struct Glue {
    http: reqwest::Client,
    endpoint: String,
    region: String,
    credentials: SharedCredentialsProvider,
    timeout: Duration,
}

impl Glue {
    /// A client by these settings. Nothing is connected yet; blocking where there is a file.
    ///
    /// # Errors
    /// [`GlueError::Settings`].
    pub(crate) fn new(config: &GlueConfig) -> Result<Self, GlueError> {
        let service = &config.service;
        let wrong = |error: &dyn std::error::Error| GlueError::Settings(chain(error));
        let ca_pem =
            service.ca_file.as_ref().map(std::fs::read).transpose().map_err(|error| wrong(&error))?;
        let credentials = S3Keys::credentials(service.credentials.as_ref());
        let region = service.region();
        let access =
            AwsAccess::new(&region, &credentials, ca_pem.as_deref()).map_err(|error| wrong(&error))?;
        let (connect_timeout, request_timeout) = (service.timeout, service.timeout);
        let options = ClientOptions { ca_pem, connect_timeout, request_timeout, ..ClientOptions::default() };
        let endpoint =
            service.endpoint.clone().unwrap_or_else(|| format!("https://glue.{region}.amazonaws.com"));
        Ok(Self {
            http: options.client().map_err(|error| wrong(&error))?,
            endpoint,
            region,
            credentials: access.credentials,
            timeout: service.timeout,
        })
    }

    /// The columns of a table, at the version that is asked for. Its partition keys are no columns.
    ///
    /// # Errors
    /// [`GlueError`].
    pub(crate) async fn columns(&self, of: &CatalogTable, now: Timestamp) -> Result<TableSchema, GlueError> {
        let CatalogTable { database, table, version_id, .. } = of;
        let storage = match version_id.as_str() {
            LATEST => {
                let input = json!({"DatabaseName": database, "Name": table});
                self.call::<Latest>("GetTable", &input, now).await?.table
            }
            version => {
                let input = json!({"DatabaseName": database, "TableName": table, "VersionId": version});
                self.call::<Fixed>("GetTableVersion", &input, now).await?.table_version.table
            }
        };
        let columns = storage.storage_descriptor.columns.into_iter().map(|GlueColumn { name, kind }| {
            let kind = kind.parse().map_err(|error| GlueError::Columns(format!("{name}: {error}")))?;
            Ok(Column { name, kind, required: false })
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        TableSchema::new(columns).map_err(|error| GlueError::Columns(error.to_string()))
    }

    async fn call<T: for<'a> Deserialize<'a>>(
        &self,
        operation: &str,
        input: &serde_json::Value,
        now: Timestamp,
    ) -> Result<T, GlueError> {
        let request = self.signed(operation, input.to_string(), now).await?;
        let away = |error: reqwest::Error| GlueError::Away(chain(&error.without_url()));
        let mut response = self.http.execute(request).await.map_err(away)?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(piece) = response.chunk().await.map_err(away)? {
            if body.len() + piece.len() > ANSWER_MAX {
                return Err(GlueError::Columns(format!("the answer has more than {ANSWER_MAX} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            let unread = |error| GlueError::Columns(format!("the answer cannot be read: {error}"));
            return serde_json::from_slice(&body).map_err(unread);
        }
        let Refusal { code, message } = serde_json::from_slice(&body).unwrap_or_default();
        let message = message.unwrap_or_default();
        Err(match code.rsplit('#').next().unwrap_or_default() {
            "EntityNotFoundException" => GlueError::NoTable(message),
            "" => GlueError::Away(format!("HTTP status {}", status.as_u16())),
            code => GlueError::Refused(format!("{code}: {message}")),
        })
    }

    async fn signed(
        &self,
        operation: &str,
        body: String,
        now: Timestamp,
    ) -> Result<reqwest::Request, GlueError> {
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| GlueError::Settings(error.to_string());
        let found = tokio::time::timeout(self.timeout, self.credentials.provide_credentials()).await;
        let found = found.map_err(|_| GlueError::Away("no credentials were found in time".to_owned()))?;
        let identity = found.map_err(|error| GlueError::Refused(chain(&error)))?.into();
        let time: SystemTime = UNIX_EPOCH + Duration::from_millis(now.as_millis());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("glue")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| wrong(error.into()))?
            .into();
        let target = format!("AWSGlue.{operation}");
        let headers =
            [(CONTENT_TYPE.as_str(), "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let signable = SignableRequest::new(
            "POST",
            &self.endpoint,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|error| wrong(error.into()))?;
        let (signature, _) = sign(signable, &params).map_err(|error| wrong(error.into()))?.into_parts();
        let mut request = self.http.post(&self.endpoint);
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            request = request.header(name, value);
        }
        request.body(body).build().map_err(|error| wrong(error.without_url().into()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Latest {
    table: GlueTable,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fixed {
    table_version: TableVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableVersion {
    table: GlueTable,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GlueTable {
    #[serde(default)]
    storage_descriptor: Storage,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Storage {
    #[serde(default)]
    columns: Vec<GlueColumn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GlueColumn {
    name: String,
    #[serde(rename = "Type")]
    kind: String,
}

/// What an error of the protocol says.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(rename = "__type", default)]
    code: String,
    #[serde(alias = "Message")]
    message: Option<String>,
}
