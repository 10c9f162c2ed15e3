//! The daemon as a service: signals, the service manager's notifications, and the watch on the configuration.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::reload::ReloadError;
use super::start::{Endpoints, ServeError, start, system};
use super::{Daemon, Source};
use crate::alarm::AlarmKind;
use crate::clock::{OsEntropy, OsTimer};

/// Changes of the configuration that come within this time are one: an editor writes a file in several steps.
const SETTLING: Duration = Duration::from_millis(300);

/// How often a start asks the service manager for more time. Recovering large journals may take longer than any fixed
/// limit, and a start that is cut off begins anew.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// For how long it asks.
const ASK_FOR_MICROS: u32 = 60_000_000;

/// Runs the daemon until it is told to stop by SIGTERM or SIGINT. SIGHUP, and a change of the configuration on disk,
/// reload it. `ready` is told where it listens once it does.
///
/// # Errors
/// [`ServeError`]: it could not start.
pub async fn serve(source: Source, ready: impl FnOnce(&Endpoints)) -> Result<(), ServeError> {
    let config = source.load().map_err(ServeError::Config)?;
    let mut stop = signal(SignalKind::terminate()).map_err(system("cannot wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("cannot wait for SIGINT"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(system("cannot wait for SIGHUP"))?;
    raise_file_limit();
    let changed = Arc::new(Notify::new());
    let _watcher = watch(&source.path, &changed);
    let more_time = || tell(&[NotifyState::ExtendTimeoutUsec(ASK_FOR_MICROS)]);
    let starting = start(source, config, OsTimer::start(), Arc::new(OsEntropy));
    let running = tokio::select! {
        running = meanwhile(ASK_EVERY, more_time, starting) => running?,
        // What is recovered only half is recovered at the next start.
        _ = stop.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    ready(&running.endpoints);
    tell(&[NotifyState::Ready]);
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(report_life(limit));
    }
    loop {
        let settling = tokio::select! {
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => Duration::ZERO,
            () = changed.notified() => SETTLING,
        };
        let reloading = async {
            tokio::time::sleep(settling).await;
            reload(&running.daemon).await;
        };
        tokio::select! {
            () = reloading => {}
            // What is put in force only half is so whole at the next start, as after a crash.
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
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
    // A refusal is told by log and alarm; the old configuration runs on.
    drop(daemon.reload_logged().await);
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Waits for `work`, and until it is through does `ask` now and then.
async fn meanwhile<T>(every: Duration, ask: impl Fn(), work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => ask(),
        }
    }
}

/// Reports twice as often as the service manager wants to hear from us. A task of its own, as a reload may have to wait
/// for deliveries longer than that.
async fn report_life(limit: Duration) {
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
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
    ///
    /// # Errors
    /// As [`Daemon::reload`].
    pub async fn reload_logged(&self) -> Result<(), ReloadError> {
        let result = self.reload().await;
        match &result {
            Ok(()) => self.context.alarms.clear(None, AlarmKind::ReloadRefused, ""),
            Err(error) => {
                let (now, message) = (self.context.timer.now(), crate::worker::chain(error));
                self.context.alarms.raise(None, AlarmKind::ReloadRefused, "", message, now);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_long_start_asks_for_more_time_until_it_is_through() {
        let asked = Cell::new(0);
        let work = async {
            while asked.get() < 3 {
                tokio::task::yield_now().await;
            }
            "through"
        };
        // On a busy machine several ticks may be due at once.
        let every = Duration::from_millis(1);
        assert_eq!(meanwhile(every, || asked.set(asked.get() + 1), work).await, "through");
    }
}
