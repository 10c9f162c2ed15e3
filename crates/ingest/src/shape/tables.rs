//! The tables: the inputs of the operations that this version offers.
//!
//! To offer more of the API, describe its members here and give them [`Support::Full`].

use serde_json::Value;

use super::Shape::{Blob, Boolean, Integer, List, Opaque, Structure as Struct};
use super::{Member, Pattern, Shape, Structure, Support, Text};
use crate::Operation;

/// The input structure of an operation; `None` for those that this version does not offer.
pub fn input_of(operation: Operation) -> Option<&'static Structure> {
    Some(match operation {
        Operation::CreateDeliveryStream => &CREATE_DELIVERY_STREAM,
        Operation::DeleteDeliveryStream => &DELETE_DELIVERY_STREAM,
        Operation::DescribeDeliveryStream => &DESCRIBE_DELIVERY_STREAM,
        Operation::ListDeliveryStreams => &LIST_DELIVERY_STREAMS,
        Operation::PutRecord => &PUT_RECORD,
        Operation::PutRecordBatch => &PUT_RECORD_BATCH,
        Operation::UpdateDestination => &UPDATE_DESTINATION,
        Operation::ListTagsForDeliveryStream
        | Operation::StartDeliveryStreamEncryption
        | Operation::StopDeliveryStreamEncryption
        | Operation::TagDeliveryStream
        | Operation::UntagDeliveryStream => return None,
    })
}

// How the tables below are written.

const fn required(name: &'static str, shape: Shape) -> Member {
    Member { name, required: true, shape, support: Support::Full }
}

const fn optional(name: &'static str, shape: Shape) -> Member {
    Member { name, required: false, shape, support: Support::Full }
}

const fn when(name: &'static str, shape: Shape, accepts: fn(&Value) -> bool) -> Member {
    Member { name, required: false, shape, support: Support::When(accepts) }
}

const fn refused(name: &'static str) -> Member {
    Member { name, required: false, shape: Opaque, support: Support::None }
}

const fn matching(min_len: usize, max_len: usize, pattern: &'static Pattern) -> Shape {
    Shape::Text(Text { min_len, max_len, pattern: Some(pattern), values: &[] })
}

const fn one_of(values: &'static [&'static str]) -> Shape {
    Shape::Text(Text { min_len: 0, max_len: usize::MAX, pattern: None, values })
}

// What makes a block inert. `Enabled` absent means off, except for format conversion, where it means on.

fn not_enabled(block: &Value) -> bool {
    block.get("Enabled") != Some(&Value::Bool(true))
}

fn off(block: &Value) -> bool {
    block.get("Enabled") == Some(&Value::Bool(false))
}

fn processes_nothing(block: &Value) -> bool {
    not_enabled(block) || block.get("Processors").and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn direct_put(stream_type: &Value) -> bool {
    stream_type == "DirectPut"
}

// Scalars.

static STREAM_NAME_PATTERN: Pattern = Pattern::new("[a-zA-Z0-9_.-]+");
static VERSION_PATTERN: Pattern = Pattern::new("[0-9]+");
static DESTINATION_ID_PATTERN: Pattern = Pattern::new("[a-zA-Z0-9-]+");
static ROLE_ARN_PATTERN: Pattern = Pattern::new(r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+");
static BUCKET_ARN_PATTERN: Pattern = Pattern::new(r"arn:.*:s3:::[\w\.\-]{1,255}");
static KMS_KEY_PATTERN: Pattern =
    Pattern::new(r"arn:.*:kms:[a-zA-Z0-9\-]+:\d{12}:(key|alias)/[a-zA-Z_0-9+=,.@\-_/]+");
static ANY_PATTERN: Pattern = Pattern::new(".*");
static LOG_GROUP_PATTERN: Pattern = Pattern::new(r"[\.\-_/#A-Za-z0-9]*");
static LOG_STREAM_PATTERN: Pattern = Pattern::new("[^:*]*");
static FILE_EXTENSION_PATTERN: Pattern =
    Pattern::printed(r"^(|\.[0-9a-z!\-_.*'()]+)$", r"(|\.[0-9a-z!\-_.*'()]+)");
static TIME_ZONE_PATTERN: Pattern = Pattern::printed("^$|[a-zA-Z/_]+", "[a-zA-Z/_]*");
static NON_BLANK_PATTERN: Pattern = Pattern::printed(r"^(?!\s*$).+", r".*\S.*");

const STREAM_NAME: Shape = matching(1, 64, &STREAM_NAME_PATTERN);
const ROLE_ARN: Shape = matching(1, 512, &ROLE_ARN_PATTERN);
const BUCKET_ARN: Shape = matching(1, 2048, &BUCKET_ARN_PATTERN);
const PREFIX: Shape = matching(0, 1024, &ANY_PATTERN);
const COMPRESSION_FORMAT: Shape = one_of(&["ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"]);
const S3_BACKUP_MODE: Shape = one_of(&["Disabled", "Enabled"]);
const STREAM_TYPE: Shape = one_of(&["DirectPut", "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource"]);
const RECORD_DATA: Shape = Blob { max_len: 1_024_000 };

// Operations.

static PUT_RECORD: Structure = Structure {
    name: "PutRecordInput",
    members: &[required("DeliveryStreamName", STREAM_NAME), required("Record", Struct(&RECORD))],
};

static PUT_RECORD_BATCH: Structure = Structure {
    name: "PutRecordBatchInput",
    members: &[
        required("DeliveryStreamName", STREAM_NAME),
        required("Records", List { element: &Struct(&RECORD), min_len: 1, max_len: 500 }),
    ],
};

static RECORD: Structure = Structure { name: "Record", members: &[required("Data", RECORD_DATA)] };

static CREATE_DELIVERY_STREAM: Structure = Structure {
    name: "CreateDeliveryStreamInput",
    members: &[
        required("DeliveryStreamName", STREAM_NAME),
        when("DeliveryStreamType", STREAM_TYPE, direct_put),
        optional("DirectPutSourceConfiguration", Struct(&DIRECT_PUT_SOURCE)),
        refused("KinesisStreamSourceConfiguration"),
        refused("DeliveryStreamEncryptionConfigurationInput"),
        optional("S3DestinationConfiguration", Struct(&S3_CONFIGURATION)),
        optional("ExtendedS3DestinationConfiguration", Struct(&EXTENDED_S3_CONFIGURATION)),
        refused("RedshiftDestinationConfiguration"),
        refused("ElasticsearchDestinationConfiguration"),
        refused("AmazonopensearchserviceDestinationConfiguration"),
        refused("SplunkDestinationConfiguration"),
        refused("HttpEndpointDestinationConfiguration"),
        Member {
            name: "Tags",
            required: false,
            shape: List { element: &Opaque, min_len: 1, max_len: 50 },
            support: Support::None,
        },
        refused("AmazonOpenSearchServerlessDestinationConfiguration"),
        refused("MSKSourceConfiguration"),
        refused("SnowflakeDestinationConfiguration"),
        refused("IcebergDestinationConfiguration"),
        refused("DatabaseSourceConfiguration"),
    ],
};

static DELETE_DELIVERY_STREAM: Structure = Structure {
    name: "DeleteDeliveryStreamInput",
    members: &[required("DeliveryStreamName", STREAM_NAME), optional("AllowForceDelete", Boolean)],
};

static DESCRIBE_DELIVERY_STREAM: Structure = Structure {
    name: "DescribeDeliveryStreamInput",
    members: &[
        required("DeliveryStreamName", STREAM_NAME),
        optional("Limit", Integer { min: 1, max: 10_000 }),
        optional("ExclusiveStartDestinationId", matching(1, 100, &DESTINATION_ID_PATTERN)),
    ],
};

static LIST_DELIVERY_STREAMS: Structure = Structure {
    name: "ListDeliveryStreamsInput",
    members: &[
        optional("Limit", Integer { min: 1, max: 10_000 }),
        optional("DeliveryStreamType", STREAM_TYPE),
        optional("ExclusiveStartDeliveryStreamName", STREAM_NAME),
    ],
};

static UPDATE_DESTINATION: Structure = Structure {
    name: "UpdateDestinationInput",
    members: &[
        required("DeliveryStreamName", STREAM_NAME),
        required("CurrentDeliveryStreamVersionId", matching(1, 50, &VERSION_PATTERN)),
        required("DestinationId", matching(1, 100, &DESTINATION_ID_PATTERN)),
        optional("S3DestinationUpdate", Struct(&S3_UPDATE)),
        optional("ExtendedS3DestinationUpdate", Struct(&EXTENDED_S3_UPDATE)),
        refused("RedshiftDestinationUpdate"),
        refused("ElasticsearchDestinationUpdate"),
        refused("AmazonopensearchserviceDestinationUpdate"),
        refused("SplunkDestinationUpdate"),
        refused("HttpEndpointDestinationUpdate"),
        refused("AmazonOpenSearchServerlessDestinationUpdate"),
        refused("SnowflakeDestinationUpdate"),
        refused("IcebergDestinationUpdate"),
    ],
};

// Structures.

static DIRECT_PUT_SOURCE: Structure = Structure {
    name: "DirectPutSourceConfiguration",
    members: &[required("ThroughputHintInMBs", Integer { min: 1, max: 100 })],
};

static S3_CONFIGURATION: Structure = Structure {
    name: "S3DestinationConfiguration",
    members: &[
        required("RoleARN", ROLE_ARN),
        required("BucketARN", BUCKET_ARN),
        optional("Prefix", PREFIX),
        optional("ErrorOutputPrefix", PREFIX),
        optional("BufferingHints", Struct(&BUFFERING_HINTS)),
        optional("CompressionFormat", COMPRESSION_FORMAT),
        optional("EncryptionConfiguration", Struct(&ENCRYPTION)),
        when("CloudWatchLoggingOptions", Struct(&CLOUD_WATCH_LOGGING), not_enabled),
    ],
};

static S3_UPDATE: Structure = Structure {
    name: "S3DestinationUpdate",
    members: &[
        optional("RoleARN", ROLE_ARN),
        optional("BucketARN", BUCKET_ARN),
        optional("Prefix", PREFIX),
        optional("ErrorOutputPrefix", PREFIX),
        optional("BufferingHints", Struct(&BUFFERING_HINTS)),
        optional("CompressionFormat", COMPRESSION_FORMAT),
        optional("EncryptionConfiguration", Struct(&ENCRYPTION)),
        when("CloudWatchLoggingOptions", Struct(&CLOUD_WATCH_LOGGING), not_enabled),
    ],
};

static EXTENDED_S3_CONFIGURATION: Structure = Structure {
    name: "ExtendedS3DestinationConfiguration",
    members: &[
        required("RoleARN", ROLE_ARN),
        required("BucketARN", BUCKET_ARN),
        optional("Prefix", PREFIX),
        optional("ErrorOutputPrefix", PREFIX),
        optional("BufferingHints", Struct(&BUFFERING_HINTS)),
        optional("CompressionFormat", COMPRESSION_FORMAT),
        optional("EncryptionConfiguration", Struct(&ENCRYPTION)),
        when("CloudWatchLoggingOptions", Struct(&CLOUD_WATCH_LOGGING), not_enabled),
        when("ProcessingConfiguration", Struct(&PROCESSING), processes_nothing),
        optional("S3BackupMode", S3_BACKUP_MODE),
        optional("S3BackupConfiguration", Struct(&S3_CONFIGURATION)),
        when("DataFormatConversionConfiguration", Struct(&FORMAT_CONVERSION), off),
        when("DynamicPartitioningConfiguration", Struct(&DYNAMIC_PARTITIONING), not_enabled),
        optional("FileExtension", matching(0, 128, &FILE_EXTENSION_PATTERN)),
        optional("CustomTimeZone", matching(0, 50, &TIME_ZONE_PATTERN)),
    ],
};

static EXTENDED_S3_UPDATE: Structure = Structure {
    name: "ExtendedS3DestinationUpdate",
    members: &[
        optional("RoleARN", ROLE_ARN),
        optional("BucketARN", BUCKET_ARN),
        optional("Prefix", PREFIX),
        optional("ErrorOutputPrefix", PREFIX),
        optional("BufferingHints", Struct(&BUFFERING_HINTS)),
        optional("CompressionFormat", COMPRESSION_FORMAT),
        optional("EncryptionConfiguration", Struct(&ENCRYPTION)),
        when("CloudWatchLoggingOptions", Struct(&CLOUD_WATCH_LOGGING), not_enabled),
        when("ProcessingConfiguration", Struct(&PROCESSING), processes_nothing),
        optional("S3BackupMode", S3_BACKUP_MODE),
        optional("S3BackupUpdate", Struct(&S3_UPDATE)),
        when("DataFormatConversionConfiguration", Struct(&FORMAT_CONVERSION), off),
        when("DynamicPartitioningConfiguration", Struct(&DYNAMIC_PARTITIONING), not_enabled),
        optional("FileExtension", matching(0, 128, &FILE_EXTENSION_PATTERN)),
        optional("CustomTimeZone", matching(0, 50, &TIME_ZONE_PATTERN)),
    ],
};

static BUFFERING_HINTS: Structure = Structure {
    name: "BufferingHints",
    members: &[
        optional("SizeInMBs", Integer { min: 1, max: 128 }),
        optional("IntervalInSeconds", Integer { min: 0, max: 900 }),
    ],
};

static ENCRYPTION: Structure = Structure {
    name: "EncryptionConfiguration",
    members: &[
        optional("NoEncryptionConfig", one_of(&["NoEncryption"])),
        optional("KMSEncryptionConfig", Struct(&KMS_ENCRYPTION)),
    ],
};

static KMS_ENCRYPTION: Structure = Structure {
    name: "KMSEncryptionConfig",
    members: &[required("AWSKMSKeyARN", matching(1, 512, &KMS_KEY_PATTERN))],
};

static CLOUD_WATCH_LOGGING: Structure = Structure {
    name: "CloudWatchLoggingOptions",
    members: &[
        optional("Enabled", Boolean),
        optional("LogGroupName", matching(0, 512, &LOG_GROUP_PATTERN)),
        optional("LogStreamName", matching(0, 512, &LOG_STREAM_PATTERN)),
    ],
};

static PROCESSING: Structure = Structure {
    name: "ProcessingConfiguration",
    members: &[
        optional("Enabled", Boolean),
        optional("Processors", List { element: &Struct(&PROCESSOR), min_len: 0, max_len: usize::MAX }),
    ],
};

static PROCESSOR: Structure = Structure {
    name: "Processor",
    members: &[
        required(
            "Type",
            one_of(&[
                "Decompression",
                "Lambda",
                "RecordDeAggregation",
                "MetadataExtraction",
                "AppendDelimiterToRecord",
                "CloudWatchLogProcessing",
            ]),
        ),
        optional(
            "Parameters",
            List { element: &Struct(&PROCESSOR_PARAMETER), min_len: 0, max_len: usize::MAX },
        ),
    ],
};

static PROCESSOR_PARAMETER: Structure = Structure {
    name: "ProcessorParameter",
    members: &[
        required(
            "ParameterName",
            one_of(&[
                "DataMessageExtraction",
                "NumberOfRetries",
                "Delimiter",
                "RoleArn",
                "JsonParsingEngine",
                "SubRecordType",
                "MetadataExtractionQuery",
                "BufferIntervalInSeconds",
                "LambdaArn",
                "BufferSizeInMBs",
                "CompressionFormat",
            ]),
        ),
        required("ParameterValue", matching(1, 5120, &NON_BLANK_PATTERN)),
    ],
};

static FORMAT_CONVERSION: Structure = Structure {
    name: "DataFormatConversionConfiguration",
    members: &[
        refused("SchemaConfiguration"),
        refused("InputFormatConfiguration"),
        refused("OutputFormatConfiguration"),
        optional("Enabled", Boolean),
    ],
};

static DYNAMIC_PARTITIONING: Structure = Structure {
    name: "DynamicPartitioningConfiguration",
    members: &[optional("RetryOptions", Struct(&RETRY_OPTIONS)), optional("Enabled", Boolean)],
};

static RETRY_OPTIONS: Structure = Structure {
    name: "RetryOptions",
    members: &[optional("DurationInSeconds", Integer { min: 0, max: 7200 })],
};
