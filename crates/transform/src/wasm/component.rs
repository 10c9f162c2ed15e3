//! Functions that are components: the world of `wit/standpipe.wit`.

use wasmtime::component::{Component, HasSelf, InstancePre, Linker, WasmStr};
use wasmtime::{Result, Store, bail};

use super::call::{Batch, CallError, Outcome, cut};
use super::options::FunctionOptions;
use super::preview2;
use super::sandbox::LoadError;
use super::state::State;
use crate::table::{Cells, TableRow};

mod wit {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "transform",
        imports: { default: trappable },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use wit::TransformPre;
use wit::standpipe::transform::{host, types};

/// What [`host`] is called by components; 1.x all fit.
const TYPES: &str = "standpipe:transform/types@1.";
const HOST: &str = "standpipe:transform/host@1.";
const TABLES: &str = "standpipe:transform/tables@1.";

pub(super) struct Guest(TransformPre<State>);

impl Guest {
    /// # Errors
    /// [`LoadError`] names what the component imports and is not given, or lacks.
    pub(super) fn load(component: &Component, options: &FunctionOptions) -> Result<Self, LoadError> {
        let tables = !options.tables.is_empty();
        for (name, _) in component.component_type().imports(component.engine()) {
            let ours =
                name.starts_with(TYPES) || name.starts_with(HOST) || tables && name.starts_with(TABLES);
            if !ours && !preview2::gives(name) {
                return Err(LoadError::Import { name: name.to_owned() });
            }
        }
        Self::link(component, tables).map_err(LoadError::link)
    }

    fn link(component: &Component, tables: bool) -> Result<Self> {
        let mut linker = Linker::new(component.engine());
        host::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
        if tables {
            linker.instance("standpipe:transform/tables@1.0.0")?.func_wrap(
                "lookup",
                |store, (table, key): (WasmStr, WasmStr)| {
                    let (table, key) = (table.to_str(&store)?, key.to_str(&store)?);
                    Ok((lookup(store.data(), &table, &key)?,))
                },
            )?;
        }
        preview2::link(&mut linker, component)?;
        let pre: InstancePre<State> = linker.instantiate_pre(component)?;
        Ok(Self(TransformPre::new(pre)?))
    }

    /// Starts an instance and ends it again.
    pub(super) fn start(&self, store: &mut Store<State>) -> Result<()> {
        self.0.instantiate(store).map(drop)
    }

    /// Calls it with a batch.
    pub(super) fn call(
        &self,
        store: &mut Store<State>,
        batch: &Batch<'_>,
    ) -> Result<Vec<Outcome>, CallError> {
        let limit = store.data().function.limits.output_bytes;
        let ids: Vec<_> = batch.each().collect();
        let records: Vec<types::Record<'_>> = ids
            .iter()
            .map(|(id, arrived_at, row)| types::Record {
                id,
                data: &row.data,
                arrived_at: arrived_at.0,
                stream: batch.stream().as_str(),
                source_metadata: &[],
            })
            .collect();
        // What an answer may take in the host's memory; without it a guest could name the same bytes many times.
        let outcomes = records.len().saturating_mul(size_of::<types::Outcome>());
        store.set_hostcall_fuel(store.hostcall_fuel().saturating_add(outcomes));
        let called =
            self.0.instantiate(&mut *store).and_then(|guest| guest.call_process(&mut *store, &records));
        let answer = called.map_err(|error| CallError::of(&error, store.data_mut()))?;
        if answer.len() != records.len() {
            let (given, got) = (records.len(), answer.len());
            return Err(CallError::failed(&format!("{given} records came to {got} outcomes")));
        }
        let bytes: usize = answer.iter().map(size).sum();
        if bytes > limit {
            return Err(CallError::failed(&format!("the answer has {bytes} bytes, allowed are {limit}")));
        }
        Ok(answer.into_iter().map(outcome).collect())
    }
}

fn size(outcome: &types::Outcome) -> usize {
    let pairs = |pairs: &[(String, String)]| pairs.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    match outcome {
        types::Outcome::Ok(row) => row.data.len() + pairs(&row.partition_keys) + pairs(&row.headers),
        types::Outcome::Dropped => 0,
        types::Outcome::Failed(reason) => reason.len(),
    }
}

fn outcome(outcome: types::Outcome) -> Outcome {
    match outcome {
        types::Outcome::Ok(types::Transformed { data, partition_keys, headers }) => {
            Outcome::Ok { data: data.into(), partition_keys, headers }
        }
        types::Outcome::Dropped => Outcome::Dropped,
        types::Outcome::Failed(reason) => Outcome::Failed {
            code: "Lambda.ProcessingFailedStatus",
            message: format!("ProcessingFailed status set for record: {}", cut(&reason)),
        },
    }
}

fn lookup(state: &State, table: &str, key: &str) -> Result<Option<Cells>> {
    match state.function.tables.iter().find(|given| given.name() == table) {
        Some(table) => Ok(table.get(key).map(TableRow::cells)),
        None => bail!("it asked for the table '{}', which it was not given", cut(table)),
    }
}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) -> Result<()> {
        let level = match level {
            host::Level::Trace => tracing::Level::TRACE,
            host::Level::Debug => tracing::Level::DEBUG,
            host::Level::Info => tracing::Level::INFO,
            host::Level::Warn => tracing::Level::WARN,
            host::Level::Error => tracing::Level::ERROR,
        };
        State::log(self, level, &message);
        Ok(())
    }

    fn config(&mut self, key: String) -> Result<Option<String>> {
        Ok(self.function.config.get(&key).map(|value| value.expose().to_owned()))
    }
}
