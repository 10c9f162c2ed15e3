//! The sink of Splunk on a double of its HTTP Event Collector, made after its specification: no registry has the real
//! one.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Deserializer, Value, json};
use standpipe_model::{ErrorClass, RequestSink, Secret};
use standpipe_sinks::splunk::HecEndpoint;
use standpipe_sinks::{ClientOptions, SplunkOptions, SplunkSink};
use tokio::runtime::Runtime;

use crate::postgres::request as request_of;
use crate::requests::{self, Server};

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

type Shared = Arc<Mutex<State>>;

#[derive(Default)]
struct State {
    /// The rows of each request, by its acknowledgement's number.
    taken: Vec<Vec<Value>>,
    /// Whether it keeps back what to ask for.
    gives_no_id: bool,
    /// How it refuses to be asked for acknowledgements: status and code.
    deaf: Option<(u16, Option<u32>)>,
    /// The index of events that name none is not there.
    lacks_default: bool,
}

struct Collector {
    address: SocketAddr,
    state: Shared,
    /// What it lives in, connections and all.
    runtime: Option<Runtime>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Shared::default();
        let runtime = Some(serve(listener, Arc::clone(&state)));
        Self { address, state, runtime }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no panic"))
    }

    /// How many requests it took.
    fn requests(&self) -> usize {
        self.with(|state| state.taken.len())
    }

    /// A sink of events.
    fn events(&self) -> SplunkSink {
        SplunkSink::new(&SplunkOptions { endpoint: HecEndpoint::Event, ..options(&self.address()) })
            .expect("good settings")
    }
}

fn options(address: &str) -> SplunkOptions {
    SplunkOptions {
        url: format!("http://{address}"),
        endpoint: HecEndpoint::Raw,
        token: Secret::new(TOKEN),
        acknowledgement: Some(Duration::from_secs(20)),
        client: ClientOptions::default(),
    }
}

fn serve(listener: TcpListener, state: Shared) -> Runtime {
    let runtime = Runtime::new().expect("a runtime");
    runtime.spawn(async move {
        listener.set_nonblocking(true).expect("it can wait");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
        while let Ok((connection, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            let answering = service_fn(move |request| answer(request, Arc::clone(&state)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answering));
        }
    });
    runtime
}

async fn answer(request: Request<Incoming>, state: Shared) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let known = head.headers.get("authorization").is_some_and(|value| value == &format!("Splunk {TOKEN}"));
    let mut state = state.lock().expect("no panic");
    let (status, said) = match head.uri.path() {
        "/services/collector/health" => (200, json!({ "text": "HEC is healthy", "code": 17 })),
        _ if !known => (403, json!({ "text": "Invalid token", "code": 4 })),
        _ if !head.headers.contains_key("x-splunk-request-channel") => {
            (400, json!({ "text": "Data channel is missing", "code": 10 }))
        }
        "/services/collector/ack" if state.deaf.is_some() => {
            let (status, code) = state.deaf.expect("it was looked at");
            (status, json!({ "text": "No acknowledgements here", "code": code }))
        }
        "/services/collector/ack" => {
            let asked: Value = serde_json::from_slice(&body).expect("JSON");
            let ids =
                asked["acks"].as_array().expect("a list").iter().map(|id| id.as_u64().expect("a number"));
            let acks: serde_json::Map<_, _> =
                ids.map(|id| (id.to_string(), ((id as usize) < state.taken.len()).into())).collect();
            (200, json!({ "acks": acks }))
        }
        path @ ("/services/collector/raw" | "/services/collector/event") => {
            let rows = Deserializer::from_slice(&body).into_iter().map(|row| row.expect("JSON"));
            let rows: Vec<Value> = rows.collect();
            let is_lost = |row: &Value| match row["index"].as_str() {
                Some(index) => index != "main",
                None => state.lacks_default,
            };
            match rows.iter().position(is_lost).filter(|_| path.ends_with("event")) {
                // Who reads its documents does not know whether it counts from 0 or from 1.
                Some(row) => {
                    (400, json!({ "text": "Incorrect index", "code": 7, "invalid-event-number": row + 1 }))
                }
                None => {
                    state.taken.push(rows);
                    let id = (!state.gives_no_id).then(|| state.taken.len() - 1);
                    (200, json!({ "text": "Success", "code": 0, "ackId": id }))
                }
            }
        }
        other => panic!("{other}"),
    };
    let response = Response::builder().status(status).body(Full::from(said.to_string()));
    Ok(response.expect("a good answer"))
}

impl Server for Collector {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let options = SplunkOptions {
            token: Secret::new(secret),
            acknowledgement: Some(answer),
            client: ClientOptions { request_timeout: answer, ..ClientOptions::default() },
            ..options(address)
        };
        Box::new(SplunkSink::new(&options).expect("good settings"))
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn secret(&self) -> String {
        TOKEN.to_owned()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        let taken = self.with(|state| state.taken.clone());
        let row = |row: &Value| {
            (row["n"].as_u64().expect("a number"), row["text"].as_str().expect("a text").to_owned())
        };
        taken.iter().flatten().map(row).collect()
    }

    fn kill(&mut self) {
        let runtime = self.runtime.take();
        // It ends with everything that runs in it, and may not where something else runs.
        std::thread::spawn(move || drop(runtime)).join().expect("it ends");
    }

    fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).expect("its port");
        self.runtime = Some(serve(listener, Arc::clone(&self.state)));
    }

    fn keeps_once(&self) -> bool {
        false
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splunk_conforms_on_a_double() {
    requests::run(&mut Collector::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_splunk_takes_and_will_not_acknowledge_is_sent_once_until_that_is_mended() {
    let collector = Collector::start();
    let asked = requests::request(1, 0..10);
    for (gives_no_id, deaf, code) in [
        (true, (400, Some(14)), "Splunk.DisabledAck"),
        (false, (400, Some(14)), "Splunk.DisabledAck"),
        (false, (404, None), "Splunk.InvalidEndpoint"),
        (false, (403, Some(4)), "Splunk.InvalidToken"),
        (false, (400, Some(11)), "Splunk.ProxyWithoutStickySessions"),
    ] {
        let sink = SplunkSink::new(&options(&collector.address())).expect("good settings");
        let before = collector.requests();
        collector.with(|state| (state.gives_no_id, state.deaf) = (gives_no_id, Some(deaf)));
        for _ in 0..3 {
            let error = sink.attempt(&asked).await.expect_err("nobody acknowledges it");
            let seen = (error.class, error.code.as_deref());
            assert_eq!(seen, (ErrorClass::Misconfigured, Some(code)), "{error}");
        }
        assert_eq!(collector.requests() - before, 1, "{code}: one copy");
        collector.with(|state| (state.gives_no_id, state.deaf) = (false, None));
        sink.attempt(&asked).await.expect("it is mended");
        assert_eq!(collector.requests() - before, 2, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_names_a_wrong_index_is_set_aside_and_no_other() {
    let collector = Collector::start();
    let event = |n: u64, index: &str| format!("{{\"event\":{{\"n\":{n}}},\"index\":{index}}}");
    let mut rows: Vec<String> = (0..20).map(|n| event(n, "null")).collect();
    rows[3] = event(3, "\"mian\"");
    rows[4] = event(4, "\"main\"");
    rows[11] = event(11, "\"other\"");
    rows[12] = "no event".to_owned();
    rows[13] = event(13, "\"mian\"");
    let answer = collector.events().attempt(&request_of(1, 0, &rows)).await.expect("an answer");
    let refused: Vec<_> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
    let index = "Splunk.InvalidIndex";
    assert_eq!(refused, [(3, index), (11, index), (12, "Splunk.InvalidDataFormat"), (13, index)]);
    assert!(answer.again.is_none() && answer.bytes > 0, "{answer:?}");
    let taken = collector.with(|state| state.taken.concat());
    let mut taken: Vec<u64> = taken.iter().map(|row| row["event"]["n"].as_u64().expect("a number")).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..20).filter(|n| ![3, 11, 12, 13].contains(n)).collect::<Vec<_>>());

    // The token's own index is somebody's to mend, whatever other events name.
    collector.with(|state| state.lacks_default = true);
    let answer = collector.events().attempt(&request_of(2, 0, &rows[..6])).await.expect("an answer");
    assert_eq!(answer.refused.iter().map(|one| one.row).collect::<Vec<_>>(), [3]);
    let (rows_again, error) = answer.again.expect("they are held");
    assert_eq!((rows_again, error.class), (vec![0, 1, 2, 5], ErrorClass::Misconfigured), "{error}");
    let error = collector.events().attempt(&request_of(3, 0, &rows[..3])).await.expect_err("all are held");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Misconfigured, Some(index)), "{error}");
}
