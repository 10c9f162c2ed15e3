//! Replays a committed corpus, for the ordinary tests of the crates whose inputs are fuzzed.

use std::path::Path;

/// Runs `target` on every input of its corpus, in the order of their names; a panic names the input.
pub(crate) fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} holds {} inputs", folder.display(), paths.len());
    for path in paths {
        let input = std::fs::read(&path).expect("the file is readable");
        let passed = std::panic::catch_unwind(|| target(&input)).is_ok();
        assert!(passed, "the input is {}", path.display());
    }
}
