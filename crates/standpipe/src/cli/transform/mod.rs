//! `standpipe transform …`: functions, for those who write them; no daemon is needed.

mod new;
mod outcome;
mod run;
mod templates;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Subcommand;

/// The commands about functions.
#[derive(Debug, Subcommand)]
pub enum TransformCommand {
    /// Write a function to start from, which builds as it is.
    New(new::NewArgs),
    /// Run a function, or all processors of a stream, over the records of a file and show what becomes of each.
    ///
    /// Nothing is delivered, and no daemon is needed. Rows of a stream with partitions are shown with the prefix of
    /// their objects. What comes after processors is left out: rows are not converted to the stream's format, and a
    /// window's limit of partitions does not count.
    ///
    /// What functions log goes to standard error. Ends with 1 when a record failed or a line is too long for one.
    Run(run::RunArgs),
}

pub(super) fn run(command: &TransformCommand) -> anyhow::Result<ExitCode> {
    match command {
        TransformCommand::New(args) => new::run(args),
        TransformCommand::Run(args) => run::run(args),
    }
}
