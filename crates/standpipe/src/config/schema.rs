//! What a section accepts, as data: from it come the JSON Schema for editors and the reference in the docs.

mod shared;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::reader::first;

/// One key of a section.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Its spellings, separated by `|`, the proper one first.
    pub(super) names: &'static str,
    pub(super) required: bool,
    /// The key that can be there in the place of a required one.
    pub(super) or: Option<&'static str>,
    /// The default as a user would write it.
    pub(super) default: Option<String>,
    /// One or two sentences.
    pub(super) doc: &'static str,
    /// What it accepts; only in a description.
    pub(super) schema: Option<Schema>,
}

/// What a value may be.
#[derive(Debug, Clone)]
pub(super) enum Schema {
    /// Any text.
    Text,
    /// A text of a named form, with a pattern that an editor can check.
    Pattern { what: String, pattern: &'static str },
    /// A whole number.
    Int { min: u64, max: u64 },
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// A list of equals.
    List(Box<Schema>),
    /// A map with keys of the user's own.
    Map(Box<Schema>),
    /// A section.
    Section(Vec<Field>),
    /// A section of one of several kinds, told apart by a key.
    Tagged { tag: &'static str, kinds: Vec<(&'static str, Vec<Field>)> },
    /// One or the other.
    Either(Box<Schema>, Box<Schema>),
}

/// A variable in place of a value that is not text by itself.
const VARIABLE: &str = r"\$\{";

/// JSON with its keys in the order in which they were described.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Json {
    Text(String),
    Int(u64),
    Bool(bool),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Int(number) => serializer.serialize_u64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn text(text: impl Into<String>) -> Json {
    Json::Text(text.into())
}

fn object(entries: Vec<(&str, Json)>) -> Json {
    Json::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// `json`, or a variable in its place.
fn or_variable(json: Json) -> Json {
    let variable = object(vec![("type", text("string")), ("pattern", text(VARIABLE))]);
    object(vec![("anyOf", Json::List(vec![json, variable]))])
}

/// The whole schema of a document whose root is a section with these keys.
pub(super) fn document(root: &[Field]) -> Json {
    let mut entries = vec![
        ("$schema".to_owned(), text("https://json-schema.org/draft/2020-12/schema")),
        ("title".to_owned(), text("standpipe.yaml")),
    ];
    let mut root = section(root, None);
    let shared = shared::share(&mut root);
    if let Json::Object(section) = root {
        entries.extend(section);
    }
    entries.push(("$defs".to_owned(), shared));
    Json::Object(entries)
}

impl Schema {
    fn json(&self) -> Json {
        match self {
            // Any plain value is taken as the text it is written as, though YAML calls `n` or `1` something else.
            Self::Text => {
                let types = ["string", "number", "boolean"].map(text);
                object(vec![("type", Json::List(types.into()))])
            }
            Self::Pattern { what, pattern } => or_variable(object(vec![
                ("type", Json::List(vec![text("string"), text("number")])),
                ("description", text(what.clone())),
                ("pattern", text(*pattern)),
            ])),
            Self::Int { min, max } => or_variable(object(vec![
                ("type", text("integer")),
                ("minimum", Json::Int(*min)),
                ("maximum", Json::Int(*max)),
            ])),
            Self::Bool => or_variable(object(vec![("type", text("boolean"))])),
            Self::Choice(words) => {
                let words = words.iter().map(|word| text(*word)).collect();
                or_variable(object(vec![("enum", Json::List(words))]))
            }
            Self::List(item) => object(vec![("type", text("array")), ("items", item.json())]),
            Self::Map(item) => object(vec![("type", text("object")), ("additionalProperties", item.json())]),
            Self::Section(fields) => section(fields, None),
            Self::Tagged { tag, kinds } => {
                let kinds = kinds.iter().map(|(kind, fields)| section(fields, Some((tag, kind)))).collect();
                object(vec![("oneOf", Json::List(kinds))])
            }
            Self::Either(one, other) => object(vec![("anyOf", Json::List(vec![one.json(), other.json()]))]),
        }
    }
}

/// A section's schema; with a tag, the key that tells its kind.
fn section(fields: &[Field], tag: Option<(&str, &str)>) -> Json {
    let mut properties = Vec::new();
    let (mut required, mut either) = (Vec::new(), Vec::new());
    if let Some((tag, kind)) = tag {
        properties.push((tag.to_owned(), object(vec![("const", text(kind))])));
        required.push(text(tag));
    }
    for field in fields {
        let mut json = field.schema.as_ref().map_or_else(|| object(vec![]), Schema::json);
        if let Json::Object(entries) = &mut json {
            entries.retain(|(key, _)| key != "description");
            entries.insert(0, ("description".to_owned(), text(field.doc)));
            if let Some(default) = &field.default {
                entries.push(("default".to_owned(), text(default.as_str())));
            }
        }
        let name = text(first(field.names));
        match field.or {
            Some(other) => either.extend([name, text(other)]),
            // Which of several spellings is there, a list of names cannot say.
            None if field.required && !field.names.contains('|') => required.push(name),
            None => {}
        }
        properties.extend(field.names.split('|').map(|name| (name.to_owned(), json.clone())));
    }
    let mut entries = vec![
        ("type", text("object")),
        ("additionalProperties", Json::Bool(false)),
        ("properties", Json::Object(properties)),
    ];
    if !required.is_empty() {
        entries.push(("required", Json::List(required)));
    }
    if !either.is_empty() {
        let needs = |name| object(vec![("required", Json::List(vec![name]))]);
        entries.push(("oneOf", Json::List(either.into_iter().map(needs).collect())));
    }
    object(entries)
}
