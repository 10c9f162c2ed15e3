//! Limits of rate and concurrency: of a credential, of a stream, and what applies where they have none of their own.

use std::time::Duration;

use standpipe_ingest::access::PutLimits;

use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, Int, Size, Span};

/// What stands for a limit that was lifted, so that no default takes its place.
const LIFTED: u64 = u64::MAX;
/// How long an unused rate is saved up unless told otherwise.
const BURST: Duration = Duration::from_secs(1);
/// Regions in which AWS allows more.
const LARGE_REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];
/// AWS's calls of each control plane operation in a second.
const AWS_CALLS_PER_SECOND: u64 = 5;

/// Limits of puts as configured; what is absent is taken from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutRates {
    records_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
    requests_per_second: Option<u64>,
    concurrent_requests: Option<u64>,
    burst: Option<Duration>,
}

impl PutRates {
    /// These, and where they say nothing, those of `default`.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        Self {
            records_per_second: self.records_per_second.or(default.records_per_second),
            bytes_per_second: self.bytes_per_second.or(default.bytes_per_second),
            requests_per_second: self.requests_per_second.or(default.requests_per_second),
            concurrent_requests: self.concurrent_requests.or(default.concurrent_requests),
            burst: self.burst.or(default.burst),
        }
    }

    /// The limits; `None` where there are none.
    pub fn limits(self) -> Option<PutLimits> {
        let limits = PutLimits {
            records_per_second: in_force(self.records_per_second),
            bytes_per_second: in_force(self.bytes_per_second),
            requests_per_second: in_force(self.requests_per_second),
            concurrent_requests: in_force(self.concurrent_requests),
            burst: self.burst.unwrap_or(BURST),
        };
        (!limits.is_unlimited()).then_some(limits)
    }

    /// What AWS allows a stream in a region.
    fn of_aws(region: &str) -> Self {
        let (records, requests, bytes) = if LARGE_REGIONS.contains(&region) {
            (500_000, 2_000, 5 << 20)
        } else {
            (100_000, 1_000, 1 << 20)
        };
        Self {
            records_per_second: Some(records),
            bytes_per_second: Some(bytes),
            requests_per_second: Some(requests),
            ..Self::default()
        }
    }
}

fn in_force(limit: Option<u64>) -> Option<u64> {
    limit.filter(|limit| *limit != LIFTED)
}

/// Limits of a credential as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CredentialRates {
    /// Of puts.
    pub puts: PutRates,
    calls_per_second: Option<u64>,
}

impl CredentialRates {
    /// These, and where they say nothing, those of `default`.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        Self {
            puts: self.puts.or(default.puts),
            calls_per_second: self.calls_per_second.or(default.calls_per_second),
        }
    }

    /// Calls of each other operation in a second; `None` without a limit.
    pub fn calls_per_second(self) -> Option<u64> {
        in_force(self.calls_per_second)
    }
}

/// The limits of those that have none of their own, and of all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RatesConfig {
    aws: bool,
    /// Of each credential.
    pub per_credential: CredentialRates,
    /// Of each stream.
    pub per_stream: PutRates,
    calls_per_second: Option<u64>,
}

impl RatesConfig {
    /// With AWS's quotas of the region, where they were asked for and nothing else is said.
    pub(super) fn in_region(self, region: &str) -> Self {
        if !self.aws {
            return self;
        }
        Self {
            per_stream: self.per_stream.or(PutRates::of_aws(region)),
            calls_per_second: self.calls_per_second.or(Some(AWS_CALLS_PER_SECOND)),
            ..self
        }
    }

    /// Calls of each operation other than a put in a second, from all together; `None` without a limit.
    pub fn calls_per_second(self) -> Option<u64> {
        in_force(self.calls_per_second)
    }
}

/// Reads the part of `limits` that is about rates.
pub(super) fn rates(section: &mut Section<'_, '_>) -> RatesConfig {
    RatesConfig {
        aws: section.or(
            "quotas",
            Choice(&[("none", false), ("aws", true)]),
            "none",
            "Whether streams and the control plane have AWS's quotas where nothing else is said: 5 calls per second of \
             each operation; per stream 500,000 records, 2,000 puts and 5 MiB per second in us-east-1, us-west-2 and \
             eu-west-1, else 100,000, 1,000 and 1 MiB.",
        ),
        per_credential: section.section(
            "per_credential",
            credential_rates,
            "Limits of each credential that has none of its own.",
        ),
        per_stream: section.section(
            "per_stream",
            put_rates,
            "Limits of each stream that has none of its own, also of those made through the API.",
        ),
        calls_per_second: calls(section),
    }
}

/// Reads the limits of a stream.
pub(super) fn put_rates(section: &mut Section<'_, '_>) -> Option<PutRates> {
    Some(read_put_rates(section))
}

/// Reads the limits of a credential.
pub(super) fn credential_rates(section: &mut Section<'_, '_>) -> Option<CredentialRates> {
    Some(CredentialRates { puts: read_put_rates(section), calls_per_second: calls(section) })
}

fn read_put_rates(section: &mut Section<'_, '_>) -> PutRates {
    PutRates {
        records_per_second: section.optional(
            "records_per_second",
            OrNone(Int(1..=1_000_000_000)),
            "Records put in a second; `none` lifts a default.",
        ),
        bytes_per_second: section.optional(
            "bytes_per_second",
            OrNone(Size(1..=1 << 40)),
            "Data bytes of records put in a second.",
        ),
        requests_per_second: section.optional(
            "requests_per_second",
            OrNone(Int(1..=1_000_000_000)),
            "Puts in a second.",
        ),
        concurrent_requests: section.optional(
            "concurrent_requests",
            OrNone(Int(1..=1_000_000)),
            "Puts that are being answered at the same time.",
        ),
        burst: section.optional(
            "burst",
            Span::secs(1..=3600),
            "How long an unused rate is saved up, to be used at once; 1s where absent.",
        ),
    }
}

fn calls(section: &mut Section<'_, '_>) -> Option<u64> {
    section.optional(
        "calls_per_second",
        OrNone(Int(1..=1_000_000)),
        "Calls of each operation other than a put in a second.",
    )
}

/// A limit, or `none`.
struct OrNone<S>(S);

impl<S: Shape<Out = u64>> Shape for OrNone<S> {
    type Out = u64;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<u64> {
        match at.text()?.as_str() {
            "none" => Some(LIFTED),
            _ => self.0.read(at),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Either(Box::new(self.0.schema()), Box::new(Schema::Choice(vec!["none"])))
    }
}
