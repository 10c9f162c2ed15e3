//! Splunk's HTTP Event Collector.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use standpipe_model::{RequestLimits, RequestSink, Secret};
use standpipe_sinks::splunk::HecEndpoint;
use standpipe_sinks::{SplunkOptions, SplunkSink};

use super::reach::Reach;
use super::{EndpointError, Undelivered};
use crate::exposed::expose;

/// The most bytes of a request's records: Splunk Cloud takes 1 MiB, Firehose sends its whole buffer of up to 5 MiB.
const BYTES_MAX: u64 = 5 << 20;

/// A Splunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplunkTarget {
    /// Its address, without a path (`HECEndpoint`).
    pub url: String,
    /// What records are (`HECEndpointType`).
    pub endpoint: HecEndpoint,
    /// The token (`HECToken`).
    #[serde(serialize_with = "expose")]
    pub token: Secret,
    /// How long the indexer may take to acknowledge, in milliseconds (`HECAcknowledgmentTimeoutInSeconds`); it is not
    /// asked where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement_ms: Option<u64>,
    /// The most bytes of a request's records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// How it is reached.
    #[serde(default)]
    pub reach: Reach,
}

impl SplunkTarget {
    pub(super) fn limits(&self) -> RequestLimits {
        RequestLimits { rows_max: usize::MAX, bytes_max: self.bytes_max.unwrap_or(BYTES_MAX) }
    }

    /// A record is named as AWS names it: by its place.
    pub(super) fn error_members(of: &Undelivered) -> Map<String, Value> {
        let Undelivered { batch, origin, .. } = of;
        let id = format!("{batch}.{}.{}", origin.position.0, origin.sub);
        Map::from_iter([("EventId".to_owned(), json!(id))])
    }

    /// Only how rows are cut, and what they are, is shape.
    pub(super) fn with_access_of(&self, access: &Self) -> Self {
        Self { endpoint: self.endpoint, bytes_max: self.bytes_max, ..access.clone() }
    }

    pub(super) fn sink(&self) -> Result<Arc<dyn RequestSink>, EndpointError> {
        let options = SplunkOptions {
            url: self.url.clone(),
            endpoint: self.endpoint,
            token: self.token.clone(),
            acknowledgement: self.acknowledgement_ms.map(Duration::from_millis),
            client: self.reach.options()?,
        };
        Ok(Arc::new(SplunkSink::new(&options)?))
    }
}
