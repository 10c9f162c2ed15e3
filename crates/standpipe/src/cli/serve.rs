//! `serve`: runs the daemon in the foreground, as a service manager wants it.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{CONFIG_PATH, print};
use crate::daemon::{Endpoints, Source};

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[arg(long, default_value = CONFIG_PATH)]
    pub config: PathBuf,
    /// How log lines look: text, or JSON for collectors. Text where absent.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Speak TLS with a certificate for this machine's names that the daemon makes itself, and say how clients trust it.
    /// For trying things out; it is kept in the data directory.
    #[arg(long)]
    pub dev_tls: bool,
}

/// The forms of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Threads for what may wait, made as they are needed. Calls of functions that hang hold some for each stream, and must
/// not be what keeps journals from being read.
const BLOCKING_THREADS_MAX: usize = 2_048;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// It could not start.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr(args.log_format);
    bound_arenas();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let source = Source { path: args.config, dev_tls: args.dev_tls };
    runtime.block_on(crate::daemon::serve(source, tell_trust))?;
    // Tasks that were dropped half-way hold nothing that the next start does not find in the journals.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Says how clients come to trust a certificate that the daemon made itself.
fn tell_trust(endpoints: &Endpoints) {
    let Some(ca) = &endpoints.ca_file else { return };
    let (ca, names) = (ca.display(), crate::tls::dev::names().join(", "));
    let told = print(&format!(
        "The Firehose API speaks TLS on {}, with a certificate for {names}.\n\
         Its CA is {ca}; clients trust it by one of these:\n  \
         export AWS_CA_BUNDLE={ca}\n  export NODE_EXTRA_CA_CERTS={ca}\n  export SSL_CERT_FILE={ca}\n",
        endpoints.listen
    ));
    if let Err(error) = told {
        tracing::warn!(%error, "cannot say how to trust the certificate");
    }
}

/// Begins anew, in the same process, with few allocation arenas.
///
/// glibc gives threads arenas of their own, eight for each core, and each keeps what it once held: memory then grows with
/// the history of the threads and not with what is in use. Two arenas halve it under full load, at no cost in speed. The
/// C library reads the variable only when a program starts; whoever has set it has decided.
fn bound_arenas() {
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    let again = std::env::current_exe().map(|program| {
        std::process::Command::new(program).args(std::env::args_os().skip(1)).env(ARENAS, "2").exec()
    });
    // Only a failure comes back.
    let error = again.unwrap_or_else(|error| error);
    tracing::warn!(%error, "memory allocation is not bounded as usual");
}

/// `STANDPIPE_LOG` takes the directives of `tracing-subscriber`, such as `debug` or `standpipe=debug`.
pub(super) fn log_to_stderr(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .with_env_var("STANDPIPE_LOG")
        .from_env_lossy();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
