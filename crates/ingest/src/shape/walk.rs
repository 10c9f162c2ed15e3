//! Checks a parsed request against its table and brings it into normal form.

use serde_json::{Map, Number, Value};

use super::{Member, Pattern, Shape, Structure, Text};
use crate::put::base64;
use crate::{ApiError, ErrorCode};

/// AWS's front end lists no more violations than this.
const VIOLATIONS_MAX: usize = 10;

/// Checks `input` against `structure`; returns it without nulls and unknown members, numbers and booleans in their
/// own type.
///
/// # Errors
/// `SerializationException` for the first member of a wrong type, else `ValidationException` with all violations.
pub fn check(structure: &Structure, input: &Value) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(members) = input else {
        return Err(ApiError::bare(ErrorCode::Serialization));
    };
    let normal = read_structure(structure, members)?;
    let mut violations = Vec::new();
    constrain_structure(structure, &normal, "", &mut violations);
    match violations.len() {
        0 => Ok(normal),
        count => Err(ApiError::new(
            ErrorCode::Validation,
            format!(
                "{count} validation error{} detected: {}",
                if count == 1 { "" } else { "s" },
                violations.join("; ")
            ),
        )),
    }
}

fn mistyped(message: String) -> ApiError {
    ApiError::new(ErrorCode::Serialization, message)
}

fn read_structure(structure: &Structure, input: &Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let mut normal = Map::new();
    for member in structure.members {
        if let Some(value) = input.get(member.name).filter(|value| !value.is_null()) {
            normal.insert(member.name.to_owned(), read(&member.shape, value)?);
        }
    }
    Ok(normal)
}

/// Step one: the type of `value`, and its normal form.
fn read(shape: &Shape, value: &Value) -> Result<Value, ApiError> {
    match shape {
        Shape::Text(_) => match value {
            Value::String(_) => Ok(value.clone()),
            _ => Err(wrong_scalar(value, "an String")),
        },
        Shape::Integer { .. } => match value {
            Value::Number(number) => Ok(Value::Number(floor(number))),
            _ => Err(wrong_scalar(value, "an Integer")),
        },
        Shape::Double { .. } | Shape::Timestamp => match value {
            Value::Number(_) => Ok(value.clone()),
            _ => Err(wrong_scalar(value, "an Double")),
        },
        Shape::Boolean => read_boolean(value),
        Shape::Blob { .. } => match value {
            Value::String(text) => base64::check(text).map(|()| value.clone()).map_err(mistyped),
            _ => Err(wrong_scalar(value, "a Blob")),
        },
        Shape::List { element, .. } => match value {
            Value::Array(elements) => {
                let elements = elements.iter().filter(|element| !element.is_null());
                elements.map(|value| read(element, value)).collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(_) => Err(wrong_scalar(value, "")),
            _ => Err(mistyped("Expected list or null".to_owned())),
        },
        Shape::Map { value: shape, .. } => match value {
            Value::Object(members) => {
                let members = members.iter().filter(|(_, value)| !value.is_null());
                let members = members.map(|(key, value)| Ok((key.clone(), read(shape, value)?)));
                members.collect::<Result<_, _>>().map(Value::Object)
            }
            Value::Array(_) => Err(wrong_scalar(value, "")),
            _ => Err(mistyped("Expected map or null".to_owned())),
        },
        Shape::Structure(inner) => match value {
            Value::Object(members) => read_structure(inner, members).map(Value::Object),
            Value::Array(_) => Err(wrong_scalar(value, "")),
            _ => Err(mistyped("Expected null".to_owned())),
        },
    }
}

fn read_boolean(value: &Value) -> Result<Value, ApiError> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(Value::Bool(true)),
            "false" | "0" | "no" => Ok(Value::Bool(false)),
            _ => Err(mistyped(format!("'{}' can not be converted to an Boolean", text.to_uppercase()))),
        },
        _ => Err(wrong_scalar(value, "an Boolean")),
    }
}

/// The text for a value that is not what a scalar (or list) member takes; `wanted` with its article, as AWS has it.
fn wrong_scalar(value: &Value, wanted: &str) -> ApiError {
    let class = match value {
        Value::Array(_) => return mistyped("Start of list found where not expected".to_owned()),
        Value::Object(_) => {
            return mistyped("Start of structure or map found where not expected.".to_owned());
        }
        Value::Number(_) => "java.math.BigDecimal",
        Value::Bool(_) => "java.lang.Boolean",
        Value::String(_) | Value::Null => "java.lang.String",
    };
    mistyped(format!("class {class} can not be converted to {wanted}"))
}

/// Whole-number members take a fraction and floor it.
fn floor(number: &Number) -> Number {
    match number.as_f64() {
        Some(float) if number.is_f64() => Number::from(float.floor() as i64),
        _ => number.clone(),
    }
}

/// Step two: the constraints of a structure's members, which `normal` already has in their types.
fn constrain_structure(
    structure: &Structure,
    normal: &Map<String, Value>,
    path: &str,
    violations: &mut Vec<String>,
) {
    for member in structure.members {
        let path = member_path(path, member);
        match normal.get(member.name) {
            Some(value) => constrain(&member.shape, value, &path, violations),
            None if member.required => note(
                violations,
                format!("Value null at '{path}' failed to satisfy constraint: Member must not be null"),
            ),
            None => {}
        }
    }
}

/// The path of a member: AWS prints the names with their first letter in lower case.
fn member_path(parent: &str, member: &Member) -> String {
    let mut name = member.name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

pub(super) fn constrain(shape: &Shape, value: &Value, path: &str, violations: &mut Vec<String>) {
    match (shape, value) {
        (Shape::Text(text), Value::String(value)) => constrain_text(text, value, path, violations),
        (Shape::Integer { min, max }, Value::Number(number)) => {
            // A number beyond 64 bits is beyond every limit, on the side of its sign.
            let beyond = || if number.as_u64().is_some() { i64::MAX } else { i64::MIN };
            constrain_value(*min, *max, number.as_i64().unwrap_or_else(beyond), path, violations);
        }
        (Shape::Double { min, max }, Value::Number(number)) => {
            constrain_value(*min, *max, number.as_f64().unwrap_or(f64::INFINITY), path, violations);
        }
        (Shape::Blob { max_len }, Value::String(text)) => {
            constrain_length(0, *max_len, base64::decoded_len(text), path, violations);
        }
        (Shape::List { element, min_len, max_len }, Value::Array(elements)) => {
            constrain_length(*min_len, *max_len, elements.len(), path, violations);
            for (number, value) in (1..).zip(elements) {
                constrain(element, value, &format!("{path}.{number}.member"), violations);
            }
        }
        (Shape::Map { key, value: shape }, Value::Object(members)) => {
            let keys = || members.keys().map(|key| Value::from(key.as_str()));
            constrain_all(key, keys(), "Map keys", path, violations);
            constrain_all(shape, members.values().cloned(), "Map value", path, violations);
        }
        (Shape::Structure(inner), Value::Object(members)) => {
            constrain_structure(inner, members, path, violations);
        }
        _ => {}
    }
}

/// The constraints of a map's keys or values, which AWS states all together.
fn constrain_all(
    shape: &Shape,
    mut values: impl Iterator<Item = Value>,
    what: &str,
    path: &str,
    violations: &mut Vec<String>,
) {
    let broken = |value: &Value| {
        let mut found = Vec::new();
        constrain(shape, value, path, &mut found);
        !found.is_empty()
    };
    if let (Shape::Text(text), true) = (shape, values.any(|value| broken(&value))) {
        let mut musts = vec![at_most(text.max_len), at_least(text.min_len)];
        musts.extend(text.pattern.map(matching));
        let musts: Vec<String> = musts.iter().map(|must| format!("Member must {must}")).collect();
        let musts = musts.join(", ");
        note(
            violations,
            format!(
                "Value at '{path}' failed to satisfy constraint: {what} must satisfy constraint: [{musts}]"
            ),
        );
    }
}

fn constrain_text(text: &Text, value: &str, path: &str, violations: &mut Vec<String>) {
    constrain_length(text.min_len, text.max_len, value.chars().count(), path, violations);
    if let Some(pattern) = text.pattern.filter(|pattern| !pattern.matches(value)) {
        note_at(violations, path, &matching(pattern));
    }
    if !text.values.is_empty() && !text.values.contains(&value) {
        note_at(violations, path, &format!("satisfy enum value set: [{}]", text.values.join(", ")));
    }
}

fn constrain_length(min: usize, max: usize, len: usize, path: &str, violations: &mut Vec<String>) {
    if len > max {
        note_at(violations, path, &at_most(max));
    } else if len < min {
        note_at(violations, path, &at_least(min));
    }
}

fn at_most(max_len: usize) -> String {
    format!("have length less than or equal to {max_len}")
}

fn at_least(min_len: usize) -> String {
    format!("have length greater than or equal to {min_len}")
}

fn matching(pattern: &Pattern) -> String {
    format!("satisfy regular expression pattern: {}", pattern.text())
}

fn constrain_value<N: PartialOrd + std::fmt::Display>(
    min: N,
    max: N,
    value: N,
    path: &str,
    violations: &mut Vec<String>,
) {
    if value > max {
        note_at(violations, path, &format!("have value less than or equal to {max}"));
    } else if value < min {
        note_at(violations, path, &format!("have value greater than or equal to {min}"));
    }
}

/// The form of the newer AWS stacks, which leave the value out: it may be large, or a secret.
fn note_at(violations: &mut Vec<String>, path: &str, must: &str) {
    note(violations, format!("Value at '{path}' failed to satisfy constraint: Member must {must}"));
}

fn note(violations: &mut Vec<String>, violation: String) {
    if violations.len() < VIOLATIONS_MAX {
        violations.push(violation);
    }
}
