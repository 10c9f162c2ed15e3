//! From a request's rows to the text of a `COPY`, and the rows that cannot become part of it.

use std::collections::HashMap;
use std::fmt;
use std::io::Write as _;
use std::ops::Range;
use std::str;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use standpipe_model::{Refusal, RequestRow};

use super::error::ROW_WORDS_MAX;
use super::options::PostgresFormat;
use super::path::{Step, follow};
use super::table::Column;
use super::text::{NULL, TextError, escape, fields, value};

/// Rows as the server reads them.
pub(super) struct Rows {
    text: Bytes,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// Which rows of the request they are.
    pub(super) numbers: Vec<usize>,
    pub(super) refused: Vec<Refusal>,
}

impl Rows {
    /// The text of some of them.
    pub(super) fn part(&self, rows: &Range<usize>) -> Bytes {
        let end_of = |rows: usize| if rows == 0 { 0 } else { self.ends[rows - 1] };
        self.text.slice(end_of(rows.start)..end_of(rows.end))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }
}

/// Makes the text of those rows whose numbers are `wanted`; with their order in front where it is `numbered`.
pub(super) fn rows(
    all: &[RequestRow],
    wanted: &[usize],
    columns: &[Column],
    format: &PostgresFormat,
    numbered: bool,
) -> Rows {
    let reader = Reader::new(columns, format);
    let mut text = Vec::with_capacity(wanted.iter().map(|&number| all[number].data.len()).sum());
    let (mut ends, mut numbers, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for &number in wanted {
        let before = text.len();
        if numbered {
            write!(text, "{}\t", ends.len()).expect("memory takes what is written to it");
        }
        match reader.row(&all[number].data, &mut text) {
            Ok(()) => {
                text.push(b'\n');
                ends.push(text.len());
                numbers.push(number);
            }
            Err(why) => {
                text.truncate(before);
                let code = "Postgres.InvalidRecord".to_owned();
                // What cannot be read may be repeated in it whole.
                let why: String = why.to_string().chars().take(ROW_WORDS_MAX).collect();
                refused.push(Refusal { row: number, code, message: format!("The record {why}.") });
            }
        }
    }
    Rows { text: text.into(), ends, numbers, refused }
}

/// How a record becomes a line.
struct Reader<'a> {
    columns: &'a [Column],
    format: &'a PostgresFormat,
    /// The columns that begin with a member.
    first: HashMap<&'a str, Vec<usize>>,
    rest: Vec<&'a [Step]>,
}

impl<'a> Reader<'a> {
    fn new(columns: &'a [Column], format: &'a PostgresFormat) -> Self {
        let mut first: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut rest = Vec::new();
        for (number, column) in columns.iter().enumerate() {
            rest.push(match column.path.first_member() {
                Some((name, rest)) => {
                    first.entry(name).or_default().push(number);
                    rest
                }
                None => column.path.steps(),
            });
        }
        Self { columns, format, first, rest }
    }

    fn row(&self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TextError> {
        let text = str::from_utf8(data).map_err(|_| TextError::Utf8)?;
        match self.format {
            PostgresFormat::Json => self.json(text, out),
            PostgresFormat::Csv { delimiter, null } => self.csv(text, *delimiter, null, out),
        }
    }

    fn json(&self, text: &str, out: &mut Vec<u8>) -> Result<(), TextError> {
        let mut found: Found<'_> = vec![None; self.columns.len()];
        if !self.first.is_empty() {
            members(text, &columns_by(&self.first), &mut found).map_err(TextError::Object)?;
        }
        if found.iter().any(Option::is_none) {
            let whole: &RawValue = serde_json::from_str(text).map_err(TextError::Json)?;
            for (number, column) in self.columns.iter().enumerate() {
                if column.path.first_member().is_none() {
                    found[number] = Some(whole);
                }
            }
        }
        for (number, column) in self.columns.iter().enumerate() {
            if number > 0 {
                out.push(b'\t');
            }
            match found[number].and_then(|value| follow(value, self.rest[number])) {
                Some(found) => value(found.get(), column.kind, out).map_err(|why| why.of(&column.name))?,
                None => out.extend_from_slice(NULL),
            }
        }
        Ok(())
    }

    fn csv(&self, text: &str, delimiter: char, null: &str, out: &mut Vec<u8>) -> Result<(), TextError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let fields = fields(line.strip_suffix('\r').unwrap_or(line), delimiter)?;
        if fields.len() != self.columns.len() {
            return Err(TextError::Fields { found: fields.len(), wanted: self.columns.len() });
        }
        for (number, field) in fields.iter().enumerate() {
            if number > 0 {
                out.push(b'\t');
            }
            if !field.quoted && field.text == null {
                out.extend_from_slice(NULL);
            } else {
                escape(&field.text, out).map_err(|why| why.of(&self.columns[number].name))?;
            }
        }
        Ok(())
    }
}

/// Which columns a member is for.
fn columns_by<'w>(first: &'w HashMap<&str, Vec<usize>>) -> impl Fn(&str) -> &'w [usize] {
    |name| first.get(name).map_or(&[], Vec::as_slice)
}

/// Says which columns the member of that name is for.
type Which<'w> = dyn Fn(&str) -> &'w [usize] + 'w;

/// What was found for each column.
pub(super) type Found<'a> = Vec<Option<&'a RawValue>>;

/// Puts the members of an object to the columns that `which` says; of two with one name the last one counts.
pub(super) fn members<'a>(
    object: &'a str,
    which: &Which<'_>,
    found: &mut Found<'a>,
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(object);
    Members { which, found }.deserialize(&mut json)?;
    json.end()
}

struct Members<'w, 'f, 'a> {
    which: &'f Which<'w>,
    found: &'f mut Found<'a>,
}

impl<'a> DeserializeSeed<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(columns) = map.next_key_seed(Key(self.which))? {
            if columns.is_empty() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &'a RawValue = map.next_value()?;
            for &column in columns {
                *self.found.get_mut(column).ok_or_else(|| M::Error::custom("no such column"))? = Some(value);
            }
        }
        Ok(())
    }
}

/// Looks a member's name up without keeping it.
struct Key<'w, 'f>(&'f Which<'w>);

impl<'a, 'w> DeserializeSeed<'a> for Key<'w, '_> {
    type Value = &'w [usize];

    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<&'w [usize], D::Error> {
        json.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Key<'w, '_> {
    type Value = &'w [usize];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<&'w [usize], E> {
        Ok((self.0)(name))
    }
}
