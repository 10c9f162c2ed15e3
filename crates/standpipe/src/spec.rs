//! A stream's validated specification: what the configuration and the API both turn into, and what the worker obeys.
//!
//! Of a specification, the *shape* (everything in [`S3Destination`]) is pinned by version when a batch closes; the
//! *access* to the named store (endpoint, credentials, TLS) is looked up live at each attempt.

use std::iter;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standpipe_convert::avro::{self, AvroFormat, NameError};
use standpipe_convert::orc::{OptionsError, OrcOptions};
use standpipe_convert::parquet::{OptionError, ParquetFormat, ParquetOptions};
use standpipe_convert::{Deserializer, FileFormat, KeyError, OrcFormat, RowReader, TableSchema};
use standpipe_encode::media;
use standpipe_model::{Compression, DestinationId, ObjectOptions, StreamName};

use crate::endpoints::Endpoint;
use crate::processors::ProcessorSpec;

/// Everything standpipe does for one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    /// The stream's name.
    pub name: StreamName,
    /// What its destination is known by, or the first of several.
    #[serde(default = "DestinationId::primary", skip_serializing_if = "DestinationId::is_primary")]
    pub id: DestinationId,
    /// Where its records go.
    pub destination: S3Destination,
    /// Where a raw copy of every record goes (`S3BackupMode: Enabled`); the records are settled when both have landed.
    #[serde(default)]
    pub backup: Option<S3Destination>,
    /// What is done to its records on their way to the destination, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processors: Vec<ProcessorSpec>,
    /// Where its records go beside that: each gets all of them, and none waits for another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<Branch>,
    /// The most bytes its journal may hold on disk; the daemon's share where absent.
    #[serde(default)]
    pub journal_limit_bytes: Option<u64>,
    /// How long its journal keeps what is delivered, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retention_ms: u64,
    /// The name of the key that the configuration file has its journal encrypted under. What the API asks for is no part
    /// of a definition: see [`Encryption`](crate::keys::Encryption).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One of several destinations of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// What its progress is known by, wherever in a list it stands.
    pub id: DestinationId,
    /// Where the records go.
    pub destination: S3Destination,
    /// What is done to them on their way there, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processors: Vec<ProcessorSpec>,
}

/// A destination among those of its stream.
#[derive(Debug, Clone)]
pub struct BranchRef<'a> {
    /// What its progress is known by.
    pub id: DestinationId,
    /// Where the records go.
    pub destination: &'a S3Destination,
    /// What is done to them on their way there.
    pub processors: &'a [ProcessorSpec],
}

/// It is not said which destination is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhichError {
    /// There is none of that id.
    #[error("the stream has no destination '{id}', but {all}")]
    Unknown {
        /// The id.
        id: String,
        /// Those that there are.
        all: String,
    },
    /// There are several, and no id.
    #[error("the stream has several destinations, name one with \"destination\": {all}")]
    Several {
        /// Their ids.
        all: String,
    },
}

impl StreamSpec {
    /// How long its journal keeps what is delivered.
    pub fn retention(&self) -> Duration {
        Duration::from_millis(self.retention_ms)
    }

    /// All that the stream delivers to: the destination that it is for, the backup, which gets the records as they came,
    /// and the further ones.
    pub fn branches(&self) -> impl Iterator<Item = BranchRef<'_>> {
        let backup = self.backup.iter().map(|destination| BranchRef {
            id: DestinationId::backup(),
            destination,
            processors: &[],
        });
        let further = self.further.iter().map(|Branch { id, destination, processors }| BranchRef {
            id: id.clone(),
            destination,
            processors,
        });
        iter::once(self.first()).chain(backup).chain(further)
    }

    /// The branch of an id, if the stream has it.
    pub fn branch(&self, id: &DestinationId) -> Option<BranchRef<'_>> {
        self.branches().find(|branch| branch.id == *id)
    }

    /// The branch that somebody names; without a name the only one, a backup aside.
    ///
    /// # Errors
    /// [`WhichError`].
    pub fn which(&self, id: Option<&str>) -> Result<BranchRef<'_>, WhichError> {
        let all = || self.destinations().iter().map(DestinationId::as_str).collect::<Vec<_>>().join(", ");
        match id {
            Some(id) => {
                let found = self.branches().find(|branch| branch.id.as_str() == id);
                found.ok_or_else(|| WhichError::Unknown { id: id.to_owned(), all: all() })
            }
            None if self.further.is_empty() => Ok(self.first()),
            None => Err(WhichError::Several { all: all() }),
        }
    }

    fn first(&self) -> BranchRef<'_> {
        BranchRef { id: self.id.clone(), destination: &self.destination, processors: &self.processors }
    }

    /// The stream's destinations.
    pub fn destinations(&self) -> Vec<DestinationId> {
        self.branches().map(|branch| branch.id).collect()
    }

    /// What is done to the records for a destination.
    pub fn processors_of(&self, id: &DestinationId) -> &[ProcessorSpec] {
        self.branch(id).map_or(&[], |branch| branch.processors)
    }

    /// Whether what is made of a batch for a destination is kept before it is delivered: rows that have to be sorted
    /// first, or that might come out otherwise a second time.
    pub fn is_planned(&self, id: &DestinationId) -> bool {
        let is_partitioned = self.destination_of(id).is_some_and(|to| to.partitioning.is_some());
        is_partitioned || self.processors_of(id).iter().any(ProcessorSpec::calls_function)
    }

    /// When the batches of a destination close, in a journal of at most so many bytes, if the stream has it.
    pub fn buffering_of(&self, id: &DestinationId, journal_limit: u64) -> Option<Buffering> {
        let destination = self.destination_of(id)?;
        let Some(partitioning) = &destination.partitioning else { return Some(destination.buffering) };
        let window = || {
            let planned = self.branches().filter(|branch| self.is_planned(&branch.id));
            let given = planned.map(|BranchRef { destination: to, .. }| match &to.partitioning {
                Some(partitioning) => partitioning.window_bytes,
                None => Some(to.buffering.size_bytes),
            });
            default_window(journal_limit, given)
        };
        let size_bytes = partitioning.window_bytes.unwrap_or_else(window);
        Some(Buffering { size_bytes, ..destination.buffering })
    }

    /// What a destination is, if the stream has it.
    pub fn destination_of(&self, id: &DestinationId) -> Option<&S3Destination> {
        self.branch(id).map(|branch| branch.destination)
    }

    /// The processors of all destinations.
    pub(crate) fn processors(&self) -> impl Iterator<Item = &ProcessorSpec> {
        self.branches().flat_map(|branch| branch.processors)
    }

    /// What the rows of each destination are converted to, where they are.
    pub(crate) fn conversions(&self) -> impl Iterator<Item = (DestinationId, &Conversion)> {
        self.branches().filter_map(|branch| Some((branch.id, branch.destination.conversion.as_ref()?)))
    }

    /// The same, to be changed.
    pub(crate) fn conversions_mut(&mut self) -> impl Iterator<Item = &mut Conversion> {
        let further = self.further.iter_mut().map(|branch| &mut branch.destination);
        iter::once(&mut self.destination).chain(further).filter_map(|to| to.conversion.as_mut())
    }
}

/// An object store destination: the shape that a batch's object is made by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Destination {
    /// The configured store's name.
    pub store: String,
    /// The bucket, or the top folder in a file store; may be empty for a file store.
    pub bucket: String,
    /// The prefix expression as written.
    #[serde(default)]
    pub prefix: String,
    /// The error output prefix expression as written.
    #[serde(default)]
    pub error_output_prefix: String,
    /// How objects are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// The compression level, where the format has one; its default where absent.
    #[serde(default)]
    pub compression_level: Option<i32>,
    /// Bytes appended to every record, usually none or a newline.
    #[serde(default)]
    pub delimiter: String,
    /// Replaces the default extension; empty means the default of the compression.
    #[serde(default)]
    pub file_extension: String,
    /// The IANA time zone of timestamps in keys; empty means UTC.
    #[serde(default)]
    pub custom_time_zone: String,
    /// When a batch closes.
    pub buffering: Buffering,
    /// What the store is told about each object.
    #[serde(default)]
    pub object: ObjectOptions,
    /// Where its failures are told of beside the daemon's own log (`CloudWatchLoggingOptions`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<LogTarget>,
    /// Whether rows go to objects by the partition keys that the prefix asks for, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitioning: Option<Partitioning>,
    /// What rows are converted to; a backup's never are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion: Option<Conversion>,
    /// Where rows go in requests, in the place of objects. The store then gets the error output only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// What is borne of a table that its files become a part of; an endpoint has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Patience>,
}

/// What is borne of a destination before its records go to the error output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patience {
    /// How long it may fail (`RetryOptions`), in milliseconds. What a human has to mend does not count.
    pub retry_ms: u64,
    /// How old a batch's first record may become, whatever it fails of, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lag_ms: Option<u64>,
}

/// The word in `!{firehose:error-output-type}` for what a table of Iceberg did not take.
pub(crate) const ICEBERG_FAILED: &str = "iceberg-failed";

impl S3Destination {
    /// Whether its files become a part of a table.
    pub fn appends(&self) -> bool {
        self.conversion.as_ref().is_some_and(Conversion::appends)
    }

    /// What is borne of it; `None` where it is waited for without end.
    pub fn bears(&self) -> Option<Patience> {
        self.endpoint.as_ref().map(Endpoint::patience).or(self.patience)
    }

    /// The word in `!{firehose:error-output-type}` for what it did not take.
    pub(crate) fn undelivered_type(&self) -> &'static str {
        self.endpoint.as_ref().map_or(ICEBERG_FAILED, |endpoint| endpoint.target.error_output_type())
    }

    /// The extension of its objects where [`file_extension`](Self::file_extension) is empty.
    pub fn default_extension(&self) -> String {
        let converted = self.conversion.as_ref().map_or("", |conversion| conversion.output.extension());
        format!("{converted}{}", media(self.compression).extension)
    }
}

/// Record format conversion: rows of JSON become the rows of a table's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// The table's columns; a batch has those of the definition that it was closed under. None where they come from
    /// elsewhere.
    pub schema: TableSchema,
    /// Where they come from otherwise; a batch has those that were recorded, and that its CLOSE names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns_from: Option<ColumnSource>,
    /// What the table is called.
    pub table: CatalogTable,
    /// How rows are read.
    pub deserializer: Deserializer,
    /// How files are written.
    pub output: OutputFormat,
}

/// Where the columns of a table come from that the configuration does not have. What is found there is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnSource {
    /// The rows, to so many names of columns and members.
    Infer(u32),
    /// A catalog.
    #[serde(untagged)]
    Catalog(CatalogKind),
}

/// A catalog that has the columns of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatalogKind {
    /// AWS Glue.
    Glue,
    /// An Iceberg REST catalog.
    Iceberg,
}

impl CatalogKind {
    /// Its key in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glue => "glue",
            Self::Iceberg => "iceberg",
        }
    }
}

/// The version that follows the table.
pub(crate) const LATEST: &str = "LATEST";

impl Conversion {
    /// The same, with columns that were recorded.
    pub(crate) fn with(&self, schema: TableSchema) -> Self {
        Self { schema, ..self.clone() }
    }

    /// The catalog that has its columns, where one has.
    pub(crate) fn catalog(&self) -> Option<CatalogKind> {
        match self.columns_from? {
            ColumnSource::Catalog(kind) => Some(kind),
            ColumnSource::Infer(_) => None,
        }
    }

    /// Whether its files become a part of the table.
    pub(crate) fn appends(&self) -> bool {
        matches!(self.output, OutputFormat::Iceberg(_))
    }

    /// What the columns are recorded of, where they are. Each destination has rows of its own, and what one can be
    /// written with another may not.
    pub(crate) fn recorded_of(&self, destination: &DestinationId) -> Option<String> {
        let of = self.found_in()?;
        Some(if destination.is_primary() { of } else { format!("{of} of {destination}") })
    }

    /// Whether something is [recorded of](Self::recorded_of) this destination.
    pub(crate) fn is_of(of: &str, destination: &DestinationId) -> bool {
        match of.rsplit_once(" of ") {
            Some((_, id)) => id == destination.as_str(),
            None => destination.is_primary(),
        }
    }

    /// Where the columns come from that the configuration does not have.
    pub(crate) fn found_in(&self) -> Option<String> {
        let CatalogTable { database, table, version_id, .. } = &self.table;
        Some(match self.columns_from? {
            ColumnSource::Infer(_) => "rows".to_owned(),
            ColumnSource::Catalog(kind) => format!("{} {database} {table} {version_id}", kind.name()),
        })
    }

    /// Checks that rows can be converted to its columns.
    ///
    /// # Errors
    /// [`FormatError`].
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        RowReader::check(&self.schema, &self.deserializer)?;
        self.format().map(drop)
    }

    /// How the files of its table are written; `None` where its rows stay lines of text.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn format(&self) -> Result<Option<FileFormat>, FormatError> {
        let schema = self.schema.to_arrow();
        Ok(Some(match &self.output {
            OutputFormat::Parquet(options) | OutputFormat::Iceberg(options) => {
                FileFormat::Parquet(ParquetFormat::new(schema, options)?)
            }
            OutputFormat::Orc(options) => FileFormat::Orc(OrcFormat::new(schema, options.clone())?),
            OutputFormat::Avro { compression } => {
                let name = format!("{}.{}", self.table.database, self.table.table);
                FileFormat::Avro(AvroFormat::new(&schema, &name, *compression)?)
            }
            OutputFormat::Json => return Ok(None),
        }))
    }
}

/// The settings of a format do not fit the table.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FormatError {
    /// Keys and columns do not belong together.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Those of Parquet.
    #[error(transparent)]
    Parquet(#[from] OptionError),
    /// Those of ORC.
    #[error(transparent)]
    Orc(#[from] OptionsError),
    /// What Avro has no name for.
    #[error(transparent)]
    Avro(#[from] NameError),
}

/// A table as the error output names it (`dataCatalogTable`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogTable {
    /// The catalog, which is the account's.
    pub catalog_id: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The catalog's region.
    pub region: String,
    /// The version that was asked for: `LATEST`, unless another was.
    pub version_id: String,
    /// The role that was given to read the catalog by; a stream of the configuration file has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
}

/// A format of files, with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    /// Apache Parquet.
    Parquet(ParquetOptions),
    /// Apache ORC.
    Orc(OrcOptions),
    /// Object container files of Apache Avro.
    Avro {
        /// How blocks are compressed.
        compression: avro::Compression,
    },
    /// Lines of JSON, each value in one form; compressed as the destination says.
    Json,
    /// Files of Parquet that become a part of the table itself, which is one of Iceberg.
    Iceberg(ParquetOptions),
}

impl OutputFormat {
    /// The extension of its files.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Parquet(_) | Self::Iceberg(_) => ".parquet",
            Self::Orc(_) => ".orc",
            Self::Avro { .. } => ".avro",
            Self::Json => ".json",
        }
    }
}

/// Dynamic partitioning: a batch is a window, from which each partition gets objects of its own. The window closes by
/// its age; [`Buffering::size_bytes`] is where the objects of a partition are cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partitioning {
    /// The most partitions of a window; rows of others go to the error output.
    pub active_max: u32,
    /// How long a delivery may fail before an alarm is raised (`RetryOptions`), in milliseconds.
    pub retry_ms: u64,
    /// Raw bytes of records at which the window closes early; by the journal's limit where absent, see
    /// [`StreamSpec::buffering_of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_bytes: Option<u64>,
}

/// The most raw bytes at which a window closes early that says nothing itself.
const WINDOW_BYTES_MAX: u64 = 8 << 30;

/// Raw bytes at which a window closes early that says nothing itself. What is made of a window takes about as much again
/// until it is delivered, beside the journal and within the same limit: all that are planned share a quarter of it, or what
/// those that say something (`given`) leave of the half that they may have.
pub(crate) fn default_window(journal_limit: u64, given: impl Iterator<Item = Option<u64>>) -> u64 {
    let (mut planned, mut absent, mut taken) = (0_u64, 0_u64, 0_u64);
    for window in given {
        planned += 1;
        absent += u64::from(window.is_none());
        taken = taken.saturating_add(window.unwrap_or_default());
    }
    let share = journal_limit / 4 / planned.max(1);
    let left = (journal_limit / 2).saturating_sub(taken) / absent.max(1);
    share.min(left).clamp(1, WINDOW_BYTES_MAX)
}

impl Default for Partitioning {
    fn default() -> Self {
        Self { active_max: 500, retry_ms: 300_000, window_bytes: None }
    }
}

/// A stream of a log group, by CloudWatch's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogTarget {
    /// The log group's name.
    pub group: String,
    /// The log stream's name.
    pub stream: String,
}

/// When a batch closes: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Buffering {
    /// Raw record bytes.
    pub size_bytes: u64,
    /// Age of the oldest record, in milliseconds; 0 means at once.
    pub interval_ms: u64,
}

impl Buffering {
    /// The age at which a batch closes.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Default for Buffering {
    fn default() -> Self {
        Self { size_bytes: 5 << 20, interval_ms: 60_000 }
    }
}
