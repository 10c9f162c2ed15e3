//! Keeps the documents and the source true to each other: what a reviewer would otherwise have to look for by hand.
//!
//! Names come from where they are made (a rendered scrape, the codes' own match arms), so that a new metric, alarm,
//! error code or crate fails here until it is documented.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe_ingest::{Answered, HandshakeResult, Limit, Observer as _, Throttled};
use standpipe_journal::{Kept, SyncObserver as _};
use standpipe_model::{DestinationId, StreamName, Tally, Timestamp};
use standpipe_transform::{CallObserver as _, Called};

use crate::alarm::{Alarm, AlarmKind};
use crate::generated::repository;
use crate::metrics::{JournalState, LineState, Metrics, Snapshot};

/// The most lines of a source file.
const FILE_LINES_MAX: usize = 600;
/// The most lines of a function.
const FN_LINES_MAX: usize = 70;
/// Functions that may be longer, each with the reason.
const LONG_FUNCTIONS: [(&str, &str); 0] = [];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn doc(name: &str) -> String {
    read(&repository().join("docs").join(name))
}

/// Every file of the checkout with this extension, in order; neither built nor installed ones.
fn files(extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with(".git") && name != "target" && name != "node_modules" {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&repository(), extension, &mut found);
    found.sort();
    assert!(!found.is_empty(), "there are files with the extension {extension}");
    found
}

/// A path as it is known in the repository.
fn short(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

/// The texts between two marks.
fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close).map(|(found, _)| found))
}

fn nothing(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_crate_is_on_the_map() {
    let architecture = doc("architecture.md");
    let folders = fs::read_dir(repository().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.join("Cargo.toml").is_file());
    let names = folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    let missing = names.filter(|name| !architecture.contains(&format!("`crates/{name}/`")));
    nothing(missing.map(|name| format!("docs/architecture.md does not name `crates/{name}/`")).collect());
}

/// A scrape in which every metric has a sample.
fn scrape() -> String {
    let (metrics, stream, destination) =
        (Metrics::default(), StreamName::parse("s").unwrap(), DestinationId::primary());
    metrics.attempted(&stream, &destination, "ok", Duration::ZERO);
    metrics.failed(&stream, &destination, "S3.NoSuchBucket", 1);
    metrics.closed(&stream, &destination, "age");
    metrics.delivered(&stream, &destination, 1);
    metrics.partitioned(&stream, &destination, 2, 1);
    metrics.keys_left_out(&stream, &destination, 1);
    metrics.discarded(&stream, 1);
    metrics.redriven(&stream, 1);
    metrics.replayed(&stream, 1);
    metrics.synced(1, Duration::ZERO);
    metrics.shaken(HandshakeResult::Ok);
    metrics.key_checked("k", None);
    metrics.table_read("t", "ok");
    metrics.called(&Called { function: "f", code: "OK", elapsed: Duration::ZERO, memory_bytes: 1 });
    metrics.answered(&Answered {
        operation: None,
        stream: None,
        status: 200,
        code: None,
        request_bytes: 1,
        records: 1,
        record_bytes: 1,
        throttled: Some(Throttled { limit: Limit::Stream(&stream), records: 1 }),
        elapsed: Duration::ZERO,
    });
    let line = LineState {
        stream: stream.clone(),
        destination,
        accepted: 1,
        in_journal: 0,
        tally: Tally::default(),
        oldest_age: Duration::ZERO,
        open_batches: 0,
    };
    let alarm = Alarm {
        stream: None,
        kind: AlarmKind::ReloadRefused,
        message: String::new(),
        since: Timestamp::default(),
    };
    let (kept, oldest_kept_age) = (Kept::default(), Duration::ZERO);
    let journal = JournalState { stream, used: 0, limit: 0, kept, oldest_kept_age, replays: 0 };
    let snapshot = Snapshot {
        lines: vec![line],
        journals: vec![journal],
        alarms: vec![alarm],
        connections: 0,
        certificate_expiry: Some(0),
    };
    metrics.render(&snapshot).unwrap()
}

#[test]
fn the_metrics_are_those_of_the_docs() {
    let scrape = scrape();
    let declared = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = declared.map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        _ => name.to_owned(),
    });
    let rendered: BTreeSet<String> = names.collect();
    let docs = doc("metrics.md");
    let documented: BTreeSet<String> =
        between(&docs, "\n| `standpipe_", "`").map(|name| format!("standpipe_{name}")).collect();
    assert!(rendered.len() > 20, "{rendered:?}");
    assert_eq!(documented, rendered, "left: docs/metrics.md, right: a scrape");
}

/// The texts that the variants of an enum print as, from the arms of its `as_str`.
fn printed(source: &str, of: &str) -> BTreeSet<String> {
    let arms = between(source, of, ",").filter_map(|arm| arm.split_once("=> \"")?.1.strip_suffix('"'));
    arms.map(str::to_owned).collect()
}

#[test]
fn every_error_code_and_every_alarm_is_documented() {
    let errors = doc("errors.md");
    let codes = printed(&read(&repository().join("crates/ingest/src/error.rs")), "ErrorCode::");
    let alarms = printed(include_str!("alarm.rs"), "Self::");
    assert!(codes.len() >= 20 && alarms.len() >= 8, "{codes:?} {alarms:?}");
    let missing = codes.iter().chain(&alarms).filter(|name| !errors.contains(&format!("| `{name}` |")));
    nothing(missing.map(|name| format!("docs/errors.md has no row for `{name}`")).collect());
}

#[test]
fn every_decision_is_in_the_index() {
    let index = doc("decisions/README.md");
    let decisions = fs::read_dir(repository().join("docs/decisions")).unwrap();
    let names = decisions.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let missing = names.filter(|name| name != "README.md" && !index.contains(&format!("({name})")));
    nothing(missing.map(|name| format!("docs/decisions/README.md does not list {name}")).collect());
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for path in files("md") {
        for link in between(&read(&path), "](", ")") {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, h)| (file, Some(h)));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let found = target.exists()
                && heading.is_none_or(|wanted| {
                    let text = read(&target);
                    text.lines().any(|line| line.starts_with('#') && anchor(line) == wanted)
                });
            if !found {
                wrong.push(format!("{}: {link} leads nowhere", short(&path)));
            }
        }
    }
    nothing(wrong);
}

#[test]
fn every_source_file_says_what_it_is_for_and_is_short() {
    let mut wrong = Vec::new();
    for path in files("rs") {
        let (text, name) = (read(&path), short(&path));
        if !text.starts_with("//! ") {
            wrong.push(format!("{name}: the first line is not `//! …`"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{name}: {lines} lines, allowed are {FILE_LINES_MAX}"));
        }
    }
    nothing(wrong);
}

#[test]
fn what_a_worker_logs_says_at_which_destination() {
    let of_workers = |path: &PathBuf| short(path).starts_with("crates/standpipe/src/worker/");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in files("rs").into_iter().filter(of_workers) {
        for logged in between(&read(&path), "tracing::", ");") {
            seen += 1;
            let fields = logged.split('"').next().unwrap_or_default();
            if !fields.contains("destination") && !fields.contains("replay") {
                wrong.push(format!("{}: no destination: {logged}", short(&path)));
            }
        }
    }
    assert!(seen > 10, "{seen}");
    nothing(wrong);
}

#[test]
fn no_test_is_skipped_and_no_work_is_left_for_nobody() {
    // Written in two halves, or this file would find itself.
    let (skipped, later) = (concat!("#[", "ignore"), concat!("TO", "DO"));
    let mut wrong = Vec::new();
    for path in files("rs") {
        let text = read(&path);
        for (number, line) in (1..).zip(text.lines()) {
            if line.contains(skipped) {
                wrong.push(format!("{}:{number}: a test that is never run", short(&path)));
            }
            let mut notes = line.split(later).skip(1);
            if notes.any(|rest| !rest.starts_with("(#")) {
                wrong.push(format!("{}:{number}: {later} without the number of an issue", short(&path)));
            }
        }
    }
    nothing(wrong);
}

#[test]
fn no_function_is_long() {
    let (mut wrong, mut excused) = (Vec::new(), BTreeSet::new());
    for path in files("rs") {
        for (name, lines) in functions(&code_only(&read(&path))) {
            let known = format!("{}: {name}", path.file_name().unwrap().to_string_lossy());
            if lines <= FN_LINES_MAX {
                continue;
            }
            match LONG_FUNCTIONS.iter().find(|(excuse, _)| *excuse == known) {
                Some((excuse, _)) => drop(excused.insert(*excuse)),
                None => {
                    wrong.push(format!(
                        "{}: {name} has {lines} lines, allowed are {FN_LINES_MAX}",
                        short(&path)
                    ));
                }
            }
        }
    }
    let stale = LONG_FUNCTIONS.iter().filter(|(excuse, _)| !excused.contains(excuse));
    wrong.extend(stale.map(|(excuse, _)| format!("{excuse} is short by now: take its exception out")));
    nothing(wrong);
}

/// The source with comments and the insides of texts blanked, so that braces are only those of the code.
fn code_only(source: &str) -> Vec<u8> {
    let mut code = source.as_bytes().to_vec();
    let mut at = 0;
    while at < code.len() {
        let skipped = comment(&code, at).or_else(|| text(&code, at)).or_else(|| character(&code, at));
        let end = skipped.unwrap_or(at..at + 1);
        for byte in code.get_mut(end.clone()).into_iter().flatten() {
            if end.len() > 1 && *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.end;
    }
    code
}

/// A line comment that begins at `at`.
fn comment(code: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = code[at..].starts_with(b"//").then(|| &code[at..])?;
    let len = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    Some(at..at + len)
}

/// A string literal that begins at `at`, raw or not.
fn text(code: &[u8], at: usize) -> Option<Range<usize>> {
    let raw = code[at] == b'r' && (at == 0 || !code[at - 1].is_ascii_alphanumeric() && code[at - 1] != b'_');
    let hashes = code[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    if raw && code.get(at + 1 + hashes) == Some(&b'"') {
        let close: Vec<u8> = [b'"'].into_iter().chain(vec![b'#'; hashes]).collect();
        let body = at + 2 + hashes;
        let len = code[body..].windows(close.len()).position(|window| window == close)?;
        return Some(at..body + len + close.len());
    }
    let mut end = (code[at] == b'"').then_some(at + 1)?;
    while *code.get(end)? != b'"' {
        end += if code[end] == b'\\' { 2 } else { 1 };
    }
    Some(at..end + 1)
}

/// A character literal that begins at `at`; a lifetime is none.
fn character(code: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = code.get(at + 1..).filter(|_| code[at] == b'\'')?;
    let len = match rest.first()? {
        b'\\' => 1 + rest[1..].iter().skip(1).position(|byte| *byte == b'\'')? + 1,
        first => [1, 2, 3, 4]
            .into_iter()
            .find(|len| rest.get(*len) == Some(&b'\'') && (*len == 1 || !first.is_ascii()))?,
    };
    Some(at..at + 1 + len + 1)
}

/// Name and number of lines of each function with a body.
fn functions(code: &[u8]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for at in (0..code.len()).filter(|at| code[*at..].starts_with(b"fn ")) {
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let name: Vec<u8> = code[at + 3..].iter().copied().take_while(inside).collect();
        if name.is_empty() || at > 0 && inside(&code[at - 1]) {
            continue;
        }
        if let Some(body) = body_of(code, at) {
            let lines = 1 + code[at..body.end].iter().filter(|byte| **byte == b'\n').count();
            found.push((String::from_utf8_lossy(&name).into_owned(), lines));
        }
    }
    found
}

/// The braces of the function that begins at `at`; `None` for one that is only declared.
fn body_of(code: &[u8], at: usize) -> Option<Range<usize>> {
    let (mut braces, mut brackets, mut open) = (0_usize, 0_isize, None);
    for (offset, byte) in code[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 && open.is_none() => return None,
            b'{' => {
                open.get_or_insert(at + offset);
                braces += 1;
            }
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return open.map(|open| open..at + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn the_counter_of_lines_sees_only_code() {
    let source = "fn a(x: [u8; 2]) -> char {\n  // }\n  let s = \"}\\\"\"; let r = r#\"}\"}\"#;\n  '}'\n}\nfn b<'a>(x: &'a str);\nfn c() { '\\'' }\n";
    assert_eq!(functions(&code_only(source)), [("a".to_owned(), 5), ("c".to_owned(), 1)]);
    assert_eq!(anchor("## What a 200 means, `exactly`"), "what-a-200-means-exactly");
}
