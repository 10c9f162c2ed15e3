//! The regular expressions of the model: printed as AWS writes them, matched by an engine without look-around.

use std::sync::OnceLock;

use regex::Regex;

/// A pattern that a whole string must match.
#[derive(Debug)]
pub struct Pattern {
    /// As AWS prints it in a violation.
    text: &'static str,
    /// The same language without look-around.
    equivalent: &'static str,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    /// A pattern that both print and match alike.
    pub const fn new(text: &'static str) -> Self {
        Self::printed(text, text)
    }

    /// A pattern whose printed form uses what the engine does not have; `equivalent` accepts the same strings.
    pub const fn printed(text: &'static str, equivalent: &'static str) -> Self {
        Self { text, equivalent, compiled: OnceLock::new() }
    }

    /// As AWS prints it.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Whether the whole of `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| {
            // In AWS's engine these classes are ASCII.
            let ascii = self.equivalent.replace(r"\d", "[0-9]").replace(r"\w", "[A-Za-z0-9_]");
            Regex::new(&format!("^(?:{ascii})$")).expect("a test compiles every pattern of the tables")
        });
        compiled.is_match(value)
    }
}
