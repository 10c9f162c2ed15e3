//! One request into a table.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use futures::future::try_join;
use standpipe_model::{
    Answer, BatchId, DestinationId, ErrorClass, Request, RequestSink, SinkError, StreamName,
};
use tokio_postgres::Client;

use super::error::Failure;
use super::ledger::Ledger;
use super::load::Loader;
use super::names;
use super::options::{Conflict, PostgresFormat, PostgresOptions, PostgresOptionsError};
use super::path::Path;
use super::request::rows;
use super::session::{Session, Sessions, within};
use super::table::{Wanted, describe};

/// The client of a table. `Debug` shows its place only.
pub struct PostgresSink {
    sessions: Sessions,
    ledger: Ledger,
    /// The columns of the options, as SQL has them.
    wanted: Wanted,
    /// The same of the key.
    conflict: Conflict,
    options: PostgresOptions,
    place: String,
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
        let wanted = wanted(options)?;
        Ok(Self {
            sessions: Sessions::new(options)?,
            ledger: Ledger::new(&options.ledger),
            conflict: conflict(&options.conflict, &wanted)?,
            wanted,
            place: format!(
                "postgresql://{}:{}/{} {}",
                options.host, options.port, options.database, options.table
            ),
            options: options.clone(),
        })
    }

    /// A connection for `work`, kept when that went well.
    async fn connected<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        let taken = self.sessions.take().await;
        let (mut session, _permit) = taken.map_err(|failure| failure.into_connect_error(&self.place))?;
        let done = work(&mut session).await.map_err(|failure| failure.into_error(&self.place))?;
        self.sessions.keep(session);
        Ok(done)
    }

    /// Waits at most as long as a statement may take.
    async fn in_time<T>(
        &self,
        future: impl Future<Output = Result<T, impl Into<Failure>>>,
    ) -> Result<T, Failure> {
        within(self.options.request_timeout, future).await
    }

    async fn load(&self, session: &mut Session, request: &Request) -> Result<Answer, Failure> {
        if !session.has_ledger {
            self.in_time(self.ledger.create(&session.client)).await?;
            session.has_ledger = true;
        }
        let client = &session.client;
        self.begin(client, request.batch).await?;
        let look =
            try_join(self.ledger.known(client, request.batch), describe(client, &self.options, &self.wanted));
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
        let numbered = self.conflict != Conflict::Error;
        let mut made = rows(&request.rows, &new, &table.columns, &self.options.format, numbered);
        let loader =
            Loader { client, table: &table, conflict: &self.conflict, timeout: self.options.request_timeout };
        let unchanged = async || {
            let now = self.in_time(describe(client, &self.options, &self.wanted)).await?;
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
        let millis = self.options.request_timeout.as_millis();
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {millis}; SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL DateStyle = 'ISO, MDY'; SET CONSTRAINTS ALL IMMEDIATE; \
             SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        );
        self.in_time(client.batch_execute(&begin)).await?;
        let [a, b, c, d, e, f, g, h, ..] = batch.0;
        let key = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
        self.in_time(client.batch_execute(&format!("SELECT pg_advisory_xact_lock({key})"))).await
    }
}

fn wanted(options: &PostgresOptions) -> Result<Wanted, PostgresOptionsError> {
    if let PostgresFormat::Csv { delimiter, .. } = options.format {
        let odd = matches!(delimiter, '"' | '\n' | '\r' | '\0');
        if odd {
            return Err(PostgresOptionsError::Delimiter(delimiter));
        }
    }
    let mut wanted = Wanted::new();
    for (text, path) in &options.columns {
        let name = names::column(text).map_err(PostgresOptionsError::Column)?;
        if path.is_some() && matches!(options.format, PostgresFormat::Csv { .. }) {
            return Err(PostgresOptionsError::CsvPath(name));
        }
        // As it was written: `userId` is the column `userid` and the member `userId`.
        let member = || if text.contains('"') { name.as_str() } else { text.trim() };
        let path = path.clone().unwrap_or_else(|| Path::member(member()));
        wanted.push((name, path));
    }
    Ok(wanted)
}

fn conflict(conflict: &Conflict, wanted: &Wanted) -> Result<Conflict, PostgresOptionsError> {
    let key = |key: &[String]| {
        let names: Result<Vec<String>, _> = key.iter().map(|text| names::column(text)).collect();
        let names = names.map_err(PostgresOptionsError::Column)?;
        let loaded = |name: &String| wanted.is_empty() || wanted.iter().any(|(column, _)| column == name);
        match names.iter().find(|name| !loaded(name)) {
            Some(name) => Err(PostgresOptionsError::KeyColumn(name.clone())),
            None => Ok(names),
        }
    };
    Ok(match conflict {
        Conflict::Error => Conflict::Error,
        Conflict::Ignore { key: columns } => Conflict::Ignore { key: key(columns)? },
        Conflict::Update { key: columns } if columns.is_empty() => return Err(PostgresOptionsError::NoKey),
        Conflict::Update { key: columns } => Conflict::Update { key: key(columns)? },
    })
}

#[async_trait]
impl RequestSink for PostgresSink {
    /// Whether the table and its columns are there and may be written to, and the ledger is there or can be made.
    async fn probe(&self) -> Result<(), SinkError> {
        self.connected(async |session| {
            let look = try_join(
                describe(&session.client, &self.options, &self.wanted),
                self.ledger.check(&session.client),
            );
            self.in_time(look).await.map(drop)
        })
        .await
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, SinkError> {
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
