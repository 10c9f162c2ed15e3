//! The shapes that values come in: words, numbers, sizes, durations, paths, addresses, lists, maps and sections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::{Spot, did_you_mean};
use super::reader::{Cursor, ReadSection, Section, Shape, describe, read_section};
use super::schema::Schema;
use super::tree::{Entry, Value};
use super::units::{format_duration, format_size, parse_duration, parse_size};

/// A text whose length in characters is within the range.
pub(super) fn text(chars: RangeInclusive<usize>) -> Text {
    Text { chars, secret: false }
}

/// A text that is never repeated in a message.
pub(super) fn secret_text() -> Text {
    Text { chars: 1..=4096, secret: true }
}

/// See [`text`].
pub(super) struct Text {
    chars: RangeInclusive<usize>,
    secret: bool,
}

impl Shape for Text {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let text = at.text()?;
        let count = text.chars().count();
        if self.chars.contains(&count) {
            return Some(text);
        }
        let shown = if self.secret || count > 40 { String::new() } else { format!("\"{text}\" ") };
        let (min, max) = (self.chars.start(), self.chars.end());
        at.refuse(format!("{shown}has {count} characters, allowed are {min} to {max}"))
    }

    fn schema(&self) -> Schema {
        Schema::Text
    }
}

/// `true` or `false`.
pub(super) struct Truth;

impl Shape for Truth {
    type Out = bool;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<bool> {
        match at.text()?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => at.refuse(format!("\"{other}\" is neither true nor false")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Bool
    }
}

/// A whole number within the range.
pub(super) struct Int(pub(super) RangeInclusive<u64>);

impl Shape for Int {
    type Out = u64;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<u64> {
        let text = at.text()?;
        let Ok(number) = text.parse::<u64>() else {
            return at.refuse(format!("\"{text}\" is not a whole number"));
        };
        within(at, number, &self.0, u64::to_string)
    }

    fn schema(&self) -> Schema {
        Schema::Int { min: *self.0.start(), max: *self.0.end() }
    }
}

/// A number of bytes within the range, as `5MiB`.
pub(super) struct Size(pub(super) RangeInclusive<u64>);

impl Shape for Size {
    type Out = u64;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<u64> {
        let text = at.text()?;
        match parse_size(&text) {
            Ok(bytes) => within(at, bytes, &self.0, |bytes| format_size(*bytes)),
            Err(error) => at.refuse(error),
        }
    }

    fn schema(&self) -> Schema {
        let (min, max) = (format_size(*self.0.start()), format_size(*self.0.end()));
        Schema::Pattern {
            what: format!("size, {min} to {max}"),
            pattern: r"^[0-9.]+ ?([KMGTkmgt]?[Ii]?[Bb])?$",
        }
    }
}

/// A duration within the range, as `60s`.
pub(super) struct Span(pub(super) RangeInclusive<Duration>);

impl Span {
    /// A range in seconds.
    pub(super) fn secs(range: RangeInclusive<u64>) -> Self {
        Self(Duration::from_secs(*range.start())..=Duration::from_secs(*range.end()))
    }
}

impl Shape for Span {
    type Out = Duration;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Duration> {
        let text = at.text()?;
        match parse_duration(&text) {
            Ok(duration) => within(at, duration, &self.0, |duration| format_duration(*duration)),
            Err(error) => at.refuse(error),
        }
    }

    fn schema(&self) -> Schema {
        let (min, max) = (format_duration(*self.0.start()), format_duration(*self.0.end()));
        Schema::Pattern {
            what: format!("duration, {min} to {max}"),
            pattern: r"^(0|([0-9.]+ ?(ms|s|m|h|d) ?)+)$",
        }
    }
}

/// The number if it is within the range; else the value, the limit and on which side.
fn within<T: PartialOrd>(
    at: &mut Cursor<'_, '_>,
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Option<T> {
    if range.contains(&value) {
        return Some(value);
    }
    let (side, limit) = if value < *range.start() {
        ("below the least", range.start())
    } else {
        ("above the most", range.end())
    };
    at.refuse(format!("{} is {side} allowed, {}", show(&value), show(limit)))
}

/// One of some words, each with what it means.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Clone> Shape for Choice<T> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        let text = at.text()?;
        if let Some((_, meaning)) = self.0.iter().find(|(word, _)| *word == text) {
            return Some(meaning.clone());
        }
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        let hint = did_you_mean(&text, words.iter().copied());
        at.refuse(format!("\"{text}\" is not one of {}{hint}", words.join(", ")))
    }

    fn schema(&self) -> Schema {
        Schema::Choice(self.0.iter().map(|(word, _)| *word).collect())
    }
}

/// A path; a relative one is resolved against the folder of the configuration file.
pub(super) struct FilePath;

impl Shape for FilePath {
    type Out = PathBuf;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<PathBuf> {
        let text = at.text()?;
        if text.is_empty() {
            return at.refuse("the path is empty");
        }
        let path = at.context.folder.join(text.strip_prefix("./").unwrap_or(&text));
        Some(path)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "path".to_owned(), pattern: "." }
    }
}

/// An address and port to listen on.
pub(super) struct Listen;

impl Shape for Listen {
    type Out = SocketAddr;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<SocketAddr> {
        let text = at.text()?;
        let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
        let local = local.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        match local.or_else(|| text.parse().ok()) {
            Some(address) => Some(address),
            None => at.refuse(format!(
                "\"{text}\" is not an address to listen on, write for example 127.0.0.1:4573 or [::]:4573"
            )),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "address and port".to_owned(), pattern: ":[0-9]+$" }
    }
}

/// An `http://` or `https://` address.
pub(super) struct Url;

impl Shape for Url {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let text = at.text()?;
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match host {
            Some(host)
                if !host.is_empty() && !host.starts_with('/') && !text.contains(char::is_whitespace) =>
            {
                Some(text)
            }
            _ => at.refuse(format!("\"{text}\" is not an address with http:// or https://")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "http or https address".to_owned(), pattern: "^https?://" }
    }
}

/// A list; items that are wrong are reported and left out.
pub(super) struct List<S>(pub(super) S);

impl<S: Shape> Shape for List<S> {
    type Out = Vec<S::Out>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Vec<S::Out>> {
        let Value::List(items) = &at.node.value else {
            return at.refuse(format!("expected a list, found {}", at.node.kind()));
        };
        let read = |(index, item)| self.0.read(&mut at.below(item, &format!("[{index}]")));
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn schema(&self) -> Schema {
        Schema::List(Box::new(self.0.schema()))
    }
}

/// A map with keys of the user's own, in the order of writing; a value that is wrong is reported and `None`, so that
/// its name is still known.
pub(super) struct Map<S>(pub(super) S);

/// One entry of a [`Map`]: its name, where its value stands, and the value.
pub(super) type Named<T> = (String, Spot, Option<T>);

impl<S: Shape> Shape for Map<S> {
    type Out = Vec<Named<S::Out>>;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Self::Out> {
        let Value::Map(entries) = &at.node.value else {
            return at.refuse(format!("expected a map, found {}", at.node.kind()));
        };
        let read = |Entry { key, node, .. }: &Entry| {
            let mut below = at.below(node, key);
            (key.clone(), below.spot(), self.0.read(&mut below))
        };
        Some(entries.iter().map(read).collect())
    }

    fn schema(&self) -> Schema {
        Schema::Map(Box::new(self.0.schema()))
    }
}

/// A section, read by a function.
pub(super) struct Sub<T>(pub(super) ReadSection<T>);

impl<T> Shape for Sub<T> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        read_section(at, self.0)
    }

    fn schema(&self) -> Schema {
        Schema::Section(describe(self.0))
    }
}

/// A section of one of several kinds, told apart by the key `type`.
pub(super) struct ByType<T: 'static>(pub(super) &'static [(&'static str, ReadSection<T>)]);

impl<T> Shape for ByType<T> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        let kinds = || self.0.iter().map(|(kind, _)| *kind);
        let Value::Map(entries) = &at.node.value else {
            return at.refuse(format!("expected a map, found {}", at.node.kind()));
        };
        let listed = kinds().collect::<Vec<_>>().join(", ");
        let Some(entry) = entries.iter().find(|entry| entry.key == "type") else {
            return at.refuse(format!("the key \"type\" is missing: one of {listed}"));
        };
        let mut below = at.below(&entry.node, "type");
        let kind = below.text()?;
        let Some((_, section)) = self.0.iter().find(|(word, _)| *word == kind) else {
            let hint = did_you_mean(&kind, kinds());
            return below.refuse(format!("\"{kind}\" is not one of {listed}{hint}"));
        };
        // The section itself does not know the key that chose it.
        let rest: Vec<Entry> = entries.iter().filter(|entry| entry.key != "type").cloned().collect();
        let node = super::tree::Node { value: Value::Map(rest), ..*at.node };
        let path = at.path.clone();
        read_section(&mut Cursor { node: &node, path, context: at.context }, *section)
    }

    fn schema(&self) -> Schema {
        let kinds = self.0.iter().map(|(kind, section)| (*kind, describe(*section))).collect();
        Schema::Tagged { tag: "type", kinds }
    }
}

/// A plain value in the first shape, or a map in the second.
pub(super) struct Either<A, B>(pub(super) A, pub(super) B);

impl<T, A: Shape<Out = T>, B: Shape<Out = T>> Shape for Either<A, B> {
    type Out = T;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<T> {
        match at.node.value {
            Value::Map(_) => self.1.read(at),
            _ => self.0.read(at),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(self.0.schema()), Box::new(self.1.schema()))
    }
}

/// Reads `name`, or the file that `name_file` names, as a secret; both together are refused.
pub(super) fn secret(
    section: &mut Section<'_, '_>,
    name: &'static str,
    file_name: &'static str,
    doc: &'static str,
    file_doc: &'static str,
) -> Option<standpipe_model::Secret> {
    let inline = section.optional(name, secret_text(), doc);
    let file = section.optional(file_name, FilePath, file_doc);
    section.exclusive(name, file_name);
    let Some(path) = file else {
        return inline.map(standpipe_model::Secret::new);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => {
            section.refuse(file_name, format!("{} is empty", path.display()));
            None
        }
        Ok(text) => Some(standpipe_model::Secret::new(text.trim_end_matches(['\r', '\n']))),
        Err(error) => {
            section.refuse(file_name, format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}
