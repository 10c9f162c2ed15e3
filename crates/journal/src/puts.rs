//! Recognising a put that comes again because its answer was lost.
//!
//! An SDK repeats a call with the same invocation id and the same body. The front end hashes these into a
//! [`PutDigest`]; this table remembers the digests of the last ten minutes with the answer that was given. It is
//! bounded, and rebuilt from the DATA frames at recovery.

use std::collections::{HashMap, VecDeque};

use standpipe_model::PutDigest;
use tokio::sync::oneshot;

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
    Answered(AppendReceipt),
}

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
            Entry::Answered(receipt) => Known::Answered(AppendReceipt { repeated: true, ..*receipt }),
            Entry::Pending(waiters) => {
                let (sender, receiver) = oneshot::channel();
                waiters.push(sender);
                Known::Pending(receiver)
            }
        })
    }

    /// Makes a new put pending.
    pub(crate) fn begin(&mut self, digest: PutDigest) {
        self.entries.insert(digest, Entry::Pending(Vec::new()));
    }

    /// Answers a pending put: a success is remembered, a refusal forgotten, and those who wait get the same.
    pub(crate) fn finish(&mut self, digest: PutDigest, answer: &Answer, now_ms: u64) {
        if let Some(Entry::Pending(waiters)) = self.entries.remove(&digest) {
            for waiter in waiters {
                let repeated = answer.clone().map(|receipt| AppendReceipt { repeated: true, ..receipt });
                // A waiter that hung up needs no answer.
                drop(waiter.send(repeated));
            }
        }
        if let Ok(receipt) = answer {
            self.remember(digest, *receipt, now_ms);
        }
    }

    /// Remembers an answer, as at recovery.
    pub(crate) fn remember(&mut self, digest: PutDigest, receipt: AppendReceipt, now_ms: u64) {
        self.entries.insert(digest, Entry::Answered(receipt));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SegmentId;
    use standpipe_model::Position;

    fn receipt(ordinal: u64) -> AppendReceipt {
        let segment = SegmentId([1; 16]);
        AppendReceipt { segment, first_ordinal: ordinal, first: Position(ordinal), count: 1, repeated: false }
    }

    #[test]
    fn a_repeat_gets_the_first_answer_for_ten_minutes() {
        let (mut table, digest) = (PutTable::default(), PutDigest([1; 16]));
        assert!(table.known(digest, 0).is_none());
        table.begin(digest);
        let Some(Known::Pending(mut waiting)) = table.known(digest, 0) else {
            panic!("the first is still pending")
        };
        table.finish(digest, &Ok(receipt(5)), 10);
        assert_eq!(waiting.try_recv().unwrap().unwrap(), AppendReceipt { repeated: true, ..receipt(5) });
        assert!(
            matches!(table.known(digest, REMEMBERED_MS + 9), Some(Known::Answered(known)) if known.repeated)
        );
        assert!(table.known(digest, REMEMBERED_MS + 10).is_none());
    }

    #[test]
    fn a_refused_put_is_new_when_it_comes_again() {
        let (mut table, digest) = (PutTable::default(), PutDigest([1; 16]));
        table.begin(digest);
        table.finish(digest, &Err(AppendError::Poisoned), 0);
        assert!(table.known(digest, 0).is_none());
    }

    #[test]
    fn the_table_is_bounded() {
        let mut table = PutTable::default();
        for i in 0..REMEMBERED_PUTS + 10 {
            let digest = PutDigest((i as u128).to_le_bytes());
            table.remember(digest, receipt(i as u64), 0);
        }
        assert_eq!((table.entries.len(), table.order.len()), (REMEMBERED_PUTS, REMEMBERED_PUTS));
    }
}
