//! AWS's rules that span several members, which the tables cannot say, in AWS's words.
//!
//! They hold for a whole configuration: that of a new stream, or what an update has made of one. Rules on prefixes are
//! with those who evaluate them.

use serde_json::{Map, Value};

use super::processing;
use crate::shape::{enabled, text};
use crate::{ApiError, Destination, DestinationKind, EncryptionInput, KeyType};

type Members = Map<String, Value>;
type Checked = Result<(), ApiError>;

pub(super) fn refuse(message: impl Into<std::borrow::Cow<'static, str>>) -> Checked {
    Err(ApiError::invalid_argument(message))
}

/// Refuses with `message` unless `good`.
pub(super) fn require(good: bool, message: &'static str) -> Checked {
    if good { Ok(()) } else { refuse(message) }
}

pub(super) fn block<'a>(members: &'a Members, name: &str) -> Option<&'a Members> {
    members.get(name).and_then(Value::as_object)
}

/// Checks what a stream reads from against its type.
pub(super) fn check_source(members: &Members) -> Checked {
    let given = |name: &str| members.contains_key(name);
    match text(members, "DeliveryStreamType") {
        "KinesisStreamAsSource" => require(
            given("KinesisStreamSourceConfiguration"),
            "KinesisSourceStreamConfig is mandatory for KinesisStreamAsSource stream type.",
        ),
        "MSKAsSource" => require(
            given("MSKSourceConfiguration"),
            "MSKSourceConfig is mandatory for MSK as Source stream type.",
        ),
        "DatabaseAsSource" => require(
            given("IcebergDestinationConfiguration"),
            "IcebergDestinationConfiguration must be specified for Database as Source.",
        ),
        // A Kinesis source of a `DirectPut` stream is passed over, as the service does (moto refuses it).
        _ => Ok(()),
    }
}

/// Checks a key's name against its type.
pub(super) fn check_encryption(input: &EncryptionInput) -> Checked {
    match (input.key_type, &input.key_arn) {
        (KeyType::CustomerManagedCmk, None) => {
            refuse("KeyARN has to be specified when KeyType is CUSTOMER_MANAGED_CMK")
        }
        (KeyType::AwsOwnedCmk, Some(_)) => refuse("KeyARN cannot be specified when KeyType is AWS_OWNED_CMK"),
        _ => Ok(()),
    }
}

/// Checks a whole destination.
///
/// # Errors
/// `InvalidArgumentException`.
pub fn check_destination(destination: &Destination) -> Result<(), ApiError> {
    let members = &destination.configuration;
    if let Some(processing) = block(members, "ProcessingConfiguration") {
        processing::check(processing)?;
    }
    check_logging(members)?;
    check_secret(members)?;
    match destination.kind {
        DestinationKind::S3 | DestinationKind::ExtendedS3 => return check_s3(members),
        DestinationKind::Redshift => check_redshift(members)?,
        DestinationKind::Elasticsearch => check_cluster(members)?,
        DestinationKind::Amazonopensearchservice => {
            check_cluster(members)?;
            require(
                text(members, "TypeName").is_empty(),
                "Types are deprecated in Elasticsearch version 7+ and all OpenSearch versions. TypeName must be empty.",
            )?;
        }
        DestinationKind::AmazonOpenSearchServerless => require(
            members.contains_key("CollectionEndpoint"),
            "Must specify collection endpoint for delivery to OpenSearch serverless.",
        )?,
        DestinationKind::Splunk => check_splunk(members)?,
        DestinationKind::HttpEndpoint => check_attributes(members)?,
        DestinationKind::Snowflake => check_snowflake(members)?,
        DestinationKind::Iceberg => check_iceberg(members)?,
    }
    block(members, "S3Configuration").map_or(Ok(()), check_s3)
}

fn check_logging(members: &Members) -> Checked {
    let Some(logging) = block(members, "CloudWatchLoggingOptions").filter(|logging| enabled(logging)) else {
        return Ok(());
    };
    require(
        !text(logging, "LogGroupName").is_empty(),
        "CloudWatch Log Group Name is required if CloudWatch Logging is enabled",
    )?;
    require(
        !text(logging, "LogStreamName").is_empty(),
        "CloudWatch Log Stream Name is required if CloudWatch Logging is enabled",
    )
}

fn check_secret(members: &Members) -> Checked {
    match block(members, "SecretsManagerConfiguration") {
        Some(secret) if enabled(secret) => {
            require(secret.contains_key("SecretARN"), "Invalid secret ARN: null")
        }
        _ => Ok(()),
    }
}

fn uses_secret(members: &Members) -> bool {
    block(members, "SecretsManagerConfiguration").is_some_and(enabled)
}

fn check_s3(members: &Members) -> Checked {
    if let Some(hints) = block(members, "BufferingHints") {
        require(
            hints.contains_key("SizeInMBs") == hints.contains_key("IntervalInSeconds"),
            "BufferingHints must specify both SizeInMBs and IntervalInSeconds, or neither.",
        )?;
    }
    if let Some(encryption) = block(members, "EncryptionConfiguration") {
        require(
            encryption.contains_key("NoEncryptionConfig") != encryption.contains_key("KMSEncryptionConfig"),
            "Exactly one of NoEncryptionConfig or KMSEncryptionConfig must be specified",
        )?;
    }
    check_logging(members)?;
    processing::check_conversion(members)?;
    processing::check_partitioning(members)?;
    check_backup(members)
}

fn check_backup(members: &Members) -> Checked {
    match block(members, "S3BackupConfiguration") {
        Some(backup) => check_s3(backup),
        None => require(
            text(members, "S3BackupMode") != "Enabled",
            "S3 backup destination configuration is required when enabling S3 backup.",
        ),
    }
}

fn check_redshift(members: &Members) -> Checked {
    require(
        members.contains_key("Password") || uses_secret(members),
        "Redshift Database Password is required for Redshift Destination",
    )?;
    if let Some(s3) = block(members, "S3Configuration") {
        require(
            matches!(text(s3, "CompressionFormat"), "" | "UNCOMPRESSED" | "GZIP"),
            "Only the following compression formats are allowed when using Redshift: [UNCOMPRESSED, GZIP]",
        )?;
        let literal = !text(s3, "Prefix").contains("!{") && text(s3, "ErrorOutputPrefix").is_empty();
        require(
            literal,
            "Prefix Expressions or ErrorOutputPrefix is currently not supported for this destination",
        )?;
    }
    check_backup(members)
}

fn check_cluster(members: &Members) -> Checked {
    match (members.contains_key("ClusterEndpoint"), members.contains_key("DomainARN")) {
        (false, false) => refuse("Provide either the Elasticsearch cluster endpoint or domain arn."),
        (true, true) => refuse(
            "Cannot provide both Elasticsearch cluster endpoint and domain ARN. Provide either the cluster endpoint or \
             domain arn.",
        ),
        _ => Ok(()),
    }
}

/// AWS takes `https` only; a Splunk of one's own may speak plain HTTP.
fn check_splunk(members: &Members) -> Checked {
    let endpoint = text(members, "HECEndpoint");
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let good =
        host.and_then(|host| host.trim_end_matches('/').rsplit_once(':')).is_some_and(|(domain, port)| {
            !domain.is_empty() && !domain.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    require(good, "Invalid HECEndpoint. Supported endpoint format is https://<domain>:<port>.")
}

fn check_attributes(members: &Members) -> Checked {
    let request = block(members, "RequestConfiguration");
    let attributes = request.and_then(|request| request.get("CommonAttributes")?.as_array());
    let mut seen = Vec::new();
    for name in
        attributes.into_iter().flatten().filter_map(|attribute| attribute.get("AttributeName")?.as_str())
    {
        if seen.contains(&name) {
            return refuse(format!("Http Endpoint Common Attributes have duplicate name {name}"));
        }
        seen.push(name);
    }
    Ok(())
}

fn check_snowflake(members: &Members) -> Checked {
    if !uses_secret(members) {
        require(members.contains_key("PrivateKey"), "PrivateKey must be provided.")?;
        require(members.contains_key("User"), "User must be provided.")?;
    }
    if let Some(role) = block(members, "SnowflakeRoleConfiguration").filter(|role| enabled(role)) {
        require(
            role.contains_key("SnowflakeRole"),
            "Must provide SnowflakeRole when SnowflakeRoleConfiguration is enabled.",
        )?;
    }
    let (content, metadata) =
        (members.contains_key("ContentColumnName"), members.contains_key("MetaDataColumnName"));
    match text(members, "DataLoadingOption") {
        "VARIANT_CONTENT_MAPPING" => Ok(()),
        "VARIANT_CONTENT_AND_METADATA_MAPPING" => require(
            content && metadata,
            "Must provide ContentColumnName and MetadataColumnName when Data Loading Option is \
             VARIANT_CONTENT_AND_METADATA_MAPPING.",
        ),
        _ => {
            let given =
                if content { Some("ContentColumnName") } else { metadata.then_some("MetaDataColumnName") };
            given.map_or(Ok(()), |given| {
                refuse(format!(
                    "Can't configure {given} when Data Loading Option is not VARIANT_CONTENT_MAPPING or \
                     VARIANT_CONTENT_AND_METADATA_MAPPING"
                ))
            })
        }
    }
}

fn check_iceberg(members: &Members) -> Checked {
    require(
        text(members, "S3BackupMode") != "AllData",
        "S3BackupMode.AllData is not supported for Iceberg as destination.",
    )?;
    let routes = block(members, "ProcessingConfiguration").is_some_and(processing::routes);
    let tables =
        members.get("DestinationTableConfigurationList").and_then(Value::as_array).map_or(0, Vec::len);
    require(
        routes || tables == 1,
        "A single default destination table configuration must be provided when both Lambda and MetadataExtraction \
         processors are not provided",
    )
}
