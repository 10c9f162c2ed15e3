//! The tables of the API against the model that botocore ships: nothing of it is missing, and nothing differs.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use standpipe_ingest::shape::{Shape, Structure, Text, input_of, output_of};
use standpipe_ingest::{ErrorCode, Operation};
use standpipe_testkit::clients::{Python, finish};

/// The model, and what was seen of it and found wrong.
struct Walk {
    model: Value,
    seen: BTreeSet<String>,
    differences: Vec<String>,
}

impl Walk {
    fn begin() -> Self {
        let program = "import json, botocore.session as s; \
                       print(json.dumps(s.get_session().get_service_model('firehose')._service_description))";
        let mut command = Command::new(Python::installed().unwrap().interpreter());
        command.args(["-c", program]);
        let model = finish(command).unwrap();
        assert_eq!(model["metadata"]["targetPrefix"], "Firehose_20150804");
        Self { model, seen: BTreeSet::new(), differences: Vec::new() }
    }

    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, ours: &T, theirs: &T) {
        if ours != theirs {
            self.differences.push(format!("{place}: {ours:?}, in the model {theirs:?}"));
        }
    }

    fn structure(&mut self, ours: &Structure, name: &str) {
        self.expect(&format!("a structure of {name}"), &ours.name, &name);
        let theirs = self.model["shapes"][name].clone();
        self.expect(name, &"structure", &text(&theirs["type"]));
        let required: BTreeSet<&str> = array(&theirs["required"]).iter().map(text).collect();
        self.expect(
            &format!("required of {name}"),
            &ours.members.iter().filter(|member| member.required).map(|member| member.name).collect(),
            &required,
        );
        let members = theirs["members"].as_object().unwrap();
        self.expect(
            &format!("members of {name}"),
            &ours.members.iter().map(|member| member.name).collect(),
            &members.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        );
        for member in ours.members {
            if let Some(theirs) = members.get(member.name) {
                self.shape(&format!("{name}.{}", member.name), &member.shape, text(&theirs["shape"]));
            }
        }
    }

    fn shape(&mut self, place: &str, ours: &Shape, name: &str) {
        if !self.seen.insert(name.to_owned()) {
            // Shapes are constants: one that is used twice is the same twice, except that a member may take another.
            if let Shape::Structure(inner) = ours {
                self.expect(place, &inner.name, &name);
                return;
            }
        }
        let theirs = self.model["shapes"][name].clone();
        let kind = match ours {
            Shape::Text(_) => "string",
            Shape::Integer { .. } => {
                if theirs["type"] == "long" {
                    "long"
                } else {
                    "integer"
                }
            }
            Shape::Double { .. } => "double",
            Shape::Boolean => "boolean",
            Shape::Timestamp => "timestamp",
            Shape::Blob { .. } => "blob",
            Shape::List { .. } => "list",
            Shape::Map { .. } => "map",
            Shape::Structure(_) => "structure",
        };
        let place = format!("{place} ({name})");
        self.expect(&place, &kind, &text(&theirs["type"]));
        match *ours {
            Shape::Text(ours) => self.text(&place, &ours, &theirs),
            Shape::Integer { min, max } => {
                let limits =
                    (theirs["min"].as_i64().unwrap_or(i64::MIN), theirs["max"].as_i64().unwrap_or(i64::MAX));
                self.expect(&place, &(min, max), &limits);
            }
            Shape::Double { min, max } => {
                let limits = (
                    theirs["min"].as_f64().unwrap_or(f64::NEG_INFINITY),
                    theirs["max"].as_f64().unwrap_or(f64::INFINITY),
                );
                self.expect(&place, &(min, max), &limits);
            }
            Shape::Boolean | Shape::Timestamp => {}
            Shape::Blob { max_len } => self.expect(&place, &(0, max_len), &lengths(&theirs)),
            Shape::List { element, min_len, max_len } => {
                self.expect(&place, &(min_len, max_len), &lengths(&theirs));
                self.shape(&place, element, text(&theirs["member"]["shape"]));
            }
            Shape::Map { key, value } => {
                self.shape(&place, key, text(&theirs["key"]["shape"]));
                self.shape(&place, value, text(&theirs["value"]["shape"]));
            }
            Shape::Structure(inner) => self.structure(inner, name),
        }
    }

    fn text(&mut self, place: &str, ours: &Text, theirs: &Value) {
        self.expect(place, &(ours.min_len, ours.max_len), &lengths(theirs));
        self.expect(place, &ours.pattern.map(|pattern| pattern.model()), &theirs["pattern"].as_str());
        // More may be hidden than the model asks for.
        let hidden = theirs["sensitive"] != true || ours.sensitive;
        self.expect(place, &hidden, &true);
        let values: BTreeSet<&str> = array(&theirs["enum"]).iter().map(text).collect();
        self.expect(place, &ours.values.iter().copied().collect(), &values);
    }

    fn operation(&mut self, operation: Operation) {
        let theirs = self.model["operations"][operation.name()].clone();
        for (ours, side) in [(input_of(operation), "input"), (output_of(operation), "output")] {
            let name = text(&theirs[side]["shape"]);
            self.seen.insert(name.to_owned());
            self.structure(ours, name);
        }
        for error in array(&theirs["errors"]) {
            self.error(text(&error["shape"]));
        }
    }

    /// Errors have no tables: they are made where they arise, with the members that the front end knows.
    fn error(&mut self, name: &str) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        let known = ErrorCode::ALL.into_iter().find(|code| code.as_str() == name);
        self.expect(name, &known.map(ErrorCode::as_str), &Some(name));
        let theirs = self.model["shapes"][name].clone();
        let status = if theirs["fault"] == true { 5 } else { 4 };
        self.expect(&format!("status of {name}"), &known.map(|code| code.status() / 100), &Some(status));
        for (member, shape) in theirs["members"].as_object().unwrap() {
            self.expect(name, &true, &["code", "message"].contains(&member.as_str()));
            self.seen.insert(text(&shape["shape"]).to_owned());
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn lengths(shape: &Value) -> (usize, usize) {
    let limit = |name: &str| shape[name].as_u64().map(|limit| usize::try_from(limit).unwrap());
    (limit("min").unwrap_or(0), limit("max").unwrap_or(usize::MAX))
}

/// What differs, and what is in the model but not in the tables.
fn walked(mut walk: Walk) -> (Vec<String>, Vec<String>) {
    let known: BTreeSet<String> = Operation::ALL.map(|operation| operation.name().to_owned()).into();
    let operations = walk.model["operations"].as_object().unwrap().keys().cloned().collect();
    walk.expect("operations", &known, &operations);
    for operation in Operation::ALL {
        walk.operation(operation);
    }
    let shapes = walk.model["shapes"].as_object().unwrap().keys();
    let unseen = shapes.filter(|name| !walk.seen.contains(*name)).cloned().collect();
    (walk.differences, unseen)
}

#[test]
fn everything_in_the_model_of_botocore_is_known_with_its_limits() {
    let (differences, unseen) = walked(Walk::begin());
    assert!(differences.is_empty(), "{differences:#?}");
    assert!(unseen.is_empty(), "in the model but not in the tables: {unseen:?}");
}

#[test]
fn whatever_a_newer_model_brings_is_noticed() {
    let mut walk = Walk::begin();
    let shapes = &mut walk.model["shapes"];
    shapes["BufferingHints"]["members"]["Colour"] = json!({"shape": "BooleanObject"});
    shapes["CompressionFormat"]["enum"].as_array_mut().unwrap().push("BROTLI".into());
    shapes["SizeInMBs"]["max"] = json!(256);
    shapes["Prefix"]["pattern"] = json!("[a-z]*");
    shapes["TagKeyList"]["max"] = json!(100);
    shapes["Tag"]["required"] = json!([]);
    shapes["New"] = json!({"type": "structure", "members": {}});
    let (differences, unseen) = walked(walk);
    for place in [
        "members of BufferingHints",
        "(CompressionFormat)",
        "(SizeInMBs)",
        "(Prefix)",
        "(TagKeyList)",
        "required of Tag",
    ] {
        assert!(differences.iter().any(|found| found.contains(place)), "{place}: {differences:#?}");
    }
    assert_eq!(unseen, ["New"]);
}
