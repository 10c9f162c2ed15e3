//! The engine that all functions share, and how a file becomes a function.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, Enabled, Engine, Module, PoolingAllocationConfig, Store};

use super::cache::CodeCache;
use super::call::is_deadline;
use super::function::{Loaded, WasmFunction};
use super::gate::{Gate, TICK};
use super::options::{CallObserver, Called, FunctionOptions};
use super::state::{INSTANCES_MAX, MEMORIES_MAX, State, TABLES_MAX};
use super::{command, component};

/// The largest file that is compiled; interpreters of scripting languages have up to 20 MiB.
const WASM_BYTES_MAX: usize = 64 << 20;
/// The stack of a function. Threads that call functions have 2 MiB.
const STACK_BYTES: usize = 1 << 20;
/// Memory that an instance leaves resident for the next one in its place, which saves page faults.
const RESIDENT_BYTES: usize = 8 << 20;
/// Elements of one table, and the size of an instance's own state: for interpreters of scripting languages.
const TABLE_ELEMENTS: usize = 100_000;
const INSTANCE_BYTES: usize = 4 << 20;

/// What all functions share.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Where compiled functions are kept between starts. Nobody else may be able to write there.
    pub cache_dir: Option<PathBuf>,
    /// How many calls run at once; who comes later waits.
    pub calls_max: usize,
    /// Who hears how calls end.
    pub observer: Option<Arc<dyn CallObserver>>,
}

impl Default for SandboxOptions {
    /// No cache, a call per processor, and nobody who hears of it.
    fn default() -> Self {
        let calls_max = thread::available_parallelism().map_or(1, usize::from);
        Self { cache_dir: None, calls_max, observer: None }
    }
}

/// Where functions run: nothing that they do reaches beyond it.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Shared>);

pub(super) struct Shared {
    engine: Engine,
    gate: Gate,
    /// Functions that met their deadline run one at a time, all of them together, so that those which hang take one
    /// place and not every one.
    slow: Mutex<()>,
    cache: Option<Mutex<CodeCache>>,
    observer: Option<Arc<dyn CallObserver>>,
}

/// The sandbox cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The folder for compiled functions cannot be used, or a thread cannot be started.
    #[error("cannot set up the sandbox for functions")]
    Io(#[from] io::Error),
    /// The engine does not work on this machine, or has no address space left.
    #[error("cannot set up the sandbox for functions: {0}")]
    Engine(String),
}

/// A file is no function, or not one that may run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is too large.
    #[error("the function has {bytes} bytes, allowed are {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// It is no WebAssembly, or not valid.
    #[error("not a WebAssembly function: {0}")]
    Invalid(String),
    /// It imports what it is not given.
    #[error("the function imports '{name}', which it is not given")]
    Import {
        /// What it imports.
        name: String,
    },
    /// What it imports or exports has another type than it should.
    #[error("the function does not fit: {0}")]
    Link(String),
    /// It is a core module and no command.
    #[error("the function exports neither 'process' (a component) nor '_start' (a command)")]
    NoFunction,
    /// Tables were configured for a command.
    #[error("only components can look up tables, and this function is a command")]
    TablesForCommand,
    /// An instance of it does not start within its limits.
    #[error("the function does not start: {0}")]
    Start(String),
    /// Compiled functions on disk cannot be checked.
    #[error("cannot use the folder for compiled functions")]
    Cache(#[from] io::Error),
}

impl LoadError {
    pub(super) fn link(error: wasmtime::Error) -> Self {
        Self::Link(format!("{error:#}"))
    }
}

/// What a file turned out to be.
pub(super) enum Guest {
    Component(component::Guest),
    Command(command::Guest),
}

impl Sandbox {
    /// Sets up the engine.
    ///
    /// # Errors
    /// [`SandboxError`]: no function can run here.
    pub fn open(options: &SandboxOptions) -> Result<Self, SandboxError> {
        let mut config = config(options.calls_max);
        let mut cache = None;
        if let Some(dir) = &options.cache_dir {
            let (sealed, engines) = CodeCache::open(dir)?;
            config.cache(Some(engines));
            cache = Some(Mutex::new(sealed));
        }
        let engine = Engine::new(&config).map_err(|error| SandboxError::Engine(format!("{error:#}")))?;
        let gate = Gate::start(engine.clone(), options.calls_max)?;
        let observer = options.observer.clone();
        Ok(Self(Arc::new(Shared { engine, gate, slow: Mutex::new(()), cache, observer })))
    }

    /// Compiles a function, or takes it compiled from disk, and tries whether an instance starts.
    ///
    /// # Errors
    /// [`LoadError`]: the file or its configuration has to be changed.
    pub fn load(&self, wasm: &[u8], options: FunctionOptions) -> Result<WasmFunction, LoadError> {
        if wasm.len() > WASM_BYTES_MAX {
            return Err(LoadError::TooLarge { bytes: wasm.len(), max: WASM_BYTES_MAX });
        }
        let guest = match &self.0.cache {
            None => self.compile(wasm, &options),
            Some(cache) => {
                let cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
                cache.with(|| self.compile(wasm, &options))?
            }
        }?;
        let loaded = Loaded {
            guest,
            digest: hex::encode(Sha256::digest(wasm)),
            near_deadline: AtomicBool::new(false),
            met_deadline: AtomicBool::new(false),
            memory_bytes: AtomicUsize::new(0),
        };
        let (sandbox, loaded, options) = (self.clone(), Arc::new(loaded), Arc::new(options));
        let function = WasmFunction { sandbox, loaded, options };
        function.start()?;
        Ok(function)
    }

    fn compile(&self, wasm: &[u8], options: &FunctionOptions) -> Result<Guest, LoadError> {
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        // The two bytes after the version say which of the two it is.
        if wasm.get(6..8) == Some(&[1, 0]) {
            let component = Component::from_binary(&self.0.engine, wasm).map_err(invalid)?;
            Ok(Guest::Component(component::Guest::load(&component, options)?))
        } else {
            let module = Module::from_binary(&self.0.engine, wasm).map_err(invalid)?;
            Ok(Guest::Command(command::Guest::load(&module, options)?))
        }
    }

    pub(super) fn tell(&self, called: &Called<'_>) {
        if let Some(observer) = &self.0.observer {
            observer.called(called);
        }
    }

    /// Runs `call` with a store whose deadline begins now, when there is a place; `slow` when the function's last call
    /// met its deadline.
    pub(super) fn run<T>(&self, slow: bool, state: State, call: impl FnOnce(&mut Store<State>) -> T) -> T {
        let _one = slow.then(|| self.0.slow.lock().unwrap_or_else(PoisonError::into_inner));
        let permit = self.0.gate.enter();
        let ticks = state.function.limits.deadline.as_nanos().div_ceil(TICK.as_nanos());
        let fuel = state.function.limits.output_bytes.saturating_mul(2);
        let mut store = Store::new(&self.0.engine, state);
        store.limiter(|state| &mut state.meter);
        // What a component can make the host copy at once.
        store.set_hostcall_fuel(fuel);
        // The tick that is under way does not count.
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2).saturating_add(1));
        let called = call(&mut store);
        // The instance leaves the pool before the next one takes its place.
        drop(store);
        drop(permit);
        called
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Guest {
    pub(super) fn start(&self, store: &mut Store<State>) -> Result<(), LoadError> {
        let started = match self {
            Self::Component(guest) => guest.start(store),
            Self::Command(guest) => guest.start(store),
        };
        started.map_err(|error| match is_deadline(&error) {
            true => LoadError::Start("it takes longer than its deadline".to_owned()),
            false => LoadError::Start(format!("{error:#}")),
        })
    }
}

/// Everything by which the same function could give different results is off, or settled: NaNs have one form, relaxed
/// instructions are not allowed, the stack has one size, and there are no threads.
fn config(calls_max: usize) -> Config {
    let count = |per_call: usize| u32::try_from(calls_max.saturating_mul(per_call)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(1))
        .total_core_instances(count(INSTANCES_MAX))
        .total_memories(count(MEMORIES_MAX))
        .total_tables(count(TABLES_MAX))
        .max_core_instances_per_component(INSTANCES_MAX as u32)
        .max_memories_per_component(MEMORIES_MAX as u32)
        .max_tables_per_component(TABLES_MAX as u32)
        .max_tables_per_module(TABLES_MAX as u32)
        .table_elements(TABLE_ELEMENTS)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        // Where the kernel has it, only what an instance touched is cleared.
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .allocation_strategy(pool)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    config
}
