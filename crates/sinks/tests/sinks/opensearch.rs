//! The sink of OpenSearch on real nodes.

use std::time::Duration;

use serde_json::{Value, json};
use standpipe_model::{ErrorClass, Request, RequestSink, Secret};
use standpipe_sinks::opensearch::{DocumentIds, IndexOptions, IndexRotation, OpenSearchAuth};
use standpipe_sinks::{ClientOptions, OpenSearchOptions, OpenSearchSink};
use standpipe_testkit::servers::OpenSearch;

use crate::requests::{self, Server, request, request_of};

fn options(endpoint: String, index: IndexOptions) -> OpenSearchOptions {
    let (auth, client) = (OpenSearchAuth::None, ClientOptions::default());
    OpenSearchOptions { endpoints: vec![endpoint], auth, gzip: false, client, index }
}

fn sink(options: &OpenSearchOptions) -> OpenSearchSink {
    OpenSearchSink::new(options).expect("good settings")
}

fn plain(name: &str) -> IndexOptions {
    IndexOptions { rotation: IndexRotation::NoRotation, ..IndexOptions::new(name) }
}

/// The rows with `data` in the place of the first of them.
fn with_first(mut request: Request, data: &[&'static str]) -> Request {
    for (row, data) in request.rows.iter_mut().zip(data) {
        row.data = (*data).into();
    }
    request
}

/// What a row is in the index: number and text.
fn row(document: &Value) -> (u64, String) {
    let members = &document["_source"];
    (members["n"].as_u64().expect("a number"), members["text"].as_str().expect("a text").to_owned())
}

/// A secured node.
struct Secured(OpenSearch);

impl Server for Secured {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let (username, password) = (OpenSearch::ADMIN.0.to_owned(), Secret::new(secret));
        let options = OpenSearchOptions {
            auth: OpenSearchAuth::Basic { username, password },
            client: ClientOptions {
                ca_pem: Some(self.0.ca().into_bytes()),
                request_timeout: answer,
                ..ClientOptions::default()
            },
            ..options(format!("https://{address}"), IndexOptions::new("suite"))
        };
        Box::new(sink(&options))
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn secret(&self) -> String {
        OpenSearch::ADMIN.1.to_owned()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        self.0.documents("suite-*").expect("a search").iter().map(row).collect()
    }

    fn kill(&mut self) {
        self.0.kill().expect("it ends");
    }

    fn restart(&mut self) {
        self.0.restart().expect("it starts again");
    }

    fn keeps_once(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_conforms_on_a_secured_node() {
    let mut server = Secured(OpenSearch::start_secured().expect("a secured node starts"));
    requests::run(&mut server).await;
}
