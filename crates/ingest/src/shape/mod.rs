//! The Firehose API model as tables, and the walk that checks a request against them.
//!
//! The tables (`tables`) say of each operation's input which members it has, of what type and within what limits, and
//! whether this version of standpipe honours them. One walk turns a parsed request into its normal form and its
//! refusals, in AWS's order and words:
//!
//! 1. types: the first member of a wrong type is a `SerializationException`;
//! 2. constraints: all broken ones together are one `ValidationException`;
//! 3. support: the first member that is not honoured is an `InvalidArgumentException` that names it. That is a step
//!    of its own ([`unsupported`]), since AWS's rules on destinations come before it.

mod pattern;
mod support;
mod tables;
mod walk;

use serde_json::Value;

pub use pattern::Pattern;
pub use support::unsupported;
pub use tables::input_of;
pub use walk::check;

/// A structure of the API: named members.
#[derive(Debug)]
pub struct Structure {
    /// The structure's name in the model.
    pub name: &'static str,
    /// Its members, in the order in which they are checked.
    pub members: &'static [Member],
}

/// A member of a structure.
#[derive(Debug)]
pub struct Member {
    /// The JSON key.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it may hold.
    pub shape: Shape,
    /// Whether standpipe honours it.
    pub support: Support,
}

/// Whether a member is honoured. This is the one place that says so.
#[derive(Debug, Clone, Copy)]
pub enum Support {
    /// With every valid value.
    Full,
    /// With no value: AWS knows it, this version does not.
    None,
    /// With the values that the function accepts, such as a block that says `Enabled: false`.
    When(fn(&Value) -> bool),
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
        /// What each value may hold.
        value: &'static Shape,
    },
    /// A structure.
    Structure(&'static Structure),
    /// A structure that the tables do not describe, because no value of it is honoured: only its being an object is
    /// checked, and it is passed on as it is.
    Opaque,
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
}

#[cfg(test)]
mod tests;
