//! The kinds of destination that the API knows, and what a destination's configuration goes through.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::shape::{self, Structure};
use crate::{ApiError, Operation};

/// A kind of destination, by the API's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant is the API's own destination of that name")]
pub enum DestinationKind {
    /// The deprecated form of [`DestinationKind::ExtendedS3`].
    S3,
    ExtendedS3,
    Redshift,
    Elasticsearch,
    Amazonopensearchservice,
    AmazonOpenSearchServerless,
    Splunk,
    HttpEndpoint,
    Snowflake,
    Iceberg,
}

impl DestinationKind {
    /// All kinds.
    pub const ALL: [DestinationKind; 10] = [
        DestinationKind::S3,
        DestinationKind::ExtendedS3,
        DestinationKind::Redshift,
        DestinationKind::Elasticsearch,
        DestinationKind::Amazonopensearchservice,
        DestinationKind::AmazonOpenSearchServerless,
        DestinationKind::Splunk,
        DestinationKind::HttpEndpoint,
        DestinationKind::Snowflake,
        DestinationKind::Iceberg,
    ];

    /// What the API's members about it begin with.
    pub fn name(self) -> &'static str {
        match self {
            DestinationKind::S3 => "S3",
            DestinationKind::ExtendedS3 => "ExtendedS3",
            DestinationKind::Redshift => "Redshift",
            DestinationKind::Elasticsearch => "Elasticsearch",
            DestinationKind::Amazonopensearchservice => "Amazonopensearchservice",
            DestinationKind::AmazonOpenSearchServerless => "AmazonOpenSearchServerless",
            DestinationKind::Splunk => "Splunk",
            DestinationKind::HttpEndpoint => "HttpEndpoint",
            DestinationKind::Snowflake => "Snowflake",
            DestinationKind::Iceberg => "Iceberg",
        }
    }

    /// The structure of the model that `…Destination` and `suffix` name, as a member of `parent`.
    fn structure(self, parent: &Structure, suffix: &str) -> &'static Structure {
        let name = format!("{}Destination{suffix}", self.name());
        parent.structure(&name).expect("a test looks up every kind's structures")
    }

    /// The structure of its `…DestinationConfiguration`.
    pub fn configuration(self) -> &'static Structure {
        self.structure(shape::input_of(Operation::CreateDeliveryStream), "Configuration")
    }

    /// The structure of its `…DestinationUpdate`.
    pub fn update(self) -> &'static Structure {
        self.structure(shape::input_of(Operation::UpdateDestination), "Update")
    }

    /// The structure of its `…DestinationDescription`.
    pub fn description(self) -> &'static Structure {
        self.structure(shape::destination_description(), "Description")
    }

    /// Whether two kinds are forms of the same destination, so that one's update merges into the other.
    pub fn is_like(self, other: Self) -> bool {
        let plain = |kind| if kind == Self::S3 { Self::ExtendedS3 } else { kind };
        plain(self) == plain(other)
    }

    /// Checks that a stream with a destination of this kind may be given one of another.
    ///
    /// # Errors
    /// `InvalidArgumentException`.
    pub fn check_change(self, to: Self) -> Result<(), ApiError> {
        let fixed = |kind| match kind {
            DestinationKind::Elasticsearch
            | DestinationKind::Amazonopensearchservice
            | DestinationKind::AmazonOpenSearchServerless => Some("Elasticsearch"),
            DestinationKind::HttpEndpoint => Some("HttpEndpoint"),
            _ => None,
        };
        match fixed(self).or(fixed(to)).filter(|_| !self.is_like(to)) {
            None => Ok(()),
            Some(kind) => Err(ApiError::invalid_argument(format!(
                "Changing the destination type to or from {kind} is not supported at this time."
            ))),
        }
    }
}

/// A destination as given: AWS's member names, types and constraints checked, unknown members and nulls dropped, and
/// nothing in it that this version does not honour.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Which member it was.
    pub kind: DestinationKind,
    /// Its content.
    pub configuration: Map<String, Value>,
}

impl Destination {
    /// The members that describe it in a `DestinationDescription`: its own, and that of the deprecated form for an S3
    /// destination.
    pub fn describe(&self) -> Map<String, Value> {
        let kinds = match self.kind {
            DestinationKind::S3 | DestinationKind::ExtendedS3 => {
                vec![DestinationKind::S3, DestinationKind::ExtendedS3]
            }
            kind => vec![kind],
        };
        // An S3 destination of either form is kept as the extended one, which has all members of the other.
        let configuration = kinds.last().copied().unwrap_or(self.kind).configuration();
        let described = kinds.into_iter().map(|kind| {
            let members = shape::describe(kind.description(), configuration, &self.configuration);
            (format!("{}DestinationDescription", kind.name()), Value::Object(members))
        });
        described.collect()
    }

    /// Merges an update of the same kind of destination into it.
    pub fn merge(&mut self, update: Destination) {
        shape::merge(update.kind.update(), &mut self.configuration, update.configuration);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn destination(kind: DestinationKind, configuration: Value) -> Destination {
        let Value::Object(configuration) = configuration else { unreachable!("the tests give objects") };
        Destination { kind, configuration }
    }

    #[test]
    fn every_kind_has_its_three_structures() {
        for kind in DestinationKind::ALL {
            for (structure, suffix) in [
                (kind.configuration(), "Configuration"),
                (kind.update(), "Update"),
                (kind.description(), "Description"),
            ] {
                assert_eq!(structure.name, format!("{}Destination{suffix}", kind.name()));
            }
        }
    }

    #[test]
    fn a_description_fills_in_what_aws_fills_in_and_leaves_secrets_out() {
        let s3 = json!({"RoleARN": "r", "BucketARN": "b"});
        let plain = json!({
            "RoleARN": "r", "BucketARN": "b", "CompressionFormat": "UNCOMPRESSED",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 60},
            "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
            "CloudWatchLoggingOptions": {"Enabled": false},
        });
        let mut extended = plain.clone();
        extended["S3BackupMode"] = json!("Disabled");
        assert_eq!(
            Value::Object(destination(DestinationKind::ExtendedS3, s3.clone()).describe()),
            json!({"S3DestinationDescription": plain, "ExtendedS3DestinationDescription": extended})
        );

        let redshift = json!({"RoleARN": "r", "Password": "secret", "Username": "u", "S3Configuration": s3,
            "S3BackupMode": "Enabled", "S3BackupConfiguration": s3});
        let described = destination(DestinationKind::Redshift, redshift).describe();
        assert_eq!(
            described["RedshiftDestinationDescription"],
            json!({"RoleARN": "r", "Username": "u", "RetryOptions": {"DurationInSeconds": 3600},
                "S3DestinationDescription": plain, "S3BackupMode": "Enabled", "S3BackupDescription": plain,
                "CloudWatchLoggingOptions": {"Enabled": false}})
        );

        let http = json!({"EndpointConfiguration": {"Url": "https://h", "Name": "n", "AccessKey": "secret"},
            "RequestConfiguration": {}, "S3Configuration": s3});
        let described = destination(DestinationKind::HttpEndpoint, http).describe();
        let described = &described["HttpEndpointDestinationDescription"];
        assert_eq!(described["EndpointConfiguration"], json!({"Url": "https://h", "Name": "n"}));
        assert_eq!(described["RequestConfiguration"], json!({"ContentEncoding": "NONE"}));
    }

    #[test]
    fn an_update_merges_member_by_member_but_for_the_blocks_that_are_replaced_whole() {
        let mut current = destination(
            DestinationKind::ExtendedS3,
            json!({
                "Prefix": "a", "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 2},
                "ProcessingConfiguration": {"Enabled": true, "Processors": []},
                "CloudWatchLoggingOptions": {"Enabled": true, "LogGroupName": "g"},
                "S3BackupConfiguration": {"Prefix": "b", "BucketARN": "kept"},
                "DataFormatConversionConfiguration": {"SchemaConfiguration": {"TableName": "t", "Region": "r"}},
            }),
        );
        current.merge(destination(
            DestinationKind::ExtendedS3,
            json!({
                "BufferingHints": {"SizeInMBs": 9}, "ProcessingConfiguration": {"Processors": []},
                "CloudWatchLoggingOptions": {"LogStreamName": "s"}, "S3BackupUpdate": {"Prefix": "c"},
                "DataFormatConversionConfiguration": {"SchemaConfiguration": {"TableName": "u"}},
            }),
        ));
        assert_eq!(
            Value::Object(current.configuration),
            json!({
                "Prefix": "a", "BufferingHints": {"SizeInMBs": 9},
                "ProcessingConfiguration": {"Processors": []},
                "CloudWatchLoggingOptions": {"Enabled": true, "LogGroupName": "g", "LogStreamName": "s"},
                "S3BackupConfiguration": {"Prefix": "c", "BucketARN": "kept"},
                "DataFormatConversionConfiguration": {"SchemaConfiguration": {"TableName": "u", "Region": "r"}},
            })
        );
    }

    #[test]
    fn a_destination_changes_its_kind_only_where_aws_lets_it() {
        use DestinationKind::{Amazonopensearchservice, ExtendedS3, HttpEndpoint, Redshift, S3, Splunk};
        for (from, to) in
            [(S3, ExtendedS3), (ExtendedS3, Redshift), (Splunk, S3), (HttpEndpoint, HttpEndpoint)]
        {
            assert_eq!(from.check_change(to), Ok(()), "{from:?} {to:?}");
        }
        for (from, to, kind) in [
            (ExtendedS3, Amazonopensearchservice, "Elasticsearch"),
            (Amazonopensearchservice, Redshift, "Elasticsearch"),
            (HttpEndpoint, ExtendedS3, "HttpEndpoint"),
        ] {
            let text =
                format!("Changing the destination type to or from {kind} is not supported at this time.");
            assert_eq!(from.check_change(to), Err(ApiError::invalid_argument(text)));
        }
    }
}
