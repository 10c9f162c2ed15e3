//! Delivery streams of `terraform show -json`: the provider's snake case and its own blocks, as members of the API.

use serde_json::{Map, Value, json};

use super::{Definition, members};

const RESOURCE_TYPE: &str = "aws_kinesis_firehose_delivery_stream";

/// What the provider calls otherwise than the API in snake case would be.
const RENAMED: [(&str, &str); 23] = [
    ("name", "DeliveryStreamName"),
    ("extended_s3_configuration", "ExtendedS3DestinationConfiguration"),
    ("s3_configuration", "S3DestinationConfiguration"),
    ("redshift_configuration", "RedshiftDestinationConfiguration"),
    ("elasticsearch_configuration", "ElasticsearchDestinationConfiguration"),
    ("opensearch_configuration", "AmazonopensearchserviceDestinationConfiguration"),
    ("opensearchserverless_configuration", "AmazonOpenSearchServerlessDestinationConfiguration"),
    ("splunk_configuration", "SplunkDestinationConfiguration"),
    ("http_endpoint_configuration", "HttpEndpointDestinationConfiguration"),
    ("snowflake_configuration", "SnowflakeDestinationConfiguration"),
    ("iceberg_configuration", "IcebergDestinationConfiguration"),
    ("kinesis_source_configuration", "KinesisStreamSourceConfiguration"),
    ("msk_source_configuration", "MSKSourceConfiguration"),
    ("server_side_encryption", "DeliveryStreamEncryptionConfigurationInput"),
    ("cloudwatch_logging_options", "CloudWatchLoggingOptions"),
    ("buffering_size", "SizeInMBs"),
    ("buffering_interval", "IntervalInSeconds"),
    // Before version 5 of the provider.
    ("buffer_size", "SizeInMBs"),
    ("buffer_interval", "IntervalInSeconds"),
    ("kms_key_arn", "AWSKMSKeyARN"),
    ("hec_acknowledgment_timeout", "HECAcknowledgmentTimeoutInSeconds"),
    ("vpc_config", "VpcConfiguration"),
    ("cluster_jdbcurl", "ClusterJDBCURL"),
];

/// Members that Terraform computes or keeps for itself.
const OWN: [&str; 7] = ["arn", "id", "destination", "destination_id", "version_id", "tags_all", "timeouts"];

/// Parts of names that the API writes in capitals.
const CAPITALS: [&str; 6] = ["arn", "kms", "msk", "hec", "url", "aws"];

/// The delivery streams of a state or a plan.
///
/// # Errors
/// It is not what `terraform show -json` prints.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Definition>> {
    let document: Value = serde_json::from_str(text)?;
    // A plan says what will be; a state what is.
    let values = document.get("planned_values").or(document.get("values"));
    let Some(root) = values.and_then(|values| values.get("root_module")) else {
        let what = match document.get("serial") {
            Some(_) => "this is a state file as Terraform keeps it",
            None => "there is neither \"values\" nor \"planned_values\" in it",
        };
        anyhow::bail!("{what}; what is wanted is the output of: terraform show -json [PLAN]");
    };
    let mut found = Vec::new();
    module(root, &mut found);
    Ok(found)
}

fn module(module: &Value, found: &mut Vec<Definition>) {
    let list = |name: &str| module.get(name).and_then(Value::as_array).into_iter().flatten();
    let managed = |resource: &&Value| resource.get("mode").is_none_or(|mode| mode == "managed");
    for resource in list("resources").filter(managed) {
        if resource.get("type").is_some_and(|kind| kind == RESOURCE_TYPE) {
            found.push(stream(resource));
        }
    }
    list("child_modules").for_each(|child| self::module(child, found));
}

fn stream(resource: &Value) -> Definition {
    let origin = resource.get("address").and_then(Value::as_str).unwrap_or(RESOURCE_TYPE).to_owned();
    let values = members(resource.get("values"));
    let arn = values.get("arn").and_then(Value::as_str).unwrap_or_default();
    let region = arn.split(':').nth(3).map(str::to_owned);
    let given = values.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    let mut input = block(given.collect());
    if let Some(Value::Object(tags)) = input.remove("Tags") {
        let tags = tags.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value }));
        input.insert("Tags".to_owned(), tags.collect());
    }
    move_stores(&mut input);
    Definition { origin, region, input, remarks: Vec::new() }
}

/// Moves the bucket of an endpoint to where the API has it: the provider has one block for it and for a destination, which
/// stood beside the endpoint's before version 5.
fn move_stores(input: &mut Map<String, Value>) {
    const STORE: &str = "S3DestinationConfiguration";
    let is_endpoint = |name: &str| name.ends_with("DestinationConfiguration") && !name.contains("S3");
    let Some(name) = input.keys().find(|name| is_endpoint(name)).cloned() else { return };
    let beside = input.remove(STORE);
    if let Some(Value::Object(endpoint)) = input.get_mut(&name) {
        let store = endpoint.remove(STORE).or(beside);
        endpoint.extend(store.map(|store| ("S3Configuration".to_owned(), store)));
    }
}

/// A block's members under the API's names; what Terraform writes for "not set" is left out.
fn block(values: Map<String, Value>) -> Map<String, Value> {
    let mut block = Map::new();
    for (name, value) in values {
        let value = match name.as_str() {
            // Its keys are the user's own.
            "tags" => value,
            _ => self::value(value),
        };
        if !unset(&value) {
            block.insert(api_name(&name), value);
        }
    }
    regroup(&mut block);
    block
}

fn unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn value(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(block(members)),
        // Terraform writes a block that may stand once as a list of one.
        Value::Array(mut items) if items.len() == 1 && items[0].is_object() => self::value(items.remove(0)),
        Value::Array(items) => items.into_iter().map(self::value).collect(),
        other => other,
    }
}

/// Moves what the provider writes flat to where the API has it.
fn regroup(block: &mut Map<String, Value>) {
    for (name, inner, group) in [
        ("SizeInMBs", "SizeInMBs", "BufferingHints"),
        ("IntervalInSeconds", "IntervalInSeconds", "BufferingHints"),
        ("RetryDuration", "DurationInSeconds", "RetryOptions"),
        ("DataTableName", "DataTableName", "CopyCommand"),
        ("DataTableColumns", "DataTableColumns", "CopyCommand"),
        ("CopyOptions", "CopyOptions", "CopyCommand"),
    ] {
        if let Some(value) = block.remove(name) {
            let entry = block.entry(group).or_insert_with(|| json!({}));
            entry[inner] = value;
        }
    }
    if let Some(key) = block.remove("AWSKMSKeyARN") {
        let encryption = json!({ "KMSEncryptionConfig": { "AWSKMSKeyARN": key } });
        block.insert("EncryptionConfiguration".to_owned(), encryption);
    }
    // An endpoint and an attribute have names as a stream has.
    if block.contains_key("URL") {
        let own = [("URL", "Url"), ("AccessKey", "AccessKey"), ("DeliveryStreamName", "Name")];
        let endpoint = own.into_iter().filter_map(|(name, own)| Some((own.to_owned(), block.remove(name)?)));
        let endpoint: Map<String, Value> = endpoint.collect();
        block.insert("EndpointConfiguration".to_owned(), endpoint.into());
    } else if let (2, Some(value)) = (block.len(), block.get("Value").cloned())
        && let Some(name) = block.get("DeliveryStreamName").cloned()
    {
        *block = Map::from_iter([("AttributeName".to_owned(), name), ("AttributeValue".to_owned(), value)]);
    }
    // A list of one was taken for a block that may stand once; these may stand often.
    for name in ["Processors", "Parameters", "CommonAttributes"] {
        if let Some(single @ Value::Object(_)) = block.get_mut(name) {
            *single = json!([single.take()]);
        }
    }
}

/// The API's name: `role_arn` is `RoleARN`.
fn api_name(name: &str) -> String {
    if let Some((_, renamed)) = RENAMED.iter().find(|(own, _)| *own == name) {
        return (*renamed).to_owned();
    }
    let part = |part: &str| match CAPITALS.contains(&part) {
        true => part.to_ascii_uppercase(),
        false => part.get(..1).unwrap_or_default().to_ascii_uppercase() + part.get(1..).unwrap_or_default(),
    };
    name.split('_').map(part).collect()
}
