//! The commit threads: a small pool that writes and syncs the journals with something waiting.
//!
//! A journal with waiting appends is queued once, however many wait; the thread that takes it gathers them all into
//! one write and one sync. So a thousand streams share a few threads, and a busy stream gets large groups.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::journal::Shared;

/// Threads that commit journals.
#[derive(Debug)]
pub struct CommitPool {
    queue: Mutex<Queue>,
    ready: Condvar,
    inline: bool,
}

#[derive(Debug, Default)]
struct Queue {
    dirty: VecDeque<Arc<Shared>>,
    stopped: bool,
}

impl CommitPool {
    /// Starts `threads` commit threads. They end when [`stop`](CommitPool::stop) is called.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(threads: usize) -> io::Result<Arc<Self>> {
        let pool = Arc::new(Self { queue: Mutex::default(), ready: Condvar::new(), inline: false });
        for number in 0..threads.max(1) {
            let pool = Arc::clone(&pool);
            thread::Builder::new().name(format!("commit-{number}")).spawn(move || pool.run())?;
        }
        Ok(pool)
    }

    /// A pool without threads: whoever appends commits. For tools and deterministic tests.
    pub fn inline() -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), ready: Condvar::new(), inline: true })
    }

    /// Lets the threads end once nothing is queued.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.ready.notify_all();
    }

    pub(crate) fn submit(&self, journal: Arc<Shared>) {
        if self.inline {
            while journal.commit() {}
            return;
        }
        self.lock().dirty.push_back(journal);
        self.ready.notify_one();
    }

    fn run(&self) {
        loop {
            let mut queue = self.lock();
            let journal = loop {
                match queue.dirty.pop_front() {
                    Some(journal) => break journal,
                    None if queue.stopped => return,
                    None => queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            // A panic here is a bug that leaves a journal in an unknown state. Going on could lose what was
            // acknowledged; recovery cannot.
            match catch_unwind(AssertUnwindSafe(|| journal.commit())) {
                Ok(true) => self.submit(journal),
                Ok(false) => {}
                Err(_) => {
                    tracing::error!(dir = %journal.dir.display(), "a commit panicked; standpipe stops to recover");
                    std::process::abort();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
