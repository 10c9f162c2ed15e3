//! The body, cut into parts.

use bytes::{Buf, Bytes};
use futures::StreamExt;
use standpipe_model::{Body, BodyError, ErrorClass, SinkError};

/// How much a part's buffer holds at first. It doubles from there, so that a small object costs a small buffer.
const BUFFER_START: usize = 64 << 10;

/// Reads a body part by part.
pub(crate) struct Source {
    body: Body,
    /// What the last piece held beyond the part it was read for.
    rest: Bytes,
    ended: bool,
}

impl Source {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), ended: false }
    }

    /// Fills `part` up to `size` bytes; less only where the body ends.
    ///
    /// # Cancel safety
    /// What was read is in `part` or kept here, so the call may be dropped and made again.
    pub(crate) async fn fill(&mut self, part: &mut Vec<u8>, size: usize) -> Result<(), BodyError> {
        while part.len() < size && !self.at_end().await? {
            let taken = self.rest.len().min(size - part.len());
            reserve(part, taken, size);
            part.extend_from_slice(self.rest.get(..taken).unwrap_or_default());
            self.rest.advance(taken);
        }
        Ok(())
    }

    /// Whether nothing follows. It reads ahead to the next piece that has bytes.
    pub(crate) async fn at_end(&mut self) -> Result<bool, BodyError> {
        while self.rest.is_empty() && !self.ended {
            match self.body.next().await {
                Some(piece) => self.rest = piece?,
                None => self.ended = true,
            }
        }
        Ok(self.rest.is_empty())
    }
}

/// The body could not be produced; the store has nothing to do with it.
pub(crate) fn body_failed(error: BodyError) -> SinkError {
    SinkError::new(ErrorClass::Transient, error.to_string()).with_source(error)
}

/// Makes room for `more` bytes by doubling, but never beyond `size`: the memory bound is exact.
fn reserve(part: &mut Vec<u8>, more: usize, size: usize) {
    let needed = part.len() + more;
    if needed > part.capacity() {
        let capacity = needed.max(part.capacity() * 2).max(BUFFER_START).min(size);
        part.reserve_exact(capacity - part.len());
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn source(pieces: &[&'static str]) -> Source {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
        Source::new(stream::iter(pieces).boxed())
    }

    #[tokio::test]
    async fn parts_are_full_whatever_the_pieces() {
        let mut source = source(&["", "abc", "d", "", "efghijk", ""]);
        let mut parts = Vec::new();
        while !source.at_end().await.expect("no error") {
            let mut part = Vec::new();
            source.fill(&mut part, 4).await.expect("no error");
            parts.push(String::from_utf8(part).expect("text"));
        }
        assert_eq!(parts, ["abcd", "efgh", "ijk"]);
    }

    #[tokio::test]
    async fn an_empty_body_ends_at_once() {
        assert!(source(&["", ""]).at_end().await.expect("no error"));
    }

    #[test]
    fn a_buffer_never_outgrows_its_part() {
        let (mut part, size) = (Vec::new(), 300 << 10);
        for _ in 0..300 {
            reserve(&mut part, 1 << 10, size);
            part.extend_from_slice(&[0; 1 << 10]);
        }
        assert_eq!((part.len(), part.capacity()), (size, size));
    }
}
