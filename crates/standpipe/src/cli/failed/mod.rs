//! `failed`: what stands in a stream's error output, and sending it again. Talks to the admin listener, where the work is
//! done; see `redrive`.

mod redrive;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use form_urlencoded::Serializer;
use http::Method;
use serde_json::Value;
use standpipe_model::Timestamp;

use super::batches::AdminArgs;
use super::time::{shown_time, time};
use super::{print, query_about};

/// What to do with a stream's error output.
#[derive(Debug, Subcommand)]
pub enum FailedCommand {
    /// List the objects of the error output.
    List {
        /// Which.
        #[command(flatten)]
        wanted: WantedArgs,
        /// Print a JSON object for each, one a line.
        #[arg(long)]
        json: bool,
    },
    /// Show the records of an object, with code and message.
    Show(show::ShowArgs),
    /// Put the records again, to the same stream or to another.
    Redrive(redrive::RedriveArgs),
}

/// Which of the error output is meant.
#[derive(Debug, Clone, Args)]
pub struct WantedArgs {
    /// The stream.
    pub stream: String,
    /// The destination whose error output is meant, where the stream has several.
    #[arg(long, value_name = "ID")]
    pub destination: Option<String>,
    /// Only this part of the error output, such as processing-failed; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Only objects stored at this time or later: 2026-01-31T12:00:00Z, or how long ago: 90m, 2d.
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Only objects stored at this time or before.
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Where to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Runs one of the commands.
///
/// # Errors
/// The daemon could not be reached or refused.
pub async fn run(command: FailedCommand) -> anyhow::Result<ExitCode> {
    match command {
        FailedCommand::List { wanted, json } => list(&wanted, json).await,
        FailedCommand::Show(args) => show::run(&args).await,
        FailedCommand::Redrive(args) => redrive::run(&args).await,
    }
}

impl WantedArgs {
    fn query(&self) -> Serializer<'static, String> {
        let mut query = query_about(self.destination.as_deref());
        query.extend_pairs(self.types.iter().map(|kind| ("type", kind)));
        for (name, at) in [("since", self.since), ("until", self.until)] {
            query.extend_pairs(at.map(|at| (name, at.as_millis().to_string())));
        }
        query
    }

    async fn call(&self, method: Method, below: &str, query: &str) -> anyhow::Result<Value> {
        self.admin.call(method, &format!("/streams/{}/failed{below}?{query}", self.stream)).await
    }

    /// Hands each object to `each`, page by page.
    async fn each_object(&self, mut each: impl FnMut(&Value) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut after: Option<String> = None;
        loop {
            let query = self.query().extend_pairs(after.map(|after| ("after", after))).finish();
            let page = self.call(Method::GET, "", &query).await?;
            page["objects"].as_array().into_iter().flatten().try_for_each(&mut each)?;
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }
}

async fn list(wanted: &WantedArgs, json: bool) -> anyhow::Result<ExitCode> {
    if !json {
        print(&format!("{:<24}  {:<24}  {:>11}  {:<32}  KEY\n", "STORED", "TYPE", "BYTES", "REDRIVEN"))?;
    }
    let row = |object: &Value| {
        if json {
            return print(&format!("{object}\n"));
        }
        let at = shown_time(&object["modified"]);
        let [kind, key] = ["type", "key"].map(|name| object[name].as_str().unwrap_or_default());
        let (bytes, redriven) = (&object["bytes"], redriven(&object["redriven"]));
        print(&format!("{at:<24}  {kind:<24}  {bytes:>11}  {redriven:<32}  {key}\n"))
    };
    wanted.each_object(row).await?;
    Ok(ExitCode::SUCCESS)
}

fn redriven(mark: &Value) -> String {
    match mark {
        Value::Null => "no".to_owned(),
        mark if mark["finished_at"].is_null() => format!("{} records so far", mark["records"]),
        mark => format!(
            "{}, {}",
            shown_time(&mark["finished_at"]),
            super::count(mark["records"].as_u64().unwrap_or(0), "record")
        ),
    }
}
