//! Rows that their table failed to take for longer than is borne: they go to the error output.
//!
//! Whoever sends a commit and hears nothing does not know what became of it. So before the first one it is noted that
//! there may be one, and from then on rows are given up only once the table says that it does not have them. While it
//! cannot be asked, they are held. What only the table's store fails of is waited for: the error output is in it as well.
//!
//! # Limits
//! A commit that the catalog still has in hand when it is asked may be carried out behind the answer. The line of the
//! error output says then that there was one.

use standpipe_journal::SpoolId;
use standpipe_journal::control::{Control, Decide, Done, OpenBatch};
use standpipe_model::{BatchId, BatchRange, ErrorClass, Receipt, RequestRow, SinkError};
use standpipe_sinks::iceberg::RestError;

use super::super::decisions::{excerpt, push};
use super::super::deliver::{AttemptError, Try, chain, memory_for, unreadable};
use super::super::fates::{Counted, Fates, Made};
use super::super::pieces::Pieces;
use super::super::plan::PlannedObject;
use super::super::shape::{COMMITTING, Part, Shape};
use super::super::{Line, make};
use super::name_of;
use crate::alarm::AlarmKind;

/// Why rows are given up.
struct Reason {
    code: String,
    message: String,
}

impl Line {
    /// Adds a batch's rows to its table, or gives them up.
    pub(in super::super) async fn append_rows(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        which: Try,
    ) -> Result<(Receipt, Fates), AttemptError> {
        if !open.decided.is_empty() {
            return Ok(Default::default());
        }
        let close = &open.close;
        let error = match self.send(close, shape, Part::Rows, which.is_repeated()).await {
            Ok(sent) => {
                self.clear(AlarmKind::RetryExhausted);
                return Ok(sent);
            }
            Err(error) => error,
        };
        let key = shape.key(close, Part::Rows, Part::Rows.ordinal())?;
        let Some(reason) = self.judge(open, shape, &key, error).await? else {
            return Ok((IN_TABLE, Fates::default()));
        };
        let of = &shape.transformation;
        let rows = of.pieces(self.journal.read(close.range), make::requests(of.clone()), &shape.turns);
        Ok((Receipt::default(), self.decide(open, shape, which, reason, rows).await?))
    }

    /// The same of rows that are in a spool.
    pub(in super::super) async fn append_kept(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        spool: SpoolId,
        object: &PlannedObject,
        which: Try,
    ) -> Result<Receipt, AttemptError> {
        if !open.decided.is_empty() {
            return Ok(Receipt::default());
        }
        let error = match self.send_spooled(&open.close, shape, spool, object, which.is_repeated()).await {
            Ok(receipt) => {
                self.clear(AlarmKind::RetryExhausted);
                return Ok(receipt);
            }
            Err(error) => error,
        };
        if !object.has_origins {
            // An earlier version planned it: nobody knows which records its rows are of.
            return Err(error.into());
        }
        let Some(reason) = self.judge(open, shape, &object.key, error).await? else { return Ok(IN_TABLE) };
        let rows = self.kept_rows(shape, spool, object).await?;
        self.decide(open, shape, which, reason, rows).await?;
        Ok(Receipt::default())
    }

    /// Why rows are given up that could not be added to their table; `None` where they are in it all the same.
    ///
    /// # Errors
    /// They are to be tried again.
    async fn judge(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        key: &str,
        error: SinkError,
    ) -> Result<Option<Reason>, AttemptError> {
        let Some(patience) = self.bears(&shape.destination) else { return Err(error.into()) };
        let (batch, of_table) = (open.close.batch, is_of_table(&error));
        let lags = self.lags(open, patience, &error);
        let is_over = lags || of_table && self.is_over(open, patience, false, &error);
        if !is_over {
            return Err(match of_table {
                true => AttemptError::Endpoint { error, progressed: false },
                false => error.into(),
            });
        }
        let (told, name) = (error.told(), name_of(key));
        let message = match self.may_be_committed(batch) {
            false => told,
            true => match self.is_in_table(shape, key).await {
                Ok(true) => {
                    self.clear(AlarmKind::RetryExhausted);
                    return Ok(None);
                }
                Ok(false) => {
                    format!("A commit of {name} was sent, and the table did not have it afterwards. {told}")
                }
                Err(asked) if lags => {
                    let why = asked.told();
                    format!(
                        "A commit of {name} was sent, and the table could not be asked whether it has it ({why}). {told}"
                    )
                }
                Err(asked) => {
                    let why = chain(&asked);
                    let held =
                        format!("batch {batch}: held until the table can be asked whether it has it: {why}");
                    self.raise(AlarmKind::RetryExhausted, self.destination.as_str(), held);
                    return Err(AttemptError::Endpoint { error: asked, progressed: false });
                }
            },
        };
        let told = format!("batch {batch}: given up: {}", chain(&error));
        self.raise(AlarmKind::RetryExhausted, self.destination.as_str(), told);
        let code = error.code.unwrap_or_else(|| "InternalError".to_owned());
        Ok(Some(Reason { code, message: excerpt(&message) }))
    }

    /// Notes that rows are given up, of which records they are.
    async fn decide(
        &self,
        open: &OpenBatch,
        shape: &Shape,
        which: Try,
        reason: Reason,
        rows: Pieces<Made<Vec<RequestRow>>>,
    ) -> Result<Fates, AttemptError> {
        let close = &open.close;
        let memory = self.store(&shape.destination)?.memory;
        let _reserved = memory.reserve(memory_for(close.record_bytes, shape)).await;
        let mut rows = Counted::new(rows);
        let mut given_up: Vec<BatchRange> = Vec::new();
        while let Some(rows) = rows.next().await.map_err(unreadable)? {
            rows.iter().for_each(|row| push(&mut given_up, row.origin.position));
        }
        if !given_up.is_empty() {
            let Reason { code, message } = reason;
            let records = given_up.iter().map(BatchRange::count).sum();
            let (batch, destination, rows) = (close.batch, self.destination.clone(), given_up);
            let (attempts, decided_at) = (which.tries + 1, self.context.timer.now());
            let (reason, said) = (code.clone(), message.clone());
            let decide = Decide { batch, destination, rows, reason, message, attempts, decided_at };
            self.journal.control(vec![Control::Decide(decide)]).await?;
            self.tell_undelivered(close, &code, &said, records);
        }
        Ok(rows.counted())
    }

    /// Notes that a commit of a batch may have been sent, unless that is known.
    pub(super) async fn note_commit(&self, batch: BatchId) -> Result<(), SinkError> {
        if self.may_be_committed(batch) {
            return Ok(());
        }
        let destination = self.destination.clone();
        let noted = Done { batch, destination, ordinal: COMMITTING, further: 0, request: None };
        self.journal.control(vec![Control::Done(noted)]).await.map_err(|error| {
            let unnoted = SinkError::new(ErrorClass::Transient, "the journal took no note of a commit");
            SinkError { is_ours: true, ..unnoted.with_source(error) }
        })
    }

    fn may_be_committed(&self, batch: BatchId) -> bool {
        self.open_batch(batch).is_some_and(|open| open.done.contains(&COMMITTING))
    }
}

/// What an attempt comes to that finds its rows in the table.
const IN_TABLE: Receipt = Receipt { bytes: 0, existed: true };

/// Whether it is the table, or its catalog, that failed.
fn is_of_table(error: &SinkError) -> bool {
    error.source.as_deref().is_some_and(|cause| cause.is::<RestError>())
}
