//! From a server's access to a sink, and what every S3 server must answer.

use futures::FutureExt;
use futures::future::BoxFuture;
use standpipe_model::{ErrorClass, Secret, Sink};
use standpipe_sinks::s3::{S3Checksum, S3Credentials};
use standpipe_sinks::{S3Options, S3Sink};
use standpipe_testkit::s3::S3;
use standpipe_testkit::servers::S3Access;

use crate::deliveries::{body, content, delivery};
use crate::suite::{self, Store};

pub(crate) const BUCKET: &str = "bucket-1";

/// The settings for a server's owner.
pub(crate) fn options(access: &S3Access) -> S3Options {
    let mut options = S3Options::new(S3Credentials::Static {
        access_key_id: access.access_key_id.clone(),
        secret_access_key: Secret::new(access.secret_access_key.clone()),
        session_token: None,
    });
    options.endpoint = Some(access.endpoint.clone());
    options.path_style = true;
    options
}

pub(crate) fn sink(options: S3Options) -> S3Sink {
    S3Sink::new(options).expect("good settings")
}

/// Runs the conformance suite on an S3 server.
pub(crate) async fn conforms(access: &S3Access) {
    let store = S3::open(access).expect("plain HTTP");
    store.create_bucket(BUCKET).await.expect("a new bucket");
    let options = options(access);
    let threshold = options.part_bytes as usize;
    let sink = sink(options);
    let read = |key: String| -> BoxFuture<'_, Option<Vec<u8>>> {
        let store = &store;
        async move { store.get(BUCKET, &key).await.ok() }.boxed()
    };
    let leftovers = || -> BoxFuture<'_, usize> {
        let store = &store;
        async move { unfinished(store).await }.boxed()
    };
    let under_test = Store {
        sink: &sink,
        reader: &sink,
        browser: &sink,
        bucket: BUCKET,
        threshold,
        read: &read,
        uploads_stay: true,
        leftovers: &leftovers,
    };
    suite::run(&under_test).await;
}

/// MinIO lists the uploads of one key at a time, so the keys that the suite leaves some under are asked for by name too.
async fn unfinished(store: &S3) -> usize {
    let all = store.unfinished_uploads(BUCKET).await.expect("a list").len();
    let mut named = 0;
    for key in ["dropped/true", "dropped/true-neighbour", "dropped/false", "dropped/false-neighbour"] {
        let listed = store.client().list_multipart_uploads().bucket(BUCKET).prefix(key).send().await;
        let listed = listed.expect("a list");
        named += listed.uploads().iter().filter(|upload| upload.key() == Some(key)).count();
    }
    all.max(named)
}

/// Every kind of checksum is taken, in one request and in many.
pub(crate) async fn takes_every_checksum(access: &S3Access) {
    let store = S3::open(access).expect("plain HTTP");
    store.create_bucket(BUCKET).await.expect("a new bucket");
    for checksum in [S3Checksum::Crc32c, S3Checksum::Crc64Nvme, S3Checksum::Crc32, S3Checksum::Off] {
        let sink = sink(S3Options { checksum, ..options(access) });
        for len in [10, 18 << 20] {
            let (key, sent) = (format!("{checksum:?}/{len}"), content(1, len));
            sink.attempt(&delivery(BUCKET, &key), body(&sent)).await.expect(&key);
            assert!(store.get(BUCKET, &key).await.expect(&key) == sent, "{key}");
        }
    }
}

/// Settings that someone has to correct hold the data; they are no reason to give it up, nor to hammer the store.
pub(crate) async fn tells_what_to_correct(access: &S3Access, unknown_key_code: &str) {
    let store = S3::open(access).expect("plain HTTP");
    store.create_bucket(BUCKET).await.expect("a new bucket");
    let mut wrong_secret = access.clone();
    wrong_secret.secret_access_key = "not-the-secret".to_owned();
    let mut wrong_key = access.clone();
    wrong_key.access_key_id = "NOBODY".to_owned();
    for (access, bucket, code) in [
        (access, "no-such-bucket", "NoSuchBucket"),
        (&wrong_secret, BUCKET, "SignatureDoesNotMatch"),
        (&wrong_key, BUCKET, unknown_key_code),
    ] {
        let sink = sink(options(access));
        let probed = sink.probe(bucket).await.expect_err(code);
        assert_eq!(probed.class, ErrorClass::Misconfigured, "{probed}");
        for len in [10, 9 << 20] {
            let error = sink.attempt(&delivery(bucket, "key"), body(&content(1, len))).await;
            let error = error.expect_err(code);
            assert_eq!(error.class, ErrorClass::Misconfigured, "{error}");
            for told in [access.endpoint.as_str(), bucket, "key", code] {
                assert!(error.message.contains(told), "{told} is missing: {error}");
            }
            assert!(!error.message.contains(&access.secret_access_key), "{error}");
        }
    }
}
