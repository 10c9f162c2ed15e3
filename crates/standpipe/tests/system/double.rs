//! What the doubles of HTTP servers have in common: connections that are kept, requests read whole, answers as told.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use standpipe_testkit::Authority;

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
    /// It is taken, and then nothing is said until the client goes.
    TakeAndHold,
    /// The connection ends in the middle of the request.
    HangUp,
    /// Nothing is kept nor said until the client goes.
    Hold,
    /// It is refused with a status.
    Status(u16),
    /// It is refused with a status, and may come again after so many seconds.
    Later(u16, u32),
}

impl Answer {
    /// The status of a refusal.
    pub(crate) fn refusal(self) -> Option<u16> {
        match self {
            Self::Status(status) | Self::Later(status, _) => Some(status),
            _ => None,
        }
    }
}

/// What a double does. `decide` is asked as soon as a request's head is there, `reply` when all of it is: a status and a
/// body, or `None` to end the connection.
pub(crate) trait Double: Send + Sync + 'static {
    fn decide(&self, path: &str) -> Answer;
    fn reply(&self, asked: Asked, answer: Answer) -> Option<(u16, Value)>;
}

/// Where a double listens; its threads end with the test.
pub(crate) struct Listening {
    port: u16,
    serve: Arc<dyn Fn(TcpStream) + Send + Sync>,
    /// The connections that there have been; `None` while nobody listens.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    scheme: &'static str,
}

impl Listening {
    /// Starts a double on a free port, over TLS where that is given.
    pub(crate) fn start(double: Arc<impl Double>, tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let serve = Arc::new(move |stream: TcpStream| match &tls {
            None => answer_all(stream, &*double),
            Some(config) => answer_secured(stream, Arc::clone(config), &*double),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let this = Self { port, serve, open: Arc::default(), accepting: Mutex::default(), scheme };
        this.accept(listener);
        this
    }

    fn accept(&self, listener: TcpListener) {
        *self.open.lock().unwrap() = Some(Vec::new());
        let (open, serve) = (Arc::clone(&self.open), Arc::clone(&self.serve));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(streams) = &mut *open.lock().unwrap() else { return };
                streams.push(stream.try_clone().unwrap());
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        *self.accepting.lock().unwrap() = Some(accepting);
    }

    /// `http://127.0.0.1:port`, or `https`.
    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Ends all connections and listens no longer.
    pub(crate) fn stop(&self) {
        for stream in self.open.lock().unwrap().take().unwrap() {
            stream.shutdown(Shutdown::Both).ok();
        }
        // It looks whether it is to go on when somebody comes.
        TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        self.accepting.lock().unwrap().take().unwrap().join().unwrap();
    }

    /// Listens again, on the same port.
    pub(crate) fn resume(&self) {
        self.accept(TcpListener::bind(("127.0.0.1", self.port)).unwrap());
    }
}

/// A server's part of TLS with a certificate of an authority, of which clients must have one, too, where it is `mutual`.
pub(crate) fn tls(authority: &Authority, mutual: bool) -> Arc<ServerConfig> {
    let issued = authority.server("double", Duration::from_hours(24)).unwrap();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority.certificate())).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        config.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_slice(issued.key().as_bytes()).unwrap();
    Arc::new(config.with_single_cert(vec![der(issued.certificate())], key).unwrap())
}

fn answer_all(mut stream: TcpStream, double: &impl Double) {
    while serve(&mut stream, double).is_some() {}
    // The end of one of its handles would not end the connection.
    stream.shutdown(Shutdown::Both).ok();
}

fn answer_secured(stream: TcpStream, config: Arc<ServerConfig>, double: &impl Double) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    if stream.conn.complete_io(&mut stream.sock).is_err() {
        // Who is told why has to get it before the connection is reset.
        stream.sock.shutdown(Shutdown::Write).ok();
        until_gone(&mut stream.sock);
    }
    while serve(&mut stream, double).is_some() {}
    stream.sock.shutdown(Shutdown::Both).ok();
}

fn until_gone(client: &mut impl Read) {
    io::copy(client, &mut io::sink()).ok();
}

/// Answers one request; `None` when the connection ends.
fn serve(stream: &mut (impl Read + Write), double: &impl Double) -> Option<()> {
    let mut reader = BufReader::new(&mut *stream);
    let (path, headers) = head(&mut reader)?;
    let answer = double.decide(&path);
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    match answer {
        Answer::HangUp => {
            reader.read_exact(&mut body[..length / 2]).ok()?;
            return None;
        }
        Answer::Hold => {
            until_gone(&mut reader);
            return None;
        }
        _ => reader.read_exact(&mut body).ok()?,
    }
    if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        body = plain;
    }
    let replied = double.reply(Asked { path, headers, body }, answer);
    if answer == Answer::TakeAndHold {
        until_gone(&mut reader);
    }
    let (status, body) = replied?;
    let body = body.to_string();
    let wait = match answer {
        Answer::Later(_, seconds) => format!("Retry-After: {seconds}\r\n"),
        _ => String::new(),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{wait}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()?;
    stream.flush().ok()
}

/// The path of a request and its headers; `None` when none comes.
fn head(reader: &mut impl io::BufRead) -> Option<(String, BTreeMap<String, String>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let target = line.split(' ').nth(1)?;
    // What comes by a proxy names the host as well.
    let path = match target.strip_prefix("http://") {
        Some(rest) => &rest[rest.find('/')?..],
        None => target,
    };
    let path = path.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    Some((path, headers))
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
        let port = Listening::start(Arc::clone(&held), None).port;
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
