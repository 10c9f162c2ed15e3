//! The daemon: configuration, workers, admin port, command line.
