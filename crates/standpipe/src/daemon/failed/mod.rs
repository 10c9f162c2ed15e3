//! The error output of a stream, below the prefix that its definition has now: finding it, looking into it
//! ([`lines`]), and sending it again ([`redrive`]), which is noted object by object ([`mark`]).
//!
//! ```text
//! pages of keys ─► objects in pieces of 1 MiB ─► lines ─► records ─► blocks as a put may have them ─► journal
//! ```

mod answers;
mod lines;
mod mark;
mod redrive;

use std::sync::Arc;

use http::StatusCode;
use standpipe_ingest::PutError;
use standpipe_model::{ErrorClass, SinkError, StreamName, Timestamp};
use standpipe_sinks::Listed;
use standpipe_sinks::key::{ObjectKeys, PrefixError};
use standpipe_transform::FailureKind;

pub(super) use answers::answer;
pub(super) use redrive::Redrives;

use super::Daemon;
use super::parameters::ParameterError;
use crate::endpoints::ERROR_OUTPUT_TYPES;
use crate::spec::WhichError;
use crate::stores::{self, Client, StoreError};
use crate::stream::Stream;

/// How many keys are asked for at once.
const PAGE: usize = 1_000;

/// The error output could not be looked at or sent again.
#[derive(Debug, thiserror::Error)]
pub(super) enum FailedError {
    /// The store that the stream names is not configured.
    #[error("the store '{0}' is not configured")]
    NoStore(String),
    /// Its settings.
    #[error(transparent)]
    Settings(#[from] StoreError),
    /// The stream's prefixes.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// The store.
    #[error(transparent)]
    Store(#[from] SinkError),
    /// The destination.
    #[error(transparent)]
    Which(#[from] WhichError),
    /// The records would go to destinations that have them.
    #[error(
        "all {0} destinations of the stream would get the records, those too that have them already: ask for \
             \"everywhere\", or for another stream"
    )]
    Everywhere(usize),
    /// A parameter.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The object is none of the stream's error output.
    #[error("the stream has no such object in its error output")]
    NoObject,
    /// There is no redrive to ask about.
    #[error("nothing of the stream has been redriven since the daemon started")]
    NoRedrive,
    /// There is no stream to send to.
    #[error("there is no stream '{0}'")]
    NoStream(StreamName),
    /// One at a time.
    #[error("a redrive of the stream is under way")]
    Busy,
    /// Half of an object is in another stream.
    #[error("{key} was begun for stream '{begun}': go on with that one first, or send all of it again")]
    BegunElsewhere {
        /// The object.
        key: String,
        /// The stream that has its beginning.
        begun: StreamName,
    },
    /// The stream that it is sent to took no put.
    #[error("stream '{to}' takes no records")]
    Put {
        /// The stream.
        to: StreamName,
        /// Why.
        source: PutError,
    },
    /// What was redriven could not be noted, or looked up.
    #[error("what was redriven could not be noted or looked up")]
    Mark(#[source] std::io::Error),
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl FailedError {
    /// Whether the same may succeed soon.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error.class, ErrorClass::Transient | ErrorClass::Throttled),
            Self::Put { source, .. } => matches!(source, PutError::Unavailable { .. }),
            Self::Mark(_) => true,
            _ => false,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Parameter(_) | Self::NoStream(_) | Self::Which(_) | Self::Everywhere(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NoObject | Self::NoRedrive => StatusCode::NOT_FOUND,
            Self::Busy => StatusCode::CONFLICT,
            Self::Store(_) => StatusCode::BAD_GATEWAY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Which of the error output is meant.
#[derive(Debug, Clone)]
struct Wanted {
    /// The parts of it.
    types: Vec<&'static str>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// All parts of error output that there are.
fn all_types() -> Vec<&'static str> {
    FailureKind::ALL.map(FailureKind::as_str).into_iter().chain(ERROR_OUTPUT_TYPES).collect()
}

/// An object of the error output.
#[derive(Debug, Clone)]
struct Found {
    object: Listed,
    error_output_type: &'static str,
}

/// Some objects, and where those behind them begin.
#[derive(Debug)]
struct Page {
    objects: Vec<Found>,
    next: Option<String>,
}

/// Where a stream's error output is.
#[derive(Debug)]
struct ErrorOutput {
    client: Arc<dyn Client>,
    store: String,
    bucket: String,
    keys: ObjectKeys,
}

impl ErrorOutput {
    /// That of a destination; it may go unnamed where there is but one.
    ///
    /// # Errors
    /// [`FailedError`]: the destination, its store, or the prefixes.
    fn of(daemon: &Daemon, stream: &Stream, destination: Option<&str>) -> Result<Self, FailedError> {
        let (config, definition) = (daemon.config(), stream.definition());
        let to = definition.spec.which(destination)?.destination;
        let store = config.stores.get(&to.store).ok_or_else(|| FailedError::NoStore(to.store.clone()))?;
        let keys = ObjectKeys::new(
            stream.name().clone(),
            &to.prefix,
            &to.error_output_prefix,
            &to.custom_time_zone,
            "",
            to.partitioning.is_some(),
        )?;
        let client = stores::make(&to.store, store)?;
        Ok(Self { client, store: to.store.clone(), bucket: to.bucket.clone(), keys })
    }

    /// The objects that come after the key `after`; a page may be empty and not the last.
    async fn page(&self, wanted: &Wanted, after: Option<&str>) -> Result<Page, FailedError> {
        for prefix in self.keys.error_prefixes(&wanted.types) {
            let begun = after.filter(|after| after.starts_with(&prefix));
            if begun.is_none() && after.is_some_and(|after| *after > *prefix) {
                continue;
            }
            let listed = self.client.list(&self.bucket, &prefix, begun, PAGE).await?;
            if let Some(last) = listed.last() {
                let next = Some(last.key.clone());
                return Ok(Page { objects: self.found(wanted, listed), next });
            }
        }
        Ok(Page { objects: Vec::new(), next: None })
    }

    fn found(&self, wanted: &Wanted, listed: Vec<Listed>) -> Vec<Found> {
        let in_time = |object: &Listed| {
            wanted.since.is_none_or(|since| object.modified >= since)
                && wanted.until.is_none_or(|until| object.modified <= until)
        };
        let found = listed.into_iter().filter(in_time).filter_map(|object| {
            let error_output_type = self.keys.error_output_type_of(&object.key, &wanted.types)?;
            Some(Found { object, error_output_type })
        });
        found.collect()
    }

    /// The object under a key, if it is of the error output.
    async fn object(&self, key: &str) -> Result<Found, FailedError> {
        let error_output_type =
            self.keys.error_output_type_of(key, &all_types()).ok_or(FailedError::NoObject)?;
        let listed = self.client.list(&self.bucket, key, None, 1).await?;
        let object = listed.into_iter().find(|object| object.key == key).ok_or(FailedError::NoObject)?;
        Ok(Found { object, error_output_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_error_output_is_known() {
        let sources = [include_str!("../../endpoints/mod.rs"), include_str!("../../endpoints/opensearch.rs")];
        let arms = sources.iter().flat_map(|source| source.split("=> \"").skip(1));
        let words = arms.filter_map(|arm| arm.split_once('"')).map(|(word, _)| word);
        let of_endpoints: Vec<&str> = words.filter(|word| word.ends_with("-failed")).collect();
        assert!(of_endpoints.len() >= 4 && of_endpoints.iter().all(|kind| all_types().contains(kind)));
    }
}
