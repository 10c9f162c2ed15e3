//! The kinds of destination that the API knows, and what a destination's configuration goes through.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::control::check_destination;
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

    /// The kind whose configuration has all members that a destination of this kind may have: a destination of the
    /// deprecated form becomes an extended one by an update.
    fn full(self) -> Self {
        if self == Self::S3 { Self::ExtendedS3 } else { self }
    }

    /// Whether two kinds are forms of the same destination, so that one's update merges into the other.
    fn is_like(self, other: Self) -> bool {
        self.full() == other.full()
    }

    /// Checks that a stream with a destination of this kind may be given one of another.
    fn check_change(self, to: Self) -> Result<(), ApiError> {
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

/// A destination as given: AWS's member names, types and constraints checked, unknown members and nulls dropped. `Debug`
/// hides its secrets.
#[derive(Clone, PartialEq)]
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
        let configuration = self.kind.full().configuration();
        let described = kinds.into_iter().map(|kind| {
            let members = shape::describe(kind.description(), configuration, &self.configuration);
            (format!("{}DestinationDescription", kind.name()), Value::Object(members))
        });
        described.collect()
    }

    /// Gives a destination with dynamic partitioning or format conversion the largest size where none is given: the
    /// default of others is below what AWS takes for these.
    pub(crate) fn size_objects(&mut self) {
        let block = |name| self.configuration.get(name).and_then(Value::as_object);
        let partitions = block("DynamicPartitioningConfiguration").is_some_and(shape::enabled);
        let converts = block("DataFormatConversionConfiguration").is_some_and(shape::not_disabled);
        if (partitions || converts) && !self.configuration.contains_key("BufferingHints") {
            let hints = json!({"SizeInMBs": 128, "IntervalInSeconds": 60});
            self.configuration.insert("BufferingHints".to_owned(), hints);
        }
    }

    /// What an update makes of it: merged with one for the same destination, replaced by one of another kind. The whole
    /// is checked, by AWS's rules and for what this version does not honour.
    ///
    /// # Errors
    /// `InvalidArgumentException`, or `ValidationException` for what is missing.
    pub fn updated(mut self, update: Destination) -> Result<Destination, ApiError> {
        self.kind.check_change(update.kind)?;
        if !self.kind.is_like(update.kind) {
            self = Destination { kind: update.kind, configuration: Map::new() };
        }
        refuse_less_backup(&self.configuration, &update.configuration)?;
        refuse_other_partitioning(&self.configuration, &update.configuration)?;
        shape::merge(update.kind.update(), &mut self.configuration, update.configuration);
        self.size_objects();
        shape::check(self.kind.full().configuration(), &Value::Object(self.configuration.clone()))?;
        check_destination(&self)?;
        self.refuse_unsupported()?;
        Ok(self)
    }

    /// Refuses what this version does not honour.
    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let member = format!("{}DestinationConfiguration", self.kind.full().name());
        let create = Map::from_iter([(member, Value::Object(self.configuration.clone()))]);
        let create_input = shape::input_of(Operation::CreateDeliveryStream);
        shape::unsupported(create_input, &Value::Object(create)).map_or(Ok(()), Err)
    }
}

/// A backup that is on stays on, and one of everything stays one of everything.
fn refuse_less_backup(current: &Map<String, Value>, update: &Map<String, Value>) -> Result<(), ApiError> {
    match (shape::text(current, "S3BackupMode"), shape::text(update, "S3BackupMode")) {
        (from @ "Enabled", to @ "Disabled") | (from @ "AllData", to @ "FailedDataOnly") => {
            Err(ApiError::invalid_argument(format!("S3BackupMode cannot be changed from {from} to {to}.")))
        }
        _ => Ok(()),
    }
}

/// Whether there are partitions is decided when a stream is made. AWS's own words for it are not known.
fn refuse_other_partitioning(
    current: &Map<String, Value>,
    update: &Map<String, Value>,
) -> Result<(), ApiError> {
    let partitioned = |members: &Map<String, Value>| {
        let block = members.get("DynamicPartitioningConfiguration")?.as_object()?;
        block.get("Enabled").map(|enabled| *enabled == Value::Bool(true))
    };
    match (partitioned(current).unwrap_or(false), partitioned(update)) {
        (false, Some(true)) => Err(ApiError::invalid_argument(
            "Dynamic Partitioning can be enabled only when a stream is created.",
        )),
        (true, Some(false)) => {
            Err(ApiError::invalid_argument("Dynamic Partitioning cannot be disabled once it is enabled."))
        }
        _ => Ok(()),
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            shape::redact(self.kind.full().configuration(), &Value::Object(self.configuration.clone()));
        f.debug_struct("Destination").field("kind", &self.kind).field("configuration", &shown).finish()
    }
}

#[cfg(test)]
mod tests {
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
        let update = destination(
            DestinationKind::ExtendedS3,
            json!({
                "BufferingHints": {"SizeInMBs": 9}, "ProcessingConfiguration": {"Processors": []},
                "CloudWatchLoggingOptions": {"LogStreamName": "s"}, "S3BackupUpdate": {"Prefix": "c"},
                "DataFormatConversionConfiguration": {"SchemaConfiguration": {"TableName": "u"}},
            }),
        );
        shape::merge(update.kind.update(), &mut current.configuration, update.configuration);
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

    fn s3(beside: Value) -> Destination {
        let mut members =
            json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"});
        members.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
        destination(DestinationKind::ExtendedS3, members)
    }

    #[test]
    fn of_two_members_that_exclude_each_other_the_update_decides() {
        let none = json!({"NoEncryptionConfig": "NoEncryption"});
        let kms =
            json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": "arn:aws:kms:us-east-1:123456789012:key/k"}});
        for (from, to) in [(&none, &kms), (&kms, &none)] {
            let update = destination(DestinationKind::ExtendedS3, json!({ "EncryptionConfiguration": to }));
            let updated = s3(json!({ "EncryptionConfiguration": from })).updated(update).unwrap();
            assert_eq!(updated.configuration["EncryptionConfiguration"], *to);
        }
        let mut cluster = json!({"DomainARN": "d"}).as_object().unwrap().clone();
        let update = json!({"ClusterEndpoint": "e"}).as_object().unwrap().clone();
        shape::merge(DestinationKind::Elasticsearch.update(), &mut cluster, update);
        assert_eq!(Value::Object(cluster), json!({"ClusterEndpoint": "e"}));
    }

    #[test]
    fn the_whole_that_an_update_makes_is_checked() {
        let update = |members: Value| destination(DestinationKind::ExtendedS3, members);
        let check = |current: Destination, update: Destination, expect: &str| {
            let message = current.updated(update).unwrap_err().message.unwrap();
            assert!(message.contains(expect), "{message}");
        };
        let backup = json!({"S3BackupMode": "Enabled", "S3BackupUpdate": {"Prefix": "x/"}});
        check(
            s3(json!({})),
            update(backup.clone()),
            "Value null at 's3BackupConfiguration.bucketARN' failed to satisfy constraint: Member must not be null",
        );
        let backed_up =
            s3(json!({"S3BackupMode": "Enabled", "S3BackupConfiguration": s3(json!({})).configuration}));
        let prefixed = backed_up.clone().updated(update(backup)).unwrap();
        assert_eq!(prefixed.configuration["S3BackupConfiguration"]["Prefix"], "x/");
        check(
            backed_up,
            update(json!({"S3BackupMode": "Disabled"})),
            "S3BackupMode cannot be changed from Enabled to Disabled.",
        );
        let snowflake = json!({"AccountUrl": "https://an-account.snowflakecomputing.com", "User": "u",
            "PrivateKey": "A".repeat(256), "Database": "d", "Schema": "s", "Table": "t",
            "RoleARN": "arn:aws:iam::123456789012:role/r", "S3Update": s3(json!({})).configuration});
        check(
            s3(json!({})),
            destination(DestinationKind::Snowflake, snowflake),
            "SnowflakeDestinationConfiguration is not available in this version of standpipe.",
        );
        check(
            s3(json!({})),
            destination(DestinationKind::Splunk, json!({"HECToken": "t"})),
            "Value null at 'hECEndpoint' failed to satisfy constraint: Member must not be null",
        );
    }

    #[test]
    fn format_conversion_is_prepared_switched_on_and_checked_as_a_whole() {
        let conversion = |members: Value| {
            destination(DestinationKind::ExtendedS3, json!({ "DataFormatConversionConfiguration": members }))
        };
        let off = s3(conversion(json!({"Enabled": false})).configuration.into());
        let prepared = json!({
            "SchemaConfiguration": {"RoleARN": "r", "DatabaseName": "d", "TableName": "t"},
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
        });
        let off = off.updated(conversion(prepared)).unwrap();
        assert!(!off.configuration.contains_key("BufferingHints"));
        let error = off.clone().updated(conversion(json!({"Enabled": true}))).unwrap_err().message.unwrap();
        assert_eq!(error, "OutputFormatConfiguration must not be null");

        let parquet =
            json!({"Enabled": true, "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}}});
        let on = off.updated(conversion(parquet)).unwrap();
        let described = &on.describe()["ExtendedS3DestinationDescription"];
        assert_eq!(described["BufferingHints"], json!({"SizeInMBs": 128, "IntervalInSeconds": 60}));
        let given = json!({"OutputFormatConfiguration": {}});
        let described = s3(conversion(given).configuration.into()).describe();
        let described = &described["ExtendedS3DestinationDescription"]["DataFormatConversionConfiguration"];
        assert_eq!(*described, json!({"Enabled": true, "OutputFormatConfiguration": {}}));
        let hive = json!({"InputFormatConfiguration": {"Deserializer": {"HiveJsonSerDe": {}}}});
        let on = on.updated(conversion(hive)).unwrap();
        let described =
            &on.describe()["ExtendedS3DestinationDescription"]["DataFormatConversionConfiguration"];
        assert_eq!(described["InputFormatConfiguration"], json!({"Deserializer": {"HiveJsonSerDe": {}}}));
        let gzip = destination(DestinationKind::ExtendedS3, json!({"CompressionFormat": "GZIP"}));
        let error = on.clone().updated(gzip).unwrap_err().message.unwrap();
        assert!(error.contains("must be set to UNCOMPRESSED"), "{error}");
        // What is off stays as it was.
        let off = on.updated(conversion(json!({"Enabled": false}))).unwrap();
        let kept = &off.describe()["ExtendedS3DestinationDescription"]["DataFormatConversionConfiguration"];
        assert_eq!(kept["SchemaConfiguration"]["TableName"], "t");
        assert_eq!(kept["Enabled"], false);
    }

    #[test]
    fn whether_there_are_partitions_is_decided_when_a_stream_is_made() {
        let partitioned = |enabled: bool| json!({"DynamicPartitioningConfiguration": {"Enabled": enabled}});
        let update = |members: Value| destination(DestinationKind::ExtendedS3, members);
        let mut on = s3(partitioned(true));
        on.configuration.insert("Prefix".to_owned(), "!{partitionKeyFromQuery:k}/".into());
        on.size_objects();
        assert_eq!(on.configuration["BufferingHints"], json!({"SizeInMBs": 128, "IntervalInSeconds": 60}));
        for off in [s3(json!({})), s3(partitioned(false))] {
            let error = off.clone().updated(update(partitioned(true))).unwrap_err().message.unwrap();
            assert_eq!(error, "Dynamic Partitioning can be enabled only when a stream is created.");
            assert!(off.updated(update(partitioned(false))).is_ok());
        }
        let error = on.clone().updated(update(partitioned(false))).unwrap_err().message.unwrap();
        assert_eq!(error, "Dynamic Partitioning cannot be disabled once it is enabled.");

        let retry = json!({"DynamicPartitioningConfiguration": {"RetryOptions": {"DurationInSeconds": 9}}});
        let longer = on.updated(update(retry)).unwrap();
        let described = &longer.describe()["ExtendedS3DestinationDescription"];
        assert_eq!(
            described["DynamicPartitioningConfiguration"],
            json!({"Enabled": true, "RetryOptions": {"DurationInSeconds": 9}})
        );
        let described = &s3(partitioned(true)).describe()["ExtendedS3DestinationDescription"];
        assert_eq!(
            described["DynamicPartitioningConfiguration"],
            json!({"Enabled": true, "RetryOptions": {"DurationInSeconds": 300}})
        );
    }

    #[test]
    fn a_destination_of_the_deprecated_form_takes_an_extended_update() {
        let mut plain = s3(json!({}));
        plain.kind = DestinationKind::S3;
        let zone = destination(DestinationKind::ExtendedS3, json!({"CustomTimeZone": "Europe/Vienna"}));
        let updated = plain.updated(zone).unwrap();
        assert_eq!(updated.configuration["CustomTimeZone"], "Europe/Vienna");
    }

    /// One wrong letter would lose a member from every description.
    #[test]
    fn updates_and_descriptions_are_about_members_of_the_configuration() {
        fn check(of: &Structure, configuration: &Structure, seen: &mut Vec<&'static str>) {
            // What AWS finds out by itself is in the description only.
            for member in of.members.iter().filter(|member| member.name != "VpcId") {
                let subject = configuration.members.iter().find(|subject| subject.name == member.subject());
                let subject = subject.unwrap_or_else(|| panic!("{}.{}", of.name, member.name));
                seen.push(subject.name);
                if let (shape::Shape::Structure(inner), shape::Shape::Structure(subject)) =
                    (member.shape, subject.shape)
                {
                    check(inner, subject, &mut Vec::new());
                }
            }
        }
        let mut hidden = Vec::new();
        for kind in DestinationKind::ALL {
            let configuration = kind.configuration();
            check(kind.update(), configuration, &mut Vec::new());
            let mut described = Vec::new();
            check(kind.description(), configuration, &mut described);
            let names = configuration.members.iter().map(|member| member.name);
            hidden.extend(names.filter(|name| !described.contains(name)));
        }
        assert_eq!(hidden, ["Password", "PrivateKey", "KeyPassphrase"]);
    }

    #[test]
    fn no_secret_is_printed() {
        let splunk =
            destination(DestinationKind::Splunk, json!({"HECEndpoint": "https://h:1", "HECToken": "t0ken"}));
        let printed = format!("{splunk:?}");
        assert!(printed.contains("https://h:1") && !printed.contains("t0ken"), "{printed}");
    }
}
