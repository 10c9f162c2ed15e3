//! What a daemon delivers to each kind of destination, and who is busy meanwhile: the daemon, or whoever takes it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;
use standpipe_testkit::servers::{Iceberg, OpenSearch, Postgres, Versitygw};
use standpipe_testkit::{Daemon, cache};

use crate::discard::{self, Pretend};
use crate::formats::FLIGHTS;
use crate::process::{busy_seconds, cpu_seconds};
use crate::records::STREAM as BUCKET;
use crate::target::{sum, with_bucket};

/// The stream, and the table and the index that it goes to.
const STREAM: &str = "flights";
/// How long everything may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// What came of one destination.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Delivered {
    pub(crate) to: &'static str,
    pub(crate) records_per_s: f64,
    /// Of record data.
    pub(crate) mb_per_s: f64,
    /// Processor seconds for a GB of record data.
    pub(crate) daemon_cpu_s_per_gb: f64,
    /// The same of everything else on the machine: the server above all.
    pub(crate) others_cpu_s_per_gb: f64,
    /// How many processors were busy on average.
    pub(crate) busy: f64,
}

/// A destination with the server behind it, which ends when this is dropped.
struct Case {
    to: &'static str,
    /// Its store in YAML's flow style, where it is one.
    store: Option<String>,
    /// The catalog that has its table, where it is one.
    catalog: Option<String>,
    /// The `destination`, likewise.
    destination: String,
    mib: usize,
    _server: Option<Box<dyn Send>>,
}

/// Puts so many MiB of the demo's flights for each destination, and waits until they are there; a search engine gets an eighth.
///
/// # Errors
/// When a server or the daemon does not start, or a record is not delivered.
pub(crate) fn measure(binary: &Path, mib: usize) -> Result<Vec<Delivered>> {
    type Start = fn(usize) -> Result<Case>;
    let all: [Start; 7] = [folder, s3, iceberg, http, splunk, postgres, opensearch];
    all.into_iter().map(|start| deliver(binary, &start(mib)?)).collect()
}

fn deliver(binary: &Path, case: &Case) -> Result<Delivered> {
    let dir = cache::run_dir("destinations")?;
    let daemon = Daemon::start(
        binary,
        format!(
            "stores:\n  folder: {{ type: file, path: {} }}\n{}{}default_store: folder\nstreams:\n  - name: {STREAM}\n    \
             destination: {}\n",
            dir.join("folder").display(),
            case.store.as_ref().map_or(String::new(), |store| format!("  store: {store}\n")),
            case.catalog.as_ref().map_or(String::new(), |uri| {
                format!("catalogs: {{ iceberg: {{ uri: \"{uri}\", refresh: 1s }} }}\n")
            }),
            case.destination
        ),
    )?;
    let (input, lines, bytes) = input(&dir, case.mib)?;
    let cpu = || Ok::<_, anyhow::Error>((cpu_seconds(daemon.pid())?, busy_seconds()?));
    let (began, before) = (Instant::now(), cpu()?);
    put_lines(binary, &daemon, STREAM, &input)?;
    wait_delivered(&daemon, lines, began)?;
    let (seconds, after) = (began.elapsed().as_secs_f64(), cpu()?);
    let (own, all) = (after.0 - before.0, after.1 - before.1);
    drop(daemon);
    fs::remove_dir_all(&dir)?;
    let gb = bytes as f64 / 1e9;
    Ok(Delivered {
        to: case.to,
        records_per_s: lines as f64 / seconds,
        mb_per_s: gb * 1e3 / seconds,
        daemon_cpu_s_per_gb: own / gb,
        others_cpu_s_per_gb: (all - own) / gb,
        busy: all / seconds,
    })
}

/// Waits until so many records are delivered, for [`PATIENCE`] since everything began.
///
/// # Errors
/// When they are not, or some went to the error output.
pub(crate) fn wait_delivered(daemon: &Daemon, records: usize, began: Instant) -> Result<()> {
    loop {
        let metrics = daemon.get("/metrics")?.body;
        if sum(&metrics, "standpipe_records_delivered_total") >= records as f64 {
            return Ok(());
        }
        let aside = sum(&metrics, "standpipe_records_backed_up_total");
        ensure!(aside == 0.0, "{aside} records went to the error output");
        ensure!(began.elapsed() < PATIENCE, "not everything was delivered: {}", daemon.log());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A file of so many MiB, how many lines it has, and how many bytes of records.
fn input(dir: &Path, mib: usize) -> Result<(PathBuf, usize, usize)> {
    let once = fs::read(FLIGHTS).context("read the flights")?;
    let path = dir.join("input.ndjson");
    let times = (mib << 20).div_ceil(once.len());
    let mut file = File::create(&path)?;
    (0..times).try_for_each(|_| file.write_all(&once))?;
    let lines = once.iter().filter(|byte| **byte == b'\n').count();
    Ok((path, lines * times, (once.len() - lines) * times))
}

/// Puts the lines of a file with the daemon's own command.
///
/// # Errors
/// When some of them were not taken.
pub(crate) fn put_lines(binary: &Path, daemon: &Daemon, stream: &str, input: &Path) -> Result<()> {
    let mut put = Command::new(binary);
    put.args(["put", "--endpoint", &daemon.endpoint(), "--stream", stream]).arg(input);
    put.env("STANDPIPE_ACCESS_KEY_ID", Daemon::ACCESS_KEY_ID);
    put.env("STANDPIPE_SECRET_ACCESS_KEY", Daemon::SECRET_ACCESS_KEY);
    let output = put.output()?;
    ensure!(output.status.success(), "{} could not be put: {output:?}", input.display());
    Ok(())
}

/// An endpoint, which has its errors in the store.
fn endpoint(kind: &str, settings: &str) -> String {
    format!(
        "{{ {kind}: {{ {settings}, buffering: {{ size: 5MiB, interval: 1s }}, error_output: {{ bucket: errors }} }} }}"
    )
}

/// Objects in a store.
fn objects(store: &str) -> String {
    format!(
        "{{ s3: {{ store: {store}, bucket: {BUCKET}, compression: gzip, delimiter: newline, buffering: {{ interval: 1s }} }} }}"
    )
}

fn folder(mib: usize) -> Result<Case> {
    let destination = objects("folder");
    Ok(Case { to: "folder, gzip", store: None, catalog: None, destination, mib, _server: None })
}

fn s3(mib: usize) -> Result<Case> {
    let server = Versitygw::start()?;
    let store = Some(with_bucket(server.access())?.store_yaml());
    Ok(Case {
        to: "versitygw, gzip",
        store,
        catalog: None,
        destination: objects("store"),
        mib,
        _server: Some(Box::new(server)),
    })
}

fn iceberg(mib: usize) -> Result<Case> {
    let server = Versitygw::start()?;
    let store = Some(with_bucket(server.access())?.store_yaml());
    let catalog = Iceberg::start(server.access(), BUCKET)?;
    catalog.create_namespace("lake")?;
    let columns = [
        ("carrier", json!("string")),
        ("flight", json!("int")),
        ("origin", json!("string")),
        ("dest", json!("string")),
        ("distance", json!("int")),
        ("time_hour", json!("timestamp")),
    ];
    catalog.create_table("lake", STREAM, &columns.map(|(name, form)| (name, false, form)))?;
    let destination = format!(
        "{{ iceberg: {{ database: lake, table: {STREAM}, buffering: {{ interval: 1s }}, error_output: {{ store: store, \
         bucket: {BUCKET} }} }} }}"
    );
    let to = "Iceberg, 6 columns, over versitygw";
    let catalog_uri = Some(catalog.endpoint());
    Ok(Case { to, store, catalog: catalog_uri, destination, mib, _server: Some(Box::new((server, catalog))) })
}

fn http(mib: usize) -> Result<Case> {
    let url = discard::start(Pretend::Endpoint)?;
    let destination = endpoint("http", &format!("url: \"{url}\", gzip: true"));
    Ok(Case {
        to: "HTTP endpoint (discards), gzip",
        store: None,
        catalog: None,
        destination,
        mib,
        _server: None,
    })
}

fn splunk(mib: usize) -> Result<Case> {
    let url = discard::start(Pretend::Hec)?;
    let settings =
        format!("url: \"{url}\", endpoint: raw, acknowledgement: false, token: {}", "0".repeat(36));
    Ok(Case {
        to: "Splunk (discards), raw",
        store: None,
        catalog: None,
        destination: endpoint("splunk", &settings),
        mib,
        _server: None,
    })
}

fn postgres(mib: usize) -> Result<Case> {
    let server = Postgres::start()?;
    server.sql(
        "postgres",
        "CREATE ROLE loader LOGIN PASSWORD 'loader-secret'; GRANT CREATE ON SCHEMA public TO loader; CREATE TABLE flights \
         (carrier text, flight int, origin text, dest text, distance int, time_hour timestamptz); GRANT INSERT ON \
         flights TO loader",
    )?;
    let settings = format!(
        "host: localhost, port: {}, database: postgres, user: loader, password: loader-secret, tls: {{ mode: disable }}, \
         table: flights, columns: {{ carrier: .carrier, flight: .flight, origin: .origin, dest: .dest, distance: .distance, \
         time_hour: .time_hour }}",
        server.port()
    );
    let destination = endpoint("postgres", &settings);
    Ok(Case {
        to: "PostgreSQL, 6 columns",
        store: None,
        catalog: None,
        destination,
        mib,
        _server: Some(Box::new(server)),
    })
}

fn opensearch(mib: usize) -> Result<Case> {
    let server = OpenSearch::start(&[])?;
    let destination =
        endpoint("opensearch", &format!("endpoints: [ \"{}\" ], index: flights", server.endpoint()));
    let mib = mib.div_ceil(8);
    Ok(Case {
        to: "OpenSearch, one node",
        store: None,
        catalog: None,
        destination,
        mib,
        _server: Some(Box::new(server)),
    })
}
