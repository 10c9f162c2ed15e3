//! The control plane: validated JSON to the daemon's typed inputs.
//!
//! AWS's rules that span members ([`rules`], [`processing`]) come before what this version does not honour is refused:
//! a definition that AWS would not take is told so in AWS's words. A kind of destination that is not honoured at all is told
//! before its rules are asked, since nothing that its user mends would help.

mod processing;
mod rules;

use serde_json::{Map, Value, json};
use standpipe_model::StreamName;

pub use rules::check_destination;

use crate::service::{
    CreateDeliveryStream, DeleteDeliveryStream, DescribeDeliveryStream, EncryptionInput, KeyType,
    ListDeliveryStreams, ListTags, TAGS_MAX, Tags, UpdateDestination,
};
use crate::shape::{self, Structure};
use crate::{ApiError, Destination, DestinationKind, Operation, Service};

/// How many names `ListDeliveryStreams` returns unless told otherwise.
const LIST_LIMIT: u64 = 10;

/// Runs an operation other than a put on its checked input; returns the answer's body.
pub(crate) async fn run(
    service: &dyn Service,
    operation: Operation,
    members: Map<String, Value>,
    account: &str,
) -> Result<String, ApiError> {
    let input = Input { members, structure: shape::input_of(operation), account };
    let answer = match operation {
        Operation::CreateDeliveryStream => {
            json!({ "DeliveryStreamARN": service.create_delivery_stream(input.create()?).await? })
        }
        Operation::DescribeDeliveryStream => {
            json!({ "DeliveryStreamDescription": service.describe_delivery_stream(input.describe()?).await? })
        }
        Operation::ListDeliveryStreams => {
            let list = service.list_delivery_streams(input.list()).await?;
            let names: Vec<&str> = list.names.iter().map(StreamName::as_str).collect();
            json!({ "DeliveryStreamNames": names, "HasMoreDeliveryStreams": list.has_more })
        }
        Operation::ListTagsForDeliveryStream => {
            let list = service.list_tags_for_delivery_stream(input.list_tags()?).await?;
            let tags: Vec<Value> =
                list.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
            json!({ "Tags": tags, "HasMoreTags": list.has_more })
        }
        Operation::DeleteDeliveryStream => empty(service.delete_delivery_stream(input.delete()?).await?),
        Operation::UpdateDestination => empty(service.update_destination(input.update()?).await?),
        Operation::TagDeliveryStream => {
            empty(service.tag_delivery_stream(input.stream()?, input.tags()).await?)
        }
        Operation::UntagDeliveryStream => {
            empty(service.untag_delivery_stream(input.stream()?, input.tag_keys()).await?)
        }
        Operation::StartDeliveryStreamEncryption => {
            // Without a configuration it is the service's own key.
            let owned = EncryptionInput { key_type: KeyType::AwsOwnedCmk, key_arn: None };
            let wanted = input.encryption()?.unwrap_or(owned);
            empty(service.start_delivery_stream_encryption(input.stream()?, wanted).await?)
        }
        Operation::StopDeliveryStreamEncryption => {
            empty(service.stop_delivery_stream_encryption(input.stream()?).await?)
        }
        // Puts take another way.
        Operation::PutRecord | Operation::PutRecordBatch => return Err(ApiError::internal()),
    };
    Ok(answer.to_string())
}

/// The answer of an operation that says nothing.
fn empty((): ()) -> Value {
    json!({})
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
        rules::check_source(&self.members)?;
        let mut destination = self.destination("Configuration")?;
        self.refuse_kind(destination.kind)?;
        destination.size_objects();
        check_destination(&destination)?;
        self.refuse_unsupported(&destination)?;
        let name = self.text("DeliveryStreamName").unwrap_or_default();
        let stream =
            StreamName::parse(name).map_err(|error| ApiError::invalid_argument(error.to_string()))?;
        let source = self.members.get("DirectPutSourceConfiguration");
        let throughput_hint_in_mbs = source.and_then(|source| source.get("ThroughputHintInMBs")?.as_u64());
        let (encryption, tags) = (self.encryption()?, self.tags());
        Ok(CreateDeliveryStream { stream, throughput_hint_in_mbs, destination, encryption, tags })
    }

    fn describe(self) -> Result<DescribeDeliveryStream, ApiError> {
        Ok(DescribeDeliveryStream {
            stream: self.stream()?,
            exclusive_start_destination_id: self.owned("ExclusiveStartDestinationId"),
            limit: self.number("Limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX),
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
        Ok(DeleteDeliveryStream { stream: self.stream()? })
    }

    fn list_tags(self) -> Result<ListTags, ApiError> {
        Ok(ListTags {
            stream: self.stream()?,
            exclusive_start: self.owned("ExclusiveStartTagKey"),
            limit: self
                .number("Limit")
                .map_or(TAGS_MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        })
    }

    /// The tags given; of the same key twice the last counts.
    fn tags(&self) -> Tags {
        let tags = self.members.get("Tags").and_then(Value::as_array).into_iter().flatten();
        let text =
            |tag: &Value, name: &str| tag.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect()
    }

    fn tag_keys(&self) -> Vec<String> {
        let keys = self.members.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
        keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
    }

    fn encryption(&self) -> Result<Option<EncryptionInput>, ApiError> {
        let Some(given) = self.members.get("DeliveryStreamEncryptionConfigurationInput") else {
            return Ok(None);
        };
        let text = |name: &str| given.get(name).and_then(Value::as_str);
        let key_type = match text("KeyType") {
            Some("CUSTOMER_MANAGED_CMK") => KeyType::CustomerManagedCmk,
            _ => KeyType::AwsOwnedCmk,
        };
        let input = EncryptionInput { key_type, key_arn: text("KeyARN").map(str::to_owned) };
        rules::check_encryption(&input)?;
        Ok(Some(input))
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

    /// Takes the one destination, whose member's name is `…Destination` and `suffix`.
    fn destination(&mut self, suffix: &str) -> Result<Destination, ApiError> {
        let member = |kind: &DestinationKind| format!("{}Destination{suffix}", kind.name());
        let given = DestinationKind::ALL.iter().filter(|kind| self.members.contains_key(&member(kind)));
        let given: Vec<DestinationKind> = given.copied().collect();
        if let [kind] = given.as_slice()
            && let Some(Value::Object(configuration)) = self.members.remove(&member(kind))
        {
            return Ok(Destination { kind: *kind, configuration });
        }
        Err(ApiError::invalid_argument("Exactly one destination configuration is supported for a Firehose"))
    }

    /// Refuses a kind of destination of which this version honours nothing.
    fn refuse_kind(&self, kind: DestinationKind) -> Result<(), ApiError> {
        let member = format!("{}DestinationConfiguration", kind.name());
        shape::unsupported(self.structure, &json!({ member: {} })).map_or(Ok(()), Err)
    }

    /// Refuses what this version does not honour, the destination that was taken out included.
    fn refuse_unsupported(&self, destination: &Destination) -> Result<(), ApiError> {
        let mut whole = self.members.clone();
        let member = format!("{}DestinationConfiguration", destination.kind.name());
        whole.insert(member, Value::Object(destination.configuration.clone()));
        shape::unsupported(self.structure, &Value::Object(whole)).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
