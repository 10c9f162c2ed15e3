//! Destinations other than S3, with the members that the tables use of them.

use aws_sdk_firehose::error::BuildError;
use aws_sdk_firehose::types::{
    AmazonopensearchserviceBufferingHints, AmazonopensearchserviceDestinationConfiguration, CopyCommand,
    ElasticsearchDestinationUpdate, HttpEndpointBufferingHints, HttpEndpointConfiguration,
    HttpEndpointDestinationConfiguration, HttpEndpointDestinationUpdate, HttpEndpointRequestConfiguration,
    HttpEndpointRetryOptions, RedshiftDestinationConfiguration, SplunkBufferingHints,
    SplunkDestinationConfiguration,
};

use super::input::Members;

/// A destination, where there is one.
type Built<T> = Result<Option<T>, BuildError>;

/// Each destination has a type of its own for the same two members.
macro_rules! hints {
    ($type:ident, $given:expr) => {
        $given.structure("BufferingHints").map(|mut given| {
            let hints = $type::builder()
                .set_size_in_mbs(given.number("SizeInMBs"))
                .set_interval_in_seconds(given.number("IntervalInSeconds"));
            given.finish();
            hints.build()
        })
    };
}

impl Members<'_> {
    pub(super) fn http_endpoint(&mut self) -> Built<HttpEndpointDestinationConfiguration> {
        let Some(mut given) = self.structure("HttpEndpointDestinationConfiguration") else { return Ok(None) };
        let request = given.structure("RequestConfiguration").map(|mut given| {
            let encoding = given.named("ContentEncoding");
            given.finish();
            HttpEndpointRequestConfiguration::builder().set_content_encoding(encoding).build()
        });
        let retry = given.structure("RetryOptions").map(|mut given| {
            let duration = given.number("DurationInSeconds");
            given.finish();
            HttpEndpointRetryOptions::builder().set_duration_in_seconds(duration).build()
        });
        let destination = HttpEndpointDestinationConfiguration::builder()
            .set_endpoint_configuration(given.endpoint()?)
            .set_buffering_hints(hints!(HttpEndpointBufferingHints, given))
            .set_request_configuration(request)
            .set_retry_options(retry)
            .set_s3_configuration(given.s3("S3Configuration")?);
        given.finish();
        Ok(Some(destination.build()))
    }

    pub(super) fn http_endpoint_update(&mut self) -> Built<HttpEndpointDestinationUpdate> {
        let Some(mut given) = self.structure("HttpEndpointDestinationUpdate") else { return Ok(None) };
        let update = HttpEndpointDestinationUpdate::builder().set_endpoint_configuration(given.endpoint()?);
        given.finish();
        Ok(Some(update.build()))
    }

    fn endpoint(&mut self) -> Built<HttpEndpointConfiguration> {
        let Some(mut given) = self.structure("EndpointConfiguration") else { return Ok(None) };
        let endpoint =
            HttpEndpointConfiguration::builder().set_url(given.text("Url")).set_name(given.text("Name"));
        given.finish();
        endpoint.build().map(Some)
    }

    pub(super) fn splunk(&mut self) -> Built<SplunkDestinationConfiguration> {
        let Some(mut given) = self.structure("SplunkDestinationConfiguration") else { return Ok(None) };
        let destination = SplunkDestinationConfiguration::builder()
            .set_hec_endpoint(given.text("HECEndpoint"))
            .set_hec_endpoint_type(given.named("HECEndpointType"))
            .set_hec_acknowledgment_timeout_in_seconds(given.number("HECAcknowledgmentTimeoutInSeconds"))
            .set_buffering_hints(hints!(SplunkBufferingHints, given))
            .set_s3_configuration(given.s3("S3Configuration")?);
        given.finish();
        destination.build().map(Some)
    }

    pub(super) fn redshift(&mut self) -> Built<RedshiftDestinationConfiguration> {
        let Some(mut given) = self.structure("RedshiftDestinationConfiguration") else { return Ok(None) };
        let copy = given.structure("CopyCommand").map(|mut given| {
            let copy = CopyCommand::builder()
                .set_data_table_name(given.text("DataTableName"))
                .set_data_table_columns(given.text("DataTableColumns"))
                .set_copy_options(given.text("CopyOptions"));
            given.finish();
            copy.build()
        });
        let destination = RedshiftDestinationConfiguration::builder()
            .set_role_arn(given.text("RoleARN"))
            .set_cluster_jdbcurl(given.text("ClusterJDBCURL"))
            .set_copy_command(copy.transpose()?)
            .set_username(given.text("Username"))
            .set_password(given.text("Password"))
            .set_s3_configuration(given.s3("S3Configuration")?);
        given.finish();
        destination.build().map(Some)
    }

    pub(super) fn opensearch(&mut self) -> Built<AmazonopensearchserviceDestinationConfiguration> {
        let Some(mut given) = self.structure("AmazonopensearchserviceDestinationConfiguration") else {
            return Ok(None);
        };
        let destination = AmazonopensearchserviceDestinationConfiguration::builder()
            .set_role_arn(given.text("RoleARN"))
            .set_cluster_endpoint(given.text("ClusterEndpoint"))
            .set_index_name(given.text("IndexName"))
            .set_index_rotation_period(given.named("IndexRotationPeriod"))
            .set_buffering_hints(hints!(AmazonopensearchserviceBufferingHints, given))
            .set_s3_configuration(given.s3("S3Configuration")?);
        given.finish();
        destination.build().map(Some)
    }

    pub(super) fn elasticsearch_update(&mut self) -> Option<ElasticsearchDestinationUpdate> {
        let mut given = self.structure("ElasticsearchDestinationUpdate")?;
        let update = ElasticsearchDestinationUpdate::builder().set_index_name(given.text("IndexName"));
        given.finish();
        Some(update.build())
    }
}
