//! The suite that every sink of requests passes: with the database behind the proxy, and with the bucket there.

use std::time::Duration;

use standpipe_model::{RequestSink, Secret};
use standpipe_sinks::RedshiftSink;
use standpipe_testkit::servers::Postgres;

use super::{Place, s3_options, staging};
use crate::requests::{Server, run};

impl Place {
    fn rows(&self) -> Vec<(u64, String)> {
        let rows = self.sql("SELECT coalesce(json_agg(json_build_array(n, text)), '[]') FROM t");
        serde_json::from_str(&rows).unwrap()
    }
}

/// The database is what answers slowly, is not there, and has a password.
struct Database(Place);

impl Server for Database {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let mut options = self.0.options("t");
        let (host, port) = address.rsplit_once(':').unwrap();
        (options.table.host, options.table.port) = (host.to_owned(), port.parse().unwrap());
        options.table.password = Some(Secret::new(secret));
        (options.table.request_timeout, options.table.connect_timeout) = (answer, answer);
        Box::new(self.0.sink(&options))
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.server.port())
    }

    fn secret(&self) -> String {
        Postgres::PASSWORD.to_owned()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        self.0.rows()
    }

    fn kill(&mut self) {
        self.0.server.stop();
    }

    fn restart(&mut self) {
        self.0.server.resume().unwrap();
    }

    fn takes_rows(&self) -> bool {
        false
    }

    fn keeps_once(&self) -> bool {
        true
    }
}

/// The bucket is.
struct Bucket(Place);

impl Server for Bucket {
    fn sink(&self, address: &str, secret: &str, answer: Duration) -> Box<dyn RequestSink> {
        let mut access = self.0.store.access().through(format!("http://{address}"));
        access.secret_access_key = secret.to_owned();
        let mut options = s3_options(&access);
        (options.request_timeout, options.connect_timeout) = (answer, answer);
        let sink = RedshiftSink::new(&self.0.options("t"), staging(options, false));
        Box::new(sink.expect("the options are good"))
    }

    fn address(&self) -> String {
        self.0.store.access().endpoint.trim_start_matches("http://").to_owned()
    }

    fn secret(&self) -> String {
        self.0.store.access().secret_access_key.clone()
    }

    fn arrived(&self) -> Vec<(u64, String)> {
        self.0.rows()
    }

    fn kill(&mut self) {
        self.0.store.kill().unwrap();
    }

    fn restart(&mut self) {
        self.0.store.restart().unwrap();
    }

    fn keeps_once(&self) -> bool {
        true
    }
}

const TABLE: &str = "CREATE TABLE t (n bigint, text varchar(65535))";

#[tokio::test(flavor = "multi_thread")]
async fn redshift_conforms_whatever_happens_to_the_database() {
    run(&mut Database(Place::new(TABLE).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redshift_conforms_whatever_happens_to_the_bucket() {
    run(&mut Bucket(Place::new(TABLE).await)).await;
}
