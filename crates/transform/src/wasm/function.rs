//! A function as a processor: its rows in batches, each call in a new instance, and again when a call failed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::call::{Batch, CallError, Outcome};
use super::lambda;
use super::options::{Called, FunctionOptions};
use super::sandbox::{Guest, LoadError, Sandbox};
use super::state::State;
use crate::chain::Processor;
use crate::row::{Failure, FailureKind, Output, Record, Row, Source};

/// A function that has been loaded. Clones of it are the same function.
#[derive(Clone)]
pub struct WasmFunction {
    pub(super) sandbox: Sandbox,
    pub(super) loaded: Arc<Loaded>,
    pub(super) options: Arc<FunctionOptions>,
}

/// What was made of the file, and what its calls have shown of it.
pub(super) struct Loaded {
    pub(super) guest: Guest,
    pub(super) digest: String,
    /// A call took more than half of its time. At a repetition, on a busier machine, it could take more than all of it,
    /// and then give another result; so could one that met its deadline give a result.
    pub(super) near_deadline: AtomicBool,
    /// Its last call did.
    pub(super) met_deadline: AtomicBool,
    pub(super) memory_bytes: AtomicUsize,
}

impl WasmFunction {
    /// The SHA-256 of the file, in hexadecimal: what a batch pins.
    pub fn digest(&self) -> &str {
        &self.loaded.digest
    }

    /// The same function as one stream calls it: under another name in the error output, more or less often, with more or
    /// less at a time. What is `None` stays.
    #[must_use]
    pub fn called_as(&self, arn: Option<String>, retries: Option<u32>, batch_bytes: Option<usize>) -> Self {
        let mut options = FunctionOptions::clone(&self.options);
        options.arn = arn.unwrap_or(options.arn);
        options.retries = retries.unwrap_or(options.retries);
        options.batch_bytes = batch_bytes.unwrap_or(options.batch_bytes);
        Self { options: Arc::new(options), ..self.clone() }
    }

    /// How it is configured.
    pub fn options(&self) -> &FunctionOptions {
        &self.options
    }

    /// The most memory that a call has taken so far.
    pub fn memory_bytes(&self) -> usize {
        self.loaded.memory_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn start(&self) -> Result<(), LoadError> {
        let state = State::new(Arc::clone(&self.options), "", 0, Vec::new());
        self.sandbox.run(false, state, |store| self.loaded.guest.start(store))
    }

    fn batch(&self, source: &Source, records: &[Record], rows: Vec<Row>, out: &mut Output) {
        let batch = Batch { source, records, rows: &rows };
        let mut attempts = 1;
        let called = loop {
            match self.call(&batch) {
                Err(error) if error.again && attempts <= self.options.retries => attempts += 1,
                called => break called,
            }
        };
        let failure = |code: &str, message: String, attempts| Failure {
            function: Some(self.options.arn.clone()),
            attempts,
            ..Failure::once(FailureKind::Processing, code, message)
        };
        match called {
            Ok(outcomes) => {
                for (row, outcome) in rows.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Ok { data, partition_keys, headers } => {
                            let mut row = row.with_data(data);
                            row.function_keys.extend(partition_keys);
                            row.headers.extend(headers);
                            out.keep(row);
                        }
                        Outcome::Dropped => {}
                        Outcome::Failed { code, message } => out.fail(row.origin, failure(code, message, 1)),
                    }
                }
            }
            Err(error) => {
                for row in rows {
                    out.fail(row.origin, failure(error.code, error.message.clone(), attempts));
                }
            }
        }
    }

    fn call(&self, batch: &Batch<'_>) -> Result<Vec<Outcome>, CallError> {
        let loaded = &*self.loaded;
        let input = match &loaded.guest {
            Guest::Component(_) => Vec::new(),
            Guest::Command(_) => lambda::event(batch),
        };
        let options = Arc::clone(&self.options);
        let state = State::new(options, batch.stream().as_str(), batch.arrived_at().0, input);
        self.sandbox.run(loaded.met_deadline.load(Ordering::Relaxed), state, |store| {
            let began = Instant::now();
            let called = match &loaded.guest {
                Guest::Component(guest) => guest.call(store, batch),
                Guest::Command(guest) => guest.call(store, batch),
            };
            let (elapsed, memory_bytes) = (began.elapsed(), store.data().meter.memory_bytes);
            let met_deadline = called.as_ref().is_err_and(CallError::is_deadline);
            loaded.met_deadline.store(met_deadline, Ordering::Relaxed);
            if met_deadline || elapsed > self.options.limits.deadline / 2 {
                loaded.near_deadline.store(true, Ordering::Relaxed);
            }
            loaded.memory_bytes.fetch_max(memory_bytes, Ordering::Relaxed);
            let code = called.as_ref().map_or_else(|error| error.code, |_| "OK");
            self.sandbox.tell(&Called { function: &self.options.name, code, elapsed, memory_bytes });
            called
        })
    }
}

impl Processor for WasmFunction {
    fn process(&self, source: &Source, records: &[Record], rows: Vec<Row>, out: &mut Output) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for row in rows {
            if !batch.is_empty() && bytes + row.data.len() > self.options.batch_bytes {
                self.batch(source, records, std::mem::take(&mut batch), out);
                bytes = 0;
            }
            bytes += row.data.len();
            batch.push(row);
        }
        if !batch.is_empty() {
            self.batch(source, records, batch, out);
        }
    }

    fn is_pure(&self) -> bool {
        let grants = &self.options.grants;
        grants.clock.is_none()
            && grants.random.is_none()
            && !self.loaded.near_deadline.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for WasmFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interface = match self.loaded.guest {
            Guest::Component(_) => "component",
            Guest::Command(_) => "command",
        };
        f.debug_struct("WasmFunction")
            .field("name", &self.options.name)
            .field("interface", &interface)
            .field("digest", &self.loaded.digest)
            .finish_non_exhaustive()
    }
}
