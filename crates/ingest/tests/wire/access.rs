//! Permission, limits and the audit log, as seen from outside.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use standpipe_ingest::access::{
    AuditKind, CallLimiter, Effect, Operations, Policy, PutLimiter, PutLimits, ResourcePattern, Resources,
    SourceNetwork, SourceRule, Statement,
};
use standpipe_ingest::{Credential, Operation, Options};
use standpipe_model::{Secret, Timestamp};

use crate::harness::{Answer, Call, Memory, NOW, SECRET, Server, TOKEN, batch, single};

const KEY: &str = "AKIDALICE";
const NO_LIMITS: PutLimits = PutLimits {
    records_per_second: None,
    bytes_per_second: None,
    requests_per_second: None,
    concurrent_requests: None,
    burst: Duration::from_secs(1),
};

fn statement(effect: Effect, action: &str, streams: &str) -> Statement {
    let pattern = format!("arn:aws:firehose:*:*:deliverystream/{streams}");
    Statement {
        effect,
        operations: Operations::of_action(action).unwrap(),
        resources: Resources::In(vec![ResourcePattern::parse(&pattern).unwrap()]),
        source: vec![],
    }
}

/// A server that knows alice's key, as `change` makes it.
async fn server(memory: Memory, change: impl FnOnce(&mut Credential)) -> Server {
    let mut credential = Credential::new(KEY, Secret::new(SECRET));
    credential.user = "alice".to_owned();
    change(&mut credential);
    let options = Options { region: "eu-west-1".to_owned(), ..Options::default() };
    Server::start_with(Memory { credentials: vec![Arc::new(credential)], ..memory }, options).await
}

async fn with_policy(statements: Vec<Statement>) -> Server {
    server(Memory::default(), |credential| credential.policy = Some(Policy::new(statements))).await
}

async fn call(server: &Server, operation: &str, body: Value) -> Answer {
    server.send(Call { access_key: KEY, ..Call::new(operation, body.to_string()) }).await
}

fn named(stream: &str) -> Value {
    json!({"DeliveryStreamName": stream})
}

fn denied(operation: &str, stream: &str) -> String {
    format!(
        "User: arn:aws:iam::123456789012:user/alice is not authorized to perform: firehose:{operation} on resource: \
         arn:aws:firehose:eu-west-1:123456789012:deliverystream/{stream}"
    )
}

fn audited(server: &Server) -> Vec<Value> {
    let audited = server.memory.audited.lock().unwrap();
    audited.iter().map(|event| serde_json::from_str(&event.json).unwrap()).collect()
}

#[tokio::test]
async fn who_may_put_to_some_streams_may_do_nothing_else_and_is_told_in_iams_words() {
    let server = with_policy(vec![
        statement(Effect::Allow, "firehose:PutRecord*", "app-*"),
        statement(Effect::Deny, "firehose:*", "app-secret"),
    ])
    .await;
    assert_eq!(call(&server, "PutRecord", single("app-a", b"x")).await.status, 200);
    assert_eq!(call(&server, "PutRecordBatch", batch("app-b", &[b"x".to_vec()])).await.status, 200);
    let none = |operation| format!("because no identity-based policy allows the firehose:{operation} action");
    let explicit = "with an explicit deny in an identity-based policy".to_owned();
    for (operation, body, resource, because) in [
        ("PutRecord", single("other", b"x"), "other", none("PutRecord")),
        ("PutRecordBatch", batch("gone", &[b"x".to_vec()]), "gone", none("PutRecordBatch")),
        ("PutRecord", single("..", b"x"), "..", none("PutRecord")),
        ("PutRecord", single("app-secret", b"x"), "app-secret", explicit.clone()),
        ("DescribeDeliveryStream", named("app-a"), "app-a", none("DescribeDeliveryStream")),
        ("DescribeDeliveryStream", named("gone"), "gone", none("DescribeDeliveryStream")),
        ("DeleteDeliveryStream", named("app-secret"), "app-secret", explicit),
        ("ListDeliveryStreams", json!({}), "*", none("ListDeliveryStreams")),
    ] {
        let answer = call(&server, operation, body).await;
        answer.is_error(400, "AccessDeniedException", &format!("{} {because}", denied(operation, resource)));
    }
    assert_eq!(server.memory.puts.lock().unwrap().len(), 2);
    // Of a stream that may be put to, it may be known whether it is there.
    let server = with_policy(vec![statement(Effect::Allow, "firehose:Put*", "gone")]).await;
    call(&server, "PutRecord", single("gone", b"x")).await.is_error(400, "ResourceNotFoundException", "");
}

#[tokio::test]
async fn every_operation_needs_permission_and_is_done_by_who_has_it() {
    let destination = json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"});
    let with = |more: Value| {
        let mut body = named("s");
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let update = json!({
        "CurrentDeliveryStreamVersionId": "1", "DestinationId": "destinationId-000000000001",
        "ExtendedS3DestinationUpdate": {"Prefix": "p/"},
    });
    let mut tried = 0;
    for (operation, body) in [
        ("CreateDeliveryStream", with(json!({"ExtendedS3DestinationConfiguration": destination}))),
        ("DeleteDeliveryStream", named("s")),
        ("DescribeDeliveryStream", named("s")),
        ("ListDeliveryStreams", json!({})),
        ("ListTagsForDeliveryStream", named("s")),
        ("PutRecord", single("s", b"x")),
        ("PutRecordBatch", batch("s", &[b"x".to_vec()])),
        ("StartDeliveryStreamEncryption", named("s")),
        ("StopDeliveryStreamEncryption", named("s")),
        ("TagDeliveryStream", with(json!({"Tags": [{"Key": "k"}]}))),
        ("UntagDeliveryStream", with(json!({"TagKeys": ["k"]}))),
        ("UpdateDestination", with(update)),
    ] {
        let all_others = Statement {
            operations: Operations::of_action(&format!("firehose:{operation}")).unwrap().others(),
            ..statement(Effect::Allow, "*", "*")
        };
        let server = with_policy(vec![all_others]).await;
        let stream = if operation == "ListDeliveryStreams" { "*" } else { "s" };
        let answer = call(&server, operation, body.clone()).await;
        answer.is_error(400, "AccessDeniedException", &denied(operation, stream));
        let server = with_policy(vec![statement(Effect::Allow, &format!("firehose:{operation}"), "*")]).await;
        assert_eq!(call(&server, operation, body).await.status, 200, "{operation}");
        tried += 1;
    }
    assert_eq!(tried, Operation::ALL.len());
}

#[tokio::test]
async fn what_is_no_valid_request_is_refused_as_such_before_anyone_asks_for_permission() {
    let server = with_policy(vec![]).await;
    for (operation, body, code) in [
        ("PutRecord", json!({"DeliveryStreamName": "s"}), "ValidationException"),
        ("PutRecord", json!({"DeliveryStreamName": 1}), "SerializationException"),
        ("DescribeDeliveryStream", json!({}), "ValidationException"),
        ("DescribeDeliveryStream", json!({"DeliveryStreamName": 1}), "SerializationException"),
    ] {
        call(&server, operation, body).await.is_error(400, code, "");
    }
}

#[tokio::test]
async fn a_stream_is_created_with_tags_only_by_who_may_tag() {
    let server = with_policy(vec![statement(Effect::Allow, "firehose:Create*", "*")]).await;
    let destination = json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"});
    let mut input = json!({"DeliveryStreamName": "s", "ExtendedS3DestinationConfiguration": destination});
    assert_eq!(call(&server, "CreateDeliveryStream", input.clone()).await.status, 200);
    input["Tags"] = json!([{"Key": "k", "Value": "v"}]);
    let answer = call(&server, "CreateDeliveryStream", input).await;
    answer.is_error(400, "AccessDeniedException", &denied("TagDeliveryStream", "s"));
}

#[tokio::test]
async fn the_address_of_the_connection_is_what_a_condition_is_about() {
    for (range, status) in [("127.0.0.0/8", 200), ("192.0.2.0/24", 400)] {
        let source = vec![SourceRule::In(vec![SourceNetwork::parse(range).unwrap()])];
        let allow = Statement { source, ..statement(Effect::Allow, "*", "*") };
        let server = with_policy(vec![allow]).await;
        assert_eq!(call(&server, "PutRecord", single("s", b"x")).await.status, status, "{range}");
    }
}

#[tokio::test]
async fn an_expired_token_is_called_so() {
    let server = server(Memory::default(), |credential| {
        credential.session_token = Some(Secret::new(TOKEN));
        credential.expires_at = Some(Timestamp(NOW * 1000));
    })
    .await;
    let put =
        Call { access_key: KEY, token: Some(TOKEN), ..Call::new("PutRecord", single("s", b"x").to_string()) };
    let answer = server.send(put).await;
    answer.is_error(400, "ExpiredTokenException", "The security token included in the request is expired");
}

#[tokio::test]
async fn a_credentials_limits_refuse_the_whole_put_and_say_when_to_come_again() {
    let limits = PutLimits { records_per_second: Some(10), ..NO_LIMITS };
    let server = server(Memory::default(), |credential| {
        credential.puts = Some(Arc::new(PutLimiter::new(limits)));
    })
    .await;
    let ten = batch("s", &vec![b"x".to_vec(); 10]);
    assert_eq!(call(&server, "PutRecordBatch", ten.clone()).await.status, 200);
    let answer = call(&server, "PutRecordBatch", ten.clone()).await;
    answer.is_error(503, "ServiceUnavailableException", "Slow down.");
    assert_eq!(answer.header("x-amz-retry-after"), "1000");
    assert_eq!(server.memory.puts.lock().unwrap().len(), 1, "nothing of it is stored");
    assert_eq!(*server.memory.throttled.lock().unwrap(), [("Credential(\"alice\")".to_owned(), 10)]);
    // Other keys have their own.
    assert_eq!(server.call("PutRecordBatch", &ten).await.status, 200);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(call(&server, "PutRecordBatch", ten).await.status, 200);
}

#[tokio::test]
async fn a_streams_limits_are_shared_by_all_who_put_to_it() {
    let limiter = PutLimiter::new(PutLimits { requests_per_second: Some(3), ..NO_LIMITS });
    let memory = Memory { stream_limits: HashMap::from([("s", Arc::new(limiter))]), ..Memory::default() };
    let server = server(memory, |_| {}).await;
    for _ in 0..2 {
        assert_eq!(call(&server, "PutRecord", single("s", b"x")).await.status, 200);
    }
    assert_eq!(server.call("PutRecord", &single("s", b"x")).await.status, 200);
    let answer = call(&server, "PutRecord", single("s", b"x")).await;
    answer.is_error(503, "ServiceUnavailableException", "Slow down.");
    assert_eq!(answer.header("x-amz-retry-after"), "334");
    assert_eq!(*server.memory.throttled.lock().unwrap(), [("Stream(\"s\")".to_owned(), 1)]);
    assert_eq!(call(&server, "PutRecord", single("t", b"x")).await.status, 200);
}

#[tokio::test]
async fn only_so_many_puts_are_answered_at_the_same_time() {
    let limiter = PutLimiter::new(PutLimits { concurrent_requests: Some(1), ..NO_LIMITS });
    let memory = Memory { stream_limits: HashMap::from([("held", Arc::new(limiter))]), ..Memory::default() };
    let server = server(memory, |_| {}).await;
    let second = async {
        server.memory.begun.notified().await;
        let answer = call(&server, "PutRecord", single("held", b"x")).await;
        server.memory.release.notify_one();
        answer
    };
    let (first, second) = tokio::join!(call(&server, "PutRecord", single("held", b"x")), second);
    assert_eq!(first.status, 200);
    second.is_error(503, "ServiceUnavailableException", "Slow down.");
    server.memory.release.notify_one();
    assert_eq!(call(&server, "PutRecord", single("held", b"x")).await.status, 200, "its place is free again");
}

#[tokio::test]
async fn calls_beyond_the_rate_are_told_in_the_words_of_the_control_plane() {
    let memory = Memory { call_limits: Some(Arc::new(CallLimiter::new(2))), ..Memory::default() };
    let server = server(memory, |credential| credential.calls = Some(Arc::new(CallLimiter::new(1)))).await;
    assert_eq!(call(&server, "ListDeliveryStreams", json!({})).await.status, 200);
    let own = call(&server, "ListDeliveryStreams", json!({})).await;
    own.is_error(400, "ThrottlingException", "Rate exceeded");
    assert_eq!(server.call("ListDeliveryStreams", &json!({})).await.status, 200);
    let all = server.call("ListDeliveryStreams", &json!({})).await;
    all.is_error(400, "ThrottlingException", "Rate exceeded");
    assert_eq!(call(&server, "DescribeDeliveryStream", named("s")).await.status, 200);
    let throttled = server.memory.throttled.lock().unwrap().clone();
    assert_eq!(
        throttled.iter().map(|(limit, _)| limit.as_str()).collect::<Vec<_>>(),
        ["Credential(\"alice\")", "Operation(ListDeliveryStreams)"]
    );
}

#[tokio::test]
async fn every_call_but_a_put_is_noted_down_under_the_id_that_the_client_got() {
    let server = with_policy(vec![statement(Effect::Allow, "*", "*")]).await;
    let described = call(&server, "DescribeDeliveryStream", named("s")).await;
    let missing = call(&server, "DescribeDeliveryStream", named("gone")).await;
    let invalid =
        call(&server, "DeleteDeliveryStream", json!({"DeliveryStreamName": "s", "AllowForceDelete": []}))
            .await;
    assert_eq!(call(&server, "PutRecord", single("s", b"x")).await.status, 200);
    let events = audited(&server);
    let told: Vec<_> =
        events.iter().map(|event| (event["requestID"].as_str(), event.get("errorCode"))).collect();
    assert_eq!(
        told,
        [
            (Some(described.header("x-amzn-requestid")), None),
            (Some(missing.header("x-amzn-requestid")), Some(&json!("ResourceNotFoundException"))),
            (Some(invalid.header("x-amzn-requestid")), Some(&json!("SerializationException"))),
        ]
    );
    assert_eq!(events[0]["userIdentity"]["arn"], "arn:aws:iam::123456789012:user/alice");
    assert_eq!(events[0]["sourceIPAddress"], "127.0.0.1");
    assert_eq!(events[2]["requestParameters"], json!({"deliveryStreamName": "s", "allowForceDelete": "***"}));
}

#[tokio::test]
async fn denied_puts_are_noted_down_but_not_without_end() {
    let server = with_policy(vec![]).await;
    for _ in 0..15 {
        call(&server, "PutRecord", single("s", b"x")).await.is_error(400, "AccessDeniedException", "");
    }
    assert_eq!(audited(&server).len(), 10);
    server.clock.advance(Duration::from_millis(100));
    call(&server, "PutRecord", single("s", b"x")).await.is_error(400, "AccessDeniedException", "");
    let events = server.memory.audited.lock().unwrap().clone();
    assert!(events.len() == 11 && events.iter().all(|event| event.kind == AuditKind::Denied));
}

#[tokio::test]
async fn what_cannot_be_noted_down_is_not_changed_but_may_be_looked_at() {
    let server = server(Memory::default(), |_| {}).await;
    server.memory.audit_fails.store(true, Ordering::Relaxed);
    let answer = call(&server, "DeleteDeliveryStream", named("s")).await;
    answer.is_error(503, "ServiceUnavailableException", "audit log");
    assert_eq!(call(&server, "DescribeDeliveryStream", named("s")).await.status, 200);
    assert_eq!(call(&server, "PutRecord", single("s", b"x")).await.status, 200);
}

#[tokio::test]
async fn a_change_is_noted_down_even_when_its_client_has_hung_up() {
    let server = server(Memory::default(), |_| {}).await;
    let request = Call { access_key: KEY, ..Call::new("DeleteDeliveryStream", named("held").to_string()) };
    let sending = server.exchange(request.into_request(), false);
    tokio::select! {
        _ = sending => panic!("it waits to be let go"),
        () = server.memory.begun.notified() => {}
    }
    server.memory.release.notify_one();
    server.memory.noted.notified().await;
    assert_eq!(audited(&server)[0]["eventName"], "DeleteDeliveryStream");
}
