//! Signed requests, made before they are needed: sending one costs two system calls and no hashing.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use sha2::{Digest, Sha256};
use standpipe_testkit::Daemon;

/// How old a signature gets. The daemon takes five minutes.
const SIGNATURE_LIFE: Duration = Duration::from_secs(120);

/// A body with its hash, shared by all requests that send it.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    sha256: String,
}

impl Payload {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let sha256 = hex::encode(Sha256::digest(&bytes));
        Self { bytes, sha256 }
    }
}

/// A request whose head is signed again when it gets old.
#[derive(Debug)]
pub(crate) struct Request {
    payload: Arc<Payload>,
    host: String,
    /// Everything but the invocation id and the empty line.
    signed: String,
    signed_at: SystemTime,
}

impl Request {
    /// A request to `host` (`address:port`).
    pub(crate) fn new(host: &str, payload: Arc<Payload>) -> Self {
        let signed_at = SystemTime::UNIX_EPOCH;
        Self { payload, host: host.to_owned(), signed: String::new(), signed_at }
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.payload.bytes
    }

    /// Writes the head for the call `invocation` into `head`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn head(&mut self, invocation: u64, head: &mut Vec<u8>) -> Result<()> {
        let now = SystemTime::now();
        if now.duration_since(self.signed_at).is_ok_and(|age| age > SIGNATURE_LIFE) {
            self.sign(now)?;
        }
        head.clear();
        head.extend_from_slice(self.signed.as_bytes());
        // As the SDKs' ids: new for every call, so that no put is taken for one that came before.
        head.extend_from_slice(format!("amz-sdk-invocation-id: {invocation:032x}\r\n\r\n").as_bytes());
        Ok(())
    }

    fn sign(&mut self, now: SystemTime) -> Result<()> {
        let headers = [
            ("host", self.host.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "Firehose_20150804.PutRecordBatch"),
        ];
        let key = (Daemon::ACCESS_KEY_ID, Daemon::SECRET_ACCESS_KEY);
        let identity = Credentials::from_keys(key.0, key.1, None).into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("firehose")
            .time(now)
            .settings(SigningSettings::default())
            .build()?
            .into();
        let uri = format!("http://{}/", self.host);
        let body = SignableBody::Precomputed(self.payload.sha256.clone());
        let signable = SignableRequest::new("POST", &uri, headers.into_iter(), body)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        self.signed = "POST / HTTP/1.1\r\n".to_owned();
        for (name, value) in headers.into_iter().chain(instructions.headers()) {
            self.signed.extend([name, ": ", value, "\r\n"]);
        }
        self.signed.push_str(&format!("content-length: {}\r\n", self.payload.bytes.len()));
        self.signed_at = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_signed_once_and_told_apart_by_its_invocation() {
        let mut request = Request::new("127.0.0.1:1", Arc::new(Payload::new(b"{}".to_vec())));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        request.head(1, &mut one).unwrap();
        request.head(2, &mut two).unwrap();
        assert_ne!(one, two);
        let text = String::from_utf8(one).unwrap();
        assert!(text.starts_with("POST / HTTP/1.1\r\n") && text.ends_with("1\r\n\r\n"), "{text}");
        assert_eq!(text.matches("AWS4-HMAC-SHA256").count(), 1, "{text}");
        assert!(text.contains("content-length: 2\r\n"), "{text}");
    }
}
