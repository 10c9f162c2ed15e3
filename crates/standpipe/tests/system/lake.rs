//! An S3 store with buckets to deliver to, and counting what has arrived there.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::ops::RangeInclusive;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use standpipe_testkit::s3::S3;
use standpipe_testkit::servers::Versitygw;
use tokio::runtime::Runtime;

/// A versitygw, seen by its owner.
pub(crate) struct Lake {
    pub(crate) server: Versitygw,
    s3: S3,
    runtime: Runtime,
}

impl Lake {
    /// A store with these buckets.
    pub(crate) fn with(buckets: &[&str]) -> Self {
        let server = Versitygw::start().unwrap();
        let s3 = S3::open(server.access()).unwrap();
        let runtime = Runtime::new().unwrap();
        let lake = Self { server, s3, runtime };
        buckets.iter().for_each(|bucket| lake.make(bucket));
        lake
    }

    /// Makes a bucket.
    pub(crate) fn make(&self, bucket: &str) {
        self.runtime.block_on(self.s3.create_bucket(bucket)).unwrap();
    }

    /// The store as an entry under `stores:`.
    pub(crate) fn yaml(&self) -> String {
        self.server.access().store_yaml()
    }

    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        self.runtime.block_on(self.s3.keys(bucket)).unwrap()
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.runtime.block_on(self.s3.get(bucket, key)).unwrap()
    }

    /// Puts an object, in the place of the one that is there.
    pub(crate) fn put(&self, bucket: &str, key: &str, body: &[u8]) {
        let put = self.s3.client().put_object().bucket(bucket).key(key).body(body.to_vec().into());
        self.runtime.block_on(put.send()).unwrap();
    }

    pub(crate) fn remove(&self, bucket: &str, key: &str) {
        let remove = self.s3.client().delete_object().bucket(bucket).key(key);
        self.runtime.block_on(remove.send()).unwrap();
    }

    pub(crate) fn unfinished_uploads(&self, bucket: &str) -> Vec<String> {
        self.runtime.block_on(self.s3.unfinished_uploads(bucket)).unwrap()
    }

    /// How often each row has arrived, by the `id` of the JSON object on each line. Objects are read one by one.
    pub(crate) fn rows(&self, bucket: &str) -> HashMap<u64, u32> {
        #[derive(Deserialize)]
        struct Row {
            id: u64,
        }
        let mut rows = HashMap::new();
        for key in self.keys(bucket) {
            let object = self.get(bucket, &key);
            let plain: Box<dyn Read> = match key.ends_with(".gz") {
                true => Box::new(MultiGzDecoder::new(object.as_slice())),
                false => Box::new(object.as_slice()),
            };
            for line in BufReader::new(plain).lines() {
                let line = line.unwrap();
                let row: Row =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{key}: {error}: {line}"));
                *rows.entry(row.id).or_default() += 1;
            }
        }
        rows
    }

    /// Checks that each of the rows `0..count` has arrived as often as `allowed` says, and no other.
    pub(crate) fn assert_rows(&self, bucket: &str, count: u64, allowed: impl Fn(u64) -> RangeInclusive<u32>) {
        let rows = self.rows(bucket);
        let times = |id| rows.get(&id).copied().unwrap_or_default();
        let wrong: Vec<_> = (0..count).filter(|id| !allowed(*id).contains(&times(*id))).collect();
        let shown: Vec<_> = wrong.iter().take(10).map(|id| (id, times(*id), allowed(*id))).collect();
        assert!(wrong.is_empty(), "{} rows did not arrive as often as they should: {shown:?}", wrong.len());
        assert!(rows.keys().all(|id| *id < count), "rows arrived that nobody has put");
    }
}
