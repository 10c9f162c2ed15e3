//! A row as a spool keeps it, with what it comes from.

use bytes::{Buf, BufMut, Bytes};
use standpipe_model::{Position, RequestRow, RowOrigin, Timestamp};

/// Position, number within the record, arrival.
const LEN: usize = 20;

pub(crate) fn write(row: &RequestRow) -> Vec<u8> {
    let mut kept = Vec::with_capacity(LEN + row.data.len());
    kept.put_u64_le(row.origin.position.0);
    kept.put_u32_le(row.origin.sub);
    kept.put_u64_le(row.arrived_at.as_millis());
    kept.extend_from_slice(&row.data);
    kept
}

pub(crate) fn read(mut kept: Bytes) -> Option<RequestRow> {
    if kept.len() < LEN {
        return None;
    }
    let (position, sub, arrived_at) = (kept.get_u64_le(), kept.get_u32_le(), kept.get_u64_le());
    let origin = RowOrigin { position: Position(position), sub };
    Some(RequestRow { origin, arrived_at: Timestamp(arrived_at), data: kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_spool_knows_where_it_comes_from() {
        let (origin, data) = (RowOrigin { position: Position(1 << 40), sub: 9 }, Bytes::from_static(b"data"));
        let row = RequestRow { origin, arrived_at: Timestamp(7), data };
        assert_eq!(read(write(&row).into()), Some(row));
        assert_eq!(read(Bytes::from_static(b"short")), None);
    }
}
