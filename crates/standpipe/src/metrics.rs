//! The daemon's metrics in the OpenMetrics text format.
//!
//! What happened in this process is counted here. What must balance (accepted, delivered, dropped, backed up, lost, in
//! the journal) is not counted twice: it is read from the journals' own state when someone asks, so that it survives a
//! restart as the records do.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use standpipe_ingest::{Answered, HandshakeResult, Limit, Observer, Throttled};
use standpipe_journal::keys::{KeyTrouble, TroubleKind};
use standpipe_journal::{Kept, SyncObserver};
use standpipe_model::{DestinationId, StreamName, Tally};
use standpipe_transform::{CallObserver, Called};

use crate::alarm::Alarm;

/// Bounds of the latency histograms, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Labels of what belongs to a stream's destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Line {
    stream: String,
    destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LineKind {
    stream: String,
    destination: String,
    /// A class of attempts or a close reason, by the metric.
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LineCode {
    stream: String,
    destination: String,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamOnly {
    stream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamKind {
    stream: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindOnly {
    kind: &'static str,
}

/// What a limit belongs to: a credential's user, a stream, or an operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitOf {
    kind: &'static str,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionOnly {
    function: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionCode {
    function: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyResult {
    key: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableResult {
    table: String,
    kind: &'static str,
}

/// What is counted while the daemon runs.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    put_records: Counter,
    put_bytes: Counter,
    put_seconds: Histogram,
    handshakes: Family<KindOnly, Counter>,
    throttled_requests: Family<LimitOf, Counter>,
    throttled_records: Family<LimitOf, Counter>,
    sync_seconds: Histogram,
    sync_bytes: Counter,
    attempts: Family<LineKind, Counter>,
    errors: Family<LineCode, Counter>,
    failed: Family<LineCode, Counter>,
    batches: Family<LineKind, Counter>,
    object_bytes: Family<Line, Counter>,
    partitions: Family<Line, Gauge>,
    partition_refusals: Family<Line, Counter>,
    keys_left_out: Family<Line, Counter>,
    attempt_seconds: Histogram,
    discarded: Family<StreamOnly, Counter>,
    redriven: Family<StreamOnly, Counter>,
    replayed: Family<StreamOnly, Counter>,
    key_checks: Family<KeyResult, Counter>,
    table_reads: Family<TableResult, Counter>,
    function_calls: Family<FunctionCode, Counter>,
    function_seconds: Family<FunctionOnly, Histogram, fn() -> Histogram>,
    function_memory: Family<FunctionOnly, Gauge<u64, AtomicU64>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("standpipe");
        let seconds = || Histogram::new(SECONDS);
        let metrics = Self {
            requests: Family::default(),
            put_records: Counter::default(),
            put_bytes: Counter::default(),
            put_seconds: seconds(),
            handshakes: Family::default(),
            throttled_requests: Family::default(),
            throttled_records: Family::default(),
            sync_seconds: seconds(),
            sync_bytes: Counter::default(),
            attempts: Family::default(),
            errors: Family::default(),
            failed: Family::default(),
            batches: Family::default(),
            object_bytes: Family::default(),
            partitions: Family::default(),
            partition_refusals: Family::default(),
            keys_left_out: Family::default(),
            attempt_seconds: seconds(),
            discarded: Family::default(),
            redriven: Family::default(),
            replayed: Family::default(),
            key_checks: Family::default(),
            table_reads: Family::default(),
            function_calls: Family::default(),
            function_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            function_memory: Family::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        metrics.register_puts(r);
        metrics.register_deliveries(r);
        metrics.register_functions(r);
        r.register(
            "tls_handshakes",
            "TLS handshakes by how they ended: ok, timeout, closed, plain, certificate, failed",
            metrics.handshakes.clone(),
        );
        r.register(
            "journal_sync_seconds",
            "Time of a group commit: one write and one fdatasync. If it rises, the disk is the limit",
            metrics.sync_seconds.clone(),
        );
        r.register(
            "journal_written_bytes",
            "Bytes written to journals, frames included",
            metrics.sync_bytes.clone(),
        );
        r.register(
            "key_checks",
            "Checks of keys that streams are encrypted with, by how they ended",
            metrics.key_checks.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    fn register_deliveries(&self, r: &mut Registry) {
        r.register("delivery_attempts", "Attempts by class: ok, or what the error asks for (transient, throttled, refused, misconfigured)", self.attempts.clone());
        r.register(
            "delivery_errors",
            "Events of the error log, by code: attempts that failed, and batches with records that failed so",
            self.errors.clone(),
        );
        r.register("records_failed", "Records that went to the error output, by code", self.failed.clone());
        r.register(
            "delivery_batches",
            "Batches closed, by reason: size, age, pressure, drain",
            self.batches.clone(),
        );
        r.register(
            "delivery_object_bytes",
            "Bytes of delivered objects, after compression (AWS: DeliveryToS3.Bytes)",
            self.object_bytes.clone(),
        );
        r.register(
            "partitions",
            "Partitions of the latest window (AWS: PartitionCount)",
            self.partitions.clone(),
        );
        r.register(
            "partition_limit_records",
            "Records that failed for the limit of active partitions (AWS: PartitionCountExceeded)",
            self.partition_refusals.clone(),
        );
        r.register(
            "schema_keys_left_out",
            "How often a key was left out of an inferred schema that has all the columns it may have",
            self.keys_left_out.clone(),
        );
        r.register("delivery_attempt_seconds", "Time of a delivery attempt", self.attempt_seconds.clone());
        r.register(
            "records_discarded",
            "Records that a deleted stream had not delivered; they are in the trash for seven days",
            self.discarded.clone(),
        );
        r.register(
            "records_redriven",
            "Records of the error output that were put again",
            self.redriven.clone(),
        );
        r.register(
            "records_replayed",
            "Records that replays have given a fate once more",
            self.replayed.clone(),
        );
    }

    fn register_functions(&self, r: &mut Registry) {
        r.register(
            "table_reads",
            "Reads of tables that had changed, without a reload, by how they ended: ok, refused, failed",
            self.table_reads.clone(),
        );
        r.register(
            "function_calls",
            "Calls of functions by how they ended: OK, or the code of the error output (AWS: ExecuteProcessing.Success)",
            self.function_calls.clone(),
        );
        r.register(
            "function_call_seconds",
            "Time of a call (AWS: ExecuteProcessing.Duration)",
            self.function_seconds.clone(),
        );
        r.register(
            "function_memory_bytes",
            "The most memory that a call has taken",
            self.function_memory.clone(),
        );
    }

    fn register_puts(&self, r: &mut Registry) {
        r.register("ingest_requests", "API requests by operation and error code (OK for a success). Codes other than OK are the refusals, by reason", self.requests.clone());
        r.register(
            "ingest_records",
            "Records accepted by puts (AWS: IncomingRecords)",
            self.put_records.clone(),
        );
        r.register(
            "ingest_bytes",
            "Data bytes of the records accepted by puts (AWS: IncomingBytes)",
            self.put_bytes.clone(),
        );
        r.register("ingest_put_seconds", "Time from a put's head to its answer", self.put_seconds.clone());
        r.register(
            "ingest_throttled_requests",
            "Requests refused by a configured limit, by whose it is: credential, stream, operation",
            self.throttled_requests.clone(),
        );
        r.register(
            "ingest_throttled_records",
            "Records of puts refused by a configured limit, by whose it is (AWS: ThrottledRecords)",
            self.throttled_records.clone(),
        );
    }
}

fn line(stream: &StreamName, destination: &DestinationId) -> Line {
    Line { stream: stream.to_string(), destination: destination.to_string() }
}

impl Metrics {
    /// An attempt ended; `class` is `ok` or the error's class.
    pub(crate) fn attempted(
        &self,
        stream: &StreamName,
        destination: &DestinationId,
        class: &'static str,
        took: Duration,
    ) {
        let Line { stream, destination } = line(stream, destination);
        self.attempts.get_or_create(&LineKind { stream, destination, kind: class }).inc();
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// Something failed with a code: an attempt (of no records), or records for good.
    pub(crate) fn failed(&self, stream: &StreamName, destination: &DestinationId, code: &str, records: u64) {
        let Line { stream, destination } = line(stream, destination);
        let of = LineCode { stream, destination, code: code.to_owned() };
        self.errors.get_or_create(&of).inc();
        if records > 0 {
            self.failed.get_or_create(&of).inc_by(records);
        }
    }

    /// A batch was closed.
    pub(crate) fn closed(&self, stream: &StreamName, destination: &DestinationId, reason: &'static str) {
        let Line { stream, destination } = line(stream, destination);
        self.batches.get_or_create(&LineKind { stream, destination, kind: reason }).inc();
    }

    /// An object was delivered.
    pub(crate) fn delivered(&self, stream: &StreamName, destination: &DestinationId, bytes: u64) {
        self.object_bytes.get_or_create(&line(stream, destination)).inc_by(bytes);
    }

    /// A window was sorted into partitions; `beyond_limit` of its records would have needed more than are allowed.
    pub(crate) fn partitioned(
        &self,
        stream: &StreamName,
        destination: &DestinationId,
        partitions: usize,
        beyond_limit: u64,
    ) {
        let line = line(stream, destination);
        self.partitions.get_or_create(&line).set(i64::try_from(partitions).unwrap_or(i64::MAX));
        self.partition_refusals.get_or_create(&line).inc_by(beyond_limit);
    }

    /// So often keys of a batch were left out of the schema that is inferred.
    pub(crate) fn keys_left_out(&self, stream: &StreamName, destination: &DestinationId, times: u64) {
        self.keys_left_out.get_or_create(&line(stream, destination)).inc_by(times);
    }

    /// A stream was deleted with records that it had not delivered.
    pub(crate) fn discarded(&self, stream: &StreamName, records: u64) {
        self.discarded.get_or_create(&StreamOnly { stream: stream.to_string() }).inc_by(records);
    }

    /// Records of a stream's error output were put again.
    pub(crate) fn redriven(&self, stream: &StreamName, records: u64) {
        self.redriven.get_or_create(&StreamOnly { stream: stream.to_string() }).inc_by(records);
    }

    /// Records of a stream were delivered once more.
    pub(crate) fn replayed(&self, stream: &StreamName, records: u64) {
        self.replayed.get_or_create(&StreamOnly { stream: stream.to_string() }).inc_by(records);
    }

    /// A key was tried.
    pub(crate) fn key_checked(&self, key: &str, trouble: Option<&KeyTrouble>) {
        let kind = trouble.map_or("ok", |trouble| match trouble.kind {
            TroubleKind::AccessDenied => "access_denied",
            TroubleKind::Disabled => "disabled",
            TroubleKind::InvalidState => "invalid_state",
            TroubleKind::NotFound => "not_found",
            TroubleKind::Unreachable => "unreachable",
        });
        self.key_checks.get_or_create(&KeyResult { key: key.to_owned(), kind }).inc();
    }

    /// A table was read anew, as its file or object had changed, or could not be.
    pub(crate) fn table_read(&self, table: &str, kind: &'static str) {
        self.table_reads.get_or_create(&TableResult { table: table.to_owned(), kind }).inc();
    }

    /// All metrics as text, with those that are read from the journals.
    ///
    /// # Errors
    /// A label could not be written.
    pub(crate) fn render(&self, snapshot: &Snapshot) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &snapshot.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Observer for Metrics {
    fn answered(&self, answered: &Answered<'_>) {
        let operation = answered.operation.map_or("none", standpipe_ingest::Operation::name);
        let code = match (answered.code, answered.status) {
            (Some(code), _) => code,
            (None, 200) => "OK",
            (None, 413) => "RequestEntityTooLarge",
            (None, _) => "Malformed",
        };
        self.requests.get_or_create(&Request { operation, code }).inc();
        if answered.records > 0 {
            self.put_records.inc_by(u64::from(answered.records));
            self.put_bytes.inc_by(answered.record_bytes);
            self.put_seconds.observe(answered.elapsed.as_secs_f64());
        }
        if let Some(Throttled { limit, records }) = answered.throttled {
            let (kind, name) = match limit {
                Limit::Credential(user) => ("credential", user.to_owned()),
                Limit::Stream(stream) => ("stream", stream.to_string()),
                Limit::Operation(operation) => ("operation", operation.name().to_owned()),
            };
            let limit = LimitOf { kind, name };
            self.throttled_requests.get_or_create(&limit).inc();
            if records > 0 {
                self.throttled_records.get_or_create(&limit).inc_by(u64::from(records));
            }
        }
    }

    fn shaken(&self, result: HandshakeResult) {
        self.handshakes.get_or_create(&KindOnly { kind: result.as_str() }).inc();
    }
}

impl CallObserver for Metrics {
    fn called(&self, called: &Called<'_>) {
        let function = || called.function.to_owned();
        self.function_calls.get_or_create(&FunctionCode { function: function(), code: called.code }).inc();
        let of = FunctionOnly { function: function() };
        self.function_seconds.get_or_create(&of).observe(called.elapsed.as_secs_f64());
        let most = called.memory_bytes as u64;
        self.function_memory.get_or_create(&of).inner().fetch_max(most, Ordering::Relaxed);
    }
}

impl SyncObserver for Metrics {
    fn synced(&self, bytes: u64, elapsed: Duration) {
        self.sync_seconds.observe(elapsed.as_secs_f64());
        self.sync_bytes.inc_by(bytes);
    }
}

/// A stream at one destination, as its journal has it now.
#[derive(Debug, Clone)]
pub(crate) struct LineState {
    pub(crate) stream: StreamName,
    pub(crate) destination: DestinationId,
    pub(crate) accepted: u64,
    pub(crate) in_journal: u64,
    pub(crate) tally: Tally,
    pub(crate) oldest_age: Duration,
    pub(crate) open_batches: u64,
}

/// A stream's journal.
#[derive(Debug, Clone)]
pub(crate) struct JournalState {
    pub(crate) stream: StreamName,
    pub(crate) used: u64,
    pub(crate) limit: u64,
    pub(crate) kept: Kept,
    /// How long ago the oldest record arrived that is there.
    pub(crate) oldest_kept_age: Duration,
    /// Replays that are under way.
    pub(crate) replays: u64,
}

/// What is read from the journals at a scrape.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) lines: Vec<LineState>,
    pub(crate) journals: Vec<JournalState>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) connections: u64,
    /// Seconds until the listener's certificate expires; `None` without TLS.
    pub(crate) certificate_expiry: Option<i64>,
}

impl Snapshot {
    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("standpipe");
        self.register_lines(&mut registry);
        self.register_journals(&mut registry);
        let alarm = Family::<StreamKind, Gauge>::default();
        for raised in &self.alarms {
            let stream = raised.stream.as_ref().map(StreamName::to_string).unwrap_or_default();
            alarm.get_or_create(&StreamKind { stream, kind: raised.kind.as_str() }).inc();
        }
        registry.register("alarm", "Alarms that are raised: a human must see to them", alarm);
        let connections = Gauge::<u64, AtomicU64>::default();
        connections.set(self.connections);
        registry.register("ingest_connections", "Open API connections", connections);
        if let Some(seconds) = self.certificate_expiry {
            let expiry = Gauge::<i64, AtomicI64>::default();
            expiry.set(seconds);
            registry.register(
                "tls_certificate_expiry_seconds",
                "Seconds until the listener's certificate expires; below 0 it has expired",
                expiry,
            );
        }
        registry
    }

    fn register_journals(&self, registry: &mut Registry) {
        type Read = fn(&JournalState) -> u64;
        let gauges: [(&str, &str, Read); 5] = [
            ("journal_used_bytes", "Bytes that a stream's journal takes on disk", |j| j.used),
            ("journal_limit_bytes", "The most that it may take; puts are refused beyond it", |j| j.limit),
            ("journal_retained_bytes", "Bytes of these that are delivered and kept", |j| {
                j.kept.retained_bytes
            }),
            ("journal_oldest_age_seconds", "Age of the oldest record that the journal still has", |j| {
                j.oldest_kept_age.as_secs()
            }),
            ("replays", "Replays under way", |j| j.replays),
        ];
        for (name, help, read) in gauges {
            let family = Family::<StreamOnly, Gauge<u64, AtomicU64>>::default();
            for journal in &self.journals {
                family.get_or_create(&StreamOnly { stream: journal.stream.to_string() }).set(read(journal));
            }
            registry.register(name, help, family);
        }
        let cut = Family::<StreamOnly, Counter>::default();
        for journal in &self.journals {
            let label = StreamOnly { stream: journal.stream.to_string() };
            cut.get_or_create(&label).inc_by(journal.kept.cut_segments);
        }
        registry.register(
            "journal_retention_cut_segments",
            "Segments that were to be kept for longer, and had to go as room was needed",
            cut,
        );
    }

    fn register_lines(&self, registry: &mut Registry) {
        type Read = fn(&LineState) -> u64;
        let totals: [(&str, &str, Read); 5] = [
            (
                "records_accepted",
                "Records accepted since the destination was made. accepted = delivered + dropped + backed_up + lost + in_journal",
                |l| l.accepted,
            ),
            ("records_delivered", "Records that reached the destination (AWS: DeliveryToS3.Records)", |l| {
                l.tally.delivered
            }),
            ("records_dropped", "Records that a processor dropped or an operator discarded", |l| {
                l.tally.dropped
            }),
            ("records_backed_up", "Records written to the error output", |l| l.tally.backed_up),
            ("records_lost", "Records that the journal could not read back; alarmed", |l| l.tally.lost),
        ];
        for (name, help, read) in totals {
            let family = Family::<Line, Counter>::default();
            for state in &self.lines {
                family.get_or_create(&line(&state.stream, &state.destination)).inc_by(read(state));
            }
            registry.register(name, help, family);
        }
        let gauges: [(&str, &str, Read); 2] = [
            ("records_in_journal", "Records accepted that have no fate yet", |l| l.in_journal),
            ("delivery_open_batches", "Batches closed and not settled", |l| l.open_batches),
        ];
        for (name, help, read) in gauges {
            let family = Family::<Line, Gauge<u64, AtomicU64>>::default();
            for state in &self.lines {
                family.get_or_create(&line(&state.stream, &state.destination)).set(read(state));
            }
            registry.register(name, help, family);
        }
        let ages = Family::<Line, Gauge<f64, AtomicU64>>::default();
        for state in &self.lines {
            let age = state.oldest_age.as_secs_f64();
            ages.get_or_create(&line(&state.stream, &state.destination)).set(age);
        }
        registry.register(
            "oldest_unsettled_age_seconds",
            "Age of the oldest record without a fate (AWS: DeliveryToS3.DataFreshness)",
            ages,
        );
    }
}
