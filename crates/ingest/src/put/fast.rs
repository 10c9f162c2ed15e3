//! The fast path of a put: one SIMD pass over the JSON that decodes every record in place.
//!
//! It takes what clients send, in any member order, and gives up on everything else: wrong types, nulls, members
//! given twice, unknown members that are not plain values, broken limits. Giving up costs a second parse and decides
//! nothing; the slow path does that.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use standpipe_model::{RecordBlock, RecordBlockBuilder, StreamName};

use super::{RECORD_MAX, RECORDS_MAX, base64};

/// What is left to the slow path.
#[derive(Debug)]
pub(super) struct GaveUp;

/// Reads a `PutRecord` (`batch` false) or `PutRecordBatch` body.
pub(super) fn read(batch: bool, body: &[u8]) -> Result<(StreamName, RecordBlock), GaveUp> {
    // Base64 needs four bytes for three, so no body decodes to more than this.
    let mut block =
        RecordBlockBuilder::with_capacity(if batch { RECORDS_MAX } else { 1 }, body.len() / 4 * 3);
    // Checked here, at memory speed, since the parser hands out strings before it has checked the whole body.
    let body = std::str::from_utf8(body).map_err(|_| GaveUp)?;
    let mut json = sonic_rs::Deserializer::from_str(body);
    let stream = Input { batch, block: &mut block }.deserialize(&mut json).map_err(|_| GaveUp)?;
    json.end().map_err(|_| GaveUp)?;
    Ok((stream, block.finish()))
}

enum Key {
    Stream,
    Record,
    Records,
    Data,
    Other,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Key, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
        Ok(match name {
            "DeliveryStreamName" => Key::Stream,
            "Record" => Key::Record,
            "Records" => Key::Records,
            "Data" => Key::Data,
            _ => Key::Other,
        })
    }
}

/// The operation's input.
struct Input<'b> {
    batch: bool,
    block: &'b mut RecordBlockBuilder,
}

impl<'de> DeserializeSeed<'de> for Input<'_> {
    type Value = StreamName;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<StreamName, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Input<'_> {
    type Value = StreamName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a put")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<StreamName, A::Error> {
        let mut stream = None;
        let mut seen_records = false;
        while let Some(key) = members.next_key_seed(KeySeed)? {
            match key {
                Key::Stream if stream.is_none() => stream = Some(members.next_value_seed(Name)?),
                Key::Records if self.batch && !seen_records => {
                    members.next_value_seed(Records { block: &mut *self.block })?;
                    seen_records = true;
                }
                Key::Record if !self.batch && !seen_records => {
                    members.next_value_seed(Record { block: &mut *self.block })?;
                    seen_records = true;
                }
                Key::Stream => return Err(Error::custom("given twice")),
                Key::Record | Key::Records if seen_records => return Err(Error::custom("given twice")),
                _ => members.next_value_seed(Plain)?,
            }
        }
        match stream {
            Some(stream) if seen_records && self.block.count() > 0 => Ok(stream),
            _ => Err(Error::custom("incomplete")),
        }
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = StreamName;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<StreamName, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = StreamName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<StreamName, E> {
        StreamName::parse(name).map_err(E::custom)
    }
}

struct Records<'b> {
    block: &'b mut RecordBlockBuilder,
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while records.next_element_seed(Record { block: &mut *self.block })?.is_some() {
            if self.block.count() as usize > RECORDS_MAX {
                return Err(Error::custom("too many records"));
            }
        }
        Ok(())
    }
}

struct Record<'b> {
    block: &'b mut RecordBlockBuilder,
}

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen_data = false;
        while let Some(key) = members.next_key_seed(KeySeed)? {
            match key {
                Key::Data if seen_data => return Err(Error::custom("given twice")),
                Key::Data => {
                    members.next_value_seed(Data { block: &mut *self.block })?;
                    seen_data = true;
                }
                _ => members.next_value_seed(Plain)?,
            }
        }
        if seen_data { Ok(()) } else { Err(Error::custom("a record without data")) }
    }
}

struct Data<'b> {
    block: &'b mut RecordBlockBuilder,
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Data<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    // The text is a slice of the body, or of the parser's scratch space where it had escapes (`\/` occurs).
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let len = base64::decoded_len(text);
        if len > RECORD_MAX {
            return Err(E::custom("record too large"));
        }
        self.block.push_with(len, |out| base64::decode(text.as_bytes(), out)).map_err(E::custom)?;
        Ok(())
    }
}

/// The value of an unknown member: a plain one is skipped. A nested one is left to the slow path, because the SIMD
/// parser skips such values without checking what is inside.
struct Plain;

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Visitor<'_> for Plain {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}
