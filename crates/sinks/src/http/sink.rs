//! One request to an HTTP endpoint.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Map, Value, json};
use standpipe_model::{Answer, ErrorClass, Request, RequestSink, SinkError};

use super::options::{HttpFormat, HttpOptions};
use super::request::{ANSWER_BYTES_MAX, Made, body, is_taken};
use crate::client::{
    BodyTrouble, ClientError, aside, coded, excerpt, gzip, read_body, retry_after, send, shown, unanswered,
};

/// An HTTP endpoint's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpOptionsError {
    /// It is no URL.
    #[error("the endpoint's URL cannot be used")]
    Url,
    /// A header's name or value has characters that headers cannot have.
    #[error("the header '{0}' cannot be sent")]
    Header(String),
    /// How it is reached.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The client of an HTTP endpoint. `Debug` shows its address only.
pub struct HttpSink {
    client: Client,
    url: Url,
    headers: HeaderMap,
    format: HttpFormat,
    gzip: bool,
    place: String,
}

impl Debug for HttpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink").field("place", &self.place).finish_non_exhaustive()
    }
}

impl HttpSink {
    /// A client of the endpoint; nothing is sent.
    ///
    /// # Errors
    /// [`HttpOptionsError`].
    pub fn new(options: &HttpOptions) -> Result<Self, HttpOptionsError> {
        let url = Url::parse(&options.url).map_err(|_| HttpOptionsError::Url)?;
        let place = shown(&url);
        let client = options.client.client()?;
        let (headers, format, gzip) = (headers(options)?, options.format, options.gzip);
        Ok(Self { client, url, headers, format, gzip, place })
    }

    fn unanswered(&self, error: reqwest::Error) -> SinkError {
        unanswered("HttpEndpoint", &self.place, error)
    }

    /// What a request's own headers are.
    fn headers_of(&self, request: &Request) -> Result<HeaderMap, SinkError> {
        let mut headers = self.headers.clone();
        let words = [
            ("x-amz-firehose-request-id", request.id.to_string()),
            ("x-amz-firehose-source-arn", request.stream_arn.to_string()),
        ];
        for (name, word) in words {
            let value = HeaderValue::try_from(word).map_err(|error| {
                SinkError::new(ErrorClass::Misconfigured, format!("{name} cannot be sent")).with_source(error)
            })?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    async fn post(&self, request: &Request, body: Vec<u8>) -> Result<Response, SinkError> {
        let post = self.client.post(self.url.clone()).headers(self.headers_of(request)?).body(body);
        send(post).await.map_err(|error| self.unanswered(error))
    }

    /// What an answer means for the rows: nothing, where they were taken.
    async fn judge(&self, request: &Request, response: Response) -> Result<(), SinkError> {
        let (status, wait) = (response.status(), retry_after(&response));
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.map(str::to_owned);
        let body = read_body(response, ANSWER_BYTES_MAX).await;
        let is_protocol = self.format == HttpFormat::Firehose;
        if !is_protocol && status.is_success() {
            // Whatever it says, and however much of it.
            return Ok(());
        }
        if is_protocol && status == StatusCode::OK {
            return self.is_taken(request, content_type.as_deref(), body);
        }
        let message = format!(
            "{}: The following response was received from the endpoint destination. {}",
            self.place,
            status.as_u16()
        );
        let error = coded(class(status), "HttpEndpoint.DestinationException", message);
        // What cannot be read of it changes nothing.
        let words = body.ok().map(|body| excerpt(&body)).filter(|words| !words.is_empty());
        Err(SinkError { retry_after: wait, words, ..error })
    }

    /// Whether the answer with status 200 is that of the protocol.
    fn is_taken(
        &self,
        request: &Request,
        content_type: Option<&str>,
        body: Result<Bytes, BodyTrouble>,
    ) -> Result<(), SinkError> {
        let body = match body {
            Ok(body) => body,
            Err(BodyTrouble::Broken(error)) => return Err(self.unanswered(error)),
            Err(BodyTrouble::TooLarge) => {
                let message = format!("{}: The answer has more than 1 MiB.", self.place);
                return Err(coded(ErrorClass::Transient, "HttpEndpoint.ResponseTooLarge", message));
            }
        };
        if is_taken(request, content_type, &body) {
            return Ok(());
        }
        let message = format!(
            "{}: Response for request {} is not recognized as valid JSON or has unexpected fields. Raw response received: \
             200",
            self.place, request.id
        );
        let error = coded(ErrorClass::Transient, "HttpEndpoint.InvalidResponseFromDestination", message);
        Err(SinkError { words: Some(excerpt(&body)), ..error })
    }
}

/// What the worker does after a status that is no success.
fn class(status: StatusCode) -> ErrorClass {
    match status.as_u16() {
        413 => ErrorClass::Refused,
        429 | 503 => ErrorClass::Throttled,
        // Elsewhere, not known, not allowed, not spoken there.
        300..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 501 => ErrorClass::Misconfigured,
        _ => ErrorClass::Transient,
    }
}

fn headers(options: &HttpOptions) -> Result<HeaderMap, HttpOptionsError> {
    let mut all: Vec<(&str, &str)> =
        vec![(USER_AGENT.as_str(), concat!("standpipe/", env!("CARGO_PKG_VERSION")))];
    if options.gzip {
        all.push((CONTENT_ENCODING.as_str(), "gzip"));
    }
    let attributes = common_attributes(&options.common_attributes);
    all.push(match options.format {
        HttpFormat::Firehose | HttpFormat::JsonArray => (CONTENT_TYPE.as_str(), "application/json"),
        HttpFormat::Ndjson => (CONTENT_TYPE.as_str(), "application/x-ndjson"),
        HttpFormat::Raw => (CONTENT_TYPE.as_str(), "application/octet-stream"),
    });
    if options.format == HttpFormat::Firehose {
        all.push((USER_AGENT.as_str(), "Amazon Kinesis Data Firehose Agent/1.0"));
        all.push(("x-amz-firehose-protocol-version", "1.0"));
    }
    all.extend(attributes.as_deref().map(|text| ("x-amz-firehose-common-attributes", text)));
    all.extend(options.access_key.as_ref().map(|key| ("x-amz-firehose-access-key", key.expose())));
    all.extend(options.headers.iter().map(|(name, value)| (name.as_str(), value.expose())));
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let cannot = || HttpOptionsError::Header(name.to_owned());
        let key = HeaderName::try_from(name).map_err(|_| cannot())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| cannot())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

fn common_attributes(pairs: &[(String, String)]) -> Option<String> {
    let members: Map<String, Value> =
        pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    (!members.is_empty()).then(|| json!({ "commonAttributes": members }).to_string())
}

#[async_trait]
impl RequestSink for HttpSink {
    /// Whether it answers at all: what it would say to an empty request is its own affair.
    async fn probe(&self) -> Result<(), SinkError> {
        let asked = send(self.client.head(self.url.clone())).await;
        asked.map(drop).map_err(|error| self.unanswered(error))
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
        let (format, packs, of) = (self.format, self.gzip, request.clone());
        let made = aside(move || {
            let mut made = body(format, &of);
            if packs && !made.body.is_empty() {
                made.body = gzip(&made.body);
            }
            made
        });
        let Made { body, refused } = made.await?;
        if body.is_empty() && !refused.is_empty() {
            return Ok(Answer { refused, ..Answer::default() });
        }
        let bytes = body.len() as u64;
        let response = self.post(request, body).await?;
        self.judge(request, response).await?;
        Ok(Answer { refused, bytes, ..Answer::default() })
    }
}
