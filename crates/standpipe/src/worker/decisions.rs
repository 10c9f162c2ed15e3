//! What an endpoint does not take: which records, why, and how that is told in the journal.

use std::collections::{BTreeMap, BTreeSet};

use standpipe_journal::control::Decide;
use standpipe_model::{BatchRange, Position};

/// So many different messages of a batch are kept; rows beyond get the first one of their code.
const MESSAGES_MAX: usize = 100;
/// How much of a message is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Whether a record was given up.
pub(super) fn is_decided(decided: &[Decide], position: Position) -> bool {
    decision(decided, position).is_some()
}

/// Why a record was given up: the first reason counts.
pub(super) fn decision(decided: &[Decide], position: Position) -> Option<&Decide> {
    let holds = |rows: &BatchRange| rows.first <= position && position <= rows.last;
    decided.iter().find(|decide| decide.rows.iter().any(holds))
}

/// How many records were given up.
pub(super) fn count(decided: &[Decide]) -> u64 {
    let mut ranges: Vec<BatchRange> = decided.iter().flat_map(|decide| decide.rows.iter().copied()).collect();
    ranges.sort_unstable_by_key(|range| range.first);
    let (mut total, mut from) = (0, Position(0));
    for range in ranges {
        let first = range.first.max(from);
        if first <= range.last {
            total += BatchRange { first, last: range.last }.count();
            from = range.end();
        }
    }
    total
}

/// Records that an endpoint does not take, by code and message.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<(String, String), BTreeSet<Position>>);

impl Refused {
    pub(super) fn add(&mut self, code: String, message: &str, positions: impl IntoIterator<Item = Position>) {
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        self.0.entry((code, message)).or_default().extend(positions);
    }

    /// The same with their ranges. `told` counts the messages of the batch so far: they take room in the journal.
    pub(super) fn decisions(self, told: &mut usize) -> Vec<(String, String, Vec<BatchRange>)> {
        let mut groups: Vec<((String, String), BTreeSet<Position>)> = Vec::new();
        for (reason, positions) in self.0 {
            // They are sorted, so that those of one code stand together.
            match groups.last_mut().filter(|((code, _), _)| *told >= MESSAGES_MAX && *code == reason.0) {
                Some((_, kept)) => kept.extend(positions),
                None => {
                    *told += 1;
                    groups.push((reason, positions));
                }
            }
        }
        let ranges =
            groups.into_iter().map(|((code, message), positions)| (code, message, ranges(positions)));
        ranges.collect()
    }
}

fn ranges(positions: BTreeSet<Position>) -> Vec<BatchRange> {
    let all: Vec<Position> = positions.into_iter().collect();
    let runs = all.chunk_by(|a, b| a.0 + 1 == b.0);
    runs.map(|run| BatchRange { first: run[0], last: run[run.len() - 1] }).collect()
}

#[cfg(test)]
mod tests {
    use standpipe_model::{BatchId, DestinationId, Timestamp};

    use super::*;

    #[test]
    fn what_was_given_up_is_counted_once_per_record_and_keeps_its_first_reason() {
        let decide = |reason: &str, first, last| Decide {
            batch: BatchId([1; 16]),
            destination: DestinationId::primary(),
            rows: vec![BatchRange { first: Position(first), last: Position(last) }],
            reason: reason.to_owned(),
            message: String::new(),
            attempts: 1,
            decided_at: Timestamp(1),
        };
        let decided = [decide("a", 3, 5), decide("b", 5, 9), decide("c", 1, 1), decide("d", 4, 4)];
        assert_eq!(count(&decided), 8);
        assert_eq!(decision(&decided, Position(5)).map(|decide| &*decide.reason), Some("a"));
        assert_eq!(decision(&decided, Position(2)), None);
    }

    #[test]
    fn messages_of_a_batch_are_kept_up_to_a_number() {
        let mut refused = Refused::default();
        for position in 0..150 {
            refused.add("400".to_owned(), &format!("message {position:03}"), [Position(position)]);
        }
        refused.add("409".to_owned(), "another", [Position(150), Position(151)]);
        let mut told = 0;
        let decisions = refused.decisions(&mut told);
        assert_eq!(decisions.len(), MESSAGES_MAX + 1);
        let records: u64 = decisions.iter().flat_map(|(_, _, rows)| rows).map(BatchRange::count).sum();
        assert_eq!(records, 152);
        assert_eq!(decisions[MESSAGES_MAX].2, [BatchRange { first: Position(150), last: Position(151) }]);
    }
}
