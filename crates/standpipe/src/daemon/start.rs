//! Starting: lock, recover, listen, say so; and stopping.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use standpipe_encode::EncoderPool;
use standpipe_ingest::{Frontend, Options};
use standpipe_journal::disk::{DirLock, Disk, LockError, OsDisk};
use standpipe_journal::{CommitPool, DiskBudget, Shelf};
use standpipe_model::{Clock, Entropy};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::credentials::{Mark, follow};
use super::reload::ReloadError;
use super::{Daemon, STOP_GRACE, admin};
use crate::access::Access;
use crate::alarm::Alarms;
use crate::catalog::{Catalog, CatalogError};
use crate::clock::Timer;
use crate::config::{Config, ConfigProblems};
use crate::delivery_log::DeliveryLog;
use crate::durable;
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::worker::Context;

/// The daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error("the configuration cannot be used:\n{0}")]
    Config(ConfigProblems),
    /// Another daemon runs on the data directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data directory.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A stream or a store of the configuration.
    #[error(transparent)]
    Streams(#[from] ReloadError),
    /// An address.
    #[error("cannot listen on {address} ({key})")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The operating system.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { what, source }
}

/// Where the daemon listens, with the ports that were chosen where the configuration says 0.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Endpoints {
    /// The Firehose API.
    pub listen: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// A running daemon.
#[derive(Debug)]
pub struct Running {
    /// The daemon.
    pub daemon: Arc<Daemon>,
    /// Where it listens.
    pub endpoints: Endpoints,
    pool: Arc<CommitPool>,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
    _lock: DirLock,
}

/// Starts the daemon: when this returns, it takes puts.
///
/// # Errors
/// [`ServeError`].
pub async fn start(
    config_path: &Path,
    config: Config,
    timer: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, ServeError> {
    durable::create_dir(&config.data_dir).map_err(system("cannot make the data directory"))?;
    let lock = OsDisk::lock_dir(&config.data_dir)?;
    let listener = listen("listen", config.listen).await?;
    let admin_listener = listen("admin", config.admin).await?;
    let metrics = Arc::new(Metrics::default());
    let (access, mark) = (Access::default(), Mark::of(&config));
    let of_file = config.load_credentials(&|name| std::env::var(name).ok()).map_err(ServeError::Config)?;
    access.put_in_force(&config, Some(of_file));
    let pool =
        CommitPool::start(config.journal.sync_threads).map_err(system("cannot start the commit threads"))?;
    let shelf = shelf(&config, &pool, &timer, &entropy, &metrics)?;
    let context = context(&timer, &entropy, &metrics);
    let catalog = Catalog::open(&config.data_dir)?;
    let daemon = Arc::new(Daemon {
        config_path: config_path.to_owned(),
        config: RwLock::new(Arc::new(config)),
        catalog,
        context,
        shelf,
        streams: RwLock::default(),
        access,
        changing_access: Mutex::default(),
        changing: Mutex::default(),
    });
    daemon.open_streams().await?;
    let address = |listener: &TcpListener| listener.local_addr().map_err(system("cannot learn the port"));
    let endpoints = Endpoints { listen: address(&listener)?, admin: address(&admin_listener)? };
    publish(&daemon, endpoints).map_err(system("cannot write endpoints.json"))?;
    let stop = CancellationToken::new();
    let frontend = frontend(&daemon, &timer, &entropy, &metrics);
    let api = Arc::clone(&frontend).serve(vec![listener], stop.clone(), STOP_GRACE);
    let admin = admin::serve(Arc::clone(&daemon), frontend, admin_listener, stop.clone());
    let servers = vec![
        tokio::spawn(api),
        tokio::spawn(admin),
        tokio::spawn(house_keeping(Arc::clone(&daemon), stop.clone())),
        tokio::spawn(follow(Arc::clone(&daemon), mark, stop.clone())),
    ];
    tracing::info!(listen = %endpoints.listen, admin = %endpoints.admin, streams = daemon.streams().len(), "standpipe is ready");
    Ok(Running { daemon, endpoints, pool, stop, servers, _lock: lock })
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { key, address, source })
}

fn shelf(
    config: &Config,
    pool: &Arc<CommitPool>,
    timer: &Arc<dyn Timer>,
    entropy: &Arc<dyn Entropy>,
    metrics: &Arc<Metrics>,
) -> Result<Shelf, ServeError> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let total = disk.space(&config.data_dir).map_err(system("cannot learn the disk's size"))?.total;
    let (limit, floor) = (config.journal.limit.of(total), config.journal.free_floor_of(total));
    let clock: Arc<dyn Clock> = Arc::<dyn Timer>::clone(timer);
    Ok(Shelf {
        budget: Arc::new(DiskBudget::new(disk, config.data_dir.clone(), limit, floor)),
        pool: Arc::clone(pool),
        clock,
        entropy: Arc::clone(entropy),
        observer: Arc::<Metrics>::clone(metrics),
    })
}

fn context(timer: &Arc<dyn Timer>, entropy: &Arc<dyn Entropy>, metrics: &Arc<Metrics>) -> Arc<Context> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Context {
        timer: Arc::clone(timer),
        entropy: Arc::clone(entropy),
        stores: Stores::default(),
        alarms: Alarms::default(),
        metrics: Arc::clone(metrics),
        delivery_log: DeliveryLog::default(),
        encoders: EncoderPool::new(processors),
        processors: Arc::new(Semaphore::new(processors)),
    })
}

fn frontend(
    daemon: &Arc<Daemon>,
    timer: &Arc<dyn Timer>,
    entropy: &Arc<dyn Entropy>,
    metrics: &Arc<Metrics>,
) -> Arc<Frontend> {
    let config = daemon.config();
    let options = Options {
        connections_max: config.limits.connections,
        head_timeout: config.limits.header_timeout,
        body_timeout: config.limits.body_timeout,
        body_budget: usize::try_from(config.limits.body_budget).unwrap_or(usize::MAX),
        account_id: config.account_id.clone(),
        region: config.region.clone(),
        ..Options::default()
    };
    let clock: Arc<dyn Clock> = Arc::<dyn Timer>::clone(timer);
    let service: Arc<dyn standpipe_ingest::Service> = Arc::new(Api(Arc::clone(daemon)));
    let observer: Arc<dyn standpipe_ingest::Observer> = Arc::<Metrics>::clone(metrics);
    Arc::new(Frontend::new(service, clock, Arc::clone(entropy), observer, options))
}

/// Tells scripts which ports were chosen.
fn publish(daemon: &Daemon, endpoints: Endpoints) -> io::Result<()> {
    let text = serde_json::to_vec(&endpoints).map_err(io::Error::other)?;
    durable::write(&daemon.config().data_dir.join("endpoints.json"), &text)
}

/// What is done now and then: archiving retired streams that have delivered everything, emptying the trash.
async fn house_keeping(daemon: Arc<Daemon>, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(5);
    const ROUNDS_TO_TRASH: u64 = 720;
    for round in 0u64.. {
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
        daemon.finish_deletions().await;
        daemon.archive_retired().await;
        if round % ROUNDS_TO_TRASH == 0 {
            let (catalog, now) = (daemon.catalog.clone(), daemon.context.timer.now());
            let emptied = tokio::task::spawn_blocking(move || catalog.empty_trash(now)).await;
            if let Ok(Err(error)) = emptied {
                tracing::warn!(%error, "the trash could not be emptied");
            }
        }
    }
}

impl Running {
    /// Stops: no more requests, what waits to be synced is synced, the rest is the next start's.
    pub async fn stop(self) {
        let drain = self.daemon.config().stop.drain;
        self.stop.cancel();
        for server in self.servers {
            if let Err(error) = server.await {
                tracing::error!(%error, "a server ended badly");
            }
        }
        self.daemon.stop_streams(drain).await;
        self.pool.stop();
        tracing::info!("standpipe has stopped");
    }
}
