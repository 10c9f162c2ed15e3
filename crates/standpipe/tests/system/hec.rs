//! A double of Splunk's HTTP Event Collector, made after its specification: no registry has the real one. It takes
//! events, acknowledges them when told, and knows one token.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rustls::ServerConfig;
use serde_json::{Deserializer, Value, json};

use crate::double::{Answer, Asked, Double, Listening};

const HEALTH: &str = "/services/collector/health";
pub(crate) const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

struct State {
    /// How the next requests are answered, then they are taken.
    script: Box<dyn Iterator<Item = Answer> + Send>,
    /// How many requests wait for an answer or an acknowledgement that does not come, or did.
    held: u64,
    /// How often it was asked for acknowledgements.
    asked: u64,
    /// Whether what was taken is acknowledged.
    indexing: bool,
    token: String,
    /// Whether it gives what to ask for acknowledgements with, and answers who asks.
    acknowledging: bool,
    /// Events with one of these ids are invalid, which only the collector knows.
    invalid: Vec<u64>,
    next_ack: u64,
    /// The events of each request, by its acknowledgement's number.
    taken: BTreeMap<u64, Vec<Value>>,
    channels: Vec<String>,
}

struct Shared(Mutex<State>);

/// A running double.
pub(crate) struct Hec {
    shared: Arc<Shared>,
    pub(crate) listening: Listening,
}

impl Hec {
    pub(crate) fn start() -> Self {
        Self::secured(None)
    }

    /// Over TLS, where that is given.
    pub(crate) fn secured(tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Arc::new(Shared(Mutex::new(State {
            script: Box::new(std::iter::empty()),
            held: 0,
            asked: 0,
            indexing: true,
            token: TOKEN.to_owned(),
            acknowledging: true,
            invalid: Vec::new(),
            next_ack: 0,
            taken: BTreeMap::new(),
            channels: Vec::new(),
        })));
        let listening = Listening::start(Arc::clone(&shared), tls);
        Self { shared, listening }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        self.listening.url()
    }

    /// Answers the next requests so, and takes those after them.
    pub(crate) fn obey(&self, answers: impl IntoIterator<Item = Answer, IntoIter: Send + 'static>) {
        self.state().script = Box::new(answers.into_iter());
    }

    pub(crate) fn index(&self, indexing: bool) {
        self.state().indexing = indexing;
    }

    pub(crate) fn acknowledge(&self, acknowledging: bool) {
        self.state().acknowledging = acknowledging;
    }

    pub(crate) fn refuse(&self, ids: &[u64]) {
        self.state().invalid = ids.to_vec();
    }

    pub(crate) fn know(&self, token: &str) {
        self.state().token = token.to_owned();
    }

    /// Events of all requests that were taken, those of repeated requests too.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.state().taken.values().flatten().cloned().collect()
    }

    pub(crate) fn held(&self) -> u64 {
        self.state().held
    }

    pub(crate) fn asked(&self) -> u64 {
        self.state().asked
    }

    /// The channels that were named, each once.
    pub(crate) fn channels(&self) -> Vec<String> {
        let mut channels = self.state().channels.clone();
        channels.sort_unstable();
        channels.dedup();
        channels
    }
}

impl Double for Shared {
    fn decide(&self, path: &str) -> Answer {
        let mut state = self.0.lock().unwrap();
        if matches!(path, "/services/collector/ack" | HEALTH) {
            return Answer::Take;
        }
        let answer = state.script.next().unwrap_or(Answer::Take);
        state.held += u64::from(answer == Answer::Hold);
        answer
    }

    fn reply(&self, asked: Asked, answer: Answer) -> Option<(u16, Value)> {
        if asked.path == HEALTH {
            return Some((200, json!({ "text": "HEC is healthy", "code": 17 })));
        }
        let mut state = self.0.lock().unwrap();
        if asked.headers.get("authorization") != Some(&format!("Splunk {}", state.token)) {
            return Some((403, json!({ "text": "Invalid token", "code": 4 })));
        }
        let Some(channel) = asked.headers.get("x-splunk-request-channel") else {
            return Some((400, json!({ "text": "Data channel is missing", "code": 10 })));
        };
        state.channels.push(channel.clone());
        if asked.path == "/services/collector/ack" {
            state.asked += 1;
            if !state.acknowledging {
                return Some((400, json!({ "text": "ACK is disabled", "code": 14 })));
            }
            state.held += u64::from(!state.indexing);
            let request: Value = serde_json::from_slice(&asked.body).unwrap();
            let ids = request["acks"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
            let known = |id: u64| Value::Bool(state.indexing && state.taken.contains_key(&id));
            let acks: serde_json::Map<String, Value> = ids.map(|id| (id.to_string(), known(id))).collect();
            return Some((200, json!({ "acks": acks })));
        }
        if let Some(status) = answer.refusal() {
            return Some((status, json!({ "text": "Server is busy", "code": 9 })));
        }
        let events = match asked.path.as_str() {
            "/services/collector/raw" => vec![Value::String(String::from_utf8(asked.body).unwrap())],
            "/services/collector/event" => {
                let all = Deserializer::from_slice(&asked.body).into_iter::<Value>();
                let all: Vec<Value> = all.map(Result::unwrap).collect();
                if all.iter().any(|event| event["index"].as_str().is_some_and(|index| index != "main")) {
                    return Some((400, json!({ "text": "Incorrect index", "code": 7 })));
                }
                all.into_iter().map(|mut event| event["event"].take()).collect()
            }
            other => panic!("{other}"),
        };
        let is_invalid = |event: &Value| event["id"].as_u64().is_some_and(|id| state.invalid.contains(&id));
        if let Some(number) = events.iter().position(is_invalid) {
            let told = json!({ "text": "Invalid data format", "code": 6, "invalid-event-number": number });
            return Some((400, told));
        }
        let ack_id = state.next_ack;
        state.next_ack += 1;
        state.held += u64::from(answer == Answer::TakeAndHold);
        state.taken.insert(ack_id, events);
        let ack_id = state.acknowledging.then_some(ack_id);
        let taken = json!({ "text": "Success", "code": 0, "ackId": ack_id });
        (answer == Answer::Take).then_some((200, taken))
    }
}
