//! Runs a function on records.

use std::time::Duration;

use standpipe_model::{Position, Secret, StreamName, Timestamp};
use standpipe_transform::{
    Chain, Failure, FunctionOptions, Record, Sandbox, SandboxOptions, Source, Transformed, WasmFunction,
};

pub(crate) const ARRIVED_MS: u64 = 1_700_000_000_123;

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::open(&SandboxOptions { calls_max: 2, ..SandboxOptions::default() }).unwrap()
}

pub(crate) fn options() -> FunctionOptions {
    let mut options = FunctionOptions::new("f");
    options.arn = "arn:aws:lambda:us-east-1:1:function:f".to_owned();
    options.config.insert("greeting".to_owned(), Secret::new("hello"));
    // Tests run on busy machines.
    options.limits.deadline = Duration::from_secs(20);
    options
}

pub(crate) fn load(wasm: &[u8]) -> WasmFunction {
    sandbox().load(wasm, options()).unwrap()
}

pub(crate) fn source() -> Source {
    Source {
        stream: StreamName::parse("readings").unwrap(),
        stream_arn: "arn:aws:firehose:us-east-1:1:deliverystream/readings".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

/// Records at the positions from 7 on.
pub(crate) fn records(data: &[&str]) -> Vec<Record> {
    let record = |(data, position): (&&str, _)| Record {
        position: Position(position),
        arrived_at: Timestamp(ARRIVED_MS),
        data: data.as_bytes().to_vec().into(),
    };
    data.iter().zip(7..).map(record).collect()
}

/// What becomes of records, and whether the function has stayed pure.
pub(crate) fn run(function: WasmFunction, data: &[&str]) -> (Transformed, bool) {
    let chain = Chain::new(vec![Box::new(function)]);
    let done = chain.run(&source(), &records(data));
    (done, chain.is_pure())
}

/// The rows' data.
pub(crate) fn rows(done: &Transformed) -> Vec<String> {
    done.rows.iter().map(|row| String::from_utf8(row.data.to_vec()).unwrap()).collect()
}

/// The one failure that all of the records have.
pub(crate) fn failure_of_all(done: &Transformed, records: usize) -> Failure {
    assert_eq!((done.rows.len(), done.dropped, done.failures.len()), (0, 0, records), "{done:?}");
    let failure = done.failures[&0].clone();
    assert!(done.failures.values().all(|other| *other == failure), "{done:?}");
    failure
}

/// Checks that a probe which looks around learns the same in every call, and nothing of the machine.
pub(crate) fn learns_nothing(probe: &[u8]) {
    let look = || rows(&run(load(probe), &["look around"]).0).remove(0);
    let seen = look();
    assert_eq!(look(), seen);
    for part in [
        &*format!(r#""wall_ms":{ARRIVED_MS}"#),
        r#""slept_hours":1"#,
        r#""greeting":"hello""#,
        r#""root":false"#,
        r#""file":false"#,
        r#""written":false"#,
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
}
