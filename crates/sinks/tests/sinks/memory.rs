//! The object_store sink on object_store's own store in memory: this sink's logic, not Google's or Azure's servers.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use standpipe_sinks::ObjectSink;

use crate::suite::{self, Store};

#[tokio::test]
async fn object_store_conforms_in_memory() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let threshold = 5 << 20;
    let sink = ObjectSink::over("memory", threshold, Arc::clone(&store));
    let read = |key: String| -> BoxFuture<'_, Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&store), Path::parse(format!("bucket/{key}")));
        async move { Some(store.get(&path.ok()?).await.ok()?.bytes().await.ok()?.to_vec()) }.boxed()
    };
    let leftovers = || -> BoxFuture<'_, usize> { async { 0 }.boxed() };
    let under_test = Store {
        sink: &sink,
        reader: &sink,
        browser: &sink,
        bucket: "bucket",
        threshold,
        read: &read,
        uploads_stay: false,
        leftovers: &leftovers,
    };
    suite::run(&under_test).await;
}
