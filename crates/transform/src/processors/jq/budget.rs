//! What one run of a jq program may use: steps, stack and outputs, so that a program without an end has one.
//!
//! jaq looks each term up before it evaluates it, and asks its caller for the table to look it up in. That is where
//! steps are counted. There is no way to refuse there, so a run that is used up unwinds to [`Budget::run`]; nothing is
//! printed, and nothing but the run is lost.
//!
//! # Limits
//! [`STEPS`], [`STEPS_PER_BYTE`], [`STEPS_MAX`], [`STACK_BYTES`]. What a single step does is bounded only where data
//! could make it large (`range`, `*`): a program that doubles a value in each of its steps finds its end in the memory
//! of the machine.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{DataT, Error, Exn, Lut, ValR, ValX, ValXs, data::HasLut};
use jaq_json::{Num, Val};

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
/// The longest text that a multiplication makes.
const TEXT_BYTES_MAX: usize = 16 << 20;

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
    fn step(&self) {
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

/// Programs that run within a budget.
pub(crate) struct Bounded;

/// The table of a program, and the budget of the run.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) table: &'a Lut<Bounded>,
    pub(crate) budget: &'a Budget,
}

impl DataT for Bounded {
    type V<'a> = Val;
    type Data<'a> = Run<'a>;
}

impl<'a> HasLut<'a, Bounded> for Run<'a> {
    fn lut(&self) -> &'a Lut<Bounded> {
        self.budget.step();
        self.table
    }
}

/// The name under which programs multiply.
pub(crate) const TIMES: &str = "standpipe_times";

/// Functions that take the place of jaq's: what a single step of those does is not bounded.
pub(crate) fn functions() -> [Fun<Bounded>; 2] {
    [
        run::<Bounded>(("range", v(3), |mut cv| {
            let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
            let budget = cv.0.data().budget;
            Box::new(range(from, to, by).inspect(|_| budget.step()))
        })),
        run::<Bounded>((TIMES, v(2), |mut cv| -> ValXs<'_, Val> {
            let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
            bome(times(left, right))
        })),
    ]
}

/// `range(from; to; by)`.
fn range<'a>(from: Val, to: Val, by: Val) -> impl Iterator<Item = ValX<'a, Val>> + 'a {
    let zero = Val::from(0_isize);
    let mut next = Some(Ok(from));
    std::iter::from_fn(move || {
        let here = match next.take()? {
            Ok(here) => here,
            Err(error) => return Some(Err(Exn::from(error))),
        };
        let goes_on = match by.cmp(&zero) {
            std::cmp::Ordering::Greater => here < to,
            std::cmp::Ordering::Less => here > to,
            std::cmp::Ordering::Equal => here != to,
        };
        next = goes_on.then(|| here.clone() + by.clone());
        goes_on.then_some(Ok(here))
    })
}

/// `left * right`, of which a number that came with the data may make a text of any length.
fn times(left: Val, right: Val) -> ValR<Val> {
    let bytes = match (&left, &right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(number))
        | (Val::Num(number), Val::TStr(text) | Val::BStr(text)) => repeated(text.len(), number),
        _ => 0,
    };
    if bytes > TEXT_BYTES_MAX {
        return Err(Error::str(format!("a repeated string is longer than {TEXT_BYTES_MAX} bytes")));
    }
    left * right
}

fn repeated(bytes: usize, times: &Num) -> usize {
    match times {
        Num::Int(times) => bytes.saturating_mul(usize::try_from(*times).unwrap_or(0)),
        Num::BigInt(_) if bytes > 0 => usize::MAX,
        _ => 0,
    }
}
