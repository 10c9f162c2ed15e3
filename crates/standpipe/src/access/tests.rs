//! What a reload keeps and what it changes.

use std::fs;

use super::*;

fn config(yaml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("standpipe.yaml");
    fs::write(&path, yaml).unwrap();
    Config::load(&path, &|_| None).unwrap()
}

const STORES: &str = "stores: {disk: {type: file, path: d}}\n";

fn name(name: &str) -> StreamName {
    StreamName::parse(name).unwrap()
}

#[test]
fn a_limit_that_is_not_changed_goes_on_where_it_was() {
    let yaml = |rate: u32| {
        format!(
            "{STORES}credentials: [{{access_key_id: a, secret_access_key: s, limits: {{records_per_second: 5, \
             calls_per_second: 5}}}}]\nstreams: [{{name: s, destination: {{s3: {{}}}}, limits: {{bytes_per_second: \
             {rate}}}}}]\n"
        )
    };
    let access = Access::default();
    access.put_in_force(&config(&yaml(1_000)), &[]);
    let (before, stream) = (access.credential("a").unwrap(), access.stream(&name("s"), || true).unwrap());
    access.put_in_force(&config(&yaml(1_000)), &[]);
    let after = access.credential("a").unwrap();
    assert!(Arc::ptr_eq(before.puts.as_ref().unwrap(), after.puts.as_ref().unwrap()));
    assert!(Arc::ptr_eq(before.calls.as_ref().unwrap(), after.calls.as_ref().unwrap()));
    assert!(Arc::ptr_eq(&stream, &access.stream(&name("s"), || true).unwrap()));
    access.put_in_force(&config(&yaml(2_000)), &[]);
    let changed = access.stream(&name("s"), || true).unwrap();
    assert_eq!(changed.limits().bytes_per_second, Some(2_000));
}

#[test]
fn streams_have_their_own_limits_else_the_default_and_only_if_they_exist() {
    let access = Access::default();
    access.put_in_force(
        &config(&format!(
            "{STORES}limits: {{per_stream: {{records_per_second: 7, requests_per_second: 3}}}}\nstreams: [{{name: own, \
             destination: {{s3: {{}}}}, limits: {{records_per_second: none}}}}]\n"
        )),
        &[],
    );
    let limits = |stream: &str| access.stream(&name(stream), || stream != "gone").map(|found| found.limits());
    let of = |stream| limits(stream).map(|limits| (limits.records_per_second, limits.requests_per_second));
    assert_eq!(of("own"), Some((None, Some(3))));
    assert_eq!(of("api"), Some((Some(7), Some(3))));
    assert_eq!(of("gone"), None);
    access.put_in_force(&config(STORES), &[]);
    assert_eq!((of("own"), of("api")), (None, None));
}

#[test]
fn quotas_of_aws_are_those_of_the_region() {
    let access = Access::default();
    for (region, records, bytes, puts) in
        [("us-east-1", 500_000, 5 << 20, 2_000), ("eu-central-1", 100_000, 1 << 20, 1_000)]
    {
        access.put_in_force(&config(&format!("region: {region}\nlimits: {{quotas: aws}}\n")), &[]);
        let limits = access.stream(&name("s"), || true).unwrap().limits();
        assert_eq!(
            [limits.records_per_second, limits.bytes_per_second, limits.requests_per_second],
            [Some(records), Some(bytes), Some(puts)]
        );
        assert_eq!(access.calls().unwrap().calls_per_second(), 5);
    }
    access.put_in_force(&config("region: us-east-1\n"), &[]);
    assert!(access.stream(&name("s"), || true).is_none() && access.calls().is_none());
}

#[test]
fn a_credentials_file_asks_for_signatures_even_when_it_holds_none() {
    let access = Access::default();
    access.put_in_force(&config(""), &[]);
    assert_eq!(access.proof(), Proof::Nothing);
    access.put_in_force(&config("credentials_file: c.yaml\n"), &[]);
    assert!(access.proof() == Proof::Signature && access.credential("a").is_none());
}

#[test]
fn without_credentials_a_certificate_counts_where_everybody_must_have_one() {
    let tls = |auth| format!("tls: {{certificate: a, key: b, client_ca: c, client_auth: {auth}}}\n");
    let keys = "credentials: [{access_key_id: a, secret_access_key: s}]\n";
    let access = Access::default();
    for (yaml, expect) in [
        (tls("required"), Proof::Certificate),
        (tls("optional"), Proof::Nothing),
        (tls("required") + keys, Proof::Signature),
    ] {
        access.put_in_force(&config(&yaml), &[]);
        assert_eq!(access.proof(), expect, "{yaml}");
    }
}
