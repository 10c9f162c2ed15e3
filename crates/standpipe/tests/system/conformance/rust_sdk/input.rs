//! From the members of a table's input to the SDK's structures.

use std::collections::BTreeSet;

use aws_sdk_firehose::error::BuildError;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::{
    BufferingHints, CloudWatchLoggingOptions, DeliveryStreamEncryptionConfigurationInput,
    DirectPutSourceConfiguration, DynamicPartitioningConfiguration, EncryptionConfiguration,
    ExtendedS3DestinationConfiguration, ExtendedS3DestinationUpdate, KmsEncryptionConfig,
    ProcessingConfiguration, Processor, ProcessorParameter, Record, RetryOptions, S3DestinationConfiguration,
    S3DestinationUpdate, Tag,
};
use base64_simd::STANDARD;
use serde_json::{Map, Value};

/// The members of a structure, of which every one has to be taken.
pub(super) struct Members<'a> {
    given: &'a Map<String, Value>,
    left: BTreeSet<&'a str>,
}

/// Sets what all four shapes of a destination in S3 have in common.
macro_rules! common {
    ($builder:expr, $given:expr) => {
        $builder
            .set_role_arn($given.text("RoleARN"))
            .set_bucket_arn($given.text("BucketARN"))
            .set_prefix($given.text("Prefix"))
            .set_error_output_prefix($given.text("ErrorOutputPrefix"))
            .set_buffering_hints($given.hints())
            .set_compression_format($given.named("CompressionFormat"))
            .set_encryption_configuration($given.encryption()?)
            .set_cloud_watch_logging_options($given.logging())
    };
}

/// Sets what the two extended shapes have in common.
macro_rules! extended {
    ($builder:expr, $given:expr) => {
        common!($builder, $given)
            .set_s3_backup_mode($given.named("S3BackupMode"))
            .set_processing_configuration($given.processing()?)
            .set_dynamic_partitioning_configuration($given.partitioning())
            .set_data_format_conversion_configuration($given.conversion())
            .set_file_extension($given.text("FileExtension"))
            .set_custom_time_zone($given.text("CustomTimeZone"))
    };
}

impl<'a> Members<'a> {
    pub(super) fn of(structure: &'a Value) -> Self {
        let given = structure.as_object().unwrap();
        Self { given, left: given.keys().map(String::as_str).collect() }
    }

    /// All that is given has been taken.
    pub(super) fn finish(self) {
        assert!(self.left.is_empty(), "the runner of the SDK for Rust has no {:?}", self.left);
    }

    fn take(&mut self, name: &str) -> Option<&'a Value> {
        self.left.remove(name);
        self.given.get(name)
    }

    pub(super) fn structure(&mut self, name: &str) -> Option<Members<'a>> {
        self.take(name).map(Members::of)
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|value| value.as_str().unwrap().to_owned())
    }

    /// One of the API's enums; the SDK sends what it does not know as it is.
    pub(super) fn named<T: for<'t> From<&'t str>>(&mut self, name: &str) -> Option<T> {
        self.take(name).map(|value| value.as_str().unwrap().into())
    }

    pub(super) fn number(&mut self, name: &str) -> Option<i32> {
        self.take(name).map(|value| value.as_i64().unwrap().try_into().unwrap())
    }

    pub(super) fn double(&mut self, name: &str) -> Option<f64> {
        self.take(name).map(|value| value.as_f64().unwrap())
    }

    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        self.take(name).map(|value| value.as_bool().unwrap())
    }

    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.list(name, |value| Ok(value.as_str().unwrap().to_owned())).unwrap()
    }

    pub(super) fn words<M: FromIterator<(String, String)>>(&mut self, name: &str) -> Option<M> {
        let word = |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap().to_owned());
        self.take(name).map(|words| words.as_object().unwrap().iter().map(word).collect())
    }

    fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Value) -> Result<T, BuildError>,
    ) -> Result<Option<Vec<T>>, BuildError> {
        let elements = self.take(name).map(|value| value.as_array().unwrap().iter().map(read).collect());
        elements.transpose()
    }

    pub(super) fn record(&mut self) -> Result<Option<Record>, BuildError> {
        self.take("Record").map(record).transpose()
    }

    pub(super) fn records(&mut self) -> Result<Option<Vec<Record>>, BuildError> {
        self.list("Records", record)
    }

    pub(super) fn tags(&mut self) -> Result<Option<Vec<Tag>>, BuildError> {
        self.list("Tags", |tag| {
            let mut given = Members::of(tag);
            let tag = Tag::builder().set_key(given.text("Key")).set_value(given.text("Value")).build();
            given.finish();
            tag
        })
    }

    pub(super) fn direct_put(&mut self) -> Result<Option<DirectPutSourceConfiguration>, BuildError> {
        let Some(mut given) = self.structure("DirectPutSourceConfiguration") else { return Ok(None) };
        let source = DirectPutSourceConfiguration::builder()
            .set_throughput_hint_in_mbs(given.number("ThroughputHintInMBs"));
        given.finish();
        source.build().map(Some)
    }

    pub(super) fn encryption_input(
        &mut self,
    ) -> Result<Option<DeliveryStreamEncryptionConfigurationInput>, BuildError> {
        let Some(mut given) = self.structure("DeliveryStreamEncryptionConfigurationInput") else {
            return Ok(None);
        };
        let input = DeliveryStreamEncryptionConfigurationInput::builder()
            .set_key_arn(given.text("KeyARN"))
            .set_key_type(given.named("KeyType"));
        given.finish();
        input.build().map(Some)
    }

    pub(super) fn s3(&mut self, name: &str) -> Result<Option<S3DestinationConfiguration>, BuildError> {
        let Some(mut given) = self.structure(name) else { return Ok(None) };
        let destination = common!(S3DestinationConfiguration::builder(), given);
        given.finish();
        destination.build().map(Some)
    }

    pub(super) fn s3_update(&mut self, name: &str) -> Result<Option<S3DestinationUpdate>, BuildError> {
        let Some(mut given) = self.structure(name) else { return Ok(None) };
        let update = common!(S3DestinationUpdate::builder(), given);
        given.finish();
        Ok(Some(update.build()))
    }

    pub(super) fn extended(
        &mut self,
        name: &str,
    ) -> Result<Option<ExtendedS3DestinationConfiguration>, BuildError> {
        let Some(mut given) = self.structure(name) else { return Ok(None) };
        let destination = extended!(ExtendedS3DestinationConfiguration::builder(), given)
            .set_s3_backup_configuration(given.s3("S3BackupConfiguration")?);
        given.finish();
        destination.build().map(Some)
    }

    pub(super) fn extended_update(
        &mut self,
        name: &str,
    ) -> Result<Option<ExtendedS3DestinationUpdate>, BuildError> {
        let Some(mut given) = self.structure(name) else { return Ok(None) };
        let update = extended!(ExtendedS3DestinationUpdate::builder(), given)
            .set_s3_backup_update(given.s3_update("S3BackupUpdate")?);
        given.finish();
        Ok(Some(update.build()))
    }

    fn partitioning(&mut self) -> Option<DynamicPartitioningConfiguration> {
        let mut given = self.structure("DynamicPartitioningConfiguration")?;
        let retry = given.structure("RetryOptions").map(|mut given| {
            let retry = RetryOptions::builder().set_duration_in_seconds(given.number("DurationInSeconds"));
            given.finish();
            retry.build()
        });
        let partitioning = DynamicPartitioningConfiguration::builder()
            .set_enabled(given.truth("Enabled"))
            .set_retry_options(retry);
        given.finish();
        Some(partitioning.build())
    }

    fn hints(&mut self) -> Option<BufferingHints> {
        let mut given = self.structure("BufferingHints")?;
        let hints = BufferingHints::builder()
            .set_size_in_mbs(given.number("SizeInMBs"))
            .set_interval_in_seconds(given.number("IntervalInSeconds"));
        given.finish();
        Some(hints.build())
    }

    fn encryption(&mut self) -> Result<Option<EncryptionConfiguration>, BuildError> {
        let Some(mut given) = self.structure("EncryptionConfiguration") else { return Ok(None) };
        let key = given.structure("KMSEncryptionConfig").map(|mut given| {
            let key = KmsEncryptionConfig::builder().set_awskms_key_arn(given.text("AWSKMSKeyARN"));
            given.finish();
            key.build()
        });
        let encryption = EncryptionConfiguration::builder()
            .set_no_encryption_config(given.named("NoEncryptionConfig"))
            .set_kms_encryption_config(key.transpose()?);
        given.finish();
        Ok(Some(encryption.build()))
    }

    fn logging(&mut self) -> Option<CloudWatchLoggingOptions> {
        let mut given = self.structure("CloudWatchLoggingOptions")?;
        let options = CloudWatchLoggingOptions::builder()
            .set_enabled(given.truth("Enabled"))
            .set_log_group_name(given.text("LogGroupName"))
            .set_log_stream_name(given.text("LogStreamName"));
        given.finish();
        Some(options.build())
    }

    fn processing(&mut self) -> Result<Option<ProcessingConfiguration>, BuildError> {
        let Some(mut given) = self.structure("ProcessingConfiguration") else { return Ok(None) };
        let processing = ProcessingConfiguration::builder()
            .set_enabled(given.truth("Enabled"))
            .set_processors(given.list("Processors", processor)?);
        given.finish();
        Ok(Some(processing.build()))
    }
}

fn processor(processor: &Value) -> Result<Processor, BuildError> {
    let mut given = Members::of(processor);
    let parameters = given.list("Parameters", |parameter| {
        let mut given = Members::of(parameter);
        let parameter = ProcessorParameter::builder()
            .set_parameter_name(given.named("ParameterName"))
            .set_parameter_value(given.text("ParameterValue"));
        given.finish();
        parameter.build()
    });
    let processor = Processor::builder().set_type(given.named("Type")).set_parameters(parameters?);
    given.finish();
    processor.build()
}

fn record(record: &Value) -> Result<Record, BuildError> {
    let data = record.get("Data").map(|data| STANDARD.decode_to_vec(data.as_str().unwrap()).unwrap());
    Record::builder().set_data(data.map(Blob::new)).build()
}
