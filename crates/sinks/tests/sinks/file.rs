//! The file sink on a real folder.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use standpipe_model::{ErrorClass, ObjectTarget, Sink};
use standpipe_sinks::{FileOptions, FileSink, Found, ReadObject as _};

use crate::deliveries::{body, content, delivery};
use crate::suite::{self, Store};

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => files.push(path),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_conforms() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("made/on/demand");
    let sink = FileSink::new(FileOptions { root: path.clone() });
    let read = |key: String| -> BoxFuture<'_, Option<Vec<u8>>> {
        let file = path.join("bucket").join(key);
        async move { fs::read(file).ok() }.boxed()
    };
    let leftovers = || -> BoxFuture<'_, usize> {
        let temporary = |file: &PathBuf| file.to_string_lossy().contains("/.standpipe-tmp-");
        let count = files_below(&path).iter().filter(|file| temporary(file)).count();
        async move { count }.boxed()
    };
    let store = Store {
        sink: &sink,
        reader: &sink,
        browser: &sink,
        bucket: "bucket",
        threshold: 8 << 20,
        read: &read,
        uploads_stay: false,
        leftovers: &leftovers,
    };
    suite::run(&store).await;
}

#[tokio::test]
async fn leftovers_of_a_dead_process_are_swept_before_a_repeated_attempt() {
    let root = tempfile::tempdir().expect("a folder");
    let sink = FileSink::new(FileOptions { root: root.path().to_owned() });
    let mut attempt = delivery("", "a/object");
    let dropped = sink.attempt(&attempt, crate::deliveries::stalling_body(&content(1, 10)));
    let mut dropped = Box::pin(dropped);
    // Far enough for the temporary file to be there, then as if the process had died: the name stays behind.
    let temporary = loop {
        assert!((&mut dropped).now_or_never().is_none(), "the body never ends");
        match files_below(root.path()).pop() {
            Some(file) => break file,
            None => tokio::task::yield_now().await,
        }
    };
    drop(dropped);
    while temporary.exists() {
        tokio::task::yield_now().await;
    }
    fs::write(&temporary, "half an obj").expect("writable");
    attempt.repeated = true;
    let receipt = sink.attempt(&attempt, body(b"whole")).await.expect("delivered");
    assert!(!receipt.existed);
    assert_eq!(files_below(root.path()), [root.path().join("a/object")]);
}

#[tokio::test]
async fn a_key_that_runs_into_another_object_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let sink = FileSink::new(FileOptions { root: root.path().to_owned() });
    sink.attempt(&delivery("b", "x/y"), body(b"")).await.expect("delivered");
    for key in ["x", "x/y/z", "../escape", "/x", "x//y", &"n".repeat(256)] {
        let error = sink.attempt(&delivery("b", key), body(b"")).await.expect_err(key);
        assert_eq!(error.class, ErrorClass::Refused, "{error}");
    }
    assert_eq!(files_below(root.path()), [root.path().join("b/x/y")]);
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_a_setting_to_correct() {
    let root = tempfile::tempdir().expect("a folder");
    let writable = || {
        let probe = root.path().join("probe");
        fs::create_dir(&probe).is_ok_and(|()| fs::remove_dir(&probe).is_ok())
    };
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o555)).expect("our folder");
    let sink = FileSink::new(FileOptions { root: root.path().to_owned() });
    // Permissions do not bind root, so root is given what binds it too: a file system without write access.
    let sink = match writable() {
        true => FileSink::new(FileOptions { root: "/proc".into() }),
        false => sink,
    };
    let probed = sink.probe("").await.map_err(|error| error.class);
    let attempted = sink.attempt(&delivery("", "object"), body(b"")).await.map_err(|error| error.class);
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("our folder");
    assert!(probed.is_err() && attempted.is_err(), "{probed:?} {attempted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_read_while_somebody_writes_it() {
    let root = tempfile::tempdir().expect("a folder");
    let sink = FileSink::new(FileOptions { root: root.path().to_owned() });
    let path = root.path().join("bucket/table.csv");
    fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
    fs::write(&path, "key,value\n").expect("it begins");
    let mut file = fs::File::options().append(true).open(&path).expect("a file");
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let writes = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let mut rows = 0;
        while stopped.try_recv().is_err() {
            pace.tick().await;
            writeln!(file, "{rows},x").expect("there is room");
            rows += 1;
        }
        rows
    });
    let target = ObjectTarget { bucket: "bucket".to_owned(), key: "table.csv".to_owned() };
    let error = sink.read(&target, None, 1 << 20).await.expect_err("it is being written");
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(error.to_string().contains("still being written"), "{error}");
    stop.send(()).expect("it is at it");
    let rows = writes.await.expect("it wrote");
    let Ok(Found::Other { bytes, .. }) = sink.read(&target, None, 1 << 20).await else {
        panic!("it stands still")
    };
    assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1 + rows);
}
