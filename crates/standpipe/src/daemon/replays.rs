//! What the admin listener answers about replays. Everything is a parameter of the address.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use standpipe_model::StreamName;

use super::Daemon;
use super::parameters::{ParameterError, Parameters};
use crate::spec::WhichError;
use crate::stream::{ReplayError, ReplayOrders, Span, Stream};
use crate::worker::{Replaying, chain};

/// A replay was not begun, or there is none.
#[derive(Debug, thiserror::Error)]
enum RefusedReplay {
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    #[error(transparent)]
    Which(#[from] WhichError),
    #[error("there is no stream '{0}'")]
    NoStream(StreamName),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl RefusedReplay {
    fn parameter(text: &str) -> Self {
        Self::Parameter(ParameterError(text.to_owned()))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Parameter(_) | Self::Which(_) | Self::NoStream(_) => StatusCode::BAD_REQUEST,
            Self::Replay(
                ReplayError::NotKept(_) | ReplayError::Nothing | ReplayError::Busy | ReplayError::Deleting,
            ) => StatusCode::CONFLICT,
            Self::Replay(ReplayError::Unknown) => StatusCode::NOT_FOUND,
            Self::Replay(ReplayError::Append(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Replay(ReplayError::Read(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Parameters<'_> {
    fn replay(&self, daemon: &Daemon, stream: &Stream) -> Result<ReplayOrders, RefusedReplay> {
        let (from, to, now) = (self.time("from")?, self.time("to")?, daemon.context.timer.now());
        if from.is_some() == self.flag("from_oldest") {
            return Err(RefusedReplay::parameter("give either \"from\" or \"from_oldest\""));
        }
        if from.is_some_and(|from| from >= to.unwrap_or(now)) {
            return Err(RefusedReplay::parameter("it ends before it begins"));
        }
        if to.is_some_and(|to| to > now) {
            return Err(RefusedReplay::parameter("to: it lies in the future"));
        }
        let (into, destination) = (self.stream("into")?, self.get("destination"));
        let of = match &into {
            Some(_) if destination.is_some() => {
                return Err(RefusedReplay::parameter("\"destination\" and \"into\" exclude each other"));
            }
            Some(into) if into == stream.name() => {
                let text =
                    format!("into: '{into}' is the stream itself; leave it out to replay to a destination");
                return Err(RefusedReplay::parameter(&text));
            }
            Some(into) if daemon.stream(into).is_none() => {
                return Err(RefusedReplay::NoStream(into.clone()));
            }
            Some(_) => stream.definition().spec.destinations().swap_remove(0),
            None => stream.definition().spec.which(destination.as_deref())?.id,
        };
        Ok(ReplayOrders { of, from, to, into, rate: self.rate()? })
    }
}

/// Answers a request below `/streams/<name>/replays`; `None` where there is no such page.
pub(super) async fn answer(
    daemon: &Arc<Daemon>,
    stream: &Stream,
    method: &Method,
    below: &[&str],
    query: &str,
) -> Option<(StatusCode, Value)> {
    let parameters = Parameters(query);
    let answered = match (method, below) {
        (&Method::GET, []) => Ok(list(daemon, stream)),
        (&Method::GET, [id]) => {
            let found = stream.replays().into_iter().find(|replaying| replaying.id.as_str() == *id);
            found.map(|replaying| show(stream, &replaying)).ok_or_else(|| ReplayError::Unknown.into())
        }
        (&Method::POST, []) => begin(daemon, stream, &parameters).await,
        (&Method::DELETE, [id]) => {
            let stopped = stream.stop_replay(id).await;
            stopped.map(|replaying| show(stream, &replaying)).map_err(RefusedReplay::from)
        }
        _ => return None,
    };
    Some(match answered {
        Ok(value) => (StatusCode::OK, value),
        Err(error) => (error.status(), json!({ "error": chain(&error) })),
    })
}

fn list(daemon: &Daemon, stream: &Stream) -> Value {
    let kept = tokio::task::block_in_place(|| stream.journal().kept());
    let replays: Vec<Value> = stream.replays().iter().map(|replaying| show(stream, replaying)).collect();
    json!({
        "retention_ms": stream.definition().spec.retention_ms,
        "oldest_kept": kept.oldest,
        "newest_kept": kept.newest,
        "now": daemon.context.timer.now(),
        "replays": replays,
    })
}

async fn begin(
    daemon: &Daemon,
    stream: &Stream,
    parameters: &Parameters<'_>,
) -> Result<Value, RefusedReplay> {
    let orders = parameters.replay(daemon, stream)?;
    if parameters.flag("dry_run") {
        let span = stream.span(&orders).await?;
        return Ok(would(&orders, &span));
    }
    let replaying = stream.begin_replay(orders).await?;
    Ok(show(stream, &replaying))
}

/// What a replay would deliver.
fn would(orders: &ReplayOrders, span: &Span) -> Value {
    json!({
        "dry_run": true,
        "of": orders.of.as_str(),
        "into": orders.into.as_ref().map(StreamName::as_str),
        "records": span.end.0 - span.start.0,
        "bytes": span.bytes,
        "first": span.start,
        "last": span.end.0 - 1,
        "oldest_kept": span.kept.oldest,
        "newest_kept": span.kept.newest,
    })
}

fn show(stream: &Stream, replaying: &Replaying) -> Value {
    let (replay, ended, tally) = (&replaying.replay, replaying.ended(), stream.replayed(replaying));
    let state = ended.map_or("running", |ended| if ended.early { "stopped" } else { "done" });
    json!({
        "id": replaying.id.as_str(),
        "state": state,
        "of": replay.of.as_str(),
        "into": replay.into.as_ref().map(StreamName::as_str),
        "from": replay.from,
        "to": replay.to,
        "rate": replay.rate,
        "first": replaying.start,
        "last": replay.end.0 - 1,
        "records": replay.end.0 - replaying.start.0,
        "delivered": tally.delivered,
        "dropped": tally.dropped,
        "abandoned": replaying.abandoned(),
        "backed_up": tally.backed_up,
        "lost": tally.lost,
        "waiting": replaying.waiting(),
        "begun_at": replay.begun_at,
        "ended_at": ended.map(|ended| ended.at),
    })
}
