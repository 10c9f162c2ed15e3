//! One request into a table.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join;
use standpipe_model::{
    Answer, BatchId, DestinationId, ErrorClass, Request, RequestSink, SinkError, StreamName,
};
use tokio::sync;
use tokio_postgres::Client;

use super::error::Failure;
use super::ledger::Ledger;
use super::load::Loader;
use super::options::{Conflict, Plan, PostgresFormat, PostgresOptions, PostgresOptionsError};
use super::request::rows;
use super::session::{Session, Sessions, within};
use super::table::{Table, describe};
use crate::client::aside;

/// How long the server is asked to wait for an attempt at the same batch that nobody here knows of.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The client of a table. `Debug` shows its place only.
pub struct PostgresSink {
    sessions: Sessions,
    ledger: Ledger,
    plan: Plan,
    format: PostgresFormat,
    request_timeout: Duration,
    place: String,
    turns: Turns,
}

/// Whose turn it is of the attempts at a batch: the others wait here, without a connection.
#[derive(Default)]
struct Turns(Mutex<HashMap<BatchId, Weak<sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, batch: BatchId) -> Arc<sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let known = turns.get(&batch).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(batch, Arc::downgrade(&turn));
            turn
        })
    }
}

impl Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSink").field("place", &self.place).finish_non_exhaustive()
    }
}

impl PostgresSink {
    /// A client of the table; nothing is connected yet.
    ///
    /// # Errors
    /// [`PostgresOptionsError`].
    pub fn new(options: &PostgresOptions) -> Result<Self, PostgresOptionsError> {
        let plan = options.plan()?;
        let PostgresOptions { host, port, database, .. } = options;
        Ok(Self {
            sessions: Sessions::new(options)?,
            ledger: Ledger::new(&plan.ledger),
            format: options.format.clone(),
            request_timeout: options.request_timeout,
            place: format!("postgresql://{host}:{port}/{database} {}", plan.table),
            plan,
            turns: Turns::default(),
        })
    }

    /// A connection for `work`, kept when that went well.
    async fn connected<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        self.sessions.connected(&self.place, work).await
    }

    async fn describe(&self, client: &Client) -> Result<Arc<Table>, Failure> {
        describe(client, &self.plan.table, &self.plan.wanted).await
    }

    /// Waits at most as long as a statement may take.
    async fn in_time<T>(
        &self,
        future: impl Future<Output = Result<T, impl Into<Failure>>>,
    ) -> Result<T, Failure> {
        within(self.request_timeout, future).await
    }

    async fn load(&self, session: &mut Session, request: &Request) -> Result<Answer, Failure> {
        if !session.has_ledger {
            self.in_time(self.ledger.create(&session.client)).await?;
            session.has_ledger = true;
        }
        let client = &session.client;
        self.begin(client, request.batch).await?;
        let look = try_join(self.ledger.known(client, request), self.describe(client));
        let (known, table) = self.in_time(look).await?;
        let (there, new): (Vec<usize>, Vec<usize>) =
            (0..request.rows.len()).partition(|&number| known.covers(request.rows[number].origin));
        let mut answer = Answer { existed: new.is_empty(), ..Answer::default() };
        let refused_before =
            there.iter().filter_map(|&number| known.refusal(number, request.rows[number].origin));
        answer.refused.extend(refused_before);
        if new.is_empty() {
            self.in_time(client.batch_execute("ROLLBACK")).await?;
            return Ok(answer);
        }
        let numbered = self.plan.conflict != Conflict::Error;
        let (all, wanted, format) = (request.rows.clone(), new.clone(), self.format.clone());
        let of = Arc::clone(&table);
        let mut made = aside(move || rows(&all, &wanted, &of.columns, &format, numbered)).await?;
        let loader =
            Loader { client, table: &table, conflict: &self.plan.conflict, timeout: self.request_timeout };
        let unchanged = async || {
            let now = self.in_time(self.describe(client)).await?;
            let error = || SinkError::new(ErrorClass::Transient, "the table was changed meanwhile");
            if now == table { Ok(()) } else { Err(error().into()) }
        };
        let mut refused = std::mem::take(&mut made.refused);
        refused.extend(loader.load(&made, unchanged).await?);
        refused.sort_by_key(|refusal| refusal.row);
        self.in_time(self.ledger.note(client, request, &new, &refused)).await?;
        self.in_time(client.batch_execute("COMMIT")).await?;
        answer.bytes = made.bytes();
        answer.refused.extend(refused);
        answer.refused.sort_by_key(|refusal| refusal.row);
        Ok(answer)
    }

    /// Begins a transaction in which text means the same whoever set up the server, once no other attempt at the batch
    /// is under way.
    async fn begin(&self, client: &Client, batch: BatchId) -> Result<(), Failure> {
        let millis = self.request_timeout.as_millis();
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {millis}; SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL DateStyle = 'ISO, MDY'; SET CONSTRAINTS ALL IMMEDIATE; \
             SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        );
        self.in_time(client.batch_execute(&begin)).await?;
        let [a, b, c, d, e, f, g, h, ..] = batch.0;
        let key = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let millis = LOCK_WAIT.min(self.request_timeout / 2).as_millis();
        let lock = format!(
            "SET LOCAL lock_timeout = {millis}; SELECT pg_advisory_xact_lock({key}); SET LOCAL lock_timeout TO DEFAULT"
        );
        self.in_time(client.batch_execute(&lock)).await.map_err(Failure::of_lock)
    }
}

#[async_trait]
impl RequestSink for PostgresSink {
    /// Whether the table and its columns are there and may be written to, and the ledger is there or can be made.
    async fn probe(&self) -> Result<(), SinkError> {
        self.connected(async |session| {
            let look = try_join(self.describe(&session.client), self.ledger.check(&session.client));
            self.in_time(look).await.map(drop)
        })
        .await
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
        let turn = self.turns.of(request.batch);
        let _turn = turn.lock().await;
        self.connected(async |session| self.load(session, request).await).await
    }

    async fn tidy(
        &self,
        stream: &StreamName,
        destination: &DestinationId,
        unsettled: &[BatchId],
    ) -> Result<(), SinkError> {
        self.connected(async |session| {
            self.in_time(self.ledger.tidy(&session.client, stream, destination, unsettled)).await
        })
        .await
    }
}
