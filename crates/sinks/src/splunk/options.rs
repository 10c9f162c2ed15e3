//! What Splunk is told and how.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_model::Secret;

use crate::client::ClientOptions;

/// What records are (`HECEndpointType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HecEndpoint {
    /// Text, one behind the other, which Splunk takes apart.
    Raw,
    /// HEC event objects: `{"event": …}`.
    Event,
}

/// A Splunk.
#[derive(Debug, Clone)]
pub struct SplunkOptions {
    /// Its address, without a path.
    pub url: String,
    /// What records are.
    pub endpoint: HecEndpoint,
    /// The token.
    pub token: Secret,
    /// How long the indexer may take to acknowledge; `None` where it is not asked.
    pub acknowledgement: Option<Duration>,
    /// How it is reached.
    pub client: ClientOptions,
}
