//! Functions for tests: compiled from Rust once per test run, or written as text.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a guest that cannot be made fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Builds of one crate may not overlap.
static BUILDING: Mutex<()> = Mutex::new(());

/// Where Cargo keeps what tests make: in the target folder that this program lies in.
fn target_tmp() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap().join("tmp")
}

/// Where functions in Rust are built, all of them, so that they share what they depend on.
fn cargo_target() -> PathBuf {
    target_tmp().join("guests")
}

/// Runs a toolchain until it succeeds, three times at most, as it may download packages.
fn run(toolchain: &mut Command) {
    let _one = BUILDING.lock().unwrap();
    toolchain.env("CARGO_TARGET_DIR", cargo_target()).stdout(Stdio::null());
    // What is set for the daemon's own build.
    toolchain.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!((0..3).any(|_| toolchain.status().unwrap().success()), "{toolchain:?}");
}

/// Builds a guest and gives the file's bytes.
fn build(folder: &str, target: &str, what: &[&str], file: &str) -> Vec<u8> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--locked", "--quiet", "--target", target]).args(what);
    run(cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)));
    fs::read(cargo_target().join(target).join("release").join(file)).unwrap()
}

/// Runs the commands of a shell in a folder and gives the file that they make there.
pub fn built(folder: &Path, commands: &str, file: &Path) -> Vec<u8> {
    run(Command::new("sh").args(["-ec", commands]).current_dir(folder));
    let file = match file.strip_prefix("target") {
        Ok(file) => cargo_target().join(file),
        Err(_) => folder.join(file),
    };
    fs::read(file).unwrap()
}

/// The example in Rust of that name, as a component.
pub fn example(name: &str) -> Vec<u8> {
    let file = format!("{}.wasm", name.replace('-', "_"));
    build("../../examples/transforms/rust", "wasm32-wasip2", &["--package", name], &file)
}

/// The example of a Lambda function that was ported, as a command.
pub fn redact_lambda() -> Vec<u8> {
    build(
        "../../examples/transforms/rust",
        "wasm32-wasip1",
        &["--package", "redact-lambda"],
        "redact-lambda.wasm",
    )
}

/// A guest that does as its records say, as a component; see `crates/transform/tests/guests/`.
pub fn probe_component() -> Vec<u8> {
    build("../transform/tests/guests", "wasm32-wasip2", &["--lib"], "probe.wasm")
}

/// The same as a command.
pub fn probe_command() -> Vec<u8> {
    build("../transform/tests/guests", "wasm32-wasip1", &["--bins"], "probe-command.wasm")
}

/// Runs commands in a folder of the build's own with the example's sources in it, and gives what they made.
fn make(example: &str, file: &str, commands: &str) -> Vec<u8> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/transforms").join(example);
    let into = target_tmp().join(example);
    fs::create_dir_all(&into).unwrap();
    for source in fs::read_dir(&from).unwrap().map(|source| source.unwrap()) {
        if source.file_type().unwrap().is_file() {
            fs::copy(source.path(), into.join(source.file_name())).unwrap();
        }
    }
    built(&into, commands, Path::new(file))
}

/// The example in Go of that name.
pub fn go(name: &str) -> Vec<u8> {
    let file = format!("{name}.wasm");
    make(&format!("go/{name}"), &file, &format!("GOOS=wasip1 GOARCH=wasm go build -o {file}"))
}

/// What components in other languages than Rust are made against, as a folder beside them.
fn with_wit(build: &str) -> String {
    format!("ln -sfn '{}/../transform/wit' wit\n{build}", env!("CARGO_MANIFEST_DIR"))
}

/// The example in JavaScript of that name.
pub fn javascript(name: &str) -> Vec<u8> {
    let build = "npm ci --prefer-offline --no-audit --no-fund --silent && npm run build --silent";
    make(&format!("javascript/{name}"), &format!("build/{name}.wasm"), &with_wit(build))
}

/// The example in Python of that name.
pub fn python(name: &str) -> Vec<u8> {
    let file = format!("{name}.wasm");
    let build = format!(
        "python3 -m venv .venv\n.venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt\n\
         .venv/bin/componentize-py -d wit -w transform componentize --stub-wasi app -o {file}"
    );
    make(&format!("python/{name}"), &file, &with_wit(&build))
}

/// The example in AssemblyScript of that name.
pub fn assembly_script(name: &str) -> Vec<u8> {
    let commands = "npm ci --prefer-offline --no-audit --no-fund --silent && npm run build --silent";
    make(&format!("assemblyscript/{name}"), &format!("build/{name}.wasm"), commands)
}

/// WebAssembly's text format as a file.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A command that writes this and nothing else.
pub fn answering(answer: &str) -> Vec<u8> {
    let (text, len) = (answer.escape_debug(), answer.len());
    command(&format!(
        r#"(data (i32.const 64) "{text}")
           (func (export "_start")
             (i32.store (i32.const 0) (i32.const 64))
             (i32.store (i32.const 4) (i32.const {len}))
             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#
    ))
}

/// A command with a memory and the function `$write`.
pub fn command(body: &str) -> Vec<u8> {
    wat(&format!(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 16)
             {body})"#
    ))
}

/// A component whose `process` has this body: it gets the batch's address and length, and gives the address of the
/// answer's.
pub fn component(pages: u32, body: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
             (import "standpipe:transform/types@1.0.0" (instance $types
               (type $record (record
                 (field "id" string) (field "data" (list u8)) (field "arrived-at" u64) (field "stream" string)
                 (field "source-metadata" (list (tuple string string)))))
               (export "record" (type (eq $record)))
               (type $transformed (record
                 (field "data" (list u8)) (field "partition-keys" (list (tuple string string)))
                 (field "headers" (list (tuple string string)))))
               (export "transformed" (type $t (eq $transformed)))
               (type $outcome (variant (case "ok" $t) (case "dropped") (case "failed" string)))
               (export "outcome" (type (eq $outcome)))))
             (alias export $types "record" (type $record))
             (alias export $types "outcome" (type $outcome))
             (core module $m
               (memory (export "memory") {pages})
               (global $free (mut i32) (i32.const 1024))
               (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                 (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                 (global.get $free)
                 (global.set $free (i32.add (global.get $free) (local.get 3))))
               (func (export "process") (param $batch i32) (param $len i32) (result i32) (local $i i32) {body}))
             (core instance $i (instantiate $m))
             (func (export "process") (param "batch" (list $record)) (result (list $outcome))
               (canon lift (core func $i "process") (memory (core memory $i "memory"))
                 (realloc (core func $i "cabi_realloc")))))"#
    ))
}

/// A component that makes these eight letters of every record.
pub fn saying(word: &str) -> Vec<u8> {
    saying_after(0, word)
}

/// The same with a loop of so many rounds in each call: some hundred millions take a second.
pub fn saying_after(rounds: u64, word: &str) -> Vec<u8> {
    let letters = u64::from_le_bytes(word.as_bytes().try_into().unwrap());
    component(
        64,
        &format!(
            r"(local $round i64)
              (loop $wait
                (br_if $wait (i64.lt_u (local.tee $round (i64.add (local.get $round) (i64.const 1))) (i64.const {rounds}))))
              (i64.store (i32.const 32) (i64.const {letters}))
              (loop $next
                (i32.store (i32.add (i32.const 2097156) (i32.mul (local.get $i) (i32.const 28))) (i32.const 32))
                (i32.store (i32.add (i32.const 2097160) (i32.mul (local.get $i) (i32.const 28))) (i32.const 8))
                (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $len))))
              (i32.store (i32.const 16) (i32.const 2097152))
              (i32.store (i32.const 20) (local.get $len))
              (i32.const 16)"
        ),
    )
}
