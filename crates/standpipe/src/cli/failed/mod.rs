//! `failed`: what stands in a stream's error output, and sending it again. Talks to the admin listener, where the work is
//! done; see [`redrive`].

mod redrive;
mod show;

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::DateTime;
use clap::{Args, Subcommand};
use form_urlencoded::Serializer;
use http::Method;
use serde_json::Value;
use standpipe_model::{Clock as _, OsClock, Timestamp};

use super::batches::AdminArgs;
use super::print;
use crate::config::parse_duration;

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

/// A point in time, or how long ago it was.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        let millis = u64::try_from(moment.timestamp_millis());
        return millis.map(Timestamp).map_err(|_| "it lies before 1970".to_owned());
    }
    let ago = parse_duration(text)
        .map_err(|error| format!("neither a time with a zone nor a duration: {error}"))?;
    let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    Ok(Timestamp(OsClock::start().now().as_millis().saturating_sub(ago)))
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
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.destination.iter().map(|id| ("destination", id)));
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

fn shown_time(millis: &Value) -> String {
    millis.as_u64().map_or_else(|| "unknown".to_owned(), |millis| Timestamp(millis).to_rfc3339())
}

/// Where a number of the daemon's answer is missing it is of another version.
fn number(answer: &Value, name: &str) -> anyhow::Result<u64> {
    answer[name].as_u64().with_context(|| format!("the daemon's answer has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_an_age() {
        assert_eq!(time("2026-01-01T00:10:00.123Z"), Ok(Timestamp(1_767_226_200_123)));
        let now = OsClock::start().now();
        let age = now.since(time("1h30m").unwrap()).as_secs();
        assert!((5_390..=5_400).contains(&age), "{age}");
        for wrong in ["yesterday", "12", "2026-01-01", "1960-01-01T00:00:00Z"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
