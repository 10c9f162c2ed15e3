//! Request bodies: read into one buffer, within a limit, a time and a daemon-wide budget.
//!
//! # Invariants
//! - A byte is read only after its permit was taken, so all bodies together never hold more than the budget. The
//!   decoded records are smaller than the body that they come from, and the body is dropped once it is decoded: the
//!   same permits stand for them until the put has been answered.
//! - Whoever waits for permits holds some for at most [`BodyLimits::budget_wait`], so two growing bodies cannot block
//!   each other for longer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The budget is counted in units of this many bytes.
const UNIT: usize = 1024;
/// What a body of unknown length (chunked) starts with; it doubles from there.
const FIRST_PART: usize = 64 * 1024;

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// The most bytes.
    pub(crate) max: usize,
    /// The longest time until its last byte.
    pub(crate) time: Duration,
    /// The longest wait for the budget.
    pub(crate) budget_wait: Duration,
}

/// The daemon-wide budget.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

/// A body, with its part of the budget.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Vec<u8>,
    pub(crate) permits: Permits,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permits {
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is beyond the limit")]
    TooLarge,
    #[error("the budget for request bodies is used up")]
    NoBudget,
    #[error("the body did not arrive in time")]
    TimedOut,
    #[error("the client broke off")]
    Broken,
}

impl BodyBudget {
    /// A budget of `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// The bytes that are free.
    pub(crate) fn available(&self) -> usize {
        self.0.available_permits() * UNIT
    }

    async fn take(&self, bytes: usize, wait: Duration) -> Result<Permits, BodyError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| BodyError::NoBudget)?;
        match timeout(wait, Arc::clone(&self.0).acquire_many_owned(units)).await {
            Ok(Ok(taken)) => Ok(Permits { taken: Some(taken), bytes: units as usize * UNIT }),
            _ => Err(BodyError::NoBudget),
        }
    }
}

impl Permits {
    fn merge(&mut self, other: Permits) {
        self.bytes += other.bytes;
        match (&mut self.taken, other.taken) {
            (Some(taken), Some(other)) => taken.merge(other),
            (taken, other) => *taken = taken.take().or(other),
        }
    }
}

/// Reads `body` to its end.
pub(crate) async fn receive<B>(
    body: B,
    budget: &BodyBudget,
    limits: BodyLimits,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = body.size_hint().exact();
    if declared.is_some_and(|len| len > limits.max as u64) {
        return Err(BodyError::TooLarge);
    }
    // Within `max`, so it fits.
    let first = declared.map_or(FIRST_PART.min(limits.max), |len| len as usize);
    let permits = budget.take(first, limits.budget_wait).await?;
    let received = Received { bytes: Vec::with_capacity(first), permits };
    match timeout(limits.time, read_frames(body, received, budget, limits)).await {
        Ok(read) => read,
        Err(_) => Err(BodyError::TimedOut),
    }
}

async fn read_frames<B>(
    mut body: B,
    mut received: Received,
    budget: &BodyBudget,
    limits: BodyLimits,
) -> Result<Received, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        // Trailers are none of ours.
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        let len = received.bytes.len() + data.len();
        if len > limits.max {
            return Err(BodyError::TooLarge);
        }
        if len > received.permits.bytes {
            let wanted = len.max(received.permits.bytes * 2).min(limits.max);
            let more = budget.take(wanted - received.permits.bytes, limits.budget_wait).await?;
            received.permits.merge(more);
            received.bytes.reserve_exact(received.permits.bytes - received.bytes.len());
        }
        received.bytes.extend_from_slice(&data);
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    const LIMITS: BodyLimits =
        BodyLimits { max: 300_000, time: Duration::from_secs(30), budget_wait: Duration::from_secs(1) };

    fn parts(len: usize, part: usize) -> impl Body<Data = Bytes> + Unpin {
        let parts = vec![7u8; len].chunks(part).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let frames = parts.into_iter().map(|part| Ok::<_, std::io::Error>(Frame::data(part)));
        StreamBody::new(futures::stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_of_known_length_takes_its_permits_at_once_and_gives_them_back() {
        let budget = BodyBudget::new(1 << 20);
        let received = receive(Full::new(Bytes::from(vec![1; 5000])), &budget, LIMITS).await.unwrap();
        assert_eq!((received.bytes.len(), received.bytes.capacity()), (5000, 5000));
        assert_eq!(budget.available(), (1 << 20) - 5 * UNIT);
        drop(received);
        assert_eq!(budget.available(), 1 << 20);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_grows_within_its_permits() {
        let budget = BodyBudget::new(1 << 20);
        let received = receive(parts(200_000, 7000), &budget, LIMITS).await.unwrap();
        assert_eq!(received.bytes, vec![7; 200_000]);
        assert!(received.permits.bytes >= received.bytes.capacity(), "{received:?}");
        assert_eq!(budget.available(), (1 << 20) - received.permits.bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_hold() {
        let budget = BodyBudget::new(1 << 20);
        let known = receive(Full::new(Bytes::from(vec![1; 300_001])), &budget, LIMITS).await;
        assert_eq!(known.unwrap_err(), BodyError::TooLarge);
        assert_eq!(receive(parts(300_001, 5000), &budget, LIMITS).await.unwrap_err(), BodyError::TooLarge);
        assert_eq!(receive(parts(300_000, 5000), &budget, LIMITS).await.unwrap().bytes.len(), 300_000);

        let small = BodyBudget::new(100_000);
        assert_eq!(receive(parts(200_000, 5000), &small, LIMITS).await.unwrap_err(), BodyError::NoBudget);
        let held = receive(Full::new(Bytes::from(vec![1; 90_000])), &small, LIMITS).await.unwrap();
        let waiting = receive(Full::new(Bytes::from(vec![1; 90_000])), &small, LIMITS);
        assert_eq!(waiting.await.unwrap_err(), BodyError::NoBudget);
        drop(held);
        assert!(receive(Full::new(Bytes::from(vec![1; 90_000])), &small, LIMITS).await.is_ok());
    }
}
