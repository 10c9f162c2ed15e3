//! What a schema asks of an object: which key is which column, and what is to be done with its value.

use std::collections::HashMap;

use super::RowError;
use super::value::Rules;
use crate::growing::Growing;
use crate::types::Type;

/// What is to be done with a value.
#[derive(Debug)]
pub(super) enum Plan {
    /// By its type alone.
    Scalar(Type),
    Array(Box<Plan>),
    Map(Box<Plan>),
    Struct(Members),
}

/// The members of an object that are asked for.
#[derive(Debug)]
pub(super) struct Members {
    /// The names of columns or members, for errors.
    names: Vec<String>,
    /// The keys, in the order of the columns.
    keys: Vec<String>,
    by_key: HashMap<String, usize>,
    plans: Vec<Plan>,
    required: Vec<usize>,
    /// About how many bytes of columns an object takes, whatever it says.
    width: usize,
}

/// What a value takes at least: itself, or its end.
const VALUE_BYTES: usize = 8;

impl Plan {
    fn new(kind: &Type, rules: &Rules) -> Self {
        match kind {
            Type::Array(item) => Self::Array(Box::new(Self::new(item, rules))),
            Type::Map(value) => Self::Map(Box::new(Self::new(value, rules))),
            Type::Struct(members) => {
                let members = members.iter().map(|(name, kind)| (name.as_str(), kind, false));
                Self::Struct(Members::new(members, rules, false))
            }
            scalar => Self::Scalar(scalar.clone()),
        }
    }
}

impl Plan {
    /// About how many bytes of columns a value takes, be it null.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Struct(members) => members.width,
            _ => VALUE_BYTES,
        }
    }
}

impl Members {
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn new<'a>(
        members: impl Iterator<Item = (&'a str, &'a Type, bool)>,
        rules: &Rules,
        is_top: bool,
    ) -> Self {
        let mut made = Self {
            names: Vec::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
            plans: Vec::new(),
            required: Vec::new(),
            width: 0,
        };
        for (number, (name, kind, required)) in members.enumerate() {
            let key = rules.key_of(name, is_top);
            made.by_key.insert(key.clone(), number);
            made.names.push(name.to_owned());
            made.keys.push(key);
            let plan = Plan::new(kind, rules);
            made.width += plan.width();
            made.plans.push(plan);
            made.required.extend(required.then_some(number));
        }
        made
    }

    /// Which member a key is. Keys mostly come in the order of the columns: `next` is the one that is looked at first.
    pub(super) fn find(&self, key: &str, next: &mut usize, rules: &Rules) -> Option<usize> {
        let found = match self.keys.get(*next) {
            Some(expected) if expected == key => *next,
            _ => match rules.normalised(key) {
                Some(key) => *self.by_key.get(key.as_str())?,
                None => *self.by_key.get(key)?,
            },
        };
        *next = found + 1;
        Some(found)
    }

    pub(super) fn plan(&self, number: usize) -> &Plan {
        &self.plans[number]
    }

    pub(super) fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    pub(super) fn len(&self) -> usize {
        self.plans.len()
    }

    /// Whether the row has every value that it must have.
    pub(super) fn check_required(&self, columns: &[Growing], row: usize) -> Result<(), RowError> {
        let missing = self.required.iter().find(|number| columns[**number].is_null(row));
        missing
            .map_or(Ok(()), |number| Err(RowError::value("A value is required.").within(self.name(*number))))
    }
}
