//! The load: connections that put one after the other, as fast as they are answered or at a fixed pace.
//!
//! A thread per connection and blocking sockets: on a machine that the generator shares with what it measures, nothing
//! is cheaper.

use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::records::{self, Shape};
use crate::request::{Payload, Request};

/// Bodies that differ. The compressors' windows see the same one again only after many megabytes.
const BODIES: usize = 64;
/// How long a connection waits after a refusal, as an SDK would.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// The bodies of a shape, with their hashes.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) shape: Shape,
    payloads: Arc<Vec<Arc<Payload>>>,
}

impl Pool {
    pub(crate) fn new(shape: Shape) -> Self {
        let payloads = records::bodies(shape, BODIES).into_iter().map(|body| Arc::new(Payload::new(body)));
        Self { shape, payloads: Arc::new(payloads.collect()) }
    }
}

/// An answered put.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was answered, since the load began.
    pub(crate) at: Duration,
    /// From its first byte, or from when it was due at a fixed pace, to the last byte of its answer.
    pub(crate) took: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    stop: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
}

/// A running load.
#[derive(Debug)]
pub(crate) struct Load {
    began: Instant,
    counters: Arc<Counters>,
    connections: Vec<JoinHandle<Result<Vec<Sample>>>>,
    shape: Shape,
}

impl Load {
    /// Puts to `endpoint` over `connections` connections; `pace` is in puts a second, all connections together.
    pub(crate) fn start(endpoint: &str, pool: &Pool, connections: usize, pace: Option<f64>) -> Self {
        let host = endpoint.trim_start_matches("http://").to_owned();
        let (began, counters) = (Instant::now(), Arc::new(Counters::default()));
        let every = pace.map(|pace| Duration::from_secs_f64(connections as f64 / pace));
        let start = |number: usize| {
            let share = pool.payloads.iter().skip(number).step_by(connections).chain(pool.payloads.first());
            let mut connection = Connection {
                requests: share.map(|payload| Request::new(&host, Arc::clone(payload))).collect(),
                host: host.clone(),
                number: number as u64,
                began,
                first: every.unwrap_or_default().mul_f64(number as f64 / connections as f64),
                every,
                counters: Arc::clone(&counters),
            };
            thread::spawn(move || connection.run())
        };
        let connections = (0..connections).map(start).collect();
        Self { began, connections, shape: pool.shape, counters: Arc::clone(&counters) }
    }

    /// The time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The bytes of record data that were accepted so far.
    pub(crate) fn accepted_bytes(&self) -> u64 {
        self.counters.answered.load(Ordering::Relaxed) * self.shape.put_bytes()
    }

    /// The puts that were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.counters.refused.load(Ordering::Relaxed)
    }

    /// Ends it and gives every answered put, in no order.
    ///
    /// # Errors
    /// When a connection broke.
    pub(crate) fn stop(self) -> Result<Vec<Sample>> {
        self.counters.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for connection in self.connections {
            match connection.join() {
                Ok(samples) => all.extend(samples?),
                Err(_) => bail!("a connection's thread panicked"),
            }
        }
        Ok(all)
    }
}

struct Connection {
    requests: Vec<Request>,
    host: String,
    number: u64,
    began: Instant,
    first: Duration,
    every: Option<Duration>,
    counters: Arc<Counters>,
}

impl Connection {
    fn run(&mut self) -> Result<Vec<Sample>> {
        let mut stream = TcpStream::connect(&self.host).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let (mut samples, mut head, mut answer) = (Vec::new(), Vec::new(), vec![0; 256 << 10]);
        let mut due = self.began + self.first;
        for turn in 0.. {
            if self.every.is_some() {
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            if self.counters.stop.load(Ordering::Relaxed) {
                break;
            }
            let index = turn as usize % self.requests.len();
            let request = &mut self.requests[index];
            request.head(self.number << 40 | turn, &mut head)?;
            let sent = if self.every.is_some() { due } else { Instant::now() };
            send(&mut stream, &head, request.body())?;
            let status = receive(&mut stream, &mut answer)?;
            due += self.every.unwrap_or_default();
            match status {
                200 => {
                    self.counters.answered.fetch_add(1, Ordering::Relaxed);
                    samples.push(Sample { at: self.began.elapsed(), took: sent.elapsed() });
                }
                // Too much at once, or no room: the client is to come back.
                500 | 503 => {
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(AFTER_REFUSAL);
                }
                status => {
                    bail!("a put was answered with {status}: {}", String::from_utf8_lossy(&answer[..600]))
                }
            }
        }
        Ok(samples)
    }
}

fn send(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> Result<()> {
    let mut slices = [IoSlice::new(head), IoSlice::new(body)];
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(0) => bail!("the daemon takes no more bytes"),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("send a put"),
        }
    }
    Ok(())
}

/// Reads a whole answer and returns its status.
fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<u16> {
    let mut filled = 0;
    let mut end = usize::MAX;
    let mut status = 0;
    while filled < end {
        let read = stream.read(&mut buffer[filled..]).context("read an answer")?;
        ensure!(read > 0, "the daemon hung up in an answer");
        filled += read;
        if end == usize::MAX
            && let Some(head) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n")
        {
            let text = std::str::from_utf8(&buffer[..head])?;
            status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
            end = head + 4 + content_length(text).context("an answer without a length")?;
        }
    }
    Ok(status)
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_whatever_its_case() {
        assert_eq!(content_length("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nA: b"), Some(12));
        assert_eq!(content_length("HTTP/1.1 200 OK\r\ncontent-length:3"), Some(3));
        assert_eq!(content_length("HTTP/1.1 200 OK"), None);
    }
}
