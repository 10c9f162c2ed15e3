//! Limits of rate and concurrency: token buckets on the steady clock.
//!
//! A bucket fills at its rate up to what its burst allows. A request is let in when each of its buckets holds its cost,
//! or is full where the cost is more than the bucket can ever hold; it takes the whole cost, if need be on credit that
//! later requests wait for. So the rate holds over time, and no request is too large to ever pass. A request that one
//! limit refuses takes nothing from any other.
//!
//! # Limits
//! - What limits count is decided once, when a request is admitted; what was admitted is not taken back when the put
//!   then fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Operation;

/// When to come back where only the end of another request helps.
pub const THROTTLED_RETRY_AFTER: Duration = Duration::from_millis(100);

/// How much may be put; without a number there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutLimits {
    /// Records in a second.
    pub records_per_second: Option<u64>,
    /// Data bytes of records in a second.
    pub bytes_per_second: Option<u64>,
    /// Puts in a second.
    pub requests_per_second: Option<u64>,
    /// Puts that are being answered at the same time.
    pub concurrent_requests: Option<u64>,
    /// How long a rate that is not used is saved up.
    pub burst: Duration,
}

impl PutLimits {
    /// Whether there is no limit at all.
    pub fn is_unlimited(&self) -> bool {
        let Self { records_per_second, bytes_per_second, requests_per_second, concurrent_requests, burst: _ } =
            self;
        [records_per_second, bytes_per_second, requests_per_second, concurrent_requests]
            .into_iter()
            .all(Option::is_none)
    }
}

/// Tokens that come at a rate.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    capacity: f64,
    level: f64,
    at: Duration,
}

impl Bucket {
    /// A full one.
    fn new(per_second: u64, burst: Duration) -> Self {
        let per_second = per_second as f64;
        let capacity = (per_second * burst.as_secs_f64()).max(1.0);
        Self { per_second, capacity, level: capacity, at: Duration::ZERO }
    }

    /// How long until `cost` would be let in.
    fn wait(&mut self, cost: f64, now: Duration) -> Duration {
        // Requests on different threads may come here in another order than that of their clocks.
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.capacity);
        self.at = self.at.max(now);
        let missing = cost.min(self.capacity) - self.level;
        if missing <= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(missing / self.per_second) }
    }
}

/// What a put costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) records: u32,
    pub(crate) bytes: u64,
}

impl Cost {
    /// In the order of [`State::buckets`].
    fn of_each(self) -> [f64; 3] {
        [f64::from(self.records), self.bytes as f64, 1.0]
    }
}

#[derive(Debug)]
struct State {
    /// Of records, bytes and requests.
    buckets: [Option<Bucket>; 3],
    running: u64,
}

/// The limits of one credential or one stream, with what has been used of them.
#[derive(Debug)]
pub struct PutLimiter {
    limits: PutLimits,
    state: Mutex<State>,
}

impl PutLimiter {
    /// Limits of which nothing has been used.
    pub fn new(limits: PutLimits) -> Self {
        let bucket = |rate: Option<u64>| rate.map(|rate| Bucket::new(rate, limits.burst));
        let rates = [limits.records_per_second, limits.bytes_per_second, limits.requests_per_second];
        Self { limits, state: Mutex::new(State { buckets: rates.map(bucket), running: 0 }) }
    }

    /// The limits.
    pub fn limits(&self) -> PutLimits {
        self.limits
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, state: &mut State, cost: Cost, now: Duration) -> Duration {
        let full = self.limits.concurrent_requests.is_some_and(|most| state.running >= most);
        let least = if full { THROTTLED_RETRY_AFTER } else { Duration::ZERO };
        let buckets = state.buckets.iter_mut().zip(cost.of_each());
        buckets.flat_map(|(bucket, cost)| Some(bucket.as_mut()?.wait(cost, now))).fold(least, Duration::max)
    }
}

impl State {
    fn take(&mut self, cost: Cost) {
        self.running += 1;
        for (bucket, cost) in self.buckets.iter_mut().zip(cost.of_each()) {
            if let Some(bucket) = bucket {
                bucket.level -= cost;
            }
        }
    }
}

/// Leave to put; counts as a request that is being answered until it is dropped.
#[derive(Debug)]
pub(crate) struct Slots([Option<Arc<PutLimiter>>; 2]);

impl Drop for Slots {
    fn drop(&mut self) {
        for limiter in self.0.iter().flatten() {
            limiter.lock().running -= 1;
        }
    }
}

/// Lets a put in, or says which of the limiters refuses it and for how long.
///
/// Two callers always give their limiters in the same order of kinds, so that none waits for the other.
pub(crate) fn admit(
    limiters: [Option<Arc<PutLimiter>>; 2],
    cost: Cost,
    now: Duration,
) -> Result<Slots, (usize, Duration)> {
    let [first, second] = &limiters;
    let mut states =
        [first.as_ref().map(|limiter| limiter.lock()), second.as_ref().map(|limiter| limiter.lock())];
    let mut refused: Option<(usize, Duration)> = None;
    for (index, (limiter, state)) in limiters.iter().zip(&mut states).enumerate() {
        let (Some(limiter), Some(state)) = (limiter, state) else { continue };
        let wait = limiter.wait(state, cost, now);
        if wait > refused.map_or(Duration::ZERO, |(_, longest)| longest) {
            refused = Some((index, wait));
        }
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    for state in states.iter_mut().flatten() {
        state.take(cost);
    }
    drop(states);
    Ok(Slots(limiters))
}

/// A rate of single events.
#[derive(Debug)]
pub(crate) struct Throttle(Mutex<Bucket>);

impl Throttle {
    /// So many in a second, and so many at once.
    pub(crate) fn per_second(rate: u64) -> Self {
        Self(Mutex::new(Bucket::new(rate, Duration::from_secs(1))))
    }

    /// Lets one through, or says when.
    pub(crate) fn admit(&self, now: Duration) -> Result<(), Duration> {
        let mut bucket = self.lock();
        match bucket.wait(1.0, now) {
            Duration::ZERO => {
                bucket.level -= 1.0;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each operation other than a put may be called; each operation has its own count.
#[derive(Debug)]
pub struct CallLimiter {
    per_second: u64,
    operations: [Throttle; Operation::ALL.len()],
}

impl CallLimiter {
    /// So many calls of each operation in a second.
    pub fn new(per_second: u64) -> Self {
        Self { per_second, operations: Operation::ALL.map(|_| Throttle::per_second(per_second)) }
    }

    /// The limit.
    pub fn calls_per_second(&self) -> u64 {
        self.per_second
    }
}

/// Lets a call in, or says which of the limiters refuses it and for how long. As for [`admit`], the limiters always
/// come in the same order of kinds.
pub(crate) fn admit_call(
    limiters: [Option<&CallLimiter>; 2],
    operation: Operation,
    now: Duration,
) -> Result<(), (usize, Duration)> {
    let mut buckets = limiters.map(|limiter| Some(limiter?.operations[operation as usize].lock()));
    let mut refused: Option<(usize, Duration)> = None;
    for (index, bucket) in buckets.iter_mut().enumerate() {
        let wait = bucket.as_mut().map_or(Duration::ZERO, |bucket| bucket.wait(1.0, now));
        if wait > refused.map_or(Duration::ZERO, |(_, longest)| longest) {
            refused = Some((index, wait));
        }
    }
    if let Some(refused) = refused {
        return Err(refused);
    }
    for bucket in buckets.iter_mut().flatten() {
        bucket.level -= 1.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
