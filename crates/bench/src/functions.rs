//! Functions in the sandbox against the same work done natively, by the same code where the guest is in Rust: what the
//! sandbox costs.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use standpipe_model::{Position, Secret, StreamName, Timestamp};
use standpipe_testkit::guests;
use standpipe_transform::{
    Chain, FunctionOptions, Output, Processor, Record, Row, Sandbox, SandboxOptions, Source, Table,
    TableFormat,
};

#[path = "../../../examples/transforms/rust/csv-to-json/src/line.rs"]
#[allow(missing_docs, unreachable_pub, reason = "an example's own file")]
mod line;
#[path = "../../../examples/transforms/rust/enrich/src/reading.rs"]
#[allow(missing_docs, unreachable_pub, reason = "an example's own file")]
mod reading;

/// A call's records: 1 MiB of 1 KiB each.
const RECORDS: usize = 1024;
const RECORD_BYTES: usize = 1024;
const DEVICES: usize = 1000;
const COLUMNS: usize = 16;
/// The best of so many looks counts, so that a busy machine shows little.
const LOOKS: u32 = 60;
const LOOK: Duration = Duration::from_millis(30);

/// A function, or its native counterpart.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FunctionRun {
    pub(crate) job: &'static str,
    pub(crate) by: &'static str,
    pub(crate) us_per_record: f64,
    /// How much longer it takes than natively.
    pub(crate) of_native: f64,
    pub(crate) records_per_s: f64,
    /// With a thread for each core.
    pub(crate) records_per_s_all_cores: f64,
}

struct Case {
    job: &'static str,
    records: Vec<Record>,
    native: Chain,
    guests: Vec<(&'static str, Chain)>,
}

/// Measures identity, CSV to JSON and enrichment.
///
/// # Errors
/// When a guest does not load, or does something else than its native counterpart.
pub(crate) fn measure() -> Result<Vec<FunctionRun>> {
    let cores = thread::available_parallelism()?.get();
    let sandbox = Sandbox::open(&SandboxOptions::default())?;
    let mut runs = Vec::new();
    for case in [identity(&sandbox)?, csv_object_of(&sandbox)?, enrich(&sandbox)?] {
        let mut native_us = None;
        let expected = case.native.run(&source(), &case.records).rows.len();
        for (by, chain) in std::iter::once(&("native", case.native)).chain(&case.guests) {
            let done = chain.run(&source(), &case.records);
            ensure!(
                done.rows.len() == expected,
                "{} by {by}: {:?}",
                case.job,
                done.failures.first_key_value()
            );
            let records_per_s = rate(chain, &case.records, 1);
            let us_per_record = 1e6 / records_per_s;
            runs.push(FunctionRun {
                job: case.job,
                by,
                us_per_record,
                of_native: us_per_record / *native_us.get_or_insert(us_per_record),
                records_per_s,
                records_per_s_all_cores: rate(chain, &case.records, cores),
            });
        }
    }
    Ok(runs)
}

/// Records a second of so many threads.
fn rate(chain: &Chain, records: &[Record], threads: usize) -> f64 {
    let look = || {
        let began = Instant::now();
        let mut calls = 0_u32;
        while began.elapsed() < LOOK {
            std::hint::black_box(chain.run(&source(), std::hint::black_box(records)));
            calls += 1;
        }
        f64::from(calls) * records.len() as f64 / began.elapsed().as_secs_f64()
    };
    let looks = (0..LOOKS).map(|_| {
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(look)).collect();
            look() + others.into_iter().filter_map(|other| other.join().ok()).sum::<f64>()
        })
    });
    looks.fold(0.0, f64::max)
}

fn source() -> Source {
    Source {
        stream: StreamName::parse("bench").expect("it is a name"),
        stream_arn: "arn:aws:firehose:us-east-1:1:deliverystream/bench".to_owned(),
        region: "us-east-1".to_owned(),
    }
}

/// Records with a text each, by number.
fn records(text: impl Fn(usize) -> String) -> Vec<Record> {
    let record = |number: usize| Record {
        position: Position(1_000_000 + number as u64),
        arrived_at: Timestamp(1_700_000_000_000 + number as u64),
        data: text(number).into(),
    };
    (0..RECORDS).map(record).collect()
}

/// The same work without a sandbox.
struct Native<F>(F);

impl<F> std::fmt::Debug for Native<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Native")
    }
}

impl<F: Fn(Vec<Row>, &mut Output) + Send + Sync> Processor for Native<F> {
    fn process(&self, _: &Source, _: &[Record], rows: Vec<Row>, out: &mut Output) {
        (self.0)(rows, out);
    }
}

fn native(work: impl Fn(Vec<Row>, &mut Output) + Send + Sync + 'static) -> Chain {
    Chain::new(vec![Box::new(Native(work))])
}

fn guest(sandbox: &Sandbox, wasm: &[u8], options: FunctionOptions) -> Result<Chain> {
    Ok(Chain::new(vec![Box::new(sandbox.load(wasm, options)?)]))
}

fn identity(sandbox: &Sandbox) -> Result<Case> {
    Ok(Case {
        job: "identity",
        records: records(|number| format!("{number:0RECORD_BYTES$}")),
        native: native(|rows, out| {
            for row in rows {
                let copy = row.data.to_vec();
                out.keep(row.with_data(copy));
            }
        }),
        guests: vec![(
            "component, Rust",
            guest(sandbox, &guests::example("identity"), FunctionOptions::new("identity"))?,
        )],
    })
}

fn csv_object_of(sandbox: &Sandbox) -> Result<Case> {
    let columns: Vec<String> = (0..COLUMNS).map(|number| format!("column_{number}")).collect();
    let columns = columns.join(",");
    let field = |number: usize, column: usize| match column % 2 {
        0 => format!("{:0width$}", number * column, width = RECORD_BYTES / COLUMNS - 1),
        _ => format!("\"{:0width$},\"\"\"", number * column, width = RECORD_BYTES / COLUMNS - 6),
    };
    let line = |number| (0..COLUMNS).map(|column| field(number, column)).collect::<Vec<_>>().join(",");
    let mut options = FunctionOptions::new("csv-to-json");
    options.config.insert("COLUMNS".to_owned(), Secret::new(columns.clone()));
    options.limits.deadline = Duration::from_mins(1);
    let native = native(move |rows, out| {
        let mut lines = line::Lines::new(&columns);
        for row in rows {
            if let Ok(Some(object)) = lines.object_of(&row.data) {
                out.keep(row.with_data(object));
            }
        }
    });
    let component = guest(sandbox, &guests::example("csv-to-json"), options.clone())?;
    let command = guest(sandbox, &guests::go("csv-to-json"), options)?;
    let guests = vec![("component, Rust", component), ("command, Go", command)];
    Ok(Case { job: "csv to json", records: records(line), native, guests })
}

fn enrich(sandbox: &Sandbox) -> Result<Case> {
    let name = |number: usize| format!("device-{}", number % DEVICES);
    let site = |number: usize| format!("site-{}", number % 50);
    let mut table = String::from("device,site,model,retired\n");
    for number in 0..DEVICES {
        table.push_str(&format!("{},{},model {},false\n", name(number), site(number), number % 7));
    }
    let columns = ["device", "site", "model", "retired"].map(str::to_owned);
    let rows_by_device: HashMap<String, Vec<(String, String)>> = table
        .lines()
        .skip(1)
        .map(|line| {
            let row: Vec<_> = columns.iter().cloned().zip(line.split(',').map(str::to_owned)).collect();
            (row[0].1.clone(), row)
        })
        .collect();
    let mut options = FunctionOptions::new("enrich");
    options.tables = vec![Arc::new(Table::read("devices", TableFormat::Csv, "device", table.as_bytes())?)];
    let native = native(move |rows, out| {
        for mut row in rows {
            let Ok(reading) = reading::Reading::parse(&row.data) else { continue };
            let Some(columns) = rows_by_device.get(&reading.device) else { continue };
            row.function_keys.insert("device".to_owned(), reading.device.clone());
            let data = reading.with(columns);
            out.keep(row.with_data(data));
        }
    });
    let records = records(|number| {
        let members: String = (0..14)
            .map(|member| {
                format!(
                    r#","measure_{member}":{}.{:02},"unit_{member}":"metres per second""#,
                    number * member,
                    member
                )
            })
            .collect();
        let text = format!(r#"{{"device":"{}","at":"2026-11-21T10:00:00Z"{members},"note":""#, name(number));
        let rest = RECORD_BYTES.saturating_sub(text.len() + 2);
        format!("{text}{:x<rest$}\"}}", "")
    });
    let len = records.first().context("there are records")?.data.len();
    ensure!(len == RECORD_BYTES, "a reading has {len} bytes");
    let component = guest(sandbox, &guests::example("enrich"), options)?;
    Ok(Case { job: "enrich", records, native, guests: vec![("component, Rust", component)] })
}
