//! The `streams` section and the files of `streams_dir`: what becomes of a stream's records.

use std::collections::BTreeMap;
use std::time::Duration;

use standpipe_model::{Compression, Encryption, LockMode, ObjectLock, ObjectOptions, StreamName};
use standpipe_sinks::key::ObjectKeys;

use super::branches::{BranchDraft, branches};
use super::compound::{Either, Map, Sub};
use super::endpoints::{http, splunk};
use super::format::FormatDraft;
use super::iceberg::iceberg;
use super::opensearch::opensearch;
use super::partitioning::{PartitioningDraft, partitioning};
use super::postgres::postgres;
use super::problem::Spot;
use super::rates::{PutRates, put_rates};
use super::reader::{Cursor, ReadSection, Section, Shape, Spots};
use super::redshift::redshift;
use super::schema::Schema;
use super::shapes::{Choice, Int, Size, Span, text};
use crate::spec::{Branch, Buffering, LogTarget, S3Destination, StreamSpec};

/// The smallest journal that a stream may be limited to: room for the smallest useful batch twice over.
pub(super) const JOURNAL_LIMIT_MIN: u64 = 1 << 20;
/// One PiB: far above any disk, far below the end of the numbers.
pub(super) const JOURNAL_LIMIT_MAX: u64 = 1 << 50;

/// The longest that a journal keeps what is delivered.
const RETENTION_MAX: Duration = Duration::from_hours(365 * 24);

/// A stream that was read, with the places that later checks point at.
#[derive(Debug, Clone)]
pub(super) struct StreamDraft {
    pub(super) name: Option<StreamName>,
    pub(super) spots: Spots,
    /// At least one, unless what was read was wrong.
    pub(super) branches: Vec<BranchDraft>,
    pub(super) backup: Option<DestinationDraft>,
    pub(super) journal_limit: Option<u64>,
    pub(super) retention: Duration,
    pub(super) rates: PutRates,
    /// The name of the key that it is encrypted under, and where it stands.
    pub(super) encryption: Option<(String, Spot)>,
}

/// A destination that was read, with the places that later checks point at.
#[derive(Debug, Clone)]
pub(super) struct DestinationDraft {
    /// Where a store was named.
    pub(super) store: Option<String>,
    /// Everything else; the store is filled in when the stores are known.
    pub(super) spec: S3Destination,
    pub(super) spots: Spots,
    pub(super) size_spot: Spot,
    pub(super) size_is_given: bool,
    pub(super) interval_spot: Spot,
    pub(super) partitioning: Option<PartitioningDraft>,
    /// The files of a table that they become a part of.
    pub(super) appended: Option<FormatDraft>,
}

impl StreamDraft {
    /// The functions that its processors call, and where each is named.
    pub(super) fn calls(&self) -> impl Iterator<Item = &(String, Spot)> {
        self.branches.iter().flat_map(|branch| &branch.calls)
    }

    /// The tables that they look rows up in.
    pub(super) fn lookups(&self) -> impl Iterator<Item = &(String, Spot)> {
        self.branches.iter().flat_map(|branch| &branch.lookups)
    }

    /// The specification, if every part of it was right.
    pub(super) fn into_spec(self) -> Option<StreamSpec> {
        let branches: Option<Vec<_>> = self.branches.into_iter().map(BranchDraft::into_branch).collect();
        let mut branches = branches?.into_iter();
        let Branch { id, destination, processors } = branches.next()?;
        Some(StreamSpec {
            name: self.name?,
            id,
            destination,
            backup: self.backup.map(|backup| backup.spec),
            processors,
            further: branches.collect(),
            journal_limit_bytes: self.journal_limit,
            retention_ms: u64::try_from(self.retention.as_millis()).unwrap_or(u64::MAX),
            encryption_key: self.encryption.map(|(key, _)| key),
        })
    }
}

/// The shape of one stream.
pub(super) const STREAM: Sub<StreamDraft> = Sub(stream);

/// Reads one stream.
pub(super) fn stream(section: &mut Section<'_, '_>) -> Option<StreamDraft> {
    let name =
        section.required("name", Name, "The stream's name: 1 to 64 letters, digits, `_`, `.` and `-`.");
    let branches = branches(section);
    let backup = section.optional(
        "backup",
        Sub(copy_to),
        "Where a raw copy of every record goes (`S3BackupMode: Enabled`, `AllData`).",
    );
    let journal_limit = section.optional(
        "journal_limit",
        Size(JOURNAL_LIMIT_MIN..=JOURNAL_LIMIT_MAX),
        "The most that the stream's journal may take on disk; puts are refused beyond it. Only the daemon's limit where \
         absent.",
    );
    let retention = section.or(
        "retention",
        Span(Duration::ZERO..=RETENTION_MAX),
        "0s",
        "How long the journal keeps what is delivered, for `standpipe replay`; as long as there is room.",
    );
    let rates =
        section.section("limits", put_rates, "How much may be put to the stream, by all callers together.");
    let encryption = section.optional(
        "encryption",
        Sub(encryption),
        "How the stream's journal is encrypted; not at all where absent.",
    );
    Some(StreamDraft {
        name,
        spots: section.spots(),
        branches,
        backup,
        journal_limit,
        retention,
        rates,
        encryption,
    })
}

fn encryption(section: &mut Section<'_, '_>) -> Option<(String, Spot)> {
    let key = section.required("key", text(1..=64), "The key's name under `keys`.");
    Some((key?, section.spot("key")))
}

/// A stream's name.
struct Name;

impl Shape for Name {
    type Out = StreamName;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<StreamName> {
        let name = at.text()?;
        StreamName::parse(&name).map_or_else(|error| at.refuse(error), Some)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "stream name".to_owned(), pattern: "^[a-zA-Z0-9_.-]{1,64}$" }
    }
}

const S3: &str = "An object store: S3 or one that speaks its language, a folder, GCS, Azure.";

/// The kinds of destination.
const KINDS: [&str; 7] = ["s3", "http", "iceberg", "opensearch", "postgres", "redshift", "splunk"];

pub(super) fn where_to(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let all = [
        section.optional("s3", Sub(s3), S3),
        section.optional(
            "http",
            Sub(http),
            "An HTTP endpoint: by Firehose's delivery protocol, or a plain webhook.",
        ),
        section.optional("iceberg", Sub(iceberg), "A table of Apache Iceberg, which rows are added to."),
        section.optional("opensearch", Sub(opensearch), "A cluster of OpenSearch or Elasticsearch."),
        section.optional("postgres", Sub(postgres), "A table of PostgreSQL, each record once."),
        section.optional("redshift", Sub(redshift), "A table of Amazon Redshift, loaded from S3 by `COPY`."),
        section.optional("splunk", Sub(splunk), "Splunk, through its HTTP Event Collector."),
    ];
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| section.given(kind)).collect();
    match given.as_slice() {
        [] => section.refuse("", format!("name where the records go: {}", KINDS.join(", "))),
        [_] => {}
        [_, second, ..] => {
            section.refuse(second, "this is one destination: several are a list under \"destinations\"");
        }
    }
    all.into_iter().flatten().next()
}

fn copy_to(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    section.required("s3", Sub(s3), S3)
}

/// Compression by our words and by those of the Firehose API.
const COMPRESSION: Choice<Compression> = Choice(&[
    ("none", Compression::Uncompressed),
    ("gzip", Compression::Gzip),
    ("zip", Compression::Zip),
    ("snappy", Compression::Snappy),
    ("hadoop_snappy", Compression::HadoopSnappy),
    ("zstd", Compression::Zstd),
    ("UNCOMPRESSED", Compression::Uncompressed),
    ("GZIP", Compression::Gzip),
    ("ZIP", Compression::Zip),
    ("Snappy", Compression::Snappy),
    ("HADOOP_SNAPPY", Compression::HadoopSnappy),
]);

pub(super) fn s3(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let store = section.optional(
        "store",
        text(1..=64),
        "The store's name under `stores`; `default_store` where absent.",
    );
    let bucket = section.optional(
        "bucket",
        text(0..=255),
        "The bucket; for a file store a folder, which may be left out. Every other store needs it.",
    );
    let (prefix, error_output_prefix) = prefixes(section);
    let (compression, compression_level) = compression(section);
    let delimiter = section.or(
        "delimiter",
        Delimiter,
        "none",
        "What follows each record: `newline`, `none`, or a text of your own.",
    );
    let (file_extension, custom_time_zone) = naming(section);
    let (buffering, [size_spot, interval_spot], size_is_given) = section.section(
        "buffering|buffering_hints",
        buffering,
        "When a batch closes; whichever comes first.",
    );
    let partitioning = section.optional(
        "partitioning",
        Sub(partitioning),
        "Dynamic partitioning: rows go to objects by the partition keys that the prefix asks for.",
    );
    let object = object_options(section);
    let logging = section.optional(
        "logging",
        Sub(log_target),
        "Where failed deliveries are told of beside the daemon's own log (`CloudWatchLoggingOptions`).",
    );
    let spots = section.spots();
    let spec = S3Destination {
        store: String::new(),
        bucket: bucket.unwrap_or_default(),
        prefix,
        error_output_prefix,
        compression,
        compression_level,
        delimiter,
        file_extension,
        custom_time_zone,
        buffering,
        object,
        logging,
        partitioning: partitioning.as_ref().map(|partitioning| partitioning.spec.clone()),
        conversion: None,
        endpoint: None,
        patience: None,
    };
    Some(DestinationDraft {
        store,
        spec,
        spots,
        size_spot,
        size_is_given,
        interval_spot,
        partitioning,
        appended: None,
    })
}

/// What keys end with, and the zone of the time in them.
fn naming(section: &mut Section<'_, '_>) -> (String, String) {
    let file_extension = section.or(
        "file_extension",
        Extension,
        "",
        "Replaces the extension that goes with the compression; begins with a dot.",
    );
    let custom_time_zone = section.or(
        "custom_time_zone",
        Zone,
        "UTC",
        "The time zone of timestamps in keys, as `Europe/Vienna`.",
    );
    (file_extension, custom_time_zone)
}

/// What keys begin with: those of data, and those of error output.
fn prefixes(section: &mut Section<'_, '_>) -> (String, String) {
    let prefix =
        section.or("prefix", text(0..=1024), "", "What keys begin with; may hold `!{…}` expressions.");
    let error_output_prefix = section.or(
        "error_output_prefix",
        text(0..=1024),
        "",
        "What keys of the error output begin with; may hold `!{…}` expressions.",
    );
    (prefix, error_output_prefix)
}

/// How objects are compressed, and the level where one is given.
fn compression(section: &mut Section<'_, '_>) -> (Compression, Option<i32>) {
    let compression =
        section.or("compression|compression_format", COMPRESSION, "none", "How objects are compressed.");
    let compression_level = section.optional(
        "compression_level",
        Int(1..=22),
        "The compression level, where the format has one: gzip and zip 1 to 9, zstd 1 to 22. The format's default where \
         absent.",
    );
    (compression, compression_level.and_then(|level| i32::try_from(level).ok()))
}

fn log_target(section: &mut Section<'_, '_>) -> Option<LogTarget> {
    let group = section.required("group", text(1..=512), "The log group's name.");
    let stream = section.required("stream", text(1..=512), "The log stream's name.");
    Some(LogTarget { group: group?, stream: stream? })
}

/// The buffering, where its two values stand, and whether a size was given.
pub(super) fn buffering(section: &mut Section<'_, '_>) -> Option<(Buffering, [Spot; 2], bool)> {
    let size = section.or(
        "size",
        Size(1 << 10..=1 << 30),
        "5MiB",
        "Raw bytes of records after which a batch closes; with partitioning, after which a partition's object is cut. With `format`, 128 MiB where absent. (The Firehose API allows 1 to 128 MiB.)",
    );
    let interval = section.or(
        "interval",
        Span(Duration::ZERO..=Duration::from_hours(24)),
        "60s",
        "Age of the oldest record after which a batch closes; 0 closes it at once. (The Firehose API allows 0 to 900 \
         seconds.)",
    );
    let size_in_mbs =
        section.optional("size_in_mbs", Int(1..=128), "`size` in MiB, as the Firehose API has it.");
    let interval_in_seconds = section.optional(
        "interval_in_seconds",
        Int(0..=900),
        "`interval` in seconds, as the Firehose API has it.",
    );
    section.exclusive("size", "size_in_mbs");
    section.exclusive("interval", "interval_in_seconds");
    let interval = interval_in_seconds.map_or(interval, Duration::from_secs);
    let buffering = Buffering {
        size_bytes: size_in_mbs.map_or(size, |mib| mib << 20),
        interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
    };
    let spot = |name, other| section.spot(if section.given(other) { other } else { name });
    let size_is_given = section.given("size") || section.given("size_in_mbs");
    Some((buffering, [spot("size", "size_in_mbs"), spot("interval", "interval_in_seconds")], size_is_given))
}

/// Bytes after each record.
struct Delimiter;

impl Shape for Delimiter {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        match at.text()?.as_str() {
            "none" => Some(String::new()),
            "newline" => Some("\n".to_owned()),
            literal if literal.len() <= 64 => Some(literal.to_owned()),
            literal => at.refuse(format!("the delimiter has {} bytes, allowed are 64", literal.len())),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(Schema::Choice(vec!["newline", "none"])), Box::new(Schema::Text))
    }
}

/// A file extension by the API's rule.
struct Extension;

impl Shape for Extension {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let text = at.text()?;
        key_setting("", &text).map_or_else(|error| at.refuse(error), |()| Some(text))
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "file extension".to_owned(), pattern: r"^$|^\.[0-9a-z!\-_.*'()]+$" }
    }
}

/// A time zone's name.
struct Zone;

impl Shape for Zone {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let text = at.text()?;
        key_setting(&text, "").map_or_else(|error| at.refuse(error), |()| Some(text))
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "time zone".to_owned(), pattern: "^[a-zA-Z/_]*$" }
    }
}

/// Our word for a compression.
pub(crate) fn compression_word(compression: Compression) -> &'static str {
    let word = COMPRESSION.0.iter().find(|(_, known)| *known == compression);
    word.map(|(word, _)| *word).expect("the table has every compression")
}

/// Asks the maker of object keys whether it takes a time zone and a file extension.
///
/// # Errors
/// Why it does not.
pub(crate) fn key_setting(zone: &str, extension: &str) -> Result<(), String> {
    let any = StreamName::parse("any").map_err(|error| error.to_string())?;
    ObjectKeys::new(any, "", "", zone, extension, false).map(drop).map_err(|error| error.to_string())
}

/// Keys that only S3 itself understands; every one of them is refused for other stores.
pub(super) const S3_ONLY: [&str; 6] =
    ["storage_class", "acl", "encryption", "tags", "metadata", "object_lock"];

const STORAGE_CLASS: Choice<&'static str> = Choice(&[
    ("STANDARD", "STANDARD"),
    ("REDUCED_REDUNDANCY", "REDUCED_REDUNDANCY"),
    ("STANDARD_IA", "STANDARD_IA"),
    ("ONEZONE_IA", "ONEZONE_IA"),
    ("INTELLIGENT_TIERING", "INTELLIGENT_TIERING"),
    ("GLACIER", "GLACIER"),
    ("GLACIER_IR", "GLACIER_IR"),
    ("DEEP_ARCHIVE", "DEEP_ARCHIVE"),
    ("OUTPOSTS", "OUTPOSTS"),
    ("SNOW", "SNOW"),
    ("EXPRESS_ONEZONE", "EXPRESS_ONEZONE"),
]);

const ACL: Choice<&'static str> = Choice(&[
    ("private", "private"),
    ("public-read", "public-read"),
    ("public-read-write", "public-read-write"),
    ("authenticated-read", "authenticated-read"),
    ("aws-exec-read", "aws-exec-read"),
    ("bucket-owner-read", "bucket-owner-read"),
    ("bucket-owner-full-control", "bucket-owner-full-control"),
]);

const ENCRYPTION: Either<Choice<Encryption>, Sub<Encryption>> = Either(
    Choice(&[("none", Encryption::BucketDefault), ("sse-s3", Encryption::S3)]),
    Sub(kms as ReadSection<Encryption>),
);

fn object_options(section: &mut Section<'_, '_>) -> ObjectOptions {
    ObjectOptions {
        storage_class: section
            .optional("storage_class", STORAGE_CLASS, "The storage class of each object.")
            .map(str::to_owned),
        acl: section.optional("acl", ACL, "The canned ACL of each object.").map(str::to_owned),
        encryption: section.or(
            "encryption",
            ENCRYPTION,
            "none",
            "Server-side encryption; `none` leaves it to the bucket.",
        ),
        tags: words(section, "tags", "Tags of each object; at most 10."),
        metadata: words(section, "metadata", "Metadata of each object, beside standpipe's own."),
        lock: section.optional(
            "object_lock",
            Sub(object_lock),
            "Object Lock; the bucket must have it enabled.",
        ),
    }
}

fn kms(section: &mut Section<'_, '_>) -> Option<Encryption> {
    let key = section.required("kms", text(1..=2048), "SSE-KMS with this key id or ARN.")?;
    Some(Encryption::Kms { key })
}

fn object_lock(section: &mut Section<'_, '_>) -> Option<ObjectLock> {
    let mode = section.required(
        "mode",
        Choice(&[
            ("governance", LockMode::Governance),
            ("compliance", LockMode::Compliance),
            ("GOVERNANCE", LockMode::Governance),
            ("COMPLIANCE", LockMode::Compliance),
        ]),
        "Whether some may lift the lock (governance) or nobody (compliance).",
    );
    let days = section.required(
        "retain_days",
        Int(1..=36_500),
        "Days from the batch's close until deletion is allowed.",
    );
    Some(ObjectLock { mode: mode?, retain_days: u32::try_from(days?).ok()? })
}

/// A map of words to words.
fn words(section: &mut Section<'_, '_>, name: &'static str, doc: &'static str) -> BTreeMap<String, String> {
    let entries = section.optional(name, Map(text(0..=256)), doc).unwrap_or_default();
    if name == "tags" && entries.len() > 10 {
        section.refuse(name, format!("{} tags, S3 allows 10 on an object", entries.len()));
    }
    entries.into_iter().filter_map(|(key, _, value)| Some((key, value?))).collect()
}
