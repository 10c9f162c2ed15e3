//! Functions in the sandbox, with real guests: those of `examples/transforms/`, one that does as it is told, and hostile
//! ones in WebAssembly's text format.

mod cache;
mod command;
mod component;
mod guests;
mod hostile;
mod running;
