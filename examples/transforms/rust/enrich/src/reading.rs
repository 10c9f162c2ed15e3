//! Readings as JSON, one by one. It knows nothing of functions, so that it can be tested by itself.

use serde_json::{Map, Value};

/// A reading and its device.
pub struct Reading {
    members: Map<String, Value>,
    pub device: String,
}

impl Reading {
    /// # Errors
    /// In words, why it is none.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        let members: Map<String, Value> = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        let device = members.get("device").and_then(Value::as_str).ok_or("no device")?.to_owned();
        Ok(Self { members, device })
    }

    /// Puts a column in, in the place of the member with its name.
    pub fn add(&mut self, column: &str, value: &str) {
        self.members.insert(column.to_owned(), Value::from(value));
    }

    pub fn into_json(self) -> Vec<u8> {
        serde_json::to_vec(&self.members).expect("texts and numbers serialise")
    }
}
