//! What a call came to, as one line in the form of CloudTrail's records.
//!
//! # Limits
//! - Of a request's parameters those are told that the API's model knows, as [`redact`] shows them: a member with a
//!   misspelt name could be a secret under any name.
//! - Parameters of more than [`PARAMETERS_MAX`] bytes are left out, as CloudTrail does.

use http::HeaderMap;
use http::header::USER_AGENT;
use serde_json::{Map, Value, json};
use standpipe_model::Timestamp;

use super::Caller;
use crate::shape::{input_of, output_of, redact};
use crate::{ApiError, Operation, Options};

/// The most bytes of a request's parameters.
const PARAMETERS_MAX: usize = 100 << 10;
/// The most characters of a user agent.
const USER_AGENT_MAX: usize = 1024;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditKind {
    /// A call that changes nothing.
    Read,
    /// A call that changes something, or would have.
    Change,
    /// A call, also a put, that its caller was not permitted to make.
    Denied,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What it is about.
    pub kind: AuditKind,
    /// The event as a JSON object without a line end.
    pub json: String,
}

/// What an event is made of.
pub(crate) struct Noted<'a> {
    pub(crate) operation: Operation,
    pub(crate) caller: &'a Caller,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) parameters: &'a Value,
    /// The answer's body, or the refusal.
    pub(crate) outcome: Result<&'a str, &'a ApiError>,
    pub(crate) at: Timestamp,
    pub(crate) request_id: &'a str,
    pub(crate) event_id: String,
}

/// Makes the event.
pub(crate) fn event(noted: &Noted<'_>, options: &Options) -> AuditEvent {
    let Noted { operation, caller, headers, parameters, outcome, at, request_id, event_id } = noted;
    let error = outcome.err();
    let denied = error.is_some_and(|error| error.code == crate::ErrorCode::AccessDenied);
    let kind = match (denied, operation.changes()) {
        (true, _) => AuditKind::Denied,
        (false, true) => AuditKind::Change,
        (false, false) => AuditKind::Read,
    };
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let agent: Option<String> = agent.map(|agent| agent.chars().take(USER_AGENT_MAX).collect());
    let mut event = json!({
        "eventVersion": "1.11",
        "userIdentity": identity(caller, options),
        "eventTime": at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventSource": "firehose.amazonaws.com",
        "eventName": operation.name(),
        "awsRegion": options.region,
        "sourceIPAddress": caller.source.map(|source| source.to_canonical().to_string()),
        "userAgent": agent,
        "requestParameters": bounded(told(redact(input_of(*operation), parameters))),
        "responseElements": outcome.ok().filter(|_| operation.changes()).and_then(|body| elements(*operation, body)),
        "requestID": request_id,
        "eventID": event_id,
        "readOnly": !operation.changes(),
        "eventType": "AwsApiCall",
        "managementEvent": !operation.is_put(),
        "recipientAccountId": options.account_id,
        "eventCategory": if operation.is_put() { "Data" } else { "Management" },
    });
    if let Some(subject) = &caller.certificate {
        event["additionalEventData"] = json!({"clientCertificate": subject.as_ref()});
    }
    if let Some(error) = error {
        event["errorCode"] = error.code.as_str().into();
        event["errorMessage"] = error.message.as_deref().into();
    }
    AuditEvent { kind, json: event.to_string() }
}

fn identity(caller: &Caller, options: &Options) -> Value {
    match &caller.credential {
        Some(credential) => json!({
            "type": "IAMUser",
            "principalId": credential.access_key_id,
            "arn": options.user_arn(&credential.user),
            "accountId": options.account_id,
            "accessKeyId": credential.access_key_id,
            "userName": credential.user,
        }),
        None => json!({"type": "Unknown", "accountId": options.account_id}),
    }
}

/// What a change answered, which is `null` where that is nothing.
fn elements(operation: Operation, body: &str) -> Option<Value> {
    let answer: Map<String, Value> = serde_json::from_str(body).ok()?;
    (!answer.is_empty()).then(|| told(redact(output_of(operation), &answer.into())))
}

/// The same with CloudTrail's spelling of member names.
fn told(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (lower_first(&name), told(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(told).collect(),
        plain => plain,
    }
}

/// `roleARN` for `RoleARN`.
fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn bounded(parameters: Value) -> Value {
    let size = parameters.to_string().len();
    if size <= PARAMETERS_MAX {
        return parameters;
    }
    json!({"omitted": true, "originalSize": size, "reason": "requestParameters too large"})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use standpipe_model::Secret;

    use super::*;
    use crate::access::Credential;

    fn made(operation: Operation, parameters: Value, outcome: Result<&str, &ApiError>) -> (AuditKind, Value) {
        let mut credential = Credential::new("AKID", Secret::new("the-secret"));
        credential.user = "alice".to_owned();
        let caller = Caller {
            credential: Some(Arc::new(credential)),
            source: Some("::ffff:192.0.2.1".parse().unwrap()),
            certificate: Some("CN=web-1".into()),
        };
        let headers = HeaderMap::from_iter([(USER_AGENT, "aws-cli/2".parse().unwrap())]);
        let noted = Noted {
            operation,
            caller: &caller,
            headers: &headers,
            parameters: &parameters,
            outcome,
            at: Timestamp(1_767_226_200_999),
            request_id: "r",
            event_id: "e".to_owned(),
        };
        let event = event(&noted, &Options::default());
        assert!(!event.json.contains('\n') && !event.json.contains("the-secret"));
        (event.kind, serde_json::from_str(&event.json).unwrap())
    }

    #[test]
    fn a_change_is_told_with_cloudtrails_names() {
        let body = r#"{"DeliveryStreamARN":"arn:x"}"#;
        let parameters = json!({"DeliveryStreamName": "s", "Tags": [{"Key": "K", "Value": "V"}]});
        let (kind, event) = made(Operation::CreateDeliveryStream, parameters, Ok(body));
        assert_eq!(kind, AuditKind::Change);
        for (member, expect) in [
            ("eventTime", json!("2026-01-01T00:10:00Z")),
            ("eventName", json!("CreateDeliveryStream")),
            ("eventSource", json!("firehose.amazonaws.com")),
            ("awsRegion", json!("us-east-1")),
            ("sourceIPAddress", json!("192.0.2.1")),
            ("userAgent", json!("aws-cli/2")),
            ("additionalEventData", json!({"clientCertificate": "CN=web-1"})),
            ("requestParameters", json!({"deliveryStreamName": "s", "tags": [{"key": "K", "value": "V"}]})),
            ("responseElements", json!({"deliveryStreamARN": "arn:x"})),
            ("requestID", json!("r")),
            ("eventID", json!("e")),
            ("readOnly", json!(false)),
            (
                "userIdentity",
                json!({
                    "type": "IAMUser", "principalId": "AKID", "arn": "arn:aws:iam::000000000000:user/alice",
                    "accountId": "000000000000", "accessKeyId": "AKID", "userName": "alice",
                }),
            ),
        ] {
            assert_eq!(event[member], expect, "{member}");
        }
        assert_eq!(event.get("errorCode"), None);
    }

    #[test]
    fn reads_refusals_and_denials_are_told_apart() {
        let name = json!({"DeliveryStreamName": "s"});
        let (kind, event) = made(Operation::DescribeDeliveryStream, name.clone(), Ok("{\"a\":1}"));
        assert_eq!((kind, &event["responseElements"]), (AuditKind::Read, &Value::Null));
        let missing = ApiError::stream_not_found("s", "1");
        let (kind, event) = made(Operation::DeleteDeliveryStream, name.clone(), Err(&missing));
        assert_eq!((kind, &event["errorCode"]), (AuditKind::Change, &json!("ResourceNotFoundException")));
        let denied = ApiError::new(crate::ErrorCode::AccessDenied, "no");
        let (kind, event) = made(Operation::PutRecord, name, Err(&denied));
        assert_eq!((kind, &event["errorMessage"]), (AuditKind::Denied, &json!("no")));
        assert_eq!((&event["eventCategory"], &event["managementEvent"]), (&json!("Data"), &json!(false)));
    }

    #[test]
    fn what_is_secret_or_unknown_is_not_told() {
        let parameters = json!({
            "HttpEndpointDestinationConfiguration": {
                "EndpointConfiguration": {"Url": "https://h/?key=hunter2", "Name": "n", "AccessKey": "hunter2"},
            },
            "SplunkDestinationConfiguration": {"HECToken": 5, "HECEndpoint": "https://splunk"},
            "RedshiftDestinationConfiguration": {"Passwrod": "hunter2"},
        });
        let (_, event) = made(Operation::CreateDeliveryStream, parameters, Ok("{}"));
        let told = event["requestParameters"].to_string();
        assert!(!told.contains("hunter2") && told.contains("\"name\":\"n\""), "{told}");
        assert!(told.contains("\"accessKey\":\"***\"") && told.contains("\"url\":\"***\""), "{told}");
        assert_eq!(event["responseElements"], Value::Null);
    }

    #[test]
    fn parameters_beyond_the_limit_are_left_out_and_say_so() {
        let parameters = json!({"DeliveryStreamName": "x".repeat(PARAMETERS_MAX)});
        let (_, event) = made(Operation::UpdateDestination, parameters, Ok("{}"));
        assert_eq!(event["requestParameters"]["omitted"], json!(true));
    }
}
