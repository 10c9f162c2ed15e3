//! Connections and limits: chunked, oversized and slow bodies, the budget, keep-alive, stopping.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Call, Memory, Sender, Server, batch, single};
use standpipe_ingest::Options;

fn options() -> Options {
    Options {
        body_timeout: Duration::from_millis(200),
        head_timeout: Duration::from_millis(300),
        body_budget_wait: Duration::from_millis(100),
        ..Options::default()
    }
}

/// Writes raw bytes; returns what comes back until the server closes.
async fn raw(server: &Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    read_all(&mut stream).await
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

/// The head of a call that is signed, with `framing` in place of its length.
fn head(call: Call, framing: &str) -> Vec<u8> {
    let request = call.into_request();
    let mut text = "POST / HTTP/1.1\r\n".to_owned();
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    (text + framing + "\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn chunked_bodies_are_read() {
    let server = Server::start().await;
    let body = batch("s", &vec![vec![b'x'; 10_000]; 30]).to_string();
    let call = Call::new("PutRecordBatch", body.clone());
    let mut request = head(call, "transfer-encoding: chunked\r\nconnection: close");
    for chunk in body.as_bytes().chunks(7001) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = raw(&server, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"FailedPutCount\":0"), "{answer}");
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_unread() {
    let server = Server::start().await;
    let answer = raw(&server, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10485761\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: 0") && answer.contains("connection: close"), "{answer}");

    let small = Server::start_with(Memory::default(), Options { body_max: 1000, ..Options::default() }).await;
    let mut chunked = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n".to_vec();
    chunked.extend([b'x'; 1001]);
    chunked.extend(b"\r\n0\r\n\r\n");
    let answer = raw(&small, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_slow_body_is_cut_off_and_gives_its_budget_back() {
    let server = Server::start_with(Memory::default(), options()).await;
    let free = server.frontend.body_budget_available();
    let answer = raw(&server, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("RequestTimeoutException"), "{answer}");
    assert_eq!(server.frontend.body_budget_available(), free);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Server::start_with(Memory::default(), options()).await;
    for beginning in ["", "P", "POST / HTTP/1.1\r\nhost:", "PRI * HTTP/2.0\r\n"] {
        let answer = raw(&server, beginning.as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{beginning} {answer}");
    }
    assert_eq!(server.frontend.connections_open(), 0);
}

#[tokio::test]
async fn puts_beyond_the_budget_are_told_to_slow_down_until_it_is_free_again() {
    let options = Options { body_max: 1 << 20, body_budget: 1 << 20, ..options() };
    let server = Server::start_with(Memory::default(), options).await;
    let large = |stream| Call::new("PutRecord", single(stream, &vec![0; 500_000]).to_string());
    let held = server.send(large("held"));
    let tests = async {
        server.memory.begun.notified().await;
        server.send(large("s")).await.is_error(503, "ServiceUnavailableException", "Slow down.");
        assert_eq!(server.call("PutRecord", &single("s", b"small")).await.status, 200);
        server.memory.release.notify_one();
    };
    let (held, ()) = tokio::join!(held, tests);
    assert_eq!(held.status, 200);
    assert_eq!(server.send(large("s")).await.status, 200);
    assert_eq!(server.frontend.body_budget_available(), 1 << 20);
}

#[tokio::test]
async fn one_connection_takes_many_requests() {
    let server = Server::start().await;
    let mut sender = Sender::over(TcpStream::connect(server.address).await.unwrap(), false).await;
    for stream in ["s", "gone", "s"] {
        let request = Call::new("PutRecord", single(stream, b"x").to_string()).into_request();
        assert_eq!(sender.send(request).await.unwrap().status == 200, stream == "s");
    }
    assert_eq!(server.frontend.connections_open(), 1);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server =
        Server::start_with(Memory::default(), Options { connections_max: 1, ..Options::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\n\r\n").await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    read_all(&mut first).await;
    drop(first);
    idle.write_all(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(read_all(&mut idle).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn stopping_lets_a_put_in_flight_finish() {
    for http2 in [false, true] {
        let server = Server::start().await;
        let call = Call { http2, ..Call::new("PutRecord", single("held", b"x").to_string()) };
        let stopping = async {
            server.memory.begun.notified().await;
            server.stop.cancel();
            while TcpStream::connect(server.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            server.memory.release.notify_one();
        };
        let (answer, ()) = tokio::join!(server.send(call), stopping);
        assert_eq!(answer.status, 200, "{http2}");
        server.serving.await.unwrap();
    }
}

#[tokio::test]
async fn stopping_ends_at_its_deadline() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = single("held", b"x").to_string();
    let mut request = head(Call::new("PutRecord", body.clone()), &format!("content-length: {}", body.len()));
    request.extend(body.bytes());
    stream.write_all(&request).await.unwrap();
    server.memory.begun.notified().await;
    server.stop.cancel();
    server.serving.await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}
