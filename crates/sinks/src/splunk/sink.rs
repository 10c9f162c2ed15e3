//! One request to Splunk, until it is acknowledged.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, Url};
use serde_json::json;
use sha2::{Digest, Sha256};
use standpipe_model::{Answer, ErrorClass, Refusal, Request, RequestId, RequestSink, SinkError};
use tokio::time::{Instant, sleep, timeout_at};

use super::options::{HecEndpoint, SplunkOptions};
use super::request::{self, Made, body, classify, is_acknowledged};
use crate::client::{
    BodyTrouble, ClientError, ClientOptions, Silence, aside, coded, excerpt, read_body, retry_after, send,
    shown,
};

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long after a request the indexer is asked first, and then each time twice as long up to the most.
const ASK_FIRST: Duration = Duration::from_millis(100);
const ASK_MOST: Duration = Duration::from_secs(5);
const CHANNEL: &str = "x-splunk-request-channel";

/// The settings of a Splunk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SplunkOptionsError {
    /// It is no URL.
    #[error("Splunk's URL cannot be used")]
    Url,
    /// The token has characters that a header cannot have.
    #[error("the token cannot be sent")]
    Token,
    /// How it is reached.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The client of a Splunk. `Debug` shows its address only.
pub struct SplunkSink {
    client: Client,
    collector: Url,
    authorization: HeaderValue,
    endpoint: HecEndpoint,
    acknowledgement: Option<Duration>,
    place: String,
}

impl Debug for SplunkSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplunkSink").field("place", &self.place).finish_non_exhaustive()
    }
}

impl SplunkSink {
    /// A client of the Splunk; nothing is sent.
    ///
    /// # Errors
    /// [`SplunkOptionsError`].
    pub fn new(options: &SplunkOptions) -> Result<Self, SplunkOptionsError> {
        let collector = format!("{}/services/collector", options.url.trim_end_matches('/'));
        let collector = Url::parse(&collector).map_err(|_| SplunkOptionsError::Url)?;
        let authorization = HeaderValue::try_from(format!("Splunk {}", options.token.expose()));
        let mut authorization = authorization.map_err(|_| SplunkOptionsError::Token)?;
        authorization.set_sensitive(true);
        // An acknowledgement has to be asked of the one who was told.
        let client = ClientOptions { keep_cookies: true, ..options.client.clone() }.client()?;
        let place = shown(&collector);
        let (endpoint, acknowledgement) = (options.endpoint, options.acknowledgement);
        Ok(Self { client, collector, authorization, endpoint, acknowledgement, place })
    }

    fn url(&self, last: &str) -> Url {
        let mut url = self.collector.clone();
        url.set_path(&format!("{}/{last}", self.collector.path()));
        url
    }

    fn unanswered(&self, error: reqwest::Error) -> SinkError {
        let silence = Silence::of(&error);
        let code = match silence {
            Silence::Timeout | Silence::Connect => "Splunk.ConnectionTimeout",
            Silence::Certificate => "Splunk.SSLHandshake",
            Silence::Closed => "Splunk.ConnectionClosed",
        };
        silence.into_error(&self.place, code, error)
    }

    async fn post(&self, to: Url, channel: &str, media: &str, body: Vec<u8>) -> Result<Response, SinkError> {
        let post = self.client.post(to).header(AUTHORIZATION, self.authorization.clone());
        let post = post.header(CHANNEL, channel).header(CONTENT_TYPE, media).body(body);
        send(post).await.map_err(|error| self.unanswered(error))
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, SinkError> {
        match read_body(response, ANSWER_BYTES_MAX).await {
            Ok(body) => Ok(body.to_vec()),
            Err(BodyTrouble::Broken(error)) => Err(self.unanswered(error)),
            Err(BodyTrouble::TooLarge) => {
                let message = format!("{}: the answer has more than 1 MiB", self.place);
                Err(coded(ErrorClass::Transient, "Splunk.ServerError", message))
            }
        }
    }

    /// Waits until the indexer acknowledges.
    async fn acknowledged(&self, channel: &str, id: u64, within: Duration) -> Result<(), SinkError> {
        let end = Instant::now() + within;
        let mut wait = ASK_FIRST;
        let asking = async {
            loop {
                sleep(wait).await;
                wait = (wait * 2).min(ASK_MOST);
                let asked = json!({ "acks": [id] }).to_string().into_bytes();
                match self.ask(channel, asked, id).await {
                    Ok(false) => {}
                    Ok(true) => return Ok(()),
                    Err(error) if error.class == ErrorClass::Misconfigured => return Err(error),
                    // Splunk has the events: to give up asking would only send them again.
                    Err(_) => {}
                }
            }
        };
        timeout_at(end, asking).await.unwrap_or_else(|_| {
            let message = format!(
                "{}: Did not receive an acknowledgement from HEC before the HEC acknowledgement timeout expired. Despite the \
                 acknowledgement timeout, it's possible the data was indexed successfully in Splunk.",
                self.place
            );
            Err(coded(ErrorClass::Transient, "Splunk.AckTimeout", message))
        })
    }

    /// Whether the indexer acknowledges `id` by now.
    async fn ask(&self, channel: &str, asked: Vec<u8>, id: u64) -> Result<bool, SinkError> {
        let response = self.post(self.url("ack"), channel, "application/json", asked).await?;
        let status = response.status();
        let body = self.read(response).await?;
        if status.is_success() {
            return Ok(is_acknowledged(&body, id));
        }
        Err(self.refused(status.as_u16(), &body, None).0)
    }

    /// The error of an answer that is no success, and which event it is about.
    fn refused(&self, status: u16, body: &[u8], wait: Option<Duration>) -> (SinkError, Option<usize>) {
        let answer: request::Answer = serde_json::from_slice(body).unwrap_or_default();
        let (class, code) = classify(status, answer.code);
        let code_of_hec = answer.code.map(|code| format!(", code {code}")).unwrap_or_default();
        let message = format!("{}: the answer is {status}{code_of_hec}", self.place);
        let words = Some(if answer.text.is_empty() { excerpt(body) } else { answer.text });
        let error = SinkError { retry_after: wait, words, ..coded(class, code, message) };
        (error, answer.invalid_event)
    }
}

/// The channel of a destination: acknowledgements are counted by channel.
fn channel(request: &Request) -> String {
    let hash = Sha256::digest(format!("{}/{}", request.stream_arn, request.destination));
    RequestId(std::array::from_fn(|byte| hash[byte])).to_string()
}

/// Everything else again, where one event of a request is wrong.
fn without(sent: &[usize], wrong: usize, error: SinkError, mut refused: Vec<Refusal>) -> Answer {
    refused.push(Refusal { row: wrong, code: error.code.clone().unwrap_or_default(), message: error.told() });
    refused.sort_unstable_by_key(|refusal| refusal.row);
    let rest: Vec<usize> = sent.iter().copied().filter(|row| *row != wrong).collect();
    // What is left failed only for its neighbour.
    let again = SinkError { class: ErrorClass::Transient, ..error };
    Answer { refused, again: (!rest.is_empty()).then_some((rest, again)), ..Answer::default() }
}

#[async_trait]
impl RequestSink for SplunkSink {
    async fn probe(&self) -> Result<(), SinkError> {
        let asked = send(self.client.get(self.url("health"))).await;
        let health = asked.map_err(|error| self.unanswered(error))?;
        let status = health.status();
        let body = self.read(health).await?;
        if status.is_success() { Ok(()) } else { Err(self.refused(status.as_u16(), &body, None).0) }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
        let (endpoint, rows) = (self.endpoint, request.rows.clone());
        let Made { body, sent, refused } = aside(move || body(endpoint, &rows)).await?;
        if sent.is_empty() {
            return Ok(Answer { refused, ..Answer::default() });
        }
        let (path, media) = match self.endpoint {
            HecEndpoint::Raw => ("raw", "text/plain"),
            HecEndpoint::Event => ("event", "application/json"),
        };
        let (channel, bytes) = (channel(request), body.len() as u64);
        let response = self.post(self.url(path), &channel, media, body).await?;
        let (status, wait) = (response.status(), retry_after(&response));
        let body = self.read(response).await?;
        let answer: request::Answer = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() || answer.code != Some(0) {
            let (error, wrong) = self.refused(status.as_u16(), &body, wait);
            let wrong = wrong.filter(|_| error.class == ErrorClass::Refused);
            return match wrong.and_then(|wrong| sent.get(wrong)) {
                Some(wrong) => Ok(without(&sent, *wrong, error, refused)),
                None => Err(error),
            };
        }
        match (self.acknowledgement, answer.ack_id) {
            (None, _) => {}
            (Some(within), Some(id)) => self.acknowledged(&channel, id, within).await?,
            (Some(_), None) => {
                let message = format!("{}: the token has no indexer acknowledgement", self.place);
                return Err(coded(ErrorClass::Misconfigured, "Splunk.DisabledAck", message));
            }
        }
        Ok(Answer { refused, bytes, ..Answer::default() })
    }
}
