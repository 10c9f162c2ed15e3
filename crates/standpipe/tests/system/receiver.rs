//! A double of an HTTP endpoint: it speaks Firehose's delivery protocol, keeps what it took by request id, and fails as
//! told. A real third party's receiver takes part in `endpoints.rs`, too; but none fails on request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64_simd::STANDARD;
use serde_json::{Value, json};

use crate::double::{self, Answer, Asked, Double};

/// Answers the `n`-th request, from 0.
type Script = Box<dyn FnMut(u64) -> Answer + Send>;

struct State {
    script: Script,
    requests: u64,
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
    port: u16,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared(Mutex::new(State {
            script: Box::new(|_| Answer::Take),
            requests: 0,
            taken: BTreeMap::new(),
            repeated: 0,
            last_headers: BTreeMap::new(),
        })));
        let port = double::start(Arc::clone(&shared));
        Self { shared, port }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/firehose?token=hidden", self.port)
    }

    pub(crate) fn obey(&self, script: impl FnMut(u64) -> Answer + Send + 'static) {
        self.state().script = Box::new(script);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.state().requests
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
        (state.script)(number)
    }

    fn reply(&self, asked: Asked, answer: Answer) -> Option<(u16, Value)> {
        let request: Value = serde_json::from_slice(&asked.body).unwrap();
        let id = request["requestId"].as_str().unwrap().to_owned();
        assert_eq!(asked.headers.get("x-amz-firehose-request-id"), Some(&id));
        let told = json!({ "requestId": id, "timestamp": 1_578_090_903_599_u64, "errorMessage": "as told" });
        if let Answer::Status(status) = answer {
            return Some((status, told));
        }
        let records = request["records"].as_array().unwrap().iter().map(|record| {
            let data = STANDARD.decode_to_vec(record["data"].as_str().unwrap()).unwrap();
            String::from_utf8(data).unwrap()
        });
        let records: Vec<String> = records.collect();
        let mut state = self.0.lock().unwrap();
        state.last_headers = asked.headers;
        if let Some(before) = state.taken.insert(id, records.clone()) {
            assert_eq!(before, records, "an id stands for exactly its records");
            state.repeated += 1;
        }
        (answer == Answer::Take).then_some((200, told))
    }
}
