//! Descriptions of delivery streams, turned back into the input that would create them.

use serde_json::{Map, Value};

use super::{Definition, members};

/// What a description calls otherwise than the input of `CreateDeliveryStream`; other names are the same.
const RENAMED: [(&str, &str); 3] = [
    ("S3BackupDescription", "S3BackupConfiguration"),
    ("S3DestinationDescription", "S3Configuration"),
    ("VpcConfigurationDescription", "VpcConfiguration"),
];

/// The delivery streams of one description or several: one behind the other, or in a list.
///
/// # Errors
/// It is not JSON, or not a description.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Definition>> {
    let mut found = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match document? {
            Value::Array(documents) => {
                documents.iter().try_for_each(|document| definition(document).map(|one| found.push(one)))?;
            }
            document => found.push(definition(&document)?),
        }
    }
    Ok(found)
}

fn definition(document: &Value) -> anyhow::Result<Definition> {
    let described = document.get("DeliveryStreamDescription").unwrap_or(document);
    let input = create_input(described).ok_or_else(|| {
        anyhow::anyhow!(
            "there is no DeliveryStreamName or no destination: it is not the answer to DescribeDeliveryStream"
        )
    })?;
    let name = described.get("DeliveryStreamName").and_then(Value::as_str).unwrap_or_default();
    let arn = described.get("DeliveryStreamARN").and_then(Value::as_str).unwrap_or_default();
    let region = arn.split(':').nth(3).map(str::to_owned);
    Ok(Definition { origin: format!("the stream {name}"), region, input, remarks: Vec::new() })
}

/// The input of `CreateDeliveryStream` that leads to what `DescribeDeliveryStream` said; `None` where it said neither
/// a name nor a destination.
pub(in crate::cli) fn create_input(described: &Value) -> Option<Map<String, Value>> {
    let mut input = Map::new();
    for name in ["DeliveryStreamName", "DeliveryStreamType", "Tags"] {
        if let Some(value) = described.get(name) {
            input.insert(name.to_owned(), value.clone());
        }
    }
    input.get("DeliveryStreamName")?;
    for (name, value) in members(described.get("Source")) {
        input.insert(name.replace("SourceDescription", "SourceConfiguration"), value);
    }
    let encryption = described.get("DeliveryStreamEncryptionConfiguration");
    if let Some(encryption) = encryption.filter(|encryption| encryption["Status"] == "ENABLED") {
        let keep = |name: &str| Some((name.to_owned(), encryption.get(name)?.clone()));
        let kept: Map<String, Value> = ["KeyType", "KeyARN"].into_iter().filter_map(keep).collect();
        input.insert("DeliveryStreamEncryptionConfigurationInput".to_owned(), Value::Object(kept));
    }
    let destination = members(described.get("Destinations")?.get(0));
    // An extended S3 destination is described twice, the second time without what only it has.
    let both = destination.contains_key("ExtendedS3DestinationDescription");
    let kinds = destination.into_iter().filter(|(name, _)| name.ends_with("DestinationDescription"));
    for (name, description) in kinds.filter(|(name, _)| !both || name.starts_with("Extended")) {
        input.insert(name.replace("Description", "Configuration"), configuration(description));
    }
    Some(input)
}

fn configuration(description: Value) -> Value {
    match description {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| {
                    let renamed = RENAMED.iter().find(|(described, _)| *described == name);
                    (renamed.map_or(name, |(_, wanted)| (*wanted).to_owned()), configuration(value))
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(configuration).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_that_says_too_little_is_refused() {
        for text in ["{}", r#"{"DeliveryStreamName":"a"}"#, r#"[{"DeliveryStreamDescription":{}}]"#] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn other_destinations_become_their_input_too() {
        let described = json!({
            "DeliveryStreamName": "a",
            "DeliveryStreamEncryptionConfiguration": {"Status": "ENABLED", "KeyType": "AWS_OWNED_CMK"},
            "Source": {"KinesisStreamSourceDescription": {"KinesisStreamARN": "k"}},
            "Destinations": [{"DestinationId": "destinationId-000000000001", "SplunkDestinationDescription": {
                "HECEndpoint": "https://x", "S3DestinationDescription": {"BucketARN": "b"}}}],
        });
        let expected = json!({
            "DeliveryStreamName": "a",
            "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "AWS_OWNED_CMK"},
            "KinesisStreamSourceConfiguration": {"KinesisStreamARN": "k"},
            "SplunkDestinationConfiguration": {"HECEndpoint": "https://x", "S3Configuration": {"BucketARN": "b"}},
        });
        assert_eq!(create_input(&described).map(Value::Object), Some(expected));
    }
}
