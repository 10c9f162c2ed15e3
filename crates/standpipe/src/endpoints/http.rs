//! HTTP endpoints: Firehose's own delivery protocol, and plain webhooks.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use standpipe_model::{RequestLimits, RequestSink, Secret};
use standpipe_sinks::{HttpOptions, HttpSink, http::HttpFormat};

use super::reach::Reach;
use super::{EndpointError, Undelivered};
use crate::exposed::{expose_pairs, expose_some};

/// The most records of a request of Firehose's protocol.
const RECORDS_MAX: usize = 10_000;
/// The most bytes of them before they are encoded, so that the whole stays below 64 MiB.
const BYTES_MAX: u64 = 47 << 20;

/// An HTTP endpoint. `Debug` shows of its URL, which may hold a token anywhere, the host only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTarget {
    /// Where requests are posted to.
    pub url: String,
    /// How rows become a body.
    #[serde(default)]
    pub format: HttpFormat,
    /// `X-Amz-Firehose-Access-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "expose_some")]
    pub access_key: Option<Secret>,
    /// Further headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "expose_pairs")]
    pub headers: Vec<(String, Secret)>,
    /// `X-Amz-Firehose-Common-Attributes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub common_attributes: Vec<(String, String)>,
    /// Whether bodies are compressed.
    #[serde(default)]
    pub gzip: bool,
    /// The most rows of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_max: Option<usize>,
    /// The most bytes of a request's rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// How it is reached.
    #[serde(default)]
    pub reach: Reach,
}

impl fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTarget")
            .field("address", &self.address())
            .field("format", &self.format)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

impl HttpTarget {
    /// An endpoint by Firehose's protocol, with nothing beside its address.
    pub(crate) fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            format: HttpFormat::Firehose,
            access_key: None,
            headers: Vec::new(),
            common_attributes: Vec::new(),
            gzip: false,
            records_max: None,
            bytes_max: None,
            reach: Reach::default(),
        }
    }

    pub(crate) fn limits(&self) -> RequestLimits {
        let most = if self.format == HttpFormat::Firehose { RECORDS_MAX } else { usize::MAX };
        RequestLimits {
            rows_max: self.records_max.unwrap_or(most).min(most),
            bytes_max: self.bytes_max.unwrap_or(BYTES_MAX),
        }
    }

    /// The rows, as base64 where the protocol wants that, and that compressed.
    pub(super) fn memory_factor(&self) -> u64 {
        3
    }

    pub(crate) fn address(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        format!("{scheme}://{host}")
    }

    pub(super) fn error_members(&self, of: &Undelivered) -> Map<String, Value> {
        let Undelivered { batch, origin, .. } = of;
        let id = format!("{batch}.{}.{}", origin.position.0, origin.sub);
        let members = [("subsequenceNumber", json!(origin.sub)), ("dataId", json!(id))];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Only how rows are cut, and what becomes of them, is shape.
    pub(super) fn with_access_of(&self, access: &Self) -> Self {
        let Self { format, records_max, bytes_max, .. } = self.clone();
        Self { format, records_max, bytes_max, ..access.clone() }
    }

    pub(super) fn sink(&self) -> Result<Arc<dyn RequestSink>, EndpointError> {
        let options = HttpOptions {
            url: self.url.clone(),
            format: self.format,
            access_key: self.access_key.clone(),
            headers: self.headers.clone(),
            common_attributes: self.common_attributes.clone(),
            gzip: self.gzip,
            client: self.reach.options()?,
        };
        Ok(Arc::new(HttpSink::new(&options)?))
    }
}
