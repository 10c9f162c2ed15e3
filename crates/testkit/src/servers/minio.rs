//! MinIO: the S3 server for what needs a faithful one, such as encryption with keys, object lock and TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::S3Access;
use super::versions::MINIO;
use crate::cache::{run, run_dir};
use crate::process::Process;

/// The key that SSE-KMS requests name, with 32 zero bytes as its secret.
const KMS_SECRET: &str = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// A running MinIO with SSE-S3 and SSE-KMS switched on. Object lock works in buckets that are created with it; the
/// storage class `STANDARD_IA` is refused.
#[derive(Debug)]
pub struct Minio {
    process: Process,
    access: S3Access,
}

impl Minio {
    /// The id of the key for SSE-KMS.
    pub const KMS_KEY_ID: &'static str = "k1";

    /// Installs it if it is not there yet; a first build takes minutes.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn install() -> Result<()> {
        MINIO.binary().map(drop)
    }

    /// Installs it if need be and starts an empty store over plain HTTP.
    ///
    /// # Errors
    /// When it cannot be built or does not get ready; the error holds the end of its log.
    pub fn start() -> Result<Self> {
        Self::serve(None)
    }

    /// As [`Minio::start`], but over TLS with a certificate of its own for `localhost`; [`S3Access::ca_file`] is what a
    /// client has to trust.
    ///
    /// # Errors
    /// As for [`Minio::start`], or when `openssl` cannot make the certificate.
    pub fn start_tls() -> Result<Self> {
        let certificates = run_dir("minio-certificates")?;
        make_certificate(&certificates)?;
        Self::serve(Some(certificates))
    }

    fn serve(certificates: Option<PathBuf>) -> Result<Self> {
        let binary = MINIO.binary()?;
        let dir = run_dir("minio")?;
        let (scheme, host) =
            if certificates.is_some() { ("https", "localhost") } else { ("http", "127.0.0.1") };
        let kept = dir.join("certificates");
        if let Some(made) = certificates {
            fs::rename(made, &kept)?;
        }
        let owner = S3Access::owner(String::new());
        let command = |port: u16| {
            let mut command = Command::new(&binary);
            command.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}"), "--certs-dir"]);
            command.arg(&kept).arg(dir.join("data"));
            command.envs([
                ("MINIO_ROOT_USER", owner.access_key_id.as_str()),
                ("MINIO_ROOT_PASSWORD", owner.secret_access_key.as_str()),
                ("MINIO_KMS_SECRET_KEY", KMS_SECRET),
                ("MINIO_UPDATE", "off"),
                ("MINIO_BROWSER", "off"),
            ]);
            command
        };
        // Only `curl` is at hand for a readiness check over TLS; it serves the plain address as well.
        let ready = |port: u16| is_ready(&format!("{scheme}://127.0.0.1:{port}/minio/health/ready"));
        let (process, port) = Process::serve("minio", &dir, Duration::from_secs(60), command, ready)?;
        let ca_file = (scheme == "https").then(|| kept.join("public.crt"));
        let access = S3Access { ca_file, ..S3Access::owner(format!("{scheme}://{host}:{port}")) };
        Ok(Self { process, access })
    }

    /// How to reach it.
    pub fn access(&self) -> &S3Access {
        &self.access
    }

    /// The process, for its log and folder.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn is_ready(url: &str) -> bool {
    let probe = Command::new("curl").args(["-skf", "-m", "2", "-o", "/dev/null", url]).status();
    probe.is_ok_and(|status| status.success())
}

/// Makes `public.crt` and `private.key` in `dir`, the names that MinIO looks for.
fn make_certificate(dir: &Path) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(dir).args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"]);
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    // A server's certificate, not an authority's: rustls takes no other for a server.
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-keyout", "private.key", "-out", "public.crt"]);
    run(&mut openssl).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_serves_over_plain_http_and_over_tls_with_a_certificate_that_verifies() {
        let plain = Minio::start().unwrap();
        assert!(is_ready(&format!("{}/minio/health/live", plain.access().endpoint)));
        let tls = Minio::start_tls().unwrap();
        let mut curl = Command::new("curl");
        curl.arg("-sSf").arg("--cacert").arg(tls.access().ca_file.as_ref().unwrap());
        run(curl.arg(format!("{}/minio/health/live", tls.access().endpoint))).unwrap();
    }
}
