//! A client of the Firehose API that shows every answer and retries nothing, for what the SDKs would hide.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64_simd::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use standpipe_testkit::Daemon;

/// Signs for a daemon's default credentials.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: String,
}

/// A request that can be sent more than once, byte for byte.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) bytes: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The error's name.
    pub(crate) fn error(&self) -> &str {
        self.body["__type"].as_str().and_then(|name| name.rsplit('#').next()).unwrap_or_default()
    }

    /// The ids of a batch's records.
    pub(crate) fn record_ids(&self) -> Vec<String> {
        let entries = self.body["RequestResponses"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        entries.iter().map(|entry| entry["RecordId"].as_str().unwrap().to_owned()).collect()
    }
}

/// The body of a `PutRecordBatch`.
pub(crate) fn batch_of(stream: &str, records: impl IntoIterator<Item = Vec<u8>>) -> Bytes {
    let records: Vec<_> = records
        .into_iter()
        .map(|data| format!("{{\"Data\":\"{}\"}}", STANDARD.encode_to_string(data)))
        .collect();
    format!("{{\"DeliveryStreamName\":\"{stream}\",\"Records\":[{}]}}", records.join(",")).into()
}

impl Client {
    pub(crate) fn of(daemon: &Daemon) -> Self {
        Self { address: daemon.endpoint().trim_start_matches("http://").to_owned() }
    }

    /// A client of whatever listens at `address`.
    pub(crate) fn at(address: impl ToString) -> Self {
        Self { address: address.to_string() }
    }

    /// Where it sends to, as `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Signs a request, with an invocation id where one is given.
    pub(crate) fn sign(&self, operation: &str, body: &Bytes, invocation: Option<&str>) -> Signed {
        let identity =
            Credentials::new(Daemon::ACCESS_KEY_ID, Daemon::SECRET_ACCESS_KEY, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("firehose")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let target = format!("Firehose_20150804.{operation}");
        let mut headers = vec![
            ("host", self.address.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        headers.extend(invocation.map(|id| ("amz-sdk-invocation-id", id)));
        let uri = format!("http://{}/", self.address);
        let request =
            SignableRequest::new("POST", &uri, headers.iter().copied(), SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let mut bytes = b"POST / HTTP/1.1\r\n".to_vec();
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            write!(bytes, "{name}: {value}\r\n").unwrap();
        }
        write!(bytes, "content-length: {}\r\n\r\n", body.len()).unwrap();
        bytes.extend_from_slice(body);
        Signed { bytes }
    }

    /// Signs, sends and reads the answer.
    pub(crate) fn call(&self, operation: &str, body: Bytes) -> Answer {
        self.send(&self.sign(operation, &body, None))
    }

    /// Sends over a connection of its own.
    pub(crate) fn send(&self, request: &Signed) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        exchange(&mut stream, request)
    }
}

/// One request and its answer over a connection that is kept.
pub(crate) fn exchange(stream: &mut TcpStream, request: &Signed) -> Answer {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&request.bytes).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status =
        line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Answer { status, body: serde_json::from_slice(&body).unwrap_or_default() }
}
