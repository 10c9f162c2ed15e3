//! `standpipe validate`: everything that is wrong with a configuration, as a compiler prints it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::{CONFIG_PATH, complain, count, env, print, runtime};
use crate::clock::{OsEntropy, OsTimer};
use crate::config::{Config, ConfigProblems};
use crate::functions;
use crate::keys::KeyRing;
use crate::processors::check_tables;
use crate::stores::Stores;
use crate::tls;

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The configuration file.
    #[arg(long, short, default_value = CONFIG_PATH, value_name = "FILE")]
    pub config: PathBuf,
}

pub(super) fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    match Config::load(&args.config, &env) {
        Ok(config) => {
            if let Err(problems) = config.load_credentials(&env) {
                return Ok(refuse(&problems));
            }
            // Some settings are judged only by the client that is made of them: certificates, the letters of a key.
            Stores::default().replace(&config.stores)?;
            config.tls.as_ref().map(tls::load).transpose()?;
            KeyRing::new(Arc::new(OsEntropy), runtime()?.handle().clone()).make(&config.keys)?;
            // Stores are not asked: a start does not need them either.
            let objects = BTreeMap::new();
            let (timer, entropy) = (OsTimer::start(), Arc::new(OsEntropy));
            let loaded = functions::load(&config.functions, &config.tables, &objects, timer, entropy)?;
            for stream in &config.streams {
                for processor in stream.processors() {
                    check_tables(std::slice::from_ref(processor), &loaded.tables)
                        .with_context(|| format!("stream '{}'", stream.name))?;
                }
            }
            let (streams, stores) = (config.streams.len() as u64, config.stores.len() as u64);
            let path = args.config.display();
            print(&format!("{path}: ok, {}, {}\n", count(streams, "stream"), count(stores, "store")))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => Ok(refuse(&problems)),
    }
}

fn refuse(problems: &ConfigProblems) -> ExitCode {
    complain(&problems.to_string());
    complain(&count(problems.count() as u64, "problem"));
    ExitCode::FAILURE
}
