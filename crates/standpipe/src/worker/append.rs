//! Files of rows that become a part of a table of Iceberg: where they go, and the change of the table that adds them.
//!
//! ```text
//! is it in already? ─► store the file ─► store a manifest, and a list with it ─► commit, if nothing else was meanwhile
//! ```
//!
//! A file's name derives from its batch, and the snapshot that adds it says that name. Whoever comes again, after a crash
//! or an answer that was lost, finds it in the table's snapshots.
//!
//! # Invariants
//! - A file is added once: a commit requires the snapshot that was looked through to be the latest still.
//! - Before the first commit of a batch the journal says that there may be one.

mod files;
mod given_up;
mod table;

use std::sync::Arc;

use serde_json::{Value, json};
use standpipe_convert::TableSchema;
use standpipe_convert::manifest::{self, AddedFile, Manifest, TableForm};
use standpipe_journal::control::Close;
use standpipe_model::{Delivery, ErrorClass, ObjectTarget, SinkError};
use standpipe_sinks::iceberg::{RestError, TableMetadata};

use super::Line;
use super::deliver::chain;
use super::shape::Shape;
use crate::iceberg::Iceberg;
use crate::lookup::LookupError;
use crate::spec::CatalogTable;
use crate::stores::Client;
use files::{manifests_before, put, stored, unmade};
use table::{check, commit, folder, has, misconfigured, summary};

/// How often a change is made anew because others were quicker, before the file is sent again.
const CONFLICTS_MAX: usize = 8;

/// A table that a file becomes a part of.
#[derive(Debug)]
pub(super) struct Appending {
    iceberg: Arc<Iceberg>,
    of: CatalogTable,
    columns: TableSchema,
    /// The file's name.
    name: String,
    /// Its address.
    path: String,
    is_done: bool,
}

impl Appending {
    /// Whether the file is in the table already.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }
}

impl Line {
    /// The table that a file of rows becomes a part of, where the destination is one. `target` becomes its place there.
    ///
    /// # Errors
    /// It cannot be looked at, or takes no files of this kind.
    pub(super) async fn table_for(
        &self,
        close: &Close,
        shape: &Shape,
        target: &mut ObjectTarget,
    ) -> Result<Option<Appending>, SinkError> {
        let Some(conversion) = shape.destination.conversion.as_ref().filter(|of| of.appends()) else {
            return Ok(None);
        };
        let of = conversion.table.clone();
        let columns = self.with_columns(conversion, close)?.schema;
        let (iceberg, table) = self.look_at(&of).await?;
        let (scheme, folder) = folder(&table, "write.data.path", "data")?;
        let name = name_of(&target.key);
        *target = ObjectTarget { key: format!("{}/{}", folder.key, target.key), ..folder };
        let path = format!("{scheme}://{}/{}", target.bucket, target.key);
        let is_done = has(&table, &name);
        if !is_done {
            check(&table, &columns)?;
        }
        Ok(Some(Appending { iceberg, of, columns, name, path, is_done }))
    }

    /// Whether the table has the file of a key.
    async fn is_in_table(&self, shape: &Shape, key: &str) -> Result<bool, SinkError> {
        let Some(conversion) = &shape.destination.conversion else { return Ok(false) };
        let (_, table) = self.look_at(&conversion.table).await?;
        Ok(has(&table, &name_of(key)))
    }

    /// The catalog, and the table as it is now.
    async fn look_at(&self, of: &CatalogTable) -> Result<(Arc<Iceberg>, TableMetadata), SinkError> {
        let iceberg = self.context.catalogs.iceberg().await.map_err(|error| match error {
            LookupError::Client(_) => SinkError::new(ErrorClass::Transient, chain(&error)),
            error => misconfigured(chain(&error)),
        })?;
        let table = iceberg.table(of, self.context.timer.now()).await?;
        Ok((iceberg, table))
    }

    /// Adds a file that is stored to its table, where it is for one.
    ///
    /// # Errors
    /// It may be a part of it all the same, which the next attempt finds out.
    pub(super) async fn append(
        &self,
        to: Option<Appending>,
        store: &dyn Client,
        delivery: &Delivery,
    ) -> Result<(), SinkError> {
        let Some(to) = to else { return Ok(()) };
        let file = stored(store, delivery, to.path.clone()).await?;
        let _turn = self.appending.lock().await;
        let mut conflict = None;
        for _ in 0..CONFLICTS_MAX {
            let table = to.iceberg.table(&to.of, self.context.timer.now()).await?;
            if has(&table, &to.name) {
                return Ok(());
            }
            let change = self.change(&to, &table, &file, store, delivery).await?;
            self.note_commit(delivery.batch).await?;
            match to.iceberg.commit(&to.of, &change, self.context.timer.now()).await {
                Err(error @ RestError::Conflict(_)) => conflict = Some(error),
                committed => return Ok(committed?),
            }
        }
        Err(conflict.map_or_else(|| misconfigured("no change was tried"), SinkError::from))
    }

    /// The change that adds a file, once what it names is stored.
    async fn change(
        &self,
        to: &Appending,
        table: &TableMetadata,
        file: &AddedFile,
        store: &dyn Client,
        delivery: &Delivery,
    ) -> Result<Value, SinkError> {
        let (schema, (spec_id, _)) = (check(table, &to.columns)?, table.partitioning());
        let form = TableForm { schema: &schema.json, schema_id: schema.id, spec_id };
        let snapshot = self.new_id(table);
        let sequence = table.last_sequence_number + 1;
        let (scheme, folder) = folder(table, "write.metadata.path", "metadata")?;
        let place = |name: String| ObjectTarget { key: format!("{}/{name}", folder.key), ..folder.clone() };
        let address = |at: &ObjectTarget| format!("{scheme}://{}/{}", at.bucket, at.key);

        let mut manifests = manifests_before(table, store).await?;
        let at = place(format!("{}-{snapshot}-m0.avro", to.name));
        let bytes = manifest::manifest(file, snapshot, form).map_err(unmade)?;
        let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        manifests.push(Manifest::adding(file, address(&at), len, snapshot, sequence, spec_id));
        put(store, delivery, at, bytes).await?;
        let at = place(format!("snap-{snapshot}-{}.avro", to.name));
        let parent = table.current_id();
        let list = manifest::write_list(&manifests, snapshot, parent, sequence);
        let manifest_list = address(&at);
        put(store, delivery, at, list.map_err(unmade)?).await?;

        let now = i64::try_from(self.context.timer.now().as_millis()).unwrap_or(i64::MAX);
        let summary = summary(table, file, &to.name, delivery);
        let current = table.schema(None).map_or(schema.id, |current| current.id);
        let mut added = json!({
            "snapshot-id": snapshot, "sequence-number": sequence, "timestamp-ms": now.max(table.last_updated_ms),
            "manifest-list": manifest_list, "summary": summary, "schema-id": current,
        });
        if let Some(parent) = parent {
            added["parent-snapshot-id"] = parent.into();
        }
        Ok(commit(table, snapshot, added))
    }

    /// An id that no snapshot of the table has.
    fn new_id(&self, table: &TableMetadata) -> i64 {
        loop {
            let id = (self.context.entropy.next_u64() >> 1) as i64;
            if id > 0 && table.snapshots.iter().all(|snapshot| snapshot.snapshot_id != id) {
                return id;
            }
        }
    }
}

/// The name of a key's file.
fn name_of(key: &str) -> String {
    key.rsplit('/').next().unwrap_or_default().to_owned()
}
