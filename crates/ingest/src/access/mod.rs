//! Who may do what, how much of it, and what is noted down: credentials, policies, limits, audit events.
//!
//! The front end asks in this order: `sigv4` says which [`Credential`] signed, [`Policy`] whether its user may,
//! [`PutLimiter`] and [`CallLimiter`] whether now is the time; [`AuditEvent`] tells what became of a call. Everything
//! here is prepared when a configuration is read, so that a put only compares.
//!
//! # Invariants
//! - A request is authorised before anything is said about the stream that it names, so that a caller without
//!   permission cannot learn which streams there are.
//! - No part of a secret is in an audit event.

mod audit;
mod caller;
mod limits;
mod pattern;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use standpipe_model::{Secret, Timestamp};

pub use audit::{AuditEvent, AuditKind};
pub(crate) use audit::{Noted, event};
pub(crate) use caller::Caller;
pub use limits::{CallLimiter, PutLimiter, PutLimits, THROTTLED_RETRY_AFTER};
pub(crate) use limits::{Cost, Slots, Throttle, admit, admit_call};
pub use policy::{
    ActionError, Attempt, Decision, Effect, Operations, Policy, ResourceError, ResourcePattern, Resources,
    SourceNetwork, SourceNetworkError, SourceRule, Statement,
};

/// How many denied puts of one credential are noted in a second: a producer with a wrong policy may try for ever.
const DENIED_PUTS_NOTED_PER_SECOND: u64 = 10;

/// An access key: who signs with it, and what they may do.
#[derive(Debug)]
pub struct Credential {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token that requests must carry; without one, requests must carry none.
    pub session_token: Option<Secret>,
    /// When the session token ends.
    pub expires_at: Option<Timestamp>,
    /// The user that the key belongs to; several keys may belong to one.
    pub user: String,
    /// What the key may be used for; everything where there is none.
    pub policy: Option<Policy>,
    /// How much may be put with it.
    pub puts: Option<Arc<PutLimiter>>,
    /// How often each other operation may be called with it.
    pub calls: Option<Arc<CallLimiter>>,
    denied_puts: Throttle,
}

impl Credential {
    /// A key that may be used for everything, without limits, by a user of the same name.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: Secret) -> Self {
        let access_key_id = access_key_id.into();
        Self {
            user: access_key_id.clone(),
            access_key_id,
            secret_access_key,
            session_token: None,
            expires_at: None,
            policy: None,
            puts: None,
            calls: None,
            denied_puts: Throttle::per_second(DENIED_PUTS_NOTED_PER_SECOND),
        }
    }

    /// Whether a denied put is still to be noted down.
    pub(crate) fn notes_denied_put(&self, now: Duration) -> bool {
        self.denied_puts.admit(now).is_ok()
    }
}
