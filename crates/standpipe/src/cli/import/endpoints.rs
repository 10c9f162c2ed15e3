//! The members of destinations that take records in requests, as keys of `destination.http`, `.opensearch` and `.splunk`.
//!
//! # Limits
//! - Keys and tokens are not copied: in their place stand variables of the environment, which a remark names. So does the
//!   address of a cluster that is given by its ARN alone.

use serde_json::{Map, Value, json};
use standpipe_sinks::opensearch::SigningService;

use super::stream::{Fields, Scope, Yaml, open, structure, text};
use super::{members, processing, s3};
use crate::endpoints::ClusterAuth;

/// What becomes of each member that all of them have.
const MEMBERS: [(&str, s3::Take); 3] = [
    ("ProcessingConfiguration", processing::processing),
    ("BufferingHints", s3::buffering),
    ("RetryOptions", retry),
];

const ADVICE: [(&str, &str); 2] = [
    (
        "SecretsManagerConfiguration",
        "have the secret in a file (access_key_file, token_file, password_file) or in the variable",
    ),
    ("DomainARN", "an ARN leads to no address here: set the variable to the domain's endpoint"),
];

/// Maps the members that a kind has for itself, and takes them out.
type Own = fn(&mut Map<String, Value>, &mut Fields, &mut Scope<'_>) -> Result<(), String>;
/// Maps the bucket, and what depends on it.
type Bucket =
    fn(Map<String, Value>, &mut Map<String, Value>, &mut Fields, &mut Scope<'_>) -> Result<(), String>;

/// Maps an HTTP endpoint.
///
/// # Errors
/// It has no address, or no bucket.
pub(super) fn http(given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    endpoint(given, scope, |given, yaml, scope| {
        let mut endpoint = required(given, "EndpointConfiguration", scope)?;
        let mut within = scope.within("EndpointConfiguration");
        yaml.text("url", named(&mut endpoint, "Url", &within)?);
        if let Some(name) = endpoint.remove("Name").filter(|name| !name.is_null()) {
            within.remark("Name", &format!("{name}; a label that the file has no key for"));
        }
        match endpoint.remove("AccessKey") {
            Some(_) => within.secret(yaml, "AccessKey", "access_key"),
            None => {
                within.remark(
                    "AccessKey",
                    "none is told, as in every description; where there is one, give access_key",
                );
            }
        }
        within.leave(endpoint, &ADVICE);
        requests(given, yaml, scope)
    })
}

/// Maps how requests are made.
fn requests(given: &mut Map<String, Value>, yaml: &mut Fields, scope: &mut Scope<'_>) -> Result<(), String> {
    let mut request = members(given.remove("RequestConfiguration").as_ref());
    let mut scope = scope.within("RequestConfiguration");
    if let Some(coding) = request.remove("ContentEncoding") {
        yaml.0.push(("gzip", Yaml::Truth(coding == "GZIP")));
    }
    if let Some(attributes) = request.remove("CommonAttributes") {
        let pair = |attribute: &Value| {
            let of = |name: &str| text(attribute.get(name).unwrap_or(&Value::Null));
            Ok((of("AttributeName")?, of("AttributeValue")?))
        };
        match attributes.as_array().into_iter().flatten().map(pair).collect::<Result<_, String>>() {
            Ok(words) => yaml.words("common_attributes", words),
            Err(why) => scope.note("CommonAttributes", &attributes, format!("one of them {why}")),
        }
    }
    scope.leave(request, &[]);
    Ok(())
}

/// Maps a Splunk.
///
/// # Errors
/// It has no address, or no bucket.
pub(super) fn splunk(mut given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    // AWS's interval here is another than for all others.
    if let Value::Object(hints) = given.entry("BufferingHints").or_insert_with(|| json!({}))
        && !hints.contains_key("IntervalInSeconds")
    {
        hints.insert("IntervalInSeconds".to_owned(), 60.into());
    }
    endpoint(given, scope, |given, yaml, scope| {
        yaml.text("url", named(given, "HECEndpoint", scope)?);
        let kind = named(given, "HECEndpointType", scope)?;
        yaml.text("endpoint", kind.to_ascii_lowercase());
        given.remove("HECToken");
        scope.secret(yaml, "HECToken", "token");
        if let Some(seconds) = given.remove("HECAcknowledgmentTimeoutInSeconds") {
            match text(&seconds) {
                Ok(seconds) => yaml.text("acknowledgement_timeout", format!("{seconds}s")),
                Err(why) => scope.note("HECAcknowledgmentTimeoutInSeconds", &seconds, why),
            }
        }
        Ok(())
    })
}

/// Maps a domain of OpenSearch.
///
/// # Errors
/// It has neither address nor ARN, no index, or no bucket.
pub(super) fn opensearch(given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    endpoint(given, scope, |given, yaml, scope| cluster(None, given, yaml, scope))
}

/// Maps a domain of Elasticsearch, likewise.
pub(super) fn elasticsearch(given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    endpoint(given, scope, |given, yaml, scope| cluster(Some("elasticsearch"), given, yaml, scope))
}

/// Maps a collection, likewise.
pub(super) fn serverless(given: Map<String, Value>, scope: &mut Scope<'_>) -> Result<Fields, String> {
    endpoint(given, scope, |given, yaml, scope| {
        cluster(Some("serverless"), given, yaml, scope)?;
        // Not every collection takes ids of ours.
        yaml.text("document_ids", "none");
        Ok(())
    })
}

fn cluster(
    product: Option<&str>,
    given: &mut Map<String, Value>,
    yaml: &mut Fields,
    scope: &mut Scope<'_>,
) -> Result<(), String> {
    let address = ["ClusterEndpoint", "CollectionEndpoint"].into_iter().find_map(|name| given.remove(name));
    let auth = match (address, given.get("DomainARN").map(text)) {
        (Some(address), _) => {
            let address = text(&address).map_err(|why| format!("{}: its endpoint {why}", scope.path))?;
            yaml.text("endpoint", address.as_str());
            ClusterAuth::of_host(&address)
        }
        (None, Some(arn)) => {
            let region =
                arn.ok().and_then(|arn| arn.split(':').nth(3).map(str::to_owned)).unwrap_or_default();
            scope.variable(yaml, "endpoint", "the endpoint of the domain");
            ClusterAuth::of_host(&format!("https://domain.{region}.es.amazonaws.com"))
        }
        (None, None) => return Err(format!("{} has no endpoint", scope.path)),
    };
    if let ClusterAuth::Aws { region, service, .. } = auth {
        let mut aws = Fields::default();
        aws.text("region", region);
        if service == SigningService::Aoss {
            aws.text("service", "aoss");
        }
        yaml.fields("aws", aws);
    } else {
        scope.remark(
            "RoleARN",
            "requests are not signed: give username and password where the cluster wants them",
        );
    }
    yaml.0.extend(product.map(|product| ("product", Yaml::Text(product.to_owned()))));
    yaml.text("index", named(given, "IndexName", scope)?);
    let ids = given.remove("DocumentIdOptions").unwrap_or_default();
    let ids = ids.get("DefaultDocumentIdFormat").cloned();
    for (member, key, value) in [
        ("IndexRotationPeriod", "rotation", given.remove("IndexRotationPeriod")),
        ("DocumentIdOptions", "document_ids", ids),
        ("TypeName", "type", given.remove("TypeName").filter(|name| name != "")),
    ] {
        match value.as_ref().map(text) {
            Some(Ok(word)) => yaml.text(key, word),
            Some(Err(why)) => scope.note(member, &value.unwrap_or_default(), why),
            None => {}
        }
    }
    Ok(())
}

fn endpoint(mut given: Map<String, Value>, scope: &mut Scope<'_>, own: Own) -> Result<Fields, String> {
    given.entry("BufferingHints").or_insert_with(|| json!({}));
    destination(given, scope, own, stores)
}

/// Maps what takes records in requests, by what is its own.
///
/// # Errors
/// Those of what is its own; it has no bucket.
pub(super) fn destination(
    mut given: Map<String, Value>,
    scope: &mut Scope<'_>,
    own: Own,
    bucket: Bucket,
) -> Result<Fields, String> {
    let mut yaml = Fields::default();
    own(&mut given, &mut yaml, scope)?;
    if let Some(role) = given.remove("RoleARN") {
        let role = text(&role).unwrap_or_else(|_| role.to_string());
        scope.remark(
            "RoleARN",
            &format!("{role}; the credentials of the store and of the endpoint take its place"),
        );
    }
    let store = required(&mut given, "S3Configuration", scope)?;
    for (member, take) in MEMBERS {
        let Some(value) = given.remove(member) else { continue };
        if let Err(why) = open(&value).map_or(Ok(()), Err).and_then(|()| take(&value, &mut yaml, scope)) {
            scope.note(member, &value, why);
        }
    }
    delimit_by_processor(&mut yaml);
    bucket(store, &mut given, &mut yaml, scope)?;
    scope.leave(given, &ADVICE);
    Ok(yaml)
}

/// Maps the one bucket: to that of the error output, and of the copy of all records where there is one.
fn stores(
    store: Map<String, Value>,
    given: &mut Map<String, Value>,
    yaml: &mut Fields,
    scope: &mut Scope<'_>,
) -> Result<(), String> {
    let [mode, logging] =
        ["S3BackupMode", "CloudWatchLoggingOptions"].map(|name| given.remove(name).unwrap_or_default());
    if let Some(why) = open(&mode) {
        scope.note("S3BackupMode", &mode, why);
    }
    let compressed = store.get("CompressionFormat").filter(|format| *format != "UNCOMPRESSED").cloned();
    let mut within = scope.within("S3Configuration");
    let copy = s3::destination(store, &mut within)?;
    let mut errors =
        Fields(copy.0.iter().filter(|(key, _)| s3::IN_ERROR_OUTPUT.contains(key)).cloned().collect());
    if ["AllData", "AllDocuments", "AllEvents"].iter().any(|all| mode == *all) {
        yaml.fields(s3::BACKUP, copy);
    } else {
        if let Some(format) = compressed {
            within.note("CompressionFormat", &format, "lines of the error output are not compressed");
        }
        within.remark("BufferingHints", "the error output is written with each batch");
    }
    if let Err(why) = s3::logging(&logging, &mut errors, scope) {
        scope.note("CloudWatchLoggingOptions", &logging, why);
    }
    yaml.fields("error_output", errors);
    Ok(())
}

/// What an object has behind each record an endpoint gets from a processor.
fn delimit_by_processor(yaml: &mut Fields) {
    let Some(at) = yaml.0.iter().position(|(key, _)| *key == "delimiter") else { return };
    let (_, delimiter) = yaml.0.remove(at);
    let newline = Yaml::Text("newline".to_owned());
    let delimiter = if delimiter == newline { Yaml::Text("\n".to_owned()) } else { delimiter };
    let last = Fields(vec![("append_delimiter", delimiter)]);
    match yaml.0.iter_mut().find(|(key, _)| *key == processing::PROCESSORS) {
        Some((_, Yaml::List(all))) => all.push(last),
        _ => yaml.list(processing::PROCESSORS, vec![last]),
    }
}

fn retry(value: &Value, yaml: &mut Fields, _: &mut Scope<'_>) -> Result<(), String> {
    processing::retry(value, yaml)
}

pub(super) fn required(
    given: &mut Map<String, Value>,
    member: &str,
    scope: &Scope<'_>,
) -> Result<Map<String, Value>, String> {
    let value = given.remove(member).filter(|value| !value.is_null());
    let value = value.ok_or_else(|| format!("{}.{member} is missing", scope.path))?;
    structure(value).map_err(|why| format!("{}.{member} {why}", scope.path))
}

pub(super) fn named(
    given: &mut Map<String, Value>,
    member: &str,
    scope: &Scope<'_>,
) -> Result<String, String> {
    let value = given.remove(member).unwrap_or_default();
    text(&value).map_err(|why| format!("{}.{member} {why}", scope.path))
}

#[cfg(test)]
mod tests;
