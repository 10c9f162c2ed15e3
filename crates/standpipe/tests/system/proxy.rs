//! A double of a forward proxy: it carries plain requests and makes tunnels (`CONNECT`) for the one user whom it knows.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64_simd::STANDARD;

/// A running proxy; its threads end with the test.
pub(crate) struct ForwardProxy {
    address: String,
    /// The first lines of what it was asked and has carried.
    carried: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    pub(crate) fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let known = format!("basic {}", STANDARD.encode_to_string(format!("{user}:{password}")));
        let carried = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&carried);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (known, log) = (known.clone(), Arc::clone(&log));
                thread::spawn(move || carry(client, &known, &log).ok());
            }
        });
        Self { address, carried }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn carried(&self) -> Vec<String> {
        self.carried.lock().unwrap().clone()
    }
}

/// Carries what comes over a connection, all of it to the host that its first request names.
fn carry(mut client: TcpStream, known: &str, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let first = head.lines().next().unwrap_or_default().to_owned();
    let user = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then_some(value)
    });
    if !user.is_some_and(|user| user.eq_ignore_ascii_case(known)) {
        let answer =
            "HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        client.write_all(answer.as_bytes())?;
        // Whoever still sends must get the answer before the connection is reset.
        client.shutdown(Shutdown::Write)?;
        return io::copy(&mut reader, &mut io::sink()).map(drop);
    }
    let target = first.split(' ').nth(1).unwrap_or_default();
    let host = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let mut server = TcpStream::connect(host)?;
    log.lock().unwrap().push(first.clone());
    if first.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 X\r\n\r\n")?;
    } else {
        server.write_all(head.as_bytes())?;
    }
    let (mut back, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut back, &mut to).ok();
        to.shutdown(Shutdown::Both).ok();
    });
    io::copy(&mut reader, &mut server)?;
    server.shutdown(Shutdown::Both)
}
