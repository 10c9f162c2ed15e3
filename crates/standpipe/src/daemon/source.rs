//! Where the daemon's configuration comes from, at the start and at each reload.

use std::path::PathBuf;

use crate::config::{Config, ConfigProblems, Problem, Spot};
use crate::tls::dev;

/// The configuration file, and what the command line adds to it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Whether the API speaks TLS with a certificate that the daemon makes itself.
    pub dev_tls: bool,
}

impl Source {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// Every problem that there is.
    pub fn load(&self) -> Result<Config, ConfigProblems> {
        let mut config = Config::load(&self.path, &|name| std::env::var(name).ok())?;
        if self.dev_tls {
            if config.tls.is_some() {
                let file = self.path.display().to_string().into();
                let spot = Spot { file, line: 0, column: 0, path: "tls".to_owned() };
                let message = "there are certificates already, so start without --dev-tls".to_owned();
                return Err(Problem { spot, message }.into());
            }
            config.tls = Some(dev::config(&config.data_dir));
        }
        Ok(config)
    }
}
