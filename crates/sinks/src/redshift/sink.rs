//! One request into a table, by way of a bucket.

use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use standpipe_model::{
    Answer, BatchId, DestinationId, ErrorClass, Request, RequestSink, Secret, SinkError, StreamName,
};

use super::copy::Copy;
use super::error::{of_lock, told};
use super::ledger::Ledger;
use super::options::{RedshiftOptions, RedshiftOptionsError};
use super::staging::{Place, Staging};
use crate::postgres::error::Failure;
use crate::postgres::ledger::Known;
use crate::postgres::names::TableName;
use crate::postgres::session::{Session, Sessions, within};

/// How often the ledger is tidied at most: each time is a commit, which Redshift makes one behind the other.
const TIDIED_EVERY: Duration = Duration::from_mins(10);

/// The client of a table. `Debug` shows its place only.
pub struct RedshiftSink {
    sessions: Sessions,
    ledger: Ledger,
    copy: Copy,
    staging: Staging,
    keeps_staged: bool,
    /// Whether records are lines.
    has_lines: bool,
    request_timeout: Duration,
    place: String,
    secrets: Vec<Secret>,
    tidied: Mutex<Option<Instant>>,
}

impl Debug for RedshiftSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedshiftSink").field("place", &self.place).finish_non_exhaustive()
    }
}

impl RedshiftSink {
    /// A client of the table that stages in that place; nothing is connected yet.
    ///
    /// # Errors
    /// [`RedshiftOptionsError`].
    pub fn new(options: &RedshiftOptions, staging: Staging) -> Result<Self, RedshiftOptionsError> {
        let RedshiftOptions { table, credentials, .. } = options;
        let (mut copy, gzip) = (options.copy()?, staging.options.gzip);
        let has_lines = copy.options.has_lines(gzip);
        copy.options = copy.options.of_objects(gzip);
        let secrets = table.password.iter().cloned().chain(credentials.secrets());
        Ok(Self {
            sessions: Sessions::new(table)?,
            ledger: Ledger { table: TableName::parse(&table.ledger)? },
            has_lines,
            keeps_staged: options.keeps_staged,
            request_timeout: table.request_timeout,
            place: format!("redshift://{}:{}/{} {}", table.host, table.port, table.database, table.table),
            secrets: secrets.collect(),
            tidied: Mutex::default(),
            copy,
            staging,
        })
    }

    /// A connection for `work`, with the ledger there.
    async fn connected<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        let prepared = async |session: &mut Session| {
            if !session.has_ledger {
                let limit = format!("SET statement_timeout TO {}", self.request_timeout.as_millis());
                self.in_time(session.client.batch_execute(&limit)).await?;
                self.in_time(self.ledger.create(&session.client)).await.map_err(of_lock)?;
                session.has_ledger = true;
            }
            work(session).await
        };
        let done = self.sessions.connected(&self.place, prepared).await;
        done.map_err(|error| told(error, &self.secrets))
    }

    /// Waits at most as long as a statement may take.
    async fn in_time<T>(
        &self,
        future: impl Future<Output = Result<T, impl Into<Failure>>>,
    ) -> Result<T, Failure> {
        within(self.request_timeout, future).await
    }

    async fn known(&self, session: &Session, request: &Request) -> Result<Known, Failure> {
        self.in_time(self.ledger.known(&session.client, request)).await.map_err(of_lock)
    }

    /// Loads what is staged there; `false` where that was done by another attempt.
    async fn load(&self, session: &mut Session, request: &Request, place: &Place) -> Result<bool, Failure> {
        let client = &session.client;
        // By itself, so that a server that does not answer is not taken for a lock.
        self.in_time(client.batch_execute("BEGIN")).await?;
        let lock = format!("LOCK {}", self.ledger.table);
        self.in_time(client.batch_execute(&lock)).await.map_err(of_lock)?;
        // Nobody else has the lock now.
        let known = self.in_time(self.ledger.known(client, request)).await?;
        let there = place.rows.iter().filter(|&&row| known.covers(request.rows[row].origin)).count();
        if there > 0 {
            self.in_time(client.batch_execute("ROLLBACK")).await?;
            let error = || SinkError::new(ErrorClass::Transient, "some of the rows were loaded meanwhile");
            return if there == place.rows.len() { Ok(false) } else { Err(error().into()) };
        }
        self.in_time(client.batch_execute(&self.copy.sql(&place.manifest))).await?;
        self.in_time(self.ledger.note(client, request, &place.rows)).await?;
        self.in_time(client.batch_execute("COMMIT")).await?;
        Ok(true)
    }

    /// Removes what was loaded, where it is not to be kept. What stays costs space and nothing else.
    async fn clean(&self, place: &Place) {
        if !self.keeps_staged
            && let Err(error) = self.staging.clean(place).await
        {
            tracing::warn!(place = %self.place, %error, "a staged object stays behind");
        }
    }

    /// Whether it is time to tidy the ledger.
    fn is_untidy(&self) -> bool {
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        let due = tidied.is_none_or(|at| at.elapsed() >= TIDIED_EVERY);
        if due {
            *tidied = Some(Instant::now());
        }
        due
    }
}

#[async_trait]
impl RequestSink for RedshiftSink {
    /// Whether the database and the bucket are there. Who may load a table may not be allowed to read it, so it is not
    /// looked at.
    async fn probe(&self) -> Result<(), SinkError> {
        self.staging.store.probe(&self.staging.options.bucket).await?;
        let looked = self.sessions.connected(&self.place, async |session| {
            self.in_time(session.client.batch_execute("SELECT 1")).await
        });
        looked.await.map_err(|error| told(error, &self.secrets))
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
        let mut rows: Vec<usize> = (0..request.rows.len()).collect();
        if request.repeated {
            let known = self.connected(async |session| self.known(session, request).await).await?;
            let all = rows.clone();
            rows.retain(|&row| !known.covers(request.rows[row].origin));
            if rows.is_empty() {
                self.clean(&self.staging.place(request, all, self.has_lines)?).await;
                return Ok(Answer { existed: true, ..Answer::default() });
            }
        }
        let place = self.staging.place(request, rows, self.has_lines)?;
        let bytes = self.staging.put(request, &place).await?;
        self.staging.put_manifest(request, &place).await?;
        let loaded = self.connected(async |session| self.load(session, request, &place).await).await?;
        self.clean(&place).await;
        Ok(Answer { bytes, existed: !loaded, ..Answer::default() })
    }

    async fn give_up(&self, request: &Request) -> Result<(), SinkError> {
        let place = self.staging.place(request, (0..request.rows.len()).collect(), self.has_lines)?;
        self.staging.put(request, &place).await?;
        self.staging.give_up(request, &place).await
    }

    async fn tidy(
        &self,
        stream: &StreamName,
        destination: &DestinationId,
        unsettled: &[BatchId],
    ) -> Result<(), SinkError> {
        if !self.is_untidy() {
            return Ok(());
        }
        self.connected(async |session| {
            self.in_time(self.ledger.tidy(&session.client, stream, destination, unsettled)).await
        })
        .await
    }
}
