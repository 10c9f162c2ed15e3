//! Each member of each destination that takes requests: what it becomes, or that it is told.

use serde_json::json;
use standpipe_ingest::DestinationKind;
use standpipe_model::{Compression, Secret};
use standpipe_sinks::postgres::PostgresFormat;

use super::super::tests::load;
use super::super::{Definition, Stream, cloudformation, describe, output, stream, terraform};
use super::*;
use crate::config::Config;
use crate::daemon::mapping;
use crate::endpoints::{ClusterAuth, Endpoint, RedshiftTarget, Target};
use crate::spec::Buffering;

/// What each kind needs.
fn least(kind: DestinationKind) -> Value {
    let bucket = json!({"BucketARN": "arn:aws:s3:::lake"});
    match kind {
        DestinationKind::HttpEndpoint => {
            json!({"EndpointConfiguration": {"Url": "https://hook.example.com/in"}, "S3Configuration": bucket})
        }
        DestinationKind::Splunk => json!({
            "HECEndpoint": "https://splunk:8088", "HECEndpointType": "Raw", "S3Configuration": bucket,
        }),
        DestinationKind::AmazonOpenSearchServerless => json!({
            "CollectionEndpoint": "https://c.eu-west-1.aoss.amazonaws.com", "IndexName": "clicks",
            "S3Configuration": bucket,
        }),
        DestinationKind::Redshift => json!({
            "RoleARN": "arn:aws:iam::123456789012:role/r", "ClusterJDBCURL": "jdbc:redshift://r.example.com:5439/dev",
            "CopyCommand": {"DataTableName": "t"}, "Username": "u", "S3Configuration": bucket,
        }),
        _ => json!({
            "ClusterEndpoint": "https://d.eu-west-1.es.amazonaws.com", "IndexName": "clicks", "S3Configuration": bucket,
        }),
    }
}

fn imported(kind: DestinationKind, configuration: Value) -> Stream {
    let member = format!("{}DestinationConfiguration", kind.name());
    let input = members(Some(&json!({"DeliveryStreamName": "to-it", member: configuration})));
    stream::map(Definition { input, ..Definition::default() }, "aws")
}

/// Members with values that count: what lines they come to, or `None` where they are told.
fn cases(kind: DestinationKind) -> Vec<(&'static str, Value, Option<&'static str>)> {
    let mut cases = vec![
        (
            "BufferingHints",
            json!({"SizeInMBs": 3, "IntervalInSeconds": "7"}),
            Some("size: 3MiB\n interval: 7s"),
        ),
        ("BufferingHints", json!({"SizeInMBs": 300}), None),
        ("RetryOptions", json!({"DurationInSeconds": 9}), Some("retry: 9s")),
        ("RetryOptions", json!({"DurationInSeconds": 7201}), None),
        ("ProcessingConfiguration", json!({"Enabled": false}), Some("")),
        (
            "ProcessingConfiguration",
            json!({"Enabled": true, "Processors": [
                {"Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "_"}]},
                {"Type": "Decompression"},
            ]}),
            Some("- decompress:\n limit: 16MiB\n - append_delimiter: _"),
        ),
        ("CloudWatchLoggingOptions", json!({"Enabled": false}), Some("")),
        (
            "CloudWatchLoggingOptions",
            json!({"Enabled": true, "LogGroupName": "g", "LogStreamName": "s"}),
            Some("logging:\n group: g\n stream: s"),
        ),
        ("S3BackupMode", json!({"Fn::ImportValue": "x"}), None),
        ("S3BackupMode", mapping_mode(kind), Some("backup:\n s3:\n store: aws")),
        (
            "S3Configuration",
            json!({"BucketARN": "arn:aws:s3:::other", "ErrorOutputPrefix": "e/"}),
            Some("bucket: other\n error_output_prefix: e/"),
        ),
        ("S3Configuration", json!({"BucketARN": "arn:aws:s3:::other", "CompressionFormat": "GZIP"}), None),
        ("RoleARN", json!("arn:aws:iam::123456789012:role/r"), Some("")),
        ("SecretsManagerConfiguration", json!({"Enabled": false}), Some("")),
        ("SecretsManagerConfiguration", json!({"Enabled": true, "SecretARN": "arn"}), None),
        ("Colour", json!("blue"), None),
    ];
    if kind == DestinationKind::Redshift {
        // Those of its bucket are others.
        cases.retain(|(member, ..)| !["BufferingHints", "S3BackupMode", "S3Configuration"].contains(member));
    }
    cases.extend(own_cases(kind));
    cases
}

/// Those of members that a kind has for itself.
fn own_cases(kind: DestinationKind) -> Vec<(&'static str, Value, Option<&'static str>)> {
    match kind {
        DestinationKind::HttpEndpoint => vec![
            (
                "EndpointConfiguration",
                json!({"Url": "https://a.example.com", "Name": "a", "AccessKey": "hunter2"}),
                Some("url: https://a.example.com\n access_key: ${FIREHOSE_TO_IT_ACCESS_KEY}"),
            ),
            (
                "RequestConfiguration",
                json!({"ContentEncoding": "GZIP", "CommonAttributes": [{"AttributeName": "a", "AttributeValue": "b"}]}),
                Some("gzip: true\n common_attributes:\n a: b"),
            ),
            ("RequestConfiguration", json!({"CommonAttributes": [{"AttributeName": "a"}]}), None),
        ],
        DestinationKind::Splunk => vec![
            ("HECEndpoint", json!("https://other:8088"), Some("url: https://other:8088")),
            ("HECEndpointType", json!("Event"), Some("endpoint: event")),
            ("HECToken", json!("hunter2"), Some("token: ${FIREHOSE_TO_IT_TOKEN}")),
            ("HECAcknowledgmentTimeoutInSeconds", json!(200), Some("acknowledgement_timeout: 200s")),
        ],
        DestinationKind::AmazonOpenSearchServerless => vec![
            (
                "CollectionEndpoint",
                json!("https://other.example.com"),
                Some("endpoint: https://other.example.com"),
            ),
            ("IndexName", json!("other"), Some("product: serverless\n index: other\n document_ids: none")),
            ("VpcConfiguration", json!({"SubnetIds": ["s"]}), None),
        ],
        DestinationKind::Redshift => cases_of_a_table(),
        _ => vec![
            (
                "ClusterEndpoint",
                json!("https://d.eu-west-1.es.amazonaws.com"),
                Some("aws:\n region: eu-west-1"),
            ),
            ("DomainARN", json!("arn:aws:es:eu-west-1:123456789012:domain/d"), None),
            ("IndexName", json!("other"), Some("index: other")),
            ("TypeName", json!(""), Some("")),
            ("TypeName", json!("doc"), Some("type: doc")),
            ("IndexRotationPeriod", json!("OneHour"), Some("rotation: OneHour")),
            ("IndexRotationPeriod", json!({"Fn::ImportValue": "x"}), None),
            (
                "DocumentIdOptions",
                json!({"DefaultDocumentIdFormat": "NO_DOCUMENT_ID"}),
                Some("document_ids: NO_DOCUMENT_ID"),
            ),
            ("VpcConfiguration", json!({"SubnetIds": ["s"]}), None),
        ],
    }
}

fn cases_of_a_table() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let bucket = |name: &str, value: Value| json!({"BucketARN": "arn:aws:s3:::other", name: value});
    vec![
        (
            "ClusterJDBCURL",
            json!("jdbc:postgresql://c.a.eu-west-1.redshift.amazonaws.com:5440/app"),
            Some(
                "redshift:\n host: c.a.eu-west-1.redshift.amazonaws.com\n port: \"5440\"\n database: app\n iam_role: arn:aws:iam::123456789012:role/r",
            ),
        ),
        (
            "CopyCommand",
            json!({"DataTableName": "s.t", "DataTableColumns": "a, b", "CopyOptions": "JSON 'auto' GZIP"}),
            Some("table: s.t\n columns:\n - a\n - b\n copy_options: JSON 'auto' GZIP"),
        ),
        ("CopyCommand", json!({"DataTableName": "t", "Colour": "blue"}), None),
        ("Username", Value::Null, Some("user: ${FIREHOSE_TO_IT_USER}")),
        ("Username", json!("loader"), Some("user: loader")),
        ("Password", json!("hunter2"), Some("password: ${FIREHOSE_TO_IT_PASSWORD}")),
        ("RetryOptions", Value::Null, Some("retry: 3600s")),
        (
            "S3Configuration",
            bucket("Prefix", json!("in/")),
            Some("staging:\n prefix: in/\n compression: none"),
        ),
        (
            "S3Configuration",
            bucket("CompressionFormat", json!("GZIP")),
            Some("bucket: other\n compression: gzip"),
        ),
        (
            "S3Configuration",
            bucket("BufferingHints", json!({"SizeInMBs": 3, "IntervalInSeconds": 7})),
            Some("size: 3MiB\n interval: 7s"),
        ),
        ("S3BackupMode", json!("Disabled"), Some("")),
        ("S3BackupMode", json!("Enabled"), None),
        ("S3BackupConfiguration", bucket("Prefix", json!("raw/")), Some("")),
    ]
}

fn mapping_mode(kind: DestinationKind) -> Value {
    match kind {
        DestinationKind::HttpEndpoint => "AllData",
        DestinationKind::Splunk => "AllEvents",
        _ => "AllDocuments",
    }
    .into()
}

const KINDS: [DestinationKind; 6] = [
    DestinationKind::HttpEndpoint,
    DestinationKind::Splunk,
    DestinationKind::Amazonopensearchservice,
    DestinationKind::Elasticsearch,
    DestinationKind::AmazonOpenSearchServerless,
    DestinationKind::Redshift,
];

#[test]
fn every_member_of_an_endpoint_is_mapped_or_told_and_no_secret_copied() {
    for kind in KINDS {
        let cases = cases(kind);
        for member in kind.configuration().members {
            assert!(cases.iter().any(|(name, ..)| *name == member.name), "{} has no case", member.name);
        }
        for (member, value, lines) in cases {
            let mut configuration = least(kind);
            configuration[member] = value.clone();
            let stream = imported(kind, configuration);
            assert_eq!(stream.notes.is_empty(), lines.is_some(), "{member} {value}: {:?}", stream.notes);
            let text = output::document("t", "aws", std::slice::from_ref(&stream)).unwrap();
            assert!(!text.contains("hunter2"), "{text}");
            let text: Vec<&str> = text.lines().map(str::trim_start).collect();
            for line in lines.unwrap_or_default().lines().map(str::trim_start) {
                let found =
                    text.iter().any(|found| found.trim_start_matches("- ") == line.trim_start_matches("- "));
                assert!(line.is_empty() || found, "{member} {value}: {line} in\n{text:#?}");
            }
            assert!(load(&[stream])[0].destination.endpoint.is_some(), "{member} {value}");
        }
    }
}

#[test]
fn an_endpoint_without_address_or_bucket_is_not_imported() {
    for (kind, member) in [
        (DestinationKind::HttpEndpoint, "EndpointConfiguration"),
        (DestinationKind::Splunk, "HECEndpoint"),
        (DestinationKind::AmazonOpenSearchServerless, "CollectionEndpoint"),
        (DestinationKind::Elasticsearch, "IndexName"),
        (DestinationKind::Amazonopensearchservice, "S3Configuration"),
        (DestinationKind::Redshift, "ClusterJDBCURL"),
        (DestinationKind::Redshift, "CopyCommand"),
    ] {
        let mut configuration = least(kind);
        configuration.as_object_mut().unwrap().remove(member);
        let failure = imported(kind, configuration).failure.expect(member);
        assert!(failure.starts_with(&format!("{}DestinationConfiguration", kind.name())), "{failure}");
    }
}

#[test]
fn a_domain_of_which_only_the_arn_is_known_gets_its_endpoint_by_a_variable() {
    let mut configuration = least(DestinationKind::Amazonopensearchservice);
    configuration.as_object_mut().unwrap().remove("ClusterEndpoint");
    configuration["DomainARN"] = "arn:aws:es:eu-west-1:123456789012:domain/d".into();
    let stream = imported(DestinationKind::Amazonopensearchservice, configuration);
    assert!(stream.notes[0].path.ends_with("DomainARN"), "{:?}", stream.notes);
    let spec = load(&[stream]).remove(0);
    let Some(Target::OpenSearch(cluster)) = spec.destination.endpoint.map(|endpoint| endpoint.target) else {
        panic!("it is no cluster");
    };
    assert_eq!(cluster.endpoints, ["https://firehose_to_it_endpoint"]);
    assert!(matches!(cluster.auth, ClusterAuth::Aws { region, .. } if region == "eu-west-1"));
}

#[test]
fn a_url_of_postgresql_leads_there_with_what_its_copy_can_be_told() {
    let with = |options: &str| {
        let mut configuration = least(DestinationKind::Redshift);
        configuration["ClusterJDBCURL"] = "jdbc:postgresql://db.example.com/app".into();
        configuration["CopyCommand"]["CopyOptions"] = options.into();
        configuration["S3Configuration"]["CompressionFormat"] = "GZIP".into();
        configuration["S3Configuration"]["BufferingHints"] = json!({"SizeInMBs": 3, "IntervalInSeconds": 7});
        configuration["S3BackupMode"] = "Enabled".into();
        configuration["S3BackupConfiguration"] = json!({"BucketARN": "arn:aws:s3:::raw"});
        imported(DestinationKind::Redshift, configuration)
    };
    let stream = with("CSV DELIMITER ';' GZIP");
    assert_eq!(stream.notes, []);
    let spec = load(&[stream]).remove(0);
    assert_eq!(spec.destination.buffering, Buffering { size_bytes: 3 << 20, interval_ms: 7_000 });
    assert_eq!(spec.backup.as_ref().map(|backup| backup.bucket.as_str()), Some("raw"));
    let Some(Endpoint { retry_ms: 3_600_000, target: Target::Postgres(table), .. }) =
        spec.destination.endpoint
    else {
        panic!("it is no PostgreSQL");
    };
    assert_eq!(table.address(), "postgresql://db.example.com:5432/app t");
    assert_eq!(table.format, PostgresFormat::Csv { delimiter: ';', null: String::new() });
    let failure = with("IGNOREHEADER 1").failure.expect("PostgreSQL knows no such option");
    assert!(failure.contains("CopyCommand.CopyOptions: for a table of PostgreSQL"), "{failure}");
}

#[test]
fn a_table_is_the_same_whoever_tells_of_it() {
    let url = "jdbc:redshift://r.example.com:5439/dev";
    let role = "arn:aws:iam::123456789012:role/r";
    let hints = json!({"SizeInMBs": 3, "IntervalInSeconds": 7});
    let bucket = json!({"RoleARN": role, "BucketARN": "arn:aws:s3:::lake", "Prefix": "in/", "BufferingHints": hints,
        "CompressionFormat": "GZIP"});
    let copy = json!({"DataTableName": "s.t", "DataTableColumns": "a,b", "CopyOptions": "CSV"});
    let of_api = json!({"RoleARN": role, "ClusterJDBCURL": url, "CopyCommand": copy, "Username": "u",
        "RetryOptions": {"DurationInSeconds": 9}, "S3BackupMode": "Disabled"});
    let with = |name: &str, more: Value| {
        let mut all = of_api.clone();
        all[name] = bucket.clone();
        members(Some(&all)).into_iter().chain(members(Some(&more))).collect::<Map<_, _>>()
    };
    let described = json!({"DeliveryStreamDescription": {"DeliveryStreamName": "to-it", "Destinations": [{
        "DestinationId": "destinationId-000000000001",
        "RedshiftDestinationDescription": with("S3DestinationDescription", json!({}))}]}});
    let template = json!({"Resources": {"It": {"Type": "AWS::KinesisFirehose::DeliveryStream", "Properties": {
        "DeliveryStreamName": "to-it",
        "RedshiftDestinationConfiguration": with("S3Configuration", json!({"Password": "hunter2"}))}}}});
    let state = json!({"values": {"root_module": {"resources": [{"type": "aws_kinesis_firehose_delivery_stream", "values": {
        "name": "to-it", "redshift_configuration": [{
            "cluster_jdbcurl": url, "role_arn": role, "data_table_name": "s.t", "data_table_columns": "a,b",
            "copy_options": "CSV", "username": "u", "password": "hunter2", "retry_duration": 9, "s3_backup_mode": "Disabled",
            "s3_configuration": [{"role_arn": role, "bucket_arn": "arn:aws:s3:::lake", "prefix": "in/", "buffering_size": 3,
                "buffering_interval": 7, "compression_format": "GZIP"}]}]}}]}}});
    let found = [
        describe::read(&described.to_string()).unwrap(),
        cloudformation::read(&template.to_string(), &[]).unwrap(),
        terraform::read(&state.to_string()).unwrap(),
    ];
    let specs = found.map(|mut found| {
        let stream = stream::map(found.remove(0), "aws");
        assert_eq!((&stream.failure, stream.notes.as_slice()), (&None, [].as_slice()));
        load(&[stream]).remove(0)
    });
    assert!(specs.windows(2).all(|two| two[0] == two[1]), "{specs:#?}");
    let Some(Endpoint { retry_ms: 9_000, target: Target::Redshift(table), .. }) =
        &specs[0].destination.endpoint
    else {
        panic!("it is no Redshift");
    };
    assert_eq!(
        (table.address().as_str(), table.copy_options.as_str()),
        ("redshift://r.example.com:5439/dev s.t", "CSV")
    );
    assert_eq!(
        (specs[0].destination.prefix.as_str(), specs[0].destination.compression),
        ("in/", Compression::Gzip)
    );
}

#[test]
fn what_an_endpoint_is_described_as_comes_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("standpipe.yaml");
    let store = "error_output: { bucket: lake, error_output_prefix: e/ }";
    let endpoints = [
        format!(
            "http: {{ url: 'https://a.example.com/x', gzip: true, common_attributes: {{ a: b }}, retry: 9s, {store} }}"
        ),
        format!("splunk: {{ url: 'https://s:8088', endpoint: event, token: t, {store} }}"),
        format!(
            "opensearch: {{ endpoint: 'https://o:9200', index: i, rotation: hour, document_ids: none, {store} }}"
        ),
        format!(
            "opensearch: {{ endpoint: 'https://e:9200', product: elasticsearch, type: doc, index: i, {store} }}"
        ),
        "redshift: { host: r, database: d, user: u, password: t, table: t, columns: [a, b], iam_role: 'arn:aws:iam::1:role/r', \
         retry: 9s, staging: { bucket: lake, prefix: in/ } }"
            .to_owned(),
        format!(
            "postgres: {{ host: p, database: d, user: u, password: t, table: s.t, columns: [a], csv: {{ delimiter: \"'\" }}, {store} }}"
        ),
    ];
    let streams = endpoints.iter().enumerate().map(|(number, endpoint)| {
        format!("- name: to-{number}\n  destination: {{ {endpoint} }}\n  processors: [{{ append_delimiter: \"\\n\" }}]\n")
    });
    let text = format!("stores: {{aws: {{type: s3}}}}\nstreams:\n{}", streams.collect::<String>());
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path, &|_| None).unwrap();
    for expected in &config.streams {
        let described = mapping::from_spec(expected, &config);
        let stream = imported(described.kind, described.configuration.into());
        assert_eq!(stream.notes, []);
        let mut spec = load(&[stream]).remove(0);
        spec.name = expected.name.clone();
        match spec.destination.endpoint.as_mut().map(|endpoint| &mut endpoint.target) {
            Some(Target::Splunk(splunk)) => splunk.token = Secret::new("t"),
            Some(Target::Postgres(table) | Target::Redshift(RedshiftTarget { table, .. })) => {
                table.password = Some(Secret::new("t"));
            }
            _ => {}
        }
        assert_eq!(spec, *expected);
    }
}
