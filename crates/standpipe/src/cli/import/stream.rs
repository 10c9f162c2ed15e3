//! One stream: the members of `CreateDeliveryStream` to keys of `standpipe.yaml`, and what has no counterpart there.
//!
//! Tables say what becomes of each member, here of the stream, in [`s3`](super::s3), [`endpoints`](super::endpoints) and
//! [`tables`](super::tables) of its destination. To map another
//! member or destination, add its line and its function. What no line takes is looked up in the API's own tables, which
//! know why standpipe does not honour it, and what in it is a secret.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use standpipe_ingest::shape::{self, Structure, Support};
use standpipe_ingest::{DestinationKind, Operation};
use standpipe_model::StreamName;

use super::super::no_variable;
use super::{Definition, cloudformation, conversion, endpoints, processing, s3, tables};

/// The most characters of a value that are told.
const SHOWN_MAX: usize = 120;
/// A destination's key under `destination`.
type KeyOf = fn(&Map<String, Value>) -> &'static str;
/// Its members as YAML.
type MapDestination = fn(Map<String, Value>, &mut Scope<'_>) -> Result<Fields, String>;

/// The destinations that can be mapped: the API's member, our key, and the function that maps it.
const DESTINATIONS: [(&str, KeyOf, MapDestination); 8] = [
    ("ExtendedS3DestinationConfiguration", |_| "s3", s3::destination),
    ("S3DestinationConfiguration", |_| "s3", s3::destination),
    ("HttpEndpointDestinationConfiguration", |_| "http", endpoints::http),
    ("SplunkDestinationConfiguration", |_| "splunk", endpoints::splunk),
    ("AmazonopensearchserviceDestinationConfiguration", |_| "opensearch", endpoints::opensearch),
    ("ElasticsearchDestinationConfiguration", |_| "opensearch", endpoints::elasticsearch),
    ("AmazonOpenSearchServerlessDestinationConfiguration", |_| "opensearch", endpoints::serverless),
    ("RedshiftDestinationConfiguration", tables::key, tables::table),
];

const ENCRYPTION: &str = "DeliveryStreamEncryptionConfigurationInput";
/// The most characters of a key's name.
const KEY_NAME_MAX: usize = 64;

/// What to do about members of a stream that have no counterpart in the file.
const ADVICE: [(&str, &str); 6] = [
    ("DeliveryStreamType", "standpipe takes puts only; have the producers put to it"),
    (
        "KinesisStreamSourceConfiguration",
        "standpipe takes puts only; have what writes to the Kinesis stream put to it",
    ),
    ("MSKSourceConfiguration", "standpipe takes puts only; have what writes to the topic put to it"),
    ("DatabaseSourceConfiguration", "standpipe takes puts only"),
    (
        ENCRYPTION,
        "AWS's own key stays there: make one (standpipe keys generate), name it under keys, and give the stream \
         encryption: { key: … }",
    ),
    ("Tags", "tags are kept beside the file: give them to the running daemon (TagDeliveryStream)"),
];

/// A key of the YAML with its value.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Fields(pub(super) Vec<(&'static str, Yaml)>);

/// A value of the YAML.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Yaml {
    Text(String),
    Truth(bool),
    Fields(Fields),
    List(Vec<Fields>),
    Texts(Vec<String>),
    /// Keys that are the user's own.
    Words(BTreeMap<String, String>),
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
        self.0.push((key, Yaml::Text(no_variable(&text.into()))));
    }

    pub(super) fn texts(&mut self, key: &'static str, texts: Vec<String>) {
        self.0.push((key, Yaml::Texts(texts.iter().map(|text| no_variable(text)).collect())));
    }

    pub(super) fn words(&mut self, key: &'static str, words: BTreeMap<String, String>) {
        let words = words.into_iter().map(|(key, word)| (key, no_variable(&word)));
        self.0.push((key, Yaml::Words(words.collect())));
    }

    pub(super) fn list(&mut self, key: &'static str, items: Vec<Fields>) {
        self.0.push((key, Yaml::List(items)));
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
    /// The functions that its processors call.
    pub(super) functions: BTreeSet<String>,
    /// The schemas of the tables that its rows are converted to.
    pub(super) schemas: BTreeSet<String>,
    /// The key that its journal is encrypted under: its name under `keys`, and its ARN.
    pub(super) key: Option<(String, String)>,
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
    /// The structure in the API's tables; `None` where they know none of that name.
    pub(super) structure: Option<&'static Structure>,
    /// The stream.
    pub(super) name: &'a str,
    pub(super) store: &'a str,
    pub(super) buckets: &'a mut BTreeSet<String>,
    pub(super) functions: &'a mut BTreeSet<String>,
    pub(super) schemas: &'a mut BTreeSet<String>,
    pub(super) remarks: &'a mut Vec<String>,
    pub(super) notes: &'a mut Vec<Note>,
}

impl Scope<'_> {
    /// The scope of a structure within.
    pub(super) fn within(&mut self, member: &str) -> Scope<'_> {
        Scope {
            path: join(&self.path, member),
            structure: self.structure.and_then(|structure| structure.structure(member)),
            name: self.name,
            store: self.store,
            buckets: self.buckets,
            functions: self.functions,
            schemas: self.schemas,
            remarks: self.remarks,
            notes: self.notes,
        }
    }

    pub(super) fn note(&mut self, member: &str, value: &Value, why: impl Into<String>) {
        let why = why.into();
        self.notes.push(Note { path: join(&self.path, member), value: self.shown(member, value), why });
    }

    /// Names a variable of the environment in the place of what a definition does not tell, or should not.
    pub(super) fn variable(&mut self, yaml: &mut Fields, key: &'static str, what: &str) {
        let shout = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        // A name may begin with a digit, which a variable's may not.
        let name: String = format!("FIREHOSE_{}_{key}", self.name).chars().map(shout).collect();
        self.remarks.push(format!("set the environment variable {name} to {what}"));
        yaml.0.push((key, Yaml::Text(format!("${{{name}}}"))));
    }

    /// The same of a member that holds a secret.
    pub(super) fn secret(&mut self, yaml: &mut Fields, member: &str, key: &'static str) {
        let what = format!("the secret of {}, which is not copied", join(&self.path, member));
        self.variable(yaml, key, &what);
    }

    pub(super) fn remark(&mut self, member: &str, text: &str) {
        self.remarks.push(format!("{}: {text}", join(&self.path, member)));
    }

    /// Notes what no line of a table took.
    pub(super) fn leave(&mut self, rest: Map<String, Value>, advice: &[(&str, &str)]) {
        for (member, value) in rest.iter().filter(|(_, value)| !inert(value)) {
            let advice = advice.iter().find(|(name, _)| name == member).map(|(_, advice)| *advice);
            self.note(member, value, advice.unwrap_or_else(|| self.why_not(member)));
        }
    }

    /// Why a member has no counterpart, as the API's tables have it.
    fn why_not(&self, member: &str) -> &'static str {
        let members = self.structure.map_or(&[][..], |structure| structure.members);
        match members.iter().find(|known| known.name == member).map(|known| known.support) {
            Some(Support::Ignored(why)) => why,
            Some(Support::Full) => "the file has no key for it",
            Some(Support::None | Support::When(..)) => "it is not available in this version of standpipe",
            None => "the Firehose API has no such member",
        }
    }

    /// The value on one line, without secrets; what the API's tables do not know may be one.
    fn shown(&self, member: &str, value: &Value) -> String {
        // An element of a list stands for the list that has only it.
        let (name, value) = match member.split_once('[') {
            Some((name, _)) => (name, Value::Array(vec![value.clone()])),
            None => (member, value.clone()),
        };
        let value = Value::Object(Map::from_iter([(name.to_owned(), value)]));
        let known = self.structure.map(|structure| shape::redact(structure, &value));
        let shown =
            known.as_ref().and_then(|known| known.get(name)).map_or("***".to_owned(), Value::to_string);
        match shown.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown,
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
        functions: BTreeSet::new(),
        schemas: BTreeSet::new(),
        key: None,
        remarks,
        notes: Vec::new(),
        failure: None,
    };
    let name = input.remove("DeliveryStreamName").unwrap_or_default();
    stream.name = text(&name).unwrap_or_else(|_| stream.origin.clone());
    let mut scope = Scope {
        path: String::new(),
        structure: Some(shape::input_of(Operation::CreateDeliveryStream)),
        name: &stream.name,
        store,
        buckets: &mut stream.buckets,
        functions: &mut stream.functions,
        schemas: &mut stream.schemas,
        remarks: &mut stream.remarks,
        notes: &mut stream.notes,
    };
    match destination(&name, &mut input, &mut scope) {
        Ok(yaml) => {
            stream.yaml = yaml;
            stream.key = customer_key(&input);
        }
        Err(why) => stream.failure = Some(why),
    }
    if let Some((name, _)) = &stream.key {
        input.remove(ENCRYPTION);
        let mut fields = Fields::default();
        fields.text("key", name.as_str());
        stream.yaml.fields("encryption", fields);
    }
    if input.get("DeliveryStreamType").is_some_and(|kind| kind == "DirectPut") {
        input.remove("DeliveryStreamType");
    }
    scope.leave(input, &ADVICE);
    stream
}

/// The customer's key, which a KMS keeps for standpipe as for AWS.
fn customer_key(input: &Map<String, Value>) -> Option<(String, String)> {
    let given = input.get(ENCRYPTION).filter(|given| !inert(given))?;
    let arn = text(given.get("KeyARN")?).ok()?;
    let name: String = arn.rsplit(['/', ':']).next()?.chars().take(KEY_NAME_MAX).collect();
    (!name.is_empty()).then_some((name, arn))
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
        let member = |kind: &DestinationKind| format!("{}DestinationConfiguration", kind.name());
        let other = DestinationKind::ALL.iter().map(member).find(|member| input.remove(member).is_some());
        return Err(match other {
            Some(other) => {
                format!("{other} is none of the destinations that can be imported")
            }
            None => "there is no destination in it".to_owned(),
        });
    };
    let members = structure(value).map_err(|why| format!("{member} {why}"))?;
    let mut scope = scope.within(member);
    let key = key(&members);
    let mut wanted = map(members, &mut scope)?;
    // The copy of the source records is a destination of its own here.
    let mut take = |name| wanted.0.iter().position(|(key, _)| *key == name).map(|at| wanted.0.remove(at).1);
    let (backup, processors) = (take(s3::BACKUP), take(processing::PROCESSORS));
    let conversion = [conversion::FORMAT, conversion::DESERIALIZER].map(|key| Some((key, take(key)?)));
    yaml.fields("destination", Fields(vec![(key, Yaml::Fields(wanted))]));
    if let Some(backup) = backup {
        yaml.fields(s3::BACKUP, Fields(vec![("s3", backup)]));
    }
    yaml.0.extend(processors.map(|processors| (processing::PROCESSORS, processors)));
    yaml.0.extend(conversion.into_iter().flatten());
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
        _ => Err(open(value).unwrap_or_else(|| "is no text".to_owned())),
    }
}

/// The members of a structure.
///
/// # Errors
/// Why it has none, to stand behind the member's name.
pub(super) fn structure(value: Value) -> Result<Map<String, Value>, String> {
    match (open(&value), value) {
        (None, Value::Object(members)) => Ok(members),
        (why, _) => Err(why.unwrap_or_else(|| "is no structure".to_owned())),
    }
}

/// Whether a block is enabled, which it has to say.
///
/// # Errors
/// Why that is not known.
pub(super) fn enabled(block: &Value) -> Result<bool, String> {
    let enabled = block.get("Enabled").map_or(Ok(String::new()), text);
    enabled.map(|enabled| enabled.eq_ignore_ascii_case("true")).map_err(|why| format!("Enabled {why}"))
}

/// That the value is a function which only the deployed stack can answer, where it is one.
pub(super) fn open(value: &Value) -> Option<String> {
    let (name, argument) = cloudformation::function(value)?;
    Some(format!("is {name} {argument}, which only the deployed stack can tell; say it with --parameter"))
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
