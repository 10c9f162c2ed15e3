//! The strings, numbers, lists and maps of the API's model, under its own names, in alphabetical order.
//!
//! An enumeration lists its values in the order in which AWS's front end prints them, which is not always the model's.

use super::*;

pub(crate) const AWSKMSKeyARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:kms:[a-zA-Z0-9\-]+:\d{12}:(key|alias)/[a-zA-Z_0-9+=,.@\-_/]+"));
pub(crate) const AWSKMSKeyARNForSSE: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:kms:[a-zA-Z0-9\-]+:\d{12}:key/[a-zA-Z_0-9+=,.@\-_/]+"));
pub(crate) const AmazonOpenSearchServerlessBufferingIntervalInSeconds: Shape = Integer { min: 0, max: 900 };
pub(crate) const AmazonOpenSearchServerlessBufferingSizeInMBs: Shape = Integer { min: 1, max: 100 };
pub(crate) const AmazonOpenSearchServerlessCollectionEndpoint: Shape =
    matching!(1, 512, Pattern::relaxed("https:.*", "https?:.*"));
pub(crate) const AmazonOpenSearchServerlessIndexName: Shape = matching!(1, 80, Pattern::new(".*"));
pub(crate) const AmazonOpenSearchServerlessRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const AmazonOpenSearchServerlessS3BackupMode: Shape =
    one_of(&["FailedDocumentsOnly", "AllDocuments"]);
pub(crate) const AmazonopensearchserviceBufferingIntervalInSeconds: Shape = Integer { min: 0, max: 900 };
pub(crate) const AmazonopensearchserviceBufferingSizeInMBs: Shape = Integer { min: 1, max: 100 };
pub(crate) const AmazonopensearchserviceClusterEndpoint: Shape =
    matching!(1, 512, Pattern::relaxed("https:.*", "https?:.*"));
pub(crate) const AmazonopensearchserviceDomainARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:es:[a-zA-Z0-9\-]+:\d{12}:domain/[a-z][-0-9a-z]{2,27}"));
pub(crate) const AmazonopensearchserviceIndexName: Shape = matching!(1, 80, Pattern::new(".*"));
pub(crate) const AmazonopensearchserviceIndexRotationPeriod: Shape =
    one_of(&["NoRotation", "OneHour", "OneDay", "OneWeek", "OneMonth"]);
pub(crate) const AmazonopensearchserviceRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const AmazonopensearchserviceS3BackupMode: Shape =
    one_of(&["FailedDocumentsOnly", "AllDocuments"]);
pub(crate) const AmazonopensearchserviceTypeName: Shape = matching!(0, 100, Pattern::new(".*"));
pub(crate) const BlockSizeBytes: Shape = Integer { min: 67_108_864, max: i64::MAX };
pub(crate) const BooleanObject: Shape = Boolean;
pub(crate) const BucketARN: Shape = matching!(1, 2_048, Pattern::new(r"arn:.*:s3:::[\w\.\-]{1,255}"));
pub(crate) const ClusterJDBCURL: Shape = matching!(
    1,
    512,
    Pattern::relaxed(
        r"jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+",
        r"jdbc:(redshift|postgresql)://[A-Za-z0-9\.\-]+(:\d{1,5})?/[a-zA-Z0-9_$-]+",
    )
);
pub(crate) const ColumnToJsonKeyMappings: Shape =
    Map { key: &NonEmptyStringWithoutWhitespace, value: &NonEmptyString };
pub(crate) const CompressionFormat: Shape =
    one_of(&["ZIP", "HADOOP_SNAPPY", "Snappy", "GZIP", "UNCOMPRESSED"]);
pub(crate) const Connectivity: Shape = one_of(&["PUBLIC", "PRIVATE"]);
pub(crate) const ContentEncoding: Shape = one_of(&["NONE", "GZIP"]);
pub(crate) const CopyOptions: Shape = matching!(0, 10_240, Pattern::new(".*"));
pub(crate) const CustomTimeZone: Shape =
    matching!(0, 50, Pattern::matched_as("^$|[a-zA-Z/_]+", "[a-zA-Z/_]*"));
pub(crate) const Data: Shape = Blob { max_len: 1_024_000 };
pub(crate) const DataTableColumns: Shape = matching!(0, 10_240, Pattern::new(".*"));
pub(crate) const DataTableName: Shape = matching!(1, 512, Pattern::new(".*"));
pub(crate) const DatabaseColumnIncludeOrExcludeList: Shape =
    List { element: &DatabaseColumnName, min_len: 0, max_len: usize::MAX };
pub(crate) const DatabaseColumnName: Shape =
    matching!(1, 194, Pattern::matched_as(r"[\u0001-\uFFFF]*", r"[\x{1}-\x{FFFF}]*"));
pub(crate) const DatabaseEndpoint: Shape = matching!(1, 255, Pattern::matched_as(r"^(?!\s*$).+", r".*\S.*"));
pub(crate) const DatabaseIncludeOrExcludeList: Shape =
    List { element: &DatabaseName, min_len: 0, max_len: usize::MAX };
pub(crate) const DatabaseName: Shape =
    matching!(1, 64, Pattern::matched_as(r"[\u0001-\uFFFF]*", r"[\x{1}-\x{FFFF}]*"));
pub(crate) const DatabasePort: Shape = Integer { min: 0, max: 65_535 };
pub(crate) const DatabaseSnapshotInfoList: Shape =
    List { element: &DatabaseSnapshotInfo, min_len: 0, max_len: usize::MAX };
pub(crate) const DatabaseSurrogateKeyList: Shape =
    List { element: &NonEmptyStringWithoutWhitespace, min_len: 0, max_len: usize::MAX };
pub(crate) const DatabaseTableIncludeOrExcludeList: Shape =
    List { element: &DatabaseTableName, min_len: 0, max_len: usize::MAX };
pub(crate) const DatabaseTableName: Shape =
    matching!(1, 129, Pattern::matched_as(r"[\u0001-\uFFFF]*", r"[\x{1}-\x{FFFF}]*"));
pub(crate) const DatabaseType: Shape = one_of(&["MySQL", "PostgreSQL"]);
pub(crate) const DefaultDocumentIdFormat: Shape = one_of(&["FIREHOSE_DEFAULT", "NO_DOCUMENT_ID"]);
pub(crate) const DeliveryStartTimestamp: Shape = Shape::Timestamp;
pub(crate) const DeliveryStreamARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:firehose:[a-zA-Z0-9\-]+:\d{12}:deliverystream/[a-zA-Z0-9._-]+"));
pub(crate) const DeliveryStreamEncryptionStatus: Shape =
    one_of(&["ENABLED", "ENABLING", "ENABLING_FAILED", "DISABLED", "DISABLING", "DISABLING_FAILED"]);
pub(crate) const DeliveryStreamFailureType: Shape = one_of(&[
    "VPC_ENDPOINT_SERVICE_NAME_NOT_FOUND",
    "VPC_INTERFACE_ENDPOINT_SERVICE_ACCESS_DENIED",
    "RETIRE_KMS_GRANT_FAILED",
    "CREATE_KMS_GRANT_FAILED",
    "KMS_ACCESS_DENIED",
    "DISABLED_KMS_KEY",
    "INVALID_KMS_KEY",
    "KMS_KEY_NOT_FOUND",
    "KMS_OPT_IN_REQUIRED",
    "CREATE_ENI_FAILED",
    "DELETE_ENI_FAILED",
    "SUBNET_NOT_FOUND",
    "SECURITY_GROUP_NOT_FOUND",
    "ENI_ACCESS_DENIED",
    "SUBNET_ACCESS_DENIED",
    "SECURITY_GROUP_ACCESS_DENIED",
    "UNKNOWN_ERROR",
]);
pub(crate) const DeliveryStreamName: Shape = matching!(1, 64, Pattern::new(r"[a-zA-Z0-9_.-]+"));
pub(crate) const DeliveryStreamNameList: Shape =
    List { element: &DeliveryStreamName, min_len: 0, max_len: usize::MAX };
pub(crate) const DeliveryStreamStatus: Shape =
    one_of(&["CREATING", "CREATING_FAILED", "DELETING", "DELETING_FAILED", "ACTIVE"]);
pub(crate) const DeliveryStreamType: Shape =
    one_of(&["DirectPut", "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource"]);
pub(crate) const DeliveryStreamVersionId: Shape = matching!(1, 50, Pattern::new(r"[0-9]+"));
pub(crate) const DescribeDeliveryStreamInputLimit: Shape = Integer { min: 1, max: 10_000 };
pub(crate) const DestinationDescriptionList: Shape =
    List { element: &DestinationDescription, min_len: 0, max_len: usize::MAX };
pub(crate) const DestinationId: Shape = matching!(1, 100, Pattern::new(r"[a-zA-Z0-9-]+"));
pub(crate) const DestinationTableConfigurationList: Shape =
    List { element: &DestinationTableConfiguration, min_len: 0, max_len: usize::MAX };
pub(crate) const ElasticsearchBufferingIntervalInSeconds: Shape = Integer { min: 0, max: 900 };
pub(crate) const ElasticsearchBufferingSizeInMBs: Shape = Integer { min: 1, max: 100 };
pub(crate) const ElasticsearchClusterEndpoint: Shape =
    matching!(1, 512, Pattern::relaxed("https:.*", "https?:.*"));
pub(crate) const ElasticsearchDomainARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:es:[a-zA-Z0-9\-]+:\d{12}:domain/[a-z][-0-9a-z]{2,27}"));
pub(crate) const ElasticsearchIndexName: Shape = matching!(1, 80, Pattern::new(".*"));
pub(crate) const ElasticsearchIndexRotationPeriod: Shape =
    one_of(&["NoRotation", "OneHour", "OneDay", "OneWeek", "OneMonth"]);
pub(crate) const ElasticsearchRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const ElasticsearchS3BackupMode: Shape = one_of(&["FailedDocumentsOnly", "AllDocuments"]);
pub(crate) const ElasticsearchTypeName: Shape = matching!(0, 100, Pattern::new(".*"));
pub(crate) const ErrorCode: Shape = text(0, usize::MAX);
pub(crate) const ErrorMessage: Shape = text(0, usize::MAX);
pub(crate) const ErrorOutputPrefix: Shape = matching!(0, 1_024, Pattern::new(".*"));
pub(crate) const FileExtension: Shape = matching!(
    0,
    128,
    Pattern::printed(r"^$|\.[0-9a-z!\-_.*'()]+", r"^(|\.[0-9a-z!\-_.*'()]+)$", r"(|\.[0-9a-z!\-_.*'()]+)",)
);
pub(crate) const GlueDataCatalogARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:glue:.*:\d{12}:catalog(?:(/[a-z0-9_-]+){1,2})?"));
pub(crate) const HECAcknowledgmentTimeoutInSeconds: Shape = Integer { min: 180, max: 600 };
pub(crate) const HECEndpoint: Shape = matching!(0, 2_048, Pattern::new(".*"));
pub(crate) const HECEndpointType: Shape = one_of(&["Raw", "Event"]);
// A secret, though the model does not say so.
pub(crate) const HECToken: Shape = matching!(0, 2_048, Pattern::new(".*")).sensitive();
pub(crate) const HttpEndpointAccessKey: Shape = matching!(0, 4_096, Pattern::new(".*")).sensitive();
pub(crate) const HttpEndpointAttributeName: Shape =
    matching!(1, 256, Pattern::matched_as(r"^(?!\s*$).+", r".*\S.*")).sensitive();
pub(crate) const HttpEndpointAttributeValue: Shape = matching!(0, 1_024, Pattern::new(".*")).sensitive();
pub(crate) const HttpEndpointBufferingIntervalInSeconds: Shape = Integer { min: 0, max: 900 };
pub(crate) const HttpEndpointBufferingSizeInMBs: Shape = Integer { min: 1, max: 64 };
pub(crate) const HttpEndpointCommonAttributesList: Shape =
    List { element: &HttpEndpointCommonAttribute, min_len: 0, max_len: 50 };
pub(crate) const HttpEndpointName: Shape = matching!(1, 256, Pattern::matched_as(r"^(?!\s*$).+", r".*\S.*"));
pub(crate) const HttpEndpointRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const HttpEndpointS3BackupMode: Shape = one_of(&["FailedDataOnly", "AllData"]);
pub(crate) const HttpEndpointUrl: Shape =
    matching!(1, 1_000, Pattern::relaxed("https://.*", "https?://.*")).sensitive();
pub(crate) const IcebergS3BackupMode: Shape = one_of(&["FailedDataOnly", "AllData"]);
pub(crate) const IntervalInSeconds: Shape = Integer { min: 0, max: 900 };
pub(crate) const KeyType: Shape = one_of(&["AWS_OWNED_CMK", "CUSTOMER_MANAGED_CMK"]);
pub(crate) const KinesisStreamARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:kinesis:[a-zA-Z0-9\-]+:\d{12}:stream/[a-zA-Z0-9_.-]+"));
pub(crate) const ListDeliveryStreamsInputLimit: Shape = Integer { min: 1, max: 10_000 };
pub(crate) const ListOfNonEmptyStrings: Shape =
    List { element: &NonEmptyString, min_len: 0, max_len: usize::MAX };
pub(crate) const ListOfNonEmptyStringsWithoutWhitespace: Shape =
    List { element: &NonEmptyStringWithoutWhitespace, min_len: 0, max_len: usize::MAX };
pub(crate) const ListTagsForDeliveryStreamInputLimit: Shape = Integer { min: 1, max: 50 };
pub(crate) const ListTagsForDeliveryStreamOutputTagList: Shape =
    List { element: &Tag, min_len: 0, max_len: 50 };
pub(crate) const LogGroupName: Shape = matching!(0, 512, Pattern::new(r"[\.\-_/#A-Za-z0-9]*"));
pub(crate) const LogStreamName: Shape = matching!(0, 512, Pattern::new(r"[^:*]*"));
pub(crate) const MSKClusterARN: Shape = matching!(1, 512, Pattern::new(r"arn:.*"));
pub(crate) const NoEncryptionConfig: Shape = one_of(&["NoEncryption"]);
pub(crate) const NonEmptyString: Shape = matching!(1, 1_024, Pattern::matched_as(r"^(?!\s*$).+", r".*\S.*"));
pub(crate) const NonEmptyStringWithoutWhitespace: Shape = matching!(1, 1_024, Pattern::new(r"^\S+$"));
pub(crate) const NonNegativeIntegerObject: Shape = Integer { min: 0, max: i64::MAX };
pub(crate) const OrcCompression: Shape = one_of(&["ZLIB", "SNAPPY", "NONE"]);
pub(crate) const OrcFormatVersion: Shape = one_of(&["V0_11", "V0_12"]);
pub(crate) const OrcRowIndexStride: Shape = Integer { min: 1_000, max: i64::MAX };
pub(crate) const OrcStripeSizeBytes: Shape = Integer { min: 8_388_608, max: i64::MAX };
pub(crate) const ParquetCompression: Shape = one_of(&["SNAPPY", "GZIP", "UNCOMPRESSED"]);
pub(crate) const ParquetPageSizeBytes: Shape = Integer { min: 65_536, max: i64::MAX };
pub(crate) const ParquetWriterVersion: Shape = one_of(&["V1", "V2"]);
pub(crate) const PartitionFields: Shape = List { element: &PartitionField, min_len: 0, max_len: usize::MAX };
pub(crate) const Password: Shape = matching!(6, 512, Pattern::new(".*")).sensitive();
pub(crate) const Prefix: Shape = matching!(0, 1_024, Pattern::new(".*"));
pub(crate) const ProcessorList: Shape = List { element: &Processor, min_len: 0, max_len: usize::MAX };
pub(crate) const ProcessorParameterList: Shape =
    List { element: &ProcessorParameter, min_len: 0, max_len: usize::MAX };
pub(crate) const ProcessorParameterName: Shape = one_of(&[
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
]);
pub(crate) const ProcessorParameterValue: Shape =
    matching!(1, 5_120, Pattern::matched_as(r"^(?!\s*$).+", r".*\S.*"));
pub(crate) const ProcessorType: Shape = one_of(&[
    "Decompression",
    "Lambda",
    "RecordDeAggregation",
    "MetadataExtraction",
    "AppendDelimiterToRecord",
    "CloudWatchLogProcessing",
]);
pub(crate) const Proportion: Shape = Double { min: 0.0, max: 1.0 };
pub(crate) const PutRecordBatchRequestEntryList: Shape = List { element: &Record, min_len: 1, max_len: 500 };
pub(crate) const PutRecordBatchResponseEntryList: Shape =
    List { element: &PutRecordBatchResponseEntry, min_len: 1, max_len: 500 };
pub(crate) const PutResponseRecordId: Shape = text(1, usize::MAX);
pub(crate) const ReadFromTimestamp: Shape = Shape::Timestamp;
pub(crate) const RedshiftRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const RedshiftS3BackupMode: Shape = one_of(&["Disabled", "Enabled"]);
pub(crate) const RetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const RoleARN: Shape =
    matching!(1, 512, Pattern::new(r"arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+"));
pub(crate) const S3BackupMode: Shape = one_of(&["Disabled", "Enabled"]);
pub(crate) const SSLMode: Shape = one_of(&["Disabled", "Enabled"]);
pub(crate) const SecretARN: Shape = matching!(
    1,
    2_048,
    Pattern::new(r"arn:.*:secretsmanager:[a-zA-Z0-9\-]+:\d{12}:secret:[a-zA-Z0-9\-/_+=.@!]+")
);
pub(crate) const SecurityGroupIdList: Shape =
    List { element: &NonEmptyStringWithoutWhitespace, min_len: 1, max_len: 5 };
pub(crate) const SizeInMBs: Shape = Integer { min: 1, max: 128 };
pub(crate) const SnapshotRequestedBy: Shape = one_of(&["USER", "FIREHOSE"]);
pub(crate) const SnapshotStatus: Shape = one_of(&["IN_PROGRESS", "COMPLETE", "SUSPENDED"]);
pub(crate) const SnowflakeAccountUrl: Shape =
    matching!(24, 2_048, Pattern::new(r".+?\.snowflakecomputing\.com")).sensitive();
pub(crate) const SnowflakeBufferingIntervalInSeconds: Shape = Integer { min: 0, max: 900 };
pub(crate) const SnowflakeBufferingSizeInMBs: Shape = Integer { min: 1, max: 128 };
pub(crate) const SnowflakeContentColumnName: Shape = text(1, 255).sensitive();
pub(crate) const SnowflakeDataLoadingOption: Shape =
    one_of(&["JSON_MAPPING", "VARIANT_CONTENT_MAPPING", "VARIANT_CONTENT_AND_METADATA_MAPPING"]);
pub(crate) const SnowflakeDatabase: Shape = text(1, 255).sensitive();
pub(crate) const SnowflakeKeyPassphrase: Shape = text(7, 255).sensitive();
pub(crate) const SnowflakeMetaDataColumnName: Shape = text(1, 255).sensitive();
pub(crate) const SnowflakePrivateKey: Shape = matching!(
    256,
    4_096,
    Pattern::new(r"^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=)?$")
)
.sensitive();
pub(crate) const SnowflakePrivateLinkVpceId: Shape = matching!(
    47,
    255,
    Pattern::new(r"([a-zA-Z0-9\-\_]+\.){2,3}vpce\.[a-zA-Z0-9\-]*\.vpce-svc\-[a-zA-Z0-9\-]{17}$")
)
.sensitive();
pub(crate) const SnowflakeRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const SnowflakeRole: Shape = text(1, 255).sensitive();
pub(crate) const SnowflakeS3BackupMode: Shape = one_of(&["FailedDataOnly", "AllData"]);
pub(crate) const SnowflakeSchema: Shape = text(1, 255).sensitive();
pub(crate) const SnowflakeTable: Shape = text(1, 255).sensitive();
pub(crate) const SnowflakeUser: Shape = text(1, 255).sensitive();
pub(crate) const SplunkBufferingIntervalInSeconds: Shape = Integer { min: 0, max: 60 };
pub(crate) const SplunkBufferingSizeInMBs: Shape = Integer { min: 1, max: 5 };
pub(crate) const SplunkRetryDurationInSeconds: Shape = Integer { min: 0, max: 7_200 };
pub(crate) const SplunkS3BackupMode: Shape = one_of(&["FailedEventsOnly", "AllEvents"]);
pub(crate) const StringWithLettersDigitsUnderscoresDots: Shape =
    matching!(1, 255, Pattern::new(r"[a-zA-Z0-9\.\_]+"));
pub(crate) const SubnetIdList: Shape =
    List { element: &NonEmptyStringWithoutWhitespace, min_len: 1, max_len: 16 };
pub(crate) const TagDeliveryStreamInputTagList: Shape = List { element: &Tag, min_len: 1, max_len: 50 };
pub(crate) const TagKey: Shape = matching!(
    1,
    128,
    Pattern::except(r"^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$", r"[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*", "aws:.*",)
);
pub(crate) const TagKeyList: Shape = List { element: &TagKey, min_len: 1, max_len: 50 };
pub(crate) const TagValue: Shape = matching!(0, 256, Pattern::new(r"^[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$"));
pub(crate) const ThroughputHintInMBs: Shape = Integer { min: 1, max: 100 };
pub(crate) const Timestamp: Shape = Shape::Timestamp;
pub(crate) const TopicName: Shape = matching!(1, 255, Pattern::new(r"[a-zA-Z0-9\\._\\-]+"));
pub(crate) const Username: Shape = matching!(1, 512, Pattern::new(".*")).sensitive();
pub(crate) const VpcEndpointServiceName: Shape = matching!(
    47,
    255,
    Pattern::new(r"([a-zA-Z0-9\-\_]+\.){2,3}vpce\.[a-zA-Z0-9\-]*\.vpce-svc\-[a-zA-Z0-9\-]{17}$")
);
pub(crate) const WarehouseLocation: Shape = matching!(1, 2_048, Pattern::new(r"s3:\/\/.*"));
