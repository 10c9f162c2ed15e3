//! `batches`: the batches of a stream that are closed and not settled, and what to do with one whose target will never
//! come back. Talks to the admin listener.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::config::Config;

/// The most bytes of an answer that are read.
const ANSWER_MAX: usize = 64 << 20;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach the admin listener.
#[derive(Debug, Clone, Args)]
pub struct AdminArgs {
    /// The admin listener's address [default: http://127.0.0.1:8573, or `admin` of --config].
    #[arg(long, env = "STANDPIPE_ADMIN", value_name = "URL")]
    pub admin: Option<Uri>,
    /// Take the address from this configuration file.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What to do with batches.
#[derive(Debug, Subcommand)]
pub enum BatchesCommand {
    /// List the batches of a stream that are closed and not settled.
    List {
        /// The stream.
        stream: String,
        /// Where to ask.
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Deliver a batch by the current version of its stream's definition: to its store, bucket and prefix.
    Rebind {
        /// The stream.
        stream: String,
        /// The batch's id, as `list` shows it.
        batch: String,
        /// Where to ask.
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Give a batch up. Its records are discarded and count as dropped.
    Abandon {
        /// The stream.
        stream: String,
        /// The batch's id, as `list` shows it.
        batch: String,
        /// Where to ask.
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Runs one of the commands.
///
/// # Errors
/// The daemon could not be reached or refused.
pub async fn run(command: BatchesCommand) -> anyhow::Result<ExitCode> {
    match command {
        BatchesCommand::List { stream, admin } => {
            let answer = admin.call(Method::GET, &format!("/streams/{stream}/batches")).await?;
            list(&answer)?;
        }
        BatchesCommand::Rebind { stream, batch, admin } => {
            admin.call(Method::POST, &format!("/streams/{stream}/batches/{batch}/rebind")).await?;
        }
        BatchesCommand::Abandon { stream, batch, admin } => {
            admin.call(Method::POST, &format!("/streams/{stream}/batches/{batch}/abandon")).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<32}  {:<27}  {:>9}  {:>11}  {:<8}  {:>7}  FAILING",
        "BATCH", "DESTINATION", "RECORDS", "BYTES", "REASON", "VERSION"
    )?;
    let text = |batch: &Value, key: &str| match &batch[key] {
        Value::String(text) => text.clone(),
        Value::Null => "no".to_owned(),
        other => other.to_string(),
    };
    for batch in answer.as_array().into_iter().flatten() {
        let [id, destination, records, bytes, reason, version, failing] =
            ["batch", "destination", "records", "bytes", "reason", "version", "failing_since"]
                .map(|key| text(batch, key));
        writeln!(
            out,
            "{id:<32}  {destination:<27}  {records:>9}  {bytes:>11}  {reason:<8}  {version:>7}  {failing}"
        )?;
    }
    Ok(())
}

impl AdminArgs {
    fn endpoint(&self) -> anyhow::Result<Uri> {
        if let Some(admin) = &self.admin {
            return Ok(admin.clone());
        }
        let Some(path) = &self.config else { return Ok(Uri::from_static("http://127.0.0.1:8573")) };
        let config = Config::load(path, &super::env).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        format!("http://{}", config.admin).parse().context("the admin address is not a URL")
    }

    /// Calls the admin listener; its refusals are errors.
    ///
    /// # Errors
    /// The daemon could not be reached or refused.
    pub async fn call(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        let endpoint = self.endpoint()?;
        let uri = format!("{}{path}", endpoint.to_string().trim_end_matches('/'));
        let request = Request::builder().method(method).uri(&uri).body(Full::<Bytes>::default())?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer =
            tokio::time::timeout(TIMEOUT, client.request(request)).await.context("no answer in time")?;
        let answer = answer.with_context(|| format!("cannot reach {endpoint}"))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer could not be read: {error}"))?.to_bytes();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            bail!("{}", value["error"].as_str().unwrap_or("the daemon refused without a word"));
        }
        Ok(value)
    }
}
