//! The REST catalog of Apache Iceberg that the project tests its own clients with: tables in a store, of which it keeps
//! account in a file of SQLite. It gives tokens to whoever asks for one, and takes calls without.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::S3Access;
use crate::cache::{run, run_dir};
use crate::http::http_get;
use crate::maven;
use crate::process::Process;

/// How long it may take to answer: a second or two, unless the machine is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// The coordinates of all of it.
const POM: &str = include_str!("pom.xml");

/// A running catalog.
#[derive(Debug)]
pub struct Iceberg {
    process: Process,
    port: u16,
    warehouse: String,
    store: S3Access,
}

impl Iceberg {
    /// Installs it if it is not there yet.
    ///
    /// # Errors
    /// When Java or Maven is missing or a jar cannot be had.
    pub fn install() -> Result<()> {
        maven::resolved("iceberg", POM).map(drop)
    }

    /// Installs it if need be and starts it without any table. Its tables will be in a bucket that is there.
    ///
    /// # Errors
    /// When it cannot be installed or does not get ready; the error holds the end of its log.
    pub fn start(store: &S3Access, bucket: &str) -> Result<Self> {
        let (dir, warehouse) = (run_dir("iceberg")?, format!("s3://{bucket}/warehouse"));
        let jars = maven::resolved("iceberg", POM)?.join("lib");
        let command = |port: u16| command(&jars, &dir, port, store, &warehouse);
        let (process, port) = Process::serve("iceberg", &dir, PATIENCE, command, is_ready)?;
        Ok(Self { process, port, warehouse, store: store.clone() })
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, by its process id; its tables stay.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port with its tables.
    ///
    /// # Errors
    /// When it does not get ready; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        let (jars, port) = (maven::resolved("iceberg", POM)?.join("lib"), self.port);
        let command = command(&jars, self.process.dir(), port, &self.store, &self.warehouse);
        self.process.restart(&command, PATIENCE, || is_ready(port))
    }

    /// Asks it for something below `/v1/`.
    ///
    /// # Errors
    /// When it does not answer, or with an error.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "-m",
            "60",
            "--fail-with-body",
            "-X",
            method,
            "-H",
            "Content-Type: application/json",
        ]);
        if !body.is_null() {
            curl.args(["-d", &body.to_string()]);
        }
        let answer = run(curl.arg(format!("{}/v1/{path}", self.endpoint())))?;
        serde_json::from_str(&answer).with_context(|| format!("{method} {path} was answered with {answer}"))
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn create_namespace(&self, namespace: &str) -> Result<()> {
        self.call("POST", "namespaces", &json!({"namespace": [namespace]})).map(drop)
    }

    /// Makes a table of these columns: their names, whether each row has a value, and their types as the specification
    /// writes them in JSON. Of the ids in them, the catalog makes its own.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn create_table(
        &self,
        namespace: &str,
        table: &str,
        columns: &[(&str, bool, Value)],
    ) -> Result<Value> {
        let schema = json!({"type": "struct", "fields": fields(columns)});
        self.call(
            "POST",
            &format!("namespaces/{namespace}/tables"),
            &json!({"name": table, "schema": schema}),
        )
    }

    /// Gives a table the next version of its schema, with further columns at its end.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn add_columns(
        &self,
        namespace: &str,
        table: &str,
        columns: &[(&str, bool, Value)],
    ) -> Result<Value> {
        let path = format!("namespaces/{namespace}/tables/{table}");
        let metadata = self.call("GET", &path, &Value::Null)?["metadata"].take();
        let mut schema =
            metadata["schemas"].as_array().and_then(|all| all.last()).cloned().context("no schema")?;
        let last = metadata["last-column-id"].as_u64().context("no last column")?;
        let mut further = fields(columns);
        for (at, field) in further.iter_mut().enumerate() {
            field["id"] = json!(last + 1 + at as u64);
        }
        schema["fields"].as_array_mut().context("no columns")?.extend(further);
        schema["schema-id"] = json!(-1);
        let updates = json!([
            {"action": "add-schema", "schema": schema, "last-column-id": last + columns.len() as u64},
            {"action": "set-current-schema", "schema-id": -1},
        ]);
        self.call("POST", &path, &json!({"requirements": [], "updates": updates}))
    }
}

fn fields(columns: &[(&str, bool, Value)]) -> Vec<Value> {
    let field = |(at, (name, required, kind)): (usize, &(&str, bool, Value))| json!({"id": at + 1, "name": name, "required": required, "type": kind});
    columns.iter().enumerate().map(field).collect()
}

fn command(jars: &Path, dir: &Path, port: u16, store: &S3Access, warehouse: &str) -> Command {
    let mut java = maven::java(&format!("{}/*", jars.display()));
    java.args(["-Xmx512m", "org.apache.iceberg.rest.RESTCatalogServer"]).current_dir(dir);
    java.env("CATALOG_URI", format!("jdbc:sqlite:{}/catalog.db", dir.display()));
    java.env("CATALOG_REST_PORT", port.to_string()).env("CATALOG_WAREHOUSE", warehouse);
    java.env("CATALOG_S3_ENDPOINT", &store.endpoint);
    java.env("AWS_ACCESS_KEY_ID", &store.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &store.secret_access_key);
    java.envs([
        ("CATALOG_CATALOG__IMPL", "org.apache.iceberg.jdbc.JdbcCatalog"),
        ("CATALOG_JDBC_USER", "user"),
        ("CATALOG_JDBC_PASSWORD", "password"),
        ("CATALOG_JDBC_SCHEMA__VERSION", "V1"),
        ("CATALOG_IO__IMPL", "org.apache.iceberg.aws.s3.S3FileIO"),
        ("CATALOG_S3_PATH__STYLE__ACCESS", "true"),
        ("AWS_REGION", S3Access::REGION),
    ]);
    java
}

fn is_ready(port: u16) -> bool {
    http_get(&format!("http://127.0.0.1:{port}/v1/config")).is_ok_and(|reply| reply.is_ok())
}
