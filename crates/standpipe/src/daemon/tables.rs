//! Tables whose files change: what changes in one with a `refresh` counts for the batches that close after it was seen,
//! without a reload, and what is wrong in it changes nothing.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::Daemon;
use super::followed::{Known, Look, Next, State};
use super::reload::ReloadError;
use crate::alarm::AlarmKind;
use crate::config::TableConfig;
use crate::functions::{FunctionError, ReadTable};
use crate::stamp::Stamp;
use crate::worker::chain;

/// Looks at the file of a table, and has it read where it has changed and stands still.
pub(super) async fn look(
    daemon: &Daemon,
    name: &str,
    table: &TableConfig,
    path: &Path,
    known: Known,
) -> Look {
    let file = path.to_owned();
    let Ok(stamp) = tokio::task::spawn_blocking(move || Stamp::of(&file)).await else {
        return Look { next: Next::Later, known };
    };
    let state = Some(State::File(stamp.clone()));
    if daemon.context.functions.stamp(name).as_ref() == Some(&stamp) {
        if known.refused.is_some() {
            daemon.context.alarms.clear(None, AlarmKind::TableRefused, name);
        }
        return Look::new(Next::Later, None);
    }
    if known.refused == state {
        return Look { next: Next::Later, known };
    }
    if known.seen != state {
        return Look { next: Next::Soon, known: Known { seen: state, ..known } };
    }
    let renewed = daemon.renew_table(name, table, None).await;
    Look::new(Next::Later, state.filter(|_| renewed == Renewed::Refused))
}

/// How it has ended to read a table anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewed {
    /// It is in force, or not configured so any more.
    Good,
    /// It is wrong, and stays so until it is another one.
    Refused,
    /// Something else is.
    Failed,
}

impl Daemon {
    /// Reads a table anew, or takes what was read of its object, and puts it in force. Where it cannot be used, that
    /// raises an alarm, and the one before stays.
    pub(super) async fn renew_table(
        &self,
        name: &str,
        table: &TableConfig,
        object: Option<ReadTable>,
    ) -> Renewed {
        // What takes long, and keeps nobody waiting; who makes the table finds the rows.
        let rows = self.context.functions.parse(name, table, object.as_ref()).await;
        let _changing = self.changing.lock().await;
        if self.config().tables.get(name) != Some(table) {
            // It is another one by now.
            return Renewed::Good;
        }
        let renewed = match &rows {
            Ok(_) => self.try_renew_table(name, table, object).await,
            Err(_) => rows.map(|_| false).map_err(ReloadError::from),
        };
        match renewed {
            Ok(is_changed) => {
                if is_changed {
                    self.context.metrics.table_read(name, "ok");
                    tracing::info!(table = name, "changed table in force");
                }
                self.context.alarms.clear(None, AlarmKind::TableRefused, name);
                Renewed::Good
            }
            Err(error) => {
                let (kind, renewed) = match &error {
                    ReloadError::Function(FunctionError::Table { .. }) | ReloadError::Columns { .. } => {
                        ("refused", Renewed::Refused)
                    }
                    _ => ("failed", Renewed::Failed),
                };
                self.refuse_table(name, table, kind, &error);
                renewed
            }
        }
    }

    /// Tells that a table could not be read anew, unless it is configured otherwise by now.
    pub(super) fn refuse_table(
        &self,
        name: &str,
        table: &TableConfig,
        kind: &'static str,
        error: &(dyn std::error::Error + 'static),
    ) {
        if self.config().tables.get(name) != Some(table) {
            return;
        }
        let now = self.context.timer.now();
        self.context.metrics.table_read(name, kind);
        self.context.alarms.raise(None, AlarmKind::TableRefused, name, chain(error), now);
    }

    /// Whether it is another one than before.
    async fn try_renew_table(
        &self,
        name: &str,
        table: &TableConfig,
        object: Option<ReadTable>,
    ) -> Result<bool, ReloadError> {
        let config = self.config();
        let made = self.context.functions.renew(name, table, object, &config.functions).await?;
        self.check_columns(&config, &made)?;
        self.former_functions.store(true, Ordering::Relaxed);
        Ok(self.context.functions.put_in_force(made))
    }
}
