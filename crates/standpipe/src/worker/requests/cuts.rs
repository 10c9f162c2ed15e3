//! Cutting a batch's rows into requests, as there is memory for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{self, BoxStream, StreamExt};
use standpipe_model::{BodyError, RequestLimits, RequestRow};
use tokio::sync::OwnedSemaphorePermit;

use super::super::Memory;
use super::super::fates::Counted;

/// Rows of a batch on their way into requests.
pub(super) struct Cutter {
    /// `None` behind the last.
    rows: Option<Counted<Vec<RequestRow>>>,
    waiting: VecDeque<RequestRow>,
    limits: RequestLimits,
}

impl Cutter {
    pub(super) fn new(rows: Counted<Vec<RequestRow>>, limits: RequestLimits) -> Self {
        Self { rows: Some(rows), waiting: VecDeque::new(), limits }
    }

    /// The rows of the next request; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Vec<RequestRow>>, BodyError> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        loop {
            let Some(row) = self.waiting.pop_front() else {
                let Some(source) = &mut self.rows else { break };
                match source.next().await? {
                    Some(more) => self.waiting = more.into(),
                    None => self.rows = None,
                }
                continue;
            };
            let len = row.data.len() as u64;
            let full = rows.len() >= self.limits.rows_max || bytes + len > self.limits.bytes_max;
            if full && !rows.is_empty() {
                self.waiting.push_front(row);
                break;
            }
            bytes += len;
            rows.push(row);
        }
        Ok((!rows.is_empty()).then_some(rows))
    }
}

/// The rows of a request, with the memory that it may take.
pub(super) struct Cut {
    pub(super) rows: Vec<RequestRow>,
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

/// The requests of a batch, each once there is `bytes` of memory for it, until there is no more to be tried.
pub(super) fn cuts(
    cutter: Cutter,
    memory: Arc<Memory>,
    bytes: u64,
    given_up: Arc<AtomicBool>,
) -> BoxStream<'static, Result<Cut, BodyError>> {
    let cuts = stream::unfold(Some(cutter), move |cutter| {
        let (memory, given_up) = (Arc::clone(&memory), Arc::clone(&given_up));
        async move {
            let mut cutter = cutter.filter(|_| !given_up.load(Ordering::Relaxed))?;
            let memory = memory.reserve(bytes).await;
            match cutter.next().await {
                Ok(rows) => rows.map(|rows| (Ok(Cut { rows, memory }), Some(cutter))),
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    cuts.boxed()
}
