//! Values in the text that `COPY` reads; what it means is the server's to say.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// NULL.
pub(super) const NULL: &[u8] = b"\\N";
/// The server's own bound.
const DIMENSIONS_MAX: usize = 6;

/// What a column takes, as far as it matters to how a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// JSON as it is.
    Json,
    Array,
    /// An array whose elements are JSON.
    JsonArray,
}

/// A record cannot become a line. The texts go on from "The record".
#[derive(Debug, thiserror::Error)]
pub(super) enum TextError {
    #[error("is no valid UTF-8")]
    Utf8,
    #[error("is no JSON object: {0}")]
    Object(#[source] serde_json::Error),
    #[error("is no JSON: {0}")]
    Json(#[source] serde_json::Error),
    #[error("has no valid text: {0}")]
    String(#[source] serde_json::Error),
    #[error("has the character U+0000, which PostgreSQL does not store")]
    Nul,
    #[error("has an array of more than {DIMENSIONS_MAX} dimensions")]
    Dimensions,
    #[error("has {found} fields for {wanted} columns")]
    Fields { found: usize, wanted: usize },
    #[error("has a quote that is not closed")]
    Quote,
    #[error("has more than one line")]
    Lines,
    #[error("{why}, for the column {column}")]
    Column { column: String, why: Box<TextError> },
}

impl TextError {
    pub(super) fn of(self, column: &str) -> Self {
        Self::Column { column: column.to_owned(), why: Box::new(self) }
    }
}

/// Writes a value of JSON for a column.
pub(super) fn value(json: &str, kind: Kind, out: &mut Vec<u8>) -> Result<(), TextError> {
    match (json.as_bytes().first(), kind) {
        (Some(b'n'), _) => out.extend_from_slice(NULL),
        (_, Kind::Json) => escape(json, out)?,
        (Some(b'"'), _) => escape(&string(json)?, out)?,
        (Some(b'['), Kind::Array | Kind::JsonArray) => {
            let mut literal = String::with_capacity(json.len());
            array(json, kind, DIMENSIONS_MAX, &mut literal)?;
            escape(&literal, out)?;
        }
        _ => escape(json, out)?,
    }
    Ok(())
}

/// Writes text so that `COPY` takes it as it is.
pub(super) fn escape(text: &str, out: &mut Vec<u8>) -> Result<(), TextError> {
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let letter = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0 => return Err(TextError::Nul),
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(&[b'\\', letter]);
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    Ok(())
}

/// The text of a string in JSON.
fn string(json: &str) -> Result<Cow<'_, str>, TextError> {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) if !inside.contains('\\') => Ok(Cow::Borrowed(inside)),
        _ => serde_json::from_str(json).map(Cow::Owned).map_err(TextError::String),
    }
}

/// Writes an array's literal.
fn array(json: &str, kind: Kind, dimensions: usize, out: &mut String) -> Result<(), TextError> {
    let dimensions = dimensions.checked_sub(1).ok_or(TextError::Dimensions)?;
    let elements: Vec<&RawValue> = serde_json::from_str(json).map_err(TextError::String)?;
    out.push('{');
    for (number, element) in elements.iter().map(|element| element.get()).enumerate() {
        if number > 0 {
            out.push(',');
        }
        match element.as_bytes().first() {
            Some(b'n') => out.push_str("NULL"),
            _ if kind == Kind::JsonArray => in_quotes(element, out),
            Some(b'[') => array(element, kind, dimensions, out)?,
            Some(b'"') => in_quotes(&string(element)?, out),
            Some(b'{') => in_quotes(element, out),
            _ => out.push_str(element),
        }
    }
    out.push('}');
    Ok(())
}

fn in_quotes(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// A field of CSV.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) text: String,
    /// Whether any of it stood in quotes, which tells an empty text from NULL.
    pub(super) quoted: bool,
}

/// The fields of a line of CSV, as the server's own CSV has them.
pub(super) fn fields(line: &str, delimiter: char) -> Result<Vec<Field>, TextError> {
    let mut fields = Vec::new();
    let mut field = Field::default();
    let mut inside = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.next_if_eq(&'"').is_some() => field.text.push('"'),
            '"' => {
                inside = !inside;
                field.quoted = true;
            }
            c if inside => field.text.push(c),
            '\n' | '\r' => return Err(TextError::Lines),
            c if c == delimiter => fields.push(std::mem::take(&mut field)),
            c => field.text.push(c),
        }
    }
    fields.push(field);
    if inside { Err(TextError::Quote) } else { Ok(fields) }
}
