//! Delivery streams of a CloudFormation template, with the functions resolved that a template alone can answer.
//!
//! A function that needs the deployed stack (the ARN of a role, an import) stays in place as it is: the mapping tells it
//! where it matters. `--parameter` answers such ones too.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Definition, members, template};

const STREAM_TYPE: &str = "AWS::KinesisFirehose::DeliveryStream";
const BUCKET_TYPE: &str = "AWS::S3::Bucket";
/// Resources whose `Ref` is their name, and the property that gives it.
const NAMED: [(&str, &str); 3] = [
    (BUCKET_TYPE, "BucketName"),
    ("AWS::Logs::LogGroup", "LogGroupName"),
    ("AWS::Logs::LogStream", "LogStreamName"),
];
/// How deep functions may stand in each other; conditions can refer to each other in a circle.
const DEPTH_MAX: usize = 64;

/// The delivery streams of a template.
///
/// # Errors
/// It cannot be read, or a parameter that was given is nothing in it.
pub(super) fn read(text: &str, given: &[(String, String)]) -> anyhow::Result<Vec<Definition>> {
    let template = template::parse(text)?;
    let section = |name: &str| members(template.get(name));
    let stack = Stack {
        given: given.iter().cloned().collect(),
        parameters: section("Parameters"),
        mappings: section("Mappings"),
        conditions: section("Conditions"),
        resources: section("Resources"),
    };
    for (name, _) in given {
        let logical = name.split('.').next().unwrap_or_default();
        let known = name.starts_with("AWS::")
            || stack.parameters.contains_key(name)
            || stack.resources.contains_key(logical);
        anyhow::ensure!(
            known,
            "--parameter {name}: the template has no parameter and no resource of that name"
        );
    }
    Ok(stack.streams())
}

struct Stack {
    given: BTreeMap<String, String>,
    parameters: Map<String, Value>,
    mappings: Map<String, Value>,
    conditions: Map<String, Value>,
    resources: Map<String, Value>,
}

impl Stack {
    fn streams(&self) -> Vec<Definition> {
        let of_type = |resource: &Value| resource.get("Type").is_some_and(|kind| kind == STREAM_TYPE);
        let streams = self.resources.iter().filter(|(_, resource)| of_type(resource));
        streams.filter_map(|(logical, resource)| self.stream(logical, resource)).collect()
    }

    /// `None` for a stream whose condition is known not to hold.
    fn stream(&self, logical: &str, resource: &Value) -> Option<Definition> {
        let mut remarks = Vec::new();
        if let Some(condition) = resource.get("Condition").and_then(Value::as_str) {
            match self.condition(condition, 0) {
                Some(false) => return None,
                Some(true) => {}
                None => remarks.push(format!(
                    "made only where the condition {condition} holds, which the template leaves open"
                )),
            }
        }
        let mut input = members(Some(&self.resolve(resource.get("Properties").unwrap_or(&Value::Null), 0)));
        if !input.contains_key("DeliveryStreamName") {
            remarks.push(format!(
                "the template gives no name, so the stream is called {logical} as the resource is"
            ));
            input.insert("DeliveryStreamName".to_owned(), logical.into());
        }
        remarks.extend(self.defaults_of(resource));
        let region = self.given.get("AWS::Region").cloned();
        Some(Definition { origin: format!("Resources.{logical}"), region, input, remarks })
    }

    /// Remarks on the parameters that were taken by their defaults, of those that the resource names.
    fn defaults_of(&self, resource: &Value) -> Vec<String> {
        let text = resource.to_string();
        let named = |name: &str| {
            [format!("{{\"Ref\":\"{name}\"}}"), format!("${{{name}}}")].iter().any(|form| text.contains(form))
        };
        let open = self.parameters.iter().filter(|(name, _)| !self.given.contains_key(*name) && named(name));
        let defaults = open.filter_map(|(name, parameter)| {
            let hidden = parameter.get("NoEcho").is_some_and(|hidden| hidden == true || hidden == "true");
            let value = parameter.get("Default").filter(|_| !hidden)?;
            Some(format!("the parameter {name} has its default, {}", scalar(value)?))
        });
        defaults.collect()
    }

    /// The value with every function resolved that can be; members that come to `AWS::NoValue` are left out.
    fn resolve(&self, value: &Value, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return value.clone();
        }
        match value {
            Value::Array(items) => {
                let items = items.iter().map(|item| self.resolve(item, depth + 1));
                Value::Array(items.filter(|item| !item.is_null()).collect())
            }
            Value::Object(members) => {
                if let Some((name, argument)) = function(value) {
                    return self.call(name, argument, depth + 1).unwrap_or_else(|| value.clone());
                }
                let members =
                    members.iter().map(|(name, value)| (name.clone(), self.resolve(value, depth + 1)));
                Value::Object(members.filter(|(_, value)| !value.is_null()).collect())
            }
            _ => value.clone(),
        }
    }

    /// What a function comes to; `None` where only the deployed stack knows.
    fn call(&self, name: &str, argument: &Value, depth: usize) -> Option<Value> {
        let list = || argument.as_array().map(Vec::as_slice);
        match (name, list()) {
            ("Ref", _) => self.reference(argument.as_str()?),
            ("Fn::GetAtt", None) => self.attribute(argument.as_str()?),
            ("Fn::GetAtt", Some([logical, attribute])) => {
                self.attribute(&format!("{}.{}", logical.as_str()?, attribute.as_str()?))
            }
            ("Fn::Sub", None) => self.substitute(argument.as_str()?, &Map::new(), depth),
            ("Fn::Sub", Some([text, Value::Object(names)])) => self.substitute(text.as_str()?, names, depth),
            ("Fn::Join", Some([separator, items])) => {
                let items = self.resolve(items, depth);
                let items = items.as_array()?.iter().map(scalar).collect::<Option<Vec<_>>>()?;
                Some(items.join(separator.as_str()?).into())
            }
            ("Fn::Split", Some([separator, text])) => {
                let text = scalar(&self.resolve(text, depth))?;
                Some(text.split(separator.as_str()?).collect::<Vec<_>>().into())
            }
            ("Fn::Select", Some([index, items])) => {
                let index: usize = scalar(&self.resolve(index, depth))?.parse().ok()?;
                self.resolve(items, depth).as_array()?.get(index).cloned()
            }
            ("Fn::If", Some([condition, then, otherwise])) => {
                let chosen = if self.condition(condition.as_str()?, depth)? { then } else { otherwise };
                Some(self.resolve(chosen, depth))
            }
            ("Fn::FindInMap", Some([map, first, second])) => {
                let [map, first, second] = [map, first, second].map(|key| scalar(&self.resolve(key, depth)));
                self.mappings.get(&map?)?.get(&first?)?.get(&second?).cloned()
            }
            _ => None,
        }
    }

    fn reference(&self, name: &str) -> Option<Value> {
        let text = match name {
            _ if self.given.contains_key(name) => self.given[name].clone(),
            "AWS::NoValue" => return Some(Value::Null),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            _ if self.parameters.contains_key(name) => scalar(self.parameters[name].get("Default")?)?,
            _ => return self.name_of(name).map(|(_, name)| name.into()),
        };
        match self.parameters.get(name).and_then(|parameter| parameter.get("Type")?.as_str()) {
            // Its value is the name of something that only the account knows.
            Some(kind) if kind.starts_with("AWS::SSM::Parameter::") && !self.given.contains_key(name) => None,
            Some("CommaDelimitedList" | "List<Number>") => {
                Some(text.split(',').map(str::trim).collect::<Vec<_>>().into())
            }
            _ => Some(text.into()),
        }
    }

    fn attribute(&self, name: &str) -> Option<Value> {
        if let Some(given) = self.given.get(name) {
            return Some(given.as_str().into());
        }
        let (logical, attribute) = name.split_once('.')?;
        match self.name_of(logical)? {
            (BUCKET_TYPE, bucket) if attribute == "Arn" => Some(format!("arn:aws:s3:::{bucket}").into()),
            _ => None,
        }
    }

    /// The type and the name of a resource of the template that has one.
    fn name_of(&self, logical: &str) -> Option<(&'static str, String)> {
        let resource = self.resources.get(logical)?;
        let kind = resource.get("Type")?;
        let (kind, property) = *NAMED.iter().find(|(named, _)| kind == named)?;
        let name = match self.given.get(logical) {
            Some(name) => name.clone(),
            None => scalar(&self.resolve(resource.get("Properties")?.get(property)?, 1))?,
        };
        Some((kind, name))
    }

    /// `${Name}` and `${Resource.Attribute}` put in, `${!literal}` kept.
    fn substitute(&self, text: &str, names: &Map<String, Value>, depth: usize) -> Option<Value> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, tail) = after.split_once('}')?;
            match (name.strip_prefix('!'), names.get(name)) {
                (Some(literal), _) => out.push_str(&format!("${{{literal}}}")),
                (None, Some(value)) => out.push_str(&scalar(&self.resolve(value, depth))?),
                (None, None) if name.contains('.') => out.push_str(&scalar(&self.attribute(name)?)?),
                (None, None) => out.push_str(&scalar(&self.reference(name)?)?),
            }
            rest = tail;
        }
        Some((out + rest).into())
    }

    fn condition(&self, name: &str, depth: usize) -> Option<bool> {
        self.holds(self.conditions.get(name)?, depth + 1)
    }

    fn holds(&self, value: &Value, depth: usize) -> Option<bool> {
        let (name, argument) = function(value).filter(|_| depth <= DEPTH_MAX)?;
        if name == "Condition" {
            return self.condition(argument.as_str()?, depth);
        }
        let all = || {
            argument.as_array()?.iter().map(|item| self.holds(item, depth + 1)).collect::<Option<Vec<_>>>()
        };
        match name {
            "Fn::Equals" => {
                let pair = self.resolve(argument, depth + 1);
                let [left, right] = pair.as_array()?.as_slice() else { return None };
                Some(scalar(left)? == scalar(right)?)
            }
            "Fn::Not" => all().map(|values| values == [false]),
            "Fn::And" => all().map(|values| values.iter().all(|value| *value)),
            "Fn::Or" => all().map(|values| values.contains(&true)),
            _ => None,
        }
    }
}

/// Name and argument where the value is a function of CloudFormation.
pub(super) fn function(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (name, argument) = members.iter().next()?;
    (matches!(name.as_str(), "Ref" | "Condition") || name.starts_with("Fn::")).then_some((name, argument))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
