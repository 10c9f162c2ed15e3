//! Recognising a put that comes again because its answer was lost.
//!
//! An SDK repeats a call with the same invocation id and the same body. The front end hashes these into a
//! [`PutDigest`]; this table remembers the digests of the last ten minutes with the answer that was given. It is
//! bounded, and rebuilt from the DATA frames at recovery. When a segment is forgotten while its puts may still come
//! again, they are carried on into the log's end in a PUTS frame.

use std::collections::{BTreeMap, HashMap, VecDeque};

use standpipe_model::PutDigest;
use tokio::sync::oneshot;

use crate::control::{Control, Puts};
use crate::format::SegmentId;
use crate::journal::{AppendError, AppendReceipt};

/// How long a put is remembered, in milliseconds: far longer than any SDK goes on repeating one.
pub(crate) const REMEMBERED_MS: u64 = 10 * 60 * 1000;
/// How many puts a stream remembers at the most; the oldest goes first.
pub(crate) const REMEMBERED_PUTS: usize = 65_536;

type Answer = Result<AppendReceipt, AppendError>;

#[derive(Debug)]
enum Entry {
    /// On its way to the disk; those who sent it again wait with the first.
    Pending(Vec<oneshot::Sender<Answer>>),
    Answered {
        receipt: AppendReceipt,
        /// The sequence of the segment that the put would be read from at recovery.
        home: u64,
    },
}

/// The most puts in one PUTS frame, so that it fits a small segment.
const PUTS_PER_FRAME: usize = 256;

/// The puts of the last ten minutes.
#[derive(Debug, Default)]
pub(crate) struct PutTable {
    entries: HashMap<PutDigest, Entry>,
    /// Answered digests with the time of their answer, oldest first.
    order: VecDeque<(u64, PutDigest)>,
}

/// What the table knows of a put.
pub(crate) enum Known {
    /// It was answered so.
    Answered(AppendReceipt),
    /// It is on its way; the answer comes here.
    Pending(oneshot::Receiver<Answer>),
}

impl PutTable {
    /// Looks a put up.
    pub(crate) fn known(&mut self, digest: PutDigest, now_ms: u64) -> Option<Known> {
        self.expire(now_ms);
        Some(match self.entries.get_mut(&digest)? {
            Entry::Answered { receipt, .. } => Known::Answered(AppendReceipt { repeated: true, ..*receipt }),
            Entry::Pending(waiters) => {
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                Known::Pending(receiver)
            }
        })
    }

    /// Whether a put is known and was accepted.
    pub(crate) fn is_accepted(&mut self, digest: PutDigest, now_ms: u64) -> bool {
        self.expire(now_ms);
        matches!(self.entries.get(&digest), Some(Entry::Answered { .. }))
    }

    /// Makes a new put pending.
    pub(crate) fn begin(&mut self, digest: PutDigest) {
        self.entries.insert(digest, Entry::Pending(Vec::new()));
    }

    /// Answers a pending put: a success is remembered, a refusal forgotten, and those who wait get the same.
    pub(crate) fn finish(&mut self, digest: PutDigest, answer: &Answer, home: u64, now_ms: u64) {
        if let Some(Entry::Pending(waiters)) = self.entries.remove(&digest) {
            for waiter in waiters {
                let repeated = answer.clone().map(|receipt| AppendReceipt { repeated: true, ..receipt });
                // A waiter that hung up needs no answer.
                drop(waiter.send(repeated));
            }
        }
        if let Ok(receipt) = answer {
            self.remember(digest, *receipt, home, now_ms);
        }
    }

    /// The frames that carry on the puts whose home is one of `leaving`, with their digests.
    pub(crate) fn carry(&mut self, leaving: &[u64], now_ms: u64) -> (Vec<Control>, Vec<PutDigest>) {
        self.expire(now_ms);
        let mut by_segment: BTreeMap<SegmentId, Vec<(PutDigest, AppendReceipt)>> = BTreeMap::new();
        for (digest, entry) in &self.entries {
            if let Entry::Answered { receipt, home } = entry
                && leaving.contains(home)
            {
                by_segment.entry(receipt.segment).or_default().push((*digest, *receipt));
            }
        }
        let mut frames = Vec::new();
        let mut digests = Vec::new();
        for (segment, mut puts) in by_segment {
            puts.sort_by_key(|(_, receipt)| receipt.first);
            digests.extend(puts.iter().map(|(digest, _)| *digest));
            frames.extend(puts.chunks(PUTS_PER_FRAME).map(|puts| {
                let put = |(digest, receipt): &(PutDigest, AppendReceipt)| {
                    (hex(&digest.0), receipt.first, receipt.first_ordinal, receipt.count)
                };
                let encrypted = puts.iter().any(|(_, receipt)| receipt.encrypted);
                Control::Puts(Puts {
                    segment: hex(&segment.0),
                    encrypted,
                    puts: puts.iter().map(put).collect(),
                })
            }));
        }
        (frames, digests)
    }

    /// Whether puts that may still come again would be forgotten with a segment.
    pub(crate) fn is_home(&mut self, segment: u64, now_ms: u64) -> bool {
        self.expire(now_ms);
        let is_there = |entry: &Entry| matches!(entry, Entry::Answered { home, .. } if *home == segment);
        self.entries.values().any(is_there)
    }

    /// The puts were carried on into another segment.
    pub(crate) fn carried(&mut self, digests: &[PutDigest], to: u64) {
        for digest in digests {
            if let Some(Entry::Answered { home, .. }) = self.entries.get_mut(digest) {
                *home = to;
            }
        }
    }

    /// Remembers what a PUTS frame tells of, as at recovery.
    pub(crate) fn remember_carried(&mut self, puts: &Puts, home: u64, now_ms: u64) {
        let Some(segment) = unhex(&puts.segment).map(SegmentId) else { return };
        for (digest, first, first_ordinal, count) in &puts.puts {
            let receipt = AppendReceipt {
                segment,
                first_ordinal: *first_ordinal,
                first: *first,
                count: *count,
                encrypted: puts.encrypted,
                repeated: false,
            };
            if let Some(digest) = unhex(digest) {
                self.remember(PutDigest(digest), receipt, home, now_ms);
            }
        }
    }

    /// Remembers an answer, as at recovery.
    pub(crate) fn remember(&mut self, digest: PutDigest, receipt: AppendReceipt, home: u64, now_ms: u64) {
        if self.entries.insert(digest, Entry::Answered { receipt, home }).is_some() {
            // Told of twice, by its own frame and by one that carried it on: it has its place in the order.
            return;
        }
        self.order.push_back((now_ms, digest));
        if self.order.len() > REMEMBERED_PUTS
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some((at, digest)) = self.order.front().copied()
            && at + REMEMBERED_MS <= now_ms
        {
            self.order.pop_front();
            self.entries.remove(&digest);
        }
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SegmentId;
    use standpipe_model::Position;

    fn receipt(ordinal: u64) -> AppendReceipt {
        let segment = SegmentId([1; 16]);
        let (first, encrypted) = (Position(ordinal), ordinal % 2 == 1);
        AppendReceipt { segment, first_ordinal: ordinal, first, count: 1, encrypted, repeated: false }
    }

    #[test]
    fn a_repeat_gets_the_first_answer_for_ten_minutes() {
        let (mut table, digest) = (PutTable::default(), PutDigest([1; 16]));
        assert!(table.known(digest, 0).is_none());
        table.begin(digest);
        let Some(Known::Pending(mut waiting)) = table.known(digest, 0) else {
            panic!("the first is still pending")
        };
        table.finish(digest, &Ok(receipt(5)), 7, 10);
        assert_eq!(waiting.try_recv().unwrap().unwrap(), AppendReceipt { repeated: true, ..receipt(5) });
        assert!(table.is_accepted(digest, REMEMBERED_MS + 9) && !table.is_accepted(PutDigest([2; 16]), 0));
        assert!(
            matches!(table.known(digest, REMEMBERED_MS + 9), Some(Known::Answered(known)) if known.repeated)
        );
        assert!(table.known(digest, REMEMBERED_MS + 10).is_none());
    }

    #[test]
    fn a_refused_put_is_new_when_it_comes_again() {
        let (mut table, digest) = (PutTable::default(), PutDigest([1; 16]));
        table.begin(digest);
        assert!(!table.is_accepted(digest, 0));
        table.finish(digest, &Err(AppendError::Poisoned), 0, 0);
        assert!(table.known(digest, 0).is_none());
    }

    #[test]
    fn puts_of_a_segment_that_goes_are_carried_on_and_read_back() {
        let mut table = PutTable::default();
        let digest = |number: u64| PutDigest(u128::from(number).to_le_bytes());
        for number in 0..600 {
            table.remember(digest(number), receipt(number), number % 2, number);
        }
        let (frames, digests) = table.carry(&[1], REMEMBERED_MS + 99);
        assert_eq!((frames.len(), digests.len()), (1, 250), "those of the last ten minutes");
        table.carried(&digests, 9);
        assert!(table.is_home(9, 0) && !table.is_home(1, 0) && !table.is_home(9, REMEMBERED_MS + 600));
        assert!(table.carry(&[1], REMEMBERED_MS + 99).1.is_empty());
        let mut again = PutTable::default();
        for frame in &frames {
            let Control::Puts(puts) = frame else { panic!("{frame:?}") };
            again.remember_carried(puts, 9, 0);
        }
        let Some(Known::Answered(known)) = again.known(digest(599), 0) else { panic!("it was carried on") };
        assert_eq!(known, AppendReceipt { repeated: true, ..receipt(599) });
        assert!(again.known(digest(598), 0).is_none(), "its segment stays");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = PutTable::default();
        for i in 0..REMEMBERED_PUTS + 10 {
            let digest = PutDigest((i as u128).to_le_bytes());
            table.remember(digest, receipt(i as u64), 0, 0);
        }
        assert_eq!((table.entries.len(), table.order.len()), (REMEMBERED_PUTS, REMEMBERED_PUTS));
    }
}
