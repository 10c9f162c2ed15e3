//! Starting: lock, recover, listen, say so; and stopping.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use standpipe_encode::EncoderPool;
use standpipe_ingest::{Frontend, Listener, Options};
use standpipe_journal::disk::{DirLock, Disk, LockError, OsDisk};
use standpipe_journal::{CommitPool, DiskBudget, Shelf};
use standpipe_model::{Clock, Entropy};
use standpipe_transform::CallObserver;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::catalog::follow_catalog;
use super::credentials::{Mark, environment, follow};
use super::encryption::look_after_keys;
use super::failed::Redrives;
use super::followed::follow_tables;
use super::reload::ReloadError;
use super::{Daemon, STOP_GRACE, Source, admin};
use crate::access::Access;
use crate::alarm::Alarms;
use crate::catalog::{Catalog, CatalogError};
use crate::clock::Timer;
use crate::config::{Config, ConfigProblems};
use crate::delivery_log::DeliveryLog;
use crate::durable;
use crate::functions::Functions;
use crate::keys::KeyRing;
use crate::lookup::CatalogClients;
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::tls::dev::{self, DevTlsError};
use crate::tls::{self, ListenerTls, TlsFileError};
use crate::worker::{Context, LOOKS_AT_ONCE};

/// The file of the data directory that says where the daemon listens.
const ENDPOINTS: &str = "endpoints.json";

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
    /// The certificate files.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsFileError),
    /// The certificate of `--dev-tls`.
    #[error("--dev-tls cannot be set up")]
    DevTls(#[from] DevTlsError),
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
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Endpoints {
    /// The Firehose API.
    pub listen: SocketAddr,
    /// Whether it speaks TLS there.
    #[serde(default)]
    pub tls: bool,
    /// The Firehose API without TLS, where it has TLS at `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_listen: Option<SocketAddr>,
    /// The authority of a certificate that the daemon made itself, which clients must trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Health and metrics.
    pub admin: SocketAddr,
}

impl Endpoints {
    /// Where the daemon of a data directory listens, or has last listened.
    ///
    /// # Errors
    /// It has not written that down, or it cannot be read.
    pub fn published(data_dir: &Path) -> io::Result<Self> {
        serde_json::from_slice(&std::fs::read(data_dir.join(ENDPOINTS))?).map_err(io::Error::other)
    }
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
    source: Source,
    config: Config,
    timer: Arc<dyn Timer>,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, ServeError> {
    durable::create_dir(&config.data_dir).map_err(system("cannot make the data directory"))?;
    let lock = OsDisk::lock_dir(&config.data_dir)?;
    if source.dev_tls {
        dev::ensure(&config.data_dir, timer.now())?;
    }
    let tls = match &config.tls {
        Some(files) => Some(ListenerTls::new(files.clone(), tls::load(files)?)),
        None => None,
    };
    let listeners = listeners(&config, tls.as_ref()).await?;
    let admin_listener = listen("admin", config.admin).await?;
    let metrics = Arc::new(Metrics::default());
    let (access, mark) = (Access::default(), Mark::of(&config));
    let of_file = config.load_credentials(&environment).map_err(ServeError::Config)?;
    access.put_in_force(&config, &of_file);
    let pool =
        CommitPool::start(config.journal.sync_threads).map_err(system("cannot start the commit threads"))?;
    let shelf = shelf(&config, &pool, &timer, &entropy, &metrics)?;
    let context = context(&config, &timer, &entropy, &metrics)?;
    let catalog = Catalog::open(&config.data_dir)?;
    let daemon = Arc::new(Daemon {
        source,
        config: RwLock::new(Arc::new(config)),
        catalog,
        context,
        shelf,
        tls,
        streams: RwLock::default(),
        access,
        changing_access: Mutex::default(),
        locked: std::sync::Mutex::default(),
        keys_changed: Notify::new(),
        former_functions: AtomicBool::new(false),
        changing: Mutex::default(),
        redrives: Redrives::default(),
    });
    daemon.open_streams().await?;
    daemon.take_in();
    daemon.settle_redrives();
    let endpoints = endpoints(&daemon, &listeners, &admin_listener)?;
    publish(&daemon, &endpoints).map_err(system("cannot write endpoints.json"))?;
    daemon.look_after_certificates().await;
    let stop = CancellationToken::new();
    let frontend = frontend(&daemon, &timer, &entropy, &metrics);
    let api = Arc::clone(&frontend).serve(listeners, stop.clone(), STOP_GRACE);
    let admin = admin::serve(Arc::clone(&daemon), frontend, admin_listener, stop.clone());
    let servers = vec![
        tokio::spawn(api),
        tokio::spawn(admin),
        tokio::spawn(house_keeping(Arc::clone(&daemon), stop.clone())),
        tokio::spawn(follow(Arc::clone(&daemon), mark, stop.clone())),
        tokio::spawn(look_after_keys(Arc::clone(&daemon), stop.clone())),
        tokio::spawn(follow_tables(Arc::clone(&daemon), stop.clone())),
        tokio::spawn(follow_catalog(Arc::clone(&daemon), stop.clone())),
    ];
    tracing::info!(listen = %endpoints.listen, tls = endpoints.tls, admin = %endpoints.admin, streams = daemon.streams().len(), "standpipe is ready");
    Ok(Running { daemon, endpoints, pool, stop, servers, _lock: lock })
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { key, address, source })
}

/// The listeners of the Firehose API: the one of `listen`, and with TLS perhaps a plain one beside it.
async fn listeners(config: &Config, tls: Option<&ListenerTls>) -> Result<Vec<Listener>, ServeError> {
    let main = Listener { socket: listen("listen", config.listen).await?, tls: tls.map(ListenerTls::live) };
    let mut listeners = vec![main];
    if let Some(plain) = config.tls.as_ref().and_then(|tls| tls.plain_listen) {
        listeners.push(Listener { socket: listen("tls.plain_listen", plain).await?, tls: None });
    }
    for listener in listeners.iter().filter(|listener| listener.tls.is_none()) {
        let address = listener.socket.local_addr().map_err(system("cannot learn the port"))?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the firehose api can be reached from other machines without tls");
        }
    }
    Ok(listeners)
}

/// Where it has come to listen.
fn endpoints(daemon: &Daemon, api: &[Listener], admin: &TcpListener) -> Result<Endpoints, ServeError> {
    let address = |socket: &TcpListener| socket.local_addr().map_err(system("cannot learn the port"));
    let mut api = api.iter().map(|listener| address(&listener.socket));
    let data_dir = &daemon.config().data_dir;
    let ca_file = match daemon.source.dev_tls {
        true => {
            Some(dev::ca_file(data_dir).canonicalize().map_err(system("cannot find the CA of --dev-tls"))?)
        }
        false => None,
    };
    Ok(Endpoints {
        listen: api.next().expect("the API listens somewhere")?,
        tls: daemon.tls.is_some(),
        plain_listen: api.next().transpose()?,
        ca_file,
        admin: address(admin)?,
    })
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

fn context(
    config: &Config,
    timer: &Arc<dyn Timer>,
    entropy: &Arc<dyn Entropy>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Context>, ServeError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (clock, observer): (Arc<dyn Clock>, Arc<dyn CallObserver>) =
        (Arc::<dyn Timer>::clone(timer), Arc::<Metrics>::clone(metrics));
    let functions = Functions::open(&config.data_dir, clock, Arc::clone(entropy), observer)
        .map_err(system("cannot make the folder of functions"))?;
    let (delivery_log, _) =
        DeliveryLog::start().map_err(system("cannot start the thread of delivery logs"))?;
    Ok(Arc::new(Context {
        timer: Arc::clone(timer),
        entropy: Arc::clone(entropy),
        stores: Stores::default(),
        functions,
        keys: KeyRing::new(Arc::clone(entropy), Handle::current()),
        alarms: Alarms::default(),
        metrics: Arc::clone(metrics),
        delivery_log,
        catalogs: CatalogClients::default(),
        region: config.region.clone(),
        account_id: config.account_id.clone(),
        encoders: EncoderPool::new(processors),
        processors: Arc::new(Semaphore::new(processors)),
        looks: Semaphore::new(LOOKS_AT_ONCE),
        intake: OnceLock::new(),
    }))
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
fn publish(daemon: &Daemon, endpoints: &Endpoints) -> io::Result<()> {
    let text = serde_json::to_vec(endpoints).map_err(io::Error::other)?;
    durable::write(&daemon.config().data_dir.join(ENDPOINTS), &text)
}

/// What is done now and then: archiving retired streams that have delivered everything, emptying the trash, removing
/// versions of functions that no batch needs any more, forgetting what was kept long enough, looking after certificates.
async fn house_keeping(daemon: Arc<Daemon>, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(5);
    const ROUNDS_TO_TRASH: u64 = 720;
    for round in 0u64.. {
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
        daemon.finish_deletions().await;
        daemon.archive_retired().await;
        for stream in daemon.streams() {
            stream.tidy_kept().await;
        }
        daemon.sweep_functions().await;
        daemon.look_after_certificates().await;
        if round % ROUNDS_TO_TRASH == 0 {
            let (catalog, now) = (daemon.catalog.clone(), daemon.context.timer.now());
            let emptied = tokio::task::spawn_blocking(move || catalog.empty_trash(now)).await;
            if let Ok(Err(error)) = emptied {
                tracing::warn!(%error, "the trash could not be emptied");
            }
        }
    }
}

impl Daemon {
    async fn look_after_certificates(self: &Arc<Self>) {
        let daemon = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(tls) = &daemon.tls {
                tls.look_after(&daemon.context.alarms, daemon.context.timer.now());
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking after certificates ended badly");
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
