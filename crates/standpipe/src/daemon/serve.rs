//! The daemon as a service: signals, the service manager's notifications, and the watch on the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::Daemon;
use super::start::{ServeError, start, system};
use crate::alarm::AlarmKind;
use crate::clock::{OsEntropy, OsTimer};
use crate::config::Config;

/// Changes of the configuration that come within this time are one: an editor writes a file in several steps.
const SETTLING: Duration = Duration::from_millis(300);

/// Runs the daemon until it is told to stop by SIGTERM or SIGINT. SIGHUP, and a change of the configuration on disk,
/// reload it.
///
/// # Errors
/// [`ServeError`]: it could not start.
pub async fn serve(config_path: PathBuf) -> Result<(), ServeError> {
    let config = Config::load(&config_path, &|name| std::env::var(name).ok()).map_err(ServeError::Config)?;
    let mut stop = signal(SignalKind::terminate()).map_err(system("cannot wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("cannot wait for SIGINT"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("cannot wait for SIGHUP"))?;
    raise_file_limit();
    let changed = Arc::new(Notify::new());
    let _watcher = watch(&config_path, &changed);
    let running = start(&config_path, config, OsTimer::start(), Arc::new(OsEntropy)).await?;
    tell(&[NotifyState::Ready]);
    let mut watchdog = watchdog();
    loop {
        tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&running.daemon).await,
            () = changed.notified() => {
                tokio::time::sleep(SETTLING).await;
                reload(&running.daemon).await;
            }
            _ = watchdog.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
    tell(&[NotifyState::Stopping]);
    running.stop().await;
    Ok(())
}

async fn reload(daemon: &Daemon) {
    let reloading = NotifyState::monotonic_usec_now().map(|now| [NotifyState::Reloading, now]);
    match reloading {
        Ok(states) => tell(&states),
        Err(error) => tracing::debug!(%error, "the service manager is not told of the reload"),
    }
    daemon.reload_logged().await;
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Ticks twice as often as the service manager wants to hear from us; where it does not, so seldom that it is no load.
fn watchdog() -> tokio::time::Interval {
    const NONE: Duration = Duration::from_secs(3600);
    let every = sd_notify::watchdog_enabled().map_or(NONE, |limit| limit / 2);
    tokio::time::interval(every.max(Duration::from_millis(1)))
}

/// Every stream holds a file, and every connection a socket: as many as the system allows.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files could not be raised");
    }
}

/// Watches the folder of the configuration file and its folder of streams. `None` where that cannot be done: SIGHUP
/// still reloads.
fn watch(config_path: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let folder =
        config_path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (told, file) = (Arc::clone(changed), config_path.file_name().map(std::ffi::OsStr::to_owned));
    let relevant = move |event: &notify::Event| {
        let yaml = |path: &PathBuf| {
            let extension =
                path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            extension || path.file_name() == file.as_deref()
        };
        !event.kind.is_access() && event.paths.iter().any(yaml)
    };
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if relevant(&event) => told.notify_one(),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the watch on the configuration missed something"),
    });
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() && entry.file_name().to_string_lossy().ends_with(".d") {
                watcher.watch(&entry.path(), RecursiveMode::NonRecursive)?;
            }
        }
        Ok(watcher)
    });
    watching
        .inspect_err(|error| tracing::warn!(%error, "the configuration is not watched; SIGHUP reloads it"))
        .ok()
}

impl Daemon {
    /// Reloads, and tells of a refusal by log and alarm.
    pub async fn reload_logged(&self) {
        match self.reload().await {
            Ok(()) => self.context.alarms.clear(None, AlarmKind::ReloadRefused, ""),
            Err(error) => {
                let (now, message) = (self.context.timer.now(), crate::worker::chain(&error));
                self.context.alarms.raise(None, AlarmKind::ReloadRefused, "", message, now);
            }
        }
    }
}
