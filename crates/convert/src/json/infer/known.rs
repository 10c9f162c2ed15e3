//! What a schema becomes by the records that come after it: those that it takes change nothing, others add to it what
//! readers can do with.
//!
//! # Invariants
//! - Of a name that is there already the type stays, or becomes one that every engine reads the earlier files by: `int`
//!   becomes `bigint`, structs have further members, and so has what is within arrays. What does not fit is left to fail.
//! - New names come last, and there are never more than was said, however many a producer thinks of.
//! - A record that does not become a row of what the schema becomes shows nothing.

use std::sync::Arc;

use super::{Inferred, Members, Rules, Seen};
use crate::json::{Deserializer, RowPlan, RowReader};
use crate::schema::{COLUMNS_MAX, SchemaError, TableSchema};
use crate::types::{DEPTH_MAX, Type};

/// The most bytes of a name, which is the most that Glue takes for one.
const NAME_BYTES_MAX: usize = 255;

/// How many names there may still be, and how often one was left out that was too many or too long.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Beside each other.
    level_max: usize,
    /// In all.
    left: Option<usize>,
    left_out: u64,
}

impl Default for Room {
    /// One more than there may be says that there are too many; memory ends there.
    fn default() -> Self {
        Self { level_max: COLUMNS_MAX + 1, left: None, left_out: 0 }
    }
}

impl Room {
    /// For all that a record has, which is bounded by itself.
    pub(super) fn of_record() -> Self {
        Self { level_max: usize::MAX, ..Self::default() }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.left.is_some()
    }

    /// Whether there is room for a new name beside so many, with all that is below it; it is then taken.
    pub(super) fn take(&mut self, beside: usize, name: &str, seen: &Seen) -> bool {
        let Some(left) = self.left else { return beside < self.level_max };
        let fits = name.len() <= NAME_BYTES_MAX && !name.is_empty();
        let rest = left.checked_sub(1 + seen.names()).filter(|_| fits);
        match rest {
            Some(rest) => self.left = Some(rest),
            None => self.left_out += 1,
        }
        rest.is_some()
    }
}

impl Inferred {
    /// What goes on from a schema, to at most so many names of columns and members.
    pub fn beyond(schema: &TableSchema, deserializer: &Deserializer, names_max: usize) -> Self {
        let mut columns = Members::default();
        for column in schema.columns() {
            columns.push(column.name.clone(), Seen::known(&column.kind));
        }
        let left = names_max.saturating_sub(columns.names());
        Self { columns, rules: Rules::new(deserializer), room: Room { left: Some(left), ..Room::default() } }
    }

    /// Sees all that another has seen.
    pub fn join(&mut self, other: Self) {
        self.columns.join(other.columns, &mut self.room);
        self.room.left_out += other.room.left_out;
    }

    /// The schema that it has come to; it has no columns where no value has said what one is.
    ///
    /// # Errors
    /// [`SchemaError`]: names that case does not tell apart.
    pub fn evolved(&self) -> Result<TableSchema, SchemaError> {
        match self.columns.all.is_empty() {
            true => Ok(TableSchema::default()),
            false => self.schema(),
        }
    }

    /// How often a key was left out.
    pub fn left_out(&self) -> u64 {
        self.room.left_out
    }
}

/// What records show beyond a schema.
#[derive(Debug)]
pub struct News<'a> {
    beginning: &'a Inferred,
    reader: RowReader,
    /// Of the schema as the records before have made it wider.
    wider: Option<RowReader>,
    seen: Option<Inferred>,
}

impl<'a> News<'a> {
    /// Nothing yet, with a reader of the schema that the beginning goes on from.
    pub fn new(beginning: &'a Inferred, reader: RowReader) -> Self {
        Self { beginning, reader, wider: None, seen: None }
    }

    /// Looks at a record: for a key that the schema does not have, or a value that makes one of its types wider.
    pub fn look(&mut self, record: &[u8]) {
        let is_news = match self.reader.push(record) {
            Ok(_) => self.reader.met_strangers(),
            Err(_) => self.is_taken(record),
        };
        if is_news {
            // It is read already.
            self.seen.get_or_insert_with(|| self.beginning.clone()).add(record).ok();
        }
    }

    /// Whether a record that the schema does not take is taken by what becomes of it.
    fn is_taken(&mut self, record: &[u8]) -> bool {
        if self.wider.as_mut().is_some_and(|wider| wider.push(record).is_ok()) {
            return true;
        }
        let Ok((_, found)) = self.beginning.found(record) else { return false };
        if !self.beginning.columns.are_widened(&found) {
            return false;
        }
        let mut wider = self.seen.as_ref().unwrap_or(self.beginning).clone();
        wider.columns.join(found, &mut wider.room);
        let Ok(schema) = wider.evolved() else { return false };
        let mut reader = Arc::new(RowPlan::by(&schema, wider.rules)).reader();
        let is_taken = reader.push(record).is_ok();
        if is_taken {
            self.wider = Some(reader);
        }
        is_taken
    }

    /// What was seen, if anything new was.
    pub fn seen(self) -> Option<Inferred> {
        self.seen
    }
}

impl Seen {
    /// What a type of a schema says.
    fn known(kind: &Type) -> Self {
        Self::Known(Box::new(match kind {
            Type::Array(item) => Self::Array(Box::new(Self::known(item))),
            Type::Struct(members) => {
                let mut all = Members::default();
                for (name, member) in members {
                    all.push(name.clone(), Self::known(member));
                }
                Self::Struct(all)
            }
            scalar => Self::Scalar(scalar.clone()),
        }))
    }

    /// Takes in what can be without a reader of earlier files noticing; no more.
    pub(super) fn widen(&mut self, other: Self, room: &mut Room) {
        match (self, other) {
            (this, Self::Known(other)) => this.widen(*other, room),
            (Self::Scalar(kind @ Type::Int), Self::Scalar(Type::BigInt)) => *kind = Type::BigInt,
            (Self::Array(item), Self::Array(other)) => item.join(*other, room),
            // A value for an array is its one element.
            (Self::Array(item), other) => item.join(other, room),
            (Self::Struct(members), Self::Struct(others)) => members.join(others, room),
            _ => {}
        }
    }

    /// Whether a type that is known becomes another one by it.
    fn is_widened(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(known), other) => known.is_widened(other),
            (Self::Scalar(Type::Int), Self::Scalar(Type::BigInt)) => true,
            (Self::Array(item), Self::Array(other)) => item.is_widened(other),
            (Self::Array(item), other) => item.is_widened(other),
            (Self::Struct(members), Self::Struct(others)) => members.are_widened(others),
            _ => false,
        }
    }

    /// How many names are below it.
    fn names(&self) -> usize {
        match self {
            Self::Nothing | Self::Scalar(_) => 0,
            Self::Array(item) | Self::Known(item) => item.names(),
            Self::Struct(members) => members.names(),
        }
    }

    /// The same, so deep within a column, as far as its type is known: `None` of what may still become anything.
    fn decided(self, depth: usize) -> Option<Self> {
        match self {
            Self::Nothing => None,
            Self::Array(_) | Self::Struct(_) if depth >= DEPTH_MAX => Some(Self::Scalar(Type::String)),
            Self::Array(item) => Some(Self::Array(Box::new(item.decided(depth + 1)?))),
            Self::Struct(members) if members.all.is_empty() => None,
            Self::Struct(members) if !members.make_struct() => Some(Self::Scalar(Type::String)),
            Self::Struct(members) => {
                let members = decided(members, depth + 1);
                (!members.all.is_empty()).then_some(Self::Struct(members))
            }
            decided => Some(decided),
        }
    }
}

impl Members {
    fn are_widened(&self, others: &Self) -> bool {
        let known = |name: &String| self.by_name.get(name).map(|found| &self.all[*found].1);
        others.all.iter().any(|(name, other)| known(name).is_some_and(|seen| seen.is_widened(other)))
    }

    fn names(&self) -> usize {
        self.all.iter().map(|(_, seen)| 1 + seen.names()).sum()
    }
}

/// The members whose types are known, so deep within a column.
pub(super) fn decided(members: Members, depth: usize) -> Members {
    let mut known = Members::default();
    for (name, seen) in members.all {
        if let Some(seen) = seen.decided(depth) {
            known.push(name, seen);
        }
    }
    known
}
