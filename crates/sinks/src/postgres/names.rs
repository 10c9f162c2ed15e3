//! Names as SQL reads them.

use std::fmt;

/// A text is no name in SQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing, or nothing between two points.
    #[error("'{0}' has an empty part")]
    Empty(String),
    /// What stands outside of quotes is no plain name.
    #[error(
        "'{0}' is no name: one with other characters than letters, digits, '_' and '$' stands in double quotes"
    )]
    Characters(String),
    /// A quote is not closed.
    #[error("'{0}' has a double quote that is not closed")]
    Quote(String),
    /// It has more parts than it may have.
    #[error("'{0}' has too many parts")]
    Parts(String),
}

/// A table's name, perhaps with its schema. Without one the server goes by its search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// Reads `table` or `schema.table`: folded to lower case, unless in double quotes.
    ///
    /// # Errors
    /// [`NameError`].
    pub(crate) fn parse(text: &str) -> Result<Self, NameError> {
        let mut parts = parts(text)?;
        let name = parts.pop().ok_or_else(|| NameError::Empty(text.to_owned()))?;
        let schema = parts.pop();
        match parts.is_empty() {
            true => Ok(Self { schema, name }),
            false => Err(NameError::Parts(text.to_owned())),
        }
    }

    /// The schema, where one is named.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }
}

/// As SQL takes it.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted(schema))?;
        }
        f.write_str(&quoted(&self.name))
    }
}

/// Reads a column's name.
pub(crate) fn column(text: &str) -> Result<String, NameError> {
    let mut parts = parts(text)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(NameError::Parts(text.to_owned())),
    }
}

/// A name in double quotes, whatever it has in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Several of them, with commas between.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

fn parts(text: &str) -> Result<Vec<String>, NameError> {
    let mut parts = Vec::new();
    let mut chars = text.trim().chars().peekable();
    loop {
        let mut part = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_none() => break,
                    Some(c) => part.push(c),
                    None => return Err(NameError::Quote(text.to_owned())),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
                part.extend(c.to_lowercase());
            }
        }
        let next = chars.next();
        match next {
            None | Some('.') if part.is_empty() => return Err(NameError::Empty(text.to_owned())),
            None => {
                parts.push(part);
                return Ok(parts);
            }
            Some('.') => parts.push(part),
            Some(_) => return Err(NameError::Characters(text.to_owned())),
        }
    }
}
