//! A plain HTTP/1.1 client for readiness checks and small admin APIs: one request, one connection, whole answer.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines as sent, without the status line.
    pub headers: String,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl Reply {
    /// Whether the status says success.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Gets `url` (`http://host:port/path`), waiting at most two seconds for each part of the answer.
///
/// # Errors
/// When the server cannot be reached or does not speak HTTP.
pub fn http_get(url: &str) -> Result<Reply> {
    http_send("GET", url, "")
}

/// Sends `body` to `url` with the given method, as JSON.
///
/// # Errors
/// When the server cannot be reached or does not speak HTTP.
pub fn http_send(method: &str, url: &str, body: &str) -> Result<Reply> {
    http_call(method, url, &[("Content-Type", "application/json")], body)
}

/// Sends `body` to `url` with the given method and headers.
///
/// # Errors
/// When the server cannot be reached or does not speak HTTP.
pub(crate) fn http_call(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Result<Reply> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not an http:// address"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let patience = Duration::from_secs(2);
    let address =
        authority.to_socket_addrs()?.next().with_context(|| format!("no address for {authority}"))?;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // HTTP/1.0 keeps servers from chunking the answer and from holding the connection open.
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} /{path} HTTP/1.0\r\nHost: {authority}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| anyhow!("{url} did not answer in HTTP: {} bytes", answer.len()))
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let (status_line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let status = status_line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let body = String::from_utf8_lossy(&answer[end + 4..]).into_owned();
    Some(Reply { status, headers: headers.to_owned(), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let reply = parse(b"HTTP/1.1 204 No Content\r\nA: b\r\nC: d\r\n\r\nrest").expect("well formed");
        assert_eq!(
            (reply.status, reply.headers.as_str(), reply.body.as_str()),
            (204, "A: b\r\nC: d", "rest")
        );
        assert_eq!(parse(b"nonsense"), None);
    }
}
