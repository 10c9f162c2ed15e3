//! A request as it may be shown: in the audit log, for one.

use serde_json::{Map, Value};

use super::{Shape, Structure};

/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// The members of `input` that the structure knows, with their secrets and their blobs hidden.
pub fn redact(structure: &Structure, input: &Value) -> Value {
    let known = structure.members.iter().filter_map(|member| {
        let value = input.get(member.name)?;
        Some((member.name.to_owned(), redact_shape(&member.shape, value)))
    });
    Value::Object(known.collect::<Map<_, _>>())
}

fn redact_shape(shape: &Shape, value: &Value) -> Value {
    match (shape, value) {
        (_, Value::Null) => Value::Null,
        (Shape::Text(text), _) if text.sensitive => HIDDEN.into(),
        (Shape::Blob { .. }, _) => HIDDEN.into(),
        (Shape::Structure(inner), Value::Object(_)) => redact(inner, value),
        (Shape::List { element, .. }, Value::Array(elements)) => {
            elements.iter().map(|value| redact_shape(element, value)).collect()
        }
        // A member of a wrong type may be a secret in a wrong place.
        (Shape::Structure(_) | Shape::List { .. }, _) => HIDDEN.into(),
        (Shape::Map { .. }, _) => value.clone(),
        (_, Value::Object(_) | Value::Array(_)) => HIDDEN.into(),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Operation, shape};

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let input = json!({
            "DeliveryStreamName": "s",
            "RedshiftDestinationConfiguration": {"Username": "u", "Password": "p4ssword", "RoleARN": "r"},
            "HttpEndpointDestinationConfiguration": {
                "EndpointConfiguration": {"Url": "https://k:v@h", "AccessKey": "k3y"},
                "RequestConfiguration": {"CommonAttributes": [{"AttributeName": "n", "AttributeValue": "v4lue"}]},
            },
            "SplunkDestinationConfiguration": {"HECToken": "t0ken"},
            "SnowflakeDestinationConfiguration": "k3y in a wrong place",
            "KinesisStreamSourceConfiguration": {"RoleARN": {"inner": "1nner"}, "KinesisStreamARN": null},
            "Unknown": "s3cret",
        });
        let shown = redact(shape::input_of(Operation::CreateDeliveryStream), &input).to_string();
        for secret in ["p4ssword", "k3y", "k:v", "v4lue", "t0ken", "1nner", "s3cret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(
            shown.contains(r#""RoleARN":"r""#)
                && shown.contains(r#""KinesisStreamARN":null"#)
                && shown.contains(r#""DeliveryStreamName":"s""#),
            "{shown}"
        );
    }
}
