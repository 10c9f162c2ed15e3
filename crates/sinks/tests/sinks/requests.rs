//! What every sink of requests must do, whatever stands behind it.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use standpipe_model::{
    Answer, BatchId, CloseReason, DestinationId, ErrorClass, Position, Request, RequestId, RequestRow,
    RequestSink, RowOrigin, SinkError, StreamName, Timestamp,
};
use standpipe_testkit::servers::{Proxy, Toxic, Toxiproxy};

/// How long a server may take to show what it took.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a sink waits for an answer: enough for a busy machine, and too short for a server that is slow.
const ANSWER: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(1_500);

/// A server under test, which takes JSON objects with a number `n` and a text `text`.
pub(crate) trait Server {
    /// A sink of it that waits so long for an answer, by another address (`host:port`) and secret than its own.
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink>;

    /// Where it listens: `host:port`.
    fn address(&self) -> String;

    /// What lets a sink in.
    fn secret(&self) -> String;

    /// Everything that it has taken so far, each row as often as it is there.
    fn arrived(&self) -> Vec<(u64, String)>;

    /// Ends it at once.
    fn kill(&mut self);

    /// Starts it again at its address with what it had taken.
    fn restart(&mut self);

    /// Whether the rows themselves go to its address.
    fn takes_rows(&self) -> bool {
        true
    }

    /// Whether a row that is sent again is there once all the same.
    fn keeps_once(&self) -> bool;
}

/// Runs the whole suite.
pub(crate) async fn run(server: &mut dyn Server) {
    let toxiproxy = Toxiproxy::start().expect("toxiproxy starts");
    let proxy = toxiproxy.proxy("server", &server.address()).expect("a proxy");
    arrivals(server).await;
    repeats(server).await;
    concurrent_attempts(server).await;
    lost_answers(server, &proxy).await;
    if server.takes_rows() {
        broken_bodies(server, &proxy).await;
    }
    wrong_secrets(server).await;
    absence(server).await;
}

/// Rows of every kind arrive as they are, and once.
async fn arrivals(server: &dyn Server) {
    let sink = good(server);
    sink.probe().await.expect("the server is there");
    let request = request(1, 100_000..100_012);
    let answer = deliver(server, &*sink, &request).await;
    assert!(answer.bytes > 0 && !answer.existed, "{answer:?}");
    arrive_once(server, &request);
}

/// A repetition of what was delivered is delivered.
async fn repeats(server: &dyn Server) {
    let sink = good(server);
    let mut request = request(2, 200_000..200_500);
    deliver(server, &*sink, &request).await;
    request.repeated = true;
    for _ in 0..2 {
        let answer = deliver(server, &*sink, &request).await;
        assert_eq!(answer.existed, server.keeps_once(), "{answer:?}");
    }
    arrive(server, &request);
}

/// Attempts that meet (a slow one that was given up, and its successor) deliver the rows.
async fn concurrent_attempts(server: &dyn Server) {
    let (one, two) = (good(server), good(server));
    let mut request = request(3, 300_000..301_000);
    let outcomes = tokio::join!(one.attempt(&request), two.attempt(&request));
    for outcome in [outcomes.0, outcomes.1] {
        let unclear = outcome.as_ref().err().map(|error| error.class);
        assert!(matches!(unclear, None | Some(ErrorClass::Transient)), "{outcome:?}");
    }
    request.repeated = true;
    deliver(server, &*one, &request).await;
    arrive(server, &request);
}

/// A server that takes rows and whose answer does not come in time, or to somebody who has gone.
async fn lost_answers(server: &dyn Server, proxy: &Proxy) {
    for (seed, dropped) in [(4, false), (5, true)] {
        let first = u64::from(seed) * 100_000;
        let sink = server.sink(&listening(proxy), &server.secret(), SHORT);
        sink.probe().await.expect("through the proxy");
        proxy.poison(Toxic::Latency(Duration::from_secs(4))).expect("a toxic");
        let mut request = request(seed, first..first + 50);
        if dropped {
            let attempt = tokio::time::timeout(SHORT / 3, sink.attempt(&request)).await;
            assert!(attempt.is_err(), "the answer is late");
        } else {
            fails(server, ErrorClass::Transient, sink.attempt(&request).await);
        }
        proxy.heal().expect("healed");
        request.repeated = true;
        deliver(server, &*good(server), &request).await;
        arrive(server, &request);
    }
}

/// A connection that ends in the middle of the rows, orderly or by a reset.
async fn broken_bodies(server: &dyn Server, proxy: &Proxy) {
    let orderly = vec![Toxic::Limit(60_000)];
    let reset = vec![Toxic::Bandwidth(100), Toxic::Reset(Duration::from_millis(700))];
    for (seed, toxics) in [(6, orderly), (7, reset)] {
        let first = u64::from(seed) * 100_000;
        let sink = server.sink(&listening(proxy), &server.secret(), ANSWER);
        let mut request = large(seed, first..first + 400);
        for toxic in toxics {
            proxy.poison_requests(toxic).expect("a toxic");
        }
        fails(server, ErrorClass::Transient, sink.attempt(&request).await);
        proxy.heal().expect("healed");
        request.repeated = true;
        deliver(server, &*sink, &request).await;
        arrive(server, &request);
    }
}

/// Who is not let in has someone to correct that; nothing is lost by it.
async fn wrong_secrets(server: &dyn Server) {
    let wrong = server.sink(&server.address(), "not-the-secret", ANSWER);
    let mut request = request(8, 800_000..800_010);
    let error = fails(server, ErrorClass::Misconfigured, wrong.attempt(&request).await);
    assert!(!told(&error).contains("not-the-secret"), "{error:?}");
    assert!(!format!("{wrong:?}").contains("not-the-secret"));
    request.repeated = true;
    deliver(server, &*good(server), &request).await;
    arrive_once(server, &request);
}

/// A server that is not there is waited for.
async fn absence(server: &mut dyn Server) {
    let sink = good(server);
    let before = request(9, 900_000..900_020);
    deliver(server, &*sink, &before).await;
    arrive_once(server, &before);
    server.kill();
    let mut request = request(10, 1_000_000..1_000_020);
    fails(server, ErrorClass::Transient, sink.probe().await);
    for _ in 0..2 {
        fails(server, ErrorClass::Transient, sink.attempt(&request).await);
    }
    server.restart();
    request.repeated = true;
    deliver(server, &*sink, &request).await;
    arrive_once(server, &request);
    arrive_once(server, &before);
}

fn good(server: &dyn Server) -> Box<dyn RequestSink> {
    let sink = server.sink(&server.address(), &server.secret(), ANSWER);
    assert!(!format!("{sink:?}").contains(&server.secret()), "{sink:?}");
    sink
}

fn listening(proxy: &Proxy) -> String {
    proxy.endpoint().trim_start_matches("http://").to_owned()
}

async fn deliver(server: &dyn Server, sink: &dyn RequestSink, request: &Request) -> Answer {
    let answer = sink.attempt(request).await;
    let answer = answer.unwrap_or_else(|error| panic!("{} is not taken: {}", server.address(), told(&error)));
    assert!(answer.refused.is_empty() && answer.again.is_none(), "{answer:?}");
    answer
}

/// Holds that it failed so, and told no secret.
fn fails<T: std::fmt::Debug>(
    server: &dyn Server,
    class: ErrorClass,
    outcome: Result<T, SinkError>,
) -> SinkError {
    let error = outcome.expect_err("it cannot succeed");
    assert_eq!(error.class, class, "{}", told(&error));
    assert!(!told(&error).contains(&server.secret()), "{error:?}");
    error
}

/// All that an error can tell.
fn told(error: &SinkError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!("; {cause} {cause:?}"));
        next = cause.source();
    }
    text
}

fn arrive_once(server: &dyn Server, request: &Request) {
    assert_eq!(arrived(server, request), expected(request));
}

/// Holds that the rows are there; where the server keeps to that, once.
fn arrive(server: &dyn Server, request: &Request) {
    match server.keeps_once() {
        true => arrive_once(server, request),
        false => {
            let distinct: BTreeSet<_> = arrived(server, request).into_iter().collect();
            assert_eq!(distinct.into_iter().collect::<Vec<_>>(), expected(request));
        }
    }
}

/// What has come of a request's rows, as soon as all of them have.
fn arrived(server: &dyn Server, request: &Request) -> Vec<(u64, String)> {
    let (expected, began) = (expected(request), Instant::now());
    let numbers: BTreeSet<_> = expected.iter().map(|(n, _)| *n).collect();
    loop {
        let mut rows = server.arrived();
        rows.retain(|(n, _)| numbers.contains(n));
        let distinct: BTreeSet<_> = rows.iter().map(|(n, _)| *n).collect();
        if distinct == numbers {
            rows.sort();
            return rows;
        }
        assert!(began.elapsed() < PATIENCE, "{} of {} rows came", distinct.len(), numbers.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn expected(request: &Request) -> Vec<(u64, String)> {
    let row = |row: &RequestRow| {
        let members: serde_json::Value = serde_json::from_slice(&row.data).expect("made here");
        (members["n"].as_u64().expect("made here"), members["text"].as_str().expect("made here").to_owned())
    };
    let mut rows: Vec<_> = request.rows.iter().map(row).collect();
    rows.sort();
    rows
}

/// A first attempt at rows with these numbers and texts of every kind.
pub(crate) fn request(seed: u8, numbers: Range<u64>) -> Request {
    let texts = [
        "x",
        "a b",
        "\"'\\\\",
        "line\nline\r\t",
        "é ☃ 日本 😀",
        "{\"a\":[1]}",
        "a,b;c|d",
        "<&>%",
        "$1 NULL \\N",
    ];
    request_of(seed, numbers, |n| texts[n as usize % texts.len()].to_owned())
}

/// Rows of a kilobyte.
fn large(seed: u8, numbers: Range<u64>) -> Request {
    request_of(seed, numbers, |n| format!("{n} ").repeat(1_024 / 7))
}

/// A first attempt at rows with these numbers and what `text` says.
pub(crate) fn request_of(seed: u8, numbers: Range<u64>, text: impl Fn(u64) -> String) -> Request {
    let row = |n: u64| RequestRow {
        origin: RowOrigin { position: Position(n), sub: 0 },
        arrived_at: Timestamp(1_700_000_000_000 + n),
        data: Bytes::from(serde_json::json!({ "n": n, "text": text(n) }).to_string()),
    };
    Request {
        stream: StreamName::parse("clicks").expect("a good name"),
        stream_arn: "arn:aws:firehose:us-east-1:000000000000:deliverystream/clicks".into(),
        destination: DestinationId::primary(),
        batch: BatchId([seed; 16]),
        id: RequestId([seed; 16]),
        version: 1,
        closed_by: CloseReason::Age,
        rows: numbers.map(row).collect(),
        repeated: false,
        attempted_at: Timestamp(1_700_000_100_000),
    }
}
