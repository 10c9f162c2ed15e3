//! A YAML document as a tree in which every node knows its line and column.
//!
//! Scalars stay text: a number, a size and an account id with leading zeros look alike to YAML, and the reader of a key
//! knows which one it wants. The parser's own limits (depth, aliases, size) guard against hostile documents.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

/// A node and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value` of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) node: Node,
}

/// The document is not YAML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) message: String,
}

impl Node {
    /// What kind of node it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a plain value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value of a map's key.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// What a map holds; nothing where it is none.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// What a list holds; nothing where it is none.
    pub(super) fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// A plain value.
    pub(super) fn scalar(&self) -> Option<&str> {
        if let Value::Scalar(text) = &self.value { Some(text) } else { None }
    }
}

/// Reads one document; an empty one is `Null`.
pub(super) fn parse(source: &str) -> Result<Node, SyntaxError> {
    // No snippet: the neighbouring line may hold a secret.
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    if source.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { line: 1, column: 1, value: Value::Null });
    }
    let loose: Spanned<Loose> = serde_yaml::from_str_with_options(source, options).map_err(|error| {
        let error = error.without_snippet();
        let at = error.location().unwrap_or(Location::UNKNOWN);
        let text = error.to_string();
        // The location is told in our own form, so the parser's own is cut off.
        let message = text.split(" at line ").next().unwrap_or_default().to_owned();
        SyntaxError { line: at.line(), column: at.column(), message }
    })?;
    Ok(node(source, loose))
}

/// What the parser hands over, before scalars are turned back into the text they were written as.
enum Loose {
    Null,
    /// A string, unescaped.
    Text(String),
    /// A plain scalar that YAML takes for a number or a truth value: as written if it can be found, else as printed.
    Typed(String),
    List(Vec<Spanned<Loose>>),
    Map(Vec<(Spanned<String>, Spanned<Loose>)>),
}

fn node(source: &str, loose: Spanned<Loose>) -> Node {
    let value = match loose.value {
        Loose::Null => Value::Null,
        Loose::Text(text) => Value::Scalar(text),
        Loose::Typed(printed) => Value::Scalar(as_written(source, &loose.defined).unwrap_or(printed)),
        Loose::List(items) => Value::List(items.into_iter().map(|item| node(source, item)).collect()),
        Loose::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, item)| Entry {
                    line: key.referenced.line(),
                    column: key.referenced.column(),
                    key: key.value,
                    node: node(source, item),
                })
                .collect(),
        ),
    };
    Node { line: loose.referenced.line(), column: loose.referenced.column(), value }
}

/// The characters of the scalar at `at`.
fn as_written(source: &str, at: &Location) -> Option<String> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let len = usize::try_from(at.span().byte_len()?).ok()?;
    let text = source.get(start..start.checked_add(len)?)?.trim();
    let plain = !text.is_empty() && !text.contains(char::is_whitespace);
    plain.then(|| text.to_owned())
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Loose, E> {
        Ok(Loose::Null)
    }

    fn visit_none<E>(self) -> Result<Loose, E> {
        Ok(Loose::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
        Ok(Loose::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
        Ok(Loose::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Loose, E> {
        Ok(Loose::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Loose::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Loose::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree on one line, each node with its place.
    fn show(node: &Node) -> String {
        let at = format!("@{}:{}", node.line, node.column);
        match &node.value {
            Value::Null => format!("null{at}"),
            Value::Scalar(text) => format!("{text:?}{at}"),
            Value::List(items) => format!("[{}]{at}", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Map(entries) => {
                let entry = |e: &Entry| format!("{}@{}:{}={}", e.key, e.line, e.column, show(&e.node));
                format!("{{{}}}{at}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn every_node_knows_its_place() {
        let source = "a: 1\nb:\n  - x\n  - {c: 'y z', d: }\n";
        assert_eq!(
            show(&parse(source).unwrap()),
            "{a@1:1=\"1\"@1:4 b@2:1=[\"x\"@3:5 {c@4:6=\"y z\"@4:9 d@4:16=null@4:17}@4:5]@3:3}@1:1"
        );
    }

    #[test]
    fn scalars_stay_the_text_they_were_written_as() {
        let text = |source: &str| match parse(source).unwrap().value {
            Value::Map(entries) => match &entries[0].node.value {
                Value::Scalar(text) => text.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        for written in ["000000000000", "0x10", "1e3", "true", "yes", "5MiB", "1.50", "2026-01-02"] {
            assert_eq!(text(&format!("k: {written}\n")), written);
            assert_eq!(text(&format!("ä: {written} # comment\n")), written);
            assert_eq!(text(&format!("k: \"{written}\"\n")), written);
        }
        assert_eq!(text("k: \"a\\nb\"\n"), "a\nb");
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let source = "base: &b {x: 007}\nuse:\n  <<: *b\n  y: 2\nagain: *b\n";
        let shown = show(&parse(source).unwrap());
        assert_eq!(shown.matches("\"007\"").count(), 3, "{shown}");
    }

    #[test]
    fn comments_alone_are_an_empty_document() {
        assert!(matches!(parse("# nothing\n\n").unwrap().value, Value::Null));
    }

    #[test]
    fn syntax_errors_and_duplicate_keys_have_a_place() {
        let error = parse("a: 1\nb: [1, 2\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        let error = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1), "{error:?}");
        assert!(error.message.contains("duplicate"), "{error:?}");
    }
}
