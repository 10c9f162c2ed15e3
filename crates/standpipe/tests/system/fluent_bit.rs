//! Fluent Bit's plugin `kinesis_firehose`, to the byte: its headers in their order and case, its signature (which covers
//! `User-Agent` and `Content-Length`), its framing and its reading of answers, over TLS. Recorded from Fluent Bit 5.1.1.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64_simd::STANDARD;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use standpipe_testkit::{Authority, Daemon};

use crate::lake::Lake;
use crate::support::{SOON, all_settled, flights_file, start};
use crate::tls::Files;

/// The most records that the plugin puts at once.
const EVENTS_PER_PUT: usize = 500;

/// The plugin with a connection that it keeps.
struct Plugin {
    host: String,
    stream_name: &'static str,
    secret: &'static str,
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

/// An answer as the plugin sees it.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Plugin {
    /// Connects as OpenSSL does for it: without ALPN.
    fn connect(daemon: &Daemon, authority: &Authority) -> Self {
        let pem = authority.certificate();
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let host = daemon.endpoint().replace("https://127.0.0.1", "localhost");
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(&host).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let stream = BufReader::new(StreamOwned::new(tls, socket));
        Self { host, stream_name: "s", secret: Daemon::SECRET_ACCESS_KEY, stream }
    }

    /// The body: each record ends with a line feed before it is encoded.
    fn body(&self, records: &[String]) -> String {
        let record =
            |record| format!("{{\"Data\":\"{}\"}}", STANDARD.encode_to_string(format!("{record}\n")));
        let records: Vec<_> = records.iter().map(record).collect();
        format!("{{\"DeliveryStreamName\":\"{}\",\"Records\":[{}]}}", self.stream_name, records.join(","))
    }

    /// The head, signed over everything in it but `Connection`.
    fn head(&self, body: &str) -> String {
        let mut settings = SigningSettings::default();
        settings.excluded_headers = None;
        let identity = Credentials::new(Daemon::ACCESS_KEY_ID, self.secret, None, None, "test").into();
        let params = v4::SigningParams::builder().identity(&identity).region("eu-central-1").name("firehose");
        let params = params.time(SystemTime::now()).settings(settings).build().unwrap().into();
        let length = body.len().to_string();
        let headers = [
            ("Host", self.host.as_str()),
            ("Content-Length", &length),
            ("User-Agent", "aws-fluent-bit-plugin"),
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Target", "Firehose_20150804.PutRecordBatch"),
        ];
        let uri = format!("https://{}/", self.host);
        let signable = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", &uri, headers.into_iter(), signable).unwrap();
        let (signed, _) = sign(request, &params).unwrap().into_parts();
        let of = |name| signed.headers().find(|(found, _)| *found == name).unwrap().1;
        let covered = "SignedHeaders=content-length;content-type;host;user-agent;x-amz-date;x-amz-target,";
        assert!(of("authorization").contains(covered), "{}", of("authorization"));
        let given: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "POST / HTTP/1.1\r\n{given}x-amz-date: {}\r\nAuthorization: {}\r\nConnection: keep-alive\r\n\r\n",
            of("x-amz-date"),
            of("authorization")
        )
    }

    /// Sends head and body one after the other, and reads the answer by its `Content-Length`.
    fn put(&mut self, records: &[String]) -> Answer {
        let body = self.body(records);
        let head = self.head(&body);
        for part in [head, body] {
            self.stream.get_mut().write_all(part.as_bytes()).unwrap();
            self.stream.get_mut().flush().unwrap();
        }
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let status = line.strip_prefix("HTTP/1.1 ").unwrap().get(..3).unwrap().parse().unwrap();
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            assert!(!name.eq_ignore_ascii_case("connection"), "the connection is kept: {line}");
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse().unwrap());
            }
        }
        let mut body = vec![0; length.expect("an answer has a length")];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status, body: String::from_utf8(body).unwrap() }
    }
}

/// Log records as `in_tail` makes them of JSON lines, with the plugin's `time_key`.
fn records() -> Vec<String> {
    let lines = std::fs::read_to_string(flights_file()).unwrap();
    let record = |(id, line): (usize, &str)| {
        format!("{{\"id\":{id},{},\"time\":\"2026-11-28T16:12:17\"}}", &line[1..line.len() - 1])
    };
    lines.lines().enumerate().map(record).collect()
}

#[test]
fn what_fluent_bit_sends_over_tls_is_taken_as_it_expects_and_arrives_once() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let files = Files::of(&authority);
    let daemon = start(files.yaml(&lake, ""));
    let mut plugin = Plugin::connect(&daemon, &authority);
    let records = records();
    for batch in records.chunks(EVENTS_PER_PUT) {
        let answer = plugin.put(batch);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("\"FailedPutCount\":0"), "it looks for these very bytes: {answer:?}");
    }
    all_settled(&daemon, "s", SOON);
    lake.assert_rows("lake", records.len() as u64, |_| 1..=1);
}

#[test]
fn what_fluent_bit_is_refused_names_its_error_where_it_looks_and_keeps_the_connection() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let files = Files::of(&authority);
    let daemon = start(files.yaml(&lake, ""));
    let mut plugin = Plugin::connect(&daemon, &authority);
    let record = ["{\"id\":0}".to_owned()];
    for (stream_name, secret, error) in [
        ("none", Daemon::SECRET_ACCESS_KEY, "ResourceNotFoundException"),
        ("s", "wrong", "InvalidSignatureException"),
    ] {
        (plugin.stream_name, plugin.secret) = (stream_name, secret);
        let answer = plugin.put(&record);
        assert!(answer.body.contains(&format!("\"__type\":\"{error}\"")), "{answer:?}");
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    (plugin.stream_name, plugin.secret) = ("s", Daemon::SECRET_ACCESS_KEY);
    assert_eq!(plugin.put(&record).status, 200);
    assert_eq!(all_settled(&daemon, "s", SOON).accepted, 1);
}
