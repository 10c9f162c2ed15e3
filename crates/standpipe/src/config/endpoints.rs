//! Destinations that take rows in requests: `http` and its like, each with where what it does not take goes.

use std::time::Duration;

use standpipe_model::Secret;
use standpipe_sinks::http::HttpFormat;

use super::compound::{Map, Sub};
use super::problem::Spot;
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, FilePath, Int, Size, Span, Truth, secret, secret_text, text};
use super::streams::{DestinationDraft, buffering, s3};
use crate::endpoints::{Endpoint, HttpTarget, Reach, Target};
use crate::spec::Buffering;

/// What may be said of the object store that gets the error output; everything else there is about objects of rows.
const OF_ERROR_OUTPUT: [&str; 13] = [
    "",
    "store",
    "bucket",
    "error_output_prefix",
    "prefix",
    "custom_time_zone",
    "logging",
    "storage_class",
    "acl",
    "encryption",
    "tags",
    "metadata",
    "object_lock",
];

/// What all endpoints have in common.
pub(super) struct Common {
    error_output: Option<DestinationDraft>,
    buffering: (Buffering, [Spot; 2], bool),
    retry: Duration,
}

/// Reads what all endpoints have in common.
pub(super) fn common(section: &mut Section<'_, '_>) -> Common {
    let error_output = section.required(
        "error_output|s3_configuration",
        Sub(s3),
        "The object store that gets what the endpoint does not take (`S3Configuration`).",
    );
    if let Some(draft) = &error_output {
        for key in draft.spots.all().filter(|key| !OF_ERROR_OUTPUT.contains(key)) {
            let message = "this is about objects of rows, and the error output has none: its lines are never compressed \
                           nor converted, and \"buffering\" stands beside \"error_output\"";
            section.refuse_at(draft.spots.of(key), message);
        }
    }
    let buffering = section.section(
        "buffering|buffering_hints",
        buffering,
        "When a batch closes; whichever comes first. A batch is sent in as few requests as the endpoint's limits allow.",
    );
    let retry = section.or(
        "retry",
        Span(Duration::ZERO..=Duration::from_hours(24)),
        "5m",
        "How long requests may fail before their records go to the error output (`RetryOptions`); what someone has to \
         mend, such as a wrong key, does not count. (The Firehose API allows 0 to 7200 seconds.)",
    );
    Common { error_output, buffering, retry }
}

impl Common {
    /// The destination with its endpoint, if every part of it was right.
    pub(super) fn with(self, target: Target) -> Option<DestinationDraft> {
        let Self { error_output, buffering: (buffering, [size_spot, interval_spot], size_is_given), retry } =
            self;
        let mut draft = error_output?;
        let retry_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX);
        draft.spec.buffering = buffering;
        draft.spec.endpoint = Some(Endpoint { retry_ms, target });
        Some(DestinationDraft { size_spot, interval_spot, size_is_given, ..draft })
    }
}

/// How an endpoint that speaks HTTP is reached.
pub(super) fn reach(section: &mut Section<'_, '_>) -> Reach {
    let tls = section.section("tls", tls, "Certificates, where the endpoint's URL begins with https.");
    let proxy = secret(
        section,
        "proxy",
        "proxy_file",
        "The URL of a proxy, which may hold a user and password. None is taken from the environment.",
        "A file that holds the URL of the proxy.",
    );
    let connect =
        section.or("connect_timeout", Span::secs(1..=300), "10s", "Until a connection stands, TLS included.");
    let request =
        section.or("request_timeout", Span::secs(1..=3600), "3m", "For one request with its answer.");
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Reach { proxy, connect_timeout_ms: millis(connect), request_timeout_ms: millis(request), ..tls }
}

fn tls(section: &mut Section<'_, '_>) -> Option<Reach> {
    let ca_file =
        section.optional("ca_file", FilePath, "Certificate authorities (PEM) trusted beside the system's.");
    let cert_file = section.optional("cert_file", FilePath, "The client certificate (PEM), with its chain.");
    let key_file = section.optional("key_file", FilePath, "The client certificate's key (PEM).");
    if cert_file.is_some() != key_file.is_some() {
        section.refuse("", "a client certificate needs \"cert_file\" and \"key_file\"");
    }
    Some(Reach { ca_file, cert_file, key_file, ..Reach::default() })
}

/// An `http://` or `https://` address that may hold a query, as an endpoint's may.
pub(super) struct EndpointUrl;

impl Shape for EndpointUrl {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let url = at.text()?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // Not repeated: it may hold a token or a password.
        if host.contains('@') {
            return at.refuse("an address must not hold credentials");
        }
        if host.is_empty() || url.len() > 2000 || url.contains(|c: char| c.is_whitespace() || c == '#') {
            return at.refuse("this is not an address with http:// or https:// of at most 2,000 bytes");
        }
        Some(url)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "http or https address".to_owned(), pattern: "^https?://" }
    }
}

const FORMAT: Choice<HttpFormat> = Choice(&[
    ("firehose", HttpFormat::Firehose),
    ("ndjson", HttpFormat::Ndjson),
    ("json_array", HttpFormat::JsonArray),
    ("raw", HttpFormat::Raw),
]);

/// Reads an HTTP endpoint.
pub(super) fn http(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let url = section.required("url", EndpointUrl, "Where requests are posted to.");
    let format = section.or(
        "format",
        FORMAT,
        "firehose",
        "How records become a body: by Firehose's delivery protocol, a line for each, one JSON array, or one behind the \
         other with nothing between.",
    );
    let access_key = secret(
        section,
        "access_key",
        "access_key_file",
        "What the endpoint knows the sender by (`X-Amz-Firehose-Access-Key`).",
        "A file that holds the access key.",
    );
    let headers = section
        .optional("headers", Map(secret_text()), "Further headers; their values are kept secret.")
        .unwrap_or_default();
    let common_attributes = section
        .optional(
            "common_attributes",
            Map(text(0..=1024)),
            "What the endpoint is told with each request (`X-Amz-Firehose-Common-Attributes`), at most 50.",
        )
        .unwrap_or_default();
    if common_attributes.len() > 50 {
        section.refuse("common_attributes", format!("{} of them, 50 are allowed", common_attributes.len()));
    }
    let gzip = section.or("gzip", Truth, "false", "Whether bodies are compressed (`ContentEncoding: GZIP`).");
    let records_max = section.optional(
        "records_max",
        Int(1..=1_000_000),
        "The most records of a request; Firehose's protocol allows 10,000, which it is there where absent.",
    );
    let bytes_max = section.optional(
        "bytes_max",
        Size(1 << 10..=47 << 20),
        "The most bytes of a request's records, before they are encoded or compressed. 47 MiB where absent.",
    );
    let reach = reach(section);
    let common = common(section);
    let target = HttpTarget {
        format,
        access_key,
        headers: headers
            .into_iter()
            .filter_map(|(name, _, value)| Some((name, Secret::new(value?))))
            .collect(),
        common_attributes: common_attributes
            .into_iter()
            .filter_map(|(name, _, value)| Some((name, value?)))
            .collect(),
        gzip,
        records_max: records_max.and_then(|most| usize::try_from(most).ok()),
        bytes_max,
        reach,
        ..HttpTarget::at(url?)
    };
    common.with(Target::Http(target))
}
