//! Who may do what, as an SDK sees it: policies, a credentials file that changes, tokens that end, limits, and the audit
//! log.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::Credentials;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::{
    ExtendedS3DestinationConfiguration, HttpEndpointConfiguration, HttpEndpointDestinationConfiguration,
    Record, S3DestinationConfiguration, Tag,
};
use chrono::{DateTime, SecondsFormat, Utc};
use rustix::process::Signal;
use serde_json::{Value, json};
use standpipe_testkit::Daemon;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{SOON, all_settled, eventually, metric, sdk_config, start};

const SECRET: &str = "a-secret-that-nobody-prints";
const STREAMS: &str = "\
stores:
  disk: { type: file, path: ./delivered }
streams:
  - name: app-a
    destination: { s3: { bucket: lake, buffering: { interval: 1s } } }
  - name: other
    destination: { s3: { bucket: lake, buffering: { interval: 1s } } }
";

/// The SDK for Rust with one key, and the runtime that it needs.
struct Sdk {
    client: Client,
    runtime: Runtime,
}

impl Sdk {
    fn of(daemon: &Daemon, key: &str, token: Option<&str>, attempts: u32) -> Self {
        let credentials = Credentials::new(key, SECRET, token.map(str::to_owned), None, "test");
        let retries = RetryConfig::standard().with_max_attempts(attempts);
        let config = sdk_config(daemon.endpoint(), credentials).retry_config(retries).build();
        Self { client: Client::from_conf(config), runtime: Runtime::new().unwrap() }
    }

    fn with(daemon: &Daemon, key: &str) -> Self {
        Self::of(daemon, key, None, 1)
    }

    fn wait<T, E, R>(&self, call: impl Future<Output = Result<T, SdkError<E, R>>>) -> Result<T, Refused>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        self.runtime.block_on(call).map_err(|error| {
            let (code, message) = (error.code().map(str::to_owned), error.message().map(str::to_owned));
            let shown = || DisplayErrorContext(&error).to_string();
            (code.unwrap_or_else(shown), message.unwrap_or_default())
        })
    }

    fn put(&self, stream: &str) -> Result<String, Refused> {
        let record = Record::builder().data(Blob::new("x\n")).build().unwrap();
        let put = self.client.put_record().delivery_stream_name(stream).record(record);
        self.wait(put.send()).map(|answer| answer.record_id().to_owned())
    }

    fn list(&self) -> Result<Vec<String>, Refused> {
        self.wait(self.client.list_delivery_streams().send())
            .map(|list| list.delivery_stream_names().to_vec())
    }

    fn create(&self, name: &str) -> Result<(), Refused> {
        let destination = ExtendedS3DestinationConfiguration::builder()
            .role_arn("arn:aws:iam::000000000000:role/r")
            .bucket_arn("arn:aws:s3:::lake")
            .build()
            .unwrap();
        let create = self.client.create_delivery_stream().delivery_stream_name(name);
        self.wait(create.extended_s3_destination_configuration(destination).send()).map(drop)
    }

    fn delete(&self, name: &str) -> Result<(), Refused> {
        self.wait(self.client.delete_delivery_stream().delivery_stream_name(name).send()).map(drop)
    }
}

/// Code and message of an error.
type Refused = (String, String);

fn code<T>(result: Result<T, Refused>) -> String {
    result.map_or_else(|(code, _)| code, |_| "OK".to_owned())
}

fn alarm(daemon: &Daemon, kind: &str) -> bool {
    metric(daemon, "standpipe_alarm", &[&format!("kind=\"{kind}\"")]) > 0
}

#[test]
fn a_producer_puts_to_its_own_streams_and_is_told_in_iams_words_what_it_may_not() {
    let policies = "\
policies:
  producer: { Statement: { Effect: Allow, Action: \"firehose:PutRecord*\", Resource: \"arn:aws:firehose:*:*:deliverystream/app-*\" } }
  no-deletes: { Statement: { Effect: Deny, Action: \"firehose:Delete*\", Resource: \"*\" } }
";
    let credentials = format!(
        "credentials:\n- {{ access_key_id: KEYALICE, secret_access_key: {SECRET}, user: alice, policy: [producer, no-deletes] \
         }}\n- {{ access_key_id: KEYROOT, secret_access_key: {SECRET} }}\n"
    );
    let daemon = start(format!("{policies}{credentials}{STREAMS}"));
    let (alice, root) = (Sdk::with(&daemon, "KEYALICE"), Sdk::with(&daemon, "KEYROOT"));
    alice.put("app-a").unwrap();
    let denied = |operation: &str, resource: &str, because: &str| {
        let message = format!(
            "User: arn:aws:iam::000000000000:user/alice is not authorized to perform: firehose:{operation} on resource: \
             arn:aws:firehose:us-east-1:000000000000:deliverystream/{resource} {because}"
        );
        ("AccessDeniedException".to_owned(), message)
    };
    let unallowed =
        |operation| format!("because no identity-based policy allows the firehose:{operation} action");
    for stream in ["other", "there-is-none"] {
        let expect = denied("PutRecord", stream, &unallowed("PutRecord"));
        assert_eq!(alice.put(stream).unwrap_err(), expect);
    }
    let expect = denied("ListDeliveryStreams", "*", &unallowed("ListDeliveryStreams"));
    assert_eq!(alice.list().unwrap_err(), expect);
    let expect = denied("DeleteDeliveryStream", "app-a", "with an explicit deny in an identity-based policy");
    assert_eq!(alice.delete("app-a").unwrap_err(), expect);
    assert_eq!(root.list().unwrap(), ["app-a", "other"]);
    assert_eq!(code(root.put("there-is-none")), "ResourceNotFoundException");
    assert_eq!(all_settled(&daemon, "app-a", SOON).accepted, 1);
    assert!(!daemon.log().contains(SECRET));
}

/// A credentials file, written as it should be: aside, and renamed into place.
struct CredentialsFile(TempDir);

impl CredentialsFile {
    fn with(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.write(text);
        file
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("credentials.yaml")
    }

    fn write(&self, text: &str) {
        let aside = self.0.path().join("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, self.path()).unwrap();
    }

    fn daemon(&self) -> Daemon {
        // The one of the configuration is the fixture's own.
        start(format!("credentials_file: {}\n{STREAMS}", self.path().display()))
    }
}

fn listed(keys: &[&str]) -> String {
    let line = |key: &&str| format!("- {{ access_key_id: {key}, secret_access_key: {SECRET} }}\n");
    keys.iter().map(line).collect()
}

#[test]
fn keys_of_the_file_come_and_go_with_it_and_a_file_that_is_wrong_changes_nothing() {
    let file = CredentialsFile::with(&listed(&["KEYONE"]));
    let mut daemon = file.daemon();
    let (one, two) = (Sdk::with(&daemon, "KEYONE"), Sdk::with(&daemon, "KEYTWO"));
    one.put("app-a").unwrap();
    assert_eq!(code(two.put("app-a")), "UnrecognizedClientException");
    file.write(&listed(&["KEYTWO"]));
    eventually("the new key is taken", SOON, || two.put("app-a").ok());
    assert_eq!(code(one.put("app-a")), "UnrecognizedClientException");

    file.write(&format!(
        "{}- {{ access_key_id: KEYBAD, secret_acces_key: {SECRET} }}\n",
        listed(&["KEYONE"])
    ));
    eventually("the alarm is raised", SOON, || alarm(&daemon, "credentials_refused").then_some(()));
    let ready = daemon.get("/readyz").unwrap();
    assert!(ready.is_ok() && ready.body.contains("credentials.yaml:2:"), "{ready:?}");
    two.put("app-a").unwrap();
    assert_eq!(code(one.put("app-a")), "UnrecognizedClientException");

    fs::remove_file(file.path()).unwrap();
    eventually("the alarm says that it is gone", SOON, || {
        daemon.get("/readyz").unwrap().body.contains("No such file").then_some(())
    });
    two.put("app-a").unwrap();
    file.write(&listed(&["KEYONE", "KEYTWO"]));
    eventually("the alarm is cleared", SOON, || (!alarm(&daemon, "credentials_refused")).then_some(()));
    one.put("app-a").unwrap();
    file.write("[]\n");
    eventually("nobody is let in", SOON, || one.put("app-a").err());
    assert_eq!(code(two.put("app-a")), "UnrecognizedClientException");
    assert!(!daemon.log().contains(SECRET));

    daemon.kill9().unwrap();
    file.write("- rubbish\n");
    let refused = format!("{:#}", daemon.restart().unwrap_err());
    assert!(refused.contains("credentials.yaml:1:3"), "{refused}");
}

#[test]
fn a_reload_with_a_credentials_file_that_is_wrong_is_refused_as_a_whole() {
    let of_policy = format!("- {{ access_key_id: KEYONE, secret_access_key: {SECRET}, policy: its }}\n");
    let file = CredentialsFile::with(&of_policy);
    let yaml = |effect: &str| {
        format!(
            "credentials_file: {}\npolicies: {{ its: {{ Statement: {{ Effect: {effect}, Action: \"*\", Resource: \"*\" }} \
             }} }}\n{STREAMS}",
            file.path().display()
        )
    };
    let mut daemon = start(yaml("Allow"));
    let one = Sdk::with(&daemon, "KEYONE");
    one.put("app-a").unwrap();

    let secret = file.0.path().join("secret");
    let later = format!("- {{ access_key_id: KEYTWO, secret_access_key_file: {} }}\n", secret.display());
    file.write(&format!("{of_policy}{later}"));
    eventually("the alarm is raised", SOON, || alarm(&daemon, "credentials_refused").then_some(()));
    daemon.reconfigure(yaml("Deny")).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    eventually("the reload is refused", SOON, || alarm(&daemon, "reload_refused").then_some(()));
    assert!(daemon.get("/readyz").unwrap().body.contains("credentials.yaml:2:"));
    one.put("app-a").unwrap();

    fs::write(&secret, SECRET).unwrap();
    eventually("the file that it names is looked for again", SOON, || {
        (!alarm(&daemon, "credentials_refused")).then_some(())
    });
    Sdk::with(&daemon, "KEYTWO").put("app-a").unwrap();
    // The watch on the configuration may have come late, and have reloaded by itself.
    daemon.signal(Signal::HUP).unwrap();
    eventually("the reload is through", SOON, || (!alarm(&daemon, "reload_refused")).then_some(()));
    assert_eq!(code(one.put("app-a")), "AccessDeniedException");
}

fn in_utc(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[test]
fn a_temporary_key_needs_its_token_until_it_ends() {
    const LIFE: Duration = Duration::from_secs(6);
    let ends = SystemTime::now() + LIFE;
    let temporary = format!(
        "- {{ access_key_id: KEYTEMP, secret_access_key: {SECRET}, session_token: the-token, expires: {} }}\n",
        in_utc(ends)
    );
    let file = CredentialsFile::with(&temporary);
    let daemon = file.daemon();
    let with = |token| Sdk::of(&daemon, "KEYTEMP", token, 1).put("app-a");
    let first = with(Some("the-token"));
    assert!(SystemTime::now() > ends || first.is_ok(), "{first:?}");
    for token in [None, Some("another")] {
        assert_eq!(code(with(token)), "UnrecognizedClientException", "{token:?}");
    }
    let expired =
        eventually("it ends", SOON, || with(Some("the-token")).err().filter(|_| SystemTime::now() >= ends));
    let message = "The security token included in the request is expired";
    assert_eq!(expired, ("ExpiredTokenException".to_owned(), message.to_owned()));
    file.write(&temporary.replace(&in_utc(ends), &in_utc(ends + SOON)));
    eventually("a longer life is taken", SOON, || with(Some("the-token")).ok());
}

#[test]
fn the_sdk_waits_at_a_limit_and_gets_everything_through() {
    let credentials = format!(
        "credentials: [{{ access_key_id: KEYROOT, secret_access_key: {SECRET}, limits: {{ calls_per_second: 2 }} }}]\n"
    );
    let limited =
        STREAMS.replace("- name: app-a\n", "- name: app-a\n    limits: { records_per_second: 500 }\n");
    let daemon = start(format!("{credentials}{limited}"));
    let patient = Sdk::of(&daemon, "KEYROOT", None, 20);
    let record = Record::builder().data(Blob::new("x\n")).build().unwrap();
    let began = Instant::now();
    for _ in 0..4 {
        let put = patient.client.put_record_batch().delivery_stream_name("app-a");
        let answer = patient.wait(put.set_records(Some(vec![record.clone(); 500])).send()).unwrap();
        assert_eq!(answer.failed_put_count(), 0);
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2_900), "4 × 500 records at 500 a second: {took:?}");
    assert_eq!(all_settled(&daemon, "app-a", SOON).accepted, 2_000);
    let of_stream = ["kind=\"stream\"", "name=\"app-a\""];
    let refused = metric(&daemon, "standpipe_ingest_throttled_requests_total", &of_stream);
    let records = metric(&daemon, "standpipe_ingest_throttled_records_total", &of_stream);
    assert!(refused >= 3 && records == refused * 500, "{refused} {records}");

    let hasty = Sdk::with(&daemon, "KEYROOT");
    let codes: Vec<_> = (0..5).map(|_| hasty.list()).collect();
    let refused = codes.into_iter().filter_map(Result::err).next();
    assert_eq!(refused, Some(("ThrottlingException".to_owned(), "Rate exceeded".to_owned())));
    let began = Instant::now();
    for _ in 0..5 {
        patient.list().unwrap();
    }
    assert!(began.elapsed() >= Duration::from_millis(1_400), "{:?}", began.elapsed());
    hasty.put("other").unwrap();
}

/// The lines of an audit log.
fn audited(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn who_did_what_is_noted_down_and_secrets_are_not() {
    let reader = "{ Statement: { Effect: Allow, Action: \"firehose:Describe*\", Resource: \"*\" } }";
    let credentials = format!(
        "audit: {{ path: ./audit.log }}\ncredentials:\n- {{ access_key_id: KEYROOT, secret_access_key: {SECRET}, user: \
         admin }}\n- {{ access_key_id: KEYBOB, secret_access_key: {SECRET}, user: bob, policy: {reader} }}\n"
    );
    let daemon = start(format!("{credentials}{STREAMS}"));
    let (root, bob) = (Sdk::with(&daemon, "KEYROOT"), Sdk::with(&daemon, "KEYBOB"));
    root.create("made").unwrap();
    root.put("app-a").unwrap();
    assert_eq!(code(bob.put("app-a")), "AccessDeniedException");
    assert_eq!(code(bob.delete("made")), "AccessDeniedException");
    let role = "arn:aws:iam::000000000000:role/r";
    let s3 =
        S3DestinationConfiguration::builder().role_arn(role).bucket_arn("arn:aws:s3:::lake").build().unwrap();
    let endpoint = HttpEndpointConfiguration::builder()
        .url("https://collector/?key=hunter2")
        .access_key("hunter2")
        .build()
        .unwrap();
    let http = HttpEndpointDestinationConfiguration::builder()
        .endpoint_configuration(endpoint)
        .s3_configuration(s3)
        .build();
    let create = root.client.create_delivery_stream().delivery_stream_name("http");
    let tag = Tag::builder().key("team").value("data").build().unwrap();
    root.wait(create.http_endpoint_destination_configuration(http).tags(tag).send()).unwrap();

    let path = daemon.dir().join("audit.log");
    let lines = audited(&path);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let user = line["userIdentity"]["userName"].as_str().unwrap();
            (user, line["eventName"].as_str().unwrap(), line["errorCode"].as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("admin", "CreateDeliveryStream", None),
            ("bob", "PutRecord", Some("AccessDeniedException")),
            ("bob", "DeleteDeliveryStream", Some("AccessDeniedException")),
            ("admin", "CreateDeliveryStream", None),
        ]
    );
    let made = "arn:aws:firehose:us-east-1:000000000000:deliverystream/made";
    assert_eq!(lines[0]["responseElements"], json!({ "deliveryStreamARN": made }));
    assert!(lines[0]["userAgent"].as_str().unwrap().contains("aws-sdk-rust"), "{}", lines[0]);
    assert_eq!(lines[0]["sourceIPAddress"], "127.0.0.1");
    assert_eq!(lines[3]["requestParameters"]["tags"], json!([{"key": "team", "value": "data"}]));
    let text = fs::read_to_string(&path).unwrap() + &daemon.log();
    assert!(!text.contains("hunter2") && !text.contains(SECRET), "{text}");
}

#[test]
fn nothing_is_changed_while_it_could_not_be_noted_down() {
    let credentials = format!(
        "audit: {{ path: ./audit.log }}\ncredentials: [{{ access_key_id: KEYROOT, secret_access_key: {SECRET} }}]\n"
    );
    let mut daemon = start(format!("{credentials}{STREAMS}"));
    let (root, path) = (Sdk::with(&daemon, "KEYROOT"), daemon.dir().join("audit.log"));
    root.create("made").unwrap();
    // As logrotate does, but that something is in the way.
    fs::rename(&path, daemon.dir().join("audit.log.1")).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..2 {
        let (code, message) = root.delete("made").unwrap_err();
        assert!(code == "ServiceUnavailableException" && message.contains("audit log"), "{code} {message}");
    }
    assert_eq!(root.list().unwrap(), ["app-a", "made", "other"], "who only looks is not kept from it");
    root.put("app-a").unwrap();
    assert!(alarm(&daemon, "audit_failed") && daemon.get("/readyz").unwrap().body.contains("audit log"));
    fs::remove_dir(&path).unwrap();
    root.delete("made").unwrap();
    assert!(!alarm(&daemon, "audit_failed"));
    let told = |path: &Path| -> Vec<String> {
        audited(path).iter().map(|line| line["eventName"].as_str().unwrap().to_owned()).collect()
    };
    let (list, delete) = ("ListDeliveryStreams", "DeleteDeliveryStream");
    assert_eq!(told(&path), [delete, delete, list, delete], "what waited comes first");
    assert_eq!(told(&daemon.dir().join("audit.log.1")), ["CreateDeliveryStream"]);
    daemon.kill9().unwrap();
    daemon.restart().unwrap();
    assert_eq!(root.list().unwrap(), ["app-a", "other"]);
    assert_eq!(told(&path).len(), 5, "a restart goes on in the same file");
}

#[test]
fn a_disk_that_does_not_answer_keeps_changes_from_being_made_and_nothing_else() {
    let credentials = format!(
        "audit: {{ path: ./audit.log }}\ncredentials: [{{ access_key_id: KEYROOT, secret_access_key: {SECRET} }}]\n"
    );
    let daemon = start(format!("{credentials}{STREAMS}"));
    let (root, path) = (Sdk::with(&daemon, "KEYROOT"), daemon.dir().join("audit.log"));
    // Opening a pipe that nobody reads lasts.
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for _ in 0..2 {
        let (code, message) = root.create("made").unwrap_err();
        assert!(code == "ServiceUnavailableException" && message.contains("audit log"), "{code} {message}");
        root.put("app-a").unwrap();
    }
    assert_eq!(root.list().unwrap(), ["app-a", "other"]);
    assert!(daemon.get("/readyz").unwrap().body.contains("the disk does not answer"));
    daemon.signal(Signal::HUP).unwrap();
    eventually("a reload is not held up", SOON, || {
        daemon.log().contains("configuration reloaded").then_some(())
    });
    root.put("app-a").unwrap();

    let mut answers = fs::File::options().read(true).write(true).open(&path).unwrap();
    root.create("made").unwrap();
    assert!(!alarm(&daemon, "audit_failed"));
    let mut lines = String::new();
    while lines.lines().count() < 4 || !lines.ends_with('\n') {
        let mut some = [0; 4096];
        let count = answers.read(&mut some).unwrap();
        lines.push_str(std::str::from_utf8(&some[..count]).unwrap());
    }
    let names = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["eventName"].clone());
    let (list, create) = ("ListDeliveryStreams", "CreateDeliveryStream");
    assert_eq!(names.collect::<Vec<_>>(), [create, create, list, create], "in order, and each once");
}
