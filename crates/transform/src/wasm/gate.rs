//! How many calls run at once, and the clock that ends those which take too long.
//!
//! The pool has room for a fixed number of instances; who comes when it is full waits here, so that a full pool is never
//! mistaken for a failed function. While calls run, a thread advances the engine's epoch every [`TICK`]; otherwise it
//! sleeps.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// How exact deadlines are.
pub(super) const TICK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    calls_max: usize,
    state: Mutex<State>,
    /// A call ended.
    ended: Condvar,
    /// The first call began, or the gate is gone.
    began: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    closed: bool,
}

/// Leave to run one call, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Shared);

impl Gate {
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(engine: Engine, calls_max: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            calls_max,
            state: Mutex::default(),
            ended: Condvar::new(),
            began: Condvar::new(),
        });
        let ticker = Arc::clone(&shared);
        thread::Builder::new().name("function-clock".to_owned()).spawn(move || ticker.tick(&engine))?;
        Ok(Self(shared))
    }

    /// Waits for a place. Every call ends by its deadline, so a place becomes free.
    pub(super) fn enter(&self) -> Permit<'_> {
        let shared = &*self.0;
        let state = shared.ended.wait_while(shared.lock(), |state| state.running >= shared.calls_max);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.running += 1;
        if state.running == 1 {
            shared.began.notify_all();
        }
        Permit(shared)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.began.notify_all();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ended.notify_one();
    }
}

impl Shared {
    /// Nothing panics while it is held, so it is always whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &Engine) {
        let mut state = self.lock();
        while !state.closed {
            let idle = self.began.wait_while(state, |state| state.running == 0 && !state.closed);
            let idle = idle.unwrap_or_else(PoisonError::into_inner);
            let waited = self.began.wait_timeout_while(idle, TICK, |state| !state.closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            engine.increment_epoch();
        }
    }
}
