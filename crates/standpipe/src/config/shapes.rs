//! The shapes of single values: words, numbers, sizes, durations, paths, addresses and secrets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::did_you_mean;
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::units::{format_duration, format_size, parse_duration, parse_size};

/// A text whose length in characters is within the range.
pub(super) const fn text(chars: RangeInclusive<usize>) -> Text {
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

/// A part of a whole: a number from 0 to 1.
pub(super) struct Part;

impl Shape for Part {
    type Out = f64;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<f64> {
        let text = at.text()?;
        let Ok(number) = text.parse::<f64>() else {
            return at.refuse(format!("\"{text}\" is not a number"));
        };
        within(at, number, &(0.0..=1.0), f64::to_string)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "number, 0 to 1".to_owned(), pattern: r"^[0-9.]+([eE]-?[0-9]+)?$" }
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
        let unfit = |c: char| c.is_whitespace() || matches!(c, '?' | '#');
        match host {
            // Not repeated: what stands before the `@` may be a password.
            Some(host) if host.contains('@') => at.refuse("an address must not hold credentials"),
            Some(host) if !host.is_empty() && !host.starts_with('/') && !host.contains(unfit) => Some(text),
            _ => at.refuse(format!("\"{text}\" is not a plain address with http:// or https://")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "http or https address".to_owned(), pattern: "^https?://" }
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
