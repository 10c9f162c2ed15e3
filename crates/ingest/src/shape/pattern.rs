//! The regular expressions of the model: printed as AWS prints them, matched by an engine without look-around.

use std::sync::OnceLock;

use regex::Regex;

/// A pattern that a whole string must match.
#[derive(Debug)]
pub struct Pattern {
    /// As the model has it.
    model: &'static str,
    /// As it is printed in a violation.
    printed: &'static str,
    /// What is matched.
    matched: &'static str,
    /// What must not match, where the model says that by look-around.
    except: Option<&'static str>,
    compiled: OnceLock<(Regex, Option<Regex>)>,
}

impl Pattern {
    /// A pattern that is printed and matched as the model has it.
    pub const fn new(model: &'static str) -> Self {
        Self::printed(model, model, model)
    }

    /// A pattern that uses what the engine does not have; `matched` accepts the same strings.
    pub const fn matched_as(model: &'static str, matched: &'static str) -> Self {
        Self::printed(model, model, matched)
    }

    /// A pattern that AWS's front end prints in another form than the model has.
    pub const fn printed(model: &'static str, printed: &'static str, matched: &'static str) -> Self {
        Self { model, printed, matched, except: None, compiled: OnceLock::new() }
    }

    /// A pattern that forbids what a host of one's own needs; `ours` is printed and matched instead.
    pub const fn relaxed(model: &'static str, ours: &'static str) -> Self {
        Self::printed(model, ours, ours)
    }

    /// A pattern that forbids by look-around what `except` matches as a whole.
    pub const fn except(model: &'static str, matched: &'static str, except: &'static str) -> Self {
        Self { model, printed: model, matched, except: Some(except), compiled: OnceLock::new() }
    }

    /// As the API's model has it.
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// As it is printed in a violation.
    pub fn text(&self) -> &'static str {
        self.printed
    }

    /// Whether the whole of `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        let (matched, except) =
            self.compiled.get_or_init(|| (compile(self.matched), self.except.map(compile)));
        matched.is_match(value) && !except.as_ref().is_some_and(|except| except.is_match(value))
    }
}

fn compile(pattern: &str) -> Regex {
    // In AWS's engine these classes are ASCII.
    let ascii = pattern.replace(r"\d", "[0-9]").replace(r"\w", "[A-Za-z0-9_]");
    Regex::new(&format!("^(?:{ascii})$")).expect("a test compiles every pattern of the tables")
}
