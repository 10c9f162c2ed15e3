//! Which part of a valid request this version does not honour.

use serde_json::Value;

use super::{Member, Shape, Structure, Support};
use crate::ApiError;

/// The error that names the first member of `input` that is not honoured, if there is one.
///
/// It is better to refuse a member than to accept it and do something else: a producer of a template finds out when
/// the stream is made, not when an object is missing.
pub fn unsupported(structure: &Structure, input: &Value) -> Option<ApiError> {
    let path = first_unsupported(structure, input)?;
    Some(ApiError::invalid_argument(format!("{path} is not available in this version of standpipe.")))
}

/// The path of the first member that is not honoured, in AWS's spelling of the members.
fn first_unsupported(structure: &Structure, input: &Value) -> Option<String> {
    for member in structure.members {
        let Some(value) = input.get(member.name) else { continue };
        let honoured = match member.support {
            Support::Full | Support::Ignored(_) => true,
            Support::None => false,
            Support::When(accepts, _) => accepts(value),
        };
        if !honoured {
            return Some(describe(member, value));
        }
        // An inert block is accepted with whatever else it holds: it has no effect.
        let below = match (member.support, member.shape) {
            (Support::Full, Shape::Structure(inner)) => first_unsupported(inner, value),
            (Support::Full, Shape::List { element: Shape::Structure(inner), .. }) => {
                let elements = value.as_array().into_iter().flatten();
                elements.into_iter().find_map(|element| first_unsupported(inner, element))
            }
            _ => None,
        };
        if let Some(path) = below {
            return Some(format!("{}.{path}", member.name));
        }
    }
    None
}

/// The member, with its value where that is a name of the API.
fn describe(member: &Member, value: &Value) -> String {
    match (member.shape, value) {
        (Shape::Text(text), Value::String(value)) if !text.values.is_empty() => {
            format!("{} '{value}'", member.name)
        }
        _ => member.name.to_owned(),
    }
}
