//! What is wrong with a configuration, and where: all of it at once, one line each, as a compiler prints it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A place in a configuration: file, line, column and YAML path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The file as it was named.
    pub file: Arc<str>,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u64,
    /// The column in characters, from 1; 0 where the whole file is meant.
    pub column: u64,
    /// The path inside the document, as `streams[0].destination.s3`; empty for the whole document.
    pub path: String,
}

impl Spot {
    /// A spot that is a file as a whole.
    pub(super) fn file(file: Arc<str>) -> Self {
        Self { file, line: 0, column: 0, path: String::new() }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub spot: Spot,
    /// What, with the value and the limit, and a hint where one is likely to help. Never a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.spot)?;
        if !self.spot.path.is_empty() {
            write!(f, "{}: ", self.spot.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of reading; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(pub(super) Vec<Problem>);

impl ConfigProblems {
    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl From<Problem> for ConfigProblems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}

/// Refuses names of a `what` that somebody earlier has.
pub(super) fn check_names<'n>(
    what: &str,
    names: impl IntoIterator<Item = (&'n str, Spot)>,
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<&str, Spot> = BTreeMap::new();
    for (name, spot) in names {
        match seen.get(name) {
            Some(earlier) => {
                let message = format!("a {what} \"{name}\" is at {earlier} already");
                problems.push(Problem { spot, message });
            }
            None => drop(seen.insert(name, spot)),
        }
    }
}

/// The one of `known` that `given` was probably meant to be.
pub(super) fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let given = given.to_ascii_lowercase();
    let distance = |word: &str| strsim::osa_distance(&given, &word.to_ascii_lowercase());
    let (best, distance) = known.into_iter().map(|word| (word, distance(word))).min_by_key(|(_, d)| *d)?;
    // A third of the letters wrong is still a typo; more is another word.
    (distance <= (best.len().max(given.len()) / 3).max(1)).then_some(best)
}

/// `, did you mean "…"?` where something known is near; else nothing.
pub(crate) fn did_you_mean<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(given, known).map(|word| format!(", did you mean \"{word}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_another_word_finds_none() {
        let known = ["buffering", "bucket", "prefix", "acl"];
        assert_eq!(nearest("bufering", known), Some("buffering"));
        assert_eq!(nearest("Bucket", known), Some("bucket"));
        assert_eq!(nearest("acls", known), Some("acl"));
        assert_eq!(nearest("destination", known), None);
    }
}
