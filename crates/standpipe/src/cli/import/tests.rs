//! Definitions in the forms that AWS and Terraform document, imported, and read by the configuration.

use std::fs;

use proptest::prelude::*;
use serde_json::json;
use standpipe_ingest::{DestinationKind, Operation, shape};
use standpipe_model::{Compression, DestinationId, Encryption, ObjectOptions, Secret, StreamName};
use standpipe_sinks::splunk::HecEndpoint;
use standpipe_transform::processors::DECOMPRESSED_BYTES_MAX;

use super::stream::Note;
use super::*;
use crate::config::Config;
use crate::daemon::mapping;
use crate::endpoints::{Endpoint, Target};
use crate::processors::{ProcessorSpec, WasmCall};
use crate::spec::{Buffering, LogTarget, Partitioning, S3Destination, StreamSpec};

const TEMPLATE: &str = include_str!("../../../tests/fixtures/definitions/template.yaml");
const STATE: &str = include_str!("../../../tests/fixtures/definitions/state.json");
const DESCRIPTION: &str = include_str!("../../../tests/fixtures/definitions/describe.json");

fn parameters(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn template(given: &[(&str, &str)]) -> Vec<Stream> {
    let found = cloudformation::read(TEMPLATE, &parameters(given)).unwrap();
    found.into_iter().map(|found| stream::map(found, "aws")).collect()
}

/// The one stream of a template whose destination has these members.
fn destination(members: &Value) -> Stream {
    let mut members = members.clone();
    members["BucketARN"] = "arn:aws:s3:::lake".into();
    let input = json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": members});
    stream::map(Definition { input: super::members(Some(&input)), ..Definition::default() }, "aws")
}

/// The value of every variable.
fn variable(name: &str) -> Option<String> {
    Some(format!("https://{}", name.to_ascii_lowercase()))
}

/// What the configuration makes of streams.
pub(super) fn load(streams: &[Stream]) -> Vec<StreamSpec> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("standpipe.yaml");
    let text = output::document("a test", "aws", streams).unwrap();
    fs::write(&path, &text).unwrap();
    for name in streams.iter().flat_map(|stream| &stream.schemas) {
        let columns = r#"[{"Name": "a", "Type": "int"}, {"Name": "b", "Type": "string"}]"#;
        let table = format!(r#"{{"Table": {{"StorageDescriptor": {{"Columns": {columns}}}}}}}"#);
        fs::write(folder.path().join(format!("{name}.json")), table).unwrap();
    }
    Config::load(&path, &variable).unwrap_or_else(|problems| panic!("{problems}\n{text}")).streams
}

fn told(stream: &Stream) -> Vec<(&str, &str)> {
    stream.notes.iter().map(|Note { path, value, .. }| (path.as_str(), value.as_str())).collect()
}

fn spec(name: &str, destination: S3Destination, backup: Option<S3Destination>) -> StreamSpec {
    StreamSpec {
        name: StreamName::parse(name).unwrap(),
        id: DestinationId::primary(),
        further: Vec::new(),
        destination,
        backup,
        processors: Vec::new(),
        journal_limit_bytes: None,
        retention_ms: 0,
        encryption_key: None,
    }
}

fn plain(bucket: &str) -> S3Destination {
    S3Destination {
        store: "aws".to_owned(),
        bucket: bucket.to_owned(),
        prefix: String::new(),
        error_output_prefix: String::new(),
        compression: Compression::Uncompressed,
        compression_level: None,
        delimiter: String::new(),
        file_extension: String::new(),
        custom_time_zone: "UTC".to_owned(),
        buffering: Buffering { size_bytes: 5 << 20, interval_ms: 300_000 },
        object: ObjectOptions::default(),
        logging: None,
        partitioning: None,
        conversion: None,
        endpoint: None,
        patience: None,
    }
}

fn log(group: &str) -> Option<LogTarget> {
    Some(LogTarget { group: group.to_owned(), stream: "S3Delivery".to_owned() })
}

fn with_key(key: &str) -> ObjectOptions {
    ObjectOptions { encryption: Encryption::Kms { key: key.to_owned() }, ..ObjectOptions::default() }
}

#[test]
fn a_template_becomes_streams_that_the_configuration_takes() {
    let streams = template(&[("Key.Arn", "arn:aws:kms:eu-west-1:123456789012:key/k")]);
    assert_eq!(
        streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(),
        ["clicks-dev", "to-splunk"]
    );
    let expected = S3Destination {
        prefix: "clicks/stage=dev/!{timestamp:yyyy/MM/dd}/".to_owned(),
        error_output_prefix: "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/".to_owned(),
        compression: Compression::Gzip,
        delimiter: "\n".to_owned(),
        file_extension: ".json.gz".to_owned(),
        custom_time_zone: "Europe/Vienna".to_owned(),
        buffering: Buffering { size_bytes: 64 << 20, interval_ms: 60_000 },
        object: with_key("arn:aws:kms:eu-west-1:123456789012:key/k"),
        logging: log("/aws/kinesisfirehose/clicks-dev"),
        ..plain("acme-lake-dev")
    };
    let backup = S3Destination { prefix: "raw/".to_owned(), ..plain("acme-lake-raw") };
    let specs = load(&streams);
    assert_eq!(specs[0], spec("clicks-dev", expected, Some(backup)));
    let Some(Endpoint { retry_ms: 300_000, target: Target::Splunk(splunk), .. }) =
        &specs[1].destination.endpoint
    else {
        panic!("{specs:?}");
    };
    assert_eq!(
        (splunk.url.as_str(), splunk.endpoint),
        ("https://splunk.example.com:8088", HecEndpoint::Event)
    );
    assert_eq!(splunk.token.expose(), "https://firehose_to_splunk_token", "it is that of the variable");
    assert_eq!(specs[1].destination.buffering, Buffering { size_bytes: 5 << 20, interval_ms: 60_000 });
    assert_eq!((specs[1].destination.bucket.as_str(), &specs[1].backup), ("acme-lake-dev", &None));
}

#[test]
fn what_a_template_says_in_vain_is_told_with_its_place() {
    let streams = template(&[]);
    let expected = [
        "ExtendedS3DestinationConfiguration.ProcessingConfiguration.Processors[1]",
        "ExtendedS3DestinationConfiguration.EncryptionConfiguration",
        "DeliveryStreamEncryptionConfigurationInput",
        "Tags",
    ];
    assert_eq!(told(&streams[0]).iter().map(|(path, _)| *path).collect::<Vec<_>>(), expected);
    let problems: Vec<String> = streams.iter().flat_map(Stream::problems).collect();
    assert!(
        problems[1].contains("Fn::GetAtt \"Key.Arn\", which only the deployed stack can tell"),
        "{problems:?}"
    );
    assert_eq!(
        problems[2],
        "clicks-dev: left out DeliveryStreamEncryptionConfigurationInput ({\"KeyType\":\"AWS_OWNED_CMK\"}): AWS's own \
         key stays there: make one (standpipe keys generate), name it under keys, and give the stream encryption: { key: … }"
    );
    assert_eq!(problems.len(), 4);
    let text = output::document("t", "aws", &streams).unwrap();
    for problem in &problems {
        let what = problem.split_once(": ").unwrap().1.trim_start_matches("not imported: ");
        assert!(text.contains(what), "the document tells it too: {what}\n{text}");
    }
    assert!(!text.contains("3c0ffee0"), "no secret is told");
    assert!(
        text.contains("# set the environment variable FIREHOSE_TO_SPLUNK_TOKEN to the secret of Splunk"),
        "{text}"
    );
}

#[test]
fn conditions_and_parameters_decide() {
    let streams = template(&[("Stage", "prod"), ("RawBucket", "acme-audit")]);
    let specs = load(&streams);
    let [audit, clicks, _] = specs.as_slice() else { panic!("{specs:?}") };
    assert_eq!((clicks.name.as_str(), clicks.destination.bucket.as_str()), ("clicks-prod", "acme-lake-prod"));
    assert_eq!(clicks.destination.buffering.interval_ms, 300_000);
    assert_eq!(*audit, spec("Audit", plain("acme-audit"), None));
    assert!(streams[0].remarks[0].contains("gives no name"), "{:?}", streams[0].remarks);

    let streams = template(&[("LakeName", "other")]);
    assert_eq!(load(&streams)[0].backup, None, "Fn::If chose the other side");

    let failed = Definition { origin: "Resources.X".to_owned(), ..Definition::default() };
    assert_eq!(load(&[stream::map(failed, "aws")]), [], "a document without a stream is read too");

    let open = template(&[("Stage", "prod")]);
    let why = open[0].failure.as_deref().unwrap();
    assert!(
        why.starts_with("S3DestinationConfiguration.BucketARN is Fn::GetAtt") && why.contains("RawBucket"),
        "{why}"
    );
    let error = cloudformation::read(TEMPLATE, &parameters(&[("Stages", "prod")])).err().unwrap().to_string();
    assert!(error.starts_with("--parameter Stages: the template has no parameter"), "{error}");
}

#[test]
fn a_state_and_a_plan_become_streams_with_those_of_their_modules() {
    let plan = STATE.replacen("\"values\"", "\"planned_values\"", 1);
    for text in [STATE, &plan] {
        let found = terraform::read(text).unwrap();
        let streams: Vec<Stream> = found.into_iter().map(|found| stream::map(found, "aws")).collect();
        assert_eq!(streams[0].region.as_deref(), Some("eu-central-1"));
        let clicks = S3Destination {
            compression: Compression::HadoopSnappy,
            buffering: Buffering { size_bytes: 64 << 20, interval_ms: 120_000 },
            object: with_key(
                "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            ),
            logging: log("/aws/kinesisfirehose/clicks"),
            prefix: "data/customer=!{partitionKeyFromQuery:customer}/".to_owned(),
            error_output_prefix: "errors/!{firehose:error-output-type}/".to_owned(),
            partitioning: Some(Partitioning::default()),
            ..plain("acme-lake")
        };
        let raw =
            S3Destination { prefix: "raw/".to_owned(), compression: Compression::Gzip, ..plain("acme-raw") };
        let audit = S3Destination { prefix: "audit/".to_owned(), ..plain("acme-audit") };
        let query = "{customer:.customer}".to_owned();
        let mut clicks = spec("clicks", clicks, Some(raw));
        clicks.processors = vec![ProcessorSpec::MetadataExtraction { query }];
        assert_eq!(streams[2].failure, None);
        let specs = load(&streams);
        assert_eq!(specs[..2], [clicks, spec("audit", audit, None)]);
        assert_eq!(told(&streams[0]).into_iter().map(|(path, _)| path).collect::<Vec<_>>(), ["Tags"]);
        let hook = &specs[2];
        let Some(Endpoint { retry_ms: 60_000, target: Target::Http(http), .. }) = &hook.destination.endpoint
        else {
            panic!("{hook:?}");
        };
        let key = http.access_key.as_ref().map(Secret::expose);
        assert_eq!(
            (http.url.as_str(), key),
            ("https://hook.example.com", Some("https://firehose_hook_access_key"))
        );
        assert_eq!(http.common_attributes, [("team".to_owned(), "web".to_owned())]);
        assert!(http.gzip);
        assert_eq!(hook.destination.buffering, Buffering { size_bytes: 4 << 20, interval_ms: 30_000 });
        assert_eq!(hook.backup.as_ref().map(|backup| backup.compression), Some(Compression::Gzip));
        assert_eq!(told(&streams[2]), []);
        assert!(!output::document("t", "aws", &streams).unwrap().contains("hunter2"));
    }
    let error = terraform::read(r#"{"version": 4, "serial": 3, "resources": []}"#).err().unwrap().to_string();
    assert!(error.contains("terraform show -json"), "{error}");
}

#[test]
fn descriptions_become_streams_one_by_one_or_together() {
    let expected = S3Destination {
        prefix: "clicks/".to_owned(),
        compression: Compression::Snappy,
        custom_time_zone: "UTC".to_owned(),
        buffering: Buffering { size_bytes: 128 << 20, interval_ms: 900_000 },
        ..plain("acme-lake")
    };
    let expected = spec("clicks", expected, Some(plain("acme-raw")));
    let other = DESCRIPTION.replace("\"clicks\"", "\"views\"");
    for (text, count) in [
        (DESCRIPTION.to_owned(), 1),
        (format!("{DESCRIPTION}\n{other}"), 2),
        (format!("[{DESCRIPTION},{other}]"), 2),
    ] {
        let found = describe::read(&text).unwrap();
        let streams: Vec<Stream> = found.into_iter().map(|found| stream::map(found, "aws")).collect();
        assert_eq!(streams.iter().map(|stream| stream.notes.len()).sum::<usize>(), 0, "nothing is left out");
        let loaded = load(&streams);
        assert_eq!((loaded.len(), &loaded[0]), (count, &expected));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.json"), DESCRIPTION).unwrap();
    fs::write(folder.path().join("a.json"), &other).unwrap();
    fs::write(folder.path().join("readme.txt"), "no JSON").unwrap();
    let found = described(folder.path()).unwrap();
    let names: Vec<_> = found.iter().map(|found| found.input["DeliveryStreamName"].clone()).collect();
    assert_eq!(names, ["views", "clicks"]);
}

/// Each member with a value that counts: what it becomes, or that it is told.
#[test]
fn every_member_of_an_s3_destination_is_mapped_or_told() {
    let cases = [
        ("RoleARN", json!("arn:aws:iam::123456789012:role/r"), Some("")),
        ("Prefix", json!("p/"), Some("prefix: p/")),
        ("ErrorOutputPrefix", json!("e/"), Some("error_output_prefix: e/")),
        (
            "BufferingHints",
            json!({"SizeInMBs": "7", "IntervalInSeconds": 0}),
            Some("size: 7MiB\n interval: 0s"),
        ),
        ("CompressionFormat", json!("ZIP"), Some("compression: zip")),
        ("EncryptionConfiguration", json!({"NoEncryptionConfig": "NoEncryption"}), Some("")),
        (
            "EncryptionConfiguration",
            json!({"KMSEncryptionConfig": {"AWSKMSKeyARN": "k"}}),
            Some("encryption:\n kms: k"),
        ),
        ("EncryptionConfiguration", json!({"Other": 1}), None),
        ("CloudWatchLoggingOptions", json!({"Enabled": false, "LogGroupName": "g"}), Some("")),
        ("CloudWatchLoggingOptions", json!({"Enabled": "true", "LogGroupName": "g"}), None),
        (
            "CloudWatchLoggingOptions",
            json!({"Enabled": "true", "LogGroupName": "g", "LogStreamName": "s"}),
            Some("logging:\n group: g\n stream: s"),
        ),
        ("CloudWatchLoggingOptions", json!({"Enabled": {"Fn::ImportValue": "x"}}), None),
        ("ProcessingConfiguration", json!({"Enabled": false, "Processors": [{"Type": "Lambda"}]}), Some("")),
        (
            "ProcessingConfiguration",
            json!({"Enabled": true, "Processors": [{"Type": "AppendDelimiterToRecord"}]}),
            Some("delimiter: newline"),
        ),
        ("DataFormatConversionConfiguration", json!({"Enabled": false}), Some("")),
        ("DataFormatConversionConfiguration", json!({"SchemaConfiguration": {"TableName": "t"}}), None),
        ("DynamicPartitioningConfiguration", json!({"Enabled": false}), Some("")),
        ("DynamicPartitioningConfiguration", json!({"Enabled": true}), None),
        ("DynamicPartitioningConfiguration", json!({"Enabled": {"Fn::ImportValue": "x"}}), None),
        ("FileExtension", json!(".log"), Some("file_extension: .log")),
        ("FileExtension", json!("log"), None),
        ("CustomTimeZone", json!("Asia/Tokyo"), Some("custom_time_zone: Asia/Tokyo")),
        ("CustomTimeZone", json!("Mars/Base"), None),
        ("S3BackupMode", json!("Disabled"), Some("")),
        ("S3BackupMode", json!("Enabled"), None),
        ("S3BackupMode", json!({"Fn::If": ["Open", "Enabled", "Disabled"]}), None),
        ("S3BackupConfiguration", json!({"BucketARN": "arn:aws:s3:::b"}), Some("")),
        ("BufferingHints", json!({"Fn::If": ["Open", {"SizeInMBs": 1}, {"SizeInMBs": 2}]}), None),
        ("Colour", json!("blue"), None),
    ];
    for member in DestinationKind::ExtendedS3.configuration().members {
        let covered = cases.iter().any(|(name, ..)| *name == member.name) || member.name == "BucketARN";
        assert!(covered, "{} has no case", member.name);
    }
    for (member, value, lines) in cases {
        check_member(member, value, lines);
    }
}

/// Imports a destination with a member, and looks for the lines that it comes to, or that it is told.
#[track_caller]
pub(super) fn check_member(member: &str, value: Value, lines: Option<&str>) {
    let stream = destination(&json!({ member: value }));
    assert_eq!(stream.notes.is_empty(), lines.is_some(), "{member} {value}: {:?}", stream.notes);
    let text = output::document("t", "aws", std::slice::from_ref(&stream)).unwrap();
    let text: Vec<&str> = text.lines().map(str::trim_start).collect();
    for line in lines.unwrap_or_default().lines().map(str::trim_start) {
        assert!(line.is_empty() || text.contains(&line), "{member} {value}: {line} in\n{text:?}");
    }
    load(&[stream]);
}

#[test]
fn processors_are_listed_in_the_order_of_aws_or_told() {
    let processor = |kind: &str, parameters: &[(&str, &str)]| {
        let parameter =
            |(name, value): &(&str, &str)| json!({"ParameterName": name, "ParameterValue": value});
        json!({"Type": kind, "Parameters": parameters.iter().map(parameter).collect::<Vec<_>>()})
    };
    let split =
        processor("RecordDeAggregation", &[("SubRecordType", "DELIMITED"), ("Delimiter", "IyMjIw==")]);
    let logs = processor("CloudWatchLogProcessing", &[("DataMessageExtraction", "True")]);
    let now = [("MetadataExtractionQuery", "{a: now}"), ("JsonParsingEngine", "JQ-1.6")];
    for (processors, lines) in [
        (vec![processor("Decompression", &[])], Some("processors:\n - decompress:\n limit: 16MiB")),
        (
            vec![split, logs],
            Some(
                "- cloudwatch_logs:\n messages_only: true\n - record_deaggregation:\n delimiter_base64: IyMjIw==",
            ),
        ),
        (vec![processor("Lambda", &[])], None),
        (vec![processor("RecordDeAggregation", &[])], None),
        (vec![processor("MetadataExtraction", &now)], None),
    ] {
        let value = json!({"Enabled": true, "Processors": processors});
        check_member("ProcessingConfiguration", value, lines);
    }
}

#[test]
fn partitioning_comes_with_its_prefix_and_its_query() {
    let partitioned = |retry: Value| {
        destination(&json!({
            "Prefix": "!{partitionKeyFromQuery:a}/", "ErrorOutputPrefix": "!{firehose:error-output-type}/",
            "ProcessingConfiguration": {"Enabled": true, "Processors": [{"Type": "MetadataExtraction", "Parameters": [
                {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
                {"ParameterName": "MetadataExtractionQuery", "ParameterValue": "{a: .\"${a}\"}"}]}]},
            "DynamicPartitioningConfiguration": {"Enabled": "true", "RetryOptions": retry},
        }))
    };
    let stream = partitioned(json!({"DurationInSeconds": 7}));
    assert_eq!(stream.notes, []);
    let spec = load(&[stream]).remove(0);
    assert_eq!(spec.destination.partitioning.map(|partitioning| partitioning.retry_ms), Some(7_000));
    let query = "{a: .\"${a}\"}".to_owned();
    assert_eq!(spec.processors, [ProcessorSpec::MetadataExtraction { query }]);
    for bad in [json!({"DurationInSeconds": 7201}), json!({"Fn::If": ["x", 1, 2]})] {
        let stream = partitioned(bad);
        assert_eq!(told(&stream)[0].0, "ExtendedS3DestinationConfiguration.DynamicPartitioningConfiguration");
    }
}

#[test]
fn a_lambda_function_becomes_a_function_of_its_name() {
    let parameter = |name: &str, value: &str| json!({"ParameterName": name, "ParameterValue": value});
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:clean:live";
    let stream = destination(&json!({"ProcessingConfiguration": {"Enabled": true, "Processors": [
        {"Type": "AppendDelimiterToRecord"},
        {"Type": "Lambda", "Parameters": [parameter("LambdaArn", arn), parameter("NumberOfRetries", "5"),
            parameter("BufferSizeInMBs", "0.5"), parameter("BufferIntervalInSeconds", "60")]},
        {"Type": "Decompression", "Parameters": [parameter("CompressionFormat", "GZIP")]},
    ]}}));
    assert_eq!(stream.notes, []);
    assert!(stream.remarks.iter().any(|remark| remark.contains(arn)), "{:?}", stream.remarks);
    let called = WasmCall { retries: Some(5), batch_bytes: Some(1 << 19), ..WasmCall::of("clean") };
    let spec = &load(&[stream])[0];
    let expected =
        [ProcessorSpec::Decompress { limit_bytes: DECOMPRESSED_BYTES_MAX }, ProcessorSpec::Wasm(called)];
    assert_eq!((&*spec.processors, &*spec.destination.delimiter), (&expected[..], "\n"));
}

#[test]
fn every_member_of_a_stream_is_mapped_or_told_and_never_with_a_secret() {
    let bucket = json!({ "BucketARN": "arn:aws:s3:::lake" });
    for member in shape::input_of(Operation::CreateDeliveryStream).members {
        let mut input = json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": bucket});
        if ["DeliveryStreamName", "ExtendedS3DestinationConfiguration"].contains(&member.name) {
            continue;
        }
        input[member.name] = match member.name {
            "DeliveryStreamType" => "MSKAsSource".into(),
            "Tags" => json!([{"Key": "k"}]),
            "S3DestinationConfiguration" => bucket.clone(),
            _ => json!({"Password": "hunter2", "AccessKey": "hunter2", "Type": "Url"}),
        };
        let stream = stream::map(Definition { input: members(Some(&input)), ..Definition::default() }, "aws");
        let told = stream.problems().collect::<Vec<_>>().join("\n");
        assert!(told.contains(member.name) && !told.contains("hunter2"), "{}: {told}", member.name);
    }
}

#[test]
fn a_customers_key_is_kept_by_the_same_kms_and_one_of_aws_is_told() {
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
    let stream = |encryption: Value| {
        let s3 = json!({"BucketARN": "arn:aws:s3:::lake"});
        let input = json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": s3,
            "DeliveryStreamEncryptionConfigurationInput": encryption});
        stream::map(Definition { input: members(Some(&input)), ..Definition::default() }, "aws")
    };
    let customers = stream(json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": arn}));
    assert_eq!(customers.notes, []);
    assert_eq!(load(&[customers])[0].encryption_key.as_deref(), Some("1234abcd"));
    for told in [json!({"KeyType": "AWS_OWNED_CMK"}), json!({"KeyARN": {"Fn::GetAtt": "Key.Arn"}})] {
        let stream = stream(told);
        assert_eq!(stream.notes[0].path, "DeliveryStreamEncryptionConfigurationInput");
        assert_eq!(load(&[stream])[0].encryption_key, None);
    }
    // Terraform says that it is off.
    assert_eq!(stream(json!({"Enabled": false, "KeyARN": arn})).key, None);
}

#[test]
fn texts_that_mean_something_else_in_the_file_stay_what_they_were() {
    for prefix in ["${HOME}/", "$${x}/", "true", "007", "a: b", "# c", "- d", "'e", "", " f ", "ä\t"] {
        let stream = destination(&json!({ "Prefix": prefix }));
        assert_eq!(load(&[stream])[0].destination.prefix, prefix);
    }
}

#[test]
fn a_folder_gets_a_file_for_each_stream_and_none_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("streams");
    let streams = template(&[]);
    output::write("t", "aws", &streams, &into).unwrap();
    let mut names: Vec<_> = fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["clicks-dev.yaml", "to-splunk.yaml"]);
    let root = folder.path().join("standpipe.yaml");
    fs::write(&root, "streams_dir: streams\nstores: {aws: {type: s3}}\n").unwrap();
    assert_eq!(Config::load(&root, &variable).unwrap().streams, load(&streams));
    let error = output::write("t", "aws", &streams, &into).unwrap_err().to_string();
    assert!(error.starts_with("cannot write"), "{error}");
}

fn destinations() -> impl Strategy<Value = S3Destination> {
    let compression = prop::sample::select(vec![
        Compression::Uncompressed,
        Compression::Gzip,
        Compression::Zip,
        Compression::Snappy,
        Compression::HadoopSnappy,
    ]);
    let prefixes = prop::sample::select(vec![
        ("", ""),
        ("${a}/'b'/", "errors"),
        ("x/!{timestamp:yyyy}/!{firehose:random-string}/", "e/!{firehose:error-output-type}/"),
    ]);
    let (extensions, zones) =
        (prop::sample::select(vec!["", ".ndjson"]), prop::sample::select(vec!["UTC", "Europe/Vienna"]));
    let key = prop::option::of("arn:aws:kms:us-east-1:123456789012:key/[a-z]{1,8}");
    let logging = prop::option::of("[a-z/]{1,20}");
    ("[a-z]{3,20}", prefixes, compression, extensions, zones, (1_u64..=128, 0_u64..=900), key, logging)
        .prop_map(|(bucket, (prefix, error), compression, extension, zone, (mib, seconds), key, group)| {
            S3Destination {
                prefix: prefix.to_owned(),
                error_output_prefix: error.to_owned(),
                compression,
                file_extension: extension.to_owned(),
                custom_time_zone: zone.to_owned(),
                buffering: Buffering { size_bytes: mib << 20, interval_ms: seconds * 1000 },
                object: key.map_or_else(ObjectOptions::default, |key| with_key(&key)),
                logging: group.and_then(|group| log(&group)),
                ..plain(&bucket)
            }
        })
}

/// Gives a stream partitions, and processors in the API's order.
fn partition(spec: &mut StreamSpec, seconds: u64, delimiter: Option<String>, decompress: bool) {
    spec.destination.partitioning =
        Some(Partitioning { retry_ms: seconds * 1000, ..Partitioning::default() });
    spec.destination.prefix = "!{partitionKeyFromQuery:a}/".to_owned();
    spec.destination.error_output_prefix = "e/!{firehose:error-output-type}/".to_owned();
    let interval_ms = &mut spec.destination.buffering.interval_ms;
    *interval_ms = (*interval_ms).max(1000);
    let delimiter = delimiter.map(|delimiter| base64_simd::STANDARD.encode_to_string(delimiter));
    let query = "{a: .b} # why".to_owned();
    let decompress = decompress.then_some(ProcessorSpec::Decompress { limit_bytes: 16 << 20 });
    spec.processors = decompress
        .into_iter()
        .chain([
            ProcessorSpec::RecordDeAggregation { delimiter },
            ProcessorSpec::MetadataExtraction { query },
        ])
        .collect();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_exported_comes_back_the_same(
        name in "[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}",
        destination in destinations(),
        backup in prop::option::of(destinations()),
        converted in prop::option::of(conversion::tests::conversions()),
        partitioned in prop::option::of((0_u64..=7200, prop::option::of("[a-z#]{1,4}"), any::<bool>())),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("standpipe.yaml");
        fs::write(&path, "stores: {aws: {type: s3}}\n").unwrap();
        let config = Config::load(&path, &|_| None).unwrap();
        let (file_extension, custom_time_zone) = (String::new(), "UTC".to_owned());
        let backup = backup.map(|backup| S3Destination { file_extension, custom_time_zone, ..backup });
        let mut spec = spec(&name, destination, backup);
        if let Some((seconds, delimiter, decompress)) = partitioned {
            partition(&mut spec, seconds, delimiter, decompress);
        }
        if converted.is_some() {
            spec.destination.compression = Compression::Uncompressed;
            spec.destination.conversion = converted;
        }
        let input = json!({
            "DeliveryStreamName": name,
            "ExtendedS3DestinationConfiguration": mapping::from_spec(&spec, &config).configuration,
        });
        let stream = stream::map(Definition { input: members(Some(&input)), ..Definition::default() }, "aws");
        prop_assert_eq!(&stream.notes, &[]);
        prop_assert_eq!(load(&[stream]), [spec]);
    }
}
