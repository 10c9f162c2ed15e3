//! What no SDK sends or shows, as it goes over the wire: the requests of `wire.yaml`, signed here, and their answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde::Deserialize;
use serde_json::Value;
use standpipe_testkit::Daemon;

use super::check::compare;
use super::{YAML, started, table};

/// One request and what comes back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    request: Request,
    status: u16,
    /// Headers besides those of every answer.
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    /// A structure is compared as JSON, anything else to the byte.
    answer: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default = "post")]
    method: String,
    #[serde(default = "root")]
    path: String,
    /// Names the target.
    operation: Option<String>,
    #[serde(default = "json_1_1")]
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: String,
    #[serde(default = "as_usual")]
    sign: Option<Signing>,
}

/// How a request is signed: all of its headers, with the daemon's first credentials, unless it says otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Signing {
    region: Option<String>,
    service: Option<String>,
    secret: Option<String>,
    /// How long ago.
    age_s: i64,
    /// Headers that are left out.
    unsigned: Vec<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "the default of a member that can be null")]
fn json_1_1() -> Option<String> {
    Some("application/x-amz-json-1.1".to_owned())
}

#[expect(clippy::unnecessary_wraps, reason = "the default of a member that can be null")]
fn as_usual() -> Option<Signing> {
    Some(Signing::default())
}

struct Answer {
    status: u16,
    /// By their names in lower case.
    headers: BTreeMap<String, String>,
    body: String,
}

impl Request {
    /// Sends it over a connection of its own.
    fn send(&self, address: &str) -> Answer {
        let mut headers = vec![
            ("Host".to_owned(), address.to_owned()),
            ("Content-Length".to_owned(), self.body.len().to_string()),
        ];
        headers.extend(self.content_type.iter().map(|kind| ("Content-Type".to_owned(), kind.clone())));
        let target = self.operation.iter().map(|operation| format!("Firehose_20150804.{operation}"));
        headers.extend(target.map(|target| ("X-Amz-Target".to_owned(), target)));
        headers.extend(self.headers.clone());
        if let Some(signing) = &self.sign {
            headers.extend(self.signature(signing, address, &headers));
        }
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path).unwrap();
        for (name, value) in headers {
            write!(stream, "{name}: {value}\r\n").unwrap();
        }
        write!(stream, "\r\n{}", self.body).unwrap();
        let mut bytes = String::new();
        stream.read_to_string(&mut bytes).unwrap();
        Answer::of(&bytes)
    }

    fn signature(
        &self,
        signing: &Signing,
        address: &str,
        headers: &[(String, String)],
    ) -> Vec<(String, String)> {
        let secret = signing.secret.as_deref().unwrap_or(Daemon::SECRET_ACCESS_KEY);
        let identity = Credentials::new(Daemon::ACCESS_KEY_ID, secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        let unsigned = signing.unsigned.iter().map(|name| name.to_lowercase().into());
        settings.excluded_headers = Some(unsigned.collect());
        let age = Duration::from_secs(signing.age_s.unsigned_abs());
        let now = SystemTime::now();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(signing.region.as_deref().unwrap_or("us-east-1"))
            .name(signing.service.as_deref().unwrap_or("firehose"))
            .time(if signing.age_s < 0 { now + age } else { now - age })
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let uri = format!("http://{address}{}", self.path);
        let signable = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body = SignableBody::Bytes(self.body.as_bytes());
        let request = SignableRequest::new(&self.method, &uri, signable, body).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    fn differences(&self, case: &Case) -> Vec<String> {
        let mut found = Vec::new();
        compare("the status", &case.status.into(), Some(&self.status.into()), &mut found);
        let header = |name: &str| self.headers.get(name).map(|value| Value::from(value.as_str()));
        for (name, expected) in &case.headers {
            compare(name, expected, header(name).as_ref(), &mut found);
        }
        for (name, pattern) in [("x-amzn-requestid", "[0-9a-f-]{36}"), ("date", "[A-Z][a-z]{2}, .* GMT")] {
            let expected = serde_json::json!({ "$matches": pattern });
            compare(name, &expected, header(name).as_ref(), &mut found);
        }
        let is_structure =
            case.answer.as_object().is_some_and(|members| members.keys().all(|name| !name.starts_with('$')));
        let body = match serde_json::from_str(&self.body) {
            Ok(body) if is_structure => body,
            _ => Value::from(self.body.as_str()),
        };
        compare("the body", &case.answer, Some(&body), &mut found);
        found
    }
}

#[test]
fn what_no_sdk_sends_is_answered_as_the_table_says() {
    let (daemon, _key) = started(YAML);
    let address = daemon.endpoint().trim_start_matches("http://").to_owned();
    let mut report = String::new();
    for case in table::read::<Case>("wire.yaml") {
        let found = case.request.send(&address).differences(&case);
        if !found.is_empty() {
            report += &format!("\n{}\n  {}\n", case.case, found.join("\n  "));
        }
    }
    assert!(report.is_empty(), "{report}");
}
