//! `failed redrive`: has the daemon put what failed again, and follows it. The daemon does it by itself, so that it goes
//! on without this command; Ctrl-C asks it to stop.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use http::Method;
use indicatif::ProgressBar;
use serde_json::Value;

use super::WantedArgs;
use crate::cli::follow::{Task, number, waiting};
use crate::cli::{count, print};

/// Arguments of `failed redrive`.
#[derive(Debug, Args)]
pub struct RedriveArgs {
    /// Which.
    #[command(flatten)]
    wanted: WantedArgs,
    /// Put the records to this stream.
    #[arg(long, value_name = "STREAM")]
    to: Option<String>,
    /// To every destination of the stream, where it has several: those too that have the records already.
    #[arg(long, conflicts_with = "to")]
    everywhere: bool,
    /// Also what has been redriven before.
    #[arg(long)]
    again: bool,
    /// Only count what would be put.
    #[arg(long)]
    dry_run: bool,
    /// Records per second, at the most.
    #[arg(long, value_name = "RECORDS_PER_SECOND", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Print what came of it as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Lines that hold no record make the command end with 1.
pub(super) async fn run(args: &RedriveArgs) -> anyhow::Result<ExitCode> {
    let mut query = args.wanted.query();
    query.extend_pairs(args.to.iter().map(|to| ("to", to)));
    query.extend_pairs(args.rate.map(|rate| ("rate", rate.to_string())));
    let flags = [("everywhere", args.everywhere), ("again", args.again), ("dry_run", args.dry_run)];
    query.extend_pairs(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "true")));
    let begun = args.wanted.call(Method::POST, "/redrive", &query.finish()).await?;
    let task = Task {
        admin: &args.wanted.admin,
        page: format!("/streams/{}/failed/redrive", args.wanted.stream),
        template: "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left",
        show,
        summary,
    };
    let ended = task.follow(begun).await?;
    match args.json {
        true => print(&format!("{ended}\n"))?,
        false => print(&format!("{}\n", summary(&ended)?))?,
    }
    match ended["state"].as_str() {
        Some("done") if number(&ended, "unreadable")? == 0 => Ok(ExitCode::SUCCESS),
        Some("done") => Ok(ExitCode::FAILURE),
        Some("stopped") => bail!("it was stopped; another redrive goes on from there"),
        _ => bail!("{}", ended["error"].as_str().unwrap_or("it failed without a word")),
    }
}

fn show(bar: &ProgressBar, progress: &Value) -> anyhow::Result<()> {
    bar.set_length(progress["bytes_found"].as_u64().unwrap_or(0));
    bar.set_position(number(progress, "bytes")?);
    bar.set_message(count(number(progress, "records")?, "record") + &waiting(progress, ", "));
    Ok(())
}

fn summary(progress: &Value) -> anyhow::Result<String> {
    let of = |name| number(progress, name);
    let verb = if progress["dry_run"] == true { "to put" } else { "put" };
    let to = progress["to"].as_str().unwrap_or_default();
    let (records, done, skipped) = (count(of("records")?, "record"), of("objects")?, of("skipped")?);
    let mut text = format!("{records} {verb} to {to}, from {}", count(done - skipped.min(done), "object"));
    if skipped > 0 {
        text.push_str(&format!("; {} had been redriven before", count(skipped, "object")));
    }
    if of("unreadable")? > 0 {
        text.push_str(&format!("; {} without a record", count(of("unreadable")?, "line")));
    }
    Ok(text + &waiting(progress, "; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_says_what_was_put_and_what_was_not() {
        let mut progress =
            json!({ "to": "clicks", "records": 1, "objects": 3, "skipped": 1, "unreadable": 0 });
        let expect = "1 record put to clicks, from 2 objects; 1 object had been redriven before";
        assert_eq!(summary(&progress).unwrap(), expect);
        progress["unreadable"] = 2.into();
        progress["dry_run"] = true.into();
        let expect = "1 record to put to clicks, from 2 objects; 1 object had been redriven before; 2 lines without a record";
        assert_eq!(summary(&progress).unwrap(), expect);
        assert!(summary(&json!({})).is_err());
    }
}
