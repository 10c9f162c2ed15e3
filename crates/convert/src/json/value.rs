//! A value into its column.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;

use jiter::{Jiter, Peek};

use super::plan::{Members, Plan};
use super::{Deserializer, OpenX, RowError, TimestampFormat, number, text, time};
use crate::growing::{Growing, Values};
use crate::types::Type;

/// How lenient the reading is, and how keys are compared.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    openx: Option<OpenX>,
    timestamp_formats: Vec<TimestampFormat>,
}

/// The rules, while a record is read by them.
pub(super) struct Reading<'a> {
    rules: &'a Rules,
    /// Bytes of columns that the record may still take beside its own: every object takes room in all of its columns,
    /// however little it says.
    left: Cell<usize>,
    /// A key had a value, and no column or member.
    strangers: Cell<bool>,
}

/// So many keys are compared with each other.
const FEW_KEYS: usize = 8;
/// Bytes of columns that a record may take for what it does not say.
const RECORD_BYTES_MAX: usize = 16 << 20;

impl Rules {
    pub(super) fn new(deserializer: &Deserializer) -> Self {
        match deserializer {
            Deserializer::OpenX(openx) => Self { openx: Some(openx.clone()), timestamp_formats: Vec::new() },
            Deserializer::Hive { timestamp_formats } => {
                Self { openx: None, timestamp_formats: timestamp_formats.clone() }
            }
        }
    }

    pub(super) fn is_lenient(&self) -> bool {
        self.openx.is_some()
    }

    /// The key, as it is compared, of a column or member.
    pub(super) fn key_of(&self, name: &str, is_column: bool) -> String {
        let mapped = self.openx.as_ref().filter(|_| is_column).and_then(|openx| openx.mappings.get(name));
        let key = mapped.map_or(name, String::as_str);
        self.normalised(key).unwrap_or_else(|| key.to_owned())
    }

    /// A key as it is compared, where that is not as it stands.
    pub(super) fn normalised(&self, key: &str) -> Option<String> {
        let dots = self.openx.as_ref().is_some_and(|openx| openx.dots_to_underscores) && key.contains('.');
        match dots.then(|| key.replace('.', "_")) {
            Some(key) => Some(self.lowered(&key).unwrap_or(key)),
            None => self.lowered(key),
        }
    }

    /// A key as it is compared, where case alone makes the difference.
    fn lowered(&self, key: &str) -> Option<String> {
        let ignores_case = self.openx.as_ref().is_none_or(|openx| openx.case_insensitive);
        (ignores_case && has_upper_case(key)).then(|| key.to_lowercase())
    }

    /// A key as it is kept, where that is not as it stands: OpenX has all keys in lower case where case does not matter,
    /// Hive has them as they are.
    pub(super) fn lower_case(&self, key: &str) -> Option<String> {
        self.lowered(key).filter(|_| self.is_lenient())
    }
}

impl<'a> Reading<'a> {
    /// Begins a record.
    pub(super) fn by(rules: &'a Rules) -> Self {
        Self { rules, left: Cell::new(RECORD_BYTES_MAX), strangers: Cell::new(false) }
    }

    pub(super) fn met_strangers(&self) -> bool {
        self.strangers.get()
    }

    /// Takes room in the columns of an object.
    fn charge(&self, bytes: usize) -> Result<(), RowError> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or_else(|| RowError::value("The record comes to too many rows or items."))?);
        Ok(())
    }
}

impl Deref for Reading<'_> {
    type Target = Rules;

    fn deref(&self) -> &Rules {
        self.rules
    }
}

fn has_upper_case(key: &str) -> bool {
    match key.is_ascii() {
        true => key.bytes().any(|byte| byte.is_ascii_uppercase()),
        false => key.chars().any(|c| c.is_alphabetic() && !c.is_lowercase()),
    }
}

/// An object into columns, as the row number `row` of each.
pub(super) fn object(
    json: &mut Jiter<'_>,
    members: &Members,
    columns: &mut [Growing],
    row: usize,
    rules: &Reading<'_>,
) -> Result<(), RowError> {
    rules.charge(members.width())?;
    let mut next = 0;
    let mut found = json.known_object()?.map(|key| members.find(key, &mut next, rules));
    while let Some(member) = found {
        let peek = json.peek()?;
        match member {
            Some(member) => {
                let column = &mut columns[member];
                if column.len() > row {
                    // Of a key that comes twice the last counts.
                    column.truncate(row);
                }
                value(json, peek, members.plan(member), column, rules)
                    .map_err(|error| error.within(members.name(member)))?;
            }
            None => {
                if peek != Peek::Null {
                    rules.strangers.set(true);
                }
                json.known_skip(peek)?;
            }
        }
        found = json.next_key()?.map(|key| members.find(key, &mut next, rules));
    }
    fill(columns, row);
    Ok(())
}

/// An array into columns, by position. Items without a column are passed over.
pub(super) fn positions(
    json: &mut Jiter<'_>,
    members: &Members,
    columns: &mut [Growing],
    row: usize,
    rules: &Reading<'_>,
) -> Result<(), RowError> {
    rules.charge(members.width())?;
    let (mut item, mut member) = (json.known_array()?, 0);
    while let Some(peek) = item {
        if member < members.len() {
            value(json, peek, members.plan(member), &mut columns[member], rules)
                .map_err(|error| error.within(members.name(member)))?;
        } else {
            json.known_skip(peek)?;
        }
        (item, member) = (json.array_step()?, member + 1);
    }
    fill(columns, row);
    Ok(())
}

/// Gives the row nulls where nothing was said.
fn fill(columns: &mut [Growing], row: usize) {
    columns.iter_mut().filter(|column| column.len() == row).for_each(Growing::push_null);
}

fn value(
    json: &mut Jiter<'_>,
    peek: Peek,
    plan: &Plan,
    column: &mut Growing,
    rules: &Reading<'_>,
) -> Result<(), RowError> {
    if peek == Peek::Null {
        json.known_null()?;
        rules.charge(plan.width())?;
        column.push_null();
        return Ok(());
    }
    match plan {
        Plan::Scalar(kind) => scalar(json, peek, kind, column, rules),
        Plan::Array(item) => array(json, peek, item, column, rules),
        Plan::Map(value) => map(json, peek, value, column, rules),
        Plan::Struct(members) => structure(json, peek, members, column, rules),
    }
}

fn array(
    json: &mut Jiter<'_>,
    peek: Peek,
    plan: &Plan,
    column: &mut Growing,
    rules: &Reading<'_>,
) -> Result<(), RowError> {
    let Values::List { items, .. } = &mut column.values else { return Ok(()) };
    if peek == Peek::Array {
        let mut item = json.known_array()?;
        while let Some(peek) = item {
            value(json, peek, plan, items, rules)?;
            item = json.array_step()?;
        }
    } else if rules.is_lenient() {
        value(json, peek, plan, items, rules)?;
    } else {
        return Err(RowError::value("Start of Array expected"));
    }
    Ok(column.end_items()?)
}

fn map(
    json: &mut Jiter<'_>,
    peek: Peek,
    plan: &Plan,
    column: &mut Growing,
    rules: &Reading<'_>,
) -> Result<(), RowError> {
    if peek != Peek::Object {
        return Err(no_object(json, peek, rules));
    }
    let Values::Map { keys, values, .. } = &mut column.values else { return Ok(()) };
    let (first, start) = (keys.len(), json.current_index());
    entries(json, plan, [keys, values], rules, |_| true)?;
    let repeated = repeated(keys, first);
    if !repeated.is_empty() {
        // Of a key that comes twice the last counts, and columns can only be cut back: they are read again without.
        keys.truncate(first);
        values.truncate(first);
        let mut again = Jiter::new(json.slice_to_current(start));
        entries(&mut again, plan, [keys, values], rules, |entry| !repeated.contains(&entry))?;
    }
    Ok(column.end_items()?)
}

/// The entries of a map of which the number is wanted.
fn entries(
    json: &mut Jiter<'_>,
    plan: &Plan,
    [keys, values]: [&mut Growing; 2],
    rules: &Reading<'_>,
    is_wanted: impl Fn(usize) -> bool,
) -> Result<(), RowError> {
    let (mut key, mut entry) = (json.known_object()?, 0);
    while let Some(name) = key {
        let is_wanted = is_wanted(entry);
        if is_wanted {
            match rules.lower_case(name) {
                Some(name) => keys.push_bytes(name.as_bytes())?,
                None => keys.push_bytes(name.as_bytes())?,
            }
        }
        let peek = json.peek()?;
        match is_wanted {
            true => value(json, peek, plan, values, rules)?,
            false => json.known_skip(peek)?,
        }
        (key, entry) = (json.next_key()?, entry + 1);
    }
    Ok(())
}

/// The numbers of the entries, from the key number `first` on, whose key comes again.
fn repeated(keys: &Growing, first: usize) -> HashSet<usize> {
    let count = keys.len() - first;
    let key = |entry: usize| keys.bytes_of(first + entry);
    if count <= FEW_KEYS {
        let comes_again = |entry: &usize| (entry + 1..count).any(|later| key(later) == key(*entry));
        return (0..count).filter(comes_again).collect();
    }
    let mut last = HashMap::with_capacity(count);
    (0..count).filter_map(|entry| last.insert(key(entry), entry)).collect()
}

fn structure(
    json: &mut Jiter<'_>,
    peek: Peek,
    members: &Members,
    column: &mut Growing,
    rules: &Reading<'_>,
) -> Result<(), RowError> {
    let row = column.len();
    let Values::Struct(columns) = &mut column.values else { return Ok(()) };
    if peek == Peek::Object {
        object(json, members, columns, row, rules)?;
    } else if peek == Peek::Array && rules.is_lenient() {
        positions(json, members, columns, row, rules)?;
    } else {
        return Err(no_object(json, peek, rules));
    }
    column.present();
    Ok(())
}

/// What is said of something else where an object should be.
fn no_object(json: &mut Jiter<'_>, peek: Peek, rules: &Rules) -> RowError {
    if !rules.is_lenient() {
        return RowError::value("Start of Object expected");
    }
    let start = json.current_index();
    if let Err(error) = json.known_skip(peek) {
        return error.into();
    }
    let text = String::from_utf8_lossy(json.slice_to_current(start)).into_owned();
    let text = super::shown(&text).to_owned();
    let (class, text) = match peek {
        Peek::String => ("java.lang.String", text.trim_matches('"').to_owned()),
        Peek::True | Peek::False => ("java.lang.Boolean", text),
        Peek::Array => ("org.openx.data.jsonserde.json.JSONArray", text),
        _ if text.parse::<i32>().is_ok() => ("java.lang.Integer", text),
        _ if text.parse::<i64>().is_ok() => ("java.lang.Long", text),
        _ => ("java.lang.Double", text),
    };
    RowError::value(format_args!("Data is not JSONObject  but {class} with value {text}"))
}

fn scalar(
    json: &mut Jiter<'_>,
    peek: Peek,
    kind: &Type,
    column: &mut Growing,
    rules: &Rules,
) -> Result<(), RowError> {
    match (kind, peek) {
        (_, Peek::String) => {
            let is_text = matches!(
                kind,
                Type::String | Type::Char(_) | Type::Varchar(_) | Type::Binary | Type::Date | Type::Timestamp
            );
            if !rules.is_lenient() && !is_text {
                let what = match kind {
                    Type::Boolean => "Current token (VALUE_STRING) not of boolean type",
                    _ => "Current token (VALUE_STRING) not numeric, can not use numeric value accessors",
                };
                return Err(RowError::value(what));
            }
            from_text(json.known_str()?, kind, column, rules)
        }
        (Type::String | Type::Char(_) | Type::Varchar(_), Peek::Array | Peek::Object)
            if rules.is_lenient() =>
        {
            let mut compact = String::new();
            text::compact(json, peek, rules, &mut compact)?;
            from_text(&compact, kind, column, rules)
        }
        (_, Peek::Array | Peek::Object) => {
            json.known_skip(peek)?;
            Err(RowError::value(
                "One or more fields have incorrect format. Exception when validating field (root)",
            ))
        }
        (_, Peek::True | Peek::False) => {
            let given = json.known_bool(peek)?;
            from_text(if given { "true" } else { "false" }, kind, column, rules)
        }
        _ => {
            let digits = json.known_number_bytes(peek)?;
            let digits = std::str::from_utf8(digits).map_err(RowError::parse)?;
            from_number(digits, kind, column, rules)
        }
    }
}

/// A string into a column that is no list, map or struct.
fn from_text(text: &str, kind: &Type, column: &mut Growing, rules: &Rules) -> Result<(), RowError> {
    let wrong = || RowError::input(text);
    match kind {
        Type::String | Type::Binary => column.push_bytes(text.as_bytes())?,
        Type::Char(length) | Type::Varchar(length) => {
            let end = text.char_indices().nth((*length).into()).map_or(text.len(), |(at, _)| at);
            column.push_bytes(&text.as_bytes()[..end])?;
        }
        Type::Boolean => {
            let is_true = text.eq_ignore_ascii_case("true");
            let known = is_true || text.eq_ignore_ascii_case("false");
            column.push_bool(known.then_some(is_true).ok_or_else(wrong)?);
        }
        Type::Date => column.push_date(time::date(text).ok_or_else(wrong)?),
        Type::Timestamp => {
            let micros = match (rules.is_lenient(), rules.timestamp_formats.as_slice()) {
                (true, _) => time::lenient(text).or_else(|| time::from_number(text)),
                (false, []) => time::jdbc(text),
                (false, formats) => formats.iter().find_map(|format| format.parse(text)),
            };
            column.push_timestamp(micros.ok_or_else(wrong)?);
        }
        _ => numeric(text, kind, column).ok_or_else(wrong)?,
    }
    Ok(())
}

/// A number into a column that is no list, map or struct.
fn from_number(digits: &str, kind: &Type, column: &mut Growing, rules: &Rules) -> Result<(), RowError> {
    let wrong = || RowError::input(digits);
    match kind {
        Type::String | Type::Char(_) | Type::Varchar(_) => return from_text(digits, kind, column, rules),
        Type::Timestamp => {
            let micros = match rules.is_lenient() {
                true => time::from_number(digits),
                false => rules.timestamp_formats.iter().find_map(|format| format.parse(digits)),
            };
            column.push_timestamp(micros.ok_or_else(wrong)?);
        }
        Type::Boolean | Type::Date | Type::Binary => return Err(wrong()),
        _ => numeric(digits, kind, column).ok_or_else(wrong)?,
    }
    Ok(())
}

/// A number, wherever it was written, into a column of numbers; `None` where it is none or out of range.
fn numeric(text: &str, kind: &Type, column: &mut Growing) -> Option<()> {
    match (kind, &mut column.values) {
        (_, Values::Int8(values)) => values.push(number::integer(text)?.try_into().ok()?),
        (_, Values::Int16(values)) => values.push(number::integer(text)?.try_into().ok()?),
        (_, Values::Int32(values)) => values.push(number::integer(text)?.try_into().ok()?),
        (_, Values::Int64(values)) => values.push(number::integer(text)?),
        (_, Values::Float32(values)) => values.push(number::float(text)?),
        (_, Values::Float64(values)) => values.push(number::float(text)?),
        (Type::Decimal { precision, scale }, Values::Decimal(values)) => {
            values.push(number::decimal(text, *precision, *scale)?);
        }
        _ => return None,
    }
    column.present();
    Some(())
}
