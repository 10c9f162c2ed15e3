//! The S3 sink on MinIO, with what only MinIO shows: encryption, object lock, tags, metadata, TLS.

use std::sync::Arc;

use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption};
use standpipe_model::{
    Delivery, Encryption, ErrorClass, LockMode, ObjectLock, ObjectOptions, Sink, Timestamp,
};
use standpipe_testkit::s3::S3;
use standpipe_testkit::servers::Minio;

use crate::access::{self, BUCKET, options, sink};
use crate::deliveries::{body, content, delivery};

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms_on_minio() {
    let server = Minio::start().expect("MinIO starts");
    access::conforms(server.access()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_takes_every_checksum() {
    let server = Minio::start().expect("MinIO starts");
    access::takes_every_checksum(server.access()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_tells_what_to_correct() {
    let server = Minio::start().expect("MinIO starts");
    access::tells_what_to_correct(server.access(), "InvalidAccessKeyId").await;
}

fn with(key: &str, object_options: ObjectOptions) -> Delivery {
    Delivery { options: Arc::new(object_options), ..delivery(BUCKET, key) }
}

/// One request and several: each sets the headers by its own call.
const LENGTHS: [usize; 2] = [100, 9 << 20];

#[tokio::test(flavor = "multi_thread")]
async fn an_object_carries_its_headers_tags_and_metadata() {
    let server = Minio::start().expect("MinIO starts");
    let store = S3::open(server.access()).expect("plain HTTP");
    store.create_bucket(BUCKET).await.expect("a new bucket");
    let sink = sink(options(server.access()));
    for len in LENGTHS {
        let key = format!("described/{len}");
        let described = ObjectOptions {
            tags: [("team", "a + b"), ("path", "x=y/z")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            metadata: [("Owner", "ops"), ("stream", "not this")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            storage_class: Some("STANDARD".to_owned()),
            ..ObjectOptions::default()
        };
        sink.attempt(&with(&key, described), body(&content(1, len))).await.expect(&key);
        let head = store.client().head_object().bucket(BUCKET).key(&key).send().await.expect("a head");
        assert_eq!(head.content_type(), Some("application/octet-stream"));
        assert_eq!(head.content_encoding(), Some("gzip"));
        let metadata = head.metadata().expect("metadata");
        for (name, value) in [
            ("owner", "ops"),
            ("stream", "clicks"),
            ("version", "3"),
            ("first-position", "100"),
            ("last-position", "199"),
            ("batch-id", "30313233343536373839616263646566"),
            ("close-reason", "age"),
        ] {
            assert_eq!(metadata.get(name).map(String::as_str), Some(value), "{name}");
        }
        let tags = store.client().get_object_tagging().bucket(BUCKET).key(&key).send().await.expect("tags");
        let mut tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        tags.sort_unstable();
        assert_eq!(tags, [("path", "x=y/z"), ("team", "a + b")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_encrypted_as_asked() {
    let server = Minio::start().expect("MinIO starts");
    let store = S3::open(server.access()).expect("plain HTTP");
    store.create_bucket(BUCKET).await.expect("a new bucket");
    let sink = sink(options(server.access()));
    let kms = |key: &str| Encryption::Kms { key: key.to_owned() };
    for len in LENGTHS {
        for (name, encryption, expected) in [
            ("s3", Encryption::S3, ServerSideEncryption::Aes256),
            ("kms", kms(Minio::KMS_KEY_ID), ServerSideEncryption::AwsKms),
        ] {
            let (key, sent) = (format!("{name}/{len}"), content(1, len));
            let encrypted = with(&key, ObjectOptions { encryption, ..ObjectOptions::default() });
            sink.attempt(&encrypted, body(&sent)).await.expect(&key);
            let head = store.client().head_object().bucket(BUCKET).key(&key).send().await.expect("a head");
            assert_eq!(head.server_side_encryption(), Some(&expected), "{key}");
            let named = head.ssekms_key_id().is_some_and(|id| id.ends_with(Minio::KMS_KEY_ID));
            assert_eq!(named, expected == ServerSideEncryption::AwsKms, "{:?}", head.ssekms_key_id());
            assert!(store.get(BUCKET, &key).await.expect(&key) == sent, "{key}");
        }
        let unknown = ObjectOptions { encryption: kms("nobodys-key"), ..ObjectOptions::default() };
        let error = sink.attempt(&with("unknown-key", unknown), body(&content(1, len))).await;
        let error = error.expect_err("no such key");
        assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_locked_until_its_time() {
    let server = Minio::start().expect("MinIO starts");
    let store = S3::open(server.access()).expect("plain HTTP");
    let bucket = store.client().create_bucket().bucket(BUCKET).object_lock_enabled_for_bucket(true);
    bucket.send().await.expect("a bucket with object lock");
    store.create_bucket("without-lock").await.expect("a new bucket");
    let sink = sink(options(server.access()));
    let until = Timestamp(4_102_444_800_000);
    let lock =
        |mode| ObjectOptions { lock: Some(ObjectLock { mode, retain_days: 30 }), ..ObjectOptions::default() };
    for len in LENGTHS {
        for (mode, expected) in [
            (LockMode::Governance, ObjectLockMode::Governance),
            (LockMode::Compliance, ObjectLockMode::Compliance),
        ] {
            let key = format!("{mode:?}/{len}");
            let locked = Delivery { retain_until: Some(until), ..with(&key, lock(mode)) };
            sink.attempt(&locked, body(&content(1, len))).await.expect(&key);
            let head = store.client().head_object().bucket(BUCKET).key(&key).send().await.expect("a head");
            assert_eq!(head.object_lock_mode(), Some(&expected));
            let retained = head.object_lock_retain_until_date().and_then(|date| date.to_millis().ok());
            assert_eq!(retained, Some(4_102_444_800_000));
        }
        let mut unlockable =
            Delivery { retain_until: Some(until), ..with("key", lock(LockMode::Governance)) };
        unlockable.target.bucket = "without-lock".to_owned();
        let error = sink.attempt(&unlockable, body(&content(1, len))).await.expect_err("no lock there");
        assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
        let error = sink.attempt(&with("key", lock(LockMode::Governance)), body(b"")).await;
        assert_eq!(error.expect_err("no time").class, ErrorClass::Misconfigured);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_class_that_the_store_does_not_know_is_a_setting_to_correct() {
    let server = Minio::start().expect("MinIO starts");
    S3::open(server.access()).expect("plain HTTP").create_bucket(BUCKET).await.expect("a new bucket");
    let sink = sink(options(server.access()));
    let cold = || ObjectOptions { storage_class: Some("STANDARD_IA".to_owned()), ..ObjectOptions::default() };
    for len in LENGTHS {
        let error = sink.attempt(&with("key", cold()), body(&content(1, len))).await.expect_err("refused");
        assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_a_setting_to_correct() {
    let server = Minio::start_tls().expect("MinIO starts");
    let error = sink(options(server.access())).probe(BUCKET).await.expect_err("an unknown certificate");
    assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
}
