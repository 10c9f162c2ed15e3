//! Readings as JSON, one by one. It knows nothing of functions, so that it can be tested by itself.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A reading and its device. Values stay as they are written, which is quicker than to read them.
pub struct Reading<'a> {
    members: BTreeMap<Name<'a>, &'a RawValue>,
    pub device: String,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> Reading<'a> {
    /// # Errors
    /// In words, why it is none.
    pub fn parse(data: &'a [u8]) -> Result<Self, String> {
        let members: BTreeMap<Name<'a>, &RawValue> =
            serde_json::from_slice(data).map_err(|error| error.to_string())?;
        let device = members.get("device").and_then(|device| serde_json::from_str(device.get()).ok());
        Ok(Self { device: device.ok_or("no device")?, members })
    }

    /// The reading with columns in the place of the members with their names.
    pub fn with(mut self, columns: &[(String, String)]) -> Vec<u8> {
        for (column, _) in columns {
            self.members.remove(&**column);
        }
        let mut json = vec![b'{'];
        for (Name(name), value) in &self.members {
            write(&mut json, name);
            json.extend_from_slice(value.get().as_bytes());
        }
        for (column, value) in columns {
            write(&mut json, column);
            serde_json::to_writer(&mut json, value).expect("a text is written into memory");
        }
        json.push(b'}');
        json
    }
}

/// Writes a member's name.
fn write(json: &mut Vec<u8>, name: &str) {
    if json.len() > 1 {
        json.push(b',');
    }
    serde_json::to_writer(&mut *json, name).expect("a text is written into memory");
    json.push(b':');
}
