//! Tables that are objects of stores.
//!
//! A table that is not there yet is waited for: what needs it is held until then, and nothing else is.

use standpipe_journal::control::Close;
use standpipe_model::DestinationId;

use super::Daemon;
use super::followed::{Known, Look, Next, State};
use super::tables::Renewed;
use crate::alarm::AlarmKind;
use crate::config::{Config, TableConfig};
use crate::stream::{BatchOrder, Stream};

/// Asks the store whether the object is another one, and has it taken if so.
pub(super) async fn look(
    daemon: &Daemon,
    config: &Config,
    name: &str,
    table: &TableConfig,
    known: Known,
) -> Look {
    let functions = &daemon.context.functions;
    let tag = match &known.refused {
        Some(State::Object(tag)) => Some(tag.clone()),
        _ => functions.tag(name, table),
    };
    match functions.look(config, name, table, tag.as_deref()).await {
        Ok(None) if known.refused.is_some() => Look::new(Next::Retry, known.refused),
        Ok(None) => {
            daemon.context.alarms.clear(None, AlarmKind::TableRefused, name);
            Look::new(Next::Later, None)
        }
        Ok(Some(read)) => {
            let tag = read.tag.clone().map(State::Object);
            match daemon.renew_table(name, table, Some(read)).await {
                Renewed::Good => Look::new(Next::Later, None),
                Renewed::Refused => Look::new(Next::Retry, tag),
                // What is not the table's fault may work with the same one another time.
                Renewed::Failed => Look::new(Next::Retry, None),
            }
        }
        Err(error) => {
            daemon.refuse_table(name, table, "failed", &error);
            Look::new(Next::Retry, None)
        }
    }
}

impl Daemon {
    /// Gives batches that were closed before a table was there the version that is in force by now. Nothing of them can
    /// have been delivered, and from then on they keep it.
    pub(super) async fn give_tables(&self) {
        for stream in self.streams() {
            if !stream.definitions().iter().any(|of| of.spec.processors().any(|p| p.table().is_some())) {
                continue;
            }
            for (destination, open) in stream.open_batches() {
                for batch in open.iter().filter(|open| self.lacks_table(&stream, &destination, &open.close)) {
                    let batch = batch.close.batch;
                    if let Err(error) = stream.batch(&destination, batch, BatchOrder::Pin).await {
                        tracing::debug!(stream = %stream.name(), %batch, %error, "batch gets its table later");
                    }
                }
            }
        }
    }

    /// Whether a batch is held because a table was not there when it closed, and now is. One with a plan takes it by
    /// itself, and the plan keeps it.
    fn lacks_table(&self, stream: &Stream, destination: &DestinationId, close: &Close) -> bool {
        let definitions = stream.definitions();
        let Some(of) = definitions.iter().find(|of| of.version == close.version) else { return false };
        let destination = &stream.shape_of(destination);
        let processors = of.spec.processors_of(destination);
        !of.spec.is_planned(destination) && self.context.functions.lacks_table(processors, &close.pins)
    }
}
