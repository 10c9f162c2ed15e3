//! What an HTTP endpoint is told and how.

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;

use crate::client::ClientOptions;

/// How rows become a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFormat {
    /// Firehose's delivery protocol.
    #[default]
    Firehose,
    /// A line for each row.
    Ndjson,
    /// One JSON array of the rows, each of which must be a JSON value.
    JsonArray,
    /// The rows one behind the other, with nothing between them.
    Raw,
}

/// An HTTP endpoint.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Where requests are posted to.
    pub url: String,
    /// How rows become a body.
    pub format: HttpFormat,
    /// `X-Amz-Firehose-Access-Key`.
    pub access_key: Option<Secret>,
    /// Headers beside those of the format; one of the same name takes the place of the format's.
    pub headers: Vec<(String, Secret)>,
    /// `X-Amz-Firehose-Common-Attributes`.
    pub common_attributes: Vec<(String, String)>,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// How it is reached.
    pub client: ClientOptions,
}
