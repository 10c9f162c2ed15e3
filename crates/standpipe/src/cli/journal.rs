//! `standpipe journal …`: what is in a journal's files, and whether they are as they were written. Reads the files
//! alone: the daemon may be running, stopped or gone, and the folder may be a copy.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use standpipe_journal::disk::{Disk as _, OsDisk};
use standpipe_journal::inspect::{FrameSummary, SegmentSummary, frames, inspect};
use standpipe_journal::keys::SegmentKeys;
use standpipe_journal::verify::verify;

use super::{complain, count, env, print, runtime};
use crate::clock::OsEntropy;
use crate::config::Config;
use crate::keys::KeyRing;

/// The commands about journals.
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Show the segments of a journal, and its frames.
    Inspect(InspectArgs),
    /// Check everything that can be checked; ends with 1 when something is wrong.
    Verify(FolderArgs),
}

/// Where the journal is.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// A journal's folder, a stream's folder, or a data directory for all its streams.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The configuration that has the keys of encrypted journals. Without it, what is encrypted is checked by its
    /// checksums alone.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The keys of a configuration, and what asks their keepers.
struct Keys {
    ring: Arc<dyn SegmentKeys>,
    _runtime: Option<tokio::runtime::Runtime>,
}

impl Keys {
    fn of(config: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = config else { return Ok(Self { ring: Arc::new(()), _runtime: None }) };
        let config = Config::load(path, &env).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let runtime = runtime()?;
        let ring = KeyRing::new(Arc::new(OsEntropy), runtime.handle().clone());
        ring.put_in_force(ring.make(&config.keys)?);
        Ok(Self { ring, _runtime: Some(runtime) })
    }
}

/// Arguments of `journal inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Where it is.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// Show every frame.
    #[arg(long)]
    pub frames: bool,
    /// Print JSON, one object per line.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(command: &JournalCommand) -> anyhow::Result<ExitCode> {
    match command {
        JournalCommand::Inspect(args) => {
            let keys = Keys::of(args.folder.config.as_deref())?;
            for journal in journals(&args.folder.dir)? {
                show(&journal, args, &keys)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        JournalCommand::Verify(args) => {
            let (mut sound, keys) = (true, Keys::of(args.config.as_deref())?);
            for journal in journals(&args.dir)? {
                sound &= check(&journal, &keys)?;
            }
            Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// The journals in a data directory, in a stream's folder, or the one that `dir` is.
fn journals(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let streams = dir.join("streams");
    if streams.is_dir() {
        let unreadable = || format!("cannot read {}", streams.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&streams).with_context(unreadable)? {
            found.push(entry.with_context(unreadable)?.path().join("journal"));
        }
        found.retain(|journal| journal.is_dir());
        found.sort();
        return Ok(found);
    }
    let journal = dir.join("journal");
    if journal.is_dir() {
        return Ok(vec![journal]);
    }
    let entries = OsDisk.list(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    if !entries.iter().any(|entry| entry.name.ends_with(".seg")) {
        bail!("{} is no journal, no stream's folder and no data directory", dir.display());
    }
    Ok(vec![dir.to_owned()])
}

fn show(journal: &Path, args: &InspectArgs, keys: &Keys) -> anyhow::Result<()> {
    if !args.json {
        print(&format!("{}\n", journal.display()))?;
    }
    for segment in inspect(&OsDisk, journal)? {
        match args.json {
            true => print(&format!("{}\n", json!({ "segment": segment })))?,
            false => print(&segment_line(&segment))?,
        }
        if !args.frames {
            continue;
        }
        for frame in frames(&OsDisk, &segment, keys.ring.as_ref())? {
            let frame = frame?;
            match args.json {
                true => print(&format!("{}\n", json!({ "path": segment.path, "frame": frame })))?,
                false => print(&frame_line(&frame))?,
            }
        }
    }
    Ok(())
}

fn segment_line(segment: &SegmentSummary) -> String {
    let status = serde_json::to_value(segment.status).unwrap_or_default();
    let status = status.as_str().unwrap_or_default();
    let mut line = format!("  segment {} {status}, {} bytes", segment.sequence, segment.file_bytes);
    if let Some(version) = segment.version {
        write!(line, ", format {version}").ok();
    }
    if let Some(content) = &segment.content {
        write!(line, ", id {}, key {}", content.id, content.key_id).ok();
        if let Some(key) = &content.key {
            write!(line, " ('{key}')").ok();
        }
        write!(line, ", made {}", content.created_at.to_rfc3339()).ok();
        write!(line, "\n    positions {}..{}", content.first, content.next).ok();
        write!(line, ", {}", count(content.records, "record")).ok();
        write!(line, " of {}", count(content.record_bytes, "byte")).ok();
        if let (Some(first), Some(last)) = (content.min_arrived, content.max_arrived) {
            write!(line, ", arrived {} to {}", first.to_rfc3339(), last.to_rfc3339()).ok();
        }
        let kinds: Vec<String> =
            content.frames.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
        write!(line, "\n    frames up to byte {}: {}", content.data_end, kinds.join(", ")).ok();
        if content.torn_bytes > 0 {
            write!(line, "\n    torn tail of {}", count(content.torn_bytes, "byte")).ok();
        }
        if content.unreadable > 0 {
            write!(line, "\n    {} cannot be read", count(content.unreadable, "place")).ok();
        }
    }
    line.push('\n');
    line
}

fn frame_line(frame: &FrameSummary) -> String {
    let Some(kind) = frame.kind else {
        return format!("    {:>10} not a frame\n", frame.offset);
    };
    let mut line = format!("    {:>10} {kind:<7} at {}", frame.offset, frame.first);
    if frame.count > 0 {
        write!(line, ", {}", count(frame.count.into(), "record")).ok();
    }
    write!(line, ", {}, {}", count(frame.body_bytes.into(), "byte"), frame.arrived_at.to_rfc3339()).ok();
    if let Some(digest) = &frame.digest {
        write!(line, ", digest {digest}").ok();
    }
    if let Some(source) = &frame.source {
        write!(line, ", source {source}").ok();
    }
    if let Some(control) = &frame.control {
        write!(line, " {control}").ok();
    }
    if frame.locked {
        line.push_str(" locked");
    }
    if !frame.intact {
        line.push_str(" DAMAGED");
    }
    line.push('\n');
    line
}

/// Checks one journal and tells what was found; returns whether nothing is wrong.
fn check(journal: &Path, keys: &Keys) -> anyhow::Result<bool> {
    let report = verify(&OsDisk, journal, keys.ring.as_ref())?;
    for problem in &report.problems {
        complain(&problem.to_string());
    }
    let mut line = format!(
        "{}: {}, {}, {}",
        journal.display(),
        count(report.segments, "segment"),
        count(report.frames, "frame"),
        count(report.records, "record")
    );
    if report.torn_bytes > 0 {
        write!(line, ", torn tail of {}", count(report.torn_bytes, "byte")).ok();
    }
    for (key, segments) in &report.locked {
        write!(line, ", {} locked by key '{key}'", count(*segments, "segment")).ok();
    }
    if !report.set_aside.is_empty() {
        write!(line, ", {} set aside earlier", count(report.set_aside.len() as u64, "file")).ok();
    }
    match report.problems.len() as u64 {
        0 => line.push_str(", ok\n"),
        problems => writeln!(line, ", {}", count(problems, "problem"))?,
    }
    print(&line)?;
    Ok(report.problems.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_be_a_journal_a_stream_or_a_data_directory() {
        let data = tempfile::tempdir().unwrap();
        let journal = data.path().join("streams/orders/journal");
        std::fs::create_dir_all(&journal).unwrap();
        std::fs::create_dir_all(data.path().join("streams/empty")).unwrap();
        std::fs::write(journal.join("00000000000000000000.seg"), [0; 64]).unwrap();
        for dir in [data.path(), &data.path().join("streams/orders"), &journal] {
            assert_eq!(journals(dir).unwrap(), std::slice::from_ref(&journal), "{}", dir.display());
        }
        let error = journals(&data.path().join("streams/empty")).unwrap_err();
        assert!(error.to_string().ends_with("is no journal, no stream's folder and no data directory"));
    }

    #[test]
    fn a_damaged_head_is_told_and_ends_with_failure() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("00000000000000000000.seg"), [7; 9000]).unwrap();
        assert!(!check(data.path(), &Keys::of(None).unwrap()).unwrap());
        let segments = inspect(&OsDisk, data.path()).unwrap();
        assert_eq!(segment_line(&segments[0]), "  segment 0 damaged, 9000 bytes\n");
    }
}
