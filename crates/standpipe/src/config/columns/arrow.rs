//! A field of an Arrow schema, in the JSON that Arrow's implementations test each other by.

use standpipe_convert::{Column, DEPTH_MAX, Type};

use super::super::reader::Cursor;
use super::super::tree::Node;
use super::file::text;

/// Reads a field as a column.
pub(super) fn column(at: &mut Cursor<'_, '_>) -> Option<Column> {
    let node = at.node;
    let name = text(at, node, "name")?.to_owned();
    let required = node.get("nullable").and_then(Node::scalar) == Some("false");
    Some(Column { name, kind: kind(at, 0)?, required, ids: Vec::new() })
}

fn kind(at: &mut Cursor<'_, '_>, depth: usize) -> Option<Type> {
    if depth > DEPTH_MAX {
        return at.refuse(format!("types may be nested {DEPTH_MAX} deep"));
    }
    let node = at.node;
    let Some(given) = node.get("type") else { return at.refuse("the key \"type\" is missing") };
    let name = text(at, given, "name")?;
    let say = |key: &str| given.get(key).and_then(Node::scalar).unwrap_or_default();
    let kind = match name {
        "bool" => Type::Boolean,
        "int" => match (say("bitWidth"), say("isSigned")) {
            ("8", "true") => Type::TinyInt,
            ("16", "true") | ("8", _) => Type::SmallInt,
            ("32", "true") | ("16", _) => Type::Int,
            ("64", "true") | ("32", _) => Type::BigInt,
            (bits, _) => return at.refuse(format!("there is no type for unsigned numbers of {bits} bits")),
        },
        "floatingpoint" => match say("precision") {
            "SINGLE" => Type::Float,
            "DOUBLE" => Type::Double,
            other => return at.refuse(format!("there is no type for numbers of precision {other}")),
        },
        "decimal" => return super::parse(at, &format!("decimal({},{})", say("precision"), say("scale"))),
        "utf8" | "largeutf8" | "utf8view" => Type::String,
        "binary" | "largebinary" | "binaryview" => Type::Binary,
        "date" => Type::Date,
        "timestamp" => match say("timezone") {
            "" | "UTC" => Type::Timestamp,
            zone => return at.refuse(format!("a timestamp is in UTC, not in {zone}")),
        },
        "list" | "largelist" | "fixedsizelist" => Type::Array(Box::new(child(at, 0, depth)?)),
        "map" => {
            let Some(entries) = node.get("children").and_then(|children| children.items().first()) else {
                return at.refuse("the map has no \"children\"");
            };
            let mut entries = at.below(entries, "children[0]");
            if child(&mut entries, 0, depth)? != Type::String {
                return entries.refuse("the keys of a map are strings");
            }
            Type::Map(Box::new(child(&mut entries, 1, depth)?))
        }
        "struct" => {
            let count = node.get("children").map_or(0, |children| children.items().len());
            let members = (0..count).map(|number| {
                let member = &node.get("children")?.items()[number];
                Some((text(at, member, "name")?.to_owned(), child(at, number, depth)?))
            });
            let members: Vec<_> = members.collect::<Option<_>>()?;
            // The rules on members are those of a type that is written.
            return super::parse(at, &Type::Struct(members).to_string());
        }
        other => return at.refuse(format!("there is no type for Arrow's {other}")),
    };
    Some(kind)
}

fn child(at: &mut Cursor<'_, '_>, number: usize, depth: usize) -> Option<Type> {
    match at.node.get("children").and_then(|children| children.items().get(number)) {
        Some(child) => kind(&mut at.below(child, &format!("children[{number}]")), depth + 1),
        None => at.refuse(format!("there is no child {number} under \"children\"")),
    }
}
