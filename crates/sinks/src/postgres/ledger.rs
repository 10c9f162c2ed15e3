//! The ledger: which rows of which batch are in the table already, and which were refused.
//!
//! A note covers the rows from its first to its last origin, but those of records between that had no rows in the request:
//! a batch that gets other processors (`rebind`) may have rows of them. A record whose rows were noted is noted whole.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use standpipe_model::{
    BatchId, DestinationId, ErrorClass, Position, Refusal, Request, RowOrigin, SinkError, StreamName,
};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::error::{Failure, fault};
use super::names::TableName;

/// How long a batch stays after it was settled.
const KEPT: &str = "1 hour";
/// How many notes are removed at once.
const REMOVED_MAX: u32 = 10_000;

/// A value of a statement, with its type.
type Given<'a> = (&'a (dyn ToSql + Sync), Type);

/// Position and number within, as the ledger has them.
pub(crate) fn numbers_of(origin: RowOrigin) -> (i64, i64) {
    (origin.position.0 as i64, i64::from(origin.sub))
}

/// The ledger of a destination.
pub(super) struct Ledger {
    table: TableName,
}

/// What the ledger has of a batch.
#[derive(Default)]
pub(crate) struct Known {
    spans: Vec<Span>,
    refused: HashMap<RowOrigin, Refused>,
}

/// What a note covers.
struct Span {
    first: RowOrigin,
    last: RowOrigin,
    absent: Vec<Absent>,
}

/// Records without rows: how many from which on, counted from the first record of the note.
type Absent = (u64, u64);

impl Span {
    fn covers(&self, row: RowOrigin) -> bool {
        if !(self.first..=self.last).contains(&row) {
            return false;
        }
        let at = row.position.0 - self.first.position.0;
        let before = self.absent.partition_point(|(from, _)| *from <= at);
        before.checked_sub(1).map(|last| self.absent[last]).is_none_or(|(from, count)| at - from >= count)
    }
}

impl Known {
    /// The rows from one origin to another, by their numbers.
    pub(crate) fn add_span(&mut self, [position, sub, last_position, last_sub]: [i64; 4]) {
        let origin = |position: i64, sub| RowOrigin {
            position: Position(position.max(0) as u64),
            sub: u32::try_from(sub).unwrap_or(u32::MAX),
        };
        let (first, last) = (origin(position, sub), origin(last_position, last_sub));
        self.spans.push(Span { first, last, absent: Vec::new() });
    }

    /// What else a note has, about the span that was added last.
    fn add_more(&mut self, noted: Vec<Noted>) {
        for one in noted {
            match one {
                Noted::Refused(one) => {
                    self.refused.insert(RowOrigin { position: one.position, sub: one.sub }, one);
                }
                Noted::Absent { absent } => {
                    if let Some(span) = self.spans.last_mut() {
                        span.absent = absent;
                    }
                }
            }
        }
    }

    /// Whether an earlier attempt said what becomes of that row.
    pub(crate) fn covers(&self, row: RowOrigin) -> bool {
        self.spans.iter().any(|span| span.covers(row))
    }

    /// Why that row was refused, if it was.
    pub(super) fn refusal(&self, number: usize, row: RowOrigin) -> Option<Refusal> {
        let refused = self.refused.get(&row)?;
        Some(Refusal { row: number, code: refused.code.clone(), message: refused.message.clone() })
    }
}

/// What the server has of it.
struct Found {
    is_there: bool,
    /// It is ours and has no index by streams.
    wants_index: bool,
}

impl Found {
    fn is_whole(&self) -> bool {
        self.is_there && !self.wants_index
    }
}

/// A refused row, as the ledger has it.
#[derive(Serialize, Deserialize)]
struct Refused {
    position: Position,
    sub: u32,
    code: String,
    message: String,
}

/// What the ledger has of a request beside its ends.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Noted {
    Refused(Refused),
    Absent { absent: Vec<Absent> },
}

/// The runs of rows between which no record is without rows, by their numbers; at most so many, where the narrowest gaps
/// are taken for none.
pub(crate) fn runs(origins: &[RowOrigin], most: usize) -> Vec<Range<usize>> {
    let gap = |at: usize| origins[at].position.0 - origins[at - 1].position.0;
    let mut cuts: Vec<usize> = (1..origins.len()).filter(|&at| gap(at) > 1).collect();
    if cuts.len() >= most {
        cuts.sort_by_key(|&at| Reverse(gap(at)));
        cuts.truncate(most.saturating_sub(1));
        cuts.sort_unstable();
    }
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(cuts.iter().copied().chain([origins.len()])).map(|(start, end)| start..end).collect()
}

impl Ledger {
    pub(super) fn new(table: &TableName) -> Self {
        Self { table: table.clone() }
    }

    /// What makes it.
    fn ddl(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (request uuid NOT NULL, stream text NOT NULL, destination text NOT NULL, \
             batch uuid NOT NULL, first_position bigint NOT NULL, first_sub bigint NOT NULL, last_position bigint NOT \
             NULL, last_sub bigint NOT NULL, loaded bigint NOT NULL, refused jsonb NOT NULL, loaded_at timestamptz NOT \
             NULL DEFAULT now(), settled_at timestamptz, PRIMARY KEY (batch, first_position, first_sub))",
            self.table
        )
    }

    fn missing(&self, why: &str) -> SinkError {
        let (table, ddl, index_ddl) = (&self.table, self.ddl(), self.index_ddl());
        let message = format!("there is no ledger {table}, and {why}; make it by: {ddl}; {index_ddl}");
        fault(ErrorClass::Misconfigured, "42P01", message)
    }

    /// What makes the index that spares [`tidy`](Self::tidy) to go through all of it.
    fn index_ddl(&self) -> String {
        format!("CREATE INDEX ON {} (stream, destination, settled_at)", self.table)
    }

    async fn found(&self, client: &Client) -> Result<Found, Failure> {
        let sql = "SELECT to_regclass($1) IS NOT NULL, EXISTS (SELECT FROM pg_class c WHERE c.oid = to_regclass($1) AND \
                   pg_has_role(c.relowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid \
                   AND pg_get_indexdef(i.indexrelid, 1, true) = 'stream'))";
        let row = client.query_typed_one(sql, &[(&self.table.to_string(), Type::TEXT)]).await?;
        Ok(Found { is_there: row.try_get(0)?, wants_index: row.try_get(1)? })
    }

    /// Says whether it is there, or could be made.
    pub(super) async fn check(&self, client: &Client) -> Result<(), Failure> {
        if self.found(client).await?.is_there {
            return Ok(());
        }
        let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = coalesce($1, current_schema()) AND \
                   has_schema_privilege(oid, 'CREATE'))";
        let row = client.query_typed_one(sql, &[(&self.table.schema(), Type::TEXT)]).await?;
        match row.try_get(0)? {
            true => Ok(()),
            false => Err(self.missing("it may not be made").into()),
        }
    }

    /// Makes it, where it is not there, and its index.
    pub(super) async fn create(&self, client: &Client) -> Result<(), Failure> {
        if self.found(client).await?.is_whole() {
            return Ok(());
        }
        // Two that make a table at once would be in each other's way.
        client.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(hashtext('standpipe'))").await?;
        let found = self.found(client).await?;
        let ddl = if found.is_there { String::new() } else { self.ddl() + ";" };
        let index_ddl = if found.is_whole() { String::new() } else { self.index_ddl() + ";" };
        client.batch_execute(&format!("{ddl} {index_ddl} COMMIT")).await.map_err(|error| {
            let lacks = |state: &str| ["42", "3F"].iter().any(|class| state.starts_with(class));
            match error.as_db_error() {
                Some(said) if lacks(said.code().code()) && !found.is_there => {
                    self.missing(said.message()).into()
                }
                _ => Failure::from(error),
            }
        })
    }

    /// Reads what it has of a request's rows.
    pub(super) async fn known(&self, client: &Client, request: &Request) -> Result<Known, Failure> {
        let sql = format!(
            "SELECT first_position, first_sub, last_position, last_sub, refused::text FROM {} WHERE batch = \
             $1::text::uuid AND (last_position, last_sub) >= ($2, $3) AND (first_position, first_sub) <= ($4, $5)",
            self.table
        );
        let mut known = Known::default();
        let (Some(first), Some(last)) = (request.rows.first(), request.rows.last()) else {
            return Ok(known);
        };
        let (first, last) = (numbers_of(first.origin), numbers_of(last.origin));
        let asked: [Given<'_>; 5] = [
            (&request.batch.to_string(), Type::TEXT),
            (&first.0, Type::INT8),
            (&first.1, Type::INT8),
            (&last.0, Type::INT8),
            (&last.1, Type::INT8),
        ];
        for row in client.query_typed(&sql, &asked).await? {
            known.add_span([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]);
            known.add_more(serde_json::from_str(row.try_get(4)?).map_err(|error| {
                SinkError::new(ErrorClass::Transient, "the ledger has no refused rows where they should be")
                    .with_source(error)
            })?);
        }
        Ok(known)
    }

    /// Notes what became of the rows with those numbers, which are not in it yet.
    pub(super) async fn note(
        &self,
        client: &Client,
        request: &Request,
        numbers: &[usize],
        refusals: &[Refusal],
    ) -> Result<(), Failure> {
        let noted = noted(request, numbers, refusals);
        let loaded = (numbers.len() - refusals.len()) as i64;
        if noted.is_ascii() {
            return Ok(self.insert(client, request, numbers, loaded, &noted).await?);
        }
        client.batch_execute("SAVEPOINT standpipe_note").await?;
        match self.insert(client, request, numbers, loaded, &noted).await {
            Err(error) if error.code() == Some(&SqlState::UNTRANSLATABLE_CHARACTER) => {}
            inserted => return Ok(inserted?),
        }
        // The database has another encoding than records, and not all of their characters.
        client.batch_execute("ROLLBACK TO SAVEPOINT standpipe_note").await?;
        let noted: String = noted.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        Ok(self.insert(client, request, numbers, loaded, &noted).await?)
    }

    async fn insert(
        &self,
        client: &Client,
        request: &Request,
        numbers: &[usize],
        loaded: i64,
        noted: &str,
    ) -> Result<(), Error> {
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else {
            return Ok(());
        };
        let origin = |number: usize| numbers_of(request.rows[number].origin);
        let (first, last) = (origin(first), origin(last));
        let sql = format!(
            "INSERT INTO {} (request, stream, destination, batch, first_position, first_sub, last_position, last_sub, \
             loaded, refused) VALUES ($1::text::uuid, $2, $3, $4::text::uuid, $5, $6, $7, $8, $9, $10::text::jsonb)",
            self.table
        );
        client
            .execute_typed(
                &sql,
                &[
                    (&request.id.to_string(), Type::TEXT),
                    (&request.stream.as_str(), Type::TEXT),
                    (&request.destination.as_str(), Type::TEXT),
                    (&request.batch.to_string(), Type::TEXT),
                    (&first.0, Type::INT8),
                    (&first.1, Type::INT8),
                    (&last.0, Type::INT8),
                    (&last.1, Type::INT8),
                    (&loaded, Type::INT8),
                    (&noted, Type::TEXT),
                ],
            )
            .await
            .map(drop)
    }

    /// Marks the batches that are settled, and removes those that have been for a while. A batch that closed after
    /// the list was made may be marked for a moment, and is not when the next list has it.
    pub(super) async fn tidy(
        &self,
        client: &Client,
        stream: &StreamName,
        destination: &DestinationId,
        unsettled: &[BatchId],
    ) -> Result<(), Failure> {
        if !self.found(client).await?.is_there {
            return Ok(());
        }
        let unsettled: Vec<String> = unsettled.iter().map(ToString::to_string).collect();
        let mark = format!(
            "UPDATE {} SET settled_at = CASE WHEN settled_at IS NULL THEN now() END WHERE stream = $1 AND destination \
             = $2 AND (settled_at IS NULL AND batch <> ALL ($3::text[]::uuid[]) OR settled_at IS NOT NULL AND batch = \
             ANY ($3::text[]::uuid[]))",
            self.table
        );
        let of = [
            (&stream.as_str() as &(dyn ToSql + Sync), Type::TEXT),
            (&destination.as_str(), Type::TEXT),
            (&unsettled, Type::TEXT_ARRAY),
        ];
        client.execute_typed(&mark, &of).await?;
        let remove = format!(
            "DELETE FROM {table} WHERE (batch, first_position, first_sub) IN (SELECT batch, first_position, first_sub \
             FROM {table} WHERE stream = $1 AND destination = $2 AND settled_at < now() - interval '{KEPT}' LIMIT \
             {REMOVED_MAX})",
            table = self.table
        );
        client.execute_typed(&remove, &of[..2]).await?;
        Ok(())
    }
}

/// What is noted of the rows with those numbers, as JSON.
fn noted(request: &Request, numbers: &[usize], refusals: &[Refusal]) -> String {
    let refused = refusals.iter().map(|refusal| {
        let RowOrigin { position, sub } = request.rows[refusal.row].origin;
        let (code, message) = (refusal.code.clone(), refusal.message.clone());
        Noted::Refused(Refused { position, sub, code, message })
    });
    let mut noted: Vec<Noted> = refused.collect();
    let position = |number: usize| request.rows[number].origin.position.0;
    let first = numbers.first().map_or(0, |&first| position(first));
    let pairs = numbers.iter().zip(&numbers[numbers.len().min(1)..]);
    let gaps = pairs.map(|(&one, &next)| (position(one) + 1, position(next))).filter(|(from, to)| from < to);
    let absent: Vec<Absent> = gaps.map(|(from, to)| (from - first, to - from)).collect();
    if !absent.is_empty() {
        noted.push(Noted::Absent { absent });
    }
    serde_json::to_string(&noted).expect("texts and numbers")
}
