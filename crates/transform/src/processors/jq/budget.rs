//! What one run of a jq program may use: steps, stack and outputs, so that a program without an end has one.
//!
//! A run that is used up unwinds to [`Budget::run`]: nothing is printed, and nothing but the run is lost.
//!
//! # Limits
//! [`STEPS`], [`STEPS_PER_BYTE`], [`STEPS_MAX`], [`STACK_BYTES`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Steps that every run has.
const STEPS: usize = 50_000;
/// Steps that it has for each byte of its input.
const STEPS_PER_BYTE: usize = 100;
/// Steps that no run has more of. A value gets at most one level deeper in a step, and what is done to its levels (to
/// drop it, to compare it) takes stack for each, of which [`STACK_BYTES`] holds that many.
const STEPS_MAX: usize = 1_000_000;
/// The stack of a thread that runs programs; memory is taken only for what is used of it.
const STACK_BYTES: usize = 256 << 20;
/// What evaluation may use of it; the rest is for what recurses within a step.
const EVALUATION_STACK_BYTES: usize = STACK_BYTES / 4;

/// Why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the program takes more than {0} steps")]
    Steps(usize),
    #[error("the program recurses too deeply")]
    Stack,
    #[error("the program failed within the interpreter")]
    Panic,
}

/// What is left for a run.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Cell<usize>,
    allowed: usize,
    stack_floor: usize,
    stop: Cell<Option<Stop>>,
}

/// What unwinds.
struct Stopped;

impl Budget {
    /// Runs `work` with a budget for an input of that size. To be called on a thread of [`on_stack`].
    pub(crate) fn run<T>(input_bytes: usize, work: impl FnOnce(&Self) -> T) -> Result<T, Stop> {
        let allowed = (STEPS + input_bytes.saturating_mul(STEPS_PER_BYTE)).min(STEPS_MAX);
        let here = 0_u8;
        let stack_floor = std::ptr::from_ref(&here).addr().saturating_sub(EVALUATION_STACK_BYTES);
        let budget = Self { steps: Cell::new(allowed), allowed, stack_floor, stop: Cell::new(None) };
        catch_unwind(AssertUnwindSafe(|| work(&budget))).map_err(|_| budget.stop.get().unwrap_or(Stop::Panic))
    }

    /// Takes a step.
    pub(crate) fn step(&self) {
        let here = 0_u8;
        if std::ptr::from_ref(&here).addr() < self.stack_floor {
            self.stop(Stop::Stack);
        }
        match self.steps.get().checked_sub(1) {
            Some(left) => self.steps.set(left),
            None => self.stop(Stop::Steps(self.allowed)),
        }
    }

    fn stop(&self, stop: Stop) -> ! {
        self.stop.set(Some(stop));
        resume_unwind(Box::new(Stopped))
    }
}

/// Does `work` on a thread whose stack holds what a program may nest.
pub(crate) fn on_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("jq".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .expect("the system gives a process that works a thread more");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
