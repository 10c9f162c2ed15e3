//! The memory of deliveries: an attempt reserves what it may need before it begins, and waits until it is there.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: u64 = 64 << 10;

/// Bytes that all attempts together may hold.
#[derive(Debug)]
pub struct Memory {
    units: Arc<Semaphore>,
    total: u32,
}

impl Memory {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX / 2).max(1);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits for `bytes`, or for the whole budget where that is less; first come, first served.
    pub async fn reserve(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes / UNIT + 1).unwrap_or(self.total).min(self.total);
        // The semaphore is never closed, so this is always a permit.
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_wants_more_than_there_is_gets_all_and_others_wait() {
        let memory = Memory::new(1 << 20);
        let all = memory.reserve(1 << 30).await;
        assert!(all.is_some());
        assert_eq!(memory.units.available_permits(), 0);
        drop(all);
        assert_eq!(memory.units.available_permits(), 16);
    }
}
