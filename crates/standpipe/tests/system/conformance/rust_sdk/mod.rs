//! The AWS SDK for Rust as a client of the tables. It has no reflection: what the tables use is spelled out here, and a
//! member that is not is an error, so that no case passes by being left out.

#![allow(deprecated, reason = "the oldest destination is still part of the API")]

mod conversion;
mod described;
mod destinations;
mod input;
mod output;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_firehose::error::{BoxError, BuildError, ProvideErrorMetadata, SdkError};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::input::Members;
use super::Sdk;
use crate::support::sdk_config;

/// Counts what is sent.
#[derive(Debug, Clone, Default)]
struct Counting(Arc<AtomicU32>);

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs steps in this process.
pub(super) struct RustSdk {
    runtime: Runtime,
    sent: Counting,
}

impl RustSdk {
    pub(super) fn new() -> Self {
        Self { runtime: Runtime::new().unwrap(), sent: Counting::default() }
    }

    fn client(&self, wanted: &Value) -> Client {
        let text = |name: &str| wanted[name].as_str().map(str::to_owned);
        let credentials = Credentials::new(
            text("access_key_id").unwrap(),
            text("secret_access_key").unwrap(),
            text("session_token"),
            None,
            "test",
        );
        let mut config = sdk_config(text("endpoint").unwrap(), credentials).interceptor(self.sent.clone());
        if let Some(attempts) = wanted["attempts"].as_u64() {
            config.set_retry_config(Some(RetryConfig::standard().with_max_attempts(attempts as u32)));
        }
        Client::from_conf(config.build())
    }
}

impl Sdk for RustSdk {
    fn call(&mut self, step: &Value) -> Value {
        let client = self.client(&step["client"]);
        self.sent.0.store(0, Ordering::Relaxed);
        let operation = step["operation"].as_str().unwrap();
        let result = self.runtime.block_on(run(&client, operation, &step["input"]));
        let attempts = self.sent.0.load(Ordering::Relaxed);
        match result {
            Ok(output) => json!({ "output": output, "attempts": attempts }),
            Err(Failure::Refused(why)) => json!({ "refused": why, "attempts": attempts }),
            Err(Failure::Told(told)) => json!({ "error": told, "attempts": attempts }),
        }
    }
}

/// Why a step has no output.
enum Failure {
    /// The SDK would not build the request.
    Refused(String),
    /// An error as the tables have it.
    Told(Value),
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Failure::Refused(error.to_string())
    }
}

impl<E> From<SdkError<E>> for Failure
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    fn from(error: SdkError<E>) -> Self {
        let shown = format!("{error:?}");
        match error {
            SdkError::ConstructionFailure(_) => Failure::Refused(shown),
            SdkError::ServiceError(ref answer) => Failure::Told(json!({
                "code": error.code(),
                "message": error.message(),
                "status": answer.raw().status().as_u16(),
            })),
            _ => Failure::Told(json!({ "code": "NoAnswer", "message": shown, "status": null })),
        }
    }
}

/// Runs an operation with `input`'s members; gives its output under the API's names.
async fn run(client: &Client, operation: &str, input: &Value) -> Result<Value, Failure> {
    let mut given = Members::of(input);
    let stream = given.text("DeliveryStreamName");
    let output = match operation {
        "CreateDeliveryStream" => {
            let call = client
                .create_delivery_stream()
                .set_delivery_stream_name(stream)
                .set_delivery_stream_type(given.named("DeliveryStreamType"))
                .set_direct_put_source_configuration(given.direct_put()?)
                .set_delivery_stream_encryption_configuration_input(given.encryption_input()?)
                .set_s3_destination_configuration(given.s3("S3DestinationConfiguration")?)
                .set_extended_s3_destination_configuration(
                    given.extended("ExtendedS3DestinationConfiguration")?,
                )
                .set_http_endpoint_destination_configuration(given.http_endpoint()?)
                .set_splunk_destination_configuration(given.splunk()?)
                .set_redshift_destination_configuration(given.redshift()?)
                .set_amazonopensearchservice_destination_configuration(given.opensearch()?)
                .set_tags(given.tags()?);
            given.finish();
            json!({ "DeliveryStreamARN": call.send().await?.delivery_stream_arn() })
        }
        "DeleteDeliveryStream" => {
            let call = client.delete_delivery_stream().set_delivery_stream_name(stream);
            let call = call.set_allow_force_delete(given.truth("AllowForceDelete"));
            given.finish();
            call.send().await?;
            json!({})
        }
        "DescribeDeliveryStream" => {
            let call = client
                .describe_delivery_stream()
                .set_delivery_stream_name(stream)
                .set_limit(given.number("Limit"))
                .set_exclusive_start_destination_id(given.text("ExclusiveStartDestinationId"));
            given.finish();
            json!({ "DeliveryStreamDescription": call.send().await?.delivery_stream_description().map(output::stream) })
        }
        "ListDeliveryStreams" => {
            let call = client
                .list_delivery_streams()
                .set_limit(given.number("Limit"))
                .set_delivery_stream_type(given.named("DeliveryStreamType"))
                .set_exclusive_start_delivery_stream_name(given.text("ExclusiveStartDeliveryStreamName"));
            given.finish();
            let list = call.send().await?;
            json!({
                "DeliveryStreamNames": list.delivery_stream_names(),
                "HasMoreDeliveryStreams": list.has_more_delivery_streams(),
            })
        }
        _ => run_change(client, operation, stream, given).await?,
    };
    Ok(output::without_nulls(output))
}

/// As [`run`], for what changes or feeds a stream.
async fn run_change(
    client: &Client,
    operation: &str,
    stream: Option<String>,
    mut given: Members<'_>,
) -> Result<Value, Failure> {
    Ok(match operation {
        "UpdateDestination" => {
            let call = client
                .update_destination()
                .set_delivery_stream_name(stream)
                .set_current_delivery_stream_version_id(given.text("CurrentDeliveryStreamVersionId"))
                .set_destination_id(given.text("DestinationId"))
                .set_s3_destination_update(given.s3_update("S3DestinationUpdate")?)
                .set_extended_s3_destination_update(given.extended_update("ExtendedS3DestinationUpdate")?)
                .set_elasticsearch_destination_update(given.elasticsearch_update())
                .set_http_endpoint_destination_update(given.http_endpoint_update()?);
            given.finish();
            call.send().await?;
            json!({})
        }
        "PutRecord" => {
            let call = client.put_record().set_delivery_stream_name(stream).set_record(given.record()?);
            given.finish();
            let put = call.send().await?;
            json!({ "RecordId": put.record_id(), "Encrypted": put.encrypted() })
        }
        "PutRecordBatch" => {
            let call = client.put_record_batch().set_delivery_stream_name(stream);
            let call = call.set_records(given.records()?);
            given.finish();
            output::batch(&call.send().await?)
        }
        _ => return run_marks(client, operation, stream, given).await,
    })
}

/// As [`run`], for the operations on tags and encryption.
async fn run_marks(
    client: &Client,
    operation: &str,
    stream: Option<String>,
    mut given: Members<'_>,
) -> Result<Value, Failure> {
    match operation {
        "TagDeliveryStream" => {
            let call = client.tag_delivery_stream().set_delivery_stream_name(stream).set_tags(given.tags()?);
            given.finish();
            call.send().await?;
        }
        "UntagDeliveryStream" => {
            let call = client.untag_delivery_stream().set_delivery_stream_name(stream);
            let call = call.set_tag_keys(given.texts("TagKeys"));
            given.finish();
            call.send().await?;
        }
        "ListTagsForDeliveryStream" => {
            let call = client
                .list_tags_for_delivery_stream()
                .set_delivery_stream_name(stream)
                .set_limit(given.number("Limit"))
                .set_exclusive_start_tag_key(given.text("ExclusiveStartTagKey"));
            given.finish();
            return Ok(output::tags(&call.send().await?));
        }
        "StartDeliveryStreamEncryption" => {
            let call = client
                .start_delivery_stream_encryption()
                .set_delivery_stream_name(stream)
                .set_delivery_stream_encryption_configuration_input(given.encryption_input()?);
            given.finish();
            call.send().await?;
        }
        "StopDeliveryStreamEncryption" => {
            let call = client.stop_delivery_stream_encryption().set_delivery_stream_name(stream);
            given.finish();
            call.send().await?;
        }
        _ => panic!("there is no operation {operation}"),
    }
    Ok(json!({}))
}
