//! The `COPY` statement, and what its user may add to it.

use standpipe_model::ObjectTarget;

use super::options::CopyCredentials;
use crate::postgres::names::{TableName, list};

/// What standpipe says itself, and what loads nothing.
const RESERVED: [&str; 11] = [
    "MANIFEST",
    "CREDENTIALS",
    "IAM_ROLE",
    "ACCESS_KEY_ID",
    "SECRET_ACCESS_KEY",
    "SESSION_TOKEN",
    "SSH",
    "ENCRYPTED",
    "MASTER_SYMMETRIC_KEY",
    "NOLOAD",
    "FROM",
];
/// Files that are more than their records one behind the other.
const FILES: [&str; 6] = ["AVRO", "ORC", "PARQUET", "RCFILE", "SEQUENCEFILE", "SHAPEFILE"];
/// Records that are compressed already.
const COMPRESSED: [&str; 4] = ["BZIP2", "GZIP", "LZOP", "ZSTD"];

/// The options of `COPY` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyOptionsError {
    /// It is said by standpipe, or loads nothing.
    #[error("copy_options must not have {0}: what is loaded from where, and by whom, is said elsewhere")]
    Reserved(&'static str),
    /// Records do not become such files.
    #[error("copy_options has {0}, and records are staged one behind the other")]
    File(&'static str),
    /// A quote is not closed.
    #[error("copy_options has a quote that is not closed")]
    Quote,
    /// It would end the statement, or hide a part of it.
    #[error("copy_options must not have {0} outside of quotes")]
    Statement(&'static str),
}

/// What `COPY` is told beside what standpipe says (`CopyOptions`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyOptions {
    text: String,
    /// The words outside of quotes, in capitals.
    words: Vec<String>,
}

impl CopyOptions {
    pub(super) fn parse(text: &str) -> Result<Self, CopyOptionsError> {
        let words = words(text)?;
        let among = |all: &[&'static str]| all.iter().copied().find(|&word| words.iter().any(|w| w == word));
        if let Some(word) = among(&RESERVED) {
            return Err(CopyOptionsError::Reserved(word));
        }
        if let Some(word) = among(&FILES) {
            return Err(CopyOptionsError::File(word));
        }
        Ok(Self { text: text.trim().to_owned(), words })
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    /// Whether records are lines of text, where the objects they are staged in are compressed or are not.
    pub(super) fn has_lines(&self, gzip: bool) -> bool {
        !COMPRESSED.iter().any(|word| self.has(word) && !(gzip && *word == "GZIP"))
    }

    /// The same with what the objects are.
    pub(super) fn of_objects(mut self, gzip: bool) -> Self {
        if gzip && !self.has("GZIP") {
            self.text.push_str(if self.text.is_empty() { "GZIP" } else { " GZIP" });
            self.words.push("GZIP".to_owned());
        }
        self
    }
}

fn words(text: &str) -> Result<Vec<String>, CopyOptionsError> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            word.extend(c.to_uppercase());
            continue;
        }
        words.push(std::mem::take(&mut word));
        match c {
            '\'' | '"' => loop {
                match chars.next().ok_or(CopyOptionsError::Quote)? {
                    '\\' if c == '\'' => drop(chars.next()),
                    end if end == c => break,
                    _ => {}
                }
            },
            ';' => return Err(CopyOptionsError::Statement("';'")),
            '-' if chars.peek() == Some(&'-') => return Err(CopyOptionsError::Statement("'--'")),
            '/' if chars.peek() == Some(&'*') => return Err(CopyOptionsError::Statement("'/*'")),
            _ => {}
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    Ok(words)
}

/// A `COPY` but for the manifest.
pub(super) struct Copy {
    pub(super) table: TableName,
    /// Names as the server has them; none for all columns.
    pub(super) columns: Vec<String>,
    pub(super) credentials: CopyCredentials,
    pub(super) options: CopyOptions,
}

impl Copy {
    /// The statement, with its secrets: for the server and for nobody else.
    pub(super) fn sql(&self, manifest: &ObjectTarget) -> String {
        let columns = match self.columns.is_empty() {
            true => String::new(),
            false => format!(" ({})", list(self.columns.iter().map(String::as_str))),
        };
        let url = literal(&url(manifest));
        let (table, options) = (&self.table, &self.options.text);
        format!("COPY {table}{columns} FROM {url} {} MANIFEST {options}", self.credentials.clause())
    }
}

/// An object as Redshift names it.
pub(super) fn url(target: &ObjectTarget) -> String {
    format!("s3://{}/{}", target.bucket, target.key)
}

/// A text as SQL has it. Redshift takes a backslash for the beginning of an escape.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
