//! Following what the daemon does by itself for as long as it takes: a bar on a terminal, a line every ten seconds
//! elsewhere. Without the command it goes on; Ctrl-C asks it to stop, a second one leaves it alone.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Method;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::batches::AdminArgs;
use super::complain;

/// How often the daemon is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// How often progress is told where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Something that the daemon does, with a page of its own.
pub(super) struct Task<'a> {
    pub(super) admin: &'a AdminArgs,
    /// The page: GET says how far it is, DELETE asks it to stop.
    pub(super) page: String,
    /// What the bar shows, by indicatif's names.
    pub(super) template: &'static str,
    /// Moves the bar.
    pub(super) show: fn(&ProgressBar, &Value) -> anyhow::Result<()>,
    /// How far it is, in a line.
    pub(super) summary: fn(&Value) -> anyhow::Result<String>,
}

impl Task<'_> {
    /// Looks until it has ended; returns how it stands then.
    pub(super) async fn follow(&self, mut progress: Value) -> anyhow::Result<Value> {
        let bar = std::io::stderr().is_terminal().then(|| self.bar());
        let (mut told, mut stopping) = (Instant::now(), false);
        while progress["state"] == "running" {
            if let Some(bar) = &bar {
                (self.show)(bar, &progress)?;
            } else if told.elapsed() >= PLAIN_EVERY {
                told = Instant::now();
                complain(&(self.summary)(&progress)?);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                pressed = tokio::signal::ctrl_c() => {
                    pressed?;
                    if std::mem::replace(&mut stopping, true) {
                        bail!("not waited for: the daemon stops by itself");
                    }
                    self.admin.call(Method::DELETE, &self.page).await?;
                }
            }
            progress = self.admin.call(Method::GET, &self.page).await?;
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(progress)
    }

    fn bar(&self) -> ProgressBar {
        let style = ProgressStyle::with_template(self.template).expect("the templates are well formed");
        ProgressBar::new(0).with_style(style)
    }
}

/// What it waits for, behind what has been done.
pub(super) fn waiting(progress: &Value, before: &str) -> String {
    progress["waiting"].as_str().map(|why| format!("{before}waiting: {why}")).unwrap_or_default()
}

/// Where a number of the daemon's answer is missing it is of another version.
pub(super) fn number(answer: &Value, name: &str) -> anyhow::Result<u64> {
    answer[name].as_u64().with_context(|| format!("the daemon's answer has no {name}"))
}
