//! One request to a cluster: its bulks, and the endpoints it may go to.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, Response, StatusCode, Url};
use standpipe_model::{Answer, ErrorClass, Refusal, Request, RequestSink, SinkError};

use super::auth::Authority;
use super::options::{IndexOptions, OpenSearchOptions, OpenSearchOptionsError};
use super::request::{Bulk, Outcome, Verdict, answer_bytes_max, filter, outcomes, question};
use crate::client::{
    BodyTrouble, aside, coded, excerpt, gzip, read_body, retry_after, send, shown, unanswered,
};

/// Answers of so many bytes are read where that holds up nobody.
const LARGE_ANSWER_BYTES: usize = 64 << 10;

/// The client of a cluster. `Debug` shows its addresses and index only.
pub struct OpenSearchSink {
    client: Client,
    /// Of `_bulk`, each with how it is called in messages.
    endpoints: Vec<(Url, String)>,
    /// The endpoint that answered last.
    good: AtomicUsize,
    /// What a bulk may have at most, as far as 413 has told.
    bytes_max: AtomicUsize,
    authority: Authority,
    gzip: bool,
    index: IndexOptions,
}

impl Debug for OpenSearchSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.endpoints.iter().map(|(_, place)| place).collect();
        let mut told = f.debug_struct("OpenSearchSink");
        told.field("places", &places).field("index", &self.index).finish_non_exhaustive()
    }
}

/// The time of an attempt, which may take longer than a signature lasts.
#[derive(Clone, Copy)]
struct Moment {
    attempted_at: SystemTime,
    began: Instant,
}

impl Moment {
    fn new(attempted_at: SystemTime) -> Self {
        Self { attempted_at, began: Instant::now() }
    }

    fn now(self) -> SystemTime {
        self.attempted_at + self.began.elapsed()
    }
}

/// A bulk that reached the cluster.
enum Judged<'a> {
    /// With the endpoint's name.
    Outcomes(Vec<Outcome>, &'a str),
    TooLarge(String),
}

/// What became of the rows so far.
#[derive(Default)]
struct Fates {
    answer: Answer,
    delivered: usize,
    existed: usize,
}

impl Fates {
    fn again(&mut self, rows: impl IntoIterator<Item = usize>, error: SinkError) {
        let (all, worst) = self.answer.again.get_or_insert_with(|| {
            (Vec::new(), SinkError { retry_after: error.retry_after, ..SinkError::new(error.class, "") })
        });
        all.extend(rows);
        if worst.message.is_empty() || error.class > worst.class {
            *worst = error;
        }
    }

    fn refused(&mut self, row: usize, status: u16, message: String) {
        self.answer.refused.push(Refusal { row, code: status.to_string(), message });
    }

    fn done(mut self) -> Answer {
        self.answer.refused.sort_by_key(|refusal| refusal.row);
        self.answer.existed = self.existed > 0 && self.delivered == 0;
        self.answer
    }
}

impl OpenSearchSink {
    /// A client of the cluster; nothing is sent.
    ///
    /// # Errors
    /// [`OpenSearchOptionsError`].
    pub fn new(options: &OpenSearchOptions) -> Result<Self, OpenSearchOptionsError> {
        options.index.validate()?;
        let filter = filter(options.index.document_ids);
        let endpoints: Option<Vec<_>> = options.endpoints.iter().map(|text| endpoint(text, filter)).collect();
        let endpoints = endpoints.filter(|all| !all.is_empty()).ok_or(OpenSearchOptionsError::Endpoint)?;
        Ok(Self {
            client: options.client.client()?,
            endpoints,
            good: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(usize::MAX),
            authority: Authority::new(&options.auth)?,
            gzip: options.gzip,
            index: options.index.clone(),
        })
    }

    /// Posts to the endpoint that answered last, or to another where there is nobody; gives its name with the answer.
    async fn post(&self, body: Bytes, moment: Moment) -> Result<(Response, &str), SinkError> {
        let first = self.good.load(Ordering::Relaxed);
        let numbers = (0..self.endpoints.len()).map(|step| (first + step) % self.endpoints.len());
        let mut last = None;
        for number in numbers {
            let (url, place) = &self.endpoints[number];
            let mut post = self.client.post(url.clone()).body(body.clone());
            post = post.headers(self.authority.headers(url, &body, moment.now()).await?);
            post = post.header(CONTENT_TYPE, "application/x-ndjson");
            post = post.header(USER_AGENT, concat!("standpipe/", env!("CARGO_PKG_VERSION")));
            if self.gzip && !body.is_empty() {
                post = post.header(CONTENT_ENCODING, "gzip");
            }
            let outcome = send(post).await;
            let elsewhere = match &outcome {
                Ok(response) => matches!(response.status().as_u16(), 502..=504),
                Err(error) => error.is_connect(),
            };
            let usable = outcome.as_ref().is_ok_and(|_| !elsewhere);
            let next = if usable { number } else { (number + 1) % self.endpoints.len() };
            self.good.store(next, Ordering::Relaxed);
            let outcome = outcome.map(|response| (response, place.as_str()));
            let outcome = outcome.map_err(|error| unanswered("OpenSearch", place, error));
            if !elsewhere {
                return outcome;
            }
            last = Some(outcome);
        }
        last.expect("there is an endpoint")
    }

    async fn send(
        &self,
        body: Bytes,
        moment: Moment,
        answer_bytes: usize,
        documents: usize,
    ) -> Result<Judged<'_>, SinkError> {
        let (response, place) = self.post(body, moment).await?;
        let (status, wait) = (response.status(), retry_after(&response));
        let body = match read_body(response, answer_bytes).await {
            Ok(body) => body,
            Err(BodyTrouble::Broken(error)) => return Err(unanswered("OpenSearch", place, error)),
            Err(BodyTrouble::TooLarge) => {
                let message = format!("{place}: the answer is too large for {documents} documents");
                return Err(coded(ErrorClass::Transient, "OpenSearch.ResponseTooLarge", message));
            }
        };
        match status {
            StatusCode::OK => {
                let of = body.clone();
                let said = if body.len() < LARGE_ANSWER_BYTES {
                    outcomes(&of, documents)
                } else {
                    aside(move || outcomes(&of, documents)).await?
                };
                said.map(|said| Judged::Outcomes(said, place)).ok_or_else(|| {
                    let message = format!(
                        "{place}: the answer is none to a bulk of {documents} documents: {}",
                        excerpt(&body)
                    );
                    coded(ErrorClass::Transient, "OpenSearch.InvalidResponse", message)
                })
            }
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Judged::TooLarge(excerpt(&body))),
            _ => Err(refusal(status, place, &body, wait)),
        }
    }

    /// Takes what the cluster said of documents over to their rows.
    async fn judge(
        &self,
        place: &str,
        request: &Request,
        moment: Moment,
        said: Vec<(usize, Outcome)>,
        fates: &mut Fates,
    ) {
        let id = |row: usize| self.index.document_id(request.batch, request.rows[row].origin);
        let verdict = |(row, outcome): &(usize, Outcome)| outcome.verdict(|| id(*row));
        let verdicts: Vec<Verdict> = said.iter().map(verdict).collect();
        let rows = said.iter().map(|(row, _)| *row);
        match self.blamed(request, moment, &verdicts, &said).await {
            Ok(None) => {}
            Ok(Some(outcome)) => {
                return fates.again(rows, self.held(place, outcome, ErrorClass::Misconfigured));
            }
            Err(error) => return fates.again(rows, error),
        }
        for ((row, outcome), verdict) in said.iter().zip(verdicts) {
            match verdict {
                Verdict::Delivered => fates.delivered += 1,
                Verdict::Existed => fates.existed += 1,
                Verdict::Refused => fates.refused(*row, outcome.status, outcome.words()),
                Verdict::Again(class) => fates.again([*row], self.held(place, outcome, class)),
            }
        }
    }

    /// Where every document was refused, that may be a fault of the index's, which then refuses other requests as well.
    async fn blamed<'a>(
        &self,
        request: &Request,
        moment: Moment,
        verdicts: &[Verdict],
        said: &'a [(usize, Outcome)],
    ) -> Result<Option<&'a Outcome>, SinkError> {
        // A data stream that is known to be one takes nothing but documents.
        let all_refused = verdicts.iter().all(|verdict| *verdict == Verdict::Refused);
        let first = said.iter().find(|(_, outcome)| outcome.status == 400);
        let Some((row, outcome)) = first.filter(|_| all_refused && !self.index.data_stream) else {
            return Ok(None);
        };
        let body = question(&self.index, request, &request.rows[*row]);
        let body = if self.gzip { gzip(&body).into() } else { body };
        match self.send(body, moment, answer_bytes_max(1, 0), 1).await {
            Ok(Judged::Outcomes(said, _)) if said.iter().all(|said| said.is_like(outcome)) => {
                Ok(Some(outcome))
            }
            Err(error) if error.class != ErrorClass::Misconfigured => Err(error),
            // It may not be asked so.
            _ => Ok(None),
        }
    }

    /// The error that holds a document.
    fn held(&self, place: &str, outcome: &Outcome, class: ErrorClass) -> SinkError {
        let code = outcome.status.to_string();
        let message = format!("{place}: index '{}': {code} {}", self.index.name, outcome.words());
        coded(class, &code, message)
    }
}

/// The error that a status is about a whole bulk.
pub(super) fn refusal(status: StatusCode, place: &str, body: &[u8], wait: Option<Duration>) -> SinkError {
    let class = match status.as_u16() {
        429 | 503 => ErrorClass::Throttled,
        // Elsewhere, not known, not allowed; and 400, as the rows are known to be documents: a type where there are
        // none, or no index allowed in a bulk.
        300..=399 | 400 | 401 | 403 | 404 | 405 | 406 | 407 | 415 | 501 => ErrorClass::Misconfigured,
        _ => ErrorClass::Transient,
    };
    let code = status.as_u16().to_string();
    let error = coded(class, &code, format!("{place}: {code} {}", excerpt(body)));
    SinkError { retry_after: wait, ..error }
}

fn endpoint(text: &str, filter: &str) -> Option<(Url, String)> {
    let mut url = Url::parse(text).ok()?;
    let secret = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    if secret || !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return None;
    }
    let place = shown(&url);
    let path = format!("{}/_bulk", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(Some(filter));
    Some((url, place))
}

#[async_trait]
impl RequestSink for OpenSearchSink {
    /// An empty bulk is refused (400), but only to those who may ask; and some who may do nothing else.
    async fn probe(&self) -> Result<(), SinkError> {
        let (response, place) = self.post(Bytes::new(), Moment::new(SystemTime::now())).await?;
        let (status, wait) = (response.status(), retry_after(&response));
        let body = read_body(response, answer_bytes_max(0, 0)).await.unwrap_or_default();
        match status.is_success() || status == StatusCode::BAD_REQUEST {
            true => Ok(()),
            false => Err(refusal(status, place, &body, wait)),
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
        let (index, of) = (self.index.clone(), request.clone());
        let mut bulk = aside(move || Bulk::of(&index, &of)).await?;
        let attempted_at = Duration::from_millis(request.attempted_at.as_millis());
        let moment = Moment::new(SystemTime::UNIX_EPOCH + attempted_at);
        let mut fates = Fates::default();
        fates.answer.refused = std::mem::take(&mut bulk.refused);
        let mut from = 0;
        while from < bulk.len() {
            let documents = bulk.cut(from, self.bytes_max.load(Ordering::Relaxed));
            let raw = bulk.body(&documents);
            let plain = raw.clone();
            let body = if self.gzip { aside(move || Bytes::from(gzip(&plain))).await? } else { plain };
            fates.answer.bytes += body.len() as u64;
            let answer_bytes = answer_bytes_max(documents.len(), raw.len());
            match self.send(body, moment, answer_bytes, documents.len()).await {
                Ok(Judged::Outcomes(said, place)) => {
                    let said = bulk.rows(documents.clone()).zip(said).collect();
                    self.judge(place, request, moment, said, &mut fates).await;
                }
                Ok(Judged::TooLarge(_)) if documents.len() > 1 => {
                    self.bytes_max.fetch_min(raw.len() / 2, Ordering::Relaxed);
                    continue;
                }
                Ok(Judged::TooLarge(words)) => {
                    bulk.rows(documents.clone()).for_each(|row| fates.refused(row, 413, words.clone()));
                }
                Err(error) if from == 0 => return Err(error),
                Err(error) => {
                    fates.again(bulk.rows(from..bulk.len()), error);
                    break;
                }
            }
            from = documents.end;
        }
        Ok(fates.done())
    }
}
