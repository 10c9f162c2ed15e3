//! What the doubles of HTTP servers have in common: connections that are kept, requests read whole, answers as told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::Value;

use crate::support::SOON;

/// A request's path with its query, its headers by lower-case name, and its body, unpacked.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

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

/// What a double does. `decide` is asked as soon as a request's head is there, `reply` when all of it is: a status and a
/// body, or `None` to end the connection.
pub(crate) trait Double: Send + Sync + 'static {
    fn decide(&self, path: &str) -> Answer;
    fn reply(&self, asked: Asked, answer: Answer) -> Option<(u16, Value)>;
}

/// Starts a double on a free port; its threads end with the test.
pub(crate) fn start(double: Arc<impl Double>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let double = Arc::clone(&double);
            thread::spawn(move || while serve(&stream, &*double).is_some() {});
        }
    });
    port
}

/// Answers one request; `None` when the connection ends.
fn serve(mut stream: &TcpStream, double: &impl Double) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let answer = double.decide(&path);
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    if answer == Answer::HangUp {
        reader.read_exact(&mut body[..length / 2]).ok()?;
        return None;
    }
    reader.read_exact(&mut body).ok()?;
    if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let (status, body) = double.reply(Asked { path, headers, body }, answer)?;
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

/// A double that keeps its answers back until it is told to give them, and knows who waits.
pub(crate) struct Held {
    answer: Value,
    /// Whether it answers, and how many wait.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Held {
    /// One that will answer so; and its port.
    pub(crate) fn start(answer: Value) -> (Arc<Self>, u16) {
        let held = Arc::new(Self { answer, state: Mutex::default(), changed: Condvar::new() });
        let port = start(Arc::clone(&held));
        (held, port)
    }

    /// Whether it answers from now on.
    pub(crate) fn answer(&self, answers: bool) {
        self.state.lock().unwrap().0 = answers;
        self.changed.notify_all();
    }

    /// Waits until so many wait at once.
    pub(crate) fn waits_for(&self, waiting: usize) {
        let state = self.state.lock().unwrap();
        let (_state, late) =
            self.changed.wait_timeout_while(state, SOON, |(_, found)| *found < waiting).unwrap();
        assert!(!late.timed_out(), "{waiting} did not wait at once");
    }
}

impl Double for Held {
    fn decide(&self, _path: &str) -> Answer {
        Answer::Take
    }

    fn reply(&self, _asked: Asked, _answer: Answer) -> Option<(u16, Value)> {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |(answers, _)| !*answers).unwrap();
        state.1 -= 1;
        Some((200, self.answer.clone()))
    }
}
