//! What the admin listener answers about error output. Everything is a parameter of the address.
//!
//! # Limits
//! A page of the list has at most 1,000 objects, one of an object's lines about 1 MiB of records.

use std::sync::Arc;

use base64_simd::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::lines::{Line, Lines};
use super::mark::{FOLDER, Mark};
use super::redrive::Orders;
use super::{ErrorOutput, FailedError, Found, Wanted, all_types};
use crate::daemon::Daemon;
use crate::daemon::parameters::{ParameterError, Parameters};
use crate::stream::Stream;
use crate::worker::chain;

/// The most bytes of records in a page of lines, but for the last record.
const RECORDS_BYTES: usize = 1 << 20;
/// The most lines in a page.
const LINES_MAX: usize = 1_000;

impl Parameters<'_> {
    fn wanted(&self) -> Result<Wanted, FailedError> {
        let known = all_types();
        let types = self.all("type").map(|text| {
            let unknown = || ParameterError(format!("type: '{text}' is none of {}", known.join(", ")));
            known.iter().copied().find(|kind| *kind == text).ok_or_else(unknown)
        });
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let types = if types.is_empty() { known } else { types };
        Ok(Wanted { types, since: self.time("since")?, until: self.time("until")? })
    }

    fn output(&self, daemon: &Daemon, stream: &Stream) -> Result<ErrorOutput, FailedError> {
        ErrorOutput::of(daemon, stream, self.get("destination").as_deref())
    }

    fn orders(&self, daemon: &Daemon, stream: &Stream) -> Result<Orders, FailedError> {
        let to = self.stream("to")?.unwrap_or_else(|| stream.name().clone());
        if daemon.stream(&to).is_none() {
            return Err(FailedError::NoStream(to));
        }
        let destinations = 1 + stream.definition().spec.further.len();
        let is_asked = self.flag("everywhere") || self.flag("dry_run");
        if to == *stream.name() && destinations > 1 && !is_asked {
            return Err(FailedError::Everywhere(destinations));
        }
        let rate = self.rate()?;
        let (again, dry_run) = (self.flag("again"), self.flag("dry_run"));
        Ok(Orders { wanted: self.wanted()?, to, again, dry_run, rate })
    }
}

/// Answers a request below `/streams/<name>/failed`; `None` where there is no such page.
pub(in crate::daemon) async fn answer(
    daemon: &Arc<Daemon>,
    stream: &Stream,
    method: &Method,
    below: &[&str],
    query: &str,
) -> Option<(StatusCode, Value)> {
    let parameters = Parameters(query);
    let latest = || daemon.redrives.of(stream.name()).ok_or(FailedError::NoRedrive);
    let answered = match (method, below) {
        (&Method::GET, []) => list(daemon, stream, &parameters).await,
        (&Method::GET, ["object"]) => object(daemon, stream, &parameters).await,
        (&Method::GET, ["redrive"]) => latest().map(|redrive| json!(*redrive.progress())),
        (&Method::POST, ["redrive"]) => {
            let orders = parameters.orders(daemon, stream);
            let output = || parameters.output(daemon, stream);
            let begun = orders.and_then(|orders| daemon.redrives.start(daemon, stream, output()?, orders));
            begun.map(|redrive| json!(*redrive.progress()))
        }
        (&Method::DELETE, ["redrive"]) => latest().map(|redrive| {
            redrive.stop();
            json!(*redrive.progress())
        }),
        _ => return None,
    };
    Some(match answered {
        Ok(value) => (StatusCode::OK, value),
        Err(error) => (error.status(), json!({ "error": chain(&error) })),
    })
}

async fn list(daemon: &Daemon, stream: &Stream, parameters: &Parameters<'_>) -> Result<Value, FailedError> {
    let (output, wanted) = (parameters.output(daemon, stream)?, parameters.wanted()?);
    let page = output.page(&wanted, parameters.get("after").as_deref()).await?;
    let folder = daemon.catalog.folder(stream.name()).join(FOLDER);
    let objects = block_in_place(|| {
        let described = page.objects.iter().map(|found| {
            let object = [&*output.store, &*output.bucket, &*found.object.key];
            Mark::load(&folder, object).map(|mark| describe(found, mark.as_ref()))
        });
        described.collect::<Result<Vec<_>, _>>()
    });
    Ok(json!({ "objects": objects.map_err(FailedError::Mark)?, "next": page.next }))
}

fn describe(found: &Found, mark: Option<&Mark>) -> Value {
    let Found { object, error_output_type } = found;
    json!({
        "key": object.key,
        "type": error_output_type,
        "bytes": object.bytes,
        "modified": object.modified,
        "redriven": mark.map(|mark| json!({
            "to": mark.to.as_str(),
            "records": mark.done.records,
            "unreadable": mark.done.unreadable,
            "times": mark.round,
            "finished_at": mark.finished_at,
        })),
    })
}

/// Lines of an object from the byte `from` on, where a line has to begin.
async fn object(daemon: &Daemon, stream: &Stream, parameters: &Parameters<'_>) -> Result<Value, FailedError> {
    let no_key = || ParameterError("key: it is missing".to_owned());
    let (key, from) = (parameters.get("key").ok_or_else(no_key)?, parameters.number("from")?.unwrap_or(0));
    let output = parameters.output(daemon, stream)?;
    let found = output.object(&key).await?;
    let mut lines = Lines::new(&output, &found, from.min(found.object.bytes));
    let (mut shown, mut bytes) = (Vec::new(), 0);
    while let Some(line) = lines.next().await? {
        bytes += line.record.as_ref().map_or(0, |record| record.data.len());
        shown.push(show(&line));
        if bytes > RECORDS_BYTES || shown.len() == LINES_MAX {
            return Ok(json!({ "lines": shown, "next": line.end }));
        }
    }
    Ok(json!({ "lines": shown, "next": null }))
}

fn show(line: &Line) -> Value {
    match &line.record {
        Ok(record) => json!({
            "data": STANDARD.encode_to_string(&record.data),
            "code": record.code,
            "message": record.message,
            "attempts": record.attempts,
            "arrived_at": record.arrived_at,
        }),
        Err(unreadable) => json!({ "unreadable": unreadable.to_string() }),
    }
}
