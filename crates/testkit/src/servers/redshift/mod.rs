//! A double of Redshift, as none runs here: a server of its own in this process that speaks the protocol to clients,
//! carries out `COPY … FROM 's3://…' … MANIFEST` itself, and has a real PostgreSQL do everything else.
//!
//! # What it shows
//! - `COPY` is Redshift's by sqlparser's dialect; manifest and objects come from a real S3 server, by the keys that the
//!   statement names, and the rows go into the real PostgreSQL within the client's transaction.
//! - A client that uses what Redshift has not (prepared statements, advisory locks, savepoints, `ON CONFLICT`, arrays,
//!   casts by `::`, `now()`) is refused.
//! - Records that do not fit fail the whole `COPY`, with Redshift's error.
//!
//! # What it does not
//! Redshift's isolation, its queues, its types, its authentication, TLS, and how it reads what is not JSON or delimited.

mod copy;
mod rows;
mod session;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use pgwire::tokio::process_socket;
use tokio::runtime::{Builder, Runtime};

use super::{Postgres, S3Access};
use crate::ports::free_port;
use session::{Behind, Handlers, Session};

/// What Redshift has and PostgreSQL has not.
const FUNCTIONS: &str = "CREATE FUNCTION getdate() RETURNS timestamp LANGUAGE sql AS $$SELECT (now() AT TIME ZONE 'utc')::timestamp$$";

/// A running double of Redshift over a PostgreSQL of its own.
pub struct Redshift {
    postgres: Postgres,
    store: S3Access,
    port: u16,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Redshift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redshift").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Redshift {
    /// The role that it takes for one that may read the store.
    pub const ROLE: &'static str = "arn:aws:iam::000000000000:role/redshift";

    /// Starts one that loads from that store.
    ///
    /// # Errors
    /// As [`Postgres::start`], or where it finds no port.
    pub fn start(store: &S3Access) -> Result<Self> {
        let postgres = Postgres::start()?;
        postgres.sql("postgres", FUNCTIONS)?;
        let mut server = Self { postgres, store: store.clone(), port: free_port()?, runtime: None };
        server.resume()?;
        Ok(server)
    }

    /// The port, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The tables behind it: see [`Postgres::sql`].
    ///
    /// # Errors
    /// As there.
    pub fn sql(&self, statement: &str) -> Result<String> {
        self.postgres.sql("postgres", statement)
    }

    /// Ends it at once: connections break, and transactions with them.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test's own runtime does not let another be ended on its threads.
            let ended = thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10))).join();
            debug_assert!(ended.is_ok(), "ending a runtime does not panic there");
        }
    }

    /// Starts it again on its port.
    ///
    /// # Errors
    /// The port was taken meanwhile.
    pub fn resume(&mut self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).context("listen")?;
        listener.set_nonblocking(true)?;
        let behind = Arc::new(Behind { port: self.postgres.port(), store: self.store.clone() });
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.spawn(serve(listener, behind));
        self.runtime = Some(runtime);
        Ok(())
    }
}

async fn serve(listener: TcpListener, behind: Arc<Behind>) -> io::Result<Infallible> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        let session = Arc::new(Session::new(Arc::clone(&behind)));
        tokio::spawn(process_socket(client, None, Handlers(session)));
    }
}

impl Drop for Redshift {
    fn drop(&mut self) {
        self.stop();
    }
}
