//! The `standpipe` binary under test: started with a configuration, killed, stopped and started again.
