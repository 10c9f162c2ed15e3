//! A double of an HTTP endpoint: it speaks Firehose's delivery protocol, keeps what it took by request id, and fails as
//! told. A real third party's receiver takes part in `endpoints.rs`, too; but none fails on request.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use base64_simd::STANDARD;
use serde_json::{Value, json};

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is taken.
    Take,
    /// It is taken, but its answer is lost with the connection.
    TakeAndHangUp,
    /// The connection ends in the middle of the request.
    HangUp,
    /// It is refused with a status.
    Status(u16),
}

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

/// A running receiver; its thread ends with the test.
pub(crate) struct Receiver {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            script: Box::new(|_| Answer::Take),
            requests: 0,
            taken: BTreeMap::new(),
            repeated: 0,
            last_headers: BTreeMap::new(),
        }));
        let of_threads = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&of_threads);
                thread::spawn(move || while serve(&stream, &state).is_some() {});
            }
        });
        Self { state, port }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
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

/// Answers one request; `None` when the connection ends.
fn serve(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        let number = state.requests - 1;
        (state.script)(number)
    };
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    if answer == Answer::HangUp {
        let half = body.len() / 2;
        reader.read_exact(&mut body[..half]).ok()?;
        return None;
    }
    reader.read_exact(&mut body).ok()?;
    if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let id = request["requestId"].as_str().unwrap().to_owned();
    assert_eq!(headers.get("x-amz-firehose-request-id"), Some(&id));
    let status = match answer {
        Answer::Status(status) => status,
        _ => 200,
    };
    if status == 200 {
        let records = request["records"].as_array().unwrap().iter().map(|record| {
            let data = STANDARD.decode_to_vec(record["data"].as_str().unwrap()).unwrap();
            String::from_utf8(data).unwrap()
        });
        let records: Vec<String> = records.collect();
        let mut state = state.lock().unwrap();
        state.last_headers = headers;
        if let Some(before) = state.taken.insert(id.clone(), records.clone()) {
            assert_eq!(before, records, "an id stands for exactly its records");
            state.repeated += 1;
        }
    }
    if answer == Answer::TakeAndHangUp {
        return None;
    }
    let body =
        json!({ "requestId": id, "timestamp": 1_578_090_903_599_u64, "errorMessage": "as told" }).to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}
