//! `standpipe transform new`: each template is written, built by the commands that it says, and called by a daemon with
//! the lines of configuration that it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use standpipe_testkit::cache;
use standpipe_testkit::guests::built;

use crate::support::{SOON, STANDPIPE, all_settled, files_below, sdk_put, start};

/// What the template says: the commands behind `cd`, and the configuration.
fn new_function(folder: &Path, lang: &str, interface: &str) -> (String, String) {
    let mut new = Command::new(STANDPIPE);
    new.args(["transform", "new", "my-first", "--lang", lang, "--interface", interface]);
    let told = cache::run(new.current_dir(folder)).unwrap();
    let (build, yaml) = told.split_once("Configure it, and have a stream call it:\n\n").unwrap();
    // The toolchain of the checkout has its targets.
    let is_command =
        |line: &&str| line.starts_with("    ") && !line.contains("cd '") && !line.contains("rustup");
    let build: Vec<&str> = build.lines().filter(is_command).map(str::trim).collect();
    (build.join("\n"), yaml.to_owned())
}

/// What the function makes of records, as rows.
fn called(lang: &str, interface: &str, records: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (build, yaml) = new_function(folder.path(), lang, interface);
    let path = yaml.lines().find_map(|line| line.trim().strip_prefix("path: ")).unwrap();
    let path: String = serde_json::from_str(path).unwrap();
    let written = folder.path().canonicalize().unwrap().join("my-first");
    let wasm = built(&written, &build, Path::new(&path).strip_prefix(&written).unwrap());
    fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
    fs::write(&path, wasm).unwrap();

    let daemon = start(format!(
        "stores: {{ disk: {{ type: file, path: ./delivered }} }}\n{}    destination:\n      s3: {{ store: disk, bucket: lake, \
         delimiter: newline, buffering: {{ size: 1MiB, interval: 1s }} }}\n",
        yaml.replace('…', "rows")
    ));
    sdk_put(&daemon, "rows", records.iter().map(|record| record.as_bytes().to_vec()));
    let balance = all_settled(&daemon, "rows", SOON);
    assert_eq!(balance.accepted, records.len() as u64);
    let files = files_below(&daemon.dir().join("delivered"));
    let rows: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    rows.lines().map(str::to_owned).collect()
}

const CSV: [&str; 2] = ["Ada,\"London, W1\"", ""];

#[test]
fn a_component_in_rust_builds_and_runs_as_it_was_written() {
    assert_eq!(called("rust", "component", &CSV), [r#"{"name":"Ada","city":"London, W1"}"#]);
}

#[test]
fn a_command_in_rust_builds_and_runs_as_it_was_written() {
    assert_eq!(called("rust", "command", &[r#"{"email":"a@b.c"}"#]), [r#"{"email":"***"}"#]);
}

#[test]
fn a_command_in_go_builds_and_runs_as_it_was_written() {
    assert_eq!(called("go", "command", &CSV), [r#"{"city":"London, W1","name":"Ada"}"#]);
}

#[test]
fn a_component_in_javascript_builds_and_runs_as_it_was_written() {
    let rows = called(
        "javascript",
        "component",
        &[r#"{"app":"a","device":{"os":"x"}}"#, r#"{"app":"a","debug":true}"#],
    );
    assert!(
        rows.len() == 1 && rows[0].starts_with(r#"{"app":"a","device_os":"x","received_at":"20"#),
        "{rows:?}"
    );
}

#[test]
fn a_component_in_python_builds_and_runs_as_it_was_written() {
    let rows = called("python", "component", &[r#"::1 - - [now] "GET / HTTP/1.1" 200 5"#, ""]);
    let row = r#"{"client":"::1","user":"-","at":"now","method":"GET","path":"/","status":200,"bytes":5}"#;
    assert_eq!(rows, [row]);
}

#[test]
fn a_command_in_assembly_script_builds_and_runs_as_it_was_written() {
    assert_eq!(called("assemblyscript", "command", &["card 4111111111111111"]), ["card ****************"]);
}
