//! The tables of cases: what is asked, and what is to come back whichever client asks. `tests/clients/README.md` says how
//! they are written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64_simd::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<C> {
    /// Where a file names what its cases have in common; YAML's references have put it into them.
    #[serde(default, rename = "shared")]
    _shared: Value,
    cases: Vec<C>,
}

/// Steps that belong together, in their order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What holds, in a sentence.
    pub(crate) case: String,
    /// Clients that cannot take part, and why.
    #[serde(default)]
    pub(crate) except: BTreeMap<String, String>,
    pub(crate) steps: Vec<Step>,
}

/// One operation and what comes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(rename = "do")]
    pub(crate) operation: String,
    #[serde(rename = "with")]
    pub(crate) input: Value,
    /// Other credentials than the daemon's first.
    #[serde(rename = "as")]
    pub(crate) credentials: Option<Credentials>,
    /// The most attempts that the client is told to make, where its own number would take long.
    pub(crate) attempts: Option<u32>,
    /// The step is made so often, with `{n}` in its input counting from 1.
    pub(crate) times: Option<u64>,
    /// The outcome may take a while, as AWS does these things in the background.
    #[serde(default)]
    pub(crate) until_settled: bool,
    /// Clients that refuse this by themselves, before anything is sent.
    #[serde(default)]
    pub(crate) locally: Vec<String>,
    /// The whole output, or parts of it by their JSON pointers.
    pub(crate) output: Option<Map<String, Value>>,
    /// The error's code.
    pub(crate) error: Option<String>,
    /// The error's message.
    pub(crate) message: Option<Value>,
    /// How many requests the client sends for it: a number, or one for each client, with `others`.
    pub(crate) sent: Option<Value>,
}

/// What a client signs with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
}

impl Step {
    /// A step that is to succeed.
    pub(crate) fn of(operation: &str, input: Value) -> Self {
        serde_json::from_value(json!({ "do": operation, "with": input })).unwrap()
    }
}

/// The cases of a file, with everything in them written out.
pub(crate) fn load(file: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = read(file);
    for case in &mut cases {
        let steps = std::mem::take(&mut case.steps);
        case.steps = steps.into_iter().flat_map(|step| repeated(&step)).collect();
    }
    cases
}

fn repeated(step: &Step) -> Vec<Step> {
    let numbers = 1..=step.times.unwrap_or(1);
    numbers.map(|n| Step { input: expand(&step.input, n), ..step.clone() }).collect()
}

/// A file's cases as they are written.
pub(crate) fn read<C: DeserializeOwned>(file: &str) -> Vec<C> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/cases").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let file: File<C> =
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.cases
}

/// Writes out what a table abbreviates, an object whose first member's name begins with `$`.
fn expand(value: &Value, n: u64) -> Value {
    match value {
        Value::String(text) => text.replace("{n}", &n.to_string()).into(),
        Value::Array(elements) => elements.iter().map(|element| expand(element, n)).collect(),
        Value::Object(members) => match members.keys().find(|name| name.starts_with('$')) {
            Some(name) => abbreviated(name, members, n),
            None => members.iter().map(|(name, value)| (name.clone(), expand(value, n))).collect(),
        },
        _ => value.clone(),
    }
}

fn abbreviated(name: &str, members: &Map<String, Value>, n: u64) -> Value {
    let of = &members[name];
    let times = members.get("times").map_or(1, |times| times.as_u64().unwrap());
    let text = || expand(of, n).as_str().unwrap().repeat(usize::try_from(times).unwrap());
    match name {
        "$text" => text().into(),
        "$base64" => STANDARD.encode_to_string(text()).into(),
        "$bytes" => {
            let bytes: Vec<u8> = serde_json::from_value(of.clone()).unwrap();
            STANDARD.encode_to_string(bytes).into()
        }
        "$repeat" => (1..=times).map(|n| expand(of, n)).collect(),
        "$merge" => {
            let parts = of.as_array().unwrap().iter();
            let parts = parts.map(|part| serde_json::from_value::<Map<_, _>>(expand(part, n)).unwrap());
            Value::Object(parts.flatten().collect())
        }
        _ => panic!("{name} abbreviates nothing"),
    }
}
