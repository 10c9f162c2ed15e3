//! What every object sink must do, whatever stands behind it.

use std::time::Duration;

use futures::future::BoxFuture;
use standpipe_model::{ErrorClass, Receipt, Sink};
use standpipe_sinks::{BrowseObjects, Found, ReadObject};

use crate::deliveries::{body, content, delivery, failing_body, stalling_body};

/// More than one part with room to spare.
const LARGE: usize = 20 << 20;

/// A store under test.
pub(crate) struct Store<'a> {
    pub(crate) sink: &'a dyn Sink,
    pub(crate) reader: &'a dyn ReadObject,
    pub(crate) browser: &'a dyn BrowseObjects,
    pub(crate) bucket: &'a str,
    /// How much the sink buffers before it changes its ways.
    pub(crate) threshold: usize,
    /// Reads an object by a client of its own.
    pub(crate) read: &'a (dyn Fn(String) -> BoxFuture<'a, Option<Vec<u8>>> + Sync),
    /// Whether a dropped attempt leaves an upload behind, as none does that cleans up in this process.
    pub(crate) uploads_stay: bool,
    /// Counts what unfinished attempts left behind.
    pub(crate) leftovers: &'a (dyn Fn() -> BoxFuture<'a, usize> + Sync),
}

/// Runs the whole suite.
pub(crate) async fn run(store: &Store<'_>) {
    store.sink.probe(store.bucket).await.expect("the store is there");
    sizes(store).await;
    repeats(store).await;
    odd_keys(store).await;
    failing_bodies(store).await;
    concurrent_attempts(store).await;
    dropped_attempts(store).await;
    reads(store).await;
    browses(store).await;
    removals(store).await;
    assert_eq!((store.leftovers)().await, 0, "nothing is left behind");
}

/// Objects of every interesting size arrive as they are.
async fn sizes(store: &Store<'_>) {
    let threshold = store.threshold;
    for len in [0, 1, 1_000_000, threshold - 1, threshold, threshold + 1, 2 * threshold, LARGE] {
        let (key, sent) = (format!("sizes/{len}"), content(1, len));
        let receipt = store.sink.attempt(&delivery(store.bucket, &key), body(&sent)).await.expect(&key);
        assert_eq!(receipt, Receipt { bytes: len as u64, existed: false }, "{key}");
        assert!((store.read)(key.clone()).await == Some(sent), "{key} arrived otherwise");
    }
}

/// A repeated attempt is told that the object exists, and leaves it as it is.
async fn repeats(store: &Store<'_>) {
    for len in [0, 10_000, LARGE] {
        let (key, sent) = (format!("repeats/{len}"), content(2, len));
        let mut attempt = delivery(store.bucket, &key);
        store.sink.attempt(&attempt, body(&sent)).await.expect(&key);
        for repeated in [false, true] {
            attempt.repeated = repeated;
            let receipt = store.sink.attempt(&attempt, body(&content(3, len + 1))).await.expect(&key);
            assert!(receipt.existed, "{key}");
            assert!((store.read)(key.clone()).await.as_ref() == Some(&sent), "{key} was changed");
        }
    }
}

/// What is removed is gone, its neighbour is not, and it may be removed again.
async fn removals(store: &Store<'_>) {
    let [removed, kept] = ["removed/1", "removed/10"].map(|key| delivery(store.bucket, key));
    for attempt in [&removed, &kept] {
        store.sink.attempt(attempt, body(&content(5, 100))).await.expect("stored");
    }
    for _ in 0..2 {
        store.sink.remove(&removed.target).await.expect("removed");
        assert!((store.read)(removed.target.key.clone()).await.is_none());
    }
    assert!((store.read)(kept.target.key.clone()).await.is_some());
    let receipt = store.sink.attempt(&removed, body(&content(5, 100))).await.expect("stored again");
    assert!(!receipt.existed);
}

/// Characters that some layer might take for its own.
async fn odd_keys(store: &Store<'_>) {
    for key in ["a b/c=d/e+f", "100%/%2F", "é/☃/日本", "q?x&y#z", "'\"<>|*;:,@$!()~", "dots../..a/.b"] {
        for len in [100, store.threshold + 1] {
            let key = format!("odd/{key}/{len}");
            let sent = content(4, len);
            store.sink.attempt(&delivery(store.bucket, &key), body(&sent)).await.expect(&key);
            assert!((store.read)(key.clone()).await == Some(sent), "{key} arrived otherwise");
            assert_eq!(store.sink.sweep(&delivery(store.bucket, &key).target).await.expect(&key), 0);
        }
    }
}

/// An object is read whole, within its bound, and only where it is another one than is known.
async fn reads(store: &Store<'_>) {
    let mut tags = Vec::new();
    for len in [0, 10_000, LARGE] {
        let (key, sent) = (format!("reads/{len}"), content(6, len));
        let attempt = delivery(store.bucket, &key);
        store.sink.attempt(&attempt, body(&sent)).await.expect(&key);
        let known = tags.last().cloned();
        let read = |known: Option<String>, max| {
            let target = attempt.target.clone();
            async move { store.reader.read(&target, known.as_deref(), max).await }
        };
        let Found::Other { bytes, tag: Some(tag) } = read(known, len as u64).await.expect(&key) else {
            panic!("{key} is not the one before, and has a tag")
        };
        assert!(bytes == sent, "{key} was read otherwise");
        assert!(matches!(read(Some(tag.clone()), 0).await, Ok(Found::Same)), "{key}");
        if let Some(less) = (len as u64).checked_sub(1) {
            let error = read(None, less).await.expect_err("it is too large").to_string();
            assert!(error.contains(&key) && error.contains(&format!("its max is {less}")), "{error}");
        }
        tags.push(tag);
    }
    let nothing = delivery(store.bucket, "reads/nothing").target;
    let error = store.reader.read(&nothing, None, 1).await.expect_err("there is none").to_string();
    assert!(error.contains("reads/nothing"), "{error}");
}

/// Objects are listed page by page in the order of their keys, and read in parts.
async fn browses(store: &Store<'_>) {
    let keys =
        ["b/a!", "b/a-b", "b/a/x", "b/a/y/z", "b/a0", "b/b", "b/c/d"].map(|key| format!("browse/{key}"));
    for (key, len) in keys.iter().zip(10..) {
        store.sink.attempt(&delivery(store.bucket, key), body(&content(7, len))).await.expect(key);
    }
    let list = async |prefix: &str, after: Option<&str>, max| {
        let listed = store.browser.list(store.bucket, prefix, after, max).await.expect(prefix);
        listed.into_iter().map(|object| (object.key, object.bytes)).collect::<Vec<_>>()
    };
    let all: Vec<(String, u64)> = keys.iter().cloned().zip(10..).collect();
    assert_eq!(list("browse/b/", None, 1_000).await, all);
    assert_eq!(list("browse/b/a", None, 1_000).await, all[..5]);
    assert_eq!(list("browse/b/a/", None, 1_000).await, all[2..4]);
    assert_eq!(list("browse/none", None, 10).await, []);
    for (next, after) in (1..).zip(&keys) {
        let page = list("browse/", Some(after), 2).await;
        assert_eq!(page, all[next..all.len().min(next + 2)], "after {after}");
    }
    let (target, sent) = (delivery(store.bucket, &keys[6]).target, content(7, 16));
    for (from, len) in [(0, 16), (0, 5), (5, 100), (15, 1)] {
        let part = store.browser.read_part(&target, from, len).await.expect("it is there");
        assert_eq!(part, sent[from as usize..16.min((from + len) as usize)], "{from} {len}");
    }
    let nothing = delivery(store.bucket, "browse/nothing").target;
    let error = store.browser.read_part(&nothing, 0, 1).await.expect_err("there is none").to_string();
    assert!(error.contains("browse/nothing"), "{error}");
}

/// A body that fails leaves no object and, at the latest after a sweep, nothing else.
async fn failing_bodies(store: &Store<'_>) {
    for len in [0, 10_000, LARGE] {
        let key = format!("failing/{len}");
        let attempt = delivery(store.bucket, &key);
        let error = store.sink.attempt(&attempt, failing_body(&content(5, len))).await.expect_err(&key);
        assert_eq!(error.class, ErrorClass::Transient, "{error}");
        assert_eq!((store.read)(key.clone()).await, None, "{key}");
        store.sink.sweep(&attempt.target).await.expect(&key);
        assert_eq!((store.leftovers)().await, 0, "{key}");
    }
}

/// Attempts that meet at one key (a slow one that was given up, and its successor) store one whole object.
async fn concurrent_attempts(store: &Store<'_>) {
    for len in [10_000, LARGE] {
        let key = format!("concurrent/{len}");
        let attempt = delivery(store.bucket, &key);
        let (one, two) = (content(6, len), content(7, len));
        let both =
            tokio::join!(store.sink.attempt(&attempt, body(&one)), store.sink.attempt(&attempt, body(&two)),);
        let outcomes = [both.0, both.1];
        let stored = outcomes.iter().filter(|outcome| matches!(outcome, Ok(receipt) if !receipt.existed));
        assert_eq!(stored.count(), 1, "one of them stores {key}: {outcomes:?}");
        for outcome in outcomes {
            // The other one finds the object, or a conflict that another attempt resolves.
            let unclear = outcome.as_ref().err().map(|error| error.class);
            assert!(matches!(unclear, None | Some(ErrorClass::Transient)), "{key}: {outcome:?}");
        }
        let read = (store.read)(key.clone()).await;
        assert!(read.as_ref() == Some(&one) || read.as_ref() == Some(&two), "{key} is whole");
    }
}

/// A dropped attempt leaves at most what a sweep, or the next attempt, removes.
async fn dropped_attempts(store: &Store<'_>) {
    for by_sweep in [true, false] {
        let key = format!("dropped/{by_sweep}");
        let mut attempt = delivery(store.bucket, &key);
        // A neighbour whose key only begins alike is not swept away.
        let neighbour = delivery(store.bucket, &format!("{key}-neighbour"));
        for dropped in [&attempt, &neighbour] {
            let unfinished = store.sink.attempt(dropped, stalling_body(&content(8, LARGE)));
            let given_up = tokio::time::timeout(Duration::from_secs(3), unfinished).await;
            assert!(given_up.is_err(), "the body never ends");
        }
        let before = settled_leftovers(store).await;
        assert_eq!(before, if store.uploads_stay { 2 } else { 0 }, "{key}");
        if by_sweep {
            let removed = store.sink.sweep(&attempt.target).await.expect(&key);
            assert_eq!(removed as usize, before / 2, "its own, not the neighbour's");
        }
        attempt.repeated = true;
        let sent = content(9, 1_000);
        let receipt = store.sink.attempt(&attempt, body(&sent)).await.expect(&key);
        assert!(!receipt.existed, "{key}");
        assert_eq!((store.leftovers)().await, before / 2, "the neighbour's are still there");
        store.sink.sweep(&neighbour.target).await.expect(&key);
        assert!((store.read)(key).await == Some(sent));
    }
}

/// A dropped attempt may still be cleaning up behind itself for a moment.
async fn settled_leftovers(store: &Store<'_>) -> usize {
    for _ in 0..50 {
        let left = (store.leftovers)().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if left == (store.leftovers)().await {
            return left;
        }
    }
    (store.leftovers)().await
}
