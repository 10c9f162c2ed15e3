//! Lists of manifests, as any writer leaves them: by the schema in their heads, whose members are told apart by their ids.
//!
//! # Limits
//! - A list unpacks to at most [`UNPACKED_MAX`] bytes.

use std::collections::HashMap;
use std::io::Read as _;

use serde_json::Value as Schema;

use super::{FieldSummary, Manifest};
use crate::types::DEPTH_MAX;

/// The most bytes of a list's block, unpacked: some hundred thousand manifests.
const UNPACKED_MAX: u64 = 256 << 20;

/// A list of manifests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no file of Avro, or ends early.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is compressed in a way that nobody here knows.
    #[error("it is compressed by '{0}'")]
    Codec(String),
    /// The schema in its head is none.
    #[error("its schema cannot be read")]
    Schema(#[from] serde_json::Error),
    /// A block cannot be unpacked.
    #[error("a block cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// A member is missing.
    #[error("a manifest lacks the member with the id {0}")]
    Lacks(i64),
}

type Result<T> = std::result::Result<T, ReadError>;

/// A value that was read; of records only members that have an id are kept.
#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    Long(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Record(HashMap<i64, Value>),
}

/// Reads a list.
///
/// # Errors
/// [`ReadError`].
pub fn read_list(bytes: &[u8]) -> Result<Vec<Manifest>> {
    let mut input = Input(bytes);
    if input.take(4)? != b"Obj\x01" {
        return Err(ReadError::Damaged("it does not begin as a file of Avro"));
    }
    let mut head = HashMap::new();
    input.blocks(|input| {
        let key = input.text()?;
        head.insert(key, input.bytes()?.to_vec());
        Ok(())
    })?;
    let sync = input.take(16)?;
    let schema = head.get("avro.schema").ok_or(ReadError::Damaged("it has no schema"))?;
    let schema: Schema = serde_json::from_slice(schema)?;
    let codec = head.get("avro.codec").map_or("null".into(), |name| String::from_utf8_lossy(name));
    let mut names = HashMap::new();
    name(&schema, &mut names, 0)?;
    let mut manifests = Vec::new();
    while !input.0.is_empty() {
        let count = input.long()?;
        let block = unpacked(&codec, input.bytes()?)?;
        let mut rows = Input(&block);
        for _ in 0..count {
            manifests.push(manifest(rows.value(&schema, &names, 0)?)?);
        }
        if input.take(16)? != sync {
            return Err(ReadError::Damaged("a block does not end where it should"));
        }
    }
    Ok(manifests)
}

fn unpacked(codec: &str, block: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let read = match codec {
        "null" => return Ok(block.to_vec()),
        "deflate" => flate2::read::DeflateDecoder::new(block).take(UNPACKED_MAX).read_to_end(&mut out),
        "zstandard" => {
            zstd::Decoder::new(block).and_then(|decoder| decoder.take(UNPACKED_MAX).read_to_end(&mut out))
        }
        "snappy" => {
            // A checksum of four bytes follows.
            let packed = &block[..block.len().saturating_sub(4)];
            let length = snap::raw::decompress_len(packed).unwrap_or(usize::MAX);
            if length as u64 > UNPACKED_MAX {
                return Err(ReadError::Damaged("a block is too large"));
            }
            out = snap::raw::Decoder::new()
                .decompress_vec(packed)
                .map_err(|error| ReadError::Unpack(std::io::Error::other(error)))?;
            return Ok(out);
        }
        other => return Err(ReadError::Codec(other.to_owned())),
    };
    read.map_err(ReadError::Unpack)?;
    Ok(out)
}

/// Finds what schemas have names, by which others may mean them.
fn name<'a>(schema: &'a Schema, names: &mut HashMap<&'a str, &'a Schema>, depth: usize) -> Result<()> {
    check(depth)?;
    match schema {
        Schema::Array(branches) => branches.iter().try_for_each(|branch| name(branch, names, depth + 1)),
        Schema::Object(members) => {
            if let Some(own) = members.get("name").and_then(Schema::as_str) {
                names.insert(own, schema);
            }
            let fields = members.get("fields").and_then(Schema::as_array).into_iter().flatten();
            let fields = fields.filter_map(|field| field.get("type"));
            let below = ["type", "items", "values"].into_iter().filter_map(|key| members.get(key));
            fields.chain(below).try_for_each(|below| name(below, names, depth + 1))
        }
        _ => Ok(()),
    }
}

fn check(depth: usize) -> Result<()> {
    if depth > DEPTH_MAX { Err(ReadError::Damaged("its schema is nested too deep")) } else { Ok(()) }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ReadError::Damaged("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn long(&mut self) -> Result<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(ReadError::Damaged("a number is too long"))
    }

    /// A length, of what is there.
    fn len(&mut self) -> Result<usize> {
        let len = usize::try_from(self.long()?).ok().filter(|len| *len <= self.0.len());
        len.ok_or(ReadError::Damaged("it ends early"))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.len()?;
        self.take(len)
    }

    fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// The items of an array or a map.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        loop {
            let count = match self.long()? {
                0 => return Ok(()),
                // The bytes of the block follow, for who passes over it.
                count if count < 0 => {
                    self.long()?;
                    count.unsigned_abs()
                }
                count => count.unsigned_abs(),
            };
            // An item has a byte at the least.
            if count > self.0.len() as u64 {
                return Err(ReadError::Damaged("it ends early"));
            }
            (0..count).try_for_each(|_| item(self))?;
        }
    }

    fn value(&mut self, schema: &Schema, names: &HashMap<&str, &Schema>, depth: usize) -> Result<Value> {
        check(depth)?;
        let bad = || ReadError::Damaged("its schema has an unknown type");
        match schema {
            Schema::String(kind) => match kind.as_str() {
                "null" => Ok(Value::Null),
                "boolean" => Ok(Value::Bool(self.take(1)?[0] != 0)),
                "int" | "long" => self.long().map(Value::Long),
                "float" => self.take(4).map(|_| Value::Null),
                "double" => self.take(8).map(|_| Value::Null),
                "bytes" | "string" => Ok(Value::Bytes(self.bytes()?.to_vec())),
                named => self.value(names.get(named).ok_or_else(bad)?, names, depth + 1),
            },
            Schema::Array(branches) => {
                let branch = usize::try_from(self.long()?).ok().and_then(|at| branches.get(at));
                self.value(branch.ok_or_else(bad)?, names, depth + 1)
            }
            Schema::Object(members) => match members.get("type").and_then(Schema::as_str) {
                Some("record") => self.record(schema, names, depth),
                Some("array") => {
                    let (of, mut items) = (members.get("items").ok_or_else(bad)?, Vec::new());
                    self.blocks(|input| {
                        items.push(input.value(of, names, depth + 1)?);
                        Ok(())
                    })?;
                    Ok(Value::List(items))
                }
                Some("map") => {
                    let of = members.get("values").ok_or_else(bad)?;
                    self.blocks(|input| {
                        input.bytes()?;
                        input.value(of, names, depth + 1).map(drop)
                    })?;
                    Ok(Value::Null)
                }
                Some("enum") => self.long().map(Value::Long),
                Some("fixed") => {
                    let size = members.get("size").and_then(Schema::as_u64).ok_or_else(bad)?;
                    Ok(Value::Bytes(self.take(usize::try_from(size).unwrap_or(usize::MAX))?.to_vec()))
                }
                _ => self.value(members.get("type").ok_or_else(bad)?, names, depth + 1),
            },
            _ => Err(bad()),
        }
    }

    fn record(&mut self, schema: &Schema, names: &HashMap<&str, &Schema>, depth: usize) -> Result<Value> {
        let mut record = HashMap::new();
        for field in schema.get("fields").and_then(Schema::as_array).into_iter().flatten() {
            let value = self.value(field.get("type").unwrap_or(&Schema::Null), names, depth + 1)?;
            if let Some(id) = field.get("field-id").and_then(Schema::as_i64) {
                record.insert(id, value);
            }
        }
        Ok(Value::Record(record))
    }
}

/// The members of a record, by id.
struct Members(HashMap<i64, Value>);

impl Members {
    fn of(value: Value) -> Result<Self> {
        match value {
            Value::Record(members) => Ok(Self(members)),
            _ => Err(ReadError::Damaged("a record is none")),
        }
    }

    fn long(&mut self, id: i64) -> Result<i64> {
        match self.0.remove(&id) {
            Some(Value::Long(value)) => Ok(value),
            _ => Err(ReadError::Lacks(id)),
        }
    }

    fn int(&mut self, id: i64) -> Result<i32> {
        i32::try_from(self.long(id)?).map_err(|_| ReadError::Lacks(id))
    }

    fn bytes(&mut self, id: i64) -> Option<Vec<u8>> {
        match self.0.remove(&id) {
            Some(Value::Bytes(value)) => Some(value),
            _ => None,
        }
    }

    fn bool(&mut self, id: i64) -> Option<bool> {
        match self.0.remove(&id) {
            Some(Value::Bool(value)) => Some(value),
            _ => None,
        }
    }
}

fn manifest(row: Value) -> Result<Manifest> {
    let mut row = Members::of(row)?;
    let partitions = match row.0.remove(&507) {
        Some(Value::List(fields)) => Some(fields.into_iter().map(summary).collect::<Result<_>>()?),
        _ => None,
    };
    let path = row.bytes(500).ok_or(ReadError::Lacks(500))?;
    Ok(Manifest {
        path: String::from_utf8(path).map_err(|_| ReadError::Lacks(500))?,
        bytes: row.long(501)?,
        spec_id: row.int(502)?,
        // What the first version of the format does not have.
        content: row.int(517).unwrap_or(0),
        sequence: row.long(515).unwrap_or(0),
        sequence_min: row.long(516).unwrap_or(0),
        snapshot: row.long(503)?,
        files: [row.int(504)?, row.int(505)?, row.int(506)?],
        rows: [row.long(512)?, row.long(513)?, row.long(514)?],
        partitions,
        key_metadata: row.bytes(519),
    })
}

fn summary(field: Value) -> Result<FieldSummary> {
    let mut field = Members::of(field)?;
    Ok(FieldSummary {
        nulls: field.bool(509).ok_or(ReadError::Lacks(509))?,
        nans: field.bool(518),
        lower: field.bytes(510),
        upper: field.bytes(511),
    })
}
