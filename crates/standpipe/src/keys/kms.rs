//! A master key in AWS KMS, or in a server that speaks its language.
//!
//! Data keys are made by `GenerateDataKey` and unwrapped by `Decrypt`, with the encryption context `{"stream": name}`;
//! the master key never leaves the KMS. One call is one try within a time limit: who asks decides on another. `Decrypt`
//! names no key, as the wrapped key does so itself: after `key_id` was changed the former key is still used for what it
//! wrapped.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Region, SharedHttpClient};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use standpipe_journal::keys::{DataKey, TroubleKind, WrappedKey};
use standpipe_sinks::s3::{AwsAccess, S3Credentials, S3OptionsError};

use super::{Keeper, Refused, Wrapping};
use crate::worker::chain;

/// The name of the stream in the encryption context.
const CONTEXT: &str = "stream";

/// How a KMS is reached.
#[derive(Debug, Clone)]
pub(super) struct KmsOptions {
    /// The key's id, ARN or alias.
    pub(super) key_id: String,
    /// The address; AWS's own where absent.
    pub(super) endpoint: Option<String>,
    /// The region.
    pub(super) region: String,
    /// How requests are signed.
    pub(super) credentials: S3Credentials,
    /// Certificate authorities (PEM) that are trusted beside the system's.
    pub(super) ca_pem: Option<Vec<u8>>,
    /// How long one call may take.
    pub(super) timeout: Duration,
}

/// A keeper of a master key in a KMS.
#[derive(Debug)]
pub(super) struct KmsKey {
    client: Client,
    key_id: String,
    /// The ARN that the KMS has last named for the key.
    arn: Mutex<Option<String>>,
}

impl KmsKey {
    /// A client for the key. Nothing is connected yet.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub(super) fn new(options: KmsOptions) -> Result<Self, S3OptionsError> {
        let access = AwsAccess::new(&options.region, &options.credentials, options.ca_pem.as_deref())?;
        let http: SharedHttpClient = access.http_client;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(options.timeout)
            .operation_timeout(options.timeout)
            .build();
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .region(Region::new(options.region))
            .credentials_provider(access.credentials)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        let config = match options.endpoint {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        Ok(Self { client: Client::from_conf(config.build()), key_id: options.key_id, arn: Mutex::default() })
    }

    fn remember(&self, arn: Option<&str>) -> String {
        let arn = arn.unwrap_or(&self.key_id).to_owned();
        *self.arn.lock().unwrap_or_else(PoisonError::into_inner) = Some(arn.clone());
        arn
    }
}

#[async_trait]
impl Keeper for KmsKey {
    async fn generate(&self, context: &str) -> Result<(DataKey, Wrapping), Refused> {
        let call = self.client.generate_data_key().key_id(&self.key_id).key_spec(DataKeySpec::Aes256);
        let made = call.encryption_context(CONTEXT, context).send().await.map_err(|error| refused(&error))?;
        let master = self.remember(made.key_id());
        let key = made.plaintext().and_then(|plain| DataKey::from_slice(plain.as_ref()));
        let (key, wrapped) = key.zip(made.ciphertext_blob()).ok_or_else(incomplete)?;
        Ok((key, Wrapping { master, bytes: wrapped.as_ref().to_vec() }))
    }

    async fn wrap(&self, key: &DataKey, context: &str) -> Result<Wrapping, Refused> {
        let call = self.client.encrypt().key_id(&self.key_id).plaintext(Blob::new(key.expose().to_vec()));
        let made = call.encryption_context(CONTEXT, context).send().await.map_err(|error| refused(&error))?;
        // As GenerateDataKey names it, so that what was wrapped either way counts as wrapped by the same key.
        let master = self.master().unwrap_or_else(|| self.remember(made.key_id()));
        let wrapped = made.ciphertext_blob().ok_or_else(incomplete)?;
        Ok(Wrapping { master, bytes: wrapped.as_ref().to_vec() })
    }

    async fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, Refused> {
        let call = self.client.decrypt().ciphertext_blob(Blob::new(wrapped.bytes.clone()));
        let call = call.encryption_context(CONTEXT, &wrapped.context);
        let made = call.send().await.map_err(|error| refused(&error))?;
        made.plaintext().and_then(|plain| DataKey::from_slice(plain.as_ref())).ok_or_else(incomplete)
    }

    fn master(&self) -> Option<String> {
        self.arn.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn incomplete() -> Refused {
    (TroubleKind::InvalidState, "the KMS answered without a data key of 32 bytes".to_owned())
}

/// The kind of trouble that the code of an answer stands for. What is not known passes by itself, as far as anybody
/// can know: it must not look like a key that somebody has stopped.
fn kind_of(code: Option<&str>) -> TroubleKind {
    match code.unwrap_or_default() {
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId"
        | "OptInRequired" => TroubleKind::AccessDenied,
        "DisabledException" => TroubleKind::Disabled,
        "NotFoundException" => TroubleKind::NotFound,
        "KMSInvalidStateException"
        | "InvalidKeyUsageException"
        | "IncorrectKeyException"
        | "InvalidCiphertextException"
        | "InvalidArnException"
        | "ValidationException"
        | "UnsupportedOperationException" => TroubleKind::InvalidState,
        _ => TroubleKind::Unreachable,
    }
}

fn refused<E, R>(error: &SdkError<E, R>) -> Refused
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let (code, message) = (answer.err().code(), answer.err().message());
            let reason = [code, message].into_iter().flatten().collect::<Vec<_>>().join(": ");
            (kind_of(code), reason)
        }
        other => (TroubleKind::Unreachable, chain(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_kms_says_of_its_key_counts_as_a_stopped_key() {
        assert_eq!(kind_of(Some("DisabledException")), TroubleKind::Disabled);
        assert_eq!(kind_of(Some("KMSInvalidStateException")), TroubleKind::InvalidState);
        assert_eq!(kind_of(Some("NotFoundException")), TroubleKind::NotFound);
        assert_eq!(kind_of(Some("AccessDeniedException")), TroubleKind::AccessDenied);
        for passing in ["ThrottlingException", "KMSInternalException", "DependencyTimeoutException"] {
            assert_eq!(kind_of(Some(passing)), TroubleKind::Unreachable);
        }
        assert_eq!(kind_of(None), TroubleKind::Unreachable);
    }
}
