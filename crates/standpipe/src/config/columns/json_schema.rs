//! The columns of a JSON Schema that describes the rows.
//!
//! What says which values are right (`minimum`, `pattern`, `enum` beside a `type`) is passed over: a column has a type
//! and nothing more. What says the type in another way than by `type` is refused by name.

use standpipe_convert::{Column, DEPTH_MAX, Type};

use super::super::reader::Cursor;
use super::super::tree::{Node, Value};

/// Keywords that make a type out of parts, or of several kinds, which no column has.
const UNKNOWN: [&str; 7] =
    ["allOf", "not", "if", "patternProperties", "prefixItems", "dependentSchemas", "$dynamicRef"];

/// Reads the columns: the properties of the object that a row is.
pub(super) fn columns(at: &mut Cursor<'_, '_>) -> Option<Vec<Column>> {
    let root = at.node;
    let reader = Reader { root };
    let object = reader.followed(at, root, 0)?;
    if object.get("properties").is_none() {
        return at.refuse("the row has no \"properties\"");
    }
    let required = object.get("required").map_or(&[][..], Node::items);
    let members = reader.members(at, object, 0)?;
    let columns = members.into_iter().map(|(name, kind, nullable)| {
        let required = !nullable && required.iter().any(|listed| listed.scalar() == Some(name.as_str()));
        Column { name, kind, required, ids: Vec::new() }
    });
    Some(columns.collect())
}

struct Reader<'n> {
    root: &'n Node,
}

impl<'n> Reader<'n> {
    /// The schema itself, or the one that it refers to.
    fn followed(&self, at: &mut Cursor<'_, '_>, schema: &'n Node, depth: usize) -> Option<&'n Node> {
        if depth > DEPTH_MAX {
            return at.refuse(format!("types may be nested {DEPTH_MAX} deep"));
        }
        let Some(reference) = schema.get("$ref").and_then(Node::scalar) else { return Some(schema) };
        let target = reference.strip_prefix('#').and_then(|pointer| {
            let mut steps = pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
            steps.try_fold(self.root, |node, step| node.get(&step))
        });
        match target {
            Some(target) => self.followed(at, target, depth + 1),
            None => at.refuse(format!("\"{reference}\" refers to nothing in this file")),
        }
    }

    /// The properties of an object, each with its type and whether it may be null.
    fn members(
        &self,
        at: &mut Cursor<'_, '_>,
        object: &'n Node,
        depth: usize,
    ) -> Option<Vec<(String, Type, bool)>> {
        let properties = object.get("properties").map_or(&[][..], Node::entries);
        let members = properties.iter().map(|property| {
            let step = format!("properties.{}", property.key);
            let (kind, nullable) =
                self.kind(&mut at.below(&property.node, &step), &property.node, depth + 1)?;
            Some((property.key.clone(), kind, nullable))
        });
        // All of them first, so that each tells what is wrong with it.
        members.collect::<Vec<_>>().into_iter().collect()
    }

    /// The type of a schema, and whether it may be null.
    fn kind(&self, at: &mut Cursor<'_, '_>, schema: &'n Node, depth: usize) -> Option<(Type, bool)> {
        let schema = self.followed(at, schema, depth)?;
        if let Some(keyword) = UNKNOWN.iter().find(|keyword| schema.get(keyword).is_some()) {
            return at.refuse(format!("{keyword} is not supported: a column has one type"));
        }
        if let Some(variants) = schema.get("anyOf").or_else(|| schema.get("oneOf")) {
            let is_null = |variant: &&Node| type_words(variant) == ["null"];
            let others: Vec<&Node> = variants.items().iter().filter(|variant| !is_null(variant)).collect();
            let [other] = others.as_slice() else {
                return at.refuse("of several types only one, and null beside it, can be a column's");
            };
            let (kind, nullable) = self.kind(at, other, depth + 1)?;
            return Some((kind, nullable || variants.items().len() > 1));
        }
        let words = type_words(schema);
        let nullable = words.contains(&"null");
        let named: Vec<&str> = words.into_iter().filter(|word| *word != "null").collect();
        let [name] = named.as_slice() else {
            return at.refuse("it needs one \"type\", and may have null beside it");
        };
        Some((self.named(at, schema, name, depth)?, nullable))
    }

    fn named(&self, at: &mut Cursor<'_, '_>, schema: &'n Node, name: &str, depth: usize) -> Option<Type> {
        let say = |key: &str| schema.get(key).and_then(Node::scalar).unwrap_or_default();
        Some(match (name, say("format")) {
            ("boolean", _) => Type::Boolean,
            ("integer", "int32") => Type::Int,
            ("integer", _) => Type::BigInt,
            ("number", "float") => Type::Float,
            ("number", _) => Type::Double,
            ("string", "date") => Type::Date,
            ("string", "date-time") => Type::Timestamp,
            ("string", _) if say("contentEncoding") == "base64" => Type::Binary,
            ("string", _) => Type::String,
            ("array", _) => match schema.get("items") {
                Some(items) => {
                    let kind = self.kind(&mut at.below(items, "items"), items, depth + 1)?;
                    Type::Array(Box::new(kind.0))
                }
                None => return at.refuse("the array has no \"items\""),
            },
            ("object", _) => self.object(at, schema, depth)?,
            (other, _) => return at.refuse(format!("\"{other}\" is not a type of JSON Schema")),
        })
    }

    fn object(&self, at: &mut Cursor<'_, '_>, schema: &'n Node, depth: usize) -> Option<Type> {
        let members = self.members(at, schema, depth)?;
        match schema.get("additionalProperties") {
            _ if !members.is_empty() => {
                let members = members.into_iter().map(|(name, kind, _)| (name, kind)).collect();
                // The rules on members are those of a type that is written.
                super::parse(at, &Type::Struct(members).to_string())
            }
            Some(values) if matches!(values.value, Value::Map(_)) => {
                let values = self.kind(&mut at.below(values, "additionalProperties"), values, depth + 1)?;
                Some(Type::Map(Box::new(values.0)))
            }
            _ => at.refuse("the object has neither \"properties\" nor a schema of \"additionalProperties\""),
        }
    }
}

/// The words of `type`.
fn type_words(schema: &Node) -> Vec<&str> {
    match schema.get("type") {
        Some(Node { value: Value::List(words), .. }) => words.iter().filter_map(Node::scalar).collect(),
        // Without quotes it is YAML's own null.
        Some(Node { value: Value::Null, .. }) => vec!["null"],
        Some(word) => word.scalar().into_iter().collect(),
        None => Vec::new(),
    }
}
