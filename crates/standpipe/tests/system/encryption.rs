//! Encryption at rest, with a real KMS and the SDK: what is on the disk, and keys that stop, change, go and come back.

use std::fs;
use std::ops::Range;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aws_sdk_firehose::Client as Sdk;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::{
    DeliveryStreamEncryptionConfiguration, DeliveryStreamEncryptionConfigurationInput as Input,
    DeliveryStreamEncryptionStatus as Status, DeliveryStreamFailureType, ExtendedS3DestinationConfiguration,
    KeyType, Record,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use standpipe_testkit::servers::LocalKms;
use standpipe_testkit::{Daemon, http_send};
use tokio::runtime::Runtime;

use crate::client::{Client, batch_of};
use crate::lake::Lake;
use crate::support::{
    SOON, STANDPIPE, all_settled, balance, default_credentials, eventually, files_below, metric, options,
    sdk_config, start,
};

/// What every record holds, and nothing else on the disk may.
const SECRET: &str = "the-quick-brown-fox";

struct Rig {
    lake: Lake,
    kms: LocalKms,
    /// ARNs of two keys, `main` and `other`.
    arns: [String; 2],
    runtime: Runtime,
}

impl Rig {
    fn new() -> Self {
        let kms = LocalKms::start().unwrap();
        let arns = [kms.create_key().unwrap(), kms.create_key().unwrap()];
        Self { lake: Lake::with(&["lake"]), kms, arns, runtime: Runtime::new().unwrap() }
    }

    fn key(&self, arn: &str) -> String {
        let endpoint = self.kms.endpoint();
        format!(
            "{{ type: aws_kms, key_id: \"{arn}\", endpoint: \"{endpoint}\", access_key_id: k, secret_access_key: s, \
             timeout: 2s }}"
        )
    }

    /// A configuration with both keys, and what is given besides.
    fn yaml(&self, more: &str) -> String {
        let [main, other] = self.arns.each_ref().map(|arn| self.key(arn));
        self.with_keys(&format!("  main: {main}\n  other: {other}\n"), more)
    }

    fn with_keys(&self, keys: &str, more: &str) -> String {
        format!("key_check_interval: 1s\nstores:\n  lake: {}\nkeys:\n{keys}{more}", self.lake.yaml())
    }

    fn enable(&self, arn: &str, enabled: bool) {
        let operation = if enabled { "EnableKey" } else { "DisableKey" };
        self.kms.call(operation, &json!({ "KeyId": arn })).unwrap();
    }

    /// An SDK that shows every answer.
    fn sdk(&self, daemon: &Daemon) -> Sdk {
        sdk(daemon, RetryConfig::disabled())
    }

    /// Makes a stream through the API.
    fn create(&self, sdk: &Sdk, stream: &str, encryption: Option<Input>) {
        let destination = ExtendedS3DestinationConfiguration::builder()
            .role_arn("arn:aws:iam::000000000000:role/r")
            .bucket_arn("arn:aws:s3:::lake")
            .buffering_hints(
                aws_sdk_firehose::types::BufferingHints::builder()
                    .size_in_mbs(1)
                    .interval_in_seconds(1)
                    .build(),
            );
        let create = sdk
            .create_delivery_stream()
            .delivery_stream_name(stream)
            .extended_s3_destination_configuration(destination.build().unwrap())
            .set_delivery_stream_encryption_configuration_input(encryption);
        self.runtime.block_on(create.send()).unwrap();
    }

    fn start(&self, sdk: &Sdk, stream: &str, key: Option<&str>) {
        let start = sdk.start_delivery_stream_encryption().delivery_stream_name(stream);
        let start = start.set_delivery_stream_encryption_configuration_input(key.map(customers));
        self.runtime.block_on(start.send()).unwrap();
    }

    fn encryption(&self, sdk: &Sdk, stream: &str) -> DeliveryStreamEncryptionConfiguration {
        let described =
            self.runtime.block_on(sdk.describe_delivery_stream().delivery_stream_name(stream).send());
        let described = described.unwrap().delivery_stream_description.unwrap();
        described.delivery_stream_encryption_configuration.unwrap()
    }

    fn await_status(&self, sdk: &Sdk, stream: &str, status: Status) -> DeliveryStreamEncryptionConfiguration {
        eventually("its encryption is changed", SOON, || {
            let encryption = self.encryption(sdk, stream);
            (encryption.status() == Some(&status)).then_some(encryption)
        })
    }

    /// Puts rows, and says whether they were encrypted.
    fn put(&self, sdk: &Sdk, stream: &str, ids: Range<u64>) -> bool {
        let put = sdk.put_record_batch().delivery_stream_name(stream);
        let put = put.set_records(Some(ids.map(|id| record(row(id))).collect()));
        let answer = self.runtime.block_on(put.send()).unwrap();
        assert_eq!(answer.failed_put_count(), 0);
        answer.encrypted().unwrap()
    }
}

fn sdk(daemon: &Daemon, retries: RetryConfig) -> Sdk {
    Sdk::from_conf(sdk_config(daemon.endpoint(), default_credentials()).retry_config(retries).build())
}

fn row(id: u64) -> Vec<u8> {
    format!("{{\"id\":{id},\"what\":\"{SECRET}\"}}\n").into_bytes()
}

fn record(data: Vec<u8>) -> Record {
    Record::builder().data(Blob::new(data)).build().unwrap()
}

fn customers(arn: &str) -> Input {
    Input::builder().key_type(KeyType::CustomerManagedCmk).key_arn(arn).build().unwrap()
}

/// A stream of the configuration file, encrypted with a key.
fn stream(name: &str, key: &str) -> String {
    format!(
        "streams:\n  - name: {name}\n    encryption: {{ key: {key} }}\n    destination:\n      s3: {{ store: lake, bucket: \
         lake, buffering: {{ size: 1MiB, interval: 1s }} }}\n"
    )
}

fn rows(ids: Range<u64>) -> impl Iterator<Item = Vec<u8>> {
    ids.map(row)
}

/// The status and the error of a put.
fn try_put(daemon: &Daemon, stream: &str, ids: Range<u64>) -> (u16, String) {
    let answer = Client::of(daemon).call("PutRecordBatch", batch_of(stream, rows(ids)));
    (answer.status, answer.error().to_owned())
}

/// The files of the data directory that hold a record in the clear.
fn in_the_clear(daemon: &Daemon) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    let files = files_below(&daemon.data_dir()).into_iter();
    files
        .filter(|file| holds(&fs::read(file).unwrap_or_default()))
        .map(|file| file.display().to_string())
        .collect()
}

fn missed(daemon: &Daemon, stream: &str) -> bool {
    let stream = format!("stream=\"{stream}\"");
    metric(daemon, "standpipe_alarm", &["kind=\"key_unavailable\"", &stream]) > 0
}

fn verify(daemon: &Daemon, with_keys: bool) -> String {
    let mut command = Command::new(STANDPIPE);
    command.current_dir(daemon.dir()).args(["journal", "verify", "data"]);
    if with_keys {
        command.args(["--config", "standpipe.yaml"]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn a_stream_is_encrypted_with_another_key_and_no_more_as_the_api_asks() {
    let rig = Rig::new();
    let daemon = start(rig.yaml("default_key: other\n"));
    let sdk = rig.sdk(&daemon);
    rig.create(&sdk, "s", None);
    assert_eq!(rig.encryption(&sdk, "s").status(), Some(&Status::Disabled));
    assert!(!rig.put(&sdk, "s", 0..10));
    assert!(!in_the_clear(&daemon).is_empty(), "else this test could not fail");

    rig.start(&sdk, "s", Some(&rig.arns[0]));
    let encryption = rig.await_status(&sdk, "s", Status::Enabled);
    assert_eq!(encryption.key_arn(), Some(rig.arns[0].as_str()));
    assert_eq!(encryption.key_type(), Some(&KeyType::CustomerManagedCmk));
    all_settled(&daemon, "s", SOON);
    eventually("what was plain is removed though nobody puts", SOON, || {
        in_the_clear(&daemon).is_empty().then_some(())
    });
    assert!(rig.put(&sdk, "s", 10..30));
    all_settled(&daemon, "s", SOON);
    assert_eq!(in_the_clear(&daemon), Vec::<String>::new());

    rig.start(&sdk, "s", None);
    let encryption = rig.await_status(&sdk, "s", Status::Enabled);
    assert_eq!((encryption.key_arn(), encryption.key_type()), (None, Some(&KeyType::AwsOwnedCmk)));
    assert!(rig.put(&sdk, "s", 30..40));

    rig.enable(&rig.arns[0], false);
    rig.start(&sdk, "s", Some(&rig.arns[0]));
    let encryption = rig.await_status(&sdk, "s", Status::EnablingFailed);
    let failure = encryption.failure_description().unwrap();
    assert_eq!(failure.r#type(), &DeliveryStreamFailureType::DisabledKmsKey, "{failure:?}");
    assert_eq!(encryption.key_type(), Some(&KeyType::AwsOwnedCmk), "the key in force stays in force");
    assert!(rig.put(&sdk, "s", 40..50));

    let stop = sdk.stop_delivery_stream_encryption().delivery_stream_name("s");
    rig.runtime.block_on(stop.send()).unwrap();
    rig.await_status(&sdk, "s", Status::Disabled);
    assert!(!rig.put(&sdk, "s", 50..60));
    let balance = all_settled(&daemon, "s", SOON);
    assert_eq!((balance.delivered, balance.lost), (60, 0));
    rig.lake.assert_rows("lake", 60, |_| 1..=1);
}

#[test]
fn what_the_api_cannot_encrypt_is_refused_with_the_setting_that_would_help() {
    let rig = Rig::new();
    let daemon = start(rig.yaml(&stream("file", "main")));
    let sdk = rig.sdk(&daemon);
    rig.create(&sdk, "s", None);
    let client = Client::of(&daemon);
    let refused = |operation: &str, input: Value, error: &str, says: &str| {
        let answer = client.call(operation, input.to_string().into());
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert_eq!((answer.status, answer.error()), (400, error), "{answer:?}");
        assert!(message.contains(says), "{answer:?}");
    };
    let with = |stream: &str, input: Value| json!({"DeliveryStreamName": stream, "DeliveryStreamEncryptionConfigurationInput": input});
    let arn = |region: &str| format!("arn:aws:kms:{region}:000000000000:key/unknown");
    let customers = |arn: String| json!({"KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": arn});
    let (start, invalid) = ("StartDeliveryStreamEncryption", "InvalidKMSResourceException");
    refused(start, with("s", customers(arn("us-east-1"))), invalid, "list it under the 'arns'");
    refused(start, with("s", json!({"KeyType": "AWS_OWNED_CMK"})), invalid, "'default_key'");
    refused(start, with("s", customers(arn("eu-west-1"))), "InvalidArgumentException", "Cross-region keys");
    refused(start, with("nobody", customers(rig.arns[0].clone())), "ResourceNotFoundException", "not found");
    let file = with("file", customers(rig.arns[0].clone()));
    refused(start, file, "InvalidArgumentException", "defined in standpipe's configuration file");
    rig.enable(&rig.arns[1], false);
    let mut create = with("new", customers(rig.arns[1].clone()));
    create["S3DestinationConfiguration"] =
        json!({"RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::lake"});
    refused("CreateDeliveryStream", create, invalid, "is disabled");
    refused(
        "DescribeDeliveryStream",
        json!({"DeliveryStreamName": "new"}),
        "ResourceNotFoundException",
        "new",
    );

    for call in 0..25 {
        let (operation, input) = match call % 2 {
            0 => (start, with("s", customers(rig.arns[0].clone()))),
            _ => ("StopDeliveryStreamEncryption", json!({"DeliveryStreamName": "s"})),
        };
        eventually("the change before is through", SOON, || {
            let answer = client.call(operation, input.to_string().into());
            assert!(answer.status == 200 || answer.error() == "ResourceInUseException", "{answer:?}");
            (answer.status == 200).then_some(())
        });
    }
    eventually("the last change is through", SOON, || {
        let answer = client.call(start, with("s", customers(rig.arns[0].clone())).to_string().into());
        (answer.error() == "LimitExceededException").then_some(())
    });
}

#[test]
fn a_key_that_is_stopped_in_the_kms_stops_its_stream_and_loses_nothing() {
    let mut rig = Rig::new();
    let mut daemon = start(rig.yaml(""));
    let sdk = rig.sdk(&daemon);
    rig.create(&sdk, "s", Some(customers(&rig.arns[0])));
    rig.create(&sdk, "plain", None);
    assert_eq!(rig.encryption(&sdk, "s").status(), Some(&Status::Enabled));
    rig.lake.server.kill().unwrap();
    assert!(rig.put(&sdk, "s", 0..100));
    rig.enable(&rig.arns[0], false);
    eventually("the alarm is raised", SOON, || missed(&daemon, "s").then_some(()));
    let put = sdk.put_record().delivery_stream_name("s").record(record(row(0)));
    let error = rig.runtime.block_on(put.send()).unwrap_err().into_service_error();
    assert!(error.is_invalid_kms_resource_exception(), "{error:?}");
    let ready = daemon.get("/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("key 'main' is disabled"), "{ready:?}");
    assert!(metric(&daemon, "standpipe_key_checks_total", &["key=\"main\"", "kind=\"disabled\""]) > 0);
    assert!(!rig.put(&sdk, "plain", 200..210), "the others work");

    daemon.restart_until("/healthz").unwrap();
    eventually("it waits for its key after a restart too", SOON, || missed(&daemon, "s").then_some(()));
    assert_eq!(try_put(&daemon, "s", 0..1), (400, "InvalidKMSResourceException".to_owned()));
    rig.lake.server.restart().unwrap();
    all_settled(&daemon, "plain", SOON);

    rig.enable(&rig.arns[0], true);
    eventually("it is opened by itself", SOON, || (!missed(&daemon, "s")).then_some(()));
    assert!(rig.put(&sdk, "s", 100..200));
    all_settled(&daemon, "s", SOON);
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    assert_eq!(metric(&daemon, "standpipe_records_lost_total", &[]), 0);
    rig.lake.assert_rows("lake", 210, |_| 1..=1);
}

#[test]
fn a_change_that_a_crash_has_cut_off_is_carried_out_by_the_next_start() {
    let rig = Rig::new();
    let mut daemon = start(rig.yaml(""));
    let sdk = rig.sdk(&daemon);
    rig.create(&sdk, "s", None);
    assert!(!rig.put(&sdk, "s", 0..10));
    daemon.kill9().unwrap();
    // What is on the disk between the answer to Start and the change.
    let wanted = json!({"key": "main", "key_type": "CUSTOMER_MANAGED_CMK", "key_arn": rig.arns[0]});
    let begun = json!({"format": 1, "status": "ENABLING", "wanted": wanted, "calls": []});
    fs::write(daemon.data_dir().join("streams/s/encryption.json"), begun.to_string()).unwrap();
    daemon.restart().unwrap();
    rig.await_status(&sdk, "s", Status::Enabled);
    assert!(rig.put(&sdk, "s", 10..20));
    assert_eq!(all_settled(&daemon, "s", SOON).delivered, 20);
}

#[test]
fn a_stream_whose_key_is_gone_for_good_can_be_deleted_and_made_again() {
    let rig = Rig::new();
    let mut daemon = start(rig.yaml(""));
    let sdk = rig.sdk(&daemon);
    rig.create(&sdk, "s", Some(customers(&rig.arns[0])));
    assert!(rig.put(&sdk, "s", 0..10));
    rig.kms.call("ScheduleKeyDeletion", &json!({"KeyId": rig.arns[0], "PendingWindowInDays": 7})).unwrap();
    daemon.restart_until("/healthz").unwrap();
    eventually("it waits for its key", SOON, || missed(&daemon, "s").then_some(()));
    let other = rig.key(&rig.arns[1]);
    daemon.reconfigure(rig.with_keys(&format!("  other: {other}\n"), "")).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    eventually("its key may not leave the configuration", SOON, || {
        (metric(&daemon, "standpipe_alarm", &["kind=\"reload_refused\""]) > 0).then_some(())
    });
    daemon.reconfigure(rig.yaml("")).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    eventually("it is as it was", SOON, || {
        (metric(&daemon, "standpipe_alarm", &["kind=\"reload_refused\""]) == 0).then_some(())
    });
    let address = format!("{}/streams/s", daemon.admin());
    assert!(http_send("DELETE", &address, "").unwrap().is_ok());
    assert_eq!(http_send("DELETE", &address, "").unwrap().status, 404);
    assert!(!missed(&daemon, "s"));
    assert_eq!(daemon.get("/readyz").unwrap().status, 200);
    rig.create(&sdk, "s", None);
    assert!(!rig.put(&sdk, "s", 0..10));
}

#[test]
fn an_encrypted_stream_survives_kills_and_a_kms_that_is_away_for_a_while() {
    let mut rig = Rig::new();
    let mut daemon = start(rig.yaml(&stream("s", "main")));
    let sdk = rig.sdk(&daemon);
    let mut next = 0;
    for round in 0..6 {
        for _ in 0..5 {
            assert!(rig.put(&sdk, "s", next..next + 50));
            next += 50;
        }
        match round {
            2 => {
                rig.kms.kill().unwrap();
                eventually("the alarm is raised", SOON, || missed(&daemon, "s").then_some(()));
                assert_eq!(daemon.get("/readyz").unwrap().status, 200, "there are data keys to go on with");
                assert!(rig.put(&sdk, "s", next..next + 50));
                next += 50;
                daemon.restart_until("/healthz").unwrap();
                assert_eq!(try_put(&daemon, "s", 0..1), (503, "ServiceUnavailableException".to_owned()));
                rig.kms.restart().unwrap();
                eventually("it is opened", SOON, || (!missed(&daemon, "s")).then_some(()));
            }
            _ => daemon.restart().unwrap(),
        }
        assert_eq!(in_the_clear(&daemon), Vec::<String>::new());
    }
    let balance = all_settled(&daemon, "s", SOON);
    assert_eq!((balance.accepted, balance.lost), (next, 0));
    rig.lake.assert_rows("lake", next, |_| 1..=1);
    daemon.terminate().unwrap();
    let (locked, open) = (verify(&daemon, false), verify(&daemon, true));
    assert!(locked.contains("locked by key 'main'") && !open.contains("locked"), "{locked}{open}");
}

#[test]
fn kills_in_the_middle_of_encrypted_puts_lose_nothing_and_store_nothing_twice() {
    const ROWS: u64 = 6_000;
    let rig = Rig::new();
    let mut daemon = start(rig.yaml(&stream("s", "main")));
    let patient = RetryConfig::standard().with_max_attempts(100).with_max_backoff(Duration::from_millis(200));
    let sdk = sdk(&daemon, patient);
    let producer = thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        for first in (0..ROWS).step_by(10) {
            let records = (first..first + 10).map(|id| record(row(id))).collect();
            let put = sdk.put_record_batch().delivery_stream_name("s").set_records(Some(records));
            assert_eq!(runtime.block_on(put.send()).unwrap().encrypted(), Some(true));
        }
    });
    let mut kills = 0;
    while !producer.is_finished() {
        let accepted = metric(&daemon, "standpipe_records_accepted_total", &[]);
        eventually("puts come in", SOON, || {
            let more = metric(&daemon, "standpipe_records_accepted_total", &[]) > accepted + 300;
            (more || producer.is_finished()).then_some(())
        });
        assert_eq!(in_the_clear(&daemon), Vec::<String>::new());
        daemon.kill9().unwrap();
        daemon.restart().unwrap();
        kills += 1;
    }
    producer.join().unwrap();
    assert!(kills > 3, "{kills} kills");
    assert_eq!(all_settled(&daemon, "s", SOON).lost, 0);
    rig.lake.assert_rows("lake", ROWS, |_| 1..=1);
}

#[test]
fn after_a_rotation_the_former_key_is_needed_no_more() {
    let mut rig = Rig::new();
    let main = |arn: &str| format!("  main: {}\n", rig.key(arn));
    let [old, new] = [0, 1].map(|at| rig.with_keys(&main(&rig.arns[at]), &stream("s", "main")));
    let mut daemon = start(old);
    let sdk = rig.sdk(&daemon);
    rig.lake.server.kill().unwrap();
    assert!(rig.put(&sdk, "s", 0..100));
    rig.enable(&rig.arns[0], false);
    daemon.reconfigure(new).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    let checks = || metric(&daemon, "standpipe_key_checks_total", &["kind=\"ok\""]);
    let before = checks();
    eventually("the new key is tried", SOON, || (checks() > before + 1).then_some(()));
    eventually("what the former one has wrapped is missed", SOON, || missed(&daemon, "s").then_some(()));
    rig.enable(&rig.arns[0], true);
    let holds = |text: &str, bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let still = |daemon: &Daemon, arn: &str| {
        let files = files_below(&daemon.data_dir()).into_iter();
        let mut segments = files.filter(|file| file.extension().is_some_and(|kind| kind == "seg"));
        segments.any(|file| holds(arn, &fs::read(file).unwrap_or_default()))
    };
    eventually("every segment is wrapped anew", SOON, || (!still(&daemon, &rig.arns[0])).then_some(()));
    assert!(still(&daemon, &rig.arns[1]));
    rig.kms.call("ScheduleKeyDeletion", &json!({"KeyId": rig.arns[0], "PendingWindowInDays": 7})).unwrap();
    daemon.restart().unwrap();
    assert!(rig.put(&sdk, "s", 100..200));
    rig.lake.server.restart().unwrap();
    assert_eq!(all_settled(&daemon, "s", SOON).lost, 0);
    rig.lake.assert_rows("lake", 200, |_| 1..=1);
}

#[test]
fn a_key_in_a_file_may_be_absent_for_a_while_and_is_rotated() {
    let mut lake = Lake::with(&["lake"]);
    let yaml = |key: &str| {
        format!(
            "key_check_interval: 1s\nstores:\n  lake: {}\nkeys:\n  main: {key}\n{}",
            lake.yaml(),
            stream("s", "main")
        )
    };
    let first = yaml("{ type: file, path: first.key }");
    let second = yaml("{ type: file, path: second.key, previous: [first.key] }");
    let last = yaml("{ type: file, path: second.key }");
    let keyless = first
        .replace("keys:\n  main: { type: file, path: first.key }\n", "")
        .replace("{ key: main }", "{ key: none }");
    // There is no key yet: the stream waits for it.
    let mut daemon =
        options(yaml("{ type: file, path: first.key }").replace(&stream("s", "main"), "")).start().unwrap();
    daemon.reconfigure(first).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    eventually("the stream waits for its key", SOON, || missed(&daemon, "s").then_some(()));
    assert_eq!(try_put(&daemon, "s", 0..1), (400, "InvalidKMSResourceException".to_owned()));
    let generate = |daemon: &Daemon, name: &str| {
        let generated =
            Command::new(STANDPIPE).current_dir(daemon.dir()).args(["generate-key", name]).output();
        assert!(generated.unwrap().status.success());
    };
    generate(&daemon, "first.key");
    let put = |daemon: &Daemon, ids: Range<u64>| {
        eventually("puts are taken", SOON, || (try_put(daemon, "s", ids.clone()).0 == 200).then_some(()));
    };
    put(&daemon, 0..50);
    lake.server.kill().unwrap();
    put(&daemon, 50..100);

    fs::rename(daemon.dir().join("first.key"), daemon.dir().join("away")).unwrap();
    eventually("the alarm is raised", SOON, || missed(&daemon, "s").then_some(()));
    assert_eq!(try_put(&daemon, "s", 0..1), (400, "InvalidKMSResourceException".to_owned()));
    fs::rename(daemon.dir().join("away"), daemon.dir().join("first.key")).unwrap();
    put(&daemon, 100..150);

    let reload = |daemon: &mut Daemon, yaml: String| {
        daemon.reconfigure(yaml).unwrap();
        daemon.signal(Signal::HUP).unwrap();
    };
    reload(&mut daemon, keyless);
    eventually("a configuration without the key is refused", SOON, || {
        (metric(&daemon, "standpipe_alarm", &["kind=\"reload_refused\""]) > 0).then_some(())
    });
    generate(&daemon, "second.key");
    reload(&mut daemon, last.clone());
    eventually("a rotation without the former key is refused", SOON, || {
        daemon.get("/readyz").unwrap().body.contains("neither in").then_some(())
    });
    put(&daemon, 150..160);
    reload(&mut daemon, second);
    eventually("data keys are wrapped anew", SOON, || {
        daemon.log().contains("data keys wrapped anew").then_some(())
    });
    fs::remove_file(daemon.dir().join("first.key")).unwrap();
    daemon.reconfigure(last).unwrap();
    daemon.restart().unwrap();
    put(&daemon, 160..200);
    lake.server.restart().unwrap();
    assert_eq!(all_settled(&daemon, "s", SOON).lost, 0);
    assert_eq!(balance(&daemon, "s").accepted, 200);
    lake.assert_rows("lake", 200, |_| 1..=1);
    assert_eq!(in_the_clear(&daemon), Vec::<String>::new());
}
