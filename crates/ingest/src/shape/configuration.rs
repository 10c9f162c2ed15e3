//! A destination's life by the tables: merged with an update, described with what AWS fills in.
//!
//! A configuration is kept as it was given. Its update and its description are structures of their own, whose members
//! are those of the configuration, some under another name ([`Member::subject`]); a description leaves the secrets out.

use serde_json::{Map, Value};

use super::{Member, Shape, Structure};

/// The blocks that an update replaces as a whole, where it otherwise merges member by member.
const REPLACED_WHOLE: [&str; 2] = ["BufferingHints", "ProcessingConfiguration"];

/// Merges `update`, which the structure of updates describes, into `configuration`: member by member and recursively,
/// but for the two blocks that AWS replaces whole.
pub fn merge(structure: &Structure, configuration: &mut Map<String, Value>, update: Map<String, Value>) {
    for (name, value) in update {
        let member = structure.members.iter().find(|member| member.name == name);
        let subject = member.map_or_else(|| name.clone(), |member| member.subject().to_owned());
        let inner = match member.map(|member| member.shape) {
            Some(Shape::Structure(inner)) if !REPLACED_WHOLE.contains(&subject.as_str()) => Some(inner),
            _ => None,
        };
        match (inner, configuration.get_mut(&subject), value) {
            (Some(inner), Some(Value::Object(current)), Value::Object(update)) => {
                merge(inner, current, update);
            }
            (_, _, value) => drop(configuration.insert(subject, value)),
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
