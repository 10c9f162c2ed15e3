//! Reading one object whole, within a bound, and only if it is another one than the reader knows.

use async_trait::async_trait;
use standpipe_model::{ErrorClass, ObjectTarget, SinkError};

/// What was found of an object.
#[derive(Debug)]
pub enum Found {
    /// It is the one that the reader knows; nothing of it was read.
    Same,
    /// It is another one.
    Other {
        /// All of it.
        bytes: Vec<u8>,
        /// What this state of it is known by, where the store says.
        tag: Option<String>,
    },
}

/// Who reads objects of a store.
#[async_trait]
pub trait ReadObject: Send + Sync + std::fmt::Debug {
    /// Reads an object, unless it is the one that has the tag `known`: once, without another try.
    ///
    /// # Errors
    /// As [`Sink::attempt`](standpipe_model::Sink::attempt); an object of more than `max_bytes` counts as
    /// misconfigured.
    async fn read(
        &self,
        target: &ObjectTarget,
        known: Option<&str>,
        max_bytes: u64,
    ) -> Result<Found, SinkError>;
}

/// What is read of an object, up to its bound.
pub(crate) struct Bounded {
    pub(crate) bytes: Vec<u8>,
    max: u64,
    place: String,
}

impl Bounded {
    /// For the object at `place` that says to have `length` bytes.
    pub(crate) fn new(place: String, length: u64, max: u64) -> Result<Self, SinkError> {
        let bounded = Self { bytes: Vec::new(), max, place };
        bounded.check(length)?;
        Ok(bounded)
    }

    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), SinkError> {
        self.check(self.bytes.len() as u64 + piece.len() as u64)?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn check(&self, bytes: u64) -> Result<(), SinkError> {
        if bytes <= self.max {
            return Ok(());
        }
        let message =
            format!("{}: the object has {bytes} bytes or more, its max is {}", self.place, self.max);
        Err(SinkError::new(ErrorClass::Misconfigured, message))
    }
}
