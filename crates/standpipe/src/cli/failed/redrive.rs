//! `failed redrive`: has the daemon put what failed again, and follows it. The daemon does it by itself, so that it goes
//! on without this command; Ctrl-C asks it to stop.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{WantedArgs, number};
use crate::cli::{complain, count, print};

/// How often the daemon is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// How often progress is told where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

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
    let ended = follow(&args.wanted, begun).await?;
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

/// Looks until it has ended.
async fn follow(wanted: &WantedArgs, mut progress: Value) -> anyhow::Result<Value> {
    let bar = std::io::stderr().is_terminal().then(bar);
    let (mut told, mut stopping) = (Instant::now(), false);
    while progress["state"] == "running" {
        if let Some(bar) = &bar {
            show(bar, &progress)?;
        } else if told.elapsed() >= PLAIN_EVERY {
            told = Instant::now();
            complain(&summary(&progress)?);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                if std::mem::replace(&mut stopping, true) {
                    bail!("not waited for: the daemon stops by itself");
                }
                wanted.call(Method::DELETE, "/redrive", "").await?;
            }
        }
        progress = wanted.call(Method::GET, "/redrive", "").await?;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(progress)
}

fn bar() -> ProgressBar {
    let template = "{wide_bar} {bytes}/{total_bytes}  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, progress: &Value) -> anyhow::Result<()> {
    bar.set_length(progress["bytes_found"].as_u64().unwrap_or(0));
    bar.set_position(number(progress, "bytes")?);
    let waiting = progress["waiting"].as_str().map(|why| format!(", waiting: {why}")).unwrap_or_default();
    bar.set_message(count(number(progress, "records")?, "record") + &waiting);
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
    if let Some(why) = progress["waiting"].as_str() {
        text.push_str(&format!("; waiting: {why}"));
    }
    Ok(text)
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
