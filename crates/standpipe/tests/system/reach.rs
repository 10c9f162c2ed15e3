//! How endpoints are reached: certificates of an authority of one's own, a certificate to show, a proxy on the way. The
//! code is the same for all kinds of endpoints.

use std::path::Path;

use rustix::process::Signal;
use standpipe_testkit::{Authority, Daemon};

use crate::double::tls;
use crate::endpoints::{put_all, records};
use crate::hec::{Hec, TOKEN};
use crate::lake::Lake;
use crate::outages::attempts;
use crate::proxy::ForwardProxy;
use crate::receiver::Receiver;
use crate::splunk::put_events;
use crate::support::{SOON, all_settled, balance, eventually, metric, start};

/// `clicks` to a receiver, `events` to a Splunk, and how each is reached.
fn yaml(lake: &Lake, receiver: &Receiver, hec: &Hec, [to_receiver, to_splunk]: [&str; 2]) -> String {
    let common = "buffering: { size: 4KiB, interval: 1s }, retry: 0s, error_output: { bucket: lake }";
    format!(
        r#"stores: {{ lake: {store} }}
streams:
  - name: clicks
    destination:
      http: {{ url: "{receiver}", {to_receiver} {common} }}
  - name: events
    destination:
      splunk: {{ url: "{hec}", endpoint: event, token: {TOKEN}, {to_splunk} {common} }}
"#,
        store = lake.yaml(),
        receiver = receiver.url(),
        hec = hec.url(),
    )
}

fn change(daemon: &mut Daemon, yaml: String) {
    daemon.reconfigure(yaml).unwrap();
    daemon.signal(Signal::HUP).unwrap();
}

fn held(daemon: &Daemon, stream: &str, count: u64) {
    let label = format!("stream=\"{stream}\"");
    let alarm = || metric(daemon, "standpipe_alarm", &["kind=\"misconfigured\"", &label]);
    eventually("the alarm is raised", SOON, || (alarm() > 0).then_some(()));
    assert_eq!(balance(daemon, stream).in_journal, count, "nothing is given up");
}

fn write(folder: &Path, name: &str, pem: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, pem).unwrap();
    path.display().to_string()
}

#[test]
fn who_is_not_trusted_or_does_not_trust_us_gets_nothing_until_the_certificates_are_there() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("endpoints").unwrap());
    let receiver = Receiver::secured(Some(tls(&authority, true)));
    let hec = Hec::secured(Some(tls(&authority, false)));
    let folder = tempfile::tempdir().unwrap();
    let of_client = authority.client("standpipe").unwrap();
    let [ca, cert, key] = [
        ("ca.pem", authority.certificate().as_str()),
        ("cert.pem", of_client.certificate()),
        ("key.pem", of_client.key()),
    ]
    .map(|(name, pem)| write(folder.path(), name, pem));

    let mut daemon = start(yaml(&lake, &receiver, &hec, ["", ""]));
    put_all(&daemon, 0..100);
    put_events(&daemon, 0..20);
    held(&daemon, "clicks", 100);
    held(&daemon, "events", 20);

    let trusting = format!("tls: {{ ca_file: {ca} }},");
    let before = attempts(&daemon, "misconfigured");
    change(&mut daemon, yaml(&lake, &receiver, &hec, [&trusting, &trusting]));
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 20);
    eventually("it is asked for a certificate", SOON, || {
        (attempts(&daemon, "misconfigured") > before).then_some(())
    });
    held(&daemon, "clicks", 100);
    assert_eq!(receiver.requests(), 0);

    let known = format!("tls: {{ ca_file: {ca}, cert_file: {cert}, key_file: {key} }},");
    change(&mut daemon, yaml(&lake, &receiver, &hec, [&known, &trusting]));
    assert_eq!(all_settled(&daemon, "clicks", SOON).delivered, 100);
    assert_eq!(receiver.records(), records(0..100));
    assert!(lake.keys("lake").is_empty(), "nothing was given up");
}

#[test]
fn a_proxy_carries_plain_requests_and_secured_ones_for_those_whom_it_knows() {
    let (lake, authority) = (Lake::with(&["lake"]), Authority::new("endpoints").unwrap());
    let receiver = Receiver::start();
    let hec = Hec::secured(Some(tls(&authority, false)));
    let folder = tempfile::tempdir().unwrap();
    let ca = write(folder.path(), "ca.pem", &authority.certificate());
    let proxy = ForwardProxy::start("me", "proxy-word");
    let by = |user: &str| format!("proxy: \"http://{user}@{}\",", proxy.address());
    let secured = format!("{} tls: {{ ca_file: {ca} }},", by("me:proxy-word"));

    let mut daemon = start(yaml(&lake, &receiver, &hec, [&by("me:mistyped"), &secured]));
    put_all(&daemon, 0..100);
    put_events(&daemon, 0..20);
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, 20);
    held(&daemon, "clicks", 100);
    assert_eq!(receiver.requests(), 0);
    change(&mut daemon, yaml(&lake, &receiver, &hec, [&by("me:proxy-word"), &secured]));
    assert_eq!(all_settled(&daemon, "clicks", SOON).delivered, 100);
    assert_eq!(receiver.records(), records(0..100));

    let carried = proxy.carried();
    let tunnel = format!("CONNECT {}", hec.url().trim_start_matches("https://"));
    let plain = format!("POST {}", receiver.url());
    for wanted in [tunnel, plain] {
        assert!(carried.iter().any(|line| line.starts_with(&wanted)), "{wanted}: {carried:?}");
    }
    assert!(
        !daemon.log().contains("proxy-word") && !daemon.log().contains("mistyped"),
        "a secret is in the log"
    );
}
