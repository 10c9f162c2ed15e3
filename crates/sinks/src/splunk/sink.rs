//! One request to Splunk, until it is acknowledged.

use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, Url};
use serde_json::json;
use sha2::{Digest, Sha256};
use standpipe_model::{Answer, ErrorClass, Refusal, Request, RequestId, RequestSink, SinkError};
use tokio::time::{Instant, sleep, timeout_at};

use super::options::{HecEndpoint, SplunkOptions};
use super::request::{self, Index, Made, NO_INDEX, NO_STICKINESS, body, by_index, classify, is_acknowledged};
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
/// The id of an acknowledgement that nothing is ever given: who is asked for it forgets nothing.
const ID_NEVER_GIVEN: u64 = i32::MAX as u64;
/// A collector may know a channel only once it was told something there: it is told again after this time.
const CHANNEL_TOLD_AFTER: Duration = Duration::from_hours(1);

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
    /// Since when Splunk takes events and does not say whether they are indexed, which somebody has to mend.
    silent_since: Mutex<Option<Instant>>,
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
        let silent_since = Mutex::default();
        Ok(Self { client, collector, authorization, endpoint, acknowledgement, place, silent_since })
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

    /// Asks for an acknowledgement before anything is sent, where the last events were taken and nobody could be asked for
    /// theirs: whatever is sent before that is mended is there once more.
    async fn listens(&self, channel: &str) -> Result<(), SinkError> {
        let Some(since) = self.silence(|silent_since| *silent_since) else { return Ok(()) };
        let asked = json!({ "acks": [ID_NEVER_GIVEN] }).to_string().into_bytes();
        let known = self.ask(channel, asked, ID_NEVER_GIVEN).await;
        if let Err(error) = known.map(drop)
            && !is_worth_telling(&error, since.elapsed())
        {
            return Err(error);
        }
        self.silence(|silent_since| *silent_since = None);
        Ok(())
    }

    fn silence<T>(&self, look: impl FnOnce(&mut Option<Instant>) -> T) -> T {
        look(&mut self.silent_since.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn made(&self, request: &Request, rows: Vec<usize>) -> Result<Made, SinkError> {
        let (endpoint, all) = (self.endpoint, request.rows.clone());
        aside(move || body(endpoint, &all, &rows)).await
    }

    /// Sends the body of those rows.
    async fn tell(&self, channel: &str, body: Vec<u8>, sent: &[usize]) -> Result<Answer, SinkError> {
        let (path, media) = match self.endpoint {
            HecEndpoint::Raw => ("raw", "text/plain"),
            HecEndpoint::Event => ("event", "application/json"),
        };
        let bytes = body.len() as u64;
        let response = self.post(self.url(path), channel, media, body).await?;
        let (status, wait) = (response.status(), retry_after(&response));
        let body = self.read(response).await?;
        let answer: request::Answer = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() || answer.code != Some(0) {
            let (error, wrong) = self.refused(status.as_u16(), &body, wait);
            let wrong = wrong.filter(|_| error.class == ErrorClass::Refused);
            return match wrong.and_then(|wrong| sent.get(wrong)) {
                Some(wrong) => Ok(without(sent, *wrong, error)),
                None => Err(error),
            };
        }
        self.indexed(channel, answer.ack_id).await?;
        Ok(Answer { bytes, ..Answer::default() })
    }

    /// Sends events again, one of which names an index that Splunk does not take: halved by their indexes, until those are
    /// found. Where none of them names one it is the token's default that is wrong.
    async fn tell_by_index(
        &self,
        request: &Request,
        channel: &str,
        sent: Vec<usize>,
        error: SinkError,
    ) -> Result<Answer, SinkError> {
        let (endpoint, rows) = (self.endpoint, request.rows.clone());
        let indexes = aside(move || by_index(endpoint, &rows, &sent)).await?;
        if indexes.iter().all(|(index, _)| index.is_none()) {
            return Err(error);
        }
        let mut answer = Answer::default();
        let mut open = vec![&indexes[..]];
        let mut told: Result<Answer, SinkError> = Err(error);
        while let Some(part) = open.pop() {
            match (told, part) {
                (Err(error), [(Some(_), rows)]) if is_about_index(&error) => {
                    refuse(&mut answer, rows, &error);
                }
                (Err(error), [_, _, ..]) if is_about_index(&error) => {
                    let (some, others) = part.split_at(part.len() / 2);
                    open.extend([others, some]);
                }
                (Err(error), _) if error.class == ErrorClass::Refused => {
                    refuse(&mut answer, &rows_of(part), &error);
                }
                (Err(error), _) if is_about_index(&error) => again(&mut answer, rows_of(part), error),
                // Nobody takes anything now.
                (Err(error), _) => {
                    open.push(part);
                    again(&mut answer, open.drain(..).flat_map(rows_of).collect(), error);
                }
                (Ok(taken), _) => {
                    answer.bytes += taken.bytes;
                    answer.refused.extend(taken.refused);
                    if let Some((rows, error)) = taken.again {
                        again(&mut answer, rows, error);
                    }
                }
            }
            let Some(next) = open.last() else { break };
            let Made { body, sent, .. } = self.made(request, rows_of(next)).await?;
            told = self.tell(channel, body, &sent).await;
        }
        Ok(answer)
    }

    /// Waits until the indexer acknowledges what was taken, where it is to.
    async fn indexed(&self, channel: &str, id: Option<u64>) -> Result<(), SinkError> {
        let done = match (self.acknowledgement, id) {
            (None, _) => return Ok(()),
            (Some(within), Some(id)) => self.acknowledged(channel, id, within).await,
            (Some(_), None) => {
                let message = format!("{}: the token has no indexer acknowledgement", self.place);
                Err(coded(ErrorClass::Misconfigured, "Splunk.DisabledAck", message))
            }
        };
        if done.as_ref().is_err_and(|error| error.class == ErrorClass::Misconfigured) {
            self.silence(|silent_since| *silent_since = Some(Instant::now()));
        }
        done
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

/// Whether a collector that could not be asked for an acknowledgement for so long is told something all the same. It
/// refuses the question and not the events, where it calls that wrong.
pub(super) fn is_worth_telling(error: &SinkError, silent: Duration) -> bool {
    let is_channel = error.code.as_deref() == Some(NO_STICKINESS);
    error.class == ErrorClass::Refused || is_channel && silent >= CHANNEL_TOLD_AFTER
}

/// The channel of a destination: acknowledgements are counted by channel.
fn channel(request: &Request) -> String {
    let hash = Sha256::digest(format!("{}/{}", request.stream_arn, request.destination));
    RequestId(std::array::from_fn(|byte| hash[byte])).to_string()
}

/// Whether it is about the index of an event, or the token's.
fn is_about_index(error: &SinkError) -> bool {
    error.code.as_deref() == Some(NO_INDEX)
}

/// The rows of some indexes, ascending.
fn rows_of(indexes: &[Index]) -> Vec<usize> {
    let mut rows: Vec<usize> = indexes.iter().flat_map(|(_, rows)| rows).copied().collect();
    rows.sort_unstable();
    rows
}

fn refuse(answer: &mut Answer, rows: &[usize], error: &SinkError) {
    let (code, message) = (error.code.clone().unwrap_or_default(), error.told());
    answer.refused.extend(rows.iter().map(|&row| Refusal {
        row,
        code: code.clone(),
        message: message.clone(),
    }));
}

/// Rows that are to come again; the gravest reason counts.
fn again(answer: &mut Answer, rows: Vec<usize>, error: SinkError) {
    let Some((all, worst)) = &mut answer.again else {
        answer.again = Some((rows, error));
        return;
    };
    all.extend(rows);
    if error.class > worst.class {
        *worst = error;
    }
}

/// Everything else again, where one event of a request is wrong.
fn without(sent: &[usize], wrong: usize, error: SinkError) -> Answer {
    let mut answer = Answer::default();
    refuse(&mut answer, &[wrong], &error);
    let rest: Vec<usize> = sent.iter().copied().filter(|row| *row != wrong).collect();
    if !rest.is_empty() {
        // What is left failed only for its neighbour.
        again(&mut answer, rest, SinkError { class: ErrorClass::Transient, ..error });
    }
    answer
}

#[async_trait]
impl RequestSink for SplunkSink {
    async fn probe(&self) -> Result<(), SinkError> {
        let asked = send(self.client.get(self.url("health"))).await;
        let health = asked.map_err(|error| self.unanswered(error))?;
        let status = health.status();
        let body = self.read(health).await?;
        // Who stands before it, or is no Splunk, may pass on nothing but events.
        if status.is_success() || matches!(status.as_u16(), 404 | 405) {
            Ok(())
        } else {
            Err(self.refused(status.as_u16(), &body, None).0)
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
        let channel = channel(request);
        self.listens(&channel).await?;
        let Made { body, sent, refused } = self.made(request, (0..request.rows.len()).collect()).await?;
        if sent.is_empty() {
            return Ok(Answer { refused, ..Answer::default() });
        }
        let mut answer = match self.tell(&channel, body, &sent).await {
            Err(error) if is_about_index(&error) => {
                self.tell_by_index(request, &channel, sent, error).await?
            }
            told => told?,
        };
        answer.refused.extend(refused);
        answer.refused.sort_unstable_by_key(|refusal| refusal.row);
        if let Some((rows, _)) = &mut answer.again {
            rows.sort_unstable();
        }
        Ok(answer)
    }
}
