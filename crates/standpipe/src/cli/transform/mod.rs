//! `standpipe transform …`: functions, for those who write them; no daemon is needed.

mod outcome;
mod run;

use std::process::ExitCode;

use clap::Subcommand;

/// The commands about functions.
#[derive(Debug, Subcommand)]
pub enum TransformCommand {
    /// Run a function, or all processors of a stream, over the records of a file and show what becomes of each.
    Run(run::RunArgs),
}

pub(super) fn run(command: &TransformCommand) -> anyhow::Result<ExitCode> {
    match command {
        TransformCommand::Run(args) => run::run(args),
    }
}
