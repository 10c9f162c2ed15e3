//! The suite that every sink of requests passes, on a real server.

use std::time::Duration;

use standpipe_model::{RequestSink, Secret};
use standpipe_sinks::PostgresSink;
use standpipe_testkit::servers::Postgres;

use super::options;
use crate::requests::{Server, run};

impl Server for Postgres {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let mut options = options(self, "postgres", "t");
        let (host, port) = address.rsplit_once(':').unwrap();
        (options.host, options.port) = (host.to_owned(), port.parse().unwrap());
        options.password = Some(Secret::new(secret));
        options.request_timeout = answer;
        options.connect_timeout = answer;
        Box::new(PostgresSink::new(&options).unwrap())
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    fn secret(&self) -> String {
        Self::PASSWORD.to_owned()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        let rows = self
            .sql("postgres", "SELECT coalesce(json_agg(json_build_array(n, text)), '[]') FROM t")
            .unwrap();
        serde_json::from_str(&rows).unwrap()
    }

    fn kill(&mut self) {
        self.stop().unwrap();
    }

    fn restart(&mut self) {
        self.resume().unwrap();
    }

    fn keeps_once(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_conforms() {
    let mut server = Postgres::start().unwrap();
    server.sql("postgres", "CREATE TABLE t (n bigint, text text)").unwrap();
    run(&mut server).await;
}
