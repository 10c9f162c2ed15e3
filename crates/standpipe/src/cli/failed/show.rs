//! `failed show`: the records of an object of the error output.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use base64_simd::STANDARD;
use clap::Args;
use http::Method;
use serde_json::Value;

use super::WantedArgs;
use crate::cli::time::shown_time;
use crate::cli::{complain, query_about};

/// Arguments of `failed show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which.
    #[command(flatten)]
    wanted: WantedArgs,
    /// The object, by its key as `list` shows it [default: the one that was stored last]
    key: Option<String>,
    /// Write only the records as they were put, each with a line end behind it where it has none.
    #[arg(long)]
    raw: bool,
}

/// Lines of an object that hold no record make the command end with 1.
pub(super) async fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let key = match &args.key {
        Some(key) => key.clone(),
        None => latest(&args.wanted).await?,
    };
    if !args.raw {
        complain(&key);
    }
    let (mut from, mut line, mut unreadable) = (0, 0_u64, 0);
    loop {
        let mut query = query_about(args.wanted.destination.as_deref());
        let query = query.append_pair("key", &key).append_pair("from", &from.to_string()).finish();
        let page = args.wanted.call(Method::GET, "/object", &query).await?;
        for record in page["lines"].as_array().into_iter().flatten() {
            line += 1;
            match record["unreadable"].as_str() {
                Some(why) => {
                    unreadable += 1;
                    complain(&format!("standpipe: {key}: line {line}: {why}"));
                }
                None => match write(record, args.raw) {
                    Ok(()) => {}
                    // The reader has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
                    Err(error) => return Err(error).context("cannot write the output"),
                },
            }
        }
        match page["next"].as_u64() {
            Some(next) => from = next,
            None => return Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        }
    }
}

async fn latest(wanted: &WantedArgs) -> anyhow::Result<String> {
    let mut latest: Option<(u64, String)> = None;
    let keep = |object: &Value| {
        let of =
            (object["modified"].as_u64().unwrap_or(0), object["key"].as_str().unwrap_or_default().to_owned());
        latest = latest.take().max(Some(of));
        Ok(())
    };
    wanted.each_object(keep).await?;
    latest.map(|(_, key)| key).ok_or_else(|| anyhow!("there is nothing in the error output"))
}

fn write(record: &Value, raw: bool) -> io::Result<()> {
    let data =
        STANDARD.decode_to_vec(record["data"].as_str().unwrap_or_default()).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    if !raw {
        let text = |name: &str| record[name].as_str().unwrap_or_default();
        writeln!(out, "{}  {}: {}", shown_time(&record["arrived_at"]), text("code"), text("message"))?;
    }
    out.write_all(&data)?;
    if !data.ends_with(b"\n") {
        writeln!(out)?;
    }
    out.flush()
}
