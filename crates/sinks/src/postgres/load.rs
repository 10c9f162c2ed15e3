//! Rows into the table, and those that it refuses found out by halving.

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::SinkExt as _;
use standpipe_model::{Refusal, SinkError};
use tokio_postgres::{Client, CopyInSink, Statement};

use super::error::Failure;
use super::names::{list, quoted};
use super::options::Conflict;
use super::request::Rows;
use super::session::within;
use super::table::Table;

/// How much is handed over at once.
const PIECE_BYTES: usize = 1 << 20;
/// So many refused rows, or fewer, tell nothing yet about the others.
const FEW: usize = 16;

/// The table where rows wait that may take others' places.
const STAGE: &str = "pg_temp.standpipe_stage";

/// Loads rows within a transaction.
pub(super) struct Loader<'a> {
    pub(super) client: &'a Client,
    pub(super) table: &'a Table,
    pub(super) conflict: &'a Conflict,
    pub(super) timeout: Duration,
}

/// How a piece is loaded.
struct Steps {
    copy: Statement,
    /// From the stage into the table.
    merge: Option<Merge>,
}

/// Rows that were refused for a reason that may be anyone's.
#[derive(Default)]
struct Doubts {
    /// The reason of the first.
    first: Option<(String, Failure)>,
    /// How many have that one.
    alike: usize,
}

impl Doubts {
    fn add(&mut self, code: &str, failure: Failure) {
        let (first, _) = self.first.get_or_insert_with(|| (code.to_owned(), failure));
        self.alike += usize::from(first == code);
    }

    /// The error of a request of which nothing was loaded, if all of its rows were refused for one such reason: then it is
    /// probably nobody's row.
    fn about_none(&self, refused: usize, loaded: usize) -> Option<SinkError> {
        let (_, failure) = self.first.as_ref().filter(|_| loaded == 0 && self.alike == refused)?;
        failure.of_all(refused <= FEW)
    }
}

impl Loader<'_> {
    /// Loads all rows but those that it returns. `unchanged` is asked before the first row is believed to be at fault.
    pub(super) async fn load<F>(&self, rows: &Rows, unchanged: F) -> Result<Vec<Refusal>, Failure>
    where
        F: AsyncFnOnce() -> Result<(), Failure>,
    {
        let steps = self.prepare().await?;
        let mut unchanged = Some(unchanged);
        let (mut refused, mut loaded, mut doubts) = (Vec::new(), 0, Doubts::default());
        let all = 0..rows.numbers.len();
        let mut open = vec![all];
        self.run("SAVEPOINT standpipe").await?;
        while let Some(range) = open.pop().filter(|range| !range.is_empty()) {
            let failure = match self.piece(&steps, rows, &range).await {
                Ok(()) => {
                    loaded += range.len();
                    if !open.is_empty() {
                        self.run("RELEASE SAVEPOINT standpipe; SAVEPOINT standpipe").await?;
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            let is_clear = failure.about_rows();
            let in_doubt = is_clear.is_none();
            let (code, message) = match (is_clear, failure.perhaps_about_rows()) {
                (Some(about), _) => about,
                (None, Some(about)) => {
                    self.run("ROLLBACK TO SAVEPOINT standpipe").await?;
                    // A fault of the table's, or of ours, is there without rows, too.
                    if self.piece(&steps, rows, &(0..0)).await.is_err() {
                        return Err(failure);
                    }
                    about
                }
                (None, None) => return Err(failure),
            };
            self.run("ROLLBACK TO SAVEPOINT standpipe").await?;
            if let Some(unchanged) = unchanged.take() {
                unchanged().await?;
            }
            if range.len() == 1 {
                if in_doubt {
                    doubts.add(&code, failure);
                }
                refused.push(Refusal { row: rows.numbers[range.start], code, message });
            } else if refused.len() >= FEW && refused.len() > loaded {
                // Halving would find what one by one finds in fewer statements.
                open.extend(range.rev().map(|row| row..row + 1));
            } else {
                let middle = range.start + range.len() / 2;
                open.extend([middle..range.end, range.start..middle]);
            }
        }
        match doubts.about_none(refused.len(), loaded) {
            Some(error) => Err(error.into()),
            None => Ok(refused),
        }
    }

    async fn prepare(&self) -> Result<Steps, Failure> {
        let columns = self.table.list();
        let merge = Merge::new(self.table, self.conflict);
        let copy = match &merge {
            None => format!("COPY {} ({columns}) FROM STDIN", self.table.name),
            Some(_) => {
                self.run(&format!(
                    "CREATE TEMPORARY TABLE standpipe_stage ON COMMIT DROP AS SELECT 0::bigint AS standpipe_row, \
                     {columns} FROM {} WITH NO DATA",
                    self.table.name
                ))
                .await?;
                format!("COPY {STAGE} (standpipe_row, {columns}) FROM STDIN")
            }
        };
        let copy = within(self.timeout, self.client.prepare(&copy)).await?;
        Ok(Steps { copy, merge })
    }

    async fn piece(&self, steps: &Steps, rows: &Rows, range: &Range<usize>) -> Result<(), Failure> {
        within(self.timeout, self.copy(&steps.copy, rows.part(range))).await?;
        match &steps.merge {
            Some(merge) => self.run(&merge.sql(range)).await,
            None => Ok(()),
        }
    }

    async fn copy(&self, copy: &Statement, mut text: Bytes) -> Result<(), tokio_postgres::Error> {
        let sink: CopyInSink<Bytes> = self.client.copy_in(copy).await?;
        let mut sink = std::pin::pin!(sink);
        while text.has_remaining() {
            sink.send(text.split_to(text.len().min(PIECE_BYTES))).await?;
        }
        sink.finish().await.map(drop)
    }

    async fn run(&self, sql: &str) -> Result<(), Failure> {
        within(self.timeout, self.client.batch_execute(sql)).await
    }
}

/// The statement that takes rows from the stage into the table.
struct Merge {
    before: String,
    behind: String,
}

impl Merge {
    fn new(table: &Table, conflict: &Conflict) -> Option<Self> {
        let columns = table.list();
        let into = format!("INSERT INTO {} AS standpipe_old ({columns}) SELECT {columns} FROM ", table.name);
        match conflict {
            Conflict::Error => None,
            Conflict::Ignore { key } => {
                let on = if key.is_empty() { String::new() } else { format!(" ({})", names(key)) };
                let behind = format!("ORDER BY standpipe_row ON CONFLICT{on} DO NOTHING");
                Some(Self { before: format!("{into}{STAGE}"), behind })
            }
            Conflict::Update { key, newest_by } => {
                Some(Self::update(table, &into, key, newest_by.as_deref()))
            }
        }
    }

    /// Of rows with one key the last one, or the newest, takes the place of the table's.
    fn update(table: &Table, into: &str, key: &[String], newest_by: Option<&str>) -> Self {
        let keys = names(key);
        // NULL is no key: such rows are in nobody's way.
        let no_key: String = key.iter().map(|name| format!(" OR {} IS NULL", quoted(name))).collect();
        let others = table.columns.iter().filter(|column| !key.contains(&column.name));
        let set: Vec<String> = others
            .map(|column| quoted(&column.name))
            .map(|name| format!("{name} = EXCLUDED.{name}"))
            .collect();
        let newest = newest_by.map(quoted);
        let first = newest.as_ref().map(|by| format!("{by} DESC NULLS LAST, ")).unwrap_or_default();
        let only = newest
            .map(|by| format!(" WHERE standpipe_old.{by} IS NULL OR EXCLUDED.{by} >= standpipe_old.{by}"));
        let set = match set.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}{}", set.join(", "), only.unwrap_or_default()),
        };
        Self {
            before: format!(
                "{into}(SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {first}standpipe_row DESC) AS \
                 standpipe_rank FROM {STAGE}"
            ),
            // Keys in order, so that attempts that meet wait for each other and do not lock each other out.
            behind: format!(
                ") AS stage WHERE standpipe_rank = 1{no_key} ORDER BY {keys} ON CONFLICT ({keys}) DO {set}"
            ),
        }
    }

    fn sql(&self, range: &Range<usize>) -> String {
        let (start, end) = (range.start, range.end);
        format!("{} WHERE standpipe_row >= {start} AND standpipe_row < {end} {}", self.before, self.behind)
    }
}

fn names(key: &[String]) -> String {
    list(key.iter().map(String::as_str))
}
