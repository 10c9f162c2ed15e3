//! The command line: one file per group of commands. Nothing here knows more of the daemon than its public doors.
//!
//! Results go to standard output, everything else (problems, progress) to standard error; a command that did not do all
//! it was asked to ends with 1.

pub mod batches;
pub mod client;
pub mod export;
pub mod failed;
mod follow;
pub mod import;
mod input;
pub mod journal;
pub mod key;
pub mod put;
pub mod reload;
pub mod replay;
pub mod schema;
pub mod serve;
pub mod streams;
mod time;
pub mod transform;
pub mod trust;
pub mod validate;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use form_urlencoded::Serializer;

/// Where the configuration is unless told otherwise.
pub const CONFIG_PATH: &str = "/etc/standpipe/standpipe.yaml";

/// Amazon Data Firehose as a daemon you run yourself.
#[derive(Debug, Parser)]
#[command(name = "standpipe", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Serve(serve::ServeArgs),
    /// Have the running daemon read its configuration again.
    Reload(reload::ReloadArgs),
    /// Check the configuration and print every problem.
    Validate(validate::ValidateArgs),
    /// Print the JSON Schema of the configuration, for editors; or propose or show the schema of a table.
    Schema(schema::SchemaArgs),
    /// Send lines to a stream, each as a record.
    Put(put::PutArgs),
    /// List, describe, create and delete streams through the Firehose API.
    #[command(subcommand)]
    Streams(streams::StreamsCommand),
    /// Turn definitions of CloudFormation, Terraform or a running Firehose into streams of the configuration file.
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Print streams as the JSON that creates them through the Firehose API.
    Export(export::ExportArgs),
    /// List the batches that are not through yet, and help one whose target will never come back.
    #[command(subcommand)]
    Batches(batches::BatchesCommand),
    /// List what failed and stands in a stream's error output, look into it, and send it again.
    #[command(subcommand)]
    Failed(failed::FailedCommand),
    /// Deliver once more what arrived in a range of time and is kept, to its destination or to another stream.
    Replay(replay::ReplayArgs),
    /// Look into a journal's files and check them; the daemon need not run.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Write functions, from a template, and try functions and streams out.
    #[command(subcommand)]
    Transform(transform::TransformCommand),
    /// Write a fresh master key for encryption at rest to a file.
    GenerateKey(key::GenerateKeyArgs),
    /// Print the completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("standpipe: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs one command.
///
/// # Errors
/// Whatever kept it from being done, for a person to read.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Reload(args) => runtime()?.block_on(reload::run(args)),
        Command::Validate(args) => validate::run(&args),
        Command::Schema(args) => runtime()?.block_on(schema::run(&args)),
        Command::Put(args) => runtime()?.block_on(put::run(&args)),
        Command::Streams(command) => runtime()?.block_on(streams::run(command)),
        Command::Import(command) => import::run(&command),
        Command::Export(args) => runtime()?.block_on(export::run(&args)),
        Command::Batches(command) => runtime()?.block_on(batches::run(command)),
        Command::Failed(command) => runtime()?.block_on(failed::run(command)),
        Command::Replay(args) => runtime()?.block_on(replay::run(&args)),
        Command::Journal(command) => journal::run(&command),
        Command::Transform(command) => transform::run(&command),
        Command::GenerateKey(args) => key::run(&args),
        Command::Completions { shell } => {
            // Into memory first: the generator panics where it cannot write, as when piped into `head`.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "standpipe", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes to standard output; a reader that has gone away is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Where even that fails there is nobody left to tell.
pub(crate) fn complain(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

/// The parameters of a request that is about a destination, where one was named.
pub(crate) fn query_about(destination: Option<&str>) -> Serializer<'static, String> {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(destination.map(|id| ("destination", id)));
    query
}

/// A number of things, in words.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A text that the configuration does not take for a variable.
pub(crate) fn no_variable(text: &str) -> String {
    text.replace("${", "$${")
}

/// The environment variable `name`, where it is set to text.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_shell_gets_completions() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "standpipe", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("validate"), "{shell}");
        }
    }
}
