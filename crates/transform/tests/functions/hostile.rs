//! Guests that want more than they may have: each fails its own call, in the documented way, and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use standpipe_transform::{
    Failure, FunctionOptions, LoadError, Output, Processor as _, Row, Sandbox, SandboxOptions, WasmFunction,
};

use crate::running::{failure_of_all, load, options, records, rows, run, sandbox, source};
use standpipe_testkit::guests::{
    answering, command, component, example, probe_command, probe_component, wat,
};

/// How the calls of a function fail that gets this record.
fn failed(wasm: &[u8], data: &str) -> Failure {
    let (done, pure) = run(load(wasm), &[data]);
    assert!(pure, "the same comes of it every time");
    let failure = failure_of_all(&done, 1);
    assert_eq!((&*failure.code, failure.attempts), ("Lambda.FunctionError", 4), "{failure:?}");
    failure
}

fn quick() -> FunctionOptions {
    let mut options = options();
    options.limits.deadline = Duration::from_millis(50);
    options.retries = 1;
    options
}

#[test]
fn a_trap_is_a_failed_call() {
    let trapping = "(func (export \"_start\") unreachable)";
    for wasm in [command(trapping), component(1, "unreachable")] {
        assert!(failed(&wasm, "x").message.contains("unreachable"));
    }
    assert!(failed(&probe_component(), "panic").message.contains("as it was told"));
}

#[test]
fn an_endless_loop_ends_by_the_deadline_and_is_not_pure() {
    let looping = "(func (export \"_start\") (loop (br 0)))";
    for wasm in [command(looping), component(1, "(loop (br 0)) unreachable")] {
        let began = Instant::now();
        let (done, pure) = run(sandbox().load(&wasm, quick()).unwrap(), &["x", "y"]);
        let failure = failure_of_all(&done, 2);
        assert_eq!((&*failure.code, failure.attempts, pure), ("Lambda.FunctionTimedOut", 2, false));
        assert!(began.elapsed() >= Duration::from_millis(100), "two calls of 50 ms");
    }
}

#[test]
fn a_stack_without_end_is_a_failed_call() {
    let recursive = r#"(func $f (export "_start") (call $f))"#;
    assert!(failed(&command(recursive), "x").message.contains("call stack exhausted"));
    // Theirs is in their memory.
    for wasm in [probe_component(), probe_command()] {
        failed(&wasm, "recurse");
    }
}

#[test]
fn memory_beyond_the_limit_is_a_failed_call() {
    for wasm in [probe_component(), probe_command()] {
        failed(&wasm, "take memory");
    }
    let mut small = options();
    small.limits.memory_bytes = 64 << 10;
    let refused = sandbox().load(&component(2, "unreachable"), small);
    assert!(matches!(refused, Err(LoadError::Start(_))), "{refused:?}");
}

#[test]
fn a_table_beyond_the_limit_does_not_grow() {
    let grow = r#"(table $t 1 funcref) (func (export "_start")
        (if (i32.ne (table.grow $t (ref.null func) (i32.const 200000)) (i32.const -1)) (then (loop (br 0))))
        unreachable)"#;
    assert!(failed(&command(grow), "x").message.contains("unreachable"));
}

#[test]
fn an_answer_that_is_too_large_is_a_failed_call() {
    assert!(failed(&probe_component(), "answer much").message.contains("allowed are 6291456"));
    assert!(failed(&probe_command(), "answer much").message.contains("more than 6291456 bytes"));
}

/// The list of outcomes at 65,536, each `ok` with the same 8 MiB as its data.
const NAMED_OFTEN: &str = r"
    (loop $next
      (i32.store (i32.add (i32.const 65540) (i32.mul (local.get $i) (i32.const 28))) (i32.const 0))
      (i32.store (i32.add (i32.const 65544) (i32.mul (local.get $i) (i32.const 28))) (i32.const 8388608))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $len))))
    (i32.store (i32.const 16) (i32.const 65536))
    (i32.store (i32.const 20) (local.get $len))
    (i32.const 16)";

#[test]
fn an_answer_that_names_the_same_bytes_many_times_takes_no_memory_of_the_host() {
    let data = vec!["x"; 1000];
    // 8 GiB, if it were taken at its word.
    let (done, _) = run(load(&component(200, NAMED_OFTEN)), &data);
    assert_eq!(failure_of_all(&done, 1000).code, "Lambda.FunctionError");
}

#[test]
fn an_answer_outside_of_the_memory_is_a_failed_call() {
    let list =
        "(i32.store (i32.const 16) (i32.const -16)) (i32.store (i32.const 20) (i32.const 9)) (i32.const 16)";
    for answer in ["(i32.const -4)", list] {
        failed(&component(1, answer), "x");
    }
    let write = r#"(func (export "_start")
        (drop (call $write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 8))))"#;
    assert!(failed(&command(write), "x").message.contains("outside of its memory"));
}

#[test]
fn a_wrong_number_of_outcomes_is_a_failed_call() {
    let message = failed(&probe_component(), "one outcome less").message;
    assert!(message.contains("1 records came to 0 outcomes"), "{message}");
}

#[test]
fn a_flood_of_log_lines_costs_only_time() {
    for wasm in [probe_component(), probe_command()] {
        assert_eq!(rows(&run(load(&wasm), &["complain"]).0), ["complained"]);
    }
}

#[test]
fn writing_many_times_the_same_to_the_standard_error_ends_by_the_deadline() {
    // 1,024 vectors of 1 MiB each, again and again.
    let body = r#"(func (export "_start") (local $i i32)
        (loop $fill
          (i32.store (i32.add (i32.const 4) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1048576))
          (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1024))))
        (loop $again
          (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 65536)))
          (br $again)))"#;
    let began = Instant::now();
    let (done, _) = run(sandbox().load(&command(body), quick()).unwrap(), &["x"]);
    assert_eq!(failure_of_all(&done, 1).code, "Lambda.FunctionTimedOut");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn what_is_imported_and_not_given_is_named() {
    let imported = |text: &str| match sandbox().load(&wat(text), options()) {
        Err(LoadError::Import { name }) => name,
        other => panic!("{other:?}"),
    };
    let start = "(func (export \"_start\"))";
    assert_eq!(imported(&format!(r#"(module (import "env" "system" (func)) {start})"#)), "env.system");
    let memory = format!(r#"(module (import "env" "memory" (memory 1)) {start})"#);
    assert_eq!(imported(&memory), "env.memory");
    let sockets = r#"(component (import "wasi:sockets/network@0.2.0" (instance)))"#;
    assert_eq!(imported(sockets), "wasi:sockets/network@0.2.0");
    assert_eq!(imported(r#"(component (import "shell" (func)))"#), "shell");
    // A command has the errors of a machine without files for what it may import.
    let open = r#"(module (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (if (i32.ne (i32.const 52) (call $open (i32.const 3) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0))) (then unreachable))))"#;
    assert_eq!(failure_of_all(&run(load(&wat(open)), &["x"]).0, 1).code, "Lambda.MissingRecordId");
}

#[test]
fn what_does_not_start_is_not_loaded() {
    let refused = |wasm: &[u8]| sandbox().load(wasm, quick()).unwrap_err();
    let looping = wat(r#"(module (func $l (loop (br 0))) (start $l) (func (export "_start")))"#);
    assert!(
        matches!(refused(&looping), LoadError::Start(text) if text == "it takes longer than its deadline")
    );
    let trapping = wat(r#"(module (func $l unreachable) (start $l) (func (export "_start")))"#);
    assert!(matches!(refused(&trapping), LoadError::Start(_)));
    assert!(matches!(refused(b"#!/bin/sh"), LoadError::Invalid(_)));
    assert!(matches!(refused(b""), LoadError::Invalid(_)));
    let mut cut = example("identity");
    cut.truncate(cut.len() / 2);
    assert!(matches!(refused(&cut), LoadError::Invalid(_)));
    let threads = wat(r#"(module (memory 1 1 shared) (func (export "_start")))"#);
    assert!(matches!(refused(&threads), LoadError::Invalid(_)));
}

#[test]
fn nothing_is_kept_from_one_call_to_the_next() {
    // Traps when a global is not as it was at first, or when memory is not zero.
    let body = r#"(global $calls (mut i32) (i32.const 0)) (func (export "_start")
        (if (i32.or (global.get $calls) (i32.load (i32.const 500000))) (then unreachable))
        (global.set $calls (i32.const 1))
        (i32.store (i32.const 500000) (i32.const 1)))"#;
    let function = load(&command(body));
    for _ in 0..5 {
        let out = called(&function);
        assert!(out.contains("MissingRecordId"), "{out}");
    }
}

/// What comes of one record, as text.
fn called(function: &WasmFunction) -> String {
    let (mut out, records) = (Output::default(), records(&["x"]));
    let row = Row::of(0, records[0].data.clone());
    function.process(&source(), &records, vec![row], &mut out);
    format!("{out:?}")
}

#[test]
fn the_memory_that_calls_take_is_told() {
    let function = load(&component(5, "unreachable"));
    assert_eq!(function.memory_bytes(), 0);
    called(&function);
    assert_eq!(function.memory_bytes(), 5 << 16);
}

#[test]
fn functions_that_hang_do_not_keep_others_from_working() {
    let sandbox = Sandbox::open(&SandboxOptions { calls_max: 2, ..SandboxOptions::default() }).unwrap();
    let hanging = command("(func (export \"_start\") (loop (br 0)))");
    let healthy = example("identity");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (hung, _) = run(sandbox.load(&hanging, quick()).unwrap(), &["x"]);
                    assert_eq!(failure_of_all(&hung, 1).code, "Lambda.FunctionTimedOut");
                }
            });
        }
        for _ in 0..5 {
            let function = sandbox.load(&healthy, options()).unwrap();
            assert_eq!(rows(&run(function, &["well"]).0), ["well"]);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn functions_that_hang_take_one_place_together() {
    let sandbox = Sandbox::open(&SandboxOptions { calls_max: 4, ..SandboxOptions::default() }).unwrap();
    let hanging = command("(func (export \"_start\") (loop (br 0)))");
    let mut options = quick();
    options.retries = 3;
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..3 {
            let function = sandbox.load(&hanging, options.clone()).unwrap();
            scope.spawn(move || failure_of_all(&run(function, &["x"]).0, 1));
        }
    });
    // The first calls at once, then three of each one after the other; side by side it would be 200 ms.
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
}

#[test]
fn a_failed_call_fails_only_its_own_batch() {
    let mut options = options();
    options.batch_bytes = 5;
    options.retries = 0;
    let function = sandbox().load(&probe_component(), options).unwrap();
    let (done, _) = run(function, &["first", "panic", "third"]);
    assert_eq!(rows(&done), ["first", "third"]);
    assert_eq!(done.failures[&1].attempts, 1);
}

#[test]
fn an_empty_chunk_makes_no_call() {
    let (done, _) = run(load(&answering("not read")), &[]);
    assert!(done.rows.is_empty() && done.failures.is_empty());
}
