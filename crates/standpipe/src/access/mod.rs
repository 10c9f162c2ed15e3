//! Who may do what, as the front end asks for it: credentials with their policies and limits, the limits of streams,
//! and the audit log.
//!
//! # Invariants
//! - What has been used of a limit outlives a reload that does not change the limit.

mod audit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use standpipe_ingest::access::{CallLimiter, PutLimiter, PutLimits};
use standpipe_ingest::{Credential, Proof};
use standpipe_model::StreamName;

use crate::config::{self, Config, PutRates, RatesConfig, TlsConfig};

pub(crate) use audit::AuditLog;

/// Who may do what.
#[derive(Debug, Default)]
pub(crate) struct Access {
    in_force: RwLock<InForce>,
    /// The limits of streams that were put to, made when they are first asked for.
    streams: Mutex<HashMap<StreamName, Arc<PutLimiter>>>,
    pub(crate) audit: AuditLog,
}

#[derive(Debug, Default)]
struct InForce {
    proof: Proof,
    credentials: HashMap<String, Arc<Credential>>,
    calls: Option<Arc<CallLimiter>>,
    /// The limits of the streams that have some of their own.
    own: HashMap<StreamName, PutRates>,
    per_stream: PutRates,
}

impl InForce {
    fn limits_of(&self, stream: &StreamName) -> Option<PutLimits> {
        if self.own.is_empty() {
            return self.per_stream.limits();
        }
        self.own.get(stream).copied().unwrap_or_default().or(self.per_stream).limits()
    }
}

impl Access {
    /// Puts a configuration in force, with what its credentials file holds.
    pub(crate) fn put_in_force(&self, config: &Config, of_file: &[config::Credential]) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        let credentials = of_file.iter().chain(&config.credentials).map(|configured| {
            let before = in_force.credentials.get(&configured.access_key_id);
            let credential = credential(configured, config.rates, before.map(Arc::as_ref));
            (configured.access_key_id.clone(), Arc::new(credential))
        });
        let credentials = credentials.collect();
        let own = config.stream_rates.iter().filter(|(_, rates)| **rates != PutRates::default());
        *in_force = InForce {
            proof: proof(config),
            credentials,
            calls: calls(config.rates.calls_per_second(), in_force.calls.as_ref()),
            own: own.map(|(name, rates)| (name.clone(), *rates)).collect(),
            per_stream: config.rates.per_stream,
        };
        self.streams().retain(|name, limiter| in_force.limits_of(name) == Some(limiter.limits()));
        drop(in_force);
        self.audit.write_to(config.audit.clone());
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<StreamName, Arc<PutLimiter>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, look: impl FnOnce(&InForce) -> R) -> R {
        look(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a request must have to be let in.
    pub(crate) fn proof(&self) -> Proof {
        self.with(|in_force| in_force.proof)
    }

    /// What belongs to an access key.
    pub(crate) fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.with(|in_force| in_force.credentials.get(access_key_id).cloned())
    }

    /// The limits of calls from all together.
    pub(crate) fn calls(&self) -> Option<Arc<CallLimiter>> {
        self.with(|in_force| in_force.calls.clone())
    }

    /// The limits of a stream, if it has some and `exists`; what is remembered is bounded by the streams there are.
    pub(crate) fn stream(&self, name: &StreamName, exists: impl FnOnce() -> bool) -> Option<Arc<PutLimiter>> {
        let limits = self.with(|in_force| in_force.limits_of(name))?;
        let mut streams = self.streams();
        if let Some(limiter) = streams.get(name) {
            return Some(Arc::clone(limiter));
        }
        let limiter = exists().then(|| Arc::new(PutLimiter::new(limits)))?;
        streams.insert(name.clone(), Arc::clone(&limiter));
        Some(limiter)
    }

    /// Forgets what a stream that is gone had used of its limits.
    pub(crate) fn forget_stream(&self, name: &StreamName) {
        self.streams().remove(name);
    }
}

fn proof(config: &Config) -> Proof {
    // A file that holds no credentials, or cannot be read, must not open the door.
    let signed = !config.credentials.is_empty() || config.credentials_file.is_some();
    let certified = config.tls.as_ref().is_some_and(TlsConfig::authenticates);
    match (signed, certified) {
        (true, _) => Proof::Signature,
        (false, true) => Proof::Certificate,
        (false, false) => Proof::Nothing,
    }
}

/// A credential as the front end has it, with what has been used of limits that it had before, too.
fn credential(
    configured: &config::Credential,
    defaults: RatesConfig,
    before: Option<&Credential>,
) -> Credential {
    let rates = configured.rates.or(defaults.per_credential);
    let mut credential = Credential::new(&configured.access_key_id, configured.secret.clone());
    credential.session_token = configured.session_token.clone();
    credential.expires_at = configured.expires_at;
    credential.user = configured.user.clone();
    credential.policy = configured.policy.clone();
    credential.puts = rates.puts.limits().map(|limits| {
        let known = before.and_then(|before| before.puts.clone());
        known.filter(|known| known.limits() == limits).unwrap_or_else(|| Arc::new(PutLimiter::new(limits)))
    });
    credential.calls = calls(rates.calls_per_second(), before.and_then(|before| before.calls.as_ref()));
    credential
}

fn calls(per_second: Option<u64>, before: Option<&Arc<CallLimiter>>) -> Option<Arc<CallLimiter>> {
    let per_second = per_second?;
    let known = before.filter(|known| known.calls_per_second() == per_second).cloned();
    known.or_else(|| Some(Arc::new(CallLimiter::new(per_second))))
}

#[cfg(test)]
mod tests;
