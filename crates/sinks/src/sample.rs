//! Rows and requests to test the sinks of requests with, without a network.

use bytes::Bytes;
use standpipe_model::{
    BatchId, CloseReason, DestinationId, Position, Request, RequestId, RequestRow, RowOrigin, StreamName,
    Timestamp,
};

/// Rows at the positions from 0 on.
pub(crate) fn rows<T: AsRef<[u8]>>(data: &[T]) -> Vec<RequestRow> {
    let row = |(number, data): (usize, &T)| RequestRow {
        origin: RowOrigin { position: Position(number as u64), sub: 0 },
        arrived_at: Timestamp(1),
        data: Bytes::copy_from_slice(data.as_ref()),
    };
    data.iter().enumerate().map(row).collect()
}

/// A first attempt at these rows.
pub(crate) fn request(rows: Vec<RequestRow>, attempted_at: Timestamp) -> Request {
    Request {
        stream: StreamName::parse("clicks").unwrap(),
        stream_arn: "arn:aws:firehose:us-east-1:000000000000:deliverystream/clicks".into(),
        destination: DestinationId::primary(),
        batch: BatchId([7; 16]),
        id: RequestId([1; 16]),
        version: 1,
        closed_by: CloseReason::Age,
        rows,
        repeated: false,
        attempted_at,
    }
}
