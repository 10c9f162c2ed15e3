//! Planning a batch: its records are made into rows once, the rows are sorted into objects, and all of it is kept in the
//! batch's spool before the first effect.
//!
//! A function that met its deadline could give other rows at a second try, and the objects of partitions cannot be made
//! before the last record has been seen. So what is delivered of such a batch is read from the spool, at every attempt.
//!
//! # Invariants
//! - Without a PLAN nothing was delivered, and the batch may be planned anew.
//! - A record whose rows do not all find their objects fails as a whole.
//! - The rows of a partition are in the order of their records, cut at the first record at or past the size hint.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standpipe_journal::control::{Close, Control, Plan};
use standpipe_journal::{Journal, ObjectPlace, SPOOL_BUFFER_BYTES, SpoolError, SpoolId, SpoolWriter};
use standpipe_model::{BatchId, ErrorClass, SinkError, Timestamp};
use standpipe_sinks::key::{ObjectKeys, Partition, PartitionError};
use standpipe_transform::{Failure, FailureKind, Record, Row};
use tokio::task::spawn_blocking;

use super::Line;
use super::body::WORKING_BYTES;
use super::deliver::{AttemptError, unreadable};
use super::fates::Fates;
use super::make::{Sorted, line, request_rows, sorted};
use super::pieces::failed;
use super::requests::kept;
use super::shape::{Part, Shape, refused};
use crate::spec::CatalogTable;

/// From so many objects of a batch on none is cut any more, whatever its size: the index of all of them is in memory.
const OBJECTS_MAX: usize = 20_000;

/// What the index of a spool says of an object, whose ordinal is the number of its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlannedObject {
    pub(super) key: String,
    /// Its rows are lines of the error output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_error_output: bool,
    /// Its rows are kept with what they come from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_origins: bool,
    pub(super) place: ObjectPlace,
}

impl Line {
    /// Plans a batch that is closed and was not planned yet.
    pub(super) async fn plan(&self, close: &Close, shape: &Shape) -> Result<Plan, AttemptError> {
        if self.journal.usage().poisoned {
            // Its PLAN would be refused, after all of the work and with the space that it takes.
            return Err(SinkError::new(ErrorClass::Transient, "the journal takes no decisions now").into());
        }
        let memory = self.store(&shape.destination)?.memory;
        let _reserved = memory.reserve(WORKING_BYTES + 2 * SPOOL_BUFFER_BYTES as u64).await;
        let of = &shape.transformation;
        let work = sorted(of.clone(), Arc::clone(&shape.keys));
        let mut pieces = of.pieces(self.journal.read(close.range), work, &shape.turns);
        let (journal, begin) = (self.journal.clone(), Sorter::beginning(close, shape)?);
        let mut sorter = blocking(move || begin(&journal)).await?;
        while let Some(chunk) = pieces.next().await.map_err(unreadable)? {
            sorter = blocking(move || sorter.take(chunk)).await?;
        }
        let (lost, count) = (pieces.lost(), close.range.count());
        let (partitions, beyond_limit) = (sorter.active.len(), sorter.beyond_limit);
        let planned = blocking(move || sorter.finish(lost)).await?;
        let Planned { spool, objects, index, fates } = planned;
        let (batch, destination) = (close.batch, self.destination.clone());
        let plan = Plan { batch, destination, spool, objects, index, tally: fates.tally(count) };
        self.journal.control(vec![Control::Plan(plan.clone())]).await?;
        self.tell_failed(close, &fates);
        // Only now: an earlier PLAN, of which nobody heard, may have been the one that counts.
        self.drop_spools(batch, Some(spool)).await;
        if shape.keys.is_partitioned() {
            self.context.metrics.partitioned(&self.stream, self.label(), partitions, beyond_limit);
        }
        Ok(plan)
    }

    /// The objects of a batch that is planned.
    pub(super) async fn objects(&self, plan: &Plan) -> io::Result<Vec<PlannedObject>> {
        let (spool, index) = (plan.spool, plan.index);
        let read = self.blocking(move |journal| {
            let mut reader = journal.read_spool(spool, index)?;
            let mut objects = Vec::new();
            while let Some(chunk) = reader.next_chunk(u64::MAX)? {
                for line in chunk.iter() {
                    objects.push(serde_json::from_slice(line)?);
                }
            }
            Ok(objects)
        });
        read.await
    }
}

/// Does what waits for the disk where that holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AttemptError> + Send + 'static,
) -> Result<T, AttemptError> {
    spawn_blocking(work).await.map_err(|error| unreadable(failed(error)))?
}

/// What a batch was planned to become.
struct Planned {
    spool: SpoolId,
    objects: u32,
    index: ObjectPlace,
    fates: Fates,
}

/// What the rows of an object that is being filled have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Lane {
    Rows(Partition),
    Failures(FailureKind),
}

/// An object that is being filled.
#[derive(Debug, Clone, Copy)]
struct Filling {
    object: u32,
    bytes: u64,
}

/// Sorts rows into the objects of a spool; blocking.
struct Sorter {
    spool: SpoolWriter,
    close: Close,
    keys: Arc<ObjectKeys>,
    active_max: usize,
    cut_bytes: u64,
    table: Option<CatalogTable>,
    /// Rows go to an endpoint or a table, which may have them given up.
    keeps_origins: bool,
    /// The partitions that have had a row, and when the first one arrived: their keys are dated by it, as long as the
    /// one that was looked at.
    active: BTreeMap<Partition, Timestamp>,
    lanes: HashMap<Lane, Filling>,
    objects: Vec<PlannedObject>,
    fates: Fates,
    /// Records that would have needed a partition more than is allowed.
    beyond_limit: u64,
}

impl Sorter {
    /// What begins one; only that has to wait for the disk.
    fn beginning(
        close: &Close,
        shape: &Shape,
    ) -> Result<impl FnOnce(&Journal) -> Result<Self, AttemptError> + Send + 'static, SinkError> {
        // A key that is too long whatever the rows hold is no fate of theirs.
        if !shape.keys.is_partitioned() {
            shape.key(close, Part::Rows, 0)?;
        }
        for kind in FailureKind::ALL {
            shape.key(close, Part::Failures(kind), 0)?;
        }
        let (close, keys) = (close.clone(), Arc::clone(&shape.keys));
        let table = shape.transformation.table().cloned();
        let partitioning = shape.destination.partitioning.as_ref();
        let active_max = partitioning.map_or(1, |partitioning| partitioning.active_max as usize);
        let keeps_origins = shape.destination.endpoint.is_some() || shape.destination.appends();
        let cut_bytes = partitioning.map_or(u64::MAX, |_| shape.destination.buffering.size_bytes);
        Ok(move |journal: &Journal| {
            let spool = journal.spool(close.batch)?;
            let (active, lanes, objects) = (BTreeMap::new(), HashMap::new(), Vec::new());
            let (fates, beyond_limit) = (Fates::default(), 0);
            Ok(Self {
                spool,
                close,
                keys,
                active_max,
                cut_bytes,
                table,
                keeps_origins,
                active,
                lanes,
                objects,
                fates,
                beyond_limit,
            })
        })
    }

    /// Takes what came of a chunk.
    fn take(mut self, chunk: Sorted) -> Result<Self, AttemptError> {
        let Sorted { records, transformed, partitions } = chunk;
        self.fates.dropped += transformed.dropped;
        let mut partitions = partitions.into_iter();
        for rows in transformed.rows.chunk_by(|a, b| a.origin.record == b.origin.record) {
            let own: Vec<_> = partitions.by_ref().take(rows.len()).collect();
            let Some(record) = records.get(rows[0].origin.record as usize) else { continue };
            match self.admit(own, rows.len(), record.arrived_at) {
                Ok(_) if self.keeps_origins => self.keep_with_origins(&records, rows)?,
                Ok(partitions) => self.keep(rows, partitions)?,
                Err(failure) => self.fail(record, &failure)?,
            }
        }
        for (number, failure) in &transformed.failures {
            let Some(record) = records.get(*number as usize) else { continue };
            self.fail(record, failure)?;
        }
        Ok(self)
    }

    /// The partitions of a record's rows, if they all have one and there may be so many.
    fn admit(
        &mut self,
        found: Vec<Result<Partition, PartitionError>>,
        rows: usize,
        arrived_at: Timestamp,
    ) -> Result<Vec<Partition>, Failure> {
        let fail = |code: &str, message: String| Failure::once(FailureKind::Processing, code, message);
        if found.is_empty() {
            return Ok(vec![Partition::default(); rows]);
        }
        let found: Vec<Partition> = found
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| fail(error.code(), error.to_string()))?;
        let new: BTreeSet<&Partition> = found.iter().filter(|one| !self.active.contains_key(*one)).collect();
        if self.active.len() + new.len() > self.active_max {
            self.beyond_limit += 1;
            let message = "The number of active partitions has exceeded the configured limit".to_owned();
            let code = "DynamicPartitioning.ActivePartitionsLimitExceeded";
            return Err(Failure::once(FailureKind::ActivePartitions, code, message));
        }
        for partition in &new {
            // Its length does not depend on the object's number.
            let (version, batch) = (self.close.version, self.identity());
            self.keys
                .object_key(version, batch, 0, arrived_at, Some(partition))
                .map_err(|error| fail("DynamicPartitioning.InvalidKey", error.to_string()))?;
        }
        let new: Vec<Partition> = new.into_iter().cloned().collect();
        self.active.extend(new.into_iter().map(|partition| (partition, arrived_at)));
        Ok(found)
    }

    fn keep(&mut self, rows: &[Row], partitions: Vec<Partition>) -> Result<(), AttemptError> {
        let mut touched = BTreeSet::new();
        for (row, partition) in rows.iter().zip(partitions) {
            self.push(Lane::Rows(partition.clone()), &row.data)?;
            touched.insert(partition);
        }
        // Only behind the whole record.
        touched.into_iter().try_for_each(|partition| self.cut(&Lane::Rows(partition)))
    }

    /// Keeps rows with what they come from, as requests have it.
    fn keep_with_origins(&mut self, records: &[Record], rows: &[Row]) -> Result<(), AttemptError> {
        request_rows(records, rows)
            .try_for_each(|row| self.push(Lane::Rows(Partition::default()), &kept::write(&row)))
    }

    fn fail(&mut self, record: &Record, failure: &Failure) -> Result<(), AttemptError> {
        self.fates.fail(failure);
        let line = line(record, failure, self.close.closed_at.as_millis(), self.table.as_ref())
            .map_err(io::Error::other);
        let lane = Lane::Failures(failure.kind);
        self.push(lane.clone(), &line.map_err(SpoolError::Io)?)?;
        self.cut(&lane)
    }

    fn push(&mut self, lane: Lane, row: &[u8]) -> Result<(), AttemptError> {
        let filling = match self.lanes.get_mut(&lane) {
            Some(filling) => filling,
            None => {
                let object = self.begin(&lane)?;
                self.lanes.entry(lane).or_insert(Filling { object, bytes: 0 })
            }
        };
        filling.bytes += row.len() as u64;
        Ok(self.spool.push(filling.object, row)?)
    }

    fn identity(&self) -> BatchId {
        self.spool.id().identity(self.close.batch)
    }

    /// Begins an object. The keys of partitions are dated by their first row of the window, those of others by the
    /// batch's.
    fn begin(&mut self, lane: &Lane) -> Result<u32, AttemptError> {
        let object = self.spool.begin_object();
        let (version, batch, mut arrived_at) = (self.close.version, self.identity(), self.close.arrived_at);
        let key = match lane {
            Lane::Rows(partition) => {
                arrived_at = self.active.get(partition).copied().unwrap_or(arrived_at);
                let partition = self.keys.is_partitioned().then_some(partition);
                self.keys.object_key(version, batch, object, arrived_at, partition)
            }
            Lane::Failures(kind) => self.keys.error_key(kind.as_str(), version, batch, object, arrived_at),
        };
        let key = key.map_err(|error| refused(&error))?;
        let is_error_output = matches!(lane, Lane::Failures(_));
        let has_origins = self.keeps_origins && !is_error_output;
        self.objects.push(PlannedObject { key, is_error_output, has_origins, place: ObjectPlace::default() });
        Ok(object)
    }

    /// Ends a lane's object if it is large enough.
    fn cut(&mut self, lane: &Lane) -> Result<(), AttemptError> {
        if self.objects.len() >= OBJECTS_MAX {
            return Ok(());
        }
        let full = self.lanes.get(lane).filter(|filling| filling.bytes >= self.cut_bytes).copied();
        if let Some(Filling { object, .. }) = full {
            self.lanes.remove(lane);
            self.end(object)?;
        }
        Ok(())
    }

    fn end(&mut self, object: u32) -> Result<(), AttemptError> {
        let place = self.spool.end_object(object)?;
        if let Some(planned) = self.objects.get_mut(object as usize) {
            planned.place = place;
        }
        Ok(())
    }

    /// Ends all objects and writes the index.
    fn finish(mut self, lost: u64) -> Result<Planned, AttemptError> {
        let mut open: Vec<u32> = self.lanes.drain().map(|(_, filling)| filling.object).collect();
        open.sort_unstable();
        open.into_iter().try_for_each(|object| self.end(object))?;
        self.fates.lost = lost;
        let index = self.spool.begin_object();
        for object in &self.objects {
            let line = serde_json::to_vec(object).map_err(io::Error::other).map_err(SpoolError::Io)?;
            self.spool.push(index, &line)?;
        }
        let index = self.spool.end_object(index)?;
        let spool = self.spool.id();
        self.spool.finish()?;
        let objects = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        Ok(Planned { spool, objects, index, fates: self.fates })
    }
}
