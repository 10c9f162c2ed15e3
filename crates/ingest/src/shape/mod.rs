//! The Firehose API model as tables, and what is done by them.
//!
//! The tables (`tables`) say of each structure which members it has, of what type and within what limits, what AWS
//! fills in, and what this version of standpipe does with them. By the tables
//!
//! 1. a request is checked ([`check`]): the first member of a wrong type is a `SerializationException`, all broken
//!    constraints together are one `ValidationException`;
//! 2. what is not honoured is refused ([`unsupported`]): a step of its own, since AWS's rules across members come
//!    before it;
//! 3. an update is merged into a configuration ([`merge`]), and a configuration described ([`describe`]);
//! 4. a request is shown without its secrets ([`redact`]).

mod configuration;
mod pattern;
mod redact;
mod support;
mod tables;
mod walk;

use serde_json::{Map, Value};

pub use configuration::{describe, merge};
pub use pattern::Pattern;
pub use redact::redact;
pub use support::unsupported;
pub use tables::{destination_description, input_of, output_of};
pub use walk::check;

/// A member's text; empty where there is none.
pub fn text<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a block says that it is on; without a word it is off.
pub fn enabled(block: &Map<String, Value>) -> bool {
    block.get("Enabled") == Some(&Value::Bool(true))
}

/// Whether a block that is on without a word is on.
pub fn not_disabled(block: &Map<String, Value>) -> bool {
    block.get("Enabled") != Some(&Value::Bool(false))
}

/// A structure of the API: named members.
#[derive(Debug)]
pub struct Structure {
    /// The structure's name in the model.
    pub name: &'static str,
    /// Its members, in the order in which they are checked.
    pub members: &'static [Member],
}

impl Structure {
    /// The structure that its member `name` holds.
    pub fn structure(&self, name: &str) -> Option<&'static Structure> {
        match self.members.iter().find(|member| member.name == name)?.shape {
            Shape::Structure(inner) => Some(inner),
            _ => None,
        }
    }
}

/// A member of a structure.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// The JSON key.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it may hold.
    pub shape: Shape,
    /// What standpipe does with it.
    pub support: Support,
    /// What a description shows where nothing was given, as JSON.
    pub default: Option<&'static str>,
    /// In an update or a description: the member of the configuration that it is about, where that has another name.
    pub stands_for: Option<&'static str>,
    /// The member whose place it takes: of the two only one may be there, and an update with this one removes that.
    pub instead_of: Option<&'static str>,
}

impl Member {
    /// The member of the configuration that this member of an update or a description is about.
    pub fn subject(&self) -> &'static str {
        self.stands_for.unwrap_or(self.name)
    }
}

/// What standpipe does with a member. This is the one place that says so.
#[derive(Debug, Clone, Copy)]
pub enum Support {
    /// It is honoured with every valid value.
    Full,
    /// It is checked, stored and described back, but has no effect, for this reason.
    Ignored(&'static str),
    /// It is refused with every value: AWS knows it, this version does not.
    None,
    /// It is honoured with the values that the function accepts, in words, and refused with others.
    When(fn(&Value) -> bool, &'static str),
}

/// The type of a member or element, with its constraints.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A string.
    Text(Text),
    /// A whole number within `min..=max`.
    Integer {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// A number within `min..=max`.
    Double {
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// Seconds since the epoch.
    Timestamp,
    /// Bytes as base64 text, with at most `max_len` of them.
    Blob {
        /// The most bytes.
        max_len: usize,
    },
    /// A list.
    List {
        /// What each element may hold.
        element: &'static Shape,
        /// The fewest elements.
        min_len: usize,
        /// The most elements.
        max_len: usize,
    },
    /// An object with free keys.
    Map {
        /// What each key may be.
        key: &'static Shape,
        /// What each value may hold.
        value: &'static Shape,
    },
    /// A structure.
    Structure(&'static Structure),
}

/// The constraints of a string.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The fewest characters.
    pub min_len: usize,
    /// The most characters.
    pub max_len: usize,
    /// What the whole string must match.
    pub pattern: Option<&'static Pattern>,
    /// The only values allowed, in the order in which AWS prints them; empty when any is.
    pub values: &'static [&'static str],
    /// Whether it is a secret that is never shown.
    pub sensitive: bool,
}

#[cfg(test)]
mod tests;
