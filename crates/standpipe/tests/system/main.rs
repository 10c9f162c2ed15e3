//! The binary as its users have it: started for real, put to by real clients, delivering to real servers.

mod file_store;
mod support;
