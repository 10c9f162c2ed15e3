//! One stream: the members of `CreateDeliveryStream` to keys of `standpipe.yaml`, and what has no counterpart there.
//!
//! Tables say what becomes of each member, here of the stream, in [`s3`](super::s3) of its destination. To map another
//! member or destination, add its line and its function.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use standpipe_model::StreamName;

use super::{Definition, cloudformation, s3};

/// The most characters of a value that are told.
const SHOWN_MAX: usize = 120;
/// Members whose values are never told.
const SECRETS: [&str; 6] =
    ["Password", "AccessKey", "HECToken", "PrivateKey", "KeyPassphrase", "ParameterValue"];

/// A destination's key under `destination`, and its members as YAML.
type MapDestination = fn(Map<String, Value>, &mut Scope<'_>) -> Result<Fields, String>;

/// The destinations that can be mapped: the API's member, our key, and the function that maps it.
const DESTINATIONS: [(&str, &str, MapDestination); 2] = [
    ("ExtendedS3DestinationConfiguration", "s3", s3::destination),
    ("S3DestinationConfiguration", "s3", s3::destination),
];

/// What to do about members of a stream that have no counterpart.
const ADVICE: [(&str, &str); 7] = [
    ("DeliveryStreamType", "standpipe takes puts only; have the producers put to it"),
    (
        "KinesisStreamSourceConfiguration",
        "standpipe takes puts only; have what writes to the Kinesis stream put to it",
    ),
    ("MSKSourceConfiguration", "standpipe takes puts only; have what writes to the topic put to it"),
    ("DatabaseSourceConfiguration", "standpipe takes puts only"),
    (
        "DeliveryStreamEncryptionConfigurationInput",
        "the file has no key for it; encrypt the disk below data_dir",
    ),
    ("Tags", "the file has no key for the tags of a stream"),
    ("DirectPutSourceConfiguration", "it has no effect here: throughput is not provisioned"),
];

/// A key of the YAML with its value.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Fields(pub(super) Vec<(&'static str, Yaml)>);

/// A value of the YAML.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Yaml {
    Text(String),
    Fields(Fields),
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Fields {
    pub(super) fn text(&mut self, key: &'static str, text: impl Into<String>) {
        // The configuration would take it for a variable.
        self.0.push((key, Yaml::Text(text.into().replace("${", "$${"))));
    }

    pub(super) fn fields(&mut self, key: &'static str, fields: Fields) {
        self.0.push((key, Yaml::Fields(fields)));
    }
}

/// A member that could not be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) path: String,
    pub(super) value: String,
    /// Why, and what to do.
    pub(super) why: String,
}

/// A stream as it will stand in the file.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) origin: String,
    pub(super) region: Option<String>,
    pub(super) yaml: Fields,
    pub(super) buckets: BTreeSet<String>,
    pub(super) remarks: Vec<String>,
    pub(super) notes: Vec<Note>,
    /// Why there is no YAML.
    pub(super) failure: Option<String>,
}

impl Stream {
    /// Everything that a person should know, a line each.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let notes = self.notes.iter().map(|note| format!("{}: {note}", self.name));
        let failure = self.failure.iter().map(|why| format!("{}: not imported: {why}", self.name));
        notes.chain(failure).collect::<Vec<_>>().into_iter()
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "left out {} ({}): {}", self.path, self.value, self.why)
    }
}

/// What the mapping of a structure adds to.
pub(super) struct Scope<'a> {
    /// The structure's path.
    pub(super) path: String,
    pub(super) store: &'a str,
    pub(super) buckets: &'a mut BTreeSet<String>,
    pub(super) remarks: &'a mut Vec<String>,
    pub(super) notes: &'a mut Vec<Note>,
}

impl Scope<'_> {
    /// The scope of a structure within.
    pub(super) fn within(&mut self, member: &str) -> Scope<'_> {
        Scope {
            path: join(&self.path, member),
            store: self.store,
            buckets: self.buckets,
            remarks: self.remarks,
            notes: self.notes,
        }
    }

    pub(super) fn note(&mut self, member: &str, value: &Value, why: impl Into<String>) {
        let why = why.into();
        self.notes.push(Note { path: join(&self.path, member), value: shown(member, value), why });
    }

    pub(super) fn remark(&mut self, member: &str, text: &str) {
        self.remarks.push(format!("{}: {text}", join(&self.path, member)));
    }

    /// Notes what no line of a table took.
    pub(super) fn leave(&mut self, rest: Map<String, Value>, advice: &[(&str, &str)]) {
        for (member, value) in rest.iter().filter(|(_, value)| !inert(value)) {
            let known = advice.iter().find(|(name, _)| name == member);
            self.note(member, value, known.map_or("standpipe knows no such member", |(_, advice)| *advice));
        }
    }
}

fn join(path: &str, member: &str) -> String {
    if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") }
}

/// The stream that a definition comes to.
pub(super) fn map(definition: Definition, store: &str) -> Stream {
    let Definition { origin, region, mut input, remarks } = definition;
    let mut stream = Stream {
        name: String::new(),
        origin,
        region,
        yaml: Fields::default(),
        buckets: BTreeSet::new(),
        remarks,
        notes: Vec::new(),
        failure: None,
    };
    let name = input.remove("DeliveryStreamName").unwrap_or_default();
    stream.name = text(&name).unwrap_or_else(|_| stream.origin.clone());
    let mut scope = Scope {
        path: String::new(),
        store,
        buckets: &mut stream.buckets,
        remarks: &mut stream.remarks,
        notes: &mut stream.notes,
    };
    match destination(&name, &mut input, &mut scope) {
        Ok(yaml) => stream.yaml = yaml,
        Err(why) => stream.failure = Some(why),
    }
    if input.get("DeliveryStreamType").is_some_and(|kind| kind == "DirectPut") {
        input.remove("DeliveryStreamType");
    }
    scope.leave(input, &ADVICE);
    stream
}

fn destination(
    name: &Value,
    input: &mut Map<String, Value>,
    scope: &mut Scope<'_>,
) -> Result<Fields, String> {
    let mut yaml = Fields::default();
    let name = text(name).map_err(|why| format!("DeliveryStreamName {why}"))?;
    let name = StreamName::parse(&name).map_err(|error| error.to_string())?;
    yaml.text("name", name.as_str());
    let found = DESTINATIONS.iter().find_map(|line| Some((line, input.remove(line.0)?)));
    let Some(((member, key, map), value)) = found else {
        let other = input.keys().find(|member| member.ends_with("DestinationConfiguration")).cloned();
        return Err(match other {
            Some(other) => {
                input.remove(&other);
                format!("{other} is no destination that standpipe delivers to; it delivers to object stores")
            }
            None => "there is no destination in it".to_owned(),
        });
    };
    let Value::Object(members) = value else { return Err(format!("{member} is no structure")) };
    let mut scope = scope.within(member);
    let mut wanted = map(members, &mut scope)?;
    // The copy of the source records is a destination of its own here.
    let backup = wanted.0.iter().position(|(key, _)| *key == s3::BACKUP).map(|at| wanted.0.remove(at).1);
    yaml.fields("destination", Fields(vec![(*key, Yaml::Fields(wanted))]));
    if let Some(backup) = backup {
        yaml.fields(s3::BACKUP, Fields(vec![("s3", backup)]));
    }
    Ok(yaml)
}

/// The text of a member.
///
/// # Errors
/// Why it has none, to stand behind the member's name.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Err("is missing".to_owned()),
        _ => Err(match cloudformation::function(value) {
            Some((name, argument)) => format!(
                "is {name} {argument}, which only the deployed stack can tell; say it with --parameter"
            ),
            None => "is no text".to_owned(),
        }),
    }
}

/// Whether the member says nothing or that something is off.
fn inert(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => match members.get("Enabled") {
            Some(enabled) => text(enabled).is_ok_and(|enabled| enabled.eq_ignore_ascii_case("false")),
            None => members.is_empty(),
        },
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The value on one line, without secrets.
fn shown(member: &str, value: &Value) -> String {
    let text = hidden(member, value).to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn hidden(member: &str, value: &Value) -> Value {
    match value {
        _ if SECRETS.contains(&member) => "***".into(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), hidden(name, value))).collect())
        }
        Value::Array(items) => items.iter().map(|item| hidden(member, item)).collect(),
        other => other.clone(),
    }
}
