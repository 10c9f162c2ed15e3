//! Keeps the parts of the documentation that are generated from the source current.
//!
//! `UPDATE_DOCS=1 cargo test -p standpipe --lib` writes them.

use std::fs;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Compares a generated file with what is committed, or writes it.
pub(crate) fn check(name: &str, expect: &str) {
    let path = repository().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expect).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expect,
        "{name} is out of date; write it with UPDATE_DOCS=1 cargo test -p standpipe --lib"
    );
}

/// The same with the part of a page that stands between the two marks.
pub(crate) fn check_part(name: &str, part: &str) {
    let page = fs::read_to_string(repository().join(name)).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark where the part begins");
    let (_, after) = rest.split_once(END).expect("the page has the mark where the part ends");
    check(name, &format!("{before}{BEGIN}\n{part}{END}{after}"));
}
