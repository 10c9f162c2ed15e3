//! What one run of a jq program may use: steps, stack and outputs, so that a program without an end has one.
//!
//! A run that is used up unwinds to [`Budget::run`]: nothing is printed, and nothing but the run is lost.
//!
//! # Limits
//! [`STEPS`], [`STEPS_PER_BYTE`], [`STEPS_MAX`], [`STACK_BYTES`]; of values that are made, [`LEVELS_MAX`] and
//! [`NODES_MAX`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Steps that every run has.
const STEPS: usize = 50_000;
/// Steps that it has for each byte of its input.
const STEPS_PER_BYTE: usize = 100;
/// Steps that no run has more of.
const STEPS_MAX: usize = 1_000_000;
/// The stack of a thread that runs programs; memory is taken only for what is used of it.
const STACK_BYTES: usize = 256 << 20;
/// What evaluation may use of it; the rest is for what recurses within a step.
const EVALUATION_STACK_BYTES: usize = STACK_BYTES / 4;

/// The levels of a value: what is done to one (to drop it, to compare it) takes stack for each.
pub(crate) const LEVELS_MAX: usize = 1_000;
/// The values that a value consists of; those that it shares with itself count as often as they would be written.
pub(crate) const NODES_MAX: usize = 16_000_000;
/// Steps between two looks at the size of values, if the last was a small one.
const STEPS_BETWEEN_LOOKS: usize = 100;

/// Why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the program takes more than {0} steps")]
    Steps(usize),
    #[error("the program recurses too deeply")]
    Stack,
    #[error("a value nests more than {LEVELS_MAX} levels")]
    Levels,
    #[error("a value consists of more than {NODES_MAX} values")]
    Nodes,
    #[error("the program failed within the interpreter")]
    Panic,
}

/// What is left for a run.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Cell<usize>,
    allowed: usize,
    stack_floor: usize,
    /// The steps that are left when a value is looked at again.
    next_look: Cell<usize>,
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
        let next_look = Cell::new(allowed - STEPS_BETWEEN_LOOKS);
        let budget =
            Self { steps: Cell::new(allowed), allowed, stack_floor, next_look, stop: Cell::new(None) };
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

    /// Looks at a value, if the last time is so many steps ago that it costs less than they did. `look` says how many
    /// values it consists of.
    pub(crate) fn look(&self, look: impl FnOnce() -> Result<usize, Stop>) {
        if self.steps.get() <= self.next_look.get() {
            match look() {
                Ok(nodes) => {
                    self.next_look.set(self.steps.get().saturating_sub(nodes.max(STEPS_BETWEEN_LOOKS)));
                }
                Err(stop) => self.stop(stop),
            }
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
