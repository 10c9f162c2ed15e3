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
use standpipe_model::{RequestSink, Secret};
use standpipe_sinks::splunk::HecEndpoint;
use standpipe_sinks::{ClientOptions, SplunkOptions, SplunkSink};
use tokio::runtime::Runtime;

use crate::requests::{self, Server};

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// The rows of each request, by its acknowledgement's number.
type Taken = Arc<Mutex<Vec<Vec<Value>>>>;

struct Collector {
    address: SocketAddr,
    taken: Taken,
    /// What it lives in, connections and all.
    runtime: Option<Runtime>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let taken = Taken::default();
        let runtime = Some(serve(listener, Arc::clone(&taken)));
        Self { address, taken, runtime }
    }
}

fn serve(listener: TcpListener, taken: Taken) -> Runtime {
    let runtime = Runtime::new().expect("a runtime");
    runtime.spawn(async move {
        listener.set_nonblocking(true).expect("it can wait");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
        while let Ok((connection, _)) = listener.accept().await {
            let taken = Arc::clone(&taken);
            let answering = service_fn(move |request| answer(request, Arc::clone(&taken)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answering));
        }
    });
    runtime
}

async fn answer(request: Request<Incoming>, taken: Taken) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let known = head.headers.get("authorization").is_some_and(|value| value == &format!("Splunk {TOKEN}"));
    let mut taken = taken.lock().expect("no panic");
    let (status, said) = match head.uri.path() {
        "/services/collector/health" => (200, json!({ "text": "HEC is healthy", "code": 17 })),
        _ if !known => (403, json!({ "text": "Invalid token", "code": 4 })),
        _ if !head.headers.contains_key("x-splunk-request-channel") => {
            (400, json!({ "text": "Data channel is missing", "code": 10 }))
        }
        "/services/collector/ack" => {
            let asked: Value = serde_json::from_slice(&body).expect("JSON");
            let ids =
                asked["acks"].as_array().expect("a list").iter().map(|id| id.as_u64().expect("a number"));
            let acks: serde_json::Map<_, _> =
                ids.map(|id| (id.to_string(), ((id as usize) < taken.len()).into())).collect();
            (200, json!({ "acks": acks }))
        }
        "/services/collector/raw" => {
            let rows = Deserializer::from_slice(&body).into_iter().map(|row| row.expect("JSON"));
            taken.push(rows.collect());
            (200, json!({ "text": "Success", "code": 0, "ackId": taken.len() - 1 }))
        }
        other => panic!("{other}"),
    };
    let response = Response::builder().status(status).body(Full::from(said.to_string()));
    Ok(response.expect("a good answer"))
}

impl Server for Collector {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let options = SplunkOptions {
            url: format!("http://{address}"),
            endpoint: HecEndpoint::Raw,
            token: Secret::new(secret),
            acknowledgement: Some(answer),
            client: ClientOptions { request_timeout: answer, ..ClientOptions::default() },
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
        let taken = self.taken.lock().expect("no panic");
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
        self.runtime = Some(serve(listener, Arc::clone(&self.taken)));
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
