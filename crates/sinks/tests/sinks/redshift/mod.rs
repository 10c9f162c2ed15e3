//! The Redshift sink on a double of it, with a real bucket and a real PostgreSQL behind: what it stages, what it loads, what
//! it does when something breaks.

#![allow(
    clippy::unwrap_used,
    reason = "a panic in a test is a failure with a line number, in its helpers too"
)]

mod breaking;
mod conforming;
mod loading;

use std::sync::Arc;

use standpipe_model::{ObjectOptions, Secret};
use standpipe_sinks::redshift::{CopyCredentials, Staging, StagingOptions};
use standpipe_sinks::{PostgresOptions, RedshiftOptions, RedshiftSink, S3Options};
use standpipe_testkit::s3::S3;
use standpipe_testkit::servers::{Postgres, Redshift, S3Access, Versitygw};

use crate::access::{options as s3_options, sink as s3_sink};

const BUCKET: &str = "lake";

/// A double of Redshift with a bucket.
struct Place {
    store: Versitygw,
    s3: S3,
    server: Redshift,
}

impl Place {
    /// With what `ddl` makes.
    async fn new(ddl: &str) -> Self {
        let store = Versitygw::start().expect("versitygw starts");
        let s3 = S3::open(store.access()).expect("plain HTTP");
        s3.create_bucket(BUCKET).await.expect("a new bucket");
        let server = Redshift::start(store.access()).expect("the double starts");
        let place = Self { store, s3, server };
        place.sql(ddl);
        place
    }

    fn sql(&self, statement: &str) -> String {
        self.server.sql(statement).expect(statement)
    }

    fn options(&self, table: &str) -> RedshiftOptions {
        let mut of = PostgresOptions::new("127.0.0.1", "postgres", Postgres::USER, table);
        of.port = self.server.port();
        of.password = Some(Secret::new(Postgres::PASSWORD));
        RedshiftOptions::new(of, keys(self.store.access()))
    }

    fn staging(&self, gzip: bool) -> Staging {
        staging(s3_options(self.store.access()), gzip)
    }

    fn sink(&self, options: &RedshiftOptions) -> RedshiftSink {
        RedshiftSink::new(options, self.staging(true)).expect("the options are good")
    }

    async fn keys(&self) -> Vec<String> {
        self.s3.keys(BUCKET).await.unwrap()
    }
}

fn staging(options: S3Options, gzip: bool) -> Staging {
    let extension = if gzip { ".gz" } else { "" }.to_owned();
    let options_of = StagingOptions {
        bucket: BUCKET.to_owned(),
        prefix: "staged/".to_owned(),
        custom_time_zone: String::new(),
        extension,
        gzip,
        object: ObjectOptions::default(),
    };
    Staging { options: options_of, store: Arc::new(s3_sink(options)) }
}

fn keys(access: &S3Access) -> CopyCredentials {
    CopyCredentials::Keys {
        access_key_id: access.access_key_id.clone(),
        secret_access_key: Secret::new(access.secret_access_key.clone()),
        session_token: None,
    }
}
