//! The admin listener: health, metrics, and what an operator may ask of streams and batches.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use standpipe_ingest::Frontend;
use standpipe_model::{BatchId, DestinationId, StreamName};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Daemon;
use super::parameters::Parameters;
use crate::alarm::AlarmKind;
use crate::metrics::Snapshot;
use crate::spec::Conversion;
use crate::stream::{BatchOrder, ForgetError, Stream};
use crate::worker::OrderError;

type Reply = Response<Full<Bytes>>;

/// Serves the admin listener until `stop`.
pub(super) async fn serve(
    daemon: Arc<Daemon>,
    frontend: Arc<Frontend>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let mut open = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let (daemon, frontend) = (Arc::clone(&daemon), Arc::clone(&frontend));
        open.spawn(async move {
            let service = service_fn(move |request| {
                let (daemon, frontend) = (Arc::clone(&daemon), Arc::clone(&frontend));
                // On a task of its own: a client that hangs up must not leave a change half made.
                let answered = tokio::spawn(async move { answer(&daemon, &frontend, &request).await });
                async move {
                    let failed =
                        |_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "the request failed; see the log");
                    Ok::<_, Infallible>(answered.await.unwrap_or_else(failed))
                }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "an admin connection ended badly");
            }
        });
        while open.try_join_next().is_some() {}
    }
}

async fn answer(daemon: &Arc<Daemon>, frontend: &Frontend, request: &Request<Incoming>) -> Reply {
    let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    match (request.method(), path.as_slice()) {
        (&Method::GET, ["healthz"]) => text(StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, ["readyz"]) => ready(daemon),
        (&Method::GET, ["metrics"]) => blocking(|| metrics(daemon, frontend)),
        (&Method::GET, ["streams"]) => blocking(|| streams(daemon)),
        (&Method::POST, ["reload"]) => match daemon.reload_logged().await {
            Ok(()) => json_reply(StatusCode::OK, &json!({})),
            Err(error) => refuse(StatusCode::CONFLICT, &crate::worker::chain(&error)),
        },
        (&Method::DELETE, ["streams", name]) => discard(daemon, name).await,
        (&Method::DELETE, ["streams", name, "destinations", id]) => forget(daemon, name, id).await,
        (&Method::GET, ["streams", name, "schema"]) => {
            let destination = Parameters(request.uri().query().unwrap_or_default()).get("destination");
            with_stream(daemon, name, |stream| schema(stream, destination.as_deref()))
        }
        (&Method::GET, ["streams", name, "batches"]) => with_stream(daemon, name, batches),
        (&Method::POST, ["streams", name, "batches", id, what @ ("rebind" | "abandon")]) => {
            batch(daemon, name, id, what).await
        }
        (method, ["streams", name, part @ ("failed" | "replays"), below @ ..]) => {
            let query = request.uri().query().unwrap_or_default();
            again(daemon, name, part, method, below, query).await
        }
        (&Method::GET, _) => refuse(StatusCode::NOT_FOUND, "there is no such page"),
        _ => refuse(StatusCode::METHOD_NOT_ALLOWED, "this page takes no such method"),
    }
}

/// For what reads journals: it may wait for the disk, and must not keep other tasks waiting with it.
fn blocking(answer: impl FnOnce() -> Reply) -> Reply {
    tokio::task::block_in_place(answer)
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    reply
}

fn text(status: StatusCode, body: String) -> Reply {
    reply(status, "text/plain; charset=utf-8", body)
}

fn json_reply(status: StatusCode, body: &Value) -> Reply {
    reply(status, "application/json", format!("{body}\n"))
}

fn refuse(status: StatusCode, why: &str) -> Reply {
    json_reply(status, &json!({ "error": why }))
}

/// 200 while puts are taken, whatever the destinations do; 503 when puts to some stream would be refused.
fn ready(daemon: &Daemon) -> Reply {
    let mut status = StatusCode::OK;
    let mut lines = String::new();
    for stream in daemon.streams() {
        if let Some(why) = stream.refuses_puts() {
            status = StatusCode::SERVICE_UNAVAILABLE;
            lines.push_str(&format!("refusing puts: {}: {why}\n", stream.name()));
        }
    }
    for (name, trouble) in daemon.locked().iter() {
        status = StatusCode::SERVICE_UNAVAILABLE;
        lines.push_str(&format!("refusing puts: {name}: {trouble}\n"));
    }
    for alarm in daemon.context.alarms.raised(None) {
        let stream = alarm.stream.as_ref().map_or("-", StreamName::as_str);
        if alarm.kind == AlarmKind::NotOpened {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
        lines.push_str(&format!("alarm: {stream}: {}: {}\n", alarm.kind.as_str(), alarm.message));
    }
    let head = if status == StatusCode::OK { "ready\n" } else { "not ready\n" };
    text(status, format!("{head}{lines}"))
}

fn metrics(daemon: &Daemon, frontend: &Frontend) -> Reply {
    let mut snapshot = Snapshot {
        alarms: daemon.context.alarms.raised(None),
        connections: frontend.connections_open() as u64,
        certificate_expiry: daemon.tls.as_ref().map(|tls| tls.expires_in_seconds(daemon.context.timer.now())),
        ..Snapshot::default()
    };
    for stream in daemon.streams() {
        let (lines, journal) = stream.numbers();
        snapshot.lines.extend(lines);
        snapshot.journals.push(journal);
    }
    match daemon.context.metrics.render(&snapshot) {
        Ok(body) => reply(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn streams(daemon: &Daemon) -> Reply {
    let all = daemon.streams();
    let described = all.iter().map(|stream| {
        let (lines, journal) = stream.numbers();
        let alarms = daemon.context.alarms.raised(Some(stream.name()));
        json!({
            "name": stream.name().as_str(),
            "version": stream.definition().version,
            "origin": stream.definition().origin,
            "retired": stream.is_retired(),
            "journal": {"used_bytes": journal.used, "limit_bytes": journal.limit},
            "destinations": lines.iter().map(|line| json!({
                "id": line.destination.as_str(),
                "accepted": line.accepted,
                "delivered": line.tally.delivered,
                "dropped": line.tally.dropped,
                "backed_up": line.tally.backed_up,
                "lost": line.tally.lost,
                "in_journal": line.in_journal,
                "oldest_age_seconds": line.oldest_age.as_secs_f64(),
            })).collect::<Vec<_>>(),
            "alarms": alarms.iter().map(|alarm| json!({
                "kind": alarm.kind.as_str(), "message": alarm.message, "since": alarm.since.as_millis(),
            })).collect::<Vec<_>>(),
        })
    });
    json_reply(StatusCode::OK, &Value::Array(described.collect()))
}

fn find(daemon: &Daemon, name: &str) -> Result<Arc<Stream>, Box<Reply>> {
    let name = StreamName::parse(name).ok();
    let stream = name.and_then(|name| daemon.stream(&name));
    stream.ok_or_else(|| Box::new(refuse(StatusCode::NOT_FOUND, "there is no such stream")))
}

fn with_stream(daemon: &Daemon, name: &str, answer: impl FnOnce(&Stream) -> Reply) -> Reply {
    find(daemon, name).map_or_else(|reply| *reply, |stream| answer(&stream))
}

/// Deletes a stream with what it has not delivered, whatever it comes from. One that is in the configuration comes
/// back, empty, at the next start or reload.
async fn discard(daemon: &Daemon, name: &str) -> Reply {
    let _changing = daemon.changing.lock().await;
    let discarded = match find(daemon, name) {
        Ok(stream) => match daemon.begin_deletion(&stream) {
            Ok(()) => daemon.discard(&stream).await,
            Err(error) => Err(error),
        },
        Err(reply) => match StreamName::parse(name).ok().filter(|name| daemon.is_shut(name)) {
            Some(name) => daemon.discard_shut(&name),
            None => return *reply,
        },
    };
    match discarded {
        Ok(()) => json_reply(StatusCode::OK, &json!({})),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &crate::worker::chain(&error)),
    }
}

/// Gives up what is held for a destination that a stream had.
async fn forget(daemon: &Daemon, name: &str, id: &str) -> Reply {
    let _changing = daemon.changing.lock().await;
    let stream = match find(daemon, name) {
        Ok(stream) => stream,
        Err(reply) => return *reply,
    };
    let id = match DestinationId::parse(id) {
        Ok(id) => id,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match stream.forget_destination(&id).await {
        Ok(records) => json_reply(StatusCode::OK, &json!({ "records": records })),
        Err(error @ ForgetError::InUse(_)) => refuse(StatusCode::CONFLICT, &error.to_string()),
        Err(error @ ForgetError::Unknown(_)) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ ForgetError::Append(_)) => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, &crate::worker::chain(&error))
        }
        Err(error @ (ForgetError::Recorded(_) | ForgetError::Ended(_))) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &crate::worker::chain(&error))
        }
    }
}

fn schema(stream: &Stream, destination: Option<&str>) -> Reply {
    let id = match stream.definition().spec.which(destination) {
        Ok(branch) => branch.id,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Some(Conversion { schema, table, .. }) = stream.conversion(&id) else {
        return refuse(StatusCode::NOT_FOUND, "the stream does not convert its rows, and has no schema");
    };
    let name = format!("{}.{}", table.database, table.table);
    json_reply(StatusCode::OK, &json!({"name": name, "version": table.version_id, "columns": schema}))
}

fn batches(stream: &Stream) -> Reply {
    let open = stream.open_batches();
    let all = open.iter().flat_map(|(destination, open)| {
        open.iter().map(move |open| {
            json!({
                "batch": open.close.batch.to_string(),
                "destination": destination.as_str(),
                "first": open.close.range.first,
                "last": open.close.range.last,
                "records": open.close.range.count(),
                "bytes": open.close.record_bytes,
                "closed_at": open.close.closed_at,
                "reason": open.close.reason.as_str(),
                "version": open.close.version,
                "failing_since": open.failing_since,
            })
        })
    });
    json_reply(StatusCode::OK, &Value::Array(all.collect()))
}

/// What is sent again: what failed, or a range of time.
async fn again(
    daemon: &Arc<Daemon>,
    name: &str,
    part: &str,
    method: &Method,
    below: &[&str],
    query: &str,
) -> Reply {
    let stream = match find(daemon, name) {
        Ok(stream) => stream,
        Err(reply) => return *reply,
    };
    let answered = match part {
        "failed" => super::failed::answer(daemon, &stream, method, below, query).await,
        _ => super::replays::answer(daemon, &stream, method, below, query).await,
    };
    match answered {
        Some((status, body)) => json_reply(status, &body),
        None => refuse(StatusCode::NOT_FOUND, "there is no such page"),
    }
}

async fn batch(daemon: &Daemon, name: &str, id: &str, what: &str) -> Reply {
    let stream = match find(daemon, name) {
        Ok(stream) => stream,
        Err(reply) => return *reply,
    };
    let Some(batch) = BatchId::parse(id) else {
        return refuse(StatusCode::BAD_REQUEST, "a batch id is 32 hexadecimal digits");
    };
    let holds =
        |open: &Vec<standpipe_journal::control::OpenBatch>| open.iter().any(|open| open.close.batch == batch);
    let open = stream.open_batches();
    let Some((destination, _)) = open.iter().find(|(_, open)| holds(open)) else {
        return refuse(StatusCode::NOT_FOUND, &OrderError::Unknown.to_string());
    };
    let order = if what == "rebind" { BatchOrder::Rebind } else { BatchOrder::Abandon };
    match stream.batch(destination, batch, order).await {
        Ok(()) => json_reply(StatusCode::OK, &json!({})),
        Err(error @ OrderError::Unknown) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ OrderError::Busy) => refuse(StatusCode::CONFLICT, &error.to_string()),
        Err(error @ OrderError::Journal(_)) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
