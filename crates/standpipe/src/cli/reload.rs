//! `standpipe reload`: the running daemon takes its configuration over, or says why it does not. What SIGHUP does, with
//! an answer.
//!
//! The daemon's own word is asked for, as nobody else can give it: only the daemon sees its secrets, and what may change
//! without a restart depends on what is in force.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use http::{Method, Uri};

use super::batches::AdminArgs;
use super::client::reachable;
use crate::daemon::Endpoints;

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// The admin listener's address [default: http://127.0.0.1:8573, or as --data-dir says].
    #[arg(long, env = "STANDPIPE_ADMIN", value_name = "URL")]
    pub admin: Option<Uri>,
    /// Ask the daemon that runs on this data directory.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

pub(super) async fn run(args: ReloadArgs) -> anyhow::Result<ExitCode> {
    let admin = match (args.admin, args.data_dir) {
        (None, Some(data_dir)) => {
            let endpoints = Endpoints::published(&data_dir).with_context(|| {
                format!("cannot learn from {} where the daemon listens", data_dir.display())
            })?;
            Some(reachable(false, endpoints.admin).parse().context("the admin address is not a URL")?)
        }
        (admin, _) => admin,
    };
    AdminArgs { admin, config: None }.call(Method::POST, "/reload").await?;
    Ok(ExitCode::SUCCESS)
}
