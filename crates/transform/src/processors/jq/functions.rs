//! How programs are evaluated: within a budget, and with functions of our own where jaq's have no bounds.
//!
//! jaq looks each term up before it evaluates it, and asks its caller for the table to look it up in. That is where
//! steps are counted; there is no way to refuse there, which is why a budget unwinds.
//!
//! # Limits
//! What a single step does is bounded where data could make it large: `range`, `*`, `tojson`, `fromjson`. A program
//! that by itself doubles a value in each step, and then compares or concatenates it, finds its end in the memory or
//! the patience of the machine.

use std::cmp::Ordering;

use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{DataT, Error, Exn, Lut, ValR, ValX, ValXs, data::HasLut};
use jaq_json::{Num, Val};

use super::budget::Budget;
use crate::processors::json;

/// The longest text that a function makes.
const TEXT_BYTES_MAX: usize = 16 << 20;

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

/// Functions of jaq whose place [`functions`] take.
pub(crate) const OWN: [&str; 3] = ["range", "tojson", "fromjson"];

/// Functions that are bounded in what a single step of them does, as jaq's are not.
pub(crate) fn functions() -> [Fun<Bounded>; 4] {
    [
        run::<Bounded>(("tojson", v(0), |cv| bome(to_json(&cv.1)))),
        run::<Bounded>(("fromjson", v(0), |cv| bome(from_json(&cv.1)))),
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
            Ordering::Greater => here < to,
            Ordering::Less => here > to,
            Ordering::Equal => here != to,
        };
        next = goes_on.then(|| here.clone() + by.clone());
        goes_on.then_some(Ok(here))
    })
}

/// `tojson`, as jq 1.6 writes it.
fn to_json(value: &Val) -> ValR<Val> {
    let mut text = Vec::new();
    match json::write(&mut text, value, TEXT_BYTES_MAX) {
        Ok(()) => Ok(Val::utf8_str(text)),
        Err(error) => Err(Error::str(error)),
    }
}

/// `fromjson`, of JSON that a record could be.
fn from_json(text: &Val) -> ValR<Val> {
    let Val::TStr(text) = text else { return Err(Error::typ(text.clone(), "string")) };
    let mut values = json::values(text).map_err(Error::str)?;
    match (values.next(), values.next()) {
        (Some(value), None) => value.map(|(value, _)| value).map_err(Error::str),
        _ => Err(Error::str("the string is not one JSON document")),
    }
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
