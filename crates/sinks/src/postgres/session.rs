//! Connections to the server: a bounded number, kept while they are clean and used.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use standpipe_model::SinkError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Config};

use super::error::Failure;
use super::options::{PostgresOptions, PostgresOptionsError};
use super::tls::{self, Connector};

/// The connections of one destination.
pub(crate) struct Sessions {
    config: Config,
    tls: Connector,
    connect_timeout: Duration,
    idle_timeout: Duration,
    idle: Arc<Mutex<Vec<Idle>>>,
    /// Who finds none left waits for one: the attempts at one destination, which the worker bounds too.
    permits: Semaphore,
}

/// A connection. Dropping it ends it, and the server then undoes what was not committed.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// Whether the ledger was seen to be there.
    pub(crate) has_ledger: bool,
    task: JoinHandle<()>,
}

/// A connection that nobody uses.
struct Idle {
    session: Session,
    since: Instant,
    /// What closes it when that lasts.
    end: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sessions {
    pub(crate) fn new(options: &PostgresOptions) -> Result<Self, PostgresOptionsError> {
        let mut config = Config::new();
        let hosts: Vec<&str> = options.host.split(',').map(str::trim).collect();
        for host in &hosts {
            config.host(*host).port(options.port);
        }
        if hosts.len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        config
            .dbname(&options.database)
            .user(&options.user)
            .application_name("standpipe")
            .ssl_mode(tls::mode(options.tls.mode))
            .connect_timeout(options.connect_timeout)
            .keepalives_idle(Duration::from_secs(60));
        if let Some(password) = &options.password {
            config.password(password.expose());
        }
        Ok(Self {
            config,
            tls: Connector::new(&options.tls)?,
            connect_timeout: options.connect_timeout,
            idle_timeout: options.idle_timeout,
            idle: Arc::default(),
            permits: Semaphore::new(options.connections_max.max(1)),
        })
    }

    /// A connection of one's own, with the right to have it. [`keep`](Self::keep) gives it back.
    async fn take(&self) -> Result<(Session, SemaphorePermit<'_>), Failure> {
        let permit = self.permits.acquire().await.expect("it is never closed");
        while let Some(Idle { session, end, .. }) = all(&self.idle).pop() {
            end.abort();
            if !session.client.is_closed() {
                return Ok((session, permit));
            }
        }
        // The name of a host has to be found as well, each host of several is tried, and it has to answer.
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(u32::MAX);
        let connect = self.config.connect(self.tls.clone());
        let (client, connection) = within(self.connect_timeout * hosts, connect).await?;
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told of it.
            connection.await.ok();
        });
        Ok((Session { client, has_ledger: false, task }, permit))
    }

    /// A connection to `place` for `work`, kept when that went well.
    pub(crate) async fn connected<T>(
        &self,
        place: &str,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        let taken = self.take().await;
        let (mut session, _permit) = taken.map_err(|failure| failure.into_connect_error(place))?;
        let done = work(&mut session).await.map_err(|failure| failure.into_error(place))?;
        self.keep(session);
        Ok(done)
    }

    /// Keeps a connection on which no transaction is open.
    fn keep(&self, session: Session) {
        let (idle, timeout) = (Arc::downgrade(&self.idle), self.idle_timeout);
        let end = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(idle) = idle.upgrade() {
                all(&idle).retain(|idle| idle.since.elapsed() < timeout);
            }
        });
        all(&self.idle).push(Idle { session, since: Instant::now(), end: end.abort_handle() });
    }
}

fn all(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes of it in time.
pub(crate) async fn within<T>(
    time: Duration,
    future: impl Future<Output = Result<T, impl Into<Failure>>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(time, future).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Failure::Late),
    }
}
