//! Each member of each destination that takes requests: what it becomes, or that it is told.

use serde_json::json;
use standpipe_ingest::DestinationKind;
use standpipe_model::Secret;

use super::super::tests::load;
use super::super::{Definition, Stream, output, stream};
use super::*;
use crate::config::Config;
use crate::daemon::mapping;
use crate::endpoints::{ClusterAuth, Target};

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

fn mapping_mode(kind: DestinationKind) -> Value {
    match kind {
        DestinationKind::HttpEndpoint => "AllData",
        DestinationKind::Splunk => "AllEvents",
        _ => "AllDocuments",
    }
    .into()
}

const KINDS: [DestinationKind; 5] = [
    DestinationKind::HttpEndpoint,
    DestinationKind::Splunk,
    DestinationKind::Amazonopensearchservice,
    DestinationKind::Elasticsearch,
    DestinationKind::AmazonOpenSearchServerless,
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
        if let Some(Target::Splunk(splunk)) =
            spec.destination.endpoint.as_mut().map(|endpoint| &mut endpoint.target)
        {
            splunk.token = Secret::new("t");
        }
        assert_eq!(spec, *expected);
    }
}
