//! How programs are evaluated: within a budget, and with functions of our own where jaq's have no bounds.
//!
//! jaq looks each term up before it evaluates it, and asks its caller for the table to look it up in. That is where
//! steps are counted; there is no way to refuse there, which is why a budget unwinds.
//!
//! # Limits
//! What a single step does is bounded where data could make it large (`range`, `*`, `+`, `tojson`, `fromjson`), and the
//! values that a program makes are looked at now and then. What is left is for who sets out to do harm: a program may
//! make a value large between two looks and compare it, or encode a text again and again.

use std::cmp::Ordering;

use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{DataT, Error, Exn, Lut, Native, ValR, ValT, ValX, ValXs, data::HasLut};
use jaq_json::{Num, Val};

use super::budget::{Budget, LEVELS_MAX, NODES_MAX, Stop};
use crate::processors::json;

/// The longest text that a function makes.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// The longest array that an addition makes.
const ELEMENTS_MAX: usize = 1_000_000;

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

/// The names under which programs multiply, add, and show the values that they make.
pub(crate) const TIMES: &str = "standpipe_times";
pub(crate) const PLUS: &str = "standpipe_plus";
pub(crate) const MADE: &str = "standpipe_made";
/// The name of what makes room for a key in an update.
pub(crate) const ROOM: &str = "standpipe_room";

/// Functions of jaq whose place [`functions`] take.
pub(crate) const OWN: [&str; 4] = ["range", "tojson", "tostring", "fromjson"];

/// Functions that are bounded in what a single step of them does, as jaq's are not.
pub(crate) fn functions() -> [Fun<Bounded>; 8] {
    [
        run::<Bounded>(("tojson", v(0), |cv| bome(to_json(&cv.1)))),
        run::<Bounded>(("tostring", v(0), |cv| bome(to_string(cv.1)))),
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
        run::<Bounded>((PLUS, v(2), |mut cv| -> ValXs<'_, Val> {
            let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
            bome(plus(left, right))
        })),
        room(),
        run::<Bounded>((MADE, v(0), |cv| {
            cv.0.data().budget.look(|| {
                let mut nodes = 0;
                size(&cv.1, LEVELS_MAX, &mut nodes).map(|()| nodes)
            });
            bome(Ok(cv.1))
        })),
    ]
}

/// Passes a value on; in an update, null and arrays that are too short with room for a key, as jq has it and jaq has
/// not.
fn room() -> Fun<Bounded> {
    let native = Native::new(|cv| bome(Ok(cv.1)))
        .with_paths(|cv| Box::new(std::iter::once(Ok(cv.1))))
        .with_update(|mut cv, update| match with_room(cv.1, &cv.0.pop_var()) {
            Ok(value) => update(value),
            Err(error) => bome(Err(error)),
        });
    (ROOM, v(1), native)
}

fn with_room(value: Val, key: &Val) -> ValR<Val> {
    let index = match key {
        Val::Num(Num::Int(index)) => usize::try_from(*index).ok(),
        _ => None,
    };
    match (value, index) {
        (Val::Null, None) if matches!(key, Val::TStr(_)) => Val::from_map([]),
        (Val::Null, Some(index)) => with_room([].into_iter().collect(), &Val::from(index)),
        (Val::Arr(values), Some(index)) if index >= values.len() => {
            if index >= ELEMENTS_MAX {
                return Err(Error::str(format!("an array has more than {ELEMENTS_MAX} elements")));
            }
            Ok(values
                .iter()
                .cloned()
                .chain(std::iter::repeat_n(Val::Null, index + 1 - values.len()))
                .collect())
        }
        (value, _) => Ok(value),
    }
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

/// `tostring`, as jq 1.6 writes it.
fn to_string(value: Val) -> ValR<Val> {
    match &value {
        Val::TStr(text) if text.len() <= TEXT_BYTES_MAX => Ok(value),
        Val::TStr(_) => Err(long()),
        _ => to_json(&value),
    }
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
        return Err(long());
    }
    left * right
}

/// `left + right`.
fn plus(left: Val, right: Val) -> ValR<Val> {
    match (&left, &right) {
        (Val::TStr(l), Val::TStr(r)) if l.len() + r.len() > TEXT_BYTES_MAX => Err(long()),
        (Val::Arr(l), Val::Arr(r)) if l.len() + r.len() > ELEMENTS_MAX => {
            Err(Error::str(format!("an array has more than {ELEMENTS_MAX} elements")))
        }
        _ => left + right,
    }
}

fn long() -> Error<Val> {
    Error::str(format!("a string is longer than {TEXT_BYTES_MAX} bytes"))
}

/// Counts the values that a value consists of.
fn size(value: &Val, levels: usize, nodes: &mut usize) -> Result<(), Stop> {
    *nodes += 1;
    if *nodes > NODES_MAX {
        return Err(Stop::Nodes);
    }
    let levels = levels.checked_sub(1).ok_or(Stop::Levels)?;
    match value {
        Val::Arr(values) => values.iter().try_for_each(|value| size(value, levels, nodes)),
        Val::Obj(entries) => entries.values().try_for_each(|value| size(value, levels, nodes)),
        _ => Ok(()),
    }
}

fn repeated(bytes: usize, times: &Num) -> usize {
    match times {
        Num::Int(times) => bytes.saturating_mul(usize::try_from(*times).unwrap_or(0)),
        Num::BigInt(_) if bytes > 0 => usize::MAX,
        _ => 0,
    }
}
