//! The sink of HTTP endpoints on Telegraf's receiver of Firehose's protocol.

use std::time::Duration;

use standpipe_model::{RequestSink, Secret};
use standpipe_sinks::http::HttpFormat;
use standpipe_sinks::{ClientOptions, HttpOptions, HttpSink};
use standpipe_testkit::servers::Telegraf;

use crate::requests::{self, Server};

impl Server for Telegraf {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let options = HttpOptions {
            url: format!("http://{address}{}", Self::PATH),
            format: HttpFormat::Firehose,
            access_key: Some(Secret::new(secret)),
            headers: Vec::new(),
            common_attributes: vec![("team".to_owned(), "web".to_owned())],
            // Bodies that are cut in the middle are to be long ones.
            gzip: answer < Duration::from_secs(10),
            client: ClientOptions { request_timeout: answer, ..ClientOptions::default() },
        };
        Box::new(HttpSink::new(&options).expect("good settings"))
    }

    fn address(&self) -> String {
        self.address()
    }

    fn secret(&self) -> String {
        Self::ACCESS_KEY.to_owned()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        let records = self.records().expect("its output");
        let row = |record: &serde_json::Value| {
            // It keeps numbers as floating point.
            (
                record["n"].as_f64().expect("a number") as u64,
                record["text"].as_str().expect("a text").to_owned(),
            )
        };
        records.iter().map(row).collect()
    }

    fn kill(&mut self) {
        Self::kill(self).expect("it ends");
    }

    fn restart(&mut self) {
        Self::restart(self).expect("it starts again");
    }

    fn keeps_once(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_endpoints_conform_on_telegraf() {
    let mut telegraf = Telegraf::start().expect("Telegraf starts");
    requests::run(&mut telegraf).await;
}
