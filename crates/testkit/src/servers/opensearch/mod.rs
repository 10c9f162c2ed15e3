//! A node of OpenSearch, plain or with its security plugin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cache::{run, run_dir};
use crate::certificates::{Authority, Issued};
use crate::maven;
use crate::process::Process;

/// How long it may take to answer: seconds, unless the machine is busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// The coordinates of all of it.
const POM: &str = include_str!("pom.xml");

/// A running node without replicas, which makes indices by itself. Its pipelines have one processor of the test's own:
/// `key_by` gives documents their ids.
#[derive(Debug)]
pub struct OpenSearch {
    process: Process,
    settings: Vec<String>,
    port: u16,
    secured: Option<Secured>,
}

/// What goes with TLS.
#[derive(Debug)]
struct Secured {
    authority: Authority,
    ca_file: PathBuf,
}

impl OpenSearch {
    /// A user of a secured node, and the password, who may do everything.
    pub const ADMIN: (&'static str, &'static str) = ("admin", "admin");
    /// One who may not write.
    pub const READER: (&'static str, &'static str) = ("readall", "readall");
    /// Whose certificate counts as a user who may do everything.
    pub const CERTIFIED: &'static str = "certified";

    /// Installs it if it is not there yet.
    ///
    /// # Errors
    /// When Java or Maven is missing or a jar cannot be had.
    pub fn install() -> Result<()> {
        class_path().map(drop)
    }

    /// Installs it if need be and starts it empty, with further settings of the node (`http.max_content_length=1mb`).
    ///
    /// # Errors
    /// When it cannot be installed or does not get ready; the error holds the end of its log.
    pub fn start(settings: &[&str]) -> Result<Self> {
        Self::serve(run_dir("opensearch")?, settings.iter().map(ToString::to_string).collect(), None)
    }

    /// Starts it with TLS and users: [`ADMIN`](Self::ADMIN), [`READER`](Self::READER), and who shows the certificate of
    /// [`certified`](Self::certified).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_secured() -> Result<Self> {
        let dir = run_dir("opensearch")?;
        let config = dir.join("config");
        let users = config.join("opensearch-security");
        fs::create_dir_all(&users)?;
        let plugin = folder()?.join("unpacked/config");
        for name in ["action_groups", "allowlist", "audit", "internal_users", "nodes_dn", "roles", "tenants"]
        {
            fs::copy(plugin.join(format!("{name}.yml")), users.join(format!("{name}.yml")))?;
        }
        fs::write(users.join("config.yml"), include_str!("security/config.yml"))?;
        fs::write(users.join("roles_mapping.yml"), include_str!("security/roles_mapping.yml"))?;
        let authority = Authority::new("opensearch")?;
        let node = authority.server("node", Duration::from_hours(24))?;
        let files =
            [("ca", authority.certificate().as_str()), ("cert", node.certificate()), ("key", node.key())]
                .map(|(name, pem)| fs::write(config.join(format!("{name}.pem")), pem));
        files.into_iter().collect::<std::io::Result<()>>()?;
        let secured = Secured { authority, ca_file: config.join("ca.pem") };
        Self::serve(dir, security_settings(), Some(secured))
    }

    fn serve(dir: PathBuf, settings: Vec<String>, secured: Option<Secured>) -> Result<Self> {
        let class_path = class_path()?;
        let ca_file = secured.as_ref().map(|secured| secured.ca_file.clone());
        let (process, port) = Process::serve(
            "opensearch",
            &dir,
            PATIENCE,
            |port| command(&class_path, &dir, port, &settings),
            |port| is_ready(port, ca_file.as_deref()),
        )?;
        Ok(Self { process, settings, port, secured })
    }

    /// Where it listens: `http://127.0.0.1:port`, or `https` if it is secured.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.secured.is_some() { "https" } else { "http" }, self.address())
    }

    /// The same without the scheme.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The authority to trust, in PEM; empty if it is not secured.
    pub fn ca(&self) -> String {
        self.secured.as_ref().map(|secured| secured.authority.certificate()).unwrap_or_default()
    }

    /// The certificate of [`CERTIFIED`](Self::CERTIFIED).
    ///
    /// # Errors
    /// When it cannot be made, or the node is not secured.
    pub fn certified(&self) -> Result<Issued> {
        self.secured.as_ref().context("a plain node knows no certificates")?.authority.client(Self::CERTIFIED)
    }

    /// Asks it for something, as an administrator.
    ///
    /// # Errors
    /// When it does not answer, or with an error.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let ca_file = self.secured.as_ref().map(|secured| secured.ca_file.as_path());
        let mut curl = curl(self.port, path, ca_file);
        curl.args(["-m", "60", "--fail-with-body", "-X", method, "-H", "Content-Type: application/json"]);
        if !body.is_null() {
            curl.args(["-d", &body.to_string()]);
        }
        let answer = run(&mut curl)?;
        serde_json::from_str(&answer).with_context(|| format!("{method} {path} was answered with {answer}"))
    }

    /// The documents in all indices of a pattern, each with its index and id: `_index`, `_id`, `_source`.
    ///
    /// # Errors
    /// As [`call`](Self::call), or when there are more than ten thousand.
    pub fn documents(&self, pattern: &str) -> Result<Vec<Value>> {
        self.call("POST", &format!("{pattern}/_refresh?ignore_unavailable=true"), &Value::Null)?;
        let found =
            self.call("GET", &format!("{pattern}/_search?size=10000&ignore_unavailable=true"), &Value::Null)?;
        let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
        ensure!(found["hits"]["total"]["value"] == hits.len(), "more documents than one answer holds");
        Ok(hits)
    }

    /// Ends it at once, by its process id; what it has stored stays.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again on the same port with what it has stored.
    ///
    /// # Errors
    /// When it does not get ready; the error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        let command = command(&class_path()?, self.process.dir(), self.port, &self.settings);
        let (port, ca_file) = (self.port, self.secured.as_ref().map(|secured| secured.ca_file.as_path()));
        self.process.restart(&command, PATIENCE, || is_ready(port, ca_file))
    }
}

fn folder() -> Result<PathBuf> {
    maven::resolved("opensearch", POM)
}

fn class_path() -> Result<String> {
    let folder = folder()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/servers/opensearch");
    let classes =
        maven::classes("opensearch-node", &source.join("OpenSearchNode.java"), &folder.join("lib"))?;
    // Its settings of the log are found there as well.
    Ok(format!(
        "{}:{}:{}/lib/*:{}/unpacked/*",
        classes.display(),
        source.display(),
        folder.display(),
        folder.display()
    ))
}

fn command(class_path: &str, dir: &Path, port: u16, settings: &[String]) -> Command {
    let mut java = maven::java(class_path);
    java.args(["-Xms512m", "-Xmx512m", "-Dlog4j2.disable.jmx=true", "OpenSearchNode"]).arg(dir);
    let security = settings.iter().any(|setting| setting.starts_with("plugins.security"));
    let plugins = "org.opensearch.transport.Netty4Plugin,OpenSearchNode$KeyBy";
    java.arg(if security {
        format!("{plugins},org.opensearch.security.OpenSearchSecurityPlugin")
    } else {
        plugins.to_owned()
    });
    java.arg(format!("http.port={port}")).args([
        "cluster.name=test",
        "node.name=node",
        "discovery.type=single-node",
        "network.host=127.0.0.1",
        "transport.port=0",
        "transport.type=netty4",
        "http.type=netty4",
        "cluster.routing.allocation.disk.threshold_enabled=false",
    ]);
    java.args(settings);
    java
}

fn security_settings() -> Vec<String> {
    let own = [
        "allow_default_init_securityindex=true",
        "authcz.admin_dn=CN=nobody",
        "ssl.transport.pemcert_filepath=cert.pem",
        "ssl.transport.pemkey_filepath=key.pem",
        "ssl.transport.pemtrustedcas_filepath=ca.pem",
        "ssl.transport.enforce_hostname_verification=false",
        "ssl.http.enabled=true",
        "ssl.http.clientauth_mode=OPTIONAL",
        "ssl.http.pemcert_filepath=cert.pem",
        "ssl.http.pemkey_filepath=key.pem",
        "ssl.http.pemtrustedcas_filepath=ca.pem",
    ];
    let types = [
        "http.type=org.opensearch.security.http.SecurityHttpServerTransport",
        "transport.type=org.opensearch.security.ssl.http.netty.SecuritySSLNettyTransport",
    ];
    let own = own.map(|setting| format!("plugins.security.{setting}"));
    own.into_iter().chain(types.map(str::to_owned)).collect()
}

/// The standard library has no TLS.
fn curl(port: u16, path: &str, ca_file: Option<&Path>) -> Command {
    let mut curl = Command::new("curl");
    curl.arg("-sS");
    let scheme = match ca_file {
        Some(ca_file) => {
            let (user, password) = OpenSearch::ADMIN;
            curl.arg("--cacert").arg(ca_file).args(["-u", &format!("{user}:{password}")]);
            "https"
        }
        None => "http",
    };
    curl.arg(format!("{scheme}://127.0.0.1:{port}/{path}"));
    curl
}

fn is_ready(port: u16, ca_file: Option<&Path>) -> bool {
    let mut health = curl(port, "_cluster/health?wait_for_status=yellow&timeout=1s", ca_file);
    health.args(["-f", "-m", "3"]).output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_killed_node_comes_back_with_what_it_had_stored() {
        let mut node = OpenSearch::start(&[]).unwrap();
        node.call("PUT", "index/_create/1", &json!({"a": 1})).unwrap();
        node.kill().unwrap();
        assert!(node.call("GET", "index/_doc/1", &Value::Null).is_err());
        node.restart().unwrap();
        assert_eq!(node.documents("index").unwrap()[0]["_source"], json!({"a": 1}));
    }
}
