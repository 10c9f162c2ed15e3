//! The ledger in Redshift's SQL: which rows of which batch are in the table already.

use standpipe_model::{BatchId, DestinationId, ErrorClass, Request, RowOrigin, SinkError, StreamName};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::copy::literal;
use crate::postgres::error::{Failure, fault};
use crate::postgres::ledger::{Known, numbers_of, runs};
use crate::postgres::names::TableName;

/// How long a request stays at least.
const KEPT: &str = "1 hour";
/// So many runs of a request's rows are noted one by one; those of more are noted as if what lies between were there.
const RUNS_MAX: usize = 1_000;

/// The ledger of a destination.
pub(super) struct Ledger {
    pub(super) table: TableName,
}

impl Ledger {
    /// What makes it.
    fn ddl(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (request varchar(36) NOT NULL, stream varchar(64) NOT NULL, \
             destination varchar(100) NOT NULL, batch varchar(36) NOT NULL, first_position bigint NOT NULL, \
             first_sub bigint NOT NULL, last_position bigint NOT NULL, last_sub bigint NOT NULL, \
             loaded bigint NOT NULL, loaded_at timestamp NOT NULL)",
            self.table
        )
    }

    /// Makes it, where it is not there.
    pub(super) async fn create(&self, client: &Client) -> Result<(), Failure> {
        let look = format!("SELECT loaded FROM {} LIMIT 0", self.table);
        match client.batch_execute(&look).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {}
            looked => return Ok(looked?),
        }
        client.batch_execute(&self.ddl()).await.map_err(|error| match error.as_db_error() {
            Some(said) if said.code().code().starts_with("42") || said.code().code().starts_with("3F") => {
                let (table, ddl, why) = (&self.table, self.ddl(), said.message());
                let message = format!("there is no ledger {table}, and {why}; make it by: {ddl}");
                fault(ErrorClass::Misconfigured, "42P01", message).into()
            }
            _ => Failure::from(error),
        })
    }

    /// Reads what it has of a request's rows, whichever requests they came in.
    pub(super) async fn known(&self, client: &Client, request: &Request) -> Result<Known, Failure> {
        let mut known = Known::default();
        let (Some(first), Some(last)) = (request.rows.first(), request.rows.last()) else {
            return Ok(known);
        };
        let (first, last) = (numbers_of(first.origin).0, numbers_of(last.origin).0);
        let sql = format!(
            "SELECT first_position, first_sub, last_position, last_sub FROM {} WHERE batch = {} AND \
             last_position >= {first} AND first_position <= {last}",
            self.table,
            literal(&request.batch.to_string())
        );
        for message in client.simple_query(&sql).await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let numbers: Option<Vec<i64>> =
                (0..4).map(|column| row.get(column).and_then(|number| number.parse().ok())).collect();
            let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
            known.add_span(numbers.ok_or_else(|| {
                SinkError::new(ErrorClass::Transient, "the ledger has no numbers where they should be")
            })?);
        }
        Ok(known)
    }

    /// Notes the rows with those numbers, in runs between which no record of the batch is without rows: one that gets other
    /// processors (`rebind`) may have rows of it.
    pub(super) async fn note(
        &self,
        client: &Client,
        request: &Request,
        numbers: &[usize],
    ) -> Result<(), Error> {
        if numbers.is_empty() {
            return Ok(());
        }
        let origins: Vec<RowOrigin> = numbers.iter().map(|&number| request.rows[number].origin).collect();
        let texts = [
            request.id.to_string(),
            request.stream.to_string(),
            request.destination.to_string(),
            request.batch.to_string(),
        ];
        let texts = texts.map(|text| literal(&text)).join(", ");
        let values = runs(&origins, RUNS_MAX).into_iter().map(|run| {
            let (first, first_sub) = numbers_of(origins[run.start]);
            let (last, last_sub) = numbers_of(origins[run.end - 1]);
            format!("({texts}, {first}, {first_sub}, {last}, {last_sub}, {}, GETDATE())", run.len())
        });
        let sql = format!(
            "INSERT INTO {} (request, stream, destination, batch, first_position, first_sub, last_position, last_sub, \
             loaded, loaded_at) VALUES {}",
            self.table,
            values.collect::<Vec<_>>().join(", "),
        );
        client.batch_execute(&sql).await
    }

    /// Removes what it need not know any more. A batch that is not settled has been told of: it was closed before its
    /// rows were loaded, which is long ago.
    pub(super) async fn tidy(
        &self,
        client: &Client,
        stream: &StreamName,
        destination: &DestinationId,
        unsettled: &[BatchId],
    ) -> Result<(), Error> {
        let mut sql = format!(
            "DELETE FROM {} WHERE stream = {} AND destination = {} AND loaded_at < GETDATE() - INTERVAL '{KEPT}'",
            self.table,
            literal(stream.as_str()),
            literal(destination.as_str()),
        );
        if !unsettled.is_empty() {
            let batches: Vec<String> = unsettled.iter().map(|batch| literal(&batch.to_string())).collect();
            sql.push_str(&format!(" AND batch NOT IN ({})", batches.join(", ")));
        }
        client.batch_execute(&sql).await
    }
}
