//! The sink of OpenSearch on real nodes.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::{Arc, Barrier, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use serde_json::{Value, json};
use standpipe_model::{ErrorClass, Request, RequestSink, Secret};
use standpipe_sinks::opensearch::{DocumentIds, IndexOptions, IndexRotation, OpenSearchAuth, SigningService};
use standpipe_sinks::s3::S3Credentials;
use standpipe_sinks::{ClientOptions, OpenSearchOptions, OpenSearchSink};
use standpipe_testkit::servers::OpenSearch;

use crate::requests::{self, Server, request, request_of};
use crate::scripted::Scripted;

fn options(endpoint: String, index: IndexOptions) -> OpenSearchOptions {
    let (auth, client) = (OpenSearchAuth::None, ClientOptions::default());
    OpenSearchOptions { endpoints: vec![endpoint], auth, gzip: false, client, index }
}

fn sink(options: &OpenSearchOptions) -> OpenSearchSink {
    OpenSearchSink::new(options).expect("good settings")
}

fn plain(name: &str) -> IndexOptions {
    IndexOptions { rotation: IndexRotation::NoRotation, ..IndexOptions::new(name) }
}

/// The rows with `data` in the place of the first of them.
fn with_first(mut request: Request, data: &[&'static str]) -> Request {
    for (row, data) in request.rows.iter_mut().zip(data) {
        row.data = (*data).into();
    }
    request
}

/// What a row is in the index: number and text.
fn row(document: &Value) -> (u64, String) {
    let members = &document["_source"];
    (members["n"].as_u64().expect("a number"), members["text"].as_str().expect("a text").to_owned())
}

/// A secured node.
struct Secured(OpenSearch);

impl Server for Secured {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let (username, password) = (OpenSearch::ADMIN.0.to_owned(), Secret::new(secret));
        let options = OpenSearchOptions {
            auth: OpenSearchAuth::Basic { username, password },
            client: ClientOptions {
                ca_pem: Some(self.0.ca().into_bytes()),
                request_timeout: answer,
                ..ClientOptions::default()
            },
            ..options(format!("https://{address}"), IndexOptions::new("suite"))
        };
        Box::new(sink(&options))
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn secret(&self) -> String {
        OpenSearch::ADMIN.1.to_owned()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        self.0.documents("suite-*").expect("a search").iter().map(row).collect()
    }

    fn kill(&mut self) {
        self.0.kill().expect("it ends");
    }

    fn restart(&mut self) {
        self.0.restart().expect("it starts again");
    }

    fn keeps_once(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_conforms_on_a_secured_node() {
    let mut server = Secured(OpenSearch::start_secured().expect("a secured node starts"));
    lacking_permission(&server.0).await;
    client_certificate(&server.0).await;
    requests::run(&mut server).await;
}

fn secured(node: &OpenSearch, auth: OpenSearchAuth, index: &str) -> OpenSearchOptions {
    let ca_pem = Some(node.ca().into_bytes());
    let client = ClientOptions { ca_pem, ..ClientOptions::default() };
    OpenSearchOptions { auth, client, ..options(node.endpoint(), plain(index)) }
}

/// A user who may not write passes the probe, which asks only who it is, and is held at the first request.
async fn lacking_permission(node: &OpenSearch) {
    let (username, password) = OpenSearch::READER;
    let auth = OpenSearchAuth::Basic { username: username.to_owned(), password: Secret::new(password) };
    let sink = sink(&secured(node, auth, "forbidden"));
    sink.probe().await.expect("it is known");
    let error = sink.attempt(&request(1, 0..3)).await.expect_err("it may not");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Misconfigured, Some("403")), "{error}");
    assert!(error.message.contains("security_exception"), "{error}");
}

/// A certificate is enough to be let in, and who shows neither that nor a password is not.
async fn client_certificate(node: &OpenSearch) {
    let mut options = secured(node, OpenSearchAuth::None, "certified");
    let error = sink(&options).probe().await.expect_err("nobody in particular");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Misconfigured, Some("401")), "{error}");
    let issued = node.certified().expect("a certificate");
    options.client.identity_pem = Some(Secret::new(format!("{}{}", issued.certificate(), issued.key())));
    let certified = sink(&options);
    certified.probe().await.expect("it is known");
    certified.attempt(&request(1, 0..3)).await.expect("it may write");
    assert_eq!(node.documents("certified").expect("a search").len(), 3);
    options.client.ca_pem = None;
    let error = sink(&options).probe().await.expect_err("an authority of its own");
    assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
    assert_eq!(error.code.as_deref(), Some("OpenSearch.SSLHandshakeFailure"));
}

/// The plain node that tests share while any of them runs.
fn node() -> Arc<OpenSearch> {
    static NODE: Mutex<Weak<OpenSearch>> = Mutex::new(Weak::new());
    let mut kept = NODE.lock().unwrap_or_else(PoisonError::into_inner);
    kept.upgrade().unwrap_or_else(|| {
        let settings = ["http.max_content_length=200kb", "action.auto_create_index=-nowhere*,+*"];
        let node = Arc::new(OpenSearch::start(&settings).expect("a node starts"));
        *kept = Arc::downgrade(&node);
        node
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_does_not_fit_the_mapping_is_refused_and_no_other() {
    let node = node();
    let sink = sink(&options(node.endpoint(), plain("conflict")));
    sink.attempt(&request(1, 0..1)).await.expect("it sets the mapping");
    let mut mixed = with_first(request(2, 0..5), &["{\"n\":\"no number\"}", "not JSON", "{\"n\":{}}"]);
    for existed in [false, true] {
        let answer = sink.attempt(&mixed).await.expect("an answer");
        let refused: Vec<_> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
        assert_eq!(refused, [(0, "400"), (1, "OpenSearch.InvalidRecord"), (2, "400")]);
        let words = &answer.refused[0].message;
        assert!(words.starts_with("mapper_parsing_exception: failed to parse field [n]"), "{words}");
        assert!(answer.again.is_none() && answer.existed == existed, "{answer:?}");
        mixed.repeated = true;
    }
    let mut ids: Vec<_> =
        node.documents("conflict").expect("a search").iter().map(|one| one["_id"].clone()).collect();
    ids.sort_by_key(ToString::to_string);
    let [one, two] = [1, 2].map(|seed: u8| format!("{seed:02x}").repeat(16));
    assert_eq!(ids, [json!(format!("{one}.0.0")), json!(format!("{two}.3.0")), json!(format!("{two}.4.0"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_to_the_index_of_the_hour_in_which_they_arrived() {
    let node = node();
    let hourly = IndexOptions { rotation: IndexRotation::OneHour, ..IndexOptions::new("hourly") };
    let sink = sink(&OpenSearchOptions { gzip: true, ..options(node.endpoint(), hourly) });
    let mut request = request(1, 0..4);
    request.rows[3].arrived_at.0 += 3_600_000;
    for _ in 0..2 {
        sink.attempt(&request).await.expect("delivered");
    }
    let count = |index| node.documents(index).expect("a search").len();
    assert_eq!((count("hourly-2023-11-14-22"), count("hourly-2023-11-14-23")), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_stream_takes_documents_with_a_timestamp_and_refuses_others() {
    let node = node();
    let template = json!({"index_patterns": ["flow"], "data_stream": {}, "template": {"settings": {"number_of_replicas": 0}}});
    node.call("PUT", "_index_template/flow", &template).expect("a template");
    for document_ids in [DocumentIds::FirehoseDefault, DocumentIds::NoDocumentId] {
        let flow = IndexOptions { data_stream: true, document_ids, ..plain("flow") };
        let sink = sink(&options(node.endpoint(), flow));
        let stamped = "{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"n\":1}";
        let request = with_first(request(1, 0..3), &[stamped, stamped]);
        for _ in 0..2 {
            let answer = sink.attempt(&request).await.expect("an answer");
            let refused: Vec<_> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
            assert_eq!((refused, answer.again.is_none()), (vec![(2, "400")], true));
        }
    }
    // Twice under our ids, which is once, and twice under those of the cluster.
    assert_eq!(node.documents("flow").expect("a search").len(), 2 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_setting_is_to_blame_for_holds_the_rows() {
    let node = node();
    for index in ["shut", "sealed", "full"] {
        node.call("PUT", index, &Value::Null).expect("an index");
    }
    node.call("POST", "shut/_close", &Value::Null).expect("closed");
    node.call("PUT", "sealed/_settings", &json!({"index.blocks.read_only": true})).expect("a block");
    node.call("PUT", "full/_settings", &json!({"index.blocks.read_only_allow_delete": true}))
        .expect("a block");
    for (index, class, code) in [
        ("nowhere", ErrorClass::Misconfigured, "404"),
        ("shut", ErrorClass::Misconfigured, "400"),
        ("sealed", ErrorClass::Misconfigured, "403"),
        // As a node does whose disk is full.
        ("full", ErrorClass::Throttled, "429"),
    ] {
        let answer = sink(&options(node.endpoint(), plain(index))).attempt(&request(1, 0..2)).await;
        let answer = answer.expect("an answer");
        let (rows, error) = answer.again.expect(index);
        assert_eq!((rows, answer.refused.len()), (vec![0, 1], 0), "{index}");
        assert_eq!((error.class, error.code.as_deref()), (class, Some(code)), "{error}");
        assert!(error.message.contains(index), "{error}");
    }
    let typed = IndexOptions { type_name: Some("doc".to_owned()), ..plain("typed") };
    let error = sink(&options(node.endpoint(), typed)).attempt(&request(1, 0..2)).await;
    let error = error.expect_err("there are no types any more");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Misconfigured, Some("400")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_id_a_pipeline_chose_is_delivered_only_if_it_was_not_there() {
    let node = node();
    let keyed = json!({"processors": [{"key_by": {"field": "n"}}]});
    node.call("PUT", "_ingest/pipeline/keyed", &keyed).expect("a pipeline");
    node.call("PUT", "piped", &json!({"settings": {"index.default_pipeline": "keyed"}})).expect("an index");
    let sink = sink(&options(node.endpoint(), plain("piped")));
    let rows = with_first(request(1, 0..3), &["{\"n\":7,\"text\":\"a\"}", "{\"n\":7,\"text\":\"b\"}"]);
    let answer = sink.attempt(&rows).await.expect("an answer");
    let refused: Vec<_> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
    assert_eq!(refused, [(1, "409")]);
    assert!(answer.refused[0].message.contains("[7]"), "{answer:?}");
    assert_eq!(node.documents("piped").expect("a search").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_refuses_whatever_comes_holds_the_rows() {
    let node = node();
    for index in ["one-of-two", "two-of-two"] {
        node.call("PUT", index, &json!({"aliases": {"nowhere-to-write": {}}})).expect("an index");
    }
    let template = json!({"index_patterns": ["stream-of"], "data_stream": {}});
    node.call("PUT", "_index_template/stream-of", &template).expect("a template");
    node.call("PUT", "_data_stream/stream-of", &Value::Null).expect("a data stream");
    node.call("PUT", "numbers", &json!({"mappings": {"properties": {"n": {"type": "long"}}}})).expect("one");
    let bad = ["{\"n\":\"x\",\"@timestamp\":\"2026-01-01T00:00:00Z\"}"; 2];
    for (name, ids, gzip, holds) in [
        ("nowhere-to-write", DocumentIds::FirehoseDefault, false, true),
        ("nowhere-to-write", DocumentIds::NoDocumentId, true, true),
        ("stream-of", DocumentIds::NoDocumentId, false, true),
        ("numbers", DocumentIds::FirehoseDefault, true, false),
        ("numbers", DocumentIds::NoDocumentId, false, false),
    ] {
        let index = IndexOptions { document_ids: ids, ..plain(name) };
        let sink = sink(&OpenSearchOptions { gzip, ..options(node.endpoint(), index) });
        let answer = sink.attempt(&with_first(request(1, 0..2), &bad)).await.expect("an answer");
        let Some((rows, error)) = answer.again.filter(|_| holds) else {
            assert!(!holds && answer.refused.len() == 2, "{name}: {:?}", answer.refused);
            continue;
        };
        assert_eq!((rows, error.class), (vec![0, 1], ErrorClass::Misconfigured), "{error}");
        assert!(error.message.contains("illegal_argument_exception"), "{error}");
    }
    assert_eq!(node.documents("numbers").expect("a search").len(), 0);
    // Once it is mended, they are taken.
    let write = json!({"actions": [{"add": {"index": "one-of-two", "alias": "nowhere-to-write", "is_write_index": true}}]});
    node.call("POST", "_aliases", &write).expect("an alias");
    let mended = sink(&options(node.endpoint(), plain("nowhere-to-write")));
    assert!(mended.attempt(&request(1, 0..2)).await.expect("an answer").again.is_none());
    assert_eq!(node.documents("one-of-two").expect("a search").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_pipeline_is_gone_holds_the_rows_until_it_is_there() {
    let node = node();
    let limits = json!({"index.default_pipeline": "absent", "index.mapping.total_fields.limit": 3});
    node.call("PUT", "unpiped", &json!({ "settings": limits })).expect("an index");
    let rows = with_first(request(1, 0..3), &["{\"n\":1,\"a\":1,\"b\":1,\"c\":1}"]);
    for ids in [DocumentIds::FirehoseDefault, DocumentIds::NoDocumentId] {
        let index = IndexOptions { document_ids: ids, ..plain("unpiped") };
        let answer = sink(&options(node.endpoint(), index)).attempt(&rows).await.expect("an answer");
        let (again, error) = answer.again.expect("it is no fault of theirs");
        assert_eq!((again, error.class), (vec![0, 1, 2], ErrorClass::Misconfigured), "{error}");
        assert!(error.message.contains("pipeline with id [absent] does not exist"), "{error}");
    }
    node.call("PUT", "_ingest/pipeline/absent", &json!({"processors": []})).expect("a pipeline");
    let answer = sink(&options(node.endpoint(), plain("unpiped"))).attempt(&rows).await.expect("an answer");
    // A document's own fault has the same type.
    assert_eq!(answer.refused.iter().map(|one| one.row).collect::<Vec<_>>(), [0], "{answer:?}");
    assert!(answer.refused[0].message.contains("illegal_argument_exception"), "{answer:?}");
    assert!(answer.again.is_none());
}

#[test]
fn a_large_answer_is_read_where_it_holds_up_nobody() {
    static GATE: Barrier = Barrier::new(2);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().expect("a runtime").block_on(async {
        let large = Scripted::start(|_| {
            // From here on the only thread for what takes long is taken.
            tokio::task::spawn_blocking(|| GATE.wait());
            let items = [json!({"create": {"status": 201}}), json!({"create": {"status": 201}})];
            Some((200, "", json!({"items": items, "more": "x".repeat(100_000)}).to_string()))
        });
        let large = large.await;
        let (sink, asked) = (sink(&options(large.endpoint.clone(), plain("large"))), request(1, 0..2));
        let looks = async {
            while large.seen().is_empty() {
                tokio::task::yield_now().await;
            }
            for _ in 0..5_000 {
                tokio::task::yield_now().await;
            }
        };
        let attempt = match select(pin!(looks), sink.attempt(&asked)).await {
            Either::Left(((), attempt)) => attempt,
            Either::Right((answer, _)) => {
                GATE.wait();
                panic!("it was read elsewhere: {answer:?}");
            }
        };
        GATE.wait();
        assert!(attempt.await.expect("an answer").refused.is_empty());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bulk_of_an_attempt_is_signed_for_when_it_is_sent() {
    static ASKED: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
    let slow = Scripted::start(|_| {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(Instant::now());
        if asked.len() > 1 {
            return Some((200, "", json!({"items": [{"create": {"status": 201}}]}).to_string()));
        }
        // A signature says the second.
        while asked[0].elapsed() < Duration::from_millis(1_100) {
            std::thread::yield_now();
        }
        Some((413, "", String::new()))
    });
    let slow = slow.await;
    let credentials = S3Credentials::Static {
        access_key_id: "AKID".to_owned(),
        secret_access_key: Secret::new("hidden"),
        session_token: None,
    };
    let auth =
        OpenSearchAuth::SigV4 { region: "eu-west-1".to_owned(), service: SigningService::Es, credentials };
    let sink = sink(&OpenSearchOptions { auth, ..options(slow.endpoint.clone(), plain("signed")) });
    sink.attempt(&request(1, 0..2)).await.expect("an answer");
    let dates = slow.headers("x-amz-date");
    assert!(dates.len() == 3 && dates[0] < dates[1], "{dates:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_that_is_too_large_goes_in_smaller_ones_and_a_document_that_is_so_by_itself_is_refused() {
    let node = node();
    let sink = sink(&options(node.endpoint(), plain("large")));
    let length = |n| if n == 7 { 300_000 } else { 20_000 };
    let large = request_of(1, 0..40, |n| "x".repeat(length(n)));
    let answer = sink.attempt(&large).await.expect("an answer");
    let refused: Vec<_> = answer.refused.iter().map(|one| (one.row, one.code.as_str())).collect();
    assert_eq!((refused, answer.again.is_none()), (vec![(7, "413")], true));
    assert_eq!(node.documents("large").expect("a search").len(), 39);
    // What it has learnt spares the next request all that.
    let next = request_of(2, 0..40, |_| "x".repeat(20_000));
    let answer = sink.attempt(&next).await.expect("an answer");
    assert!(answer.bytes < next.bytes() + 40 * 200, "{} of {}", answer.bytes, next.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_there_or_cannot_is_passed_over_and_the_good_one_kept() {
    let node = node();
    let busy = Scripted::start(|_| Some((503, "", "busy".to_owned()))).await;
    let mut options = options(node.endpoint(), plain("passed"));
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|was| was.local_addr()).expect("a free port");
    options.endpoints = vec![format!("http://{gone}"), busy.endpoint.clone(), node.endpoint()];
    let passing = sink(&options);
    for seed in 1..4 {
        passing.attempt(&request(seed, 0..2)).await.expect("the third takes it");
    }
    assert_eq!(busy.seen().len(), 1);
    assert_eq!(node.documents("passed").expect("a search").len(), 6);
    options.endpoints.pop();
    let error = sink(&options).attempt(&request(9, 0..2)).await.expect_err("there is no other");
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Throttled, Some("503")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_asked_for_again() {
    let odd = Scripted::start(|_| Some((200, "", "{\"took\":1}".to_owned()))).await;
    let error = sink(&options(odd.endpoint.clone(), plain("odd"))).attempt(&request(1, 0..2)).await;
    let error = error.expect_err("who knows");
    let code = error.code.as_deref();
    assert_eq!((error.class, code), (ErrorClass::Transient, Some("OpenSearch.InvalidResponse")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_under_pressure_gets_time() {
    let node = OpenSearch::start(&["indexing_pressure.memory.limit=64kb"]).expect("a node starts");
    let sink = sink(&options(node.endpoint(), plain("pressed")));
    let large = request_of(1, 0..100, |_| "x".repeat(2_000));
    let answer = sink.attempt(&large).await;
    let error = match answer {
        Ok(answer) => answer.again.expect("it has no room").1,
        Err(error) => error,
    };
    assert_eq!((error.class, error.code.as_deref()), (ErrorClass::Throttled, Some("429")), "{error}");
    let small = request(2, 0..10);
    sink.attempt(&small).await.expect("that fits");
    assert_eq!(node.documents("pressed").expect("a search").len(), 10);
}
