//! Compares what a client got with what the table says.

use std::time::{SystemTime, UNIX_EPOCH};

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::table::Step;

/// A time that was taken in this test is no older, in seconds.
const RECENT_S: f64 = 600.0;

/// What a client says of a step: an output, an error, or that it refused to send it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<Told>,
    pub(crate) refused: Option<String>,
    /// How many requests it sent.
    pub(crate) attempts: u32,
}

/// An error as the client shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Told {
    pub(crate) code: String,
    pub(crate) message: Option<String>,
    /// Not every client shows it.
    pub(crate) status: Option<u16>,
}

/// What differs between `outcome` and what `step` expects of `client`, a line each.
pub(crate) fn differences(step: &Step, client: &str, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    let refuses = step.locally.iter().any(|local| local == client);
    match (outcome, &step.error) {
        (Outcome { refused: Some(why), .. }, _) if !refuses => {
            found.push(format!("the client sent nothing: {why}"));
        }
        (Outcome { refused: Some(_), .. }, _) => {}
        _ if refuses => found.push(format!("the client sent what it should refuse itself; {outcome:?}")),
        (Outcome { error: Some(told), .. }, Some(code)) => told.compare(step, code, &mut found),
        (Outcome { error: Some(told), .. }, None) => found.push(format!("refused: {told:?}")),
        (_, Some(code)) => found.push(format!("no {code} but {outcome:?}")),
        (_, None) => {
            let (whole, nothing) = (outcome.output.clone().unwrap_or_default(), Map::new());
            compare_output(step.output.as_ref(), &whole.as_object().unwrap_or(&nothing).clone(), &mut found);
        }
    }
    if let Some(expected) = step.sent.as_ref().filter(|_| !refuses) {
        let expected = expected.get(client).or_else(|| expected.get("others")).unwrap_or(expected);
        if *expected != outcome.attempts {
            found.push(format!("{} requests sent, not {expected}", outcome.attempts));
        }
    }
    found
}

impl Told {
    fn compare(&self, step: &Step, code: &str, found: &mut Vec<String>) {
        if self.code != code {
            found.push(format!("{}, not {code}: {:?}", self.code, self.message));
            return;
        }
        let status = match code {
            "InternalFailure" => 500,
            "ServiceUnavailableException" => 503,
            _ => 400,
        };
        if self.status.is_some_and(|told| told != status) {
            found.push(format!("status {:?}, not {status}", self.status));
        }
        if let Some(message) = &step.message {
            let told = self.message.as_deref().unwrap_or_default();
            compare("the message", message, Some(&told.into()), found);
        }
    }
}

/// By their pointers where all names are pointers, else as a whole.
fn compare_output(
    expected: Option<&Map<String, Value>>,
    output: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    let Some(expected) = expected else { return };
    let output = Value::Object(output.clone());
    if !expected.is_empty() && expected.keys().all(|name| name.starts_with('/')) {
        for (pointer, expected) in expected {
            compare(pointer, expected, output.pointer(pointer), found);
        }
    } else {
        compare("", &Value::Object(expected.clone()), Some(&output), found);
    }
}

/// Notes where `got` at `path` is not as `expected`, which may hold matchers in place of values.
pub(crate) fn compare(path: &str, expected: &Value, got: Option<&Value>, found: &mut Vec<String>) {
    match (expected, got) {
        (Value::Object(expected), _) if expected.keys().any(|name| name.starts_with('$')) => {
            if let Err(why) = matches(expected, got) {
                found.push(format!("{path}: {why}"));
            }
        }
        (Value::Object(expected), Some(Value::Object(got))) => {
            for (name, expected) in expected {
                compare(&format!("{path}/{name}"), expected, got.get(name), found);
            }
            let more = got.iter().filter(|(name, _)| !expected.contains_key(*name));
            found.extend(more.map(|(name, value)| format!("{path}/{name}: {value} was not expected")));
        }
        (Value::Array(expected), Some(Value::Array(got))) => {
            for place in 0..expected.len().max(got.len()) {
                match expected.get(place) {
                    Some(expected) => compare(&format!("{path}/{place}"), expected, got.get(place), found),
                    None => found.push(format!("{path}/{place}: {} was not expected", got[place])),
                }
            }
        }
        // One client's whole number is another's fraction.
        (Value::Number(expected), Some(Value::Number(got))) if expected.as_f64() == got.as_f64() => {}
        (expected, Some(got)) if expected == got => {}
        (expected, Some(got)) => found.push(format!("{path}: {got}\n    expected {expected}")),
        (expected, None) => found.push(format!("{path}: nothing\n    expected {expected}")),
    }
}

fn matches(matcher: &Map<String, Value>, got: Option<&Value>) -> Result<(), String> {
    let shown = || got.map_or("nothing".to_owned(), Value::to_string);
    let text = got.and_then(Value::as_str);
    let (name, argument) = matcher.iter().next().unwrap();
    let good = match name.as_str() {
        "$absent" => got.is_none_or(Value::is_null),
        "$recent" => got.and_then(Value::as_f64).is_some_and(|at| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            (now - RECENT_S..=now + 1.0).contains(&at)
        }),
        "$matches" => {
            let pattern = Regex::new(&format!("^(?s:{})$", argument.as_str().unwrap())).unwrap();
            text.is_some_and(|text| pattern.is_match(text))
        }
        "$contains" => {
            let parts = argument.as_array().unwrap().iter().map(|part| part.as_str().unwrap());
            let missing: Vec<_> =
                parts.filter(|part| !text.is_some_and(|text| text.contains(*part))).collect();
            if !missing.is_empty() {
                return Err(format!("{}\n    lacks {}", shown(), missing.join("\n    lacks ")));
            }
            true
        }
        _ => panic!("there is no matcher {name}"),
    };
    if good { Ok(()) } else { Err(format!("{}\n    expected {name}: {argument}", shown())) }
}
