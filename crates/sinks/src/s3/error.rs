//! From the SDK's errors to what the worker does next.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use standpipe_model::{ErrorClass, SinkError};

use crate::cause::{RETRY_AFTER_MAX, WORDS_MAX, causes, find, refuses_certificate};

/// A request that failed, reduced to what matters.
#[derive(Debug)]
pub(super) struct Failure {
    class: ErrorClass,
    /// The HTTP status, where there was an answer.
    pub(super) status: Option<u16>,
    /// The store's code, where the answer had one.
    pub(super) code: Option<String>,
    text: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let Some(answer) = error.raw_response() else { return Self::without_answer(error) };
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name).map(str::to_owned);
        let request_id = header("x-amz-request-id");
        let region = header("x-amz-bucket-region").filter(|_| matches!(status, 301 | 307 | 400));
        let retry_after = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
        let (code, words) = match error.as_service_error() {
            Some(service) => (service.code().map(str::to_owned), service.message().map(str::to_owned)),
            // The answer was not S3's XML: a proxy's page, or a body that was cut off.
            None => (None, Some("the answer could not be understood".to_owned())),
        };
        let mut text = format!("{status} {}", code.as_deref().unwrap_or("without a code"));
        for (label, value) in [(": ", words), (", request id ", request_id), (", bucket region ", region)] {
            if let Some(value) = value {
                text.push_str(label);
                text.extend(value.chars().take(WORDS_MAX));
            }
        }
        Self {
            class: classify(Some(status), code.as_deref()),
            status: Some(status),
            code,
            text,
            retry_after: retry_after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            source: None,
        }
    }

    fn without_answer<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        let class = match (&error, find::<CredentialsError>(&error), refuses_certificate(&error)) {
            (_, Some(CredentialsError::CredentialsNotLoaded(_)), _)
            | (_, Some(CredentialsError::InvalidConfiguration(_)), _)
            | (_, _, true)
            // The request could not even be built: a bucket name or a header that the SDK refuses.
            | (SdkError::ConstructionFailure(_), ..) => ErrorClass::Misconfigured,
            _ => ErrorClass::Transient,
        };
        let text = match &error {
            SdkError::TimeoutError(_) => "no answer in time".to_owned(),
            other => causes(other),
        };
        let source = error.into_source().ok();
        Self { class, status: None, code: None, text, retry_after: None, source }
    }

    /// Whether the store holds an object under the key already.
    pub(super) fn existed(&self) -> bool {
        self.status == Some(412) || self.code.as_deref() == Some("PreconditionFailed")
    }

    /// The error for the worker; `place` names store, bucket and key, `what` the step.
    pub(super) fn into_error(self, place: &str, what: &str) -> SinkError {
        let mut error = SinkError::new(self.class, format!("{place}: {what}: {}", self.text));
        error.code = self.code;
        error.retry_after = self.retry_after;
        error.source = self.source;
        error
    }
}

/// What the worker does after this answer. The code decides; the status stands in where a store gives no code (`HEAD`)
/// or one of its own.
pub(super) fn classify(status: Option<u16>, code: Option<&str>) -> ErrorClass {
    let by_code = code.and_then(by_code);
    by_code.unwrap_or(match status {
        // 301 and its like: the bucket is elsewhere. 404: no such bucket. 405, 501: this is not that kind of store.
        // 413: something in front of the store takes less than a part.
        Some(301 | 302 | 307 | 308 | 401 | 403 | 404 | 405 | 413 | 501) => ErrorClass::Misconfigured,
        Some(429 | 503) => ErrorClass::Throttled,
        _ => ErrorClass::Transient,
    })
}

fn by_code(code: &str) -> Option<ErrorClass> {
    Some(match code {
        // The key itself is impossible, whatever the attempt: it grew from the data, so its rows go to the error output.
        // Nothing else is refused: sizes, arguments, tags and storage classes are settings, which someone can correct.
        "KeyTooLongError" | "KeyTooLong" | "XMinioInvalidObjectName" => ErrorClass::Refused,

        "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "ServiceUnavailable" | "RequestLimitExceeded"
        | "Throttling" | "ThrottlingException" | "TooManyRequests" | "RequestThrottled"
        | "BandwidthLimitExceeded" => ErrorClass::Throttled,

        // Who asks.
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "InvalidAccessKeyId" | "InvalidSecurity"
        | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "NotSignedUp" | "UnauthorizedAccess"
        | "AuthorizationHeaderMalformed" | "RequestTimeTooSkewed" | "InvalidClientTokenId"
        // Where to.
        | "NoSuchBucket" | "InvalidBucketName" | "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException"
        | "MethodNotAllowed" | "NotImplemented" | "EntityTooLarge"
        // With which options.
        | "InvalidArgument" | "InvalidRequest" | "InvalidStorageClass" | "InvalidTag" | "MetadataTooLarge"
        | "AccessControlListNotSupported" | "InvalidEncryptionAlgorithmError" | "InvalidRetentionPeriod"
        | "ObjectLockConfigurationNotFoundError" | "NoSuchObjectLockConfiguration" | "InvalidDigest" => ErrorClass::Misconfigured,
        _ if code.starts_with("KMS.") => ErrorClass::Misconfigured,

        // Listed because their status alone would say otherwise.
        "NoSuchUpload" | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict" => ErrorClass::Transient,
        _ => return None,
    })
}
