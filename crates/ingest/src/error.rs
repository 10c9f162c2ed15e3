//! What a client is told when its request is refused: AWS's error codes, statuses and body shapes.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// The error codes (`__type`) that standpipe answers with. Each prints as AWS spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the API's own error of that name")]
pub enum ErrorCode {
    AccessDenied,
    ConcurrentModification,
    ExpiredToken,
    IncompleteSignature,
    InternalFailure,
    InvalidArgument,
    InvalidKmsResource,
    InvalidSignature,
    InvalidSource,
    LimitExceeded,
    MissingAuthenticationToken,
    RequestTimeout,
    ResourceInUse,
    ResourceNotFound,
    Serialization,
    ServiceUnavailable,
    Throttling,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl ErrorCode {
    /// All codes, in alphabetical order.
    pub const ALL: [ErrorCode; 20] = [
        ErrorCode::AccessDenied,
        ErrorCode::ConcurrentModification,
        ErrorCode::ExpiredToken,
        ErrorCode::IncompleteSignature,
        ErrorCode::InternalFailure,
        ErrorCode::InvalidArgument,
        ErrorCode::InvalidKmsResource,
        ErrorCode::InvalidSignature,
        ErrorCode::InvalidSource,
        ErrorCode::LimitExceeded,
        ErrorCode::MissingAuthenticationToken,
        ErrorCode::RequestTimeout,
        ErrorCode::ResourceInUse,
        ErrorCode::ResourceNotFound,
        ErrorCode::Serialization,
        ErrorCode::ServiceUnavailable,
        ErrorCode::Throttling,
        ErrorCode::UnknownOperation,
        ErrorCode::UnrecognizedClient,
        ErrorCode::Validation,
    ];

    /// The value of `__type`.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::AccessDenied => "AccessDeniedException",
            ErrorCode::ConcurrentModification => "ConcurrentModificationException",
            ErrorCode::ExpiredToken => "ExpiredTokenException",
            ErrorCode::IncompleteSignature => "IncompleteSignatureException",
            ErrorCode::InternalFailure => "InternalFailure",
            ErrorCode::InvalidArgument => "InvalidArgumentException",
            ErrorCode::InvalidKmsResource => "InvalidKMSResourceException",
            ErrorCode::InvalidSignature => "InvalidSignatureException",
            ErrorCode::InvalidSource => "InvalidSourceException",
            ErrorCode::LimitExceeded => "LimitExceededException",
            ErrorCode::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            ErrorCode::RequestTimeout => "RequestTimeoutException",
            ErrorCode::ResourceInUse => "ResourceInUseException",
            ErrorCode::ResourceNotFound => "ResourceNotFoundException",
            ErrorCode::Serialization => "SerializationException",
            ErrorCode::ServiceUnavailable => "ServiceUnavailableException",
            ErrorCode::Throttling => "ThrottlingException",
            ErrorCode::UnknownOperation => "UnknownOperationException",
            ErrorCode::UnrecognizedClient => "UnrecognizedClientException",
            ErrorCode::Validation => "ValidationException",
        }
    }

    /// The HTTP status that goes with it: only our own faults are 5xx, and SDKs retry those.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::InternalFailure => 500,
            ErrorCode::ServiceUnavailable => 503,
            _ => 400,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as the API's clients see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}", message.as_deref().unwrap_or("(no message)"))]
pub struct ApiError {
    /// The error code.
    pub code: ErrorCode,
    /// The text; protocol errors have none.
    pub message: Option<Cow<'static, str>>,
    /// When a retry has a chance, where that is known (`x-amz-retry-after`).
    pub retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with a text.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: Some(message.into()), retry_after: None }
    }

    /// An error that AWS answers without a text.
    pub(crate) fn bare(code: ErrorCode) -> Self {
        Self { code, message: None, retry_after: None }
    }

    /// `InvalidArgumentException`.
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// `ResourceNotFoundException`, in the words that every operation uses.
    pub fn stream_not_found(stream: &str, account: &str) -> Self {
        Self::new(
            ErrorCode::ResourceNotFound,
            format!("Firehose {stream} under account {account} not found."),
        )
    }

    /// `ResourceInUseException` of a name that is taken.
    pub fn stream_exists(stream: &str, account: &str) -> Self {
        Self::new(
            ErrorCode::ResourceInUse,
            format!("Firehose {stream} under accountId {account} already exists"),
        )
    }

    /// `ConcurrentModificationException` of an update that names an older version.
    pub fn version_mismatch(stream: &str, current: &str, specified: &str) -> Self {
        Self::new(
            ErrorCode::ConcurrentModification,
            format!(
                "Cannot update firehose: {stream} since the current version id: {current} and specified version \
                 id: {specified} do not match"
            ),
        )
    }

    /// `ServiceUnavailableException`: the caller should slow down and try again.
    pub fn slow_down(retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..Self::new(ErrorCode::ServiceUnavailable, "Slow down.") }
    }

    /// `InternalFailure`: our own fault. The cause belongs in the log, not here.
    pub fn internal() -> Self {
        Self::new(
            ErrorCode::InternalFailure,
            "The request processing has failed because of an unknown error.",
        )
    }

    /// The body of the answer, as compact JSON.
    pub fn to_json(&self) -> String {
        let mut body = serde_json::Map::new();
        body.insert("__type".to_owned(), self.code.as_str().into());
        if let Some(message) = &self.message {
            // The layer that parses JSON spells the member with a capital; every later one does not.
            let member = if self.code == ErrorCode::Serialization { "Message" } else { "message" };
            body.insert(member.to_owned(), message.as_ref().into());
        }
        serde_json::Value::Object(body).to_string()
    }
}

/// Every way in which a request may end without reaching its operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An error in the JSON shape.
    Api(ApiError),
    /// The body is beyond the limit: 413 and nothing more.
    TooLarge,
    /// Not an API request at all: 403 in XML.
    NoOperation,
    /// A content type that no Firehose client sends: 404 in XML.
    WrongContentType,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Refusal::Api(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_members_that_clients_look_for_and_no_code() {
        let check = |error: ApiError, expect: &str| assert_eq!(error.to_json(), expect);
        check(
            ApiError::stream_not_found("foo", "123456789012"),
            r#"{"__type":"ResourceNotFoundException","message":"Firehose foo under account 123456789012 not found."}"#,
        );
        check(ApiError::bare(ErrorCode::Serialization), r#"{"__type":"SerializationException"}"#);
        check(
            ApiError::new(ErrorCode::Serialization, "Expected null"),
            r#"{"Message":"Expected null","__type":"SerializationException"}"#,
        );
        check(
            ApiError::slow_down(None),
            r#"{"__type":"ServiceUnavailableException","message":"Slow down."}"#,
        );
    }
}
