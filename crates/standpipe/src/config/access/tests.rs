//! Credentials, policies and limits as they are written, good and bad.

use std::fs;
use std::time::Duration;

use standpipe_ingest::Operation;
use standpipe_ingest::access::{Attempt, Decision, Policy};
use standpipe_model::{Secret, Timestamp};

use super::super::Config;
use super::super::tests::{bad, good};

const KEY: &str = "access_key_id: a, secret_access_key: s";

fn with_policy(document: &str) -> String {
    format!("policies: {{p: {document}}}\n")
}

fn decide(policy: &Policy, operation: Operation, stream: &str, source: &str) -> Decision {
    let resource = format!("arn:aws:firehose:us-east-1:000000000000:deliverystream/{stream}");
    policy.decide(&Attempt { operation, resource: &resource, source: source.parse().ok() })
}

#[test]
fn a_policy_is_taken_as_iam_has_it() {
    let document = r#"{
      "Version": "2012-10-17", "Id": "x",
      "Statement": [
        {"Sid": "puts", "Effect": "Allow", "Action": ["firehose:PutRecord", "firehose:PutRecordBatch", "s3:*"],
         "Resource": "arn:aws:firehose:*:*:deliverystream/app-*",
         "Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}, "NotIpAddress": {"aws:sourceIp": "10.1.1.1"}}},
        {"Effect": "Allow", "NotAction": "firehose:Put*", "NotResource": "arn:aws:firehose:*:*:deliverystream/secret"},
        {"Effect": "Deny", "Action": "firehose:Delete*", "Resource": "*"}
      ]
    }"#;
    let config = good(&with_policy(document));
    let policy = &config.policies["p"];
    use Operation::{DeleteDeliveryStream, DescribeDeliveryStream, PutRecord};
    for (operation, stream, source, expect) in [
        (PutRecord, "app-a", "10.2.2.2", Decision::Allowed),
        (PutRecord, "app-a", "10.1.1.1", Decision::NotAllowed),
        (PutRecord, "app-a", "192.0.2.1", Decision::NotAllowed),
        (PutRecord, "other", "10.2.2.2", Decision::NotAllowed),
        (DescribeDeliveryStream, "other", "192.0.2.1", Decision::Allowed),
        (DescribeDeliveryStream, "secret", "10.2.2.2", Decision::NotAllowed),
        (DeleteDeliveryStream, "other", "10.2.2.2", Decision::Denied),
    ] {
        assert_eq!(decide(policy, operation, stream, source), expect, "{operation:?} {stream} {source}");
    }
}

#[test]
fn credentials_name_policies_or_hold_one() {
    let allow = |action: &str| {
        format!("{{Statement: {{Effect: Allow, Action: \"firehose:{action}\", Resource: \"*\"}}}}")
    };
    let text = format!(
        "policies: {{puts: {}, lists: {}}}\ncredentials:\n- {{{KEY}, policy: [puts, lists], user: al.ice@x}}\n- \
         {{access_key_id: b, secret_access_key: s, policy: puts}}\n- {{access_key_id: c, secret_access_key: s, policy: \
         {}}}\n- {{access_key_id: d, secret_access_key: s}}\n",
        allow("Put*"),
        allow("List*"),
        allow("Describe*")
    );
    let config = good(&text);
    let allowed = |index: usize| {
        let policy = config.credentials[index].policy.as_ref()?;
        let mut all = Operation::ALL.into_iter();
        let allowed = all.clone().filter(|o| decide(policy, *o, "s", "10.0.0.1") == Decision::Allowed);
        Some((allowed.count(), all.any(|o| decide(policy, o, "s", "10.0.0.1") == Decision::Denied)))
    };
    let found: Vec<_> = (0..4).map(allowed).collect();
    assert_eq!(found, [Some((4, false)), Some((2, false)), Some((1, false)), None]);
    let users: Vec<&str> = config.credentials.iter().map(|credential| credential.user.as_str()).collect();
    assert_eq!(users, ["al.ice@x", "b", "c", "d"]);
}

#[test]
fn what_is_not_understood_of_a_policy_is_refused_with_its_place() {
    for (statement, problem) in [
        (
            "Effect: Allow, Action: \"*\"",
            "1:27: policies.p.Statement: the key \"Resource\" or \"NotResource\" is missing",
        ),
        (
            "Effect: Permit, Action: \"*\", Resource: \"*\"",
            "1:36: policies.p.Statement.Effect: \"Permit\" is not one of Allow, Deny",
        ),
        (
            "Effect: Allow, Action: \"firehose:PutRecrod\", Resource: \"*\"",
            "1:51: policies.p.Statement.Action: \"firehose:PutRecrod\" matches no operation of the Firehose API, did you mean \
             \"firehose:PutRecord\"?",
        ),
        (
            "Effect: Allow, Action: [], Resource: \"*\"",
            "1:51: policies.p.Statement.Action: the list is empty",
        ),
        (
            "Effect: Allow, Action: \"*\", Resource: app-*",
            "1:66: policies.p.Statement.Resource: \"app-*\" is not a resource: write \"*\", or an ARN as \
             \"arn:aws:firehose:*:*:deliverystream/app-*\"",
        ),
        (
            "Effect: Allow, Principal: \"*\", Action: \"*\", Resource: \"*\"",
            "1:43: policies.p.Statement.Principal: unknown key",
        ),
        (
            "Effect: Allow, Action: \"*\", Resource: \"*\", Condition: {StringEquals: {\"aws:username\": x}}",
            "1:83: policies.p.Statement.Condition.StringEquals: unknown key",
        ),
        (
            "Effect: Allow, Action: \"*\", Resource: \"*\", Condition: {IpAddress: {\"aws:SourceIp\": 10.0.0.0/40}}",
            "1:111: policies.p.Statement.Condition.IpAddress.aws:SourceIp: \"10.0.0.0/40\" is neither an address nor a range \
             as 10.0.0.0/8",
        ),
    ] {
        bad(
            &with_policy(&format!("{{Statement: {{{statement}}}}}")),
            &[&format!("standpipe.yaml:{problem}")],
        );
    }
}

#[test]
fn credentials_that_cannot_be_meant_are_refused() {
    bad(
        &format!("credentials:\n- {{{KEY}}}\n- {{{KEY}}}\n"),
        &["standpipe.yaml:3:19: credentials[1].access_key_id: the access key id \"a\" is given twice"],
    );
    bad(
        &format!(
            "policies: {{reader: {{Statement: {{Effect: Deny, Action: \"*\", Resource: \"*\"}}}}}}\ncredentials: [{{{KEY}, policy: raeder}}]\n"
        ),
        &[
            "standpipe.yaml:2:64: credentials[0].policy: there is no policy \"raeder\" under \"policies\", did you mean \"reader\"?",
        ],
    );
    bad(
        &format!("credentials: [{{{KEY}, expires: 2026-12-31T00:00:00Z}}]\n"),
        &["standpipe.yaml:1:65: credentials[0].expires: only a credential with a session token can expire"],
    );
    bad(
        &format!("credentials: [{{{KEY}, session_token: t, expires: tomorrow}}]\n"),
        &[
            "standpipe.yaml:1:83: credentials[0].expires: \"tomorrow\" is not a point in time as 2026-12-31T23:59:59Z",
        ],
    );
    bad(
        &format!("credentials: [{{{KEY}, user: al/ice}}]\n"),
        &[
            "standpipe.yaml:1:62: credentials[0].user: \"al/ice\" is not a user: 1 to 64 letters, digits and _ + = , . @ -",
        ],
    );
}

#[test]
fn a_credential_may_end() {
    let config = good(&format!(
        "credentials: [{{{KEY}, session_token: t, expires: \"2026-01-01T01:00:00+01:00\"}}]\n"
    ));
    assert_eq!(config.credentials[0].expires_at, Some(Timestamp(1_767_225_600_000)));
    assert_eq!(config.credentials[0].session_token, Some(Secret::new("t")));
}

/// The credentials of a file, by their ids; problems come with the folder cut off.
fn of_file(main: &str, file: Option<&str>) -> Result<Vec<String>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("standpipe.yaml");
    fs::write(&path, main).unwrap();
    if let Some(file) = file {
        fs::write(folder.path().join("c.yaml"), file).unwrap();
    }
    let env = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
    let config = Config::load(&path, &env).unwrap_or_else(|problems| panic!("{problems}"));
    let strip = format!("{}/", folder.path().display());
    match config.load_credentials(&env) {
        Ok(found) => Ok(found.into_iter().map(|credential| credential.access_key_id).collect()),
        Err(problems) => Err(problems.to_string().replace(&strip, "").lines().map(str::to_owned).collect()),
    }
}

#[test]
fn a_credentials_file_holds_a_list_and_may_name_the_policies_of_the_configuration() {
    let main = "listen: 0.0.0.0:4573\ncredentials_file: c.yaml\npolicies: {p: {Statement: {Effect: Deny, Action: \"*\", Resource: \"*\"}}}\n";
    let file = "- {access_key_id: x, secret_access_key: \"${SECRET}\", policy: p}\n- {access_key_id: y, secret_access_key: s}\n";
    assert_eq!(of_file(main, Some(file)), Ok(vec!["x".to_owned(), "y".to_owned()]));
    assert_eq!(of_file(main, Some("[]\n")), Ok(vec![]));
    assert_eq!(of_file("", Some("- rubbish\n")), Ok(vec![]), "a file that is not named is not read");
}

#[test]
fn a_credentials_file_that_is_wrong_says_where() {
    let main = format!("credentials: [{{{KEY}}}]\ncredentials_file: c.yaml\n");
    for (file, problem) in [
        (None, "c.yaml: cannot read the file: No such file or directory (os error 2)"),
        (Some(""), "c.yaml:1:1: the file holds no credentials"),
        (Some("- {access_key_id: x"), "c.yaml:"),
        (
            Some("- {access_key_id: a, secret_access_key: s}\n"),
            "c.yaml:1:19: [0].access_key_id: the access key id \"a\" is given twice",
        ),
        (
            Some("- {access_key_id: x, secret_access_key: s, policy: p}\n"),
            "c.yaml:1:52: [0].policy: there is no policy \"p\" under \"policies\"",
        ),
    ] {
        let problems = of_file(&main, file).unwrap_err();
        assert!(problems.len() == 1 && problems[0].starts_with(problem), "{problems:?}");
    }
}

#[test]
fn limits_come_from_the_nearest_place_that_says_something() {
    let config = good(&format!(
        "region: eu-central-1\nlimits: {{quotas: aws, per_credential: {{bytes_per_second: 1MiB, calls_per_second: 9}}, \
         per_stream: {{records_per_second: none}}, calls_per_second: none}}\ncredentials: [{{{KEY}, limits: \
         {{requests_per_second: 7, calls_per_second: none}}}}]\nstores: {{d: {{type: file, path: d}}}}\nstreams: [{{name: s, \
         destination: {{s3: {{}}}}, limits: {{bytes_per_second: 5KiB, burst: 3s, concurrent_requests: 2}}}}]\n"
    ));
    let credential = config.credentials[0].rates.or(config.rates.per_credential);
    let puts = credential.puts.limits().unwrap();
    assert_eq!((puts.requests_per_second, puts.bytes_per_second), (Some(7), Some(1 << 20)));
    assert_eq!((credential.calls_per_second(), config.rates.calls_per_second()), (None, None));
    let (_, own) = config.stream_rates.first_key_value().unwrap();
    let stream = own.or(config.rates.per_stream).limits().unwrap();
    assert_eq!((stream.records_per_second, stream.requests_per_second), (None, Some(1_000)));
    assert_eq!((stream.bytes_per_second, stream.concurrent_requests), (Some(5 << 10), Some(2)));
    assert_eq!(stream.burst, Duration::from_secs(3));
    bad(
        "limits: {quotas: azure, calls_per_second: 0}\n",
        &[
            "standpipe.yaml:1:18: limits.quotas: \"azure\" is not one of none, aws",
            "standpipe.yaml:1:43: limits.calls_per_second: 0 is below the least allowed, 1",
        ],
    );
}
