//! Protocol buffers, as far as ORC's footers and indexes need them: a dozen messages of a few numbers each, written
//! field by field with the numbers of `orc_proto.proto`.

use crate::varint::{put_varint, zigzag};

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;

/// A message that is being written; fields stand in the order of the calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// An integer, an enum or a boolean.
    pub(super) fn uint(mut self, field: u32, value: u64) -> Self {
        self.key(field, VARINT);
        put_varint(&mut self.0, value);
        self
    }

    /// A `sint64` or `sint32`.
    pub(super) fn sint(self, field: u32, value: i64) -> Self {
        self.uint(field, zigzag(value))
    }

    pub(super) fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Bytes or a string.
    pub(super) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        self.key(field, LENGTH_DELIMITED);
        put_varint(&mut self.0, value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// A message; the schema calls a repeated one once for each.
    pub(super) fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    pub(super) fn messages<'a>(self, field: u32, values: impl IntoIterator<Item = &'a Self>) -> Self {
        values.into_iter().fold(self, |message, value| message.message(field, value))
    }

    /// Repeated integers in one field.
    pub(super) fn packed(self, field: u32, values: impl IntoIterator<Item = u64>) -> Self {
        let mut packed = Vec::new();
        values.into_iter().for_each(|value| put_varint(&mut packed, value));
        if packed.is_empty() { self } else { self.bytes(field, packed) }
    }

    /// What is only there with a value.
    pub(super) fn with<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        put_varint(&mut self.0, u64::from(field << 3 | wire_type));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_numbers_and_wire_types() {
        let inner = Message::default().sint(1, -2).double(16, 1.5);
        let message = Message::default().uint(1, 300).message(2, &inner).packed(4, [0, 12]).packed(5, []);
        let expect = [
            &[0x08, 0xac, 0x02][..],
            &[0x12, 12, 0x08, 0x03, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f],
            &[0x22, 2, 0, 12],
        ];
        // The inner double's key takes two bytes: 16 << 3 | 1.
        assert_eq!(message.as_bytes(), expect.concat());
    }
}
