//! The `standpipe` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    standpipe::cli::main()
}
