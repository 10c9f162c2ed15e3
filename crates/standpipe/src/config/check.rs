//! Checks across sections: what a single value cannot know about the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use standpipe_model::StreamName;
use standpipe_sinks::key::{PrefixError, validate};

use super::Config;
use super::access;
use super::branches::check_apart;
use super::columns::check_schemas;
use super::compound::Named;
use super::format;
use super::functions::is_function_name;
use super::partitioning;
use super::problem::{Problem, Spot, check_names, did_you_mean};
use super::root::Draft;
use super::settings::DiskShare;
use super::stores::StoreConfig;
use super::streams::{DestinationDraft, S3_ONLY, StreamDraft};
use super::tables::find_objects;
use super::tls::TlsConfig;
use super::units::format_size;

/// What streams are checked against.
struct Surroundings<'a> {
    stores: &'a [Named<StoreConfig>],
    default_store: Option<&'a str>,
    /// The daemon's journal limit in bytes, where it is told in bytes.
    journal_limit: Option<u64>,
}

/// Checks a draft as a whole and makes the configuration of it; `None` where something was wrong, here or before.
pub(super) fn finish(mut draft: Draft, problems: &mut Vec<Problem>) -> Option<Config> {
    check_access(&draft, problems);
    check_stores(&draft, problems);
    check_keys(&draft, problems);
    check_functions(&draft, problems);
    check_tables(&mut draft, problems);
    check_schemas(&draft.schemas, problems);
    check_stream_names(&draft.streams, problems);
    let only = match draft.stores.as_slice() {
        [(name, ..)] => Some(name.clone()),
        _ => None,
    };
    let default_store = draft.default_store.clone().or(only);
    let around = Surroundings {
        stores: &draft.stores,
        default_store: default_store.as_deref(),
        journal_limit: match draft.journal.limit {
            DiskShare::Bytes(bytes) => Some(bytes),
            DiskShare::Percent(_) => None,
        },
    };
    let account = format::Account { id: &draft.account_id, region: &draft.region, catalogs: &draft.catalogs };
    for stream in &mut draft.streams {
        let name = stream.name.as_ref().map_or("", StreamName::as_str);
        for branch in &mut stream.branches {
            format::check(branch, name, &draft.schemas, &account, problems);
        }
        check_stream(stream, &around, problems);
        check_apart(stream, problems);
    }
    let policies = access::known(draft.policies);
    let credentials = access::resolve(draft.credentials, &policies, &[], problems);
    if !problems.is_empty() {
        return None;
    }
    let rates_of = |stream: &StreamDraft| Some((stream.name.clone()?, stream.rates));
    let stream_rates = draft.streams.iter().filter_map(rates_of).collect();
    let roles = draft.roles.into_iter().filter_map(|(arn, _, store)| Some((arn, store?))).collect();
    let streams: Option<Vec<_>> = draft.streams.into_iter().map(StreamDraft::into_spec).collect();
    Some(Config {
        listen: draft.listen,
        tls: draft.tls,
        admin: draft.admin,
        region: draft.region.clone(),
        account_id: draft.account_id,
        data_dir: draft.data_dir,
        credentials,
        credentials_file: draft.credentials_file,
        policies,
        stores: complete(draft.stores),
        default_store,
        keys: complete(draft.keys),
        default_key: draft.default_key,
        key_check_interval: draft.key_check_interval,
        schemas: complete(draft.schemas),
        catalogs: draft.catalogs,
        functions: complete(draft.functions),
        tables: complete(draft.tables),
        roles,
        delivery_log_dir: draft.delivery_log_dir,
        streams: streams.expect("a part of a stream that is missing has reported a problem"),
        journal: draft.journal,
        limits: draft.limits,
        rates: draft.rates.in_region(&draft.region),
        stream_rates,
        audit: draft.audit,
        stop: draft.stop,
    })
}

/// All of a section, which was read without a problem.
fn complete<T>(all: Vec<Named<T>>) -> BTreeMap<String, T> {
    let complete: Option<_> = all.into_iter().map(|(name, _, value)| Some((name, value?))).collect();
    complete.expect("what is missing has reported a problem")
}

/// Who is not asked for a signature must show a certificate, or be on this machine.
fn check_access(draft: &Draft, problems: &mut Vec<Problem>) {
    let untold = problems.is_empty();
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    let signed = !draft.credentials.is_empty() || draft.credentials_file.is_some();
    // Credentials that are wrong have told so.
    let unsigned = !signed && (untold || !draft.spots.given("credentials"));
    let certified = draft.tls.as_ref().is_some_and(TlsConfig::authenticates);
    let plain = draft.tls.as_ref().and_then(|tls| tls.plain_listen);
    if !draft.listen.ip().is_loopback() && unsigned && !certified {
        let message = format!(
            "{} can be reached from other machines, so \"credentials\" must be given; 127.0.0.1 can do without, and so \
             can \"tls\" with \"client_auth: required\"",
            draft.listen
        );
        refuse(draft.spots.of("listen"), message);
    }
    if let Some(plain) = plain.filter(|plain| !plain.ip().is_loopback() && unsigned) {
        let message = format!(
            "\"plain_listen\" {plain} can be reached from other machines, so \"credentials\" must be given; 127.0.0.1 \
             can do without"
        );
        refuse(draft.spots.of("tls"), message);
    }
    let same = |one: SocketAddr, other: SocketAddr| one == other && one.port() != 0;
    if same(draft.listen, draft.admin) {
        refuse(draft.spots.of("admin"), format!("{} is the address of \"listen\" already", draft.admin));
    }
    if let Some(plain) = plain.filter(|plain| same(*plain, draft.listen) || same(*plain, draft.admin)) {
        let taken = if plain == draft.listen { "listen" } else { "admin" };
        refuse(draft.spots.of("tls"), format!("{plain} is the address of \"{taken}\" already"));
    }
}

fn check_stores(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    if let Some(name) = &draft.default_store
        && let Err(message) = known("store", name, &draft.stores)
    {
        refuse(draft.spots.of("default_store"), message);
    }
    for (arn, spot, store) in &draft.roles {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        if !matches!(parts.as_slice(), ["arn", _, "iam", _, _, resource] if resource.starts_with("role/")) {
            let form = "arn:aws:iam::<account>:role/<name>";
            refuse(spot.clone(), format!("\"{arn}\" is not a role's ARN: {form}"));
        }
        if let Some(Err(message)) = store.as_ref().map(|store| known("store", store, &draft.stores)) {
            refuse(spot.clone(), message);
        }
    }
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, spot, store) in &draft.stores {
        for bucket in store.iter().flat_map(StoreConfig::buckets) {
            if let Some(earlier) = listed.insert(bucket, name) {
                let message = format!("the bucket \"{bucket}\" is listed by the store \"{earlier}\" already");
                refuse(spot.clone(), message);
            }
        }
    }
}

fn check_keys(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    if let Some(name) = &draft.default_key
        && let Err(message) = known("key", name, &draft.keys)
    {
        refuse(draft.spots.of("default_key"), message);
    }
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, spot, key) in &draft.keys {
        if !(1..=64).contains(&name.len()) {
            refuse(spot.clone(), format!("a key's name has 1 to 64 bytes, this one has {}", name.len()));
        }
        for arn in key.iter().flat_map(|key| &key.arns) {
            if let Some(earlier) = listed.insert(arn, name) {
                refuse(spot.clone(), format!("\"{arn}\" is listed by the key \"{earlier}\" already"));
            }
        }
    }
    for stream in &draft.streams {
        if let Some((name, spot)) = &stream.encryption
            && let Err(message) = known("key", name, &draft.keys)
        {
            refuse(spot.clone(), message);
        }
    }
}

fn check_functions(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut refuse = |spot: &Spot, message: String| problems.push(Problem { spot: spot.clone(), message });
    for (name, spot, _) in draft.functions.iter().filter(|(name, ..)| !is_function_name(name)) {
        refuse(spot, format!("\"{name}\" is no function's name: 1 to 64 letters, digits, `-` and `_`"));
    }
    for (name, spot) in draft.streams.iter().flat_map(StreamDraft::calls) {
        if let Err(message) = known("function", name, &draft.functions) {
            refuse(spot, message);
        }
    }
}

fn check_tables(draft: &mut Draft, problems: &mut Vec<Problem>) {
    let mut refuse = |spot: &Spot, message: String| problems.push(Problem { spot: spot.clone(), message });
    for (spot, message) in find_objects(&mut draft.tables, &draft.stores) {
        refuse(spot, message);
    }
    for (name, spot, _) in draft.tables.iter().filter(|(name, ..)| !is_function_name(name)) {
        refuse(spot, format!("\"{name}\" is no table's name: 1 to 64 letters, digits, `-` and `_`"));
    }
    let by_functions = draft.functions.iter().flat_map(|(_, spot, function)| {
        let tables = function.iter().flat_map(|function| &function.tables);
        tables.map(move |table| (table, spot))
    });
    let lookups = draft.streams.iter().flat_map(StreamDraft::lookups).map(|(table, spot)| (table, spot));
    for (name, spot) in by_functions.chain(lookups) {
        if let Err(message) = known("table", name, &draft.tables) {
            refuse(spot, message);
        }
    }
}

/// Streams share one space of names, whichever file they come from.
fn check_stream_names(streams: &[StreamDraft], problems: &mut Vec<Problem>) {
    let names =
        streams.iter().filter_map(|stream| Some((stream.name.as_ref()?.as_str(), stream.spots.of("name"))));
    check_names("stream", names, problems);
}

/// Whether a name of a `what` is under the section `what`s.
pub(super) fn known<T>(what: &str, name: &str, all: &[Named<T>]) -> Result<(), String> {
    if all.iter().any(|(known, ..)| known == name) {
        return Ok(());
    }
    let hint = did_you_mean(name, all.iter().map(|(known, ..)| known.as_str()));
    Err(format!("there is no {what} \"{name}\" under \"{what}s\"{hint}"))
}

fn check_stream(stream: &mut StreamDraft, around: &Surroundings<'_>, problems: &mut Vec<Problem>) {
    let limit = stream.journal_limit.or(around.journal_limit);
    if let (Some(own), Some(all)) = (stream.journal_limit, around.journal_limit)
        && own > all
    {
        let message =
            format!("{} is above the limit of all journals together, {}", format_size(own), format_size(all));
        problems.push(Problem { spot: stream.spots.of("journal_limit"), message });
    }
    if let Some(backup) = stream.backup.as_ref().filter(|backup| backup.partitioning.is_some()) {
        let message = "a backup has no partitions: it gets the records as they came".to_owned();
        problems.push(Problem { spot: backup.spots.of("partitioning"), message });
    }
    for branch in &stream.branches {
        partitioning::check(branch, limit, problems);
    }
    partitioning::check_together(stream, limit, problems);
    let branches = stream.branches.iter_mut().filter_map(|branch| branch.destination.as_mut());
    for destination in branches.chain(&mut stream.backup) {
        check_destination(destination, limit, around, problems);
    }
}

/// Checks one destination, and fills in the store where none was named.
fn check_destination(
    destination: &mut DestinationDraft,
    journal_limit: Option<u64>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) {
    let spots = destination.spots.clone();
    let mut refuse = |spot: Spot, message: String| problems.push(Problem { spot, message });
    let size = destination.spec.buffering.size_bytes;
    if let Some(limit) = journal_limit.filter(|_| destination.partitioning.is_none())
        && size > limit / 2
    {
        let message = format!(
            "{} is more than half of the journal's limit, {}: a batch could not close before the journal is full",
            format_size(size),
            format_size(limit)
        );
        refuse(destination.size_spot.clone(), message);
    }
    if let Err(error) =
        standpipe_encode::validate_level(destination.spec.compression, destination.spec.compression_level)
    {
        refuse(spots.of("compression_level"), error.to_string());
    }
    let spec = &destination.spec;
    if let Err(error) = validate(&spec.prefix, &spec.error_output_prefix, spec.partitioning.is_some()) {
        // The sentence before the rule and the names of its members are for the API's clients, who match on the text.
        let text =
            error.to_string().replace("ErrorOutputPrefix", "error_output_prefix").replace("Prefix", "prefix");
        let rule = text.split_once("constraint: ").map_or(text.as_str(), |(_, rule)| rule);
        refuse(spots.of(prefix_at_fault(&error)), rule.to_owned());
    }
    let Some(store) = destination.store.as_deref().or(around.default_store) else {
        refuse(spots.of("store"), "no store: name one with \"store\", or set \"default_store\"".to_owned());
        return;
    };
    destination.spec.store = store.to_owned();
    if destination.store.is_some()
        && let Err(message) = known("store", store, around.stores)
    {
        refuse(spots.of("store"), message);
    }
    let Some((_, _, Some(config))) = around.stores.iter().find(|(name, ..)| name == store) else {
        return;
    };
    if !matches!(config, StoreConfig::S3(_)) {
        for key in S3_ONLY.into_iter().filter(|key| spots.given(key)) {
            refuse(
                spots.of(key),
                format!("the store \"{store}\" is of type {}, only s3 has this", config.kind()),
            );
        }
    }
    let is_staged = destination.spec.endpoint.as_ref().is_some_and(|of| of.target.is_staged());
    if is_staged && !matches!(config, StoreConfig::S3(_)) {
        let message =
            format!("the store \"{store}\" is of type {}, and COPY reads from S3 only", config.kind());
        refuse(spots.of("store"), message);
    }
    if destination.spec.bucket.is_empty() && !matches!(config, StoreConfig::File(_)) {
        refuse(
            spots.of("bucket"),
            format!("the key \"bucket\" is missing: \"{store}\" is of type {}", config.kind()),
        );
    }
}

/// The key whose value breaks the rule.
fn prefix_at_fault(error: &PrefixError) -> &'static str {
    match error {
        PrefixError::ErrorPrefixMissing
        | PrefixError::ErrorTypeMissing
        | PrefixError::PartitionKeyInErrorPrefix
        | PrefixError::Length { error_output: true }
        | PrefixError::Value { error_output: true } => "error_output_prefix",
        _ => "prefix",
    }
}
