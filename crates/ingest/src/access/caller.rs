//! Who sent a request, and whether they may do what it asks for.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Attempt, Credential, Decision};
use crate::{ApiError, ErrorCode, Operation, Options};

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key that signed it; `None` while requests need no signature.
    pub(crate) credential: Option<Arc<Credential>>,
    /// Where it comes from.
    pub(crate) source: Option<IpAddr>,
    /// Whose certificate was shown for the connection.
    pub(crate) certificate: Option<Arc<str>>,
}

impl Caller {
    /// The access key id; empty while requests need no signature.
    pub(crate) fn access_key_id(&self) -> &str {
        self.credential.as_ref().map_or("", |credential| &credential.access_key_id)
    }

    /// Whether the caller may do `operation` to the stream of that name; for a listing the name is `*`.
    ///
    /// # Errors
    /// `AccessDeniedException`, in IAM's words.
    pub(crate) fn authorize(
        &self,
        operation: Operation,
        stream: &str,
        options: &Options,
    ) -> Result<(), ApiError> {
        let Some(credential) = &self.credential else { return Ok(()) };
        let Some(policy) = &credential.policy else { return Ok(()) };
        let resource = options.stream_arn(stream);
        let decision = policy.decide(&Attempt { operation, resource: &resource, source: self.source });
        let action = operation.name();
        let because = match decision {
            Decision::Allowed => return Ok(()),
            Decision::NotAllowed => {
                format!("because no identity-based policy allows the firehose:{action} action")
            }
            Decision::Denied => "with an explicit deny in an identity-based policy".to_owned(),
        };
        let user = options.user_arn(&credential.user);
        Err(ApiError::new(
            ErrorCode::AccessDenied,
            format!(
                "User: {user} is not authorized to perform: firehose:{action} on resource: {resource} {because}"
            ),
        ))
    }
}
