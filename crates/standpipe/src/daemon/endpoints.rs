//! Between the API's members about destinations that take rows in requests, and endpoints.

use serde_json::{Map, Value, json};
use standpipe_ingest::shape::text;
use standpipe_ingest::{ApiError, DestinationKind};
use standpipe_model::Secret;
use standpipe_sinks::opensearch::{DocumentIds, IndexOptions, IndexRotation};
use standpipe_sinks::splunk::HecEndpoint;

use crate::endpoints::jdbc::{self, JdbcUrl};
use crate::endpoints::{
    ClusterAuth, CopyRight, Endpoint, HttpTarget, OpenSearchTarget, PostgresTarget, Reach, RedshiftTarget,
    SearchProduct, SplunkTarget, Target,
};
use crate::spec::Patience;

/// The endpoint that a destination comes to, whose rules have been checked; `None` where it is a store.
///
/// # Errors
/// `InvalidArgumentException`.
pub(super) fn endpoint(
    kind: DestinationKind,
    configuration: &Map<String, Value>,
) -> Result<Option<Endpoint>, ApiError> {
    let target = match kind {
        DestinationKind::HttpEndpoint => Target::Http(http(configuration)),
        DestinationKind::Amazonopensearchservice => {
            Target::OpenSearch(cluster(SearchProduct::OpenSearch, configuration)?)
        }
        DestinationKind::Elasticsearch => {
            Target::OpenSearch(cluster(SearchProduct::Elasticsearch, configuration)?)
        }
        DestinationKind::AmazonOpenSearchServerless => {
            Target::OpenSearch(cluster(SearchProduct::Serverless, configuration)?)
        }
        DestinationKind::Splunk => Target::Splunk(splunk(configuration)),
        DestinationKind::Redshift => table(configuration)?,
        // The API's tables have refused the others.
        _ => return Ok(None),
    };
    let Patience { retry_ms, max_lag_ms } = patience(kind, configuration);
    Ok(Some(Endpoint { retry_ms, max_lag_ms, target }))
}

/// What is borne of a destination (`RetryOptions`).
pub(super) fn patience(kind: DestinationKind, configuration: &Map<String, Value>) -> Patience {
    let seconds =
        configuration.get("RetryOptions").and_then(|retry| retry.get("DurationInSeconds")?.as_u64());
    let usual = if kind == DestinationKind::Redshift { 3600 } else { 300 };
    Patience { retry_ms: seconds.unwrap_or(usual) * 1000, max_lag_ms: None }
}

/// The same in the API's members.
pub(super) fn described_patience(patience: Patience) -> (String, Value) {
    ("RetryOptions".to_owned(), json!({"DurationInSeconds": patience.retry_ms.div_ceil(1000)}))
}

/// The `S3BackupMode` of a kind that gives its store a raw copy of every record.
pub(super) fn mode_of_all(kind: DestinationKind) -> &'static str {
    match kind {
        DestinationKind::Elasticsearch
        | DestinationKind::Amazonopensearchservice
        | DestinationKind::AmazonOpenSearchServerless => "AllDocuments",
        DestinationKind::Splunk => "AllEvents",
        DestinationKind::Redshift => "Enabled",
        _ => "AllData",
    }
}

/// Whether the store that gets the error output gets a raw copy of every record too.
pub(super) fn backs_up_all(configuration: &Map<String, Value>) -> bool {
    matches!(text(configuration, "S3BackupMode"), "AllData" | "AllDocuments" | "AllEvents")
}

fn http(configuration: &Map<String, Value>) -> HttpTarget {
    let block = |name| configuration.get(name).and_then(Value::as_object);
    let none = Map::new();
    let endpoint = block("EndpointConfiguration").unwrap_or(&none);
    let request = block("RequestConfiguration").unwrap_or(&none);
    let attributes = request.get("CommonAttributes").and_then(Value::as_array).into_iter().flatten();
    let pairs = attributes.filter_map(Value::as_object).map(|attribute| {
        (text(attribute, "AttributeName").to_owned(), text(attribute, "AttributeValue").to_owned())
    });
    let access_key = Some(text(endpoint, "AccessKey")).filter(|key| !key.is_empty());
    HttpTarget {
        access_key: access_key.map(Secret::new),
        common_attributes: pairs.collect(),
        gzip: text(request, "ContentEncoding") == "GZIP",
        ..HttpTarget::at(text(endpoint, "Url"))
    }
}

fn cluster(product: SearchProduct, configuration: &Map<String, Value>) -> Result<OpenSearchTarget, ApiError> {
    let given = |name| Some(text(configuration, name)).filter(|text| !text.is_empty());
    let mut index = IndexOptions::new(text(configuration, "IndexName"));
    index.rotation = match text(configuration, "IndexRotationPeriod") {
        _ if product == SearchProduct::Serverless => IndexRotation::NoRotation,
        "NoRotation" => IndexRotation::NoRotation,
        "OneHour" => IndexRotation::OneHour,
        "OneWeek" => IndexRotation::OneWeek,
        "OneMonth" => IndexRotation::OneMonth,
        _ => IndexRotation::OneDay,
    };
    let ids =
        configuration.get("DocumentIdOptions").and_then(|options| options.get("DefaultDocumentIdFormat"));
    // Not every collection takes ids, and the API cannot say whether this one does.
    if product == SearchProduct::Serverless || ids.is_some_and(|format| format == "NO_DOCUMENT_ID") {
        index.document_ids = DocumentIds::NoDocumentId;
    }
    index.type_name = given("TypeName").map(str::to_owned);
    index.validate().map_err(|error| ApiError::invalid_argument(error.to_string()))?;
    let endpoint = given("ClusterEndpoint").or(given("CollectionEndpoint")).unwrap_or_default();
    let auth = ClusterAuth::of_host(endpoint);
    Ok(OpenSearchTarget { product, auth, ..OpenSearchTarget::at(endpoint, index) })
}

fn splunk(configuration: &Map<String, Value>) -> SplunkTarget {
    let seconds = configuration.get("HECAcknowledgmentTimeoutInSeconds").and_then(Value::as_u64);
    SplunkTarget {
        url: text(configuration, "HECEndpoint").to_owned(),
        endpoint: match text(configuration, "HECEndpointType") {
            "Raw" => HecEndpoint::Raw,
            _ => HecEndpoint::Event,
        },
        token: Secret::new(text(configuration, "HECToken")),
        acknowledgement_ms: Some(seconds.unwrap_or(180) * 1000),
        bytes_max: None,
        reach: Reach::default(),
    }
}

/// A table, of Redshift or of PostgreSQL as its URL says.
fn table(configuration: &Map<String, Value>) -> Result<Target, ApiError> {
    let none = Map::new();
    let copy = configuration.get("CopyCommand").and_then(Value::as_object).unwrap_or(&none);
    let url = JdbcUrl::parse(text(configuration, "ClusterJDBCURL")).ok_or_else(|| {
        ApiError::invalid_argument(
            "ClusterJDBCURL has to be like jdbc:redshift://host:port/database or jdbc:postgresql://host:port/database.",
        )
    })?;
    let user = text(configuration, "Username").to_owned();
    if user.is_empty() {
        return Err(ApiError::invalid_argument(
            "Redshift Database Username is required for Redshift Destination",
        ));
    }
    let columns = text(copy, "DataTableColumns").split(',').map(str::trim).filter(|name| !name.is_empty());
    let table = PostgresTarget {
        password: Some(Secret::new(text(configuration, "Password"))),
        columns: columns.map(|name| (name.to_owned(), None)).collect(),
        ..PostgresTarget::at(url.host, url.port, url.database, user, text(copy, "DataTableName").to_owned())
    };
    let options = text(copy, "CopyOptions");
    match url.is_postgres {
        true => postgres(table, options, configuration),
        false => redshift(table, options, text(configuration, "RoleARN")),
    }
}

fn postgres(
    table: PostgresTarget,
    copy_options: &str,
    configuration: &Map<String, Value>,
) -> Result<Target, ApiError> {
    let bucket = configuration.get("S3Configuration").and_then(Value::as_object);
    let gzip = bucket.is_some_and(|bucket| text(bucket, "CompressionFormat") == "GZIP");
    let format =
        jdbc::format_of(copy_options, gzip).map_err(|error| ApiError::invalid_argument(error.to_string()))?;
    let target = PostgresTarget { format, ..table };
    target.options().check().map_err(|error| ApiError::invalid_argument(error.to_string()))?;
    Ok(Target::Postgres(target))
}

/// The bucket is read by the role that the API was given.
fn redshift(table: PostgresTarget, copy_options: &str, role: &str) -> Result<Target, ApiError> {
    let target = RedshiftTarget {
        table: PostgresTarget {
            records_max: Some(RedshiftTarget::RECORDS_MAX),
            connections_max: 1,
            reach: Reach { request_timeout_ms: RedshiftTarget::STATEMENT_MS, ..Reach::default() },
            ..table
        },
        copy_options: copy_options.to_owned(),
        credentials: CopyRight::Role(role.to_owned()),
        keeps_staged: true,
    };
    target.options().check().map_err(|error| ApiError::invalid_argument(error.to_string()))?;
    Ok(Target::Redshift(target))
}

/// What the endpoint of a stream of the configuration file looks like in the API's members, without its keys and
/// tokens; the API shows URLs whole.
pub(super) fn described(endpoint: &Endpoint) -> Map<String, Value> {
    let mut members = match &endpoint.target {
        Target::Http(http) => described_http(http),
        Target::OpenSearch(cluster) => described_cluster(cluster),
        Target::Postgres(table) => described_table(table, "postgresql", &jdbc::options_of(&table.format)),
        Target::Redshift(redshift) => {
            let mut members = described_table(&redshift.table, "redshift", &redshift.copy_options);
            if let CopyRight::Role(role) = &redshift.credentials
                && role.starts_with("arn:")
            {
                members.insert("RoleARN".to_owned(), role.as_str().into());
            }
            members
        }
        Target::Splunk(splunk) => described_splunk(splunk),
    };
    members.extend([described_patience(endpoint.patience())]);
    members
}

fn described_http(http: &HttpTarget) -> Map<String, Value> {
    let attributes = http.common_attributes.iter();
    let attributes: Vec<Value> =
        attributes.map(|(name, value)| json!({"AttributeName": name, "AttributeValue": value})).collect();
    let mut request = json!({"ContentEncoding": if http.gzip { "GZIP" } else { "NONE" }});
    if !attributes.is_empty() {
        request["CommonAttributes"] = attributes.into();
    }
    let members = [("EndpointConfiguration", json!({"Url": http.url})), ("RequestConfiguration", request)];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn described_cluster(cluster: &OpenSearchTarget) -> Map<String, Value> {
    let index = &cluster.index;
    let endpoint = cluster.endpoints.first().cloned().unwrap_or_default();
    let mut members = json!({"IndexName": index.name});
    if cluster.product == SearchProduct::Serverless {
        members["CollectionEndpoint"] = endpoint.into();
    } else {
        let rotation = match index.rotation {
            IndexRotation::NoRotation => "NoRotation",
            IndexRotation::OneHour => "OneHour",
            IndexRotation::OneDay => "OneDay",
            IndexRotation::OneWeek => "OneWeek",
            IndexRotation::OneMonth => "OneMonth",
        };
        let ids = match index.document_ids {
            DocumentIds::FirehoseDefault => "FIREHOSE_DEFAULT",
            DocumentIds::NoDocumentId => "NO_DOCUMENT_ID",
        };
        members["ClusterEndpoint"] = endpoint.into();
        members["IndexRotationPeriod"] = rotation.into();
        members["DocumentIdOptions"] = json!({"DefaultDocumentIdFormat": ids});
        members.as_object_mut().into_iter().for_each(|members| {
            members.extend(index.type_name.iter().map(|name| ("TypeName".to_owned(), name.as_str().into())));
        });
    }
    members.as_object().cloned().unwrap_or_default()
}

/// As Redshift, the API's only table.
fn described_table(table: &PostgresTarget, protocol: &str, options: &str) -> Map<String, Value> {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut copy = json!({ "DataTableName": table.table });
    if !columns.is_empty() {
        copy["DataTableColumns"] = columns.join(",").into();
    }
    if !options.is_empty() {
        copy["CopyOptions"] = options.into();
    }
    let url = format!("jdbc:{protocol}://{}:{}/{}", table.host, table.port, table.database);
    let members = [("ClusterJDBCURL", json!(url)), ("CopyCommand", copy), ("Username", json!(table.user))];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn described_splunk(splunk: &SplunkTarget) -> Map<String, Value> {
    let kind = match splunk.endpoint {
        HecEndpoint::Raw => "Raw",
        HecEndpoint::Event => "Event",
    };
    // Where the indexer is not asked, the API has no word for it.
    let timeout = splunk.acknowledgement_ms.unwrap_or(180_000).div_ceil(1000);
    let members = [
        ("HECEndpoint", json!(splunk.url)),
        ("HECEndpointType", json!(kind)),
        ("HECAcknowledgmentTimeoutInSeconds", json!(timeout)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
