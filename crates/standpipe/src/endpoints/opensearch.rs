//! OpenSearch, its serverless form and Elasticsearch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standpipe_ingest::DestinationKind;
use standpipe_model::{RequestLimits, RequestSink, Secret};
use standpipe_sinks::opensearch::{IndexOptions, OpenSearchAuth, SigningService};
use standpipe_sinks::{OpenSearchOptions, OpenSearchSink};

use super::reach::Reach;
use super::{EndpointError, Undelivered};
use crate::config::S3Keys;
use crate::exposed::expose;

/// The most documents and bytes of them in a bulk: as large as helps a node. What the bulk says beside them comes on top.
const DOCUMENTS_MAX: usize = 10_000;
const BYTES_MAX: u64 = 8 << 20;

/// A cluster, and where documents go in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSearchTarget {
    /// What it is called in the API and in the error output.
    #[serde(default)]
    pub product: SearchProduct,
    /// Where documents go.
    pub index: IndexOptions,
    /// The most documents of a bulk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_max: Option<usize>,
    /// The most bytes of a bulk's documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Its nodes, or what stands before them.
    pub endpoints: Vec<String>,
    /// Who asks.
    #[serde(default)]
    pub auth: ClusterAuth,
    /// Whether bulks are compressed.
    #[serde(default)]
    pub gzip: bool,
    /// How it is reached.
    #[serde(default)]
    pub reach: Reach,
}

/// Which of those that speak the language it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchProduct {
    /// OpenSearch.
    #[default]
    OpenSearch,
    /// A collection of OpenSearch Serverless.
    Serverless,
    /// Elasticsearch.
    Elasticsearch,
}

/// Who asks a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterAuth {
    /// Nobody in particular, or who the client certificate says.
    #[default]
    None,
    /// A user.
    Basic {
        /// The name.
        username: String,
        /// The password.
        #[serde(serialize_with = "expose")]
        password: Secret,
    },
    /// An API key.
    ApiKey {
        /// `id:key` in base64.
        #[serde(serialize_with = "expose")]
        key: Secret,
    },
    /// AWS credentials.
    Aws {
        /// The region that requests are signed for.
        region: String,
        /// The service likewise.
        service: SigningService,
        /// The credentials; those of the usual chain where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<S3Keys>,
    },
}

impl ClusterAuth {
    /// How an endpoint is asked of which nothing else is known: AWS's own are signed for.
    pub(crate) fn of_host(url: &str) -> Self {
        let host = url.split("://").nth(1).unwrap_or_default().split(['/', ':']).next().unwrap_or_default();
        let signed = |region: &str, service| Self::Aws { region: region.to_owned(), service, keys: None };
        match host.rsplit('.').collect::<Vec<_>>().as_slice() {
            ["com", "amazonaws", "es", region, ..] => signed(region, SigningService::Es),
            ["com", "amazonaws", "aoss", region, ..] => signed(region, SigningService::Aoss),
            _ => Self::None,
        }
    }

    fn options(&self) -> OpenSearchAuth {
        match self.clone() {
            Self::None => OpenSearchAuth::None,
            Self::Basic { username, password } => OpenSearchAuth::Basic { username, password },
            Self::ApiKey { key } => OpenSearchAuth::ApiKey(key),
            Self::Aws { region, service, keys } => {
                let credentials = S3Keys::credentials(keys.as_ref());
                OpenSearchAuth::SigV4 { region, service, credentials }
            }
        }
    }
}

impl OpenSearchTarget {
    /// A cluster with nothing beside its address and index.
    pub(crate) fn at(endpoint: impl Into<String>, index: IndexOptions) -> Self {
        Self {
            product: SearchProduct::default(),
            index,
            documents_max: None,
            bytes_max: None,
            endpoints: vec![endpoint.into()],
            auth: ClusterAuth::None,
            gzip: false,
            reach: Reach::default(),
        }
    }

    pub(super) fn kind(&self) -> DestinationKind {
        match self.product {
            SearchProduct::OpenSearch => DestinationKind::Amazonopensearchservice,
            SearchProduct::Serverless => DestinationKind::AmazonOpenSearchServerless,
            SearchProduct::Elasticsearch => DestinationKind::Elasticsearch,
        }
    }

    pub(super) fn error_output_type(&self) -> &'static str {
        match self.product {
            SearchProduct::OpenSearch | SearchProduct::Serverless => "AmazonOpenSearchService-failed",
            SearchProduct::Elasticsearch => "elasticsearch-failed",
        }
    }

    pub(super) fn limits(&self) -> RequestLimits {
        RequestLimits {
            rows_max: self.documents_max.unwrap_or(DOCUMENTS_MAX),
            bytes_max: self.bytes_max.unwrap_or(BYTES_MAX),
        }
    }

    /// The rows, the bulk made of them, which for small rows is twice as long, and that compressed.
    pub(super) fn memory_factor(&self) -> u64 {
        4
    }

    pub(super) fn address(&self) -> String {
        self.endpoints.first().cloned().unwrap_or_default()
    }

    pub(super) fn error_members(&self, of: &Undelivered) -> Map<String, Value> {
        let id = self.index.document_id(of.batch, of.origin).unwrap_or_default();
        let index = self.index.index(of.arrived_at);
        let kind = self.index.type_name.clone().unwrap_or_default();
        let members = match self.product {
            SearchProduct::Serverless => vec![("osDocumentId", id), ("osIndexName", index)],
            _ => vec![("esDocumentId", id), ("esIndexName", index), ("esTypeName", kind)],
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    /// Which document a row becomes in which index, how rows are cut, and what becomes of those that are refused, is
    /// shape.
    pub(super) fn with_access_of(&self, access: &Self) -> Self {
        let Self { product, index, documents_max, bytes_max, .. } = self.clone();
        Self { product, index, documents_max, bytes_max, ..access.clone() }
    }

    pub(super) fn sink(&self) -> Result<Arc<dyn RequestSink>, EndpointError> {
        let options = OpenSearchOptions {
            endpoints: self.endpoints.clone(),
            auth: self.auth.options(),
            gzip: self.gzip,
            client: self.reach.options()?,
            index: self.index.clone(),
        };
        Ok(Arc::new(OpenSearchSink::new(&options)?))
    }
}

#[cfg(test)]
mod tests {
    use standpipe_model::{BatchId, Position, RowOrigin, Timestamp};
    use standpipe_sinks::opensearch::DocumentIds;

    use super::*;

    #[test]
    fn hosts_of_aws_are_signed_for_and_no_others() {
        let aws = |region: &str, service| ClusterAuth::Aws { region: region.to_owned(), service, keys: None };
        for (url, expect) in [
            ("https://search-d-abc.eu-west-1.es.amazonaws.com", aws("eu-west-1", SigningService::Es)),
            ("https://abc.us-east-1.aoss.amazonaws.com:443/", aws("us-east-1", SigningService::Aoss)),
            ("https://es.amazonaws.com.example.org", ClusterAuth::None),
            ("http://localhost:9200/es.amazonaws.com", ClusterAuth::None),
        ] {
            assert_eq!(ClusterAuth::of_host(url), expect, "{url}");
        }
    }

    #[test]
    fn a_definition_keeps_a_clusters_secrets_and_debug_does_not_show_them() {
        let keys = S3Keys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: Secret::new("hidden"),
            session_token: Some(Secret::new("hidden")),
        };
        for auth in [
            ClusterAuth::None,
            ClusterAuth::Basic { username: "u".to_owned(), password: Secret::new("hidden") },
            ClusterAuth::ApiKey { key: Secret::new("hidden") },
            ClusterAuth::Aws { region: "r".to_owned(), service: SigningService::Es, keys: Some(keys) },
        ] {
            let target =
                OpenSearchTarget { auth, ..OpenSearchTarget::at("http://h", IndexOptions::new("i")) };
            let kept = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<OpenSearchTarget>(&kept).unwrap(), target);
            assert!(!format!("{target:?}").contains("hidden"));
        }
    }

    #[test]
    fn a_line_of_the_error_output_names_the_document_as_its_product_does() {
        let of = Undelivered {
            batch: BatchId([1; 16]),
            origin: RowOrigin { position: Position(7), sub: 0 },
            arrived_at: Timestamp(1_456_405_200_000),
        };
        let id = "01010101010101010101010101010101.7.0";
        let (ours, none) = (DocumentIds::FirehoseDefault, DocumentIds::NoDocumentId);
        for (product, document_ids, expect) in [
            (
                SearchProduct::OpenSearch,
                ours,
                format!(r#"{{"esDocumentId":"{id}","esIndexName":"i-2016-02-25","esTypeName":""}}"#),
            ),
            (
                SearchProduct::Elasticsearch,
                none,
                r#"{"esDocumentId":"","esIndexName":"i-2016-02-25","esTypeName":""}"#.to_owned(),
            ),
            (
                SearchProduct::Serverless,
                ours,
                format!(r#"{{"osDocumentId":"{id}","osIndexName":"i-2016-02-25"}}"#),
            ),
        ] {
            let index = IndexOptions { document_ids, ..IndexOptions::new("i") };
            let target = OpenSearchTarget { product, ..OpenSearchTarget::at("http://h", index) };
            assert_eq!(Value::Object(target.error_members(&of)).to_string(), expect);
        }
    }
}
