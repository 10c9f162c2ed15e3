//! Reading the files: the main one, then those of `streams_dir`; and by itself the one of `credentials_file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{ConfigProblems, Problem, Spot};
use super::reader::{Context, Cursor, ReadSection, read_section};
use super::root::{Draft, root, stream_file};
use super::streams::{StreamDraft, stream};
use super::tree::{self, Node, Value};
use super::{Config, Credential, access, check};

/// Looks up an environment variable.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads and validates the configuration at `path`; `env` looks up environment variables.
    ///
    /// # Errors
    /// Every problem that there is, with its place.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, ConfigProblems> {
        let mut problems = Vec::new();
        let draft = read_file(path, env, &mut problems).and_then(|(mut context, node)| {
            let draft = read_all(&mut context, &node, root);
            problems.append(&mut context.problems);
            draft
        });
        let config = draft.and_then(|mut draft| {
            if let Some(folder) = draft.streams_dir.clone() {
                let more = read_folder(&folder, &draft, env, &mut problems);
                draft.streams.extend(more);
            }
            check::finish(draft, &mut problems)
        });
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigProblems(in_order(problems))),
        }
    }

    /// Reads the credentials of `credentials_file`; none where there is no such key. It is read by itself, so that
    /// neither file stands in the way of the other.
    ///
    /// # Errors
    /// Every problem that there is, with its place.
    pub fn load_credentials(&self, env: Env<'_>) -> Result<Vec<Credential>, ConfigProblems> {
        let Some(path) = &self.credentials_file else { return Ok(Vec::new()) };
        let mut problems = Vec::new();
        let mut credentials = Vec::new();
        if let Some((mut context, node)) = read_file(path, env, &mut problems) {
            let mut at = Cursor { node: &node, path: String::new(), context: &mut context };
            let drafts = match node.value {
                // An editor that is about to write may have emptied it.
                Value::Null => at.refuse("the file holds no credentials"),
                _ => access::credential_list(&mut at),
            };
            problems.append(&mut context.problems);
            credentials =
                access::resolve(drafts.unwrap_or_default(), &self.policies, &self.credentials, &mut problems);
        }
        if problems.is_empty() { Ok(credentials) } else { Err(ConfigProblems(in_order(problems))) }
    }
}

/// Sorts by place, the files in the order in which they were read.
fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let mut files: Vec<Arc<str>> = Vec::new();
    for problem in &problems {
        if !files.contains(&problem.spot.file) {
            files.push(problem.spot.file.clone());
        }
    }
    let file = |problem: &Problem| files.iter().position(|file| *file == problem.spot.file);
    problems.sort_by_key(|problem| (file(problem), problem.spot.line, problem.spot.column));
    problems
}

/// Reads one file into a tree and what its reading needs.
pub(super) fn read_file<'e>(
    path: &Path,
    env: Env<'e>,
    problems: &mut Vec<Problem>,
) -> Option<(Context<'e>, Node)> {
    let file: Arc<str> = path.display().to_string().into();
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    let source = match std::fs::read_to_string(path) {
        Ok(source) => source,
        Err(error) => {
            refuse(Spot::file(file), format!("cannot read the file: {error}"));
            return None;
        }
    };
    match tree::parse(&source) {
        Ok(node) => {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            Some((Context { env, file, folder, problems: Vec::new() }, node))
        }
        Err(error) => {
            let spot = Spot { line: error.line, column: error.column, ..Spot::file(file) };
            refuse(spot, format!("not YAML: {}", error.message));
            None
        }
    }
}

fn read_all<T>(context: &mut Context<'_>, node: &Node, section: ReadSection<T>) -> Option<T> {
    read_section(&mut Cursor { node, path: String::new(), context }, section)
}

/// Reads the stream files of a folder in the order of their names.
fn read_folder(folder: &Path, draft: &Draft, env: Env<'_>, problems: &mut Vec<Problem>) -> Vec<StreamDraft> {
    let mut paths: Vec<PathBuf> =
        match std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(entries) => entries.iter().map(std::fs::DirEntry::path).collect(),
            Err(error) => {
                let message = format!("cannot read the folder {}: {error}", folder.display());
                problems.push(Problem { spot: draft.spots.of("streams_dir"), message });
                return Vec::new();
            }
        };
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "yaml" || ext == "yml"));
    paths.sort();
    paths.iter().flat_map(|path| read_streams(path, env, problems)).collect()
}

/// Reads one stream file: one stream, or a list under `streams`; an empty file is none.
fn read_streams(path: &Path, env: Env<'_>, problems: &mut Vec<Problem>) -> Vec<StreamDraft> {
    let Some((mut context, node)) = read_file(path, env, problems) else {
        return Vec::new();
    };
    let streams = match &node.value {
        Value::Null => None,
        Value::Map(entries) if entries.iter().any(|entry| entry.key == "streams") => {
            read_all(&mut context, &node, stream_file)
        }
        _ => read_all(&mut context, &node, stream).map(|stream| vec![stream]),
    };
    problems.append(&mut context.problems);
    streams.unwrap_or_default()
}
