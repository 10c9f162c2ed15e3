//! Reading an object.

use async_trait::async_trait;
use futures::StreamExt as _;
use object_store::{Error, GetOptions};
use standpipe_model::{ObjectTarget, SinkError};

use super::sink::ObjectSink;
use crate::read::{Bounded, Found, ReadObject};

const WHAT: &str = "reading the object";

#[async_trait]
impl ReadObject for ObjectSink {
    async fn read(
        &self,
        target: &ObjectTarget,
        known: Option<&str>,
        max_bytes: u64,
    ) -> Result<Found, SinkError> {
        let (store, key) = self.open(target)?;
        let failed = |error| self.failed(target, WHAT, error);
        let options = GetOptions { if_none_match: known.map(str::to_owned), ..GetOptions::default() };
        let object = match store.get_opts(&key, options).await {
            Ok(object) => object,
            Err(Error::NotModified { .. }) => return Ok(Found::Same),
            Err(error) => return Err(failed(error)),
        };
        let tag = object.meta.e_tag.clone();
        let mut read = Bounded::new(self.place(target), object.meta.size, max_bytes)?;
        let mut pieces = object.into_stream();
        while let Some(piece) = pieces.next().await {
            read.push(&piece.map_err(failed)?)?;
        }
        Ok(Found::Other { bytes: read.bytes, tag })
    }
}
