//! A destination's life by the tables: merged with an update, described with what AWS fills in.
//!
//! A configuration is kept as it was given. Its update and its description are structures of their own, whose members
//! are those of the configuration, some under another name ([`Member::subject`]); a description leaves the secrets out.

use serde_json::{Map, Value};

use super::{Member, Shape, Structure};

/// The blocks that an update replaces as a whole, where it otherwise merges member by member.
const REPLACED_WHOLE: [&str; 2] = ["BufferingHints", "ProcessingConfiguration"];

/// Merges `update`, which the structure of updates describes, into `configuration`: member by member and recursively,
/// but for the two blocks that AWS replaces whole. A member that stands instead of another removes that one.
pub fn merge(structure: &Structure, configuration: &mut Map<String, Value>, update: Map<String, Value>) {
    for (name, value) in update {
        let Some(member) = structure.members.iter().find(|member| member.name == name) else { continue };
        let subject = member.subject();
        if let Some(other) = member.instead_of {
            configuration.remove(other);
        }
        let inner = match member.shape {
            Shape::Structure(inner) if !REPLACED_WHOLE.contains(&subject) => Some(inner),
            _ => None,
        };
        match (inner, value) {
            (Some(inner), Value::Object(update)) => {
                // Also where there was nothing: the members of an update may have other names.
                let current = configuration.entry(subject).or_insert_with(|| Map::new().into());
                if let Value::Object(current) = current {
                    merge(inner, current, update);
                }
            }
            (_, value) => drop(configuration.insert(subject.to_owned(), value)),
        }
    }
}

/// Describes `given`, which `configuration` describes, as the structure `description`.
pub fn describe(
    description: &Structure,
    configuration: &Structure,
    given: &Map<String, Value>,
) -> Map<String, Value> {
    let shown = description.members.iter().filter_map(|member| {
        let subject = configuration.members.iter().find(|subject| subject.name == member.subject())?;
        let value = match given.get(subject.name) {
            Some(value) => describe_shape(&member.shape, &subject.shape, value),
            None => filled_in(subject)?,
        };
        Some((member.name.to_owned(), value))
    });
    shown.collect()
}

fn describe_shape(description: &Shape, configuration: &Shape, given: &Value) -> Value {
    match (description, configuration, given) {
        (Shape::Structure(description), Shape::Structure(configuration), Value::Object(given)) => {
            Value::Object(describe(description, configuration, given))
        }
        _ => given.clone(),
    }
}

fn filled_in(member: &Member) -> Option<Value> {
    let default = member.default?;
    Some(serde_json::from_str(default).expect("a test reads every default of the tables"))
}
