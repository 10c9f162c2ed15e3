//! A CloudFormation template as JSON: YAML's short functions (`!Sub x`) become their long form (`{"Fn::Sub": "x"}`).

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::Tagged;

/// Reads a template, JSON or YAML.
///
/// # Errors
/// It is neither, or no map.
pub(super) fn parse(text: &str) -> anyhow::Result<Map<String, Value>> {
    let value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => {
            let options = serde_yaml::options! { with_snippet: false };
            serde_yaml::from_str_with_options::<Node>(text, options)
                .map_err(|error| {
                    anyhow::anyhow!("the template is neither JSON nor YAML: {}", error.without_snippet())
                })?
                .0
        }
    };
    match value {
        Value::Object(members) => Ok(members),
        _ => anyhow::bail!("the template is no map"),
    }
}

/// A node with its function, if it has one.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Bare(value), tag) = Tagged::deserialize(deserializer)?;
        let function = tag.as_deref().and_then(|tag| tag.strip_prefix('!'));
        Ok(Self(match function {
            Some(name @ ("Ref" | "Condition")) => call(name.to_owned(), value),
            Some(name) => call(format!("Fn::{name}"), value),
            None => value,
        }))
    }
}

fn call(name: String, argument: Value) -> Value {
    Value::Object(Map::from_iter([(name, argument)]))
}

/// A node without regard to its own tag.
struct Bare(Value);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // A number with leading noughts comes as one of these.
        let whole = (value.fract() == 0.0 && value.abs() < 9e15).then(|| Number::from(value as i64));
        Ok(whole.or_else(|| Number::from_f64(value)).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Node(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Node(value))) = entries.next_entry::<String, Node>()? {
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn short_functions_become_long_ones() {
        let yaml = "A: !Ref X\nB: !Sub 'a-${X}'\nC: !GetAtt R.Arn\nD: !Join ['-', [a, !Ref X]]\n\
                    E: !If [IsY, !Sub ['${a}', {a: 1}], !Ref 'AWS::NoValue']\nF: !Condition Z\nG: {Fn::Sub: x}\nH: 012\nI: '5'\n";
        let expected = json!({
            "A": {"Ref": "X"},
            "B": {"Fn::Sub": "a-${X}"},
            "C": {"Fn::GetAtt": "R.Arn"},
            "D": {"Fn::Join": ["-", ["a", {"Ref": "X"}]]},
            "E": {"Fn::If": ["IsY", {"Fn::Sub": ["${a}", {"a": 1}]}, {"Ref": "AWS::NoValue"}]},
            "F": {"Condition": "Z"},
            "G": {"Fn::Sub": "x"},
            "H": 12,
            "I": "5",
        });
        assert_eq!(Value::Object(parse(yaml).unwrap()), expected);
        assert_eq!(Value::Object(parse(&expected.to_string()).unwrap()), expected);
    }

    #[test]
    fn what_is_no_template_is_refused_in_words() {
        assert_eq!(parse("- a\n").unwrap_err().to_string(), "the template is no map");
        let error = parse("a: [1\n").unwrap_err().to_string();
        assert!(error.starts_with("the template is neither JSON nor YAML: "), "{error}");
    }
}
