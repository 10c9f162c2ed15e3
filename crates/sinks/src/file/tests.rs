//! Path safety and what the disk looks like after an attempt; the conformance suite covers the rest.

use std::fs;

use standpipe_model::{ErrorClass, ObjectTarget, Sink};

use super::{FileOptions, FileSink, PathError, check_key};

fn target(bucket: &str, key: &str) -> ObjectTarget {
    ObjectTarget { bucket: bucket.to_owned(), key: key.to_owned() }
}

#[test]
fn keys_that_lead_out_of_the_root_are_refused() {
    for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", "a\0b"] {
        assert!(check_key(bad).is_err(), "{bad:?}");
    }
    for good in ["a", "a/b", "a=1/b c+d%2F", "..a/b..", "é/☃", ".hidden"] {
        assert_eq!(check_key(good), Ok(()), "{good:?}");
    }
    assert_eq!(check_key(&"x".repeat(256)), Err(PathError::SegmentTooLong { bytes: 256 }));
    assert!(matches!(check_key("a/.standpipe-tmp-0"), Err(PathError::Reserved(_))));
}

#[tokio::test]
async fn a_bucket_that_leads_out_of_the_root_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let sink = FileSink::new(FileOptions { root: root.path().join("store") });
    let error = sink.sweep(&target("..", "a")).await.expect_err("refused");
    assert_eq!(error.class, ErrorClass::Refused);
}

#[tokio::test]
async fn a_probe_leaves_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let sink = FileSink::new(FileOptions { root: root.path().join("not/yet/there") });
    sink.probe("bucket").await.expect("can be created");
    assert_eq!(fs::read_dir(root.path()).expect("readable").count(), 0);
}

#[tokio::test]
async fn a_root_that_is_a_file_is_a_setting_to_correct() {
    let root = tempfile::tempdir().expect("a folder");
    fs::write(root.path().join("file"), "x").expect("writable");
    for path in ["file", "file/below"] {
        let sink = FileSink::new(FileOptions { root: root.path().join(path) });
        assert_eq!(sink.probe("").await.expect_err(path).class, ErrorClass::Misconfigured, "{path}");
    }
}
