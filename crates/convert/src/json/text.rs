//! A value as compact JSON text: what a column of strings gets of one that is nested.

use jiter::{Jiter, Peek};

use super::RowError;
use super::value::Rules;

/// How deep it may be nested.
const DEPTH_MAX: usize = 200;

/// Writes the value without spaces.
pub(super) fn compact(
    json: &mut Jiter<'_>,
    peek: Peek,
    rules: &Rules,
    out: &mut String,
) -> Result<(), RowError> {
    write(json, peek, rules, out, 0)
}

fn write(
    json: &mut Jiter<'_>,
    peek: Peek,
    rules: &Rules,
    out: &mut String,
    depth: usize,
) -> Result<(), RowError> {
    check_depth(depth)?;
    match peek {
        Peek::Null => {
            json.known_null()?;
            out.push_str("null");
        }
        Peek::True | Peek::False => out.push_str(if json.known_bool(peek)? { "true" } else { "false" }),
        Peek::String => quote(json.known_str()?, out),
        Peek::Array => {
            out.push('[');
            let (mut item, mut first) = (json.known_array()?, true);
            while let Some(peek) = item {
                if !std::mem::take(&mut first) {
                    out.push(',');
                }
                write(json, peek, rules, out, depth + 1)?;
                item = json.array_step()?;
            }
            out.push(']');
        }
        Peek::Object => {
            out.push('{');
            let mut key = json.known_object()?;
            while let Some(name) = key {
                match rules.lower_case(name) {
                    Some(name) => quote(&name, out),
                    None => quote(name, out),
                }
                out.push(':');
                let peek = json.peek()?;
                write(json, peek, rules, out, depth + 1)?;
                key = json.next_key()?;
                if key.is_some() {
                    out.push(',');
                }
            }
            out.push('}');
        }
        _ => {
            let digits = json.known_number_bytes(peek)?;
            out.push_str(std::str::from_utf8(digits).map_err(RowError::parse)?);
        }
    }
    Ok(())
}

/// Refuses a value that is nested so deep that it has no text.
pub(super) fn check_depth(depth: usize) -> Result<(), RowError> {
    match depth > DEPTH_MAX {
        true => Err(RowError::parse(format_args!("It is nested more than {DEPTH_MAX} deep."))),
        false => Ok(()),
    }
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
