//! The schema that records seem to have: of every value the narrowest type that [`RowReader`](super::RowReader) reads it
//! into by the default deserializer, widened by what comes after.
//!
//! What was seen is a lattice: null at the bottom, strings, which take every value, at the top. The order of the records
//! decides the order of the columns, and nothing else. Above a schema that files have been written by, [`known`] keeps to
//! what readers take for one table with them.

mod known;

use std::collections::HashMap;

use jiter::{Jiter, Peek};

use super::value::Rules;
use super::{Deserializer, RowError, documents, no_row, number, text, time};
use crate::schema::{COLUMNS_MAX, Column, SchemaError, TableSchema};
use crate::types::{DEPTH_MAX, Type};
pub use known::News;
use known::Room;

/// Whole numbers beyond 64 bits.
const HUGE: Type = Type::Decimal { precision: 38, scale: 0 };

/// What was seen of records.
#[derive(Debug, Clone)]
pub struct Inferred {
    columns: Members,
    rules: Rules,
    room: Room,
}

impl Default for Inferred {
    fn default() -> Self {
        let rules = Rules::new(&Deserializer::default());
        Self { columns: Members::default(), rules, room: Room::default() }
    }
}

impl Inferred {
    /// Sees the rows of a record; returns how many there are.
    ///
    /// # Errors
    /// [`RowError`]: nothing was seen of it. So it is of a row that is an array too, as its values have no names.
    pub fn add(&mut self, record: &[u8]) -> Result<usize, RowError> {
        let (rows, found) = self.found(record)?;
        self.columns.join(found, &mut self.room);
        Ok(rows)
    }

    /// What the rows of a record are seen to be, and how many there are.
    fn found(&self, record: &[u8]) -> Result<(usize, Members), RowError> {
        let (mut found, rules) = (Members::default(), &self.rules);
        let rows = documents(record, |json, peek| match peek {
            Peek::Object => {
                found.join(members(json, rules, 0)?, &mut Room::of_record());
                Ok(())
            }
            Peek::Array => Err(RowError::record("The row is an array: its values have no names.")),
            _ => Err(no_row(json, peek)),
        })?;
        if self.room.is_limited() {
            found = known::decided(found, 0);
        }
        Ok((rows, found))
    }

    /// The table that takes every row that was seen. No column is required, and a key without a name is none.
    ///
    /// # Errors
    /// [`SchemaError`]: there are no columns, or too many.
    pub fn schema(&self) -> Result<TableSchema, SchemaError> {
        let named = self.columns.all.iter().filter(|(name, _)| !name.is_empty());
        let column = |(name, seen): &(String, Seen)| Column {
            name: name.clone(),
            kind: seen.kind(0),
            required: false,
        };
        TableSchema::new(named.map(column).collect())
    }
}

/// What was seen in one place.
#[derive(Debug, Clone)]
enum Seen {
    /// Nulls only.
    Nothing,
    Scalar(Type),
    Array(Box<Seen>),
    Struct(Members),
    /// Of a schema that files have been written by.
    Known(Box<Seen>),
}

impl Seen {
    /// Both in one.
    fn join(&mut self, other: Self, room: &mut Room) {
        match (&mut *self, other) {
            (_, Self::Nothing) => {}
            (Self::Nothing, other) => *self = other,
            (Self::Known(known), other) => known.widen(other, room),
            (_, Self::Known(other)) => self.join(*other, room),
            (Self::Scalar(kind), Self::Scalar(other)) if *kind == other => {}
            (Self::Scalar(kind), Self::Scalar(other)) => *kind = wider(kind, other),
            (Self::Array(item), Self::Array(other)) => item.join(*other, room),
            (Self::Struct(members), Self::Struct(others)) => members.join(others, room),
            _ => *self = Self::Scalar(Type::String),
        }
    }

    /// The type of it, so deep within a column.
    fn kind(&self, depth: usize) -> Type {
        match self {
            Self::Scalar(kind) => kind.clone(),
            Self::Known(known) => known.kind(depth),
            Self::Array(item) if depth < DEPTH_MAX => Type::Array(Box::new(item.kind(depth + 1))),
            Self::Struct(members) if depth < DEPTH_MAX && members.make_struct() => {
                let member = |(name, seen): &(String, Self)| (name.clone(), seen.kind(depth + 1));
                Type::Struct(members.all.iter().map(member).collect())
            }
            _ => Type::String,
        }
    }
}

/// The narrowest type that takes what two different ones take.
fn wider(one: &Type, other: Type) -> Type {
    match (one, &other) {
        (Type::Int, Type::BigInt | Type::Double | Type::Decimal { .. })
        | (Type::BigInt, Type::Double | Type::Decimal { .. }) => other,
        (Type::BigInt | Type::Double | Type::Decimal { .. }, Type::Int)
        | (Type::Double | Type::Decimal { .. }, Type::BigInt) => one.clone(),
        // Also of fractions and whole numbers beyond 64 bits, whose last digits a double does not have.
        _ => Type::String,
    }
}

/// What was seen below the keys of objects, as these came.
#[derive(Debug, Clone, Default)]
struct Members {
    all: Vec<(String, Seen)>,
    by_name: HashMap<String, usize>,
}

impl Members {
    fn join(&mut self, others: Self, room: &mut Room) {
        for (next, (name, seen)) in others.all.into_iter().enumerate() {
            // Records mostly have the same keys in the same order.
            let found = match self.all.get(next) {
                Some((expected, _)) if *expected == name => Some(next),
                _ => self.by_name.get(&name).copied(),
            };
            match found {
                Some(found) => self.all[found].1.join(seen, room),
                None if room.take(self.all.len(), &name, &seen) => self.push(name, seen),
                None => {}
            }
        }
    }

    fn put(&mut self, name: String, seen: Seen) {
        match self.by_name.get(&name) {
            // Of a key that comes twice the last counts, but all are read.
            Some(found) => self.all[*found].1.join(seen, &mut Room::of_record()),
            None => self.push(name, seen),
        }
    }

    fn push(&mut self, name: String, seen: Seen) {
        self.by_name.insert(name.clone(), self.all.len());
        self.all.push((name, seen));
    }

    /// Whether a struct's type can be written with them.
    fn make_struct(&self) -> bool {
        let writable = |(name, _): &(String, Seen)| {
            !name.is_empty() && name.trim() == name && !name.contains([':', ',', '<', '>'])
        };
        (1..=COLUMNS_MAX).contains(&self.all.len()) && self.all.iter().all(writable)
    }
}

/// An object whose values are so deep within a column.
fn members(json: &mut Jiter<'_>, rules: &Rules, depth: usize) -> Result<Members, RowError> {
    let name = |key: &str| rules.normalised(key).unwrap_or_else(|| key.to_owned());
    let mut found = Members::default();
    let mut key = json.known_object()?.map(name);
    while let Some(member) = key {
        let peek = json.peek()?;
        found.put(member, value(json, peek, rules, depth)?);
        key = json.next_key()?.map(name);
    }
    Ok(found)
}

fn value(json: &mut Jiter<'_>, peek: Peek, rules: &Rules, depth: usize) -> Result<Seen, RowError> {
    text::check_depth(depth)?;
    Ok(match peek {
        Peek::Null => {
            json.known_null()?;
            Seen::Nothing
        }
        Peek::True | Peek::False => {
            json.known_bool(peek)?;
            Seen::Scalar(Type::Boolean)
        }
        Peek::String => Seen::Scalar(of_text(json.known_str()?)),
        Peek::Array => {
            let (mut seen, mut item) = (Seen::Nothing, json.known_array()?);
            while let Some(peek) = item {
                seen.join(value(json, peek, rules, depth + 1)?, &mut Room::of_record());
                item = json.array_step()?;
            }
            Seen::Array(Box::new(seen))
        }
        Peek::Object => Seen::Struct(members(json, rules, depth + 1)?),
        _ => {
            let digits = json.known_number_bytes(peek)?;
            Seen::Scalar(of_number(std::str::from_utf8(digits).map_err(RowError::parse)?))
        }
    })
}

fn of_text(text: &str) -> Type {
    match () {
        () if time::date(text).is_some() => Type::Date,
        () if time::lenient(text).is_some() => Type::Timestamp,
        () => Type::String,
    }
}

fn of_number(digits: &str) -> Type {
    if digits.contains(['.', 'e', 'E']) {
        let is_finite = number::float(digits).is_some_and(f64::is_finite);
        return if is_finite { Type::Double } else { Type::String };
    }
    match digits.parse::<i64>() {
        Ok(whole) if i32::try_from(whole).is_ok() => Type::Int,
        Ok(_) => Type::BigInt,
        Err(_) if number::decimal(digits, 38, 0).is_some() => HUGE,
        Err(_) => Type::String,
    }
}

#[cfg(test)]
mod tests;
