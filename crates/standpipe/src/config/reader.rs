//! A small typed reader: one description of the keys, used both to read a document and to describe it.
//!
//! A section of the configuration is a function over a [`Section`] that asks for its keys one after the other, each
//! with a [`Shape`], a default and a sentence of documentation. Run against a document it collects values and every
//! problem; run against nothing ([`describe`]) the same calls produce the JSON Schema and the reference table. So there
//! is no second list of keys that could grow apart.
//!
//! # Invariants
//! - A reader that returns `None` has reported a problem, except in a description.
//! - A problem never stops the reading of what stands beside it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use super::compound::Sub;
use super::load::read_file;
use super::problem::{Problem, Spot, did_you_mean};
use super::schema::{Field, Schema};
use super::substitute::substitute;
use super::tree::{Entry, Node, Value};

/// What reading needs beside the document.
pub(super) struct Context<'c> {
    /// Looks up an environment variable.
    pub(super) env: &'c dyn Fn(&str) -> Option<String>,
    /// The file's name for messages.
    pub(super) file: Arc<str>,
    /// What relative paths are relative to.
    pub(super) folder: PathBuf,
    /// What was wrong so far.
    pub(super) problems: Vec<Problem>,
}

/// How one value is read, and how it is described.
pub(super) trait Shape {
    /// What it becomes.
    type Out;
    /// Reads the value; `None` after a problem was reported.
    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Self::Out>;
    /// Describes what is accepted.
    fn schema(&self) -> Schema;
}

/// A node that is being read.
pub(super) struct Cursor<'a, 'c> {
    pub(super) node: &'a Node,
    pub(super) path: String,
    pub(super) context: &'a mut Context<'c>,
}

impl<'a, 'c> Cursor<'a, 'c> {
    /// Where the node stands.
    pub(super) fn spot(&self) -> Spot {
        let Node { line, column, .. } = *self.node;
        Spot { file: self.context.file.clone(), line, column, path: self.path.clone() }
    }

    /// Reports a problem with the node.
    pub(super) fn refuse<T>(&mut self, message: impl Display) -> Option<T> {
        let problem = Problem { spot: self.spot(), message: message.to_string() };
        self.context.problems.push(problem);
        None
    }

    /// The node's text, with variables put in.
    pub(super) fn text(&mut self) -> Option<String> {
        let Value::Scalar(text) = &self.node.value else {
            return self.refuse(format!("expected one value, found {}", self.node.kind()));
        };
        match substitute(text, self.context.env) {
            Ok(text) => Some(text),
            Err(error) => self.refuse(error),
        }
    }

    /// A cursor on a node below, `step` being what is added to the path.
    pub(super) fn below<'b>(&'b mut self, node: &'b Node, step: &str) -> Cursor<'b, 'c> {
        Cursor { node, path: join(&self.path, step), context: self.context }
    }
}

/// The path of `step` below `path`.
fn join(path: &str, step: &str) -> String {
    let dot = if path.is_empty() || step.starts_with('[') { "" } else { "." };
    format!("{path}{dot}{step}")
}

/// A section of the document that is being read or described.
pub(super) struct Section<'a, 'c> {
    entries: &'a [Entry],
    spot: Spot,
    context: &'a mut Context<'c>,
    fields: Vec<Field>,
    describing: bool,
}

/// The function that reads a section.
pub(super) type ReadSection<T> = fn(&mut Section<'_, '_>) -> Option<T>;

impl<'a, 'c> Section<'a, 'c> {
    /// An optional key; its value where it is given and right. `names` may hold several spellings, the first of which
    /// is the proper one: `"compression|compression_format"`.
    pub(super) fn optional<S: Shape>(
        &mut self,
        names: &'static str,
        shape: S,
        doc: &'static str,
    ) -> Option<S::Out> {
        self.note(names, &shape, doc, None);
        let entry = self.find(names)?;
        self.read(entry, &shape)
    }

    /// A key that must be given.
    pub(super) fn required<S: Shape>(
        &mut self,
        names: &'static str,
        shape: S,
        doc: &'static str,
    ) -> Option<S::Out> {
        self.note(names, &shape, doc, None);
        if let Some(field) = self.fields.last_mut() {
            field.required = true;
        }
        if let Some(entry) = self.find(names) {
            return self.read(entry, &shape);
        }
        if !self.describing && !names.split('|').any(|name| self.given(name)) {
            let name = first(names);
            self.refuse("", format!("the key \"{name}\" is missing: {doc}"));
        }
        None
    }

    /// A key that must be given unless `other` is.
    pub(super) fn required_or<S: Shape>(
        &mut self,
        name: &'static str,
        other: &'static str,
        shape: S,
        doc: &'static str,
    ) -> Option<S::Out> {
        let value = self.optional(name, shape, doc);
        if let Some(field) = self.fields.last_mut() {
            field.or = Some(other);
        }
        if !self.given(name) && !self.given(other) {
            self.refuse("", format!("the key \"{name}\" is missing: {doc}"));
        }
        value
    }

    /// A key with a default, which is written as a user would write it.
    pub(super) fn or<S: Shape>(
        &mut self,
        names: &'static str,
        shape: S,
        default: &str,
        doc: &'static str,
    ) -> S::Out {
        self.note(names, &shape, doc, Some(default));
        if let Some(value) = self.find(names).and_then(|entry| self.read(entry, &shape)) {
            return value;
        }
        self.fall_back(names, Value::Scalar(default.to_owned()), &shape)
    }

    /// A section that may be left out, because each of its keys may.
    pub(super) fn section<T>(
        &mut self,
        names: &'static str,
        section: ReadSection<T>,
        doc: &'static str,
    ) -> T {
        let shape = Sub(section);
        self.note(names, &shape, doc, None);
        if let Some(value) = self.find(names).and_then(|entry| self.read(entry, &shape)) {
            return value;
        }
        self.fall_back(names, Value::Null, &shape)
    }

    /// Reads a default, which stands where the section stands.
    fn fall_back<S: Shape>(&mut self, names: &str, value: Value, shape: &S) -> S::Out {
        let node = Node { line: self.spot.line, column: self.spot.column, value };
        let path = join(&self.spot.path, first(names));
        let value = shape.read(&mut Cursor { node: &node, path, context: self.context });
        value.expect("a default satisfies its own shape, as describing the section proves")
    }

    /// Whether a key is given, by this very name.
    pub(super) fn given(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name && !matches!(entry.node.value, Value::Null))
    }

    /// Refuses two keys that say the same thing.
    pub(super) fn exclusive(&mut self, one: &str, other: &str) {
        if self.given(one) && self.given(other) {
            self.refuse(other, format!("give either \"{one}\" or \"{other}\", not both"));
        }
    }

    /// Where the section, or with a name one of its keys' values, stands.
    pub(super) fn spot(&self, name: &str) -> Spot {
        match self.entries.iter().find(|entry| entry.key == name) {
            Some(entry) => Spot {
                file: self.spot.file.clone(),
                line: entry.node.line,
                column: entry.node.column,
                path: join(&self.spot.path, name),
            },
            None => self.spot.clone(),
        }
    }

    /// Where each given key's value stands; under the empty name, the section.
    pub(super) fn spots(&self) -> Spots {
        let mut spots = BTreeMap::from([(String::new(), self.spot.clone())]);
        let given = self.entries.iter().filter(|entry| !matches!(entry.node.value, Value::Null));
        spots.extend(given.map(|entry| (entry.key.clone(), self.spot(&entry.key))));
        Spots(spots)
    }

    /// Reports a problem with a key's value, or with the whole section where the name is empty.
    pub(super) fn refuse(&mut self, name: &str, message: impl Display) {
        if !self.describing {
            let problem = Problem { spot: self.spot(name), message: message.to_string() };
            self.context.problems.push(problem);
        }
    }

    /// Reports a problem with something that was read below.
    pub(super) fn refuse_at(&mut self, spot: Spot, message: impl Display) {
        if !self.describing {
            self.context.problems.push(Problem { spot, message: message.to_string() });
        }
    }

    /// Reads another file that a key names, in YAML or JSON.
    pub(super) fn file<T>(
        &mut self,
        path: &std::path::Path,
        read: impl FnOnce(&mut Cursor<'_, '_>) -> Option<T>,
    ) -> Option<T> {
        let (mut context, node) = read_file(path, self.context.env, &mut self.context.problems)?;
        let value = read(&mut Cursor { node: &node, path: String::new(), context: &mut context });
        self.context.problems.append(&mut context.problems);
        value
    }

    fn note<S: Shape>(&mut self, names: &'static str, shape: &S, doc: &'static str, default: Option<&str>) {
        let schema = self.describing.then(|| shape.schema());
        let default = default.map(str::to_owned);
        self.fields.push(Field { names, required: false, or: None, default, doc, schema });
    }

    fn find(&mut self, names: &'static str) -> Option<&'a Entry> {
        let all: &'a [Entry] = self.entries;
        let mut given = all.iter().filter(|entry| {
            names.split('|').any(|name| name == entry.key) && !matches!(entry.node.value, Value::Null)
        });
        let entry = given.next();
        if let (Some(one), Some(other)) = (entry, given.next()) {
            self.refuse(
                &other.key,
                format!("\"{}\" and \"{}\" are the same key, give one", one.key, other.key),
            );
        }
        entry
    }

    fn read<S: Shape>(&mut self, entry: &Entry, shape: &S) -> Option<S::Out> {
        let path = join(&self.spot.path, &entry.key);
        shape.read(&mut Cursor { node: &entry.node, path, context: self.context })
    }

    /// Refuses every key that nobody asked for.
    fn finish(&mut self) {
        for entry in self.entries {
            let mut known = self.fields.iter().flat_map(|field| field.names.split('|'));
            if known.clone().any(|name| name == entry.key) {
                continue;
            }
            let hint = did_you_mean(&entry.key, known.by_ref());
            let spot = Spot {
                file: self.spot.file.clone(),
                line: entry.line,
                column: entry.column,
                path: join(&self.spot.path, &entry.key),
            };
            self.context.problems.push(Problem { spot, message: format!("unknown key{hint}") });
        }
    }
}

/// Where the keys of a section stand, for checks that come later.
#[derive(Debug, Clone)]
pub(super) struct Spots(BTreeMap<String, Spot>);

impl Spots {
    /// Where the key's value stands; the section itself where it is not given.
    pub(super) fn of(&self, name: &str) -> Spot {
        self.0.get(name).or_else(|| self.0.get("")).cloned().expect("the section's own spot is always there")
    }

    /// Whether the key is given.
    pub(super) fn given(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// All given keys, the section itself among them under the empty name.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The proper one of several spellings.
pub(super) fn first(names: &str) -> &str {
    names.split('|').next().unwrap_or(names)
}

/// Reads the node under `cursor` as a section; an empty node is a section without keys.
pub(super) fn read_section<T>(cursor: &mut Cursor<'_, '_>, section: ReadSection<T>) -> Option<T> {
    let entries: &[Entry] = match &cursor.node.value {
        Value::Map(entries) => entries,
        Value::Null => &[],
        _ => return cursor.refuse(format!("expected a map, found {}", cursor.node.kind())),
    };
    let spot = cursor.spot();
    let mut reading =
        Section { entries, spot, context: cursor.context, fields: Vec::new(), describing: false };
    let value = section(&mut reading);
    reading.finish();
    value
}

/// Describes a section by running its function against nothing.
pub(super) fn describe<T>(section: ReadSection<T>) -> Vec<Field> {
    let file: Arc<str> = "".into();
    let spot = Spot::file(file.clone());
    let mut context = Context { env: &|_| None, file, folder: PathBuf::new(), problems: Vec::new() };
    let mut describing =
        Section { entries: &[], spot, context: &mut context, fields: Vec::new(), describing: true };
    section(&mut describing);
    describing.fields
}
