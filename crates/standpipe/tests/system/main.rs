//! The binary as its users have it: started for real, put to by real clients, delivering to real servers.

mod client;
mod control;
mod file_store;
mod flights;
mod kills;
mod lake;
mod outages;
mod pressure;
mod reload;
mod repeats;
mod sdks;
mod support;
mod systemd;
