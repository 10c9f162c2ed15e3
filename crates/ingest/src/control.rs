//! The control plane: validated JSON to the daemon's typed inputs, and the rules that span members.

use serde_json::{Map, Value};
use standpipe_model::StreamName;

use crate::service::{
    CreateDeliveryStream, DeleteDeliveryStream, DescribeDeliveryStream, Destination, DestinationKind,
    ListDeliveryStreams, UpdateDestination,
};
use crate::shape::{self, Structure};
use crate::{ApiError, Operation, Service};

/// How many names `ListDeliveryStreams` returns unless told otherwise.
const LIST_LIMIT: u64 = 10;

/// Runs an operation other than a put on a JSON object; returns the answer's body.
pub(crate) async fn run(
    service: &dyn Service,
    operation: Operation,
    input: &Value,
    account: &str,
) -> Result<String, ApiError> {
    let Some(structure) = shape::input_of(operation) else {
        return Err(ApiError::invalid_argument(format!(
            "{} is not available in this version of standpipe.",
            operation.name()
        )));
    };
    let input = Input { members: shape::check(structure, input)?, structure, account };
    let done = || "{}".to_owned();
    match operation {
        Operation::CreateDeliveryStream => {
            let arn = service.create_delivery_stream(input.create()?).await?;
            Ok(serde_json::json!({ "DeliveryStreamARN": arn }).to_string())
        }
        Operation::DescribeDeliveryStream => {
            let description = service.describe_delivery_stream(input.describe()?).await?;
            Ok(serde_json::json!({ "DeliveryStreamDescription": description }).to_string())
        }
        Operation::ListDeliveryStreams => {
            let list = service.list_delivery_streams(input.list()).await?;
            let names: Vec<&str> = list.names.iter().map(StreamName::as_str).collect();
            let answer = serde_json::json!({
                "DeliveryStreamNames": names,
                "HasMoreDeliveryStreams": list.has_more,
            });
            Ok(answer.to_string())
        }
        Operation::DeleteDeliveryStream => {
            service.delete_delivery_stream(input.delete()?).await.map(|()| done())
        }
        Operation::UpdateDestination => service.update_destination(input.update()?).await.map(|()| done()),
        // Puts take another way, and the rest has no table.
        _ => Err(ApiError::internal()),
    }
}

/// An operation's checked input.
struct Input<'a> {
    structure: &'static Structure,
    members: Map<String, Value>,
    account: &'a str,
}

impl Input<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.members.get(name).and_then(Value::as_u64)
    }

    /// The stream that the operation is about. The API's rule has passed; only names that no stream can have here are
    /// left, such as `..`.
    fn stream(&self) -> Result<StreamName, ApiError> {
        let name = self.text("DeliveryStreamName").unwrap_or_default();
        StreamName::parse(name).map_err(|_| ApiError::stream_not_found(name, self.account))
    }

    fn create(mut self) -> Result<CreateDeliveryStream, ApiError> {
        let destination = self.destination("Configuration")?;
        check_s3_destination(&destination.configuration)?;
        let name = self.text("DeliveryStreamName").unwrap_or_default();
        let stream =
            StreamName::parse(name).map_err(|error| ApiError::invalid_argument(error.to_string()))?;
        let source = self.members.get("DirectPutSourceConfiguration");
        let throughput_hint_in_mbs = source.and_then(|source| source.get("ThroughputHintInMBs")?.as_u64());
        Ok(CreateDeliveryStream { stream, throughput_hint_in_mbs, destination })
    }

    fn describe(self) -> Result<DescribeDeliveryStream, ApiError> {
        Ok(DescribeDeliveryStream {
            stream: self.stream()?,
            limit: self.number("Limit"),
            exclusive_start_destination_id: self.owned("ExclusiveStartDestinationId"),
        })
    }

    fn list(self) -> ListDeliveryStreams {
        ListDeliveryStreams {
            limit: usize::try_from(self.number("Limit").unwrap_or(LIST_LIMIT)).unwrap_or(usize::MAX),
            stream_type: self.owned("DeliveryStreamType"),
            exclusive_start: self.owned("ExclusiveStartDeliveryStreamName"),
        }
    }

    fn delete(self) -> Result<DeleteDeliveryStream, ApiError> {
        let allow_force = self.members.get("AllowForceDelete").and_then(Value::as_bool).unwrap_or_default();
        Ok(DeleteDeliveryStream { stream: self.stream()?, allow_force })
    }

    fn update(mut self) -> Result<UpdateDestination, ApiError> {
        let update = self.destination("Update")?;
        Ok(UpdateDestination {
            stream: self.stream()?,
            current_version_id: self.owned("CurrentDeliveryStreamVersionId").unwrap_or_default(),
            destination_id: self.owned("DestinationId").unwrap_or_default(),
            update,
        })
    }

    /// The one destination, whose member's name is `…Destination` and `suffix`.
    fn destination(&mut self, suffix: &str) -> Result<Destination, ApiError> {
        let is_destination =
            |name: &str| name.strip_suffix(suffix).is_some_and(|name| name.ends_with("Destination"));
        if self.members.keys().filter(|name| is_destination(name)).count() != 1 {
            return Err(ApiError::invalid_argument(
                "Exactly one destination configuration is supported for a Firehose",
            ));
        }
        let input = Value::Object(std::mem::take(&mut self.members));
        if let Some(error) = shape::unsupported(self.structure, &input) {
            return Err(error);
        }
        if let Value::Object(members) = input {
            self.members = members;
        }
        for (kind, name) in
            [(DestinationKind::S3, "S3Destination"), (DestinationKind::ExtendedS3, "ExtendedS3Destination")]
        {
            if let Some(Value::Object(configuration)) = self.members.remove(&format!("{name}{suffix}")) {
                return Ok(Destination { kind, configuration });
            }
        }
        // The tables refuse every other destination before.
        Err(ApiError::internal())
    }
}

/// Checks the rules that span several members of a whole S3 or extended S3 destination: that of a new stream, or what
/// an update has made of one.
///
/// # Errors
/// `InvalidArgumentException`.
pub fn check_s3_destination(configuration: &Map<String, Value>) -> Result<(), ApiError> {
    let block = |name: &str| configuration.get(name).and_then(Value::as_object);
    if let Some(hints) = block("BufferingHints")
        && hints.contains_key("SizeInMBs") != hints.contains_key("IntervalInSeconds")
    {
        return Err(ApiError::invalid_argument(
            "BufferingHints must specify both SizeInMBs and IntervalInSeconds, or neither.",
        ));
    }
    if let Some(encryption) = block("EncryptionConfiguration")
        && encryption.contains_key("NoEncryptionConfig") == encryption.contains_key("KMSEncryptionConfig")
    {
        return Err(ApiError::invalid_argument(
            "Exactly one of NoEncryptionConfig or KMSEncryptionConfig must be specified",
        ));
    }
    match block("S3BackupConfiguration") {
        Some(backup) => check_s3_destination(backup),
        None if configuration.get("S3BackupMode").is_some_and(|mode| mode == "Enabled") => {
            Err(ApiError::invalid_argument(
                "S3 backup destination configuration is required when enabling S3 backup.",
            ))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
