//! Where in a record a column's value stands: the simple paths of jq. What needs more is made by a processor before.

use std::iter::Peekable;
use std::str::{Chars, FromStr};

use serde_json::value::RawValue;

use super::request::{Found, members};

/// A path to a value: `.`, `.name`, `.order.items[0]`, `."odd name"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Member(String),
    Element(usize),
}

/// A text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no path such as .order.items[0].\"odd name\"; a jq processor before can do what paths cannot"
)]
pub struct PathError(String);

impl Path {
    /// The path to the member of that name.
    pub(super) fn member(name: &str) -> Self {
        Self(vec![Step::Member(name.to_owned())])
    }

    /// The member that it begins with, and the rest of it.
    pub(super) fn first_member(&self) -> Option<(&str, &[Step])> {
        match self.0.split_first() {
            Some((Step::Member(name), rest)) => Some((name, rest)),
            _ => None,
        }
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut chars = text.trim().chars().peekable();
        let mut steps = Vec::new();
        let parsed = text.trim().starts_with('.') && read(&mut chars, &mut steps).is_some();
        if parsed { Ok(Self(steps)) } else { Err(PathError(text.to_owned())) }
    }
}

fn read(chars: &mut Peekable<Chars<'_>>, steps: &mut Vec<Step>) -> Option<()> {
    while let Some(c) = chars.next() {
        match c {
            '.' if chars.peek() == Some(&'"') => steps.push(Step::Member(quoted(chars)?)),
            '.' => {
                let name: String =
                    std::iter::from_fn(|| chars.next_if(|c| c.is_alphanumeric() || *c == '_')).collect();
                match (name.is_empty(), chars.peek()) {
                    (false, _) => steps.push(Step::Member(name)),
                    // `.` by itself, and the point before `[0]`.
                    (true, None | Some('[')) if steps.is_empty() => {}
                    (true, _) => return None,
                }
            }
            '[' if chars.peek() == Some(&'"') => {
                steps.push(Step::Member(quoted(chars)?));
                chars.next_if_eq(&']')?;
            }
            '[' => {
                let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
                steps.push(Step::Element(digits.parse().ok()?));
                chars.next_if_eq(&']')?;
            }
            _ => return None,
        }
    }
    Some(())
}

/// A name in double quotes, as in JSON.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    loop {
        let c = chars.next()?;
        text.push(c);
        match c {
            '\\' => text.push(chars.next()?),
            '"' if text.len() > 1 => return serde_json::from_str(&text).ok(),
            _ => {}
        }
    }
}

/// What stands at the end of the steps; nothing, where they lead nowhere.
pub(super) fn follow<'a>(value: &'a RawValue, steps: &[Step]) -> Option<&'a RawValue> {
    let (step, rest) = match steps.split_first() {
        None => return Some(value),
        Some(split) => split,
    };
    let inside = match step {
        Step::Member(name) => {
            let mut found: Found<'a> = vec![None];
            members(value.get(), &|key| if key == name { &[0] } else { &[] }, &mut found).ok()?;
            found.pop().flatten()?
        }
        Step::Element(index) => {
            let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
            elements.get(*index).copied()?
        }
    };
    follow(inside, rest)
}
