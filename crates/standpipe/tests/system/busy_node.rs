//! What stands before a node of OpenSearch and turns away a part of each bulk with 429 for each document, as a node under
//! pressure may; the real one does so for whole bulks only, unless its shards are on several machines.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use standpipe_testkit::servers::OpenSearch;

use crate::client::{Client, Signed};
use crate::double::{Answer, Asked, Double, Listening};

struct Shared {
    node: Client,
    /// The ids of documents that were turned away, each once.
    turned_away: Mutex<BTreeSet<String>>,
    passed: Mutex<BTreeSet<String>>,
}

/// A node that is busy at times.
pub(crate) struct BusyNode {
    shared: Arc<Shared>,
    pub(crate) listening: Listening,
}

impl BusyNode {
    pub(crate) fn before(node: &OpenSearch) -> Self {
        let node = Client::at(node.address());
        let shared = Arc::new(Shared { node, turned_away: Mutex::default(), passed: Mutex::default() });
        let listening = Listening::start(Arc::clone(&shared), None);
        Self { shared, listening }
    }

    pub(crate) fn turned_away(&self) -> u64 {
        self.shared.turned_away.lock().unwrap().len() as u64
    }
}

impl Double for Shared {
    fn decide(&self, _path: &str) -> Answer {
        Answer::Take
    }

    fn reply(&self, asked: Asked, _answer: Answer) -> Option<(u16, Value)> {
        let text = String::from_utf8(asked.body).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (mut bulk, mut taken) = (String::new(), Vec::new());
        for pair in lines.chunks(2) {
            let action: Value = serde_json::from_str(pair[0]).unwrap();
            let id = action["create"]["_id"].as_str().unwrap().to_owned();
            let is_third = id.split('.').nth(1).unwrap().parse::<u64>().unwrap().is_multiple_of(3);
            let takes = !is_third || !self.turned_away.lock().unwrap().insert(id.clone());
            if takes {
                assert!(self.passed.lock().unwrap().insert(id), "what was taken does not come again");
                writeln!(bulk, "{}\n{}", pair[0], pair[1]).unwrap();
            }
            taken.push(takes);
        }
        let mut said = self.forward(&asked.path, &bulk).into_iter();
        let busy = json!({ "create": { "status": 429, "error":
            { "type": "opensearch_rejected_execution_exception", "reason": "rejected" } } });
        let items: Vec<Value> =
            taken.into_iter().map(|takes| if takes { said.next().unwrap() } else { busy.clone() }).collect();
        Some((200, json!({ "errors": true, "items": items })))
    }
}

impl Shared {
    /// What the node says of each document.
    fn forward(&self, path: &str, bulk: &str) -> Vec<Value> {
        if bulk.is_empty() {
            return Vec::new();
        }
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            self.node.address(),
            bulk.len()
        );
        let answer = self.node.send(&Signed { bytes: (head + bulk).into_bytes() });
        answer.body["items"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone()
    }
}
