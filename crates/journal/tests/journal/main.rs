//! The journal against a disk that fails in every way that disks do, and against files of older versions.

mod damage;
mod faults;
mod model;
mod sim;
mod support;
