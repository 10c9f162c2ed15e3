//! The Postgres sink on a real server: what it stores, what it refuses, what it does when something breaks.

#![allow(
    clippy::unwrap_used,
    reason = "a panic in a test is a failure with a line number, in its helpers too"
)]

mod breaking;
mod conforming;
mod loading;
mod setting_up;
mod sharing;
mod values;

use std::sync::Arc;

use bytes::Bytes;
use standpipe_model::{
    BatchId, CloseReason, DestinationId, Position, Request, RequestId, RequestRow, RequestSink, RowOrigin,
    Secret, StreamName, Timestamp,
};
use standpipe_sinks::{PostgresOptions, PostgresSink};
use standpipe_testkit::servers::Postgres;

/// A database of a test's own.
struct Place {
    server: Arc<Postgres>,
    database: String,
}

impl Place {
    /// The database of that name on the shared server, with what `ddl` makes.
    fn new(database: &str, ddl: &str) -> Self {
        let server = Postgres::shared().expect("PostgreSQL starts");
        server.create_database(database).expect("the name is free");
        let place = Self { server, database: database.to_owned() };
        place.sql(ddl);
        place
    }

    fn sql(&self, statement: &str) -> String {
        self.server.sql(&self.database, statement).expect(statement)
    }

    fn options(&self, table: &str) -> PostgresOptions {
        options(&self.server, &self.database, table)
    }

    fn sink(&self, table: &str) -> PostgresSink {
        PostgresSink::new(&self.options(table)).expect("the options are good")
    }
}

fn options(server: &Postgres, database: &str, table: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new("127.0.0.1", database, Postgres::USER, table);
    options.port = server.port();
    options.password = Some(Secret::new(Postgres::PASSWORD));
    options
}

/// A request of rows that begin at that position of a batch.
pub(crate) fn request<T: AsRef<[u8]>>(batch: u8, first: u64, rows: &[T]) -> Request {
    let row = |(number, data): (u64, &T)| RequestRow {
        origin: RowOrigin { position: Position(first + number), sub: 0 },
        arrived_at: Timestamp(1),
        data: Bytes::copy_from_slice(data.as_ref()),
    };
    let mut id = [batch; 16];
    id[8..].copy_from_slice(&first.to_be_bytes());
    Request {
        stream: StreamName::parse("orders").expect("it is a name"),
        stream_arn: "arn:aws:firehose:us-east-1:000000000000:deliverystream/orders".into(),
        destination: DestinationId::primary(),
        batch: BatchId([batch; 16]),
        id: RequestId(id),
        version: 1,
        closed_by: CloseReason::Age,
        rows: (0..).zip(rows).map(row).collect(),
        repeated: false,
        attempted_at: Timestamp(1),
    }
}

/// Rows `{"n": first}` and on.
pub(crate) fn numbers(first: u64, count: u64) -> Vec<String> {
    (first..first + count).map(|n| format!(r#"{{"n":{n}}}"#)).collect()
}

/// The refused rows: number and code.
async fn refused(sink: &PostgresSink, request: &Request) -> Vec<(usize, String)> {
    let answer = sink.attempt(request).await.expect("the attempt goes well");
    assert!(answer.again.is_none());
    answer.refused.into_iter().map(|refusal| (refusal.row, refusal.code)).collect()
}
