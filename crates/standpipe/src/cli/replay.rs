//! `replay`: has the daemon deliver what arrived in a range of time once more, and follows it. The daemon does it by
//! itself, so that it goes on without this command, and after a crash.

use std::process::ExitCode;

use anyhow::bail;
use clap::{ArgGroup, Args};
use http::Method;
use indicatif::{HumanBytes, ProgressBar};
use serde_json::Value;
use standpipe_model::Timestamp;

use super::batches::AdminArgs;
use super::follow::{Task, number, waiting};
use super::time::{shown_time, time};
use super::{count, print, query_about};

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["from", "from_oldest", "list", "stop"]))]
pub struct ReplayArgs {
    /// The stream.
    stream: String,
    /// The first arrival time: 2026-01-31T12:00:00Z, or how long ago: 90m, 2d.
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    from: Option<Timestamp>,
    /// Begin with the oldest record that is kept.
    #[arg(long)]
    from_oldest: bool,
    /// Only what arrived before this time [default: everything up to now]
    #[arg(long, value_name = "TIME|DURATION", value_parser = time, conflicts_with_all = ["list", "stop"])]
    to: Option<Timestamp>,
    /// The destination that gets the records once more, where the stream has several.
    #[arg(long, value_name = "ID", conflicts_with_all = ["list", "stop", "into"])]
    destination: Option<String>,
    /// Put the records to this stream, in the place of a destination.
    #[arg(long, value_name = "STREAM", conflicts_with_all = ["list", "stop"])]
    into: Option<String>,
    /// Only say what would be delivered.
    #[arg(long, conflicts_with_all = ["list", "stop"])]
    dry_run: bool,
    /// Records per second, at the most.
    #[arg(long, value_name = "RECORDS_PER_SECOND", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["list", "stop"])]
    rate: Option<u32>,
    /// List the replays that are under way, the latest that are over, and what is kept.
    #[arg(long)]
    list: bool,
    /// Stop a replay.
    #[arg(long, value_name = "ID")]
    stop: Option<String>,
    /// Print what came of it as a JSON object.
    #[arg(long)]
    json: bool,
    /// Where to ask.
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
///
/// # Errors
/// The daemon could not be reached or refused.
pub async fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let page = |below: &str| format!("/streams/{}/replays{below}", args.stream);
    if let Some(id) = &args.stop {
        let stopped = args.admin.call(Method::DELETE, &page(&format!("/{id}"))).await?;
        return say(args, &stopped, summary);
    }
    if args.list {
        let all = args.admin.call(Method::GET, &page("")).await?;
        return say(args, &all, listed);
    }
    let begun = args.admin.call(Method::POST, &page(&format!("?{}", args.query()))).await?;
    if args.dry_run {
        return say(args, &begun, would);
    }
    let id = begun["id"].as_str().unwrap_or_default();
    let task = Task {
        admin: &args.admin,
        page: page(&format!("/{id}")),
        template: "{wide_bar} {human_pos}/{human_len} records  {msg}  {eta} left",
        show,
        summary,
    };
    let ended = task.follow(begun.clone()).await?;
    say(args, &ended, summary)?;
    match ended["state"].as_str() {
        Some("done") if undelivered(&ended)? == 0 => Ok(ExitCode::SUCCESS),
        Some("done") => Ok(ExitCode::FAILURE),
        _ => bail!("it was stopped"),
    }
}

/// The records that did not get to where they were to go.
fn undelivered(ended: &Value) -> anyhow::Result<u64> {
    ["abandoned", "backed_up", "lost"].into_iter().map(|fate| number(ended, fate)).sum()
}

impl ReplayArgs {
    fn query(&self) -> String {
        let mut query = query_about(self.destination.as_deref());
        for (name, at) in [("from", self.from), ("to", self.to)] {
            query.extend_pairs(at.map(|at| (name, at.as_millis().to_string())));
        }
        query.extend_pairs(self.into.iter().map(|into| ("into", into)));
        query.extend_pairs(self.rate.map(|rate| ("rate", rate.to_string())));
        let flags = [("from_oldest", self.from_oldest), ("dry_run", self.dry_run)];
        query.extend_pairs(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "true")));
        query.finish()
    }
}

fn say(
    args: &ReplayArgs,
    answer: &Value,
    words: fn(&Value) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let text = if args.json { answer.to_string() } else { words(answer)? };
    print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn show(bar: &ProgressBar, progress: &Value) -> anyhow::Result<()> {
    bar.set_length(number(progress, "records")?);
    bar.set_position(fates(progress)?);
    bar.set_message(waiting(progress, ""));
    Ok(())
}

/// The records that have a fate.
fn fates(progress: &Value) -> anyhow::Result<u64> {
    ["delivered", "dropped", "backed_up", "lost"].into_iter().map(|fate| number(progress, fate)).sum()
}

/// Where the records go.
fn target(progress: &Value) -> &str {
    progress["into"].as_str().or(progress["of"].as_str()).unwrap_or_default()
}

fn summary(progress: &Value) -> anyhow::Result<String> {
    let (done, all) = (fates(progress)?, count(number(progress, "records")?, "record"));
    let [id, state] = ["id", "state"].map(|name| progress[name].as_str().unwrap_or_default());
    let mut text = format!("{id} to {}: {done} of {all}, {state}", target(progress));
    for (fate, word) in [
        ("dropped", "dropped"),
        ("abandoned", "of these given up"),
        ("backed_up", "in the error output"),
        ("lost", "lost"),
    ] {
        let number = number(progress, fate)?;
        if number > 0 {
            text.push_str(&format!("; {number} {word}"));
        }
    }
    Ok(text + &waiting(progress, "; "))
}

fn would(answer: &Value) -> anyhow::Result<String> {
    let (records, bytes) =
        (count(number(answer, "records")?, "record"), HumanBytes(number(answer, "bytes")?));
    let (first, last) = (number(answer, "first")?, number(answer, "last")?);
    let text = format!("{records}, {bytes}, to replay to {}: positions {first} to {last}", target(answer));
    Ok(format!("{text}\n{}", kept(answer)))
}

fn kept(answer: &Value) -> String {
    match answer["oldest_kept"].is_null() {
        true => "no record is kept".to_owned(),
        false => format!(
            "records are kept that arrived from {} to {}",
            shown_time(&answer["oldest_kept"]),
            shown_time(&answer["newest_kept"])
        ),
    }
}

fn listed(answer: &Value) -> anyhow::Result<String> {
    let replays = answer["replays"].as_array().into_iter().flatten().map(summary);
    let lines: Vec<String> = replays.chain([Ok(kept(answer))]).collect::<Result<_, _>>()?;
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_says_how_far_it_is_and_what_became_of_the_records() {
        let mut progress = json!({
            "id": "replay-1", "state": "running", "of": "d", "into": null, "records": 10,
            "delivered": 3, "dropped": 0, "abandoned": 0, "backed_up": 0, "lost": 0,
            "waiting": "the store is away",
        });
        let expect = "replay-1 to d: 3 of 10 records, running; waiting: the store is away";
        assert_eq!(summary(&progress).unwrap(), expect);
        for (name, value) in [("into", json!("views")), ("state", "done".into()), ("waiting", Value::Null)] {
            progress[name] = value;
        }
        for (fate, number) in
            [("delivered", 4), ("dropped", 3), ("abandoned", 2), ("backed_up", 2), ("lost", 1)]
        {
            progress[fate] = number.into();
        }
        let expect = "replay-1 to views: 10 of 10 records, done; 3 dropped; 2 of these given up; \
                      2 in the error output; 1 lost";
        assert_eq!(summary(&progress).unwrap(), expect);
        assert_eq!(undelivered(&progress).unwrap(), 5);
        assert!(summary(&json!({})).is_err());
    }

    #[test]
    fn a_dry_run_says_what_there_is_and_what_is_kept() {
        let answer = json!({
            "of": "d", "into": null, "records": 1, "bytes": 2048, "first": 7, "last": 7,
            "oldest_kept": 1_767_226_200_123_u64, "newest_kept": 1_767_226_201_000_u64,
        });
        let expect = "1 record, 2.00 KiB, to replay to d: positions 7 to 7\nrecords are kept that arrived from \
                      2026-01-01T00:10:00.123Z to 2026-01-01T00:10:01.000Z";
        assert_eq!(would(&answer).unwrap(), expect);
        assert_eq!(listed(&json!({ "replays": [], "oldest_kept": null })).unwrap(), "no record is kept");
    }
}
