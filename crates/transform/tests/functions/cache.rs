//! Compiled functions on disk: used while they are whole, never when they are not.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use standpipe_transform::{Sandbox, SandboxOptions};

use crate::running::{options, rows, run};
use standpipe_testkit::guests::example;

/// Loads the identity in a new process's place, and sees that it works.
fn load(dir: &Path) {
    let sandbox =
        Sandbox::open(&SandboxOptions { cache_dir: Some(dir.to_owned()), ..SandboxOptions::default() })
            .unwrap();
    let function = sandbox.load(&example("identity"), options()).unwrap();
    assert_eq!(rows(&run(function, &["as it was"]).0), ["as it was"]);
}

/// The one compiled file.
fn compiled(dir: &Path) -> PathBuf {
    let version = fs::read_dir(dir.join("code/modules")).unwrap().next().unwrap().unwrap().path();
    let files = fs::read_dir(version).unwrap().map(|file| file.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|file| file.extension().is_none()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn a_function_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let file = compiled(dir.path());
    let before = fs::metadata(&file).unwrap();
    load(dir.path());
    let after = fs::metadata(&file).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn a_compiled_function_that_is_not_as_it_was_written_is_compiled_anew() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let file = compiled(dir.path());
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
        fs::write(&file, damaged).unwrap();
        load(dir.path());
        assert_eq!(fs::read(&file).unwrap().len(), whole.len());
    }
}

#[test]
fn a_compiled_function_without_a_seal_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let file = compiled(dir.path());
    let before = fs::metadata(&file).unwrap().ino();
    // As after a crash between writing and sealing; a reader keeps its number from being given again.
    let kept = fs::File::open(&file).unwrap();
    fs::remove_dir_all(dir.path().join("seals")).unwrap();
    load(dir.path());
    assert_ne!(fs::metadata(&file).unwrap().ino(), before);
    drop(kept);
}

#[test]
fn what_a_crash_left_half_written_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    load(dir.path());
    let file = compiled(dir.path());
    let half = file.with_extension("wip-atomic-write-mod");
    fs::write(&half, b"half").unwrap();
    fs::remove_file(&file).unwrap();
    load(dir.path());
    assert!(!half.exists() && file.exists());
}
