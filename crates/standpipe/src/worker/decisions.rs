//! What a destination does not take: which records, why, and how that is told in the journal.

use std::collections::{BTreeMap, BTreeSet};

use standpipe_journal::control::Decide;
use standpipe_model::{BatchRange, Position};

/// So many different messages of a batch are kept; rows beyond get the first one of their code.
const MESSAGES_MAX: usize = 100;
/// How much of a message is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Ranges of records that were given up, in order and apart, each with the number of its decision. A record that was
/// given up more than once has its range's first decision.
#[derive(Debug, Clone, Default)]
pub(super) struct Decided(Vec<(BatchRange, usize)>);

impl Decided {
    pub(super) fn of(decided: &[Decide]) -> Self {
        let all = decided.iter().enumerate();
        let mut all: Vec<(BatchRange, usize)> =
            all.flat_map(|(number, decide)| decide.rows.iter().map(move |rows| (*rows, number))).collect();
        all.sort_unstable_by_key(|(rows, number)| (rows.first, *number));
        let (mut apart, mut from) = (Vec::with_capacity(all.len()), Position(0));
        for (rows, number) in all {
            let first = rows.first.max(from);
            if first <= rows.last {
                apart.push((BatchRange { first, last: rows.last }, number));
                from = rows.end();
            }
        }
        Self(apart)
    }

    /// The number of the decision about a record.
    pub(super) fn about(&self, position: Position) -> Option<usize> {
        let behind = self.0.partition_point(|(rows, _)| rows.last < position);
        self.0.get(behind).filter(|(rows, _)| rows.first <= position).map(|(_, number)| *number)
    }

    pub(super) fn holds(&self, position: Position) -> bool {
        self.about(position).is_some()
    }

    /// How many records were given up.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(rows, _)| rows.count()).sum()
    }
}

/// Records that an endpoint does not take, by code and message.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<(String, String), BTreeSet<Position>>);

impl Refused {
    pub(super) fn add(&mut self, code: String, message: &str, positions: impl IntoIterator<Item = Position>) {
        self.0.entry((code, excerpt(message))).or_default().extend(positions);
    }

    /// The same with their ranges, each with a message that the batch has a place for.
    pub(super) fn decisions(self, messages: &mut Messages) -> Vec<(String, String, Vec<BatchRange>)> {
        let mut groups: BTreeMap<(String, String), BTreeSet<Position>> = BTreeMap::new();
        for ((code, message), positions) in self.0 {
            let message = messages.kept(&code, message);
            groups.entry((code, message)).or_default().extend(positions);
        }
        let ranges =
            groups.into_iter().map(|((code, message), positions)| (code, message, ranges(positions)));
        ranges.collect()
    }
}

/// The messages of a batch so far, by code: they take room in the journal.
#[derive(Debug, Default)]
pub(super) struct Messages(BTreeMap<String, Vec<String>>);

impl Messages {
    pub(super) fn of(decided: &[Decide]) -> Self {
        let mut messages = Self::default();
        for decide in decided {
            messages.kept(&decide.reason, decide.message.clone());
        }
        messages
    }

    /// The message itself, or the first one of its code where there are enough of them.
    fn kept(&mut self, code: &str, message: String) -> String {
        let count: usize = self.0.values().map(Vec::len).sum();
        let of_code = self.0.entry(code.to_owned()).or_default();
        match of_code.first() {
            Some(first) if count >= MESSAGES_MAX && !of_code.contains(&message) => first.clone(),
            _ => {
                if !of_code.contains(&message) {
                    of_code.push(message.clone());
                }
                message
            }
        }
    }
}

/// What is kept of a message.
pub(super) fn excerpt(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// Adds a record behind the others, unless it is the last of them.
pub(super) fn push(ranges: &mut Vec<BatchRange>, position: Position) {
    match ranges.last_mut() {
        Some(last) if last.last == position => {}
        Some(last) if last.end() == position => last.last = position,
        _ => ranges.push(BatchRange { first: position, last: position }),
    }
}

fn ranges(positions: BTreeSet<Position>) -> Vec<BatchRange> {
    let mut ranges = Vec::new();
    positions.into_iter().for_each(|position| push(&mut ranges, position));
    ranges
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
        let apart = Decided::of(&decided);
        assert_eq!(apart.count(), 8);
        let reason = |position| apart.about(Position(position)).map(|number| &*decided[number].reason);
        let reasons: Vec<_> = (0..11).map(reason).collect();
        let (a, b) = (Some("a"), Some("b"));
        assert_eq!(reasons, [None, Some("c"), None, a, a, a, b, b, b, b, None]);
    }

    #[test]
    fn messages_of_a_batch_are_kept_up_to_a_number() {
        let mut messages = Messages::default();
        let mut all: BTreeMap<(String, String), u64> = BTreeMap::new();
        // A request each, as the endpoint answers them.
        for position in 0..150 {
            let mut refused = Refused::default();
            refused.add("400".to_owned(), &format!("message {position:03}"), [Position(position)]);
            if position == 149 {
                refused.add("409".to_owned(), "another", [Position(150), Position(151)]);
            }
            for (code, message, rows) in refused.decisions(&mut messages) {
                *all.entry((code, message)).or_default() += rows.iter().map(BatchRange::count).sum::<u64>();
            }
        }
        assert_eq!((all.len(), all.values().sum::<u64>()), (MESSAGES_MAX + 1, 152));
        assert_eq!(all[&("400".to_owned(), "message 000".to_owned())], 51);
    }
}
