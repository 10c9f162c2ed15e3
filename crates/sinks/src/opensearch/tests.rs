//! What a bulk is made of, what its answer means, and what is never shown.

use std::time::SystemTime;

use chrono::DateTime;
use reqwest::{StatusCode, Url};
use standpipe_model::{ErrorClass, Position, Request, RowOrigin, Secret, Timestamp};

use super::auth::Authority;
use super::request::{Bulk, Verdict, outcomes};
use super::sink::refusal;
use super::{
    DocumentIds, IndexOptions, IndexRotation, OpenSearchAuth, OpenSearchOptions, OpenSearchSink,
    SigningService,
};
use crate::client::ClientOptions;
use crate::s3::S3Credentials;
use crate::sample;

fn at(text: &str) -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis().unsigned_abs())
}

fn request(data: &[&[u8]]) -> Request {
    let mut rows = sample::rows(data);
    for (number, row) in rows.iter_mut().enumerate() {
        row.origin = RowOrigin { position: Position(40 + number as u64), sub: 1 };
        row.arrived_at = at("2016-02-25T13:00:00Z");
    }
    sample::request(rows, Timestamp(1))
}

#[test]
fn an_index_is_called_after_the_time_in_which_a_row_arrived() {
    for (rotation, time, expect) in [
        (IndexRotation::NoRotation, "2016-02-25T13:00:00Z", "clicks"),
        (IndexRotation::OneHour, "2016-02-25T13:00:00Z", "clicks-2016-02-25-13"),
        (IndexRotation::OneHour, "2016-02-25T13:59:59.999Z", "clicks-2016-02-25-13"),
        (IndexRotation::OneDay, "2016-02-25T23:59:59Z", "clicks-2016-02-25"),
        (IndexRotation::OneDay, "2016-02-26T01:00:00+02:00", "clicks-2016-02-25"),
        (IndexRotation::OneMonth, "2016-02-29T23:59:59Z", "clicks-2016-02"),
        (IndexRotation::OneWeek, "2016-02-25T13:00:00Z", "clicks-2016-w09"),
        (IndexRotation::OneWeek, "2020-08-12T00:00:00Z", "clicks-2020-w33"),
        // Saturday and Sunday, and weeks that two years share.
        (IndexRotation::OneWeek, "2016-01-02T00:00:00Z", "clicks-2016-w01"),
        (IndexRotation::OneWeek, "2016-01-03T00:00:00Z", "clicks-2016-w02"),
        (IndexRotation::OneWeek, "2020-12-26T00:00:00Z", "clicks-2020-w52"),
        (IndexRotation::OneWeek, "2020-12-31T00:00:00Z", "clicks-2021-w01"),
        (IndexRotation::OneWeek, "2022-12-31T23:59:59Z", "clicks-2022-w53"),
        (IndexRotation::OneWeek, "2023-01-01T00:00:00Z", "clicks-2023-w01"),
    ] {
        let index = IndexOptions { rotation, ..IndexOptions::new("clicks") };
        assert_eq!(index.index(at(time)), expect, "{rotation:?} {time}");
    }
}

#[test]
fn names_that_no_index_can_have_are_refused() {
    let day = |name: &str| IndexOptions::new(name).validate().is_ok();
    assert!(["clicks", "a.b_c-d+e", "été", &"x".repeat(244)].iter().all(|name| day(name)));
    for bad in ["", ".", "..", "-a", "_a", "+a", "Clicks", "a b", "a/b", "a*", "a,b", "a#b", &"x".repeat(245)]
    {
        assert!(!day(bad), "{bad:?}");
    }
    let stream = IndexOptions { data_stream: true, ..IndexOptions::new("logs") };
    assert!(stream.validate().is_err(), "it rotates");
    assert!(IndexOptions { rotation: IndexRotation::NoRotation, ..stream }.validate().is_ok());
}

fn bulk(index: &IndexOptions, rows: &[&'static [u8]]) -> (String, Vec<usize>) {
    let bulk = Bulk::of(index, &request(rows));
    let body = bulk.body(&(0..bulk.len()));
    (String::from_utf8(body.to_vec()).unwrap(), bulk.refused.iter().map(|one| one.row).collect())
}

#[test]
fn a_document_goes_to_its_index_under_the_id_of_its_row() {
    let rows: [&[u8]; 1] = [b"{\"a\":1}"];
    let id = "07070707070707070707070707070707.40.1";
    let day = IndexOptions::new("clicks");
    for (index, line) in [
        (day.clone(), format!(r#"{{"create":{{"_id":"{id}","_index":"clicks-2016-02-25"}}}}"#)),
        (
            IndexOptions { type_name: Some("doc".to_owned()), ..day.clone() },
            format!(r#"{{"create":{{"_id":"{id}","_index":"clicks-2016-02-25","_type":"doc"}}}}"#),
        ),
        (
            IndexOptions { document_ids: DocumentIds::NoDocumentId, ..day.clone() },
            r#"{"index":{"_index":"clicks-2016-02-25"}}"#.to_owned(),
        ),
        (
            IndexOptions {
                rotation: IndexRotation::NoRotation,
                document_ids: DocumentIds::NoDocumentId,
                data_stream: true,
                ..day
            },
            r#"{"create":{"_index":"clicks"}}"#.to_owned(),
        ),
    ] {
        assert_eq!(bulk(&index, &rows), (format!("{line}\n{{\"a\":1}}\n"), vec![]));
    }
}

#[test]
fn a_row_is_one_json_object_made_a_single_line_or_no_document() {
    let index = IndexOptions { document_ids: DocumentIds::NoDocumentId, ..IndexOptions::new("i") };
    let rows: [&[u8]; 11] = [
        b" {\r\n  \"a\\n\": [1,\n 2]\n}\n",
        b"",
        b"[1]",
        b"\"a\"",
        b"{\"a\":1",
        b"{\"a\":1}{\"b\":2}",
        b"{\"a\":\"x\ny\"}",
        b"{\"a\":\"\xff\"}",
        b"null",
        b"{\"a\":1}\n{\"index\":{}}",
        b"{}",
    ];
    let action = r#"{"index":{"_index":"i-2016-02-25"}}"#;
    let expect = format!("{action}\n{{    \"a\\n\": [1,  2] }}\n{action}\n{{}}\n");
    assert_eq!(bulk(&index, &rows), (expect, (1..10).collect()));
}

#[test]
fn bulks_are_cut_between_documents_and_have_at_least_one() {
    let index = IndexOptions::new("i");
    let bulk = Bulk::of(&index, &request(&[b"{\"a\":1}", b"no", b"{\"a\":2}", b"{\"a\":333}"]));
    let whole = bulk.body(&(0..3)).len();
    assert_eq!((bulk.cut(0, usize::MAX), bulk.cut(0, whole), bulk.cut(0, whole - 1)), (0..3, 0..3, 0..2));
    assert_eq!((bulk.cut(0, 1), bulk.cut(1, 1), bulk.cut(2, whole)), (0..1, 1..2, 2..3));
    assert_eq!(bulk.rows(1..3).collect::<Vec<_>>(), [2, 3]);
    let parts = [bulk.body(&(0..1)), bulk.body(&(1..3))].concat();
    assert_eq!(parts, bulk.body(&(0..3)));
}

#[test]
fn what_became_of_a_document_is_told_by_its_status_and_where_that_is_not_enough_by_the_type() {
    use ErrorClass::{Misconfigured, Throttled, Transient};
    use Verdict::{Again, Delivered, Existed, Refused};
    let (ours, theirs) = (Some("b.1.0"), None);
    for (status, kind, id, expect) in [
        (201, "", ours, Delivered),
        (200, "", theirs, Delivered),
        (409, "version_conflict_engine_exception", ours, Existed),
        (409, "version_conflict_engine_exception", Some("b.1.1"), Refused),
        (409, "version_conflict_engine_exception", theirs, Again(Transient)),
        (400, "mapper_parsing_exception", ours, Refused),
        (400, "strict_dynamic_mapping_exception", ours, Refused),
        (400, "illegal_argument_exception", ours, Refused),
        (413, "", ours, Refused),
        (429, "rejected_execution_exception", ours, Again(Throttled)),
        (429, "cluster_block_exception", ours, Again(Throttled)),
        (500, "", ours, Again(Transient)),
        (503, "unavailable_shards_exception", ours, Again(Throttled)),
        (403, "cluster_block_exception", ours, Again(Misconfigured)),
        (403, "security_exception", ours, Again(Misconfigured)),
        (404, "index_not_found_exception", ours, Again(Misconfigured)),
        (400, "index_closed_exception", ours, Again(Misconfigured)),
        (400, "invalid_index_name_exception", ours, Again(Misconfigured)),
        (400, "validation_exception", ours, Again(Misconfigured)),
        (302, "", ours, Again(Transient)),
    ] {
        let body = format!(
            r#"{{"errors":true,"items":[{{"create":{{"_id":"b.1.0","status":{status},"error":{{"type":"{kind}"}}}}}}]}}"#
        );
        let said = outcomes(body.as_bytes(), 1).unwrap();
        assert_eq!(said[0].verdict(|| id.map(str::to_owned)), expect, "{status} {kind}");
    }
}

#[test]
fn an_answer_that_does_not_speak_of_each_document_is_none() {
    let one = r#"{"errors":false,"items":[{"index":{"status":201}}]}"#;
    assert!(outcomes(one.as_bytes(), 1).is_some() && outcomes(one.as_bytes(), 2).is_none());
    for none in ["", "ok", "{}", r#"{"items":[{"create":{}}]}"#, r#"{"items":[{}]}"#] {
        assert!(outcomes(none.as_bytes(), 1).is_none(), "{none}");
    }
}

#[test]
fn a_refusal_is_told_in_the_clusters_words() {
    let body = concat!(
        r#"{"items":[{"create":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"failed\nhere","#,
        r#""caused_by":{"type":"number_format_exception","reason":"For input string"}}}},"#,
        r#"{"index":{"status":400,"error":"MapperParsingException[failed]"}}]}"#
    );
    let said: Vec<_> =
        outcomes(body.as_bytes(), 2).unwrap().iter().map(super::request::Outcome::words).collect();
    let first = "mapper_parsing_exception: failed here; number_format_exception: For input string";
    assert_eq!(said, [first, "MapperParsingException[failed]"]);
}

#[test]
fn a_whole_bulk_is_refused_by_settings_or_for_a_time_and_never_for_good() {
    for (status, class) in [
        (400, ErrorClass::Misconfigured),
        (401, ErrorClass::Misconfigured),
        (403, ErrorClass::Misconfigured),
        (404, ErrorClass::Misconfigured),
        (301, ErrorClass::Misconfigured),
        (429, ErrorClass::Throttled),
        (503, ErrorClass::Throttled),
        (500, ErrorClass::Transient),
        (502, ErrorClass::Transient),
        (418, ErrorClass::Transient),
    ] {
        let error = refusal(StatusCode::from_u16(status).unwrap(), "http://host", b"because", None);
        assert_eq!((error.class, error.code), (class, Some(status.to_string())));
        assert_eq!(error.message, format!("http://host: {status} because"));
    }
}

fn options(endpoint: &str, auth: OpenSearchAuth) -> OpenSearchOptions {
    OpenSearchOptions {
        endpoints: vec![endpoint.to_owned()],
        auth,
        gzip: false,
        client: ClientOptions::default(),
        index: IndexOptions::new("clicks"),
    }
}

fn aws() -> OpenSearchAuth {
    OpenSearchAuth::SigV4 {
        region: "eu-west-1".to_owned(),
        service: SigningService::Aoss,
        credentials: S3Credentials::Static {
            access_key_id: "AKID".to_owned(),
            secret_access_key: Secret::new("hidden"),
            session_token: Some(Secret::new("a-token")),
        },
    }
}

#[tokio::test]
async fn requests_are_signed_for_the_region_the_service_and_the_host_with_its_port() {
    let authority = Authority::new(&aws()).unwrap();
    let url = Url::parse("https://example.com:8443/_bulk?filter_path=a,b.*").unwrap();
    let signed = async |url: &Url, body: &'static [u8]| {
        let headers = authority.headers(url, body, SystemTime::UNIX_EPOCH).await.unwrap();
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        (
            text("authorization"),
            text("x-amz-date"),
            text("x-amz-content-sha256"),
            text("x-amz-security-token"),
        )
    };
    let (signature, date, hash, token) = signed(&url, b"").await;
    let scope = "AWS4-HMAC-SHA256 Credential=AKID/19700101/eu-west-1/aoss/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=";
    assert!(signature.starts_with(scope), "{signature}");
    assert_eq!((date.as_str(), token.as_str()), ("19700101T000000Z", "a-token"));
    assert_eq!(hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    // Each part of the request is in the signature.
    let others =
        ["https://example.com/_bulk?filter_path=a,b.*", "https://example.com:8443/_bulk?filter_path=a"];
    for other in others {
        assert_ne!(signed(&Url::parse(other).unwrap(), b"").await.0, signature, "{other}");
    }
    assert_ne!(signed(&url, b"x").await.0, signature);
}

#[test]
fn debug_shows_nothing_of_a_clusters_secrets() {
    let basic = |username: &str| OpenSearchAuth::Basic {
        username: username.to_owned(),
        password: Secret::new("hidden"),
    };
    for auth in [basic("me"), OpenSearchAuth::ApiKey(Secret::new("hidden")), aws()] {
        let options = options("https://example.com:9200/es/", auth);
        let sink = OpenSearchSink::new(&options).unwrap();
        let told = format!("{sink:?} {options:?}");
        assert!(told.contains("https://example.com:9200/es/") && !told.contains("hidden"), "{told}");
    }
    for bad in ["", "example.com", "ftp://a", "https://user:word@a", "https://a?token=hidden"] {
        assert!(OpenSearchSink::new(&options(bad, OpenSearchAuth::None)).is_err(), "{bad}");
    }
    assert!(OpenSearchSink::new(&options("https://a", basic("a:b"))).is_err());
    let none = OpenSearchOptions { endpoints: vec![], ..options("https://a", OpenSearchAuth::None) };
    assert!(OpenSearchSink::new(&none).is_err());
}
