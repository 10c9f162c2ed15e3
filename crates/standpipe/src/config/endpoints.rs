//! Destinations that take rows in requests: `http` and its like, each with where what it does not take goes.

use std::time::Duration;

use standpipe_model::Secret;
use standpipe_sinks::http::HttpFormat;
use standpipe_sinks::splunk::HecEndpoint;

use super::compound::{Map, Sub};
use super::problem::Spot;
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::{Choice, FilePath, Int, Size, Span, Truth, Url, secret, secret_text, text};
use super::streams::{DestinationDraft, buffering, s3};
use super::units::format_duration;
use crate::endpoints::{Endpoint, HttpTarget, Reach, SplunkTarget, Target};
use crate::spec::{Buffering, Patience};

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
    patience: Patience,
}

/// What an endpoint's object store is for.
pub(super) struct StoreUse {
    /// Its key.
    pub(super) key: &'static str,
    pub(super) doc: &'static str,
    /// What may be said of it beside what may be said of any.
    pub(super) also: &'static [&'static str],
    /// Why all else may not.
    pub(super) why: &'static str,
    /// How long requests may fail.
    pub(super) retry: &'static str,
    /// What a batch is.
    pub(super) batch: &'static str,
}

pub(super) const ERROR_OUTPUT: StoreUse = StoreUse {
    key: "error_output|s3_configuration",
    doc: "The object store that gets what the destination does not take (`S3Configuration`).",
    also: &[],
    why: "this is about objects of rows, and the error output has none: its lines are never compressed nor converted, and \
          \"buffering\" stands beside \"error_output\"",
    retry: "5m",
    batch: "When a batch closes; whichever comes first. A batch is sent in as few requests as the endpoint's limits allow.",
};

/// The same of a table of Iceberg.
pub(super) const ERROR_OUTPUT_OF_TABLE: StoreUse = StoreUse {
    batch: "When a batch closes; whichever comes first. A batch is a file of the table, and a snapshot.",
    ..ERROR_OUTPUT
};

fn store_of(section: &mut Section<'_, '_>, store: &StoreUse) -> Option<DestinationDraft> {
    let draft = section.required(store.key, Sub(s3), store.doc);
    if let Some(draft) = &draft {
        let of_store = |key: &&str| OF_ERROR_OUTPUT.contains(key) || store.also.contains(key);
        for key in draft.spots.all().filter(|key| !of_store(key)) {
            section.refuse_at(draft.spots.of(key), store.why);
        }
    }
    draft
}

/// Reads what all endpoints have in common.
pub(super) fn common(section: &mut Section<'_, '_>) -> Common {
    common_with(section, &ERROR_OUTPUT)
}

/// The same, where the object store is for more than the error output.
pub(super) fn common_with(section: &mut Section<'_, '_>, store: &StoreUse) -> Common {
    let error_output = store_of(section, store);
    let buffering = section.section("buffering|buffering_hints", buffering, store.batch);
    let retry = section.or(
        "retry",
        Span(Duration::ZERO..=Duration::from_hours(24)),
        store.retry,
        "How long requests may fail before their records go to the error output (`RetryOptions`); what someone has to \
         mend, such as a wrong key, does not count. (The Firehose API allows 0 to 7200 seconds.)",
    );
    let max_lag = section.optional(
        "max_lag",
        Span(Duration::from_secs(1)..=Duration::from_hours(24 * 365)),
        "How old the first record of a batch may become while requests fail, whatever the reason: then what is left of the \
         batch goes to the error output, and holds the journal no longer. Where absent, what someone has to mend holds it for \
         as long as it takes. At least `interval` and `retry` together.",
    );
    let least = buffering.0.interval() + retry;
    if let Some(max_lag) = max_lag.filter(|max_lag| *max_lag < least) {
        let message = format!(
            "{} is less than \"interval\" and \"retry\" together, {}: records would be given up before their time is over",
            format_duration(max_lag),
            format_duration(least)
        );
        section.refuse("max_lag", message);
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let patience = Patience { retry_ms: millis(retry), max_lag_ms: max_lag.map(millis) };
    Common { error_output, buffering, patience }
}

impl Common {
    /// The destination with its endpoint, if every part of it was right.
    pub(super) fn with(self, target: Target) -> Option<DestinationDraft> {
        let Patience { retry_ms, max_lag_ms } = self.patience;
        let mut draft = self.of_table()?;
        draft.spec.patience = None;
        draft.spec.endpoint = Some(Endpoint { retry_ms, max_lag_ms, target });
        Some(draft)
    }

    /// The destination of files that become a part of a table, if every part of it was right.
    pub(super) fn of_table(self) -> Option<DestinationDraft> {
        let Self { error_output, buffering, patience } = self;
        let (buffering, [size_spot, interval_spot], size_is_given) = buffering;
        let mut draft = error_output?;
        (draft.spec.buffering, draft.spec.patience) = (buffering, Some(patience));
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
    certificates(section, "Certificate authorities (PEM) trusted beside the system's.")
}

/// The files of certificates; `ca_doc` says what authorities are for.
pub(super) fn certificates(section: &mut Section<'_, '_>, ca_doc: &'static str) -> Option<Reach> {
    let ca_file = section.optional("ca_file", FilePath, ca_doc);
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

/// Reads a Splunk.
pub(super) fn splunk(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let url =
        section.required("url|hec_endpoint", Url, "Its address, as `https://splunk:8088` (`HECEndpoint`).");
    let endpoint = section.required(
        "endpoint|hec_endpoint_type",
        Choice(&[("raw", HecEndpoint::Raw), ("event", HecEndpoint::Event)]),
        "What records are: text that Splunk takes apart, or HEC event objects (`HECEndpointType`).",
    );
    let token = secret(
        section,
        "token",
        "token_file",
        "The token of the HTTP Event Collector (`HECToken`).",
        "A file that holds the token.",
    );
    if token.is_none() && !section.given("token") && !section.given("token_file") {
        section.refuse("", "the key \"token\" or \"token_file\" is missing");
    }
    let acknowledged = section.or(
        "acknowledgement",
        Truth,
        "true",
        "Whether records count as delivered only when the indexer has acknowledged them; the token must have that turned on.",
    );
    let acknowledgement = section.or(
        "acknowledgement_timeout|hec_acknowledgment_timeout",
        Span::secs(1..=3600),
        "180s",
        "How long the indexer may take to acknowledge a request. (The Firehose API allows 180 to 600 seconds.)",
    );
    let bytes_max = section.optional(
        "bytes_max",
        Size(1 << 10..=47 << 20),
        "The most bytes of a request's records. 5 MiB where absent; Splunk Cloud takes 1 MiB.",
    );
    let reach = reach(section);
    let common = common(section);
    let millis = u64::try_from(acknowledgement.as_millis()).unwrap_or(u64::MAX);
    let target = SplunkTarget {
        url: url?,
        endpoint: endpoint?,
        token: token?,
        acknowledgement_ms: acknowledged.then_some(millis),
        bytes_max,
        reach,
    };
    common.with(Target::Splunk(target))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bad, good};
    use super::*;

    fn with_http(http: &str, beside: &str) -> String {
        format!(
            "stores: {{disk: {{type: file, path: d}}}}\nstreams:\n- name: a\n  destination:\n    http: {http}\n{beside}"
        )
    }

    #[test]
    fn an_endpoint_comes_with_the_store_of_its_error_output() {
        let http = r#"{url: "https://x/in?dd=1", access_key: hunter2, headers: {X-Team: web}, format: ndjson, retry: 1m,
          gzip: true, buffering: {size: 1MiB, interval: 5s}, error_output: {prefix: raw/}}"#;
        let spec = good(&with_http(http, "")).streams.remove(0);
        let destination = &spec.destination;
        assert_eq!((destination.store.as_str(), destination.prefix.as_str()), ("disk", "raw/"));
        assert_eq!(destination.buffering, Buffering { size_bytes: 1 << 20, interval_ms: 5_000 });
        let Some(Endpoint { retry_ms: 60_000, max_lag_ms: None, target: Target::Http(http) }) =
            &destination.endpoint
        else {
            panic!("{:?}", destination.endpoint)
        };
        let limits = (http.limits().rows_max, http.limits().bytes_max);
        assert_eq!((http.format, http.gzip, limits), (HttpFormat::Ndjson, true, (usize::MAX, 47 << 20)));
        assert_eq!(http.address(), "https://x");
        let shown = format!("{spec:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("\"web\""), "{shown}");
        let kept = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<crate::spec::StreamSpec>(&kept).unwrap(), spec);
    }

    #[test]
    fn what_an_endpoint_cannot_have_is_refused_by_name() {
        bad(
            &with_http("{url: \"https://me:word@x/\", tls: {cert_file: c}}", ""),
            &[
                "standpipe.yaml:5:11: streams[0].destination.http: the key \"error_output\" is missing: The object store that gets what the destination does not take (`S3Configuration`).",
                "standpipe.yaml:5:17: streams[0].destination.http.url: an address must not hold credentials",
                "standpipe.yaml:5:44: streams[0].destination.http.tls: a client certificate needs \"cert_file\" and \"key_file\"",
            ],
        );
        bad(
            &with_http("{url: \"http://x\", error_output: {compression: gzip}}", "    s3: {}\n"),
            &[
                "standpipe.yaml:5:11: streams[0].destination.http: this is one destination: several are a list under \"destinations\"",
                "standpipe.yaml:5:57: streams[0].destination.http.error_output.compression: this is about objects of rows, and the error output has none: its lines are never compressed nor converted, and \"buffering\" stands beside \"error_output\"",
            ],
        );
        let format = "  format: {parquet: {schema: l.t}}\nschemas: {l.t: {columns: {a: int}}}\n";
        bad(
            &with_http("{url: \"http://x\", error_output: {}}", format),
            &[
                "standpipe.yaml:6:11: streams[0].format: \"format\" makes files, and this destination takes records: use processors for their form",
            ],
        );
    }
}
