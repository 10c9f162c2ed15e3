//! Functions in a sandbox: WebAssembly in the daemon, in place of a Lambda function.
//!
//! Two interfaces, one host. A *component* exports `process` of `wit/standpipe.wit`, and gets and gives records as they
//! are. A *command* is a program that reads the event of the Lambda contract from its standard input and writes the
//! answer to its standard output, so that existing handlers are ported by compiling them anew.
//!
//! # Reading order
//! [`Sandbox`] (load) → [`WasmFunction`] (batches, retries) → `component`, or `command` with `lambda` → `state` and the
//! two previews of WASI: what a guest finds around it. `gate` and `cache` are by themselves.
//!
//! # Invariants
//! - Every call has a new instance, so nothing is kept from one to the next and calls may run in any order.
//! - A guest that imports what it is not given is not loaded.
//! - Whatever a guest does, the call ends: by its deadline, its memory, the size of its answer. Work that the host does
//!   for it is bounded too, as no deadline ends that.

mod cache;
mod call;
mod command;
mod component;
mod function;
mod gate;
mod lambda;
mod options;
mod preview1;
mod preview2;
mod sandbox;
mod state;

pub use function::WasmFunction;
pub use options::{CallObserver, Called, FunctionOptions, Grants, Limits};
pub use sandbox::{LoadError, Sandbox, SandboxError, SandboxOptions};
