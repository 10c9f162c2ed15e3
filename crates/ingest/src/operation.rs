//! The operations of the Firehose API and how a request names them.

/// An operation of AWS's Firehose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the API's own operation of that name")]
pub enum Operation {
    CreateDeliveryStream,
    DeleteDeliveryStream,
    DescribeDeliveryStream,
    ListDeliveryStreams,
    ListTagsForDeliveryStream,
    PutRecord,
    PutRecordBatch,
    StartDeliveryStreamEncryption,
    StopDeliveryStreamEncryption,
    TagDeliveryStream,
    UntagDeliveryStream,
    UpdateDestination,
}

/// What precedes the operation's name in `X-Amz-Target`.
const TARGET_PREFIX: &str = "Firehose_20150804.";

impl Operation {
    /// All operations, in alphabetical order.
    pub const ALL: [Operation; 12] = [
        Operation::CreateDeliveryStream,
        Operation::DeleteDeliveryStream,
        Operation::DescribeDeliveryStream,
        Operation::ListDeliveryStreams,
        Operation::ListTagsForDeliveryStream,
        Operation::PutRecord,
        Operation::PutRecordBatch,
        Operation::StartDeliveryStreamEncryption,
        Operation::StopDeliveryStreamEncryption,
        Operation::TagDeliveryStream,
        Operation::UntagDeliveryStream,
        Operation::UpdateDestination,
    ];

    /// The operation that an `X-Amz-Target` header names.
    pub fn from_target(target: &str) -> Option<Self> {
        let name = target.strip_prefix(TARGET_PREFIX)?;
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// The operation's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Operation::CreateDeliveryStream => "CreateDeliveryStream",
            Operation::DeleteDeliveryStream => "DeleteDeliveryStream",
            Operation::DescribeDeliveryStream => "DescribeDeliveryStream",
            Operation::ListDeliveryStreams => "ListDeliveryStreams",
            Operation::ListTagsForDeliveryStream => "ListTagsForDeliveryStream",
            Operation::PutRecord => "PutRecord",
            Operation::PutRecordBatch => "PutRecordBatch",
            Operation::StartDeliveryStreamEncryption => "StartDeliveryStreamEncryption",
            Operation::StopDeliveryStreamEncryption => "StopDeliveryStreamEncryption",
            Operation::TagDeliveryStream => "TagDeliveryStream",
            Operation::UntagDeliveryStream => "UntagDeliveryStream",
            Operation::UpdateDestination => "UpdateDestination",
        }
    }

    /// Whether it stores records.
    pub fn is_put(self) -> bool {
        matches!(self, Operation::PutRecord | Operation::PutRecordBatch)
    }

    /// Whether it changes anything.
    pub fn changes(self) -> bool {
        !matches!(
            self,
            Operation::DescribeDeliveryStream
                | Operation::ListDeliveryStreams
                | Operation::ListTagsForDeliveryStream
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_target_and_nothing_else_is() {
        for operation in Operation::ALL {
            assert_eq!(
                Operation::from_target(&format!("{TARGET_PREFIX}{}", operation.name())),
                Some(operation)
            );
        }
        for target in
            ["", "PutRecord", "Kinesis_20131202.PutRecord", "Firehose_20150804.putRecord", TARGET_PREFIX]
        {
            assert_eq!(Operation::from_target(target), None, "{target}");
        }
    }
}
