//! Objects as `COPY` reads them, to what PostgreSQL's own takes.

use serde_json::{Deserializer, Value};

/// How an object's bytes are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// `JSON 'auto'`: objects one behind the other, whose members are columns.
    Json,
    /// `CSV`.
    Csv { delimiter: char, null: String },
    /// Lines, with a character between fields that nothing escapes.
    Delimited { delimiter: char, null: Option<String> },
}

impl Format {
    /// What PostgreSQL is told of what [`lines`] makes.
    pub(super) fn options(&self) -> String {
        match self {
            Self::Json => String::new(),
            Self::Csv { delimiter, null } => {
                format!("WITH (FORMAT csv, DELIMITER '{delimiter}', NULL '{null}')")
            }
            Self::Delimited { delimiter, null } => {
                let null = null.as_deref().unwrap_or("\\N");
                format!("WITH (DELIMITER '{delimiter}', NULL '{null}')")
            }
        }
    }
}

/// Records are not what they should be.
#[derive(Debug)]
pub(super) struct Unreadable;

/// The text for PostgreSQL's `COPY` of those columns.
///
/// # Errors
/// A record is no object.
pub(super) fn lines(format: &Format, object: &[u8], columns: &[String]) -> Result<Vec<u8>, Unreadable> {
    match format {
        Format::Csv { .. } => return Ok(object.to_vec()),
        // A backslash means nothing to Redshift here.
        Format::Delimited { .. } => {
            let text = std::str::from_utf8(object).map_err(|_| Unreadable)?;
            return Ok(text.replace('\\', "\\\\").into_bytes());
        }
        Format::Json => {}
    }
    let mut text = String::new();
    for record in Deserializer::from_slice(object).into_iter::<Value>() {
        let record = record.map_err(|_| Unreadable)?;
        let members = record.as_object().ok_or(Unreadable)?;
        let fields = columns.iter().map(|column| match members.get(column) {
            None | Some(Value::Null) => "\\N".to_owned(),
            Some(Value::String(string)) => escaped(string),
            Some(value) => escaped(&value.to_string()),
        });
        text.push_str(&fields.collect::<Vec<_>>().join("\t"));
        text.push('\n');
    }
    Ok(text.into_bytes())
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out
}
