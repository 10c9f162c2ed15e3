//! A double of an HTTP endpoint: it reads Firehose's delivery protocol and what webhooks get, keeps what it took by
//! request id, and fails as told. A real third party's receiver takes part in `endpoints.rs`, too; but none fails on request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64_simd::STANDARD;
use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::double::{Answer, Asked, Double, Listening};

/// Answers the `n`-th request, from 0.
type Script = Box<dyn FnMut(u64) -> Answer + Send>;

struct State {
    script: Script,
    requests: u64,
    /// How many requests wait for an answer that does not come, or did.
    held: u64,
    /// The records that were taken, by the id of their request.
    taken: BTreeMap<String, Vec<String>>,
    /// How many requests came again after they had been taken.
    repeated: u64,
    last_headers: BTreeMap<String, String>,
}

struct Shared(Mutex<State>);

/// A running receiver.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    pub(crate) listening: Listening,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::secured(None)
    }

    /// Over TLS, where that is given.
    pub(crate) fn secured(tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Arc::new(Shared(Mutex::new(State {
            script: Box::new(|_| Answer::Take),
            requests: 0,
            held: 0,
            taken: BTreeMap::new(),
            repeated: 0,
            last_headers: BTreeMap::new(),
        })));
        let listening = Listening::start(Arc::clone(&shared), tls);
        Self { shared, listening }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/firehose?token=hidden", self.listening.url())
    }

    pub(crate) fn obey(&self, script: impl FnMut(u64) -> Answer + Send + 'static) {
        self.state().script = Box::new(script);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.state().requests
    }

    pub(crate) fn held(&self) -> u64 {
        self.state().held
    }

    pub(crate) fn repeated(&self) -> u64 {
        self.state().repeated
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.state().last_headers.get(name).cloned()
    }

    /// All records that were taken, each request counted once, in order.
    pub(crate) fn records(&self) -> Vec<String> {
        let mut all: Vec<String> = self.state().taken.values().flatten().cloned().collect();
        all.sort_unstable();
        all
    }
}

impl Double for Shared {
    fn decide(&self, _path: &str) -> Answer {
        let mut state = self.0.lock().unwrap();
        state.requests += 1;
        let number = state.requests - 1;
        let answer = (state.script)(number);
        state.held += u64::from(answer == Answer::Hold);
        answer
    }

    fn reply(&self, asked: Asked, answer: Answer) -> Option<(u16, Value)> {
        let id = asked.headers["x-amz-firehose-request-id"].clone();
        let told = json!({ "requestId": id, "timestamp": 1_578_090_903_599_u64, "errorMessage": "as told" });
        if let Some(status) = answer.refusal() {
            return Some((status, told));
        }
        let records = records(&asked, &id);
        let mut state = self.0.lock().unwrap();
        state.last_headers = asked.headers;
        state.held += u64::from(answer == Answer::TakeAndHold);
        if let Some(before) = state.taken.insert(id, records.clone()) {
            assert_eq!(before, records, "an id stands for exactly its records");
            state.repeated += 1;
        }
        (answer == Answer::Take).then_some((200, told))
    }
}

/// The records of a request, by what it says that it holds; of `raw` all of them in one piece.
fn records(asked: &Asked, id: &str) -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match asked.headers["content-type"].as_str() {
        "application/x-ndjson" => text(asked.body.clone()).lines().map(str::to_owned).collect(),
        "application/octet-stream" => vec![text(asked.body.clone())],
        _ => match serde_json::from_slice(&asked.body).unwrap() {
            Value::Array(all) => all.iter().map(Value::to_string).collect(),
            request => {
                assert_eq!(request["requestId"], id);
                let data = |record: &Value| STANDARD.decode_to_vec(record["data"].as_str().unwrap()).unwrap();
                request["records"].as_array().unwrap().iter().map(data).map(text).collect()
            }
        },
    }
}
