//! What became of each record that `transform run` took through a chain.

use std::collections::BTreeMap;

use standpipe_sinks::key::ObjectKeys;
use standpipe_transform::{Chain, Failure, FailureKind, Record, Row, Source};

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its rows.
    Kept(Vec<Row>),
    /// It came to nothing.
    Dropped,
    /// It would go to the error output.
    Failed(Failure),
}

/// Takes records through the chain; where the destination is partitioned, a record of which a row has no place fails as a
/// whole, as in the worker.
pub(super) fn outcomes(
    chain: &Chain,
    keys: Option<&ObjectKeys>,
    source: &Source,
    records: &[Record],
) -> Vec<Outcome> {
    let mut done = chain.run(source, records);
    let mut kept: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
    for row in done.rows {
        if let Some(Err(error)) = keys.map(|keys| keys.partition(&row.query_keys, &row.function_keys)) {
            let failure = Failure::once(FailureKind::Processing, error.code(), error.to_string());
            done.failures.entry(row.origin.record).or_insert(failure);
        }
        kept.entry(row.origin.record).or_default().push(row);
    }
    let of = |(number, _)| match (done.failures.remove(&number), kept.remove(&number)) {
        (Some(failure), _) => Outcome::Failed(failure),
        (None, Some(rows)) => Outcome::Kept(rows),
        (None, None) => Outcome::Dropped,
    };
    (0u32..).zip(records).map(of).collect()
}
