//! Puts against a server that answers by a script.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::*;
use crate::cli::trust::TrustArgs;

/// Answers the n-th request; gets the records' data.
type Script = dyn Fn(usize, &[String]) -> (u16, Value) + Send + Sync;

/// A request as the server saw it: its invocation id, and its records.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    invocation: String,
    attempt: String,
    authorization: String,
    records: Vec<String>,
}

/// Starts a server; returns its address and what it sees.
async fn serve(script: Arc<Script>) -> (SocketAddr, Arc<Mutex<Vec<Seen>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (script, log) = (script.clone(), log.clone());
            let service = service_fn(move |request| answer(request, script.clone(), log.clone()));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
            );
        }
    });
    (address, seen)
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-amz-target"), "Firehose_20150804.PutRecordBatch");
    let (invocation, attempt) = (header("amz-sdk-invocation-id"), header("amz-sdk-request"));
    let authorization = header("authorization");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let decode = |record: &Value| {
        let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
        String::from_utf8(data).unwrap()
    };
    let records: Vec<String> = body["Records"].as_array().unwrap().iter().map(decode).collect();
    let (status, answer) = {
        let mut log = log.lock().unwrap();
        let answer = script(log.len(), &records);
        log.push(Seen { invocation, attempt, authorization, records });
        answer
    };
    Ok(Response::builder().status(status).body(Full::from(answer.to_string())).unwrap())
}

/// The answer to a batch that is stored but for the records that are in `refused`.
fn stored(records: &[String], refused: &[&str]) -> (u16, Value) {
    let entry = |record: &String| match refused.contains(&record.as_str()) {
        true => json!({ "ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down." }),
        false => json!({ "RecordId": "id" }),
    };
    let entries: Vec<Value> = records.iter().map(entry).collect();
    let failed = entries.iter().filter(|entry| entry.get("ErrorCode").is_some()).count();
    (200, json!({ "FailedPutCount": failed, "RequestResponses": entries }))
}

/// Puts a file's lines with this many retries; returns whether that went well, the tally, and the requests.
async fn put(
    text: &str,
    retries: u32,
    script: Arc<Script>,
) -> (anyhow::Result<()>, progress::Tally, Vec<Seen>) {
    let (address, seen) = serve(script).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lines"), text).unwrap();
    fs::write(
        folder.path().join("standpipe.yaml"),
        "credentials: [{access_key_id: K, secret_access_key: s}]",
    )
    .unwrap();
    let connect = ConnectArgs {
        endpoint: Some(format!("http://{address}").parse().unwrap()),
        region: "eu-central-1".to_owned(),
        config: Some(folder.path().join("standpipe.yaml")),
        retries,
        trust: TrustArgs::default(),
    };
    let args = PutArgs {
        stream: "clicks".to_owned(),
        files: vec![folder.path().join("lines")],
        keep_newline: false,
        in_flight: NonZeroUsize::new(4).unwrap(),
        connect,
    };
    let client = FirehoseClient::connect(&args.connect).unwrap();
    let mut progress = Progress::begin(None);
    let (tx, rx) = mpsc::channel(4);
    let files = args.files.clone();
    std::thread::spawn(move || read_all(&files, &tx));
    let done = Sending::new(&args, client).run(rx, &mut progress).await;
    let seen = seen.lock().unwrap().clone();
    (done, progress.tally, seen)
}

#[tokio::test]
async fn every_line_arrives_once() {
    let lines: Vec<String> = (0..1234).map(|n| format!("line {n}")).collect();
    let (done, tally, seen) = put(&lines.join("\n"), 0, Arc::new(|_, records| stored(records, &[]))).await;
    done.unwrap();
    assert_eq!((tally.records, tally.missed), (1234, 0));
    assert_eq!(tally.bytes, lines.iter().map(|line| line.len() as u64).sum::<u64>());
    let mut arrived: Vec<String> = seen.iter().flat_map(|request| request.records.clone()).collect();
    arrived.sort();
    let mut expect = lines.clone();
    expect.sort();
    assert_eq!(arrived, expect);
    assert!(seen[0].authorization.starts_with("AWS4-HMAC-SHA256 Credential=K/"), "{:?}", seen[0]);
    assert!(seen[0].authorization.contains("/eu-central-1/firehose/aws4_request"), "{:?}", seen[0]);
}

#[tokio::test]
async fn a_busy_daemon_gets_the_same_put_again() {
    let busy = json!({ "__type": "ServiceUnavailableException", "message": "Slow down." });
    let script = move |n, records: &[String]| if n < 2 { (503, busy.clone()) } else { stored(records, &[]) };
    let (done, tally, seen) = put("a\nb\n", 3, Arc::new(script)).await;
    done.unwrap();
    assert_eq!((tally.records, tally.missed), (2, 0));
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|request| request.invocation == seen[0].invocation && request.records == seen[0].records)
    );
    let attempts: Vec<_> = seen.iter().map(|request| request.attempt.as_str()).collect();
    assert_eq!(attempts, ["attempt=1; max=4", "attempt=2; max=4", "attempt=3; max=4"]);
}

#[tokio::test]
async fn refused_records_are_put_again_by_themselves() {
    let script = |n, records: &[String]| stored(records, if n == 0 { &["b"] } else { &[] });
    let (done, tally, seen) = put("a\nb\nc\n", 3, Arc::new(script)).await;
    done.unwrap();
    assert_eq!((tally.records, tally.bytes, tally.missed), (3, 3, 0));
    assert_eq!(seen[1].records, ["b"]);
    assert_ne!(seen[1].invocation, seen[0].invocation, "another body is another put");
}

#[tokio::test]
async fn what_is_not_acknowledged_is_counted_and_ends_the_put() {
    let gone = json!({ "__type": "ResourceNotFoundException", "message": "Firehose clicks not found." });
    let (done, tally, seen) = put("a\nb\n", 3, Arc::new(move |_, _| (400, gone.clone()))).await;
    assert_eq!(done.unwrap_err().to_string(), "ResourceNotFoundException: Firehose clicks not found.");
    assert_eq!((tally.records, tally.missed, seen.len()), (0, 2, 1));

    let (done, tally, seen) = put("a\nb\n", 1, Arc::new(|_, records| stored(records, &["b"]))).await;
    assert_eq!(done.unwrap_err().to_string(), "ServiceUnavailableException: Slow down.");
    assert_eq!((tally.records, tally.missed, seen.len()), (1, 1, 2));
}

#[tokio::test]
async fn at_most_so_many_requests_are_in_flight_and_each_has_its_own_id() {
    let lines = "x\n".repeat(5000);
    let (done, tally, seen) = put(&lines, 0, Arc::new(|_, records| stored(records, &[]))).await;
    done.unwrap();
    assert_eq!(tally.records, 5000);
    let ids: HashMap<_, _> = seen.iter().map(|request| (&request.invocation, ())).collect();
    assert_eq!((seen.len(), ids.len()), (10, 10));
}
