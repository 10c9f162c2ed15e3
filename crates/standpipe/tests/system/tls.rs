//! The Firehose API over TLS, as the real clients speak it: trust, HTTP/2, certificates of clients, certificates that
//! change under way, and the certificate that the daemon makes itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustix::process::Signal;
use standpipe_testkit::clients::{Node, Python, finish};
use standpipe_testkit::{Authority, Daemon, Issued};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::lake::Lake;
use crate::support::{
    SOON, STANDPIPE, all_settled, default_credentials, eventually, flights_file, metric, options, sdk_config,
    standpipe_put, start,
};

const YEAR: Duration = Duration::from_hours(365 * 24);
const FLIGHTS: u64 = 3_007;

/// Certificates on disk.
pub(crate) struct Files(TempDir);

impl Files {
    /// A certificate of `authority` for the daemon, and what clients trust.
    pub(crate) fn of(authority: &Authority) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.renew(authority);
        files
    }

    /// Writes another certificate into the same files.
    fn renew(&self, authority: &Authority) {
        self.write("server", &authority.server("server", YEAR).unwrap());
        fs::write(self.path("ca.pem"), authority.certificate()).unwrap();
    }

    fn write(&self, name: &str, issued: &Issued) {
        fs::write(self.path(&format!("{name}.pem")), issued.certificate()).unwrap();
        fs::write(self.path(&format!("{name}-key.pem")), issued.key()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A configuration that uses them, with a stream `s` in the bucket `lake`.
    pub(crate) fn yaml(&self, lake: &Lake, more: &str) -> String {
        format!(
            "tls:\n  certificate: {}\n  key: {}\n{more}stores:\n  lake: {}\nstreams:\n  - name: s\n    destination:\n      \
             s3: {{ store: lake, bucket: lake, buffering: {{ size: 16MiB, interval: 2s }} }}\n",
            self.path("server.pem").display(),
            self.path("server-key.pem").display(),
            lake.yaml()
        )
    }
}

fn handshakes(daemon: &Daemon, kind: &str) -> u64 {
    metric(daemon, "standpipe_tls_handshakes_total", &[&format!("kind=\"{kind}\"")])
}

/// boto3 puts the flights as `put.py` does.
fn boto3(daemon: &Daemon, ca: &Path, args: &[&str]) -> Command {
    let flights = flights_file();
    let args = [&[flights.to_str().unwrap(), "--newline", "--patience", "5"], args].concat();
    let mut command = Python::installed().unwrap().put(&daemon.endpoint(), "s", &args);
    command.env("AWS_CA_BUNDLE", ca);
    command
}

/// `standpipe put` of one line; whether it was taken, and what was printed.
fn put_line(daemon: &Daemon, args: &[&str]) -> Output {
    let line = daemon.dir().join("line");
    fs::write(&line, "{\"id\":0}\n").unwrap();
    standpipe_put(daemon, "s", &line).args(["--retries", "0"]).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn boto3_and_the_aws_cli_put_and_describe_with_a_ca_bundle() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let files = Files::of(&authority);
    let daemon = start(files.yaml(&lake, ""));
    let ca = files.path("ca.pem");
    let put = finish(boto3(&daemon, &ca, &[])).unwrap();
    assert_eq!((&put["acknowledged"], &put["raised"]), (&FLIGHTS.into(), &0.into()), "{put}");
    let bundle =
        ["describe-delivery-stream", "--delivery-stream-name", "s", "--ca-bundle", ca.to_str().unwrap()];
    let described = Python::installed().unwrap().aws_firehose(&daemon.endpoint(), &bundle).unwrap();
    assert_eq!(described["DeliveryStreamDescription"]["DeliveryStreamStatus"], "ACTIVE");
    all_settled(&daemon, "s", SOON);
    lake.assert_rows("lake", FLIGHTS, |_| 1..=1);
    assert!(handshakes(&daemon, "ok") >= 2);
    let left = metric(&daemon, "standpipe_tls_certificate_expiry_seconds", &[]);
    assert!((YEAR.as_secs() - 600..=YEAR.as_secs()).contains(&left), "{left}");
}

#[test]
fn the_sdk_for_javascript_puts_over_http2_and_that_for_rust_over_what_it_likes() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let files = Files::of(&authority);
    let daemon = start(files.yaml(&lake, ""));
    let mut node = Node::installed().unwrap().put(&daemon.endpoint(), "s");
    node.arg("h2").env("NODE_EXTRA_CA_CERTS", files.path("ca.pem"));
    let put = finish(node).unwrap();
    assert_eq!(
        (&put["failedPutCount"], &put["attempts"]),
        (&0.into(), &serde_json::json!([1, 1, 1])),
        "{put}"
    );

    let client = rust_sdk(&daemon, &authority);
    let record = Record::builder().data(Blob::new("{\"id\":0}\n")).build().unwrap();
    let put = client.put_record().delivery_stream_name("s").record(record).send();
    assert!(!Runtime::new().unwrap().block_on(put).unwrap().record_id().is_empty());
    assert_eq!(all_settled(&daemon, "s", SOON).accepted, 6);
}

/// The SDK for Rust, without a certificate.
fn rust_sdk(daemon: &Daemon, authority: &Authority) -> Client {
    let trust = TrustStore::empty().with_pem_certificate(authority.certificate());
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(TlsContext::builder().with_trust_store(trust).build().unwrap())
        .build_https();
    let config = sdk_config(daemon.endpoint(), default_credentials());
    Client::from_conf(config.retry_config(RetryConfig::disabled()).http_client(http).build())
}

#[test]
fn a_client_that_does_not_trust_the_certificate_sends_nothing() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let files = Files::of(&authority);
    let daemon = start(files.yaml(&lake, ""));
    let other = Files::of(&Authority::new("other").unwrap());
    let error = format!("{:#}", finish(boto3(&daemon, &other.path("ca.pem"), &[])).unwrap_err());
    assert!(error.contains("CERTIFICATE_VERIFY_FAILED"), "{error}");
    let refused = put_line(&daemon, &["--ca-file", other.path("ca.pem").to_str().unwrap()]);
    assert!(!refused.status.success() && text(&refused).contains("certificate"), "{}", text(&refused));
    assert!(handshakes(&daemon, "failed") >= 2);
    assert_eq!(handshakes(&daemon, "ok"), 0);
    let taken = put_line(&daemon, &["--ca-file", files.path("ca.pem").to_str().unwrap()]);
    assert!(taken.status.success(), "{}", text(&taken));
    assert_eq!(all_settled(&daemon, "s", SOON).accepted, 1);
}

#[test]
fn a_daemon_that_asks_for_certificates_takes_boto3_with_one_and_nobody_without() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let (files, clients) = (Files::of(&authority), Authority::new("clients").unwrap());
    files.write("producer", &clients.client("producer").unwrap());
    files.write("stranger", &authority.client("stranger").unwrap());
    fs::write(files.path("clients.pem"), clients.certificate()).unwrap();
    let asks = format!("  client_ca: {}\n", files.path("clients.pem").display());
    // The certificate alone decides: nobody needs to sign with a key that the daemon knows.
    let daemon = start(files.yaml(&lake, &format!("{asks}credentials: []\n")));
    let ca = files.path("ca.pem");
    let [mine, key, strange, strange_key] =
        ["producer.pem", "producer-key.pem", "stranger.pem", "stranger-key.pem"]
            .map(|name| files.path(name).to_str().unwrap().to_owned());

    finish(boto3(&daemon, &ca, &[])).unwrap_err();
    finish(boto3(&daemon, &ca, &["--client-cert", &strange, &strange_key])).unwrap_err();
    let trusts = ["--ca-file", ca.to_str().unwrap()];
    assert!(!put_line(&daemon, &trusts).status.success());
    assert!(handshakes(&daemon, "certificate") >= 3);
    assert_eq!(handshakes(&daemon, "ok"), 0);

    let put = finish(boto3(&daemon, &ca, &["--rows", "3000", "--client-cert", &mine, &key])).unwrap();
    assert_eq!((&put["acknowledged"], &put["raised"]), (&3000.into(), &0.into()), "{put}");
    let shows = ["--client-certificate", &mine, "--client-key", &key];
    let taken = put_line(&daemon, &[&trusts[..], &shows[..]].concat());
    assert!(taken.status.success(), "{}", text(&taken));
    assert_eq!(all_settled(&daemon, "s", SOON).accepted, 3001);
}

#[test]
fn a_connection_of_before_a_client_ca_is_not_let_in_by_it() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let (files, clients) = (Files::of(&authority), Authority::new("clients").unwrap());
    fs::write(files.path("clients.pem"), clients.certificate()).unwrap();
    let certificate_alone =
        format!("  client_ca: {}\ncredentials: []\n", files.path("clients.pem").display());
    let mut daemon = start(files.yaml(&lake, ""));
    let (runtime, client) = (Runtime::new().unwrap(), rust_sdk(&daemon, &authority));
    let put = || {
        let record = Record::builder().data(Blob::new("{\"id\":0}\n")).build().unwrap();
        runtime.block_on(client.put_record().delivery_stream_name("s").record(record).send()).is_ok()
    };
    assert!(put());
    daemon.reconfigure(files.yaml(&lake, &certificate_alone)).unwrap();
    let reloaded = reload(&daemon);
    assert!(reloaded.status.success(), "{}", text(&reloaded));
    assert!(!put());
    assert!(handshakes(&daemon, "certificate") >= 1, "it had to come anew");
    daemon.reconfigure(files.yaml(&lake, "")).unwrap();
    assert!(reload(&daemon).status.success());
    assert!(put());
    assert_eq!(all_settled(&daemon, "s", SOON).accepted, 2);
}

#[test]
fn a_plain_listener_beside_it_asks_for_signatures_but_not_for_certificates() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("ca").unwrap());
    let (files, clients) = (Files::of(&authority), Authority::new("clients").unwrap());
    fs::write(files.path("clients.pem"), clients.certificate()).unwrap();
    let ca = files.path("ca.pem");
    let asks = format!("  plain_listen: 127.0.0.1:0\n  client_ca: {}\n", files.path("clients.pem").display());
    for (more, of_nobody) in [("", false), ("credentials: []\n", true)] {
        let daemon = start(files.yaml(&lake, &format!("{asks}{more}")));
        let endpoints = fs::read(daemon.data_dir().join("endpoints.json")).unwrap();
        let endpoints: serde_json::Value = serde_json::from_slice(&endpoints).unwrap();
        let plain = endpoints["plain_listen"].as_str().unwrap();
        let line = daemon.dir().join("line");
        fs::write(&line, "{\"id\":0}\n").unwrap();
        let takes = |secret: &str| {
            let mut put = Command::new(STANDPIPE);
            put.args(["put", "--retries", "0", "--stream", "s", "--endpoint", &format!("http://{plain}")]);
            put.env("STANDPIPE_ACCESS_KEY_ID", Daemon::ACCESS_KEY_ID)
                .env("STANDPIPE_SECRET_ACCESS_KEY", secret);
            put.arg(&line).output().unwrap().status.success()
        };
        assert!(takes(Daemon::SECRET_ACCESS_KEY));
        assert_eq!(takes("of nobody"), of_nobody, "without credentials, who is on this machine may write");
        let refused = put_line(&daemon, &["--ca-file", ca.to_str().unwrap()]);
        assert!(!refused.status.success(), "the other listener asks for a certificate");
        assert_eq!(all_settled(&daemon, "s", SOON).accepted, 1 + u64::from(of_nobody));
    }
}

#[test]
fn another_certificate_comes_into_force_by_itself_or_by_a_reload_and_a_bad_one_never() {
    let (lake, [one, two, three]) =
        (Lake::with(&["lake"]), ["one", "two", "three"].map(|name| Authority::new(name).unwrap()));
    let files = Files::of(&one);
    let daemon = start(files.yaml(&lake, ""));
    let ca = files.path("ca.pem");
    let takes = || put_line(&daemon, &["--ca-file", ca.to_str().unwrap()]).status.success();
    assert!(takes());

    files.renew(&two);
    eventually("the daemon has seen the files change", SOON, || takes().then_some(()));

    files.renew(&three);
    let reloaded = reload(&daemon);
    assert!(reloaded.status.success(), "{}", text(&reloaded));
    assert!(takes(), "a reload waits for nothing");

    fs::write(files.path("server-key.pem"), one.server("server", YEAR).unwrap().key()).unwrap();
    let reloaded = reload(&daemon);
    assert!(!reloaded.status.success() && text(&reloaded).contains("server.pem"), "{}", text(&reloaded));
    assert!(takes(), "the old one stays in force");
    daemon.signal(Signal::HUP).unwrap();
    eventually("an alarm says which file is wrong", SOON, || {
        let ready = daemon.get("/readyz").unwrap();
        (ready.is_ok() && ready.body.contains("certificate_refused") && ready.body.contains("server.pem"))
            .then_some(())
    });
    assert!(takes());
    files.renew(&three);
    daemon.signal(Signal::HUP).unwrap();
    let alarms = || metric(&daemon, "standpipe_alarm", &[]);
    eventually("the alarms are cleared", SOON, || (alarms() == 0).then_some(()));
    assert!(takes());
}

/// `standpipe reload`.
fn reload(daemon: &Daemon) -> Output {
    Command::new(STANDPIPE).args(["reload", "--data-dir"]).arg(daemon.data_dir()).output().unwrap()
}

#[test]
fn a_certificate_made_by_the_daemon_works_for_the_sdks_and_is_found_by_the_command_line() {
    let lake = Lake::with(&["lake"]);
    let yaml = format!(
        "stores:\n  lake: {}\nstreams:\n  - name: s\n    destination:\n      s3: {{ store: lake, bucket: lake, buffering: {{ \
         interval: 2s }} }}\n",
        lake.yaml()
    );
    let mut daemon = options(yaml).arg("--dev-tls").start().unwrap();
    let ca = daemon.data_dir().join("dev-tls/ca.pem");
    let told = format!("export AWS_CA_BUNDLE={}", ca.canonicalize().unwrap().display());
    eventually("it says how to trust it", SOON, || daemon.log().contains(&told).then_some(()));
    let before = fs::read(&ca).unwrap();

    let put = finish(boto3(&daemon, &ca, &[])).unwrap();
    assert_eq!(put["acknowledged"], FLIGHTS, "{put}");
    daemon.restart().unwrap();
    assert_eq!(fs::read(&ca).unwrap(), before, "clients need to trust it only once");

    let line = daemon.dir().join("line");
    fs::write(&line, format!("{{\"id\":{FLIGHTS}}}\n")).unwrap();
    let mut found = Command::new(STANDPIPE);
    found.args(["put", "--stream", "s", "--config"]).arg(daemon.config_file()).arg(&line);
    for variable in ["AWS_CA_BUNDLE", "STANDPIPE_ENDPOINT"] {
        found.env_remove(variable);
    }
    let found = found.output().unwrap();
    assert!(found.status.success(), "{}", text(&found));
    all_settled(&daemon, "s", SOON);
    lake.assert_rows("lake", FLIGHTS + 1, |_| 1..=1);

    let refused = put_line(&daemon, &[]);
    assert!(!refused.status.success(), "the system does not trust it");
}
