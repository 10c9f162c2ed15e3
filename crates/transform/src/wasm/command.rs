//! Functions that are programs: a WASI command (`_start`) that reads the event of the Lambda contract from its standard
//! input and writes the answer to its standard output.

use wasmtime::{InstancePre, Linker, Module, Result, Store};

use super::call::{Batch, CallError, Outcome};
use super::lambda;
use super::options::FunctionOptions;
use super::preview1::{self, Exit};
use super::sandbox::LoadError;
use super::state::State;

const START: &str = "_start";

pub(super) struct Guest(InstancePre<State>);

impl Guest {
    /// # Errors
    /// [`LoadError`] names what the module imports and is not given, or lacks.
    pub(super) fn load(module: &Module, options: &FunctionOptions) -> Result<Self, LoadError> {
        if !options.tables.is_empty() {
            return Err(LoadError::TablesForCommand);
        }
        let start = module.get_export(START).and_then(|export| export.func().cloned());
        if !start.is_some_and(|start| start.params().len() == 0 && start.results().len() == 0) {
            return Err(LoadError::NoFunction);
        }
        let mut linker = Linker::new(module.engine());
        let linked = preview1::link(&mut linker, module).map_err(LoadError::link)?;
        linked.map_err(|name| LoadError::Import { name })?;
        Ok(Self(linker.instantiate_pre(module).map_err(LoadError::link)?))
    }

    /// Starts an instance and ends it again.
    pub(super) fn start(&self, store: &mut Store<State>) -> Result<()> {
        self.0.instantiate(store).map(drop)
    }

    /// Runs it with the event of a batch, which is its standard input already.
    pub(super) fn call(
        &self,
        store: &mut Store<State>,
        batch: &Batch<'_>,
    ) -> Result<Vec<Outcome>, CallError> {
        if let Err(error) = self.run(store) {
            match error.downcast_ref::<Exit>() {
                Some(Exit(0)) => {}
                _ => return Err(CallError::of(&error, store.data_mut())),
            }
        }
        store.data_mut().end_line();
        lambda::outcomes(batch, &store.data().output)
    }

    fn run(&self, store: &mut Store<State>) -> Result<()> {
        let instance = self.0.instantiate(&mut *store)?;
        instance.get_typed_func::<(), ()>(&mut *store, START)?.call(store, ())
    }
}
