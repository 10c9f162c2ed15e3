//! `opensearch`: clusters of OpenSearch and Elasticsearch as destinations.

use standpipe_sinks::opensearch::{DocumentIds, IndexOptions, IndexRotation, SigningService};

use super::compound::{OneOrMany, Sub};
use super::endpoints::{EndpointUrl, common, reach};
use super::reader::Section;
use super::shapes::{Choice, Int, Size, Truth, secret, text};
use super::stores::s3_keys;
use super::streams::DestinationDraft;
use crate::endpoints::{ClusterAuth, OpenSearchTarget, SearchProduct, Target};

const ROTATION: Choice<IndexRotation> = Choice(&[
    ("none", IndexRotation::NoRotation),
    ("hour", IndexRotation::OneHour),
    ("day", IndexRotation::OneDay),
    ("week", IndexRotation::OneWeek),
    ("month", IndexRotation::OneMonth),
    ("NoRotation", IndexRotation::NoRotation),
    ("OneHour", IndexRotation::OneHour),
    ("OneDay", IndexRotation::OneDay),
    ("OneWeek", IndexRotation::OneWeek),
    ("OneMonth", IndexRotation::OneMonth),
]);

const DOCUMENT_IDS: Choice<DocumentIds> = Choice(&[
    ("generated", DocumentIds::FirehoseDefault),
    ("none", DocumentIds::NoDocumentId),
    ("FIREHOSE_DEFAULT", DocumentIds::FirehoseDefault),
    ("NO_DOCUMENT_ID", DocumentIds::NoDocumentId),
]);

const PRODUCT: Choice<SearchProduct> = Choice(&[
    ("opensearch", SearchProduct::OpenSearch),
    ("serverless", SearchProduct::Serverless),
    ("elasticsearch", SearchProduct::Elasticsearch),
]);

const SERVICE: Choice<SigningService> = Choice(&[("es", SigningService::Es), ("aoss", SigningService::Aoss)]);

/// Reads a cluster.
pub(super) fn opensearch(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let endpoints = section.required(
        "endpoint|endpoints|cluster_endpoint|collection_endpoint",
        OneOrMany(EndpointUrl),
        "The address of the cluster, or a list of its nodes' addresses, of which the next is used where one does not \
         answer.",
    );
    let product = section.or(
        "product",
        PRODUCT,
        "opensearch",
        "Which it is: the error output's folder and the names in its lines follow from it.",
    );
    let index = index(section, product);
    let auth = auth(section);
    let gzip = section.or("gzip", Truth, "false", "Whether bulks are compressed.");
    let documents_max = section.optional(
        "documents_max",
        Int(1..=1_000_000),
        "The most documents of a bulk; 10,000 where absent.",
    );
    let bytes_max = section.optional(
        "bytes_max",
        Size(1 << 10..=100 << 20),
        "The most bytes of a bulk's documents, before they are compressed. 8 MiB where absent.",
    );
    let reach = reach(section);
    let common = common(section);
    let target = OpenSearchTarget {
        product,
        documents_max: documents_max.and_then(|most| usize::try_from(most).ok()),
        bytes_max,
        endpoints: endpoints?,
        auth,
        gzip,
        reach,
        ..OpenSearchTarget::at("", index?)
    };
    common.with(Target::OpenSearch(target))
}

fn index(section: &mut Section<'_, '_>, product: SearchProduct) -> Option<IndexOptions> {
    let name = section.required(
        "index|index_name",
        text(1..=200),
        "The index, or what its name begins with where it rotates; or the data stream.",
    );
    let data_stream = section.or(
        "data_stream",
        Truth,
        "false",
        "Whether `index` is a data stream: every document needs `@timestamp`, and there is no rotation.",
    );
    let plain = data_stream || product == SearchProduct::Serverless;
    let rotation = section.or(
        "rotation|index_rotation_period",
        ROTATION,
        if plain { "none" } else { "day" },
        "How often there is a new index, whose name ends in the UTC hour, day, week or month in which a record arrived.",
    );
    let document_ids = section.or(
        "document_ids|default_document_id_format",
        DOCUMENT_IDS,
        "generated",
        "Who gives documents their ids: standpipe, so that each is there once, or the cluster, which indexes faster and \
         may have some twice after a failure. (`DocumentIdOptions`; collections of time series take none.)",
    );
    let type_name = section.optional(
        "type|type_name",
        text(1..=100),
        "The mapping type, for Elasticsearch up to version 6.",
    );
    let index = IndexOptions { name: name?, rotation, document_ids, data_stream, type_name };
    if let Err(error) = index.validate() {
        section.refuse("index", error);
        return None;
    }
    Some(index)
}

fn auth(section: &mut Section<'_, '_>) -> ClusterAuth {
    let username = section.optional("username", text(1..=256), "The user.");
    let password = secret(
        section,
        "password",
        "password_file",
        "The user's password.",
        "A file that holds the password.",
    );
    let key = secret(
        section,
        "api_key",
        "api_key_file",
        "An API key of Elasticsearch: `id:key` in base64.",
        "A file that holds the API key.",
    );
    let aws = section.optional("aws", Sub(aws), "Sign requests with AWS credentials (Signature Version 4).");
    let has_password = section.given("password") || section.given("password_file");
    if section.given("username") != has_password {
        section.refuse("", "a user needs \"username\" and \"password\"");
    }
    let has_key = section.given("api_key") || section.given("api_key_file");
    let ways = [section.given("username"), has_key, section.given("aws")];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        section.refuse("", "of \"username\", \"api_key\" and \"aws\" one is enough");
    }
    match (username, password, key, aws) {
        (Some(username), Some(password), ..) => ClusterAuth::Basic { username, password },
        (_, _, Some(key), _) => ClusterAuth::ApiKey { key },
        (.., Some(aws)) => aws,
        _ => ClusterAuth::None,
    }
}

fn aws(section: &mut Section<'_, '_>) -> Option<ClusterAuth> {
    let region = section.required("region", text(1..=64), "The region of the domain or collection.");
    let service = section.or(
        "service",
        SERVICE,
        "es",
        "`es` for a domain of OpenSearch Service, `aoss` for a collection of OpenSearch Serverless.",
    );
    let keys = s3_keys(section);
    Some(ClusterAuth::Aws { region: region?, service, keys })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bad, good};
    use super::*;
    use crate::endpoints::Endpoint;

    fn with(cluster: &str) -> String {
        format!(
            "stores: {{disk: {{type: file, path: d}}}}\nstreams:\n- name: a\n  destination:\n    opensearch: {{error_output: {{}}, {cluster}}}\n"
        )
    }

    fn target(cluster: &str) -> OpenSearchTarget {
        let spec = good(&with(cluster)).streams.remove(0);
        let kept = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<crate::spec::StreamSpec>(&kept).unwrap(), spec);
        match spec.destination.endpoint {
            Some(Endpoint { target: Target::OpenSearch(target), .. }) => target,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cluster_may_be_told_in_our_words_or_in_those_of_the_api() {
        let ours = target("endpoint: http://h:9200, index: clicks, rotation: week, document_ids: none");
        let apis = target(
            "cluster_endpoint: http://h:9200, index_name: clicks, index_rotation_period: OneWeek, \
             default_document_id_format: NO_DOCUMENT_ID",
        );
        assert_eq!(ours, apis);
        let index = IndexOptions {
            rotation: IndexRotation::OneWeek,
            document_ids: DocumentIds::NoDocumentId,
            ..IndexOptions::new("clicks")
        };
        assert_eq!(ours, OpenSearchTarget::at("http://h:9200", index));
        assert_eq!(
            target("endpoint: http://h, index: i").index,
            IndexOptions::new("i"),
            "a day, and our ids"
        );
        for plain in ["data_stream: true", "product: serverless"] {
            let index = target(&format!("endpoint: http://h, index: i, {plain}")).index;
            assert_eq!(index.rotation, IndexRotation::NoRotation, "{plain}");
        }
    }

    #[test]
    fn who_asks_is_said_in_one_way() {
        let auth = |more: &str| target(&format!("endpoints: [http://a, http://b], index: i{more}")).auth;
        assert_eq!(auth(""), ClusterAuth::None);
        assert!(matches!(auth(", username: u, password: p"), ClusterAuth::Basic { .. }));
        assert!(matches!(auth(", api_key: k"), ClusterAuth::ApiKey { .. }));
        let aws = auth(", aws: {region: eu-west-1, service: aoss, access_key_id: A, secret_access_key: s}");
        assert!(
            matches!(aws, ClusterAuth::Aws { service: SigningService::Aoss, keys: Some(_), .. }),
            "{aws:?}"
        );
        bad(
            &with("endpoint: http://h, index: i, username: u, api_key: k"),
            &[
                "standpipe.yaml:5:17: streams[0].destination.opensearch: a user needs \"username\" and \"password\"",
                "standpipe.yaml:5:17: streams[0].destination.opensearch: of \"username\", \"api_key\" and \"aws\" one is enough",
            ],
        );
    }

    #[test]
    fn an_index_that_cannot_be_is_refused() {
        bad(
            &with("endpoint: http://h, index: Clicks"),
            &[
                "standpipe.yaml:5:63: streams[0].destination.opensearch.index: no index can be called 'Clicks': it has capitals",
            ],
        );
        bad(
            &with("endpoint: http://h, index: i, data_stream: true, rotation: day"),
            &[
                "standpipe.yaml:5:63: streams[0].destination.opensearch.index: a data stream has neither rotation nor a type",
            ],
        );
    }
}
