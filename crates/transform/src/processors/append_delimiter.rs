//! `AppendDelimiterToRecord`: each row ends in a delimiter.

use bytes::Bytes;

use super::OptionError;
use crate::chain::Processor;
use crate::row::{Output, Record, Row, Source};

/// The longest delimiter: that of a parameter in the Firehose API.
const DELIMITER_BYTES_MAX: usize = 5_120;

/// Ends each row in a delimiter.
#[derive(Debug)]
pub struct AppendDelimiterToRecord {
    delimiter: Vec<u8>,
}

impl AppendDelimiterToRecord {
    /// Takes a delimiter, in which a backslash and `n`, `r`, `t` or a backslash stand for the character that they mean
    /// elsewhere, as `Delimiter` has it in the Firehose API.
    ///
    /// # Errors
    /// It is empty or too long.
    pub fn new(delimiter: &str) -> Result<Self, OptionError> {
        if delimiter.is_empty() || delimiter.len() > DELIMITER_BYTES_MAX {
            let reason = format!("must have 1 to {DELIMITER_BYTES_MAX} bytes");
            return Err(OptionError::new("AppendDelimiterToRecord", "Delimiter", delimiter, reason));
        }
        Ok(Self { delimiter: unescaped(delimiter).into_bytes() })
    }
}

impl Processor for AppendDelimiterToRecord {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        // One allocation for the chunk, of which each row is a part.
        let bytes = rows.iter().map(|row| row.data.len() + self.delimiter.len()).sum();
        let mut data = Vec::with_capacity(bytes);
        for row in &rows {
            data.extend_from_slice(&row.data);
            data.extend_from_slice(&self.delimiter);
        }
        let mut data = Bytes::from(data);
        for row in rows {
            let own = data.split_to(row.data.len() + self.delimiter.len());
            out.keep(row.with_data(own));
        }
    }
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let next = if character == '\\' { characters.clone().next() } else { None };
        plain.push(match next {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('\\') => '\\',
            _ => {
                plain.push(character);
                continue;
            }
        });
        characters.next();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kept, run};
    use super::*;

    #[test]
    fn each_row_ends_in_the_delimiter() {
        for (delimiter, end) in [
            ("\\n", "\n"),
            ("\n", "\n"),
            ("\\r\\n", "\r\n"),
            ("####", "####"),
            ("\\\\n", "\\n"),
            ("\\x", "\\x"),
        ] {
            let done = run(AppendDelimiterToRecord::new(delimiter).unwrap(), &["a", "", "b\n"]);
            assert_eq!(kept(&done), [format!("a{end}"), end.to_owned(), format!("b\n{end}")], "{delimiter}");
        }
    }

    #[test]
    fn a_delimiter_is_neither_empty_nor_endless() {
        let error = AppendDelimiterToRecord::new("").unwrap_err();
        assert_eq!(error.to_string(), "AppendDelimiterToRecord: Delimiter `` must have 1 to 5120 bytes");
        assert!(AppendDelimiterToRecord::new(&"x".repeat(5_121)).is_err());
        assert!(AppendDelimiterToRecord::new("\\").is_ok());
    }
}
