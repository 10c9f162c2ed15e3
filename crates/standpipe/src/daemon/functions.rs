//! Functions and tables between the configuration, the definitions that need them and the batches that were closed with
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use standpipe_model::StreamName;
use standpipe_transform::processors::OptionError;

use super::Daemon;
use super::reload::ReloadError;
use crate::config::Config;
use crate::functions::{Made, pinned_version};
use crate::processors::{ProcessorSpec, check_tables};

impl Daemon {
    /// The functions and tables of a configuration as far as they can be had without asking a store.
    pub(super) async fn make_functions_at_start(&self, config: &Config) -> Result<Made, ReloadError> {
        let mut made = self.context.functions.make(config, BTreeMap::new()).await?;
        while let Some((table, stream, source)) = self.unfit_table(config, &made) {
            if config.tables.get(&table).is_none_or(|of| of.object().is_none()) {
                return Err(ReloadError::Columns { stream, source });
            }
            // What its object was when the daemon last ran may not be what is asked of it now.
            made.leave_out(&table, config);
        }
        Ok(made)
    }

    /// Tables have what the streams of a configuration, and those that stay in force under it, add of them.
    pub(super) fn check_columns(&self, config: &Config, made: &Made) -> Result<(), ReloadError> {
        match self.unfit_table(config, made) {
            Some((_, stream, source)) => Err(ReloadError::Columns { stream, source }),
            None => Ok(()),
        }
    }

    /// A table that has not what a stream adds of it.
    fn unfit_table(&self, config: &Config, made: &Made) -> Option<(String, StreamName, OptionError)> {
        let tables = made.tables();
        let is_named = |name: &StreamName| config.streams.iter().any(|spec| spec.name == *name);
        let mut staying: Vec<_> = self.streams().iter().map(|stream| stream.definition()).collect();
        staying.retain(|definition| !is_named(&definition.spec.name));
        let staying = staying.iter().map(|definition| &definition.spec);
        config.streams.iter().chain(staying).find_map(|spec| {
            spec.processors().find_map(|processor| {
                let unfit = check_tables(std::slice::from_ref(processor), &tables).err()?;
                Some((processor.table()?.to_owned(), spec.name.clone(), unfit))
            })
        })
    }

    /// The definitions that stay in force under a new configuration find the functions and tables that they need.
    pub(super) fn check_functions_needed(&self, config: &Config) -> Result<(), ReloadError> {
        for stream in self.streams() {
            if config.streams.iter().any(|spec| spec.name == *stream.name()) {
                // Its own functions were checked with it.
                continue;
            }
            let definition = stream.definition();
            let mut called = definition.spec.processors().filter_map(ProcessorSpec::function);
            if let Some(function) = called.find(|name| !config.functions.contains_key(*name)) {
                let (function, stream) = (function.to_owned(), stream.name().clone());
                return Err(ReloadError::FunctionInUse { function, stream });
            }
            let mut tables = definition.spec.processors().filter_map(ProcessorSpec::table);
            if let Some(table) = tables.find(|name| !config.tables.contains_key(*name)) {
                let (table, stream) = (table.to_owned(), stream.name().clone());
                return Err(ReloadError::TableInUse { table, stream });
            }
        }
        Ok(())
    }

    /// Removes the versions of functions that nothing needs any more, where there may be such.
    pub(super) async fn sweep_functions(&self) {
        if self.former_functions.load(Ordering::Relaxed) {
            let _changing = self.changing.lock().await;
            self.sweep_functions_now().await;
        }
    }

    /// As [`Self::sweep_functions`], for who holds `changing`.
    pub(super) async fn sweep_functions_now(&self) {
        let names = match self.catalog.list() {
            Ok(names) => names,
            Err(error) => return tracing::warn!(%error, "versions of functions are not removed"),
        };
        let shut = |name| self.stream(name).is_none() && !self.catalog.is_deleting(name);
        if names.iter().any(shut) {
            // Nobody can look what its batches need.
            return self.former_functions.store(true, Ordering::Relaxed);
        }
        let (functions, streams) = (self.context.functions.clone(), self.streams());
        let pinned = move || -> BTreeSet<String> {
            let pins = |stream: &crate::stream::Stream| {
                stream.journal().with_state(|state| {
                    let open = state.destinations.values().flat_map(|progress| progress.open.values());
                    open.flat_map(|open| open.close.pins.iter().filter_map(pinned_version))
                        .collect::<Vec<_>>()
                })
            };
            streams.iter().flat_map(|stream| pins(stream)).collect()
        };
        match tokio::task::spawn_blocking(move || functions.sweep(pinned)).await {
            Ok(Ok(left)) => self.former_functions.store(left, Ordering::Relaxed),
            Ok(Err(error)) => tracing::warn!(%error, "versions of functions could not be removed"),
            Err(error) => tracing::error!(%error, "removing versions of functions ended badly"),
        }
    }
}
