//! Settings of an S3 store: data, checked before a sink is made of them.

use std::time::Duration;

use standpipe_model::Secret;

/// The smallest part that S3 takes, the last one aside.
const PART_BYTES_MIN: u64 = 5 << 20;
/// A part is held in memory while it is sent.
const PART_BYTES_MAX: u64 = 1 << 30;
/// More than this many connections to one store serve nobody.
const PARTS_IN_FLIGHT_MAX: usize = 64;

/// How to reach and use an S3 store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The store's URL; AWS where absent.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path rather than in the host name.
    pub path_style: bool,
    /// Who asks.
    pub credentials: S3Credentials,
    /// Certificates in PEM that are trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// What protects the bytes on their way. It is sent as a header, never as a trailer, which many stores refuse.
    pub checksum: S3Checksum,
    /// Whether objects are stored with `If-None-Match: *`. Without it a repeated attempt overwrites the same rows.
    pub conditional_put: bool,
    /// The size of a part, and how much is buffered before an upload becomes one of many parts.
    pub part_bytes: u64,
    /// How many parts of one object are on the way at a time.
    pub parts_in_flight: usize,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a request may take, beside the time its bytes need.
    pub request_timeout: Duration,
}

/// Where the credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// From the settings.
    Static {
        /// The access key id.
        access_key_id: String,
        /// The secret access key.
        secret_access_key: Secret,
        /// The session token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// The AWS chain: environment, profile, web identity, container, instance metadata.
    Chain,
}

/// The checksum that a store verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum S3Checksum {
    /// CRC-32C.
    #[default]
    Crc32c,
    /// CRC-64/NVME, AWS's own default.
    Crc64Nvme,
    /// CRC-32.
    Crc32,
    /// None, for stores that refuse the headers.
    Off,
}

/// A setting is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3OptionsError {
    /// The endpoint is not a plain URL.
    #[error("endpoint must be http:// or https:// with a host and neither credentials nor a query")]
    Endpoint,
    /// The region is empty or not a name.
    #[error("region '{0}' is not a name of letters, digits, '-' and '_'")]
    Region(String),
    /// A static credential is empty or cannot stand in a header.
    #[error("{0} is empty or holds characters that no credential has")]
    Credential(&'static str),
    /// The part size is outside the limits.
    #[error("a part of {0} bytes is outside {PART_BYTES_MIN} to {PART_BYTES_MAX}")]
    PartBytes(u64),
    /// The number of parts in flight is outside the limits.
    #[error("{0} parts in flight are outside 1 to {PARTS_IN_FLIGHT_MAX}")]
    PartsInFlight(usize),
    /// A timeout is zero.
    #[error("{0} must not be zero")]
    Timeout(&'static str),
    /// The additional certificates cannot be read.
    #[error("the additional certificates are not certificates in PEM: {0}")]
    Certificates(String),
    /// The credential chain was left out of this build.
    #[error("this build has no AWS credential chain; set an access key id and a secret access key")]
    NoChain,
}

impl S3Options {
    /// The defaults for a store with these credentials: AWS in `us-east-1`, parts of 8 MiB, three on the way.
    pub fn new(credentials: S3Credentials) -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".to_owned(),
            path_style: false,
            credentials,
            ca_pem: None,
            checksum: S3Checksum::default(),
            conditional_put: true,
            part_bytes: 8 << 20,
            parts_in_flight: 3,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(60),
        }
    }

    /// The most memory that one attempt holds for an object of up to a thousand parts: the parts on the way and the one
    /// being filled. It grows by the same amount with every thousand parts more.
    pub fn memory_per_attempt(&self) -> u64 {
        self.part_bytes * (self.parts_in_flight as u64 + 1)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The first setting that is not usable.
    pub fn validate(&self) -> Result<(), S3OptionsError> {
        self.endpoint.as_deref().map_or(Ok(()), check_endpoint)?;
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if self.region.is_empty() || !self.region.chars().all(named) {
            return Err(S3OptionsError::Region(self.region.clone()));
        }
        self.credentials.validate()?;
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&self.part_bytes) {
            return Err(S3OptionsError::PartBytes(self.part_bytes));
        }
        if !(1..=PARTS_IN_FLIGHT_MAX).contains(&self.parts_in_flight) {
            return Err(S3OptionsError::PartsInFlight(self.parts_in_flight));
        }
        for (timeout, name) in
            [(self.connect_timeout, "connect_timeout"), (self.request_timeout, "request_timeout")]
        {
            if timeout.is_zero() {
                return Err(S3OptionsError::Timeout(name));
            }
        }
        Ok(())
    }
}

impl S3Credentials {
    fn validate(&self) -> Result<(), S3OptionsError> {
        let check = |name, text: &str| match !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) {
            true => Ok(()),
            false => Err(S3OptionsError::Credential(name)),
        };
        match self {
            Self::Static { access_key_id, secret_access_key, session_token } => {
                check("access key id", access_key_id)?;
                check("secret access key", secret_access_key.expose())?;
                session_token.as_ref().map_or(Ok(()), |token| check("session token", token.expose()))
            }
            Self::Chain if cfg!(feature = "aws-chain") => Ok(()),
            Self::Chain => Err(S3OptionsError::NoChain),
        }
    }
}

/// A URL with credentials in it would end up in every message.
fn check_endpoint(endpoint: &str) -> Result<(), S3OptionsError> {
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let sound = rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'@' | b'?' | b'#'))
    });
    sound.then_some(()).ok_or(S3OptionsError::Endpoint)
}
