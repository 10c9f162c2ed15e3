//! What the daemon implements behind the front end, and the typed inputs it gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use standpipe_model::{PutDigest, RecordBlock, StreamName};

use crate::access::{AuditEvent, CallLimiter, Credential, PutLimiter};
use crate::{ApiError, Destination};

/// What a request must have to be let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proof {
    /// A signature.
    #[default]
    Signature,
    /// Its connection's certificate, on a listener with TLS; it may be signed by whatever. A plain listener takes all,
    /// so it must not be reachable from other machines.
    Certificate,
    /// Nothing; it may be signed by whatever.
    Nothing,
}

/// The daemon, as the front end sees it.
///
/// # Cancel safety
/// A future returned here is dropped when its client hangs up or the stop deadline passes. What it has started may
/// still take effect; the client has no answer and must count the request as undecided.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// What belongs to an access key, looked up for every request so that rotation takes effect at once.
    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>>;

    /// What a request must have to be let in.
    fn proof(&self) -> Proof;

    /// The limits of a stream; `None` where there are none or no such stream.
    fn stream_limiter(&self, stream: &StreamName) -> Option<Arc<PutLimiter>>;

    /// The limits of each operation other than a put, for all callers together.
    fn call_limiter(&self) -> Option<Arc<CallLimiter>>;

    /// Whether a change could be noted down; otherwise it is not made.
    async fn auditable(&self) -> bool;

    /// Notes down what became of a call.
    async fn audit(&self, event: AuditEvent);

    /// Stores a put. Resolving to `Ok` is the promise that it survives a crash.
    ///
    /// # Errors
    /// [`PutError`]; nothing of the put was accepted.
    async fn put(&self, put: Put) -> Result<PutReceipt, PutError>;

    /// Creates a stream and returns its ARN.
    ///
    /// # Errors
    /// As the API's operation.
    async fn create_delivery_stream(&self, input: CreateDeliveryStream) -> Result<String, ApiError>;

    /// Describes a stream: the API's `DeliveryStreamDescription`.
    ///
    /// # Errors
    /// As the API's operation.
    async fn describe_delivery_stream(&self, input: DescribeDeliveryStream) -> Result<Value, ApiError>;

    /// Lists streams in alphabetical order.
    ///
    /// # Errors
    /// As the API's operation.
    async fn list_delivery_streams(&self, input: ListDeliveryStreams) -> Result<StreamNames, ApiError>;

    /// Begins to delete a stream.
    ///
    /// # Errors
    /// As the API's operation.
    async fn delete_delivery_stream(&self, input: DeleteDeliveryStream) -> Result<(), ApiError>;

    /// Changes a stream's destination.
    ///
    /// # Errors
    /// As the API's operation.
    async fn update_destination(&self, input: UpdateDestination) -> Result<(), ApiError>;

    /// Adds tags to a stream, or gives those that it has other values.
    ///
    /// # Errors
    /// As the API's operation.
    async fn tag_delivery_stream(&self, stream: StreamName, tags: Tags) -> Result<(), ApiError>;

    /// Removes tags from a stream; keys that it does not have are passed over.
    ///
    /// # Errors
    /// As the API's operation.
    async fn untag_delivery_stream(&self, stream: StreamName, keys: Vec<String>) -> Result<(), ApiError>;

    /// Lists a stream's tags.
    ///
    /// # Errors
    /// As the API's operation.
    async fn list_tags_for_delivery_stream(&self, input: ListTags) -> Result<TagList, ApiError>;

    /// Begins to encrypt a stream at rest, or to encrypt it with another key.
    ///
    /// # Errors
    /// As the API's operation.
    async fn start_delivery_stream_encryption(
        &self,
        stream: StreamName,
        input: EncryptionInput,
    ) -> Result<(), ApiError>;

    /// Begins to encrypt a stream no more.
    ///
    /// # Errors
    /// As the API's operation.
    async fn stop_delivery_stream_encryption(&self, stream: StreamName) -> Result<(), ApiError>;
}

/// A valid put, decoded.
#[derive(Debug, Clone)]
pub struct Put {
    /// The stream that it names.
    pub stream: StreamName,
    /// Its records: 1 to 500 of at most 1,024,000 bytes, together at most 4 MiB.
    pub block: RecordBlock,
    /// What a repetition of this put is recognised by; `None` when the client sent no invocation id.
    pub digest: Option<PutDigest>,
}

/// What the journal says about an accepted put: record `i` of it is (`segment`, `first_ordinal + i`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutReceipt {
    /// The random id of the segment that holds the records.
    pub segment: [u8; 16],
    /// The first record's ordinal in that segment.
    pub first_ordinal: u64,
    /// Whether the records were encrypted at rest by the stream's setting.
    pub encrypted: bool,
}

/// Why a put was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// There is no such stream.
    #[error("no such stream")]
    NotFound,
    /// The stream is being created or deleted.
    #[error("the stream is not active")]
    NotActive,
    /// The journal is full or not writable at the moment; the client should come back.
    #[error("the stream takes no records at the moment")]
    Unavailable {
        /// When a retry has a chance, where that is known.
        retry_after: Option<Duration>,
    },
    /// The stream has a source of its own.
    #[error("a stream of type {stream_type} takes no puts")]
    NotPermitted {
        /// The API's `DeliveryStreamType`.
        stream_type: &'static str,
    },
    /// Any other refusal, as the client shall see it.
    #[error(transparent)]
    Other(#[from] ApiError),
}

/// The input of `CreateDeliveryStream`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateDeliveryStream {
    /// The stream's name.
    pub stream: StreamName,
    /// `DirectPutSourceConfiguration.ThroughputHintInMBs`, which has no effect but is described back.
    pub throughput_hint_in_mbs: Option<u64>,
    /// Where the records go.
    pub destination: Destination,
    /// How its journal is encrypted at rest (`DeliveryStreamEncryptionConfigurationInput`); not at all where absent.
    pub encryption: Option<EncryptionInput>,
    /// Its tags, by key.
    pub tags: Tags,
}

/// How many tags a stream may have, and `ListTagsForDeliveryStream` returns unless told otherwise.
pub const TAGS_MAX: usize = 50;

/// A stream's tags, by key; a tag without a value has an empty one.
pub type Tags = BTreeMap<String, String>;

/// Who has the key that a stream is encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    /// The service itself: the daemon's default key.
    #[serde(rename = "AWS_OWNED_CMK")]
    AwsOwnedCmk,
    /// The customer, who names it.
    #[serde(rename = "CUSTOMER_MANAGED_CMK")]
    CustomerManagedCmk,
}

/// The key that a stream shall be encrypted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionInput {
    /// Who has it.
    pub key_type: KeyType,
    /// Which it is; given exactly where it is the customer's.
    pub key_arn: Option<String>,
}

/// The input of `ListTagsForDeliveryStream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListTags {
    /// The stream's name.
    pub stream: StreamName,
    /// List only keys after this one.
    pub exclusive_start: Option<String>,
    /// The most tags to return.
    pub limit: usize,
}

/// The output of `ListTagsForDeliveryStream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagList {
    /// The tags, in the order of their keys.
    pub tags: Tags,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// The input of `DescribeDeliveryStream`.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribeDeliveryStream {
    /// The stream's name.
    pub stream: StreamName,
    /// Describe only destinations after this one.
    pub exclusive_start_destination_id: Option<String>,
    /// The most of them to describe.
    pub limit: usize,
}

/// The input of `ListDeliveryStreams`.
#[derive(Debug, Clone, PartialEq)]
pub struct ListDeliveryStreams {
    /// The most names to return; the API's default is filled in.
    pub limit: usize,
    /// List only streams of this `DeliveryStreamType`.
    pub stream_type: Option<String>,
    /// List only names after this one. It need not exist, and may be a name that no stream can have.
    pub exclusive_start: Option<String>,
}

/// The output of `ListDeliveryStreams`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamNames {
    /// The names, in alphabetical order.
    pub names: Vec<StreamName>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// The input of `DeleteDeliveryStream`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteDeliveryStream {
    /// The stream's name.
    pub stream: StreamName,
}

/// The input of `UpdateDestination`.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateDestination {
    /// The stream's name.
    pub stream: StreamName,
    /// The version that the caller has seen.
    pub current_version_id: String,
    /// The destination to change.
    pub destination_id: String,
    /// The members to change; merging and checking the result with [`check_destination`](crate::check_destination) is
    /// the daemon's part.
    pub update: Destination,
}
