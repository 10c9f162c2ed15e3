//! How a cluster is reached, and which index a row's document belongs to under which id.

use chrono::{Datelike, Days};
use serde::{Deserialize, Serialize};
use standpipe_model::{BatchId, RowOrigin, Secret, Timestamp};

use crate::client::{ClientError, ClientOptions};
use crate::s3::{S3Credentials, S3OptionsError};

/// The longest name of an index with what rotation adds, in bytes.
const INDEX_BYTES_MAX: usize = 255;

/// A cluster.
#[derive(Debug, Clone)]
pub struct OpenSearchOptions {
    /// The URLs of its nodes or of what stands before them, of which one at a time is used. At least one.
    pub endpoints: Vec<String>,
    /// Who asks.
    pub auth: OpenSearchAuth,
    /// Whether bulks are compressed.
    pub gzip: bool,
    /// How it is reached.
    pub client: ClientOptions,
    /// Where documents go.
    pub index: IndexOptions,
}

/// Who asks. A client certificate is [`ClientOptions::identity_pem`].
#[derive(Debug, Clone)]
pub enum OpenSearchAuth {
    /// Nobody in particular.
    None,
    /// A user.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An API key as Elasticsearch gives it out: `id:key` in base64.
    ApiKey(Secret),
    /// AWS credentials.
    SigV4 {
        /// The domain's region.
        region: String,
        /// Which service it belongs to.
        service: SigningService,
        /// Whose they are.
        credentials: S3Credentials,
    },
}

/// The service that a request is signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningService {
    /// A domain of OpenSearch Service.
    #[default]
    Es,
    /// A collection of OpenSearch Serverless.
    Aoss,
}

/// Where documents go, and under which id. All of it is the same at every attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexOptions {
    /// The index, or what its name begins with where it rotates.
    pub name: String,
    /// How often there is a new one.
    pub rotation: IndexRotation,
    /// Who gives ids.
    pub document_ids: DocumentIds,
    /// Whether it is a data stream: `@timestamp` must be in every document.
    pub data_stream: bool,
    /// The mapping type, which Elasticsearch up to version 6 needs and no later one takes.
    pub type_name: Option<String>,
}

/// How often there is a new index: its name ends in the hour, day, week or month (UTC) in which a row arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexRotation {
    /// Never.
    NoRotation,
    /// `clicks-2016-02-25-13`.
    OneHour,
    /// `clicks-2016-02-25`.
    #[default]
    OneDay,
    /// `clicks-2016-w09`.
    OneWeek,
    /// `clicks-2016-02`.
    OneMonth,
}

/// Who gives documents their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentIds {
    /// They derive from where a row comes from, so that each is there once (`FIREHOSE_DEFAULT`).
    #[default]
    FirehoseDefault,
    /// The cluster (`NO_DOCUMENT_ID`), which indexes faster and cannot know a repetition.
    NoDocumentId,
}

/// Settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenSearchOptionsError {
    /// There is none, or one is no URL.
    #[error("an endpoint must be http:// or https:// with a host and neither credentials nor a query")]
    Endpoint,
    /// No index can be called so.
    #[error("no index can be called '{0}': {1}")]
    Index(String, &'static str),
    /// Settings that exclude one another.
    #[error("a data stream has neither rotation nor a type")]
    DataStream,
    /// It cannot stand in a header.
    #[error("the user name, password or API key holds characters that cannot be sent")]
    Credential,
    /// The AWS credentials.
    #[error(transparent)]
    Aws(#[from] S3OptionsError),
    /// How it is reached.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl IndexOptions {
    /// An index with AWS's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        let (rotation, document_ids) = (IndexRotation::default(), DocumentIds::default());
        Self { name: name.into(), rotation, document_ids, data_stream: false, type_name: None }
    }

    /// The index of a row that arrived then.
    pub fn index(&self, arrived_at: Timestamp) -> String {
        let (name, at) = (&self.name, arrived_at.to_utc());
        match self.rotation {
            IndexRotation::NoRotation => name.clone(),
            IndexRotation::OneHour => format!("{name}-{}", at.format("%Y-%m-%d-%H")),
            IndexRotation::OneDay => format!("{name}-{}", at.format("%Y-%m-%d")),
            IndexRotation::OneWeek => {
                // As the week counts in the United States: from Sunday, and the first of a year is the one that has
                // 1 January. So a week belongs to the year of its Saturday.
                let day = at.date_naive();
                let left = u64::from(6 - day.weekday().num_days_from_sunday());
                let saturday = day.checked_add_days(Days::new(left)).unwrap_or(day);
                format!("{name}-{}-w{:02}", saturday.year(), saturday.ordinal0() / 7 + 1)
            }
            IndexRotation::OneMonth => format!("{name}-{}", at.format("%Y-%m")),
        }
    }

    /// The id of a row's document, where we give it.
    pub fn document_id(&self, batch: BatchId, origin: RowOrigin) -> Option<String> {
        let ours = self.document_ids == DocumentIds::FirehoseDefault;
        ours.then(|| format!("{batch}.{}.{}", origin.position, origin.sub))
    }

    /// Checks that there can be such an index.
    ///
    /// # Errors
    /// [`OpenSearchOptionsError`].
    pub fn validate(&self) -> Result<(), OpenSearchOptionsError> {
        let longest = self.index(Timestamp(0)).len();
        let trouble = match self.name.as_str() {
            "" | "." | ".." => Some("it is no name"),
            name if name.starts_with(['-', '_', '+']) => Some("it begins with '-', '_' or '+'"),
            name if name.chars().any(char::is_uppercase) => Some("it has capitals"),
            name if name.contains(['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':']) => {
                Some("it has one of \\ / * ? \" < > | , # : or a space")
            }
            _ if longest > INDEX_BYTES_MAX => Some("it is too long"),
            _ => None,
        };
        if let Some(trouble) = trouble {
            return Err(OpenSearchOptionsError::Index(self.name.clone(), trouble));
        }
        let plain = self.rotation == IndexRotation::NoRotation && self.type_name.is_none();
        if self.data_stream && !plain {
            return Err(OpenSearchOptionsError::DataStream);
        }
        Ok(())
    }
}
