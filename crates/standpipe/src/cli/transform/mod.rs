//! `standpipe transform …`: functions, for those who write them; no daemon is needed.

mod new;
mod templates;

use std::process::ExitCode;

use clap::Subcommand;

/// The commands about functions.
#[derive(Debug, Subcommand)]
pub enum TransformCommand {
    /// Write a function to start from, which builds as it is.
    New(new::NewArgs),
}

pub(super) fn run(command: &TransformCommand) -> anyhow::Result<ExitCode> {
    match command {
        TransformCommand::New(args) => new::run(args),
    }
}
