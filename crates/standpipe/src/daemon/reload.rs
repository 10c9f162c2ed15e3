//! Making the streams what the configuration says: at the start, and again at each reload, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use futures::stream::{self, StreamExt as _};
use standpipe_journal::keys::KeyTrouble;
use standpipe_model::{DestinationId, StreamName};
use standpipe_transform::processors::OptionError;

use super::Daemon;
use super::credentials::environment;
use crate::alarm::AlarmKind;
use crate::catalog::{Away, CatalogError, Definition, Origin};
use crate::config::{Config, ConfigProblems};
use crate::delivery_log::LogSettings;
use crate::functions::FunctionError;
use crate::keys::{Encryption, KeyError, Keys};
use crate::spec::StreamSpec;
use crate::stores::StoreError;
use crate::stream::{Stream, StreamError};
use crate::tls::{self, TlsFileError};
use crate::worker::chain;

/// How many streams are opened at the same time.
const OPENED_AT_ONCE: usize = 16;

/// The configuration was not put in force; what ran before runs on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file.
    #[error("the configuration cannot be used:\n{0}")]
    Config(ConfigProblems),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The data directory.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The certificate files.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// A stream.
    #[error("stream '{name}'")]
    Stream {
        /// Its name.
        name: StreamName,
        /// What is wrong.
        source: StreamError,
    },
    /// A name is taken.
    #[error(
        "stream '{0}' is in the configuration and was also made through the API: rename or delete one of them"
    )]
    Taken(StreamName),
    /// A store is gone that is still needed.
    #[error("store '{store}' is not configured any more, but stream '{stream}' still delivers to it")]
    StoreInUse {
        /// The store.
        store: String,
        /// A stream that needs it.
        stream: StreamName,
    },
    /// A function or a table.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// A table has not what a stream adds of it.
    #[error("stream '{stream}'")]
    Columns {
        /// The stream.
        stream: StreamName,
        /// What is wrong.
        source: OptionError,
    },
    /// A function is gone that is still needed.
    #[error("function '{function}' is not configured any more, but stream '{stream}' still calls it")]
    FunctionInUse {
        /// The function.
        function: String,
        /// A stream that needs it.
        stream: StreamName,
    },
    /// A table is gone that is still needed.
    #[error("table '{table}' is not configured any more, but stream '{stream}' still adds columns of it")]
    TableInUse {
        /// The table.
        table: String,
        /// A stream that needs it.
        stream: StreamName,
    },
    /// A schema is gone that is still needed.
    #[error(
        "schema '{schema}' is not configured any more, but stream '{stream}' still converts its rows to it"
    )]
    SchemaInUse {
        /// The schema.
        schema: String,
        /// A stream that needs it.
        stream: StreamName,
    },
    /// A schema has changed such that what is still needed of it is gone.
    #[error("as schema '{schema}' is now, stream '{stream}' could not convert its rows to it")]
    SchemaUnfit {
        /// The schema.
        schema: String,
        /// A stream that needs it as it was.
        stream: StreamName,
        /// Why.
        source: crate::spec::FormatError,
    },
    /// A key is gone that is still needed.
    #[error("key '{key}' is not configured any more, but stream '{stream}' is still encrypted with it")]
    KeyInUse {
        /// The key.
        key: String,
        /// A stream that needs it.
        stream: StreamName,
    },
    /// A key would not be the one any more that wrapped what is still needed.
    #[error("as it is configured now, not everything of stream '{stream}' could be read any more")]
    KeyLost {
        /// A stream that needs the former one.
        stream: StreamName,
        /// Why.
        source: KeyTrouble,
    },
    /// A key that is read only at the start.
    #[error("'{0}' changes only at a restart")]
    Restart(&'static str),
}

fn log_settings(config: &Config) -> LogSettings {
    let (region, account_id) = (config.region.clone(), config.account_id.clone());
    LogSettings { dir: config.delivery_log_dir.clone(), region, account_id }
}

impl Daemon {
    /// Opens every stream of the catalog and of the configuration.
    ///
    /// # Errors
    /// [`ReloadError`]. A stream that is on disk and cannot be opened raises an alarm instead, so that it does not keep
    /// the others from working.
    pub(super) async fn open_streams(&self) -> Result<(), ReloadError> {
        let config = self.config();
        let keys = self.context.keys.make(&config.keys)?;
        let functions = self.make_functions_at_start(&config).await?;
        self.context.stores.replace(&config.stores)?;
        self.context.catalogs.replace(&config.catalogs);
        self.context.keys.put_in_force(keys);
        self.context.functions.put_in_force(functions);
        self.context.delivery_log.replace(log_settings(&config));
        let _changing = self.changing.lock().await;
        self.complete_deletions()?;
        self.refuse_taken(&config)?;
        let specs: BTreeMap<&StreamName, &StreamSpec> =
            config.streams.iter().map(|spec| (&spec.name, spec)).collect();
        let opening = self.catalog.list()?.into_iter().map(|name| {
            let spec = specs.get(&name).copied();
            async move { self.open_one(&name, spec).await }
        });
        // Each waits for the disk a few times; together they wait less.
        stream::iter(opening).for_each_concurrent(OPENED_AT_ONCE, |opening| opening).await;
        let names: BTreeSet<StreamName> = self.catalog.list()?.into_iter().collect();
        for spec in &config.streams {
            let half_made = || self.catalog.load(&spec.name).is_ok_and(|versions| versions.is_empty());
            if self.stream(&spec.name).is_none() && (!names.contains(&spec.name) || half_made()) {
                self.create_from_yaml(spec).await?;
            }
        }
        self.sweep_functions_now().await;
        Ok(())
    }

    pub(super) async fn open_one(&self, name: &StreamName, spec: Option<&StreamSpec>) {
        if let Err(error) = self.try_open_one(name, spec).await {
            if let Some(trouble) = error.key_trouble() {
                return self.lock_out(name, trouble.clone());
            }
            let now = self.context.timer.now();
            self.context.alarms.raise(Some(name), AlarmKind::NotOpened, "", chain(&error), now);
        }
    }

    /// Opens a stream of the catalog, as `spec` has it where it is in the configuration.
    async fn try_open_one(&self, name: &StreamName, spec: Option<&StreamSpec>) -> Result<(), StreamError> {
        if self.catalog.is_deleting(name) {
            // It is tried again now and then; meanwhile the stream is gone, but its name is taken.
            return Ok(());
        }
        let versions = self.catalog.load(name)?;
        let Some((_, current)) = versions.last_key_value() else {
            // Its making was interrupted before there was anything in it.
            return Ok(());
        };
        let changed = match spec.filter(|_| current.origin == Origin::Yaml) {
            Some(spec) => (*spec != current.spec).then(|| spec.clone()),
            None => self.renewed_at_start(current),
        };
        if let Some(spec) = changed {
            self.catalog.save(&current.next(spec, self.context.timer.now()))?;
        }
        let retired = current.origin == Origin::Yaml && spec.is_none();
        let stream = Stream::open(name, &self.catalog, &self.context, &self.shelf).await?;
        stream.retire(retired).await;
        self.insert(stream);
        self.let_in(name);
        self.context.alarms.clear(Some(name), AlarmKind::NotOpened, "");
        Ok(())
    }

    async fn create_from_yaml(&self, spec: &StreamSpec) -> Result<(), ReloadError> {
        let now = self.context.timer.now();
        self.catalog.make_room(&spec.name, now)?;
        self.create(Definition::first(Origin::Yaml, spec.clone(), now)).await
    }

    /// Makes a stream; its definition is durable when this returns.
    pub(super) async fn create(&self, definition: Definition) -> Result<(), ReloadError> {
        let name = definition.spec.name.clone();
        self.catalog.save(&definition)?;
        match Stream::open(&name, &self.catalog, &self.context, &self.shelf).await {
            Ok(stream) => {
                self.insert(stream);
                self.context.alarms.clear(Some(&name), AlarmKind::NotOpened, "");
                Ok(())
            }
            Err(source) if definition.origin == Origin::Yaml && source.key_trouble().is_some() => {
                let trouble = source.key_trouble().expect("the guard has seen it");
                self.lock_out(&name, trouble.clone());
                Ok(())
            }
            Err(source) => {
                // Nobody was told that it exists; half of it must not keep the name taken.
                self.catalog.put_away(&name, Away::Trash, self.context.timer.now())?;
                Err(ReloadError::Stream { name, source })
            }
        }
    }

    fn refuse_taken(&self, config: &Config) -> Result<(), ReloadError> {
        for spec in &config.streams {
            // One that cannot be read is not known to be taken; opening it raises its own alarm.
            let taken = self.catalog.load(&spec.name).is_ok_and(|versions| {
                versions.last_key_value().is_some_and(|(_, current)| current.origin == Origin::Api)
            });
            if taken {
                return Err(ReloadError::Taken(spec.name.clone()));
            }
        }
        Ok(())
    }

    /// Reads the configuration again and puts it in force, whole or not at all.
    ///
    /// # Errors
    /// [`ReloadError`]; everything runs on as before.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let config = self.source.load().map_err(ReloadError::Config)?;
        // A store may take its time, and holds up nobody else meanwhile.
        let mut objects = self.context.functions.read_new(&config, &self.config().tables).await?;
        let mut rows = Vec::new();
        for (name, table) in &config.tables {
            if let Some(read) = objects.get(name) {
                rows.push(self.context.functions.parse(name, table, Some(read)).await?);
            }
        }
        let of = config;
        let _changing = self.changing.lock().await;
        let access = self.changing_access.lock().await;
        let config = self.source.load().map_err(ReloadError::Config)?;
        // What is configured otherwise by now is waited for.
        let is_same =
            |name: &str| of.tables.get(name) == config.tables.get(name) && of.stores == config.stores;
        objects.retain(|name, _| is_same(name));
        let keys = self.context.keys.make(&config.keys)?;
        self.check_reload(&config, &keys).await?;
        // Its policies are those of the configuration, so neither is put in force without the other.
        let of_file = config.load_credentials(&environment).map_err(ReloadError::Config)?;
        let certificates = config.tls.as_ref().map(tls::load).transpose()?;
        let functions = self.context.functions.make(&config, objects).await?;
        drop(rows);
        self.check_columns(&config, &functions)?;
        self.context.stores.replace(&config.stores)?;
        self.context.catalogs.replace(&config.catalogs);
        self.context.keys.put_in_force(keys);
        self.context.functions.put_all_in_force(functions, &config);
        self.context.alarms.clear_kind(AlarmKind::TableRefused);
        if let (Some(tls), Some(files), Some(loaded)) = (&self.tls, &config.tls, certificates) {
            tls.replace(files.clone(), loaded);
            self.context.alarms.clear(None, AlarmKind::CertificateRefused, "");
        }
        self.context.delivery_log.replace(log_settings(&config));
        let config = Arc::new(config);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&config);
        self.put_access_in_force(&config, &of_file).await;
        drop(access);
        for spec in &config.streams {
            self.apply(spec).await?;
        }
        self.renew_schemas(&config).await?;
        let named: BTreeSet<&StreamName> = config.streams.iter().map(|spec| &spec.name).collect();
        for stream in self.streams() {
            let yaml = stream.definition().origin == Origin::Yaml;
            stream.retire(yaml && !named.contains(stream.name())).await;
            stream.nudge().await;
        }
        self.context.functions.keep_only(&config);
        self.sweep_functions_now().await;
        self.keys_changed.notify_one();
        tracing::info!(streams = self.streams().len(), "configuration reloaded");
        Ok(())
    }

    async fn check_reload(&self, config: &Config, keys: &Keys) -> Result<(), ReloadError> {
        let running = self.config();
        let plain = |config: &Config| config.tls.as_ref().and_then(|tls| tls.plain_listen);
        let fixed: [(&'static str, bool); 9] = [
            ("listen", running.listen == config.listen),
            ("tls", running.tls.is_some() == config.tls.is_some()),
            ("tls.plain_listen", plain(&running) == plain(config)),
            ("admin", running.admin == config.admin),
            ("region", running.region == config.region),
            ("account_id", running.account_id == config.account_id),
            ("data_dir", running.data_dir == config.data_dir),
            ("journal", running.journal == config.journal),
            ("limits", running.limits == config.limits),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, same)| !same) {
            return Err(ReloadError::Restart(key));
        }
        self.refuse_taken(config)?;
        for stream in self.streams() {
            for store in self.stores_needed(&stream, config) {
                if !config.stores.contains_key(&store) {
                    return Err(ReloadError::StoreInUse { store, stream: stream.name().clone() });
                }
            }
        }
        self.check_functions_needed(config)?;
        self.check_schemas_needed(config)?;
        self.check_keys_needed(config, keys).await
    }

    /// What was encrypted can be read under a new configuration as it can now.
    async fn check_keys_needed(&self, config: &Config, keys: &Keys) -> Result<(), ReloadError> {
        let mut tried = BTreeSet::new();
        for stream in self.streams() {
            let name = stream.name().clone();
            let wrapped = match stream.wrapped_keys().await {
                Ok(wrapped) => wrapped,
                Err(source) => return Err(ReloadError::Stream { name, source }),
            };
            let mut needed: BTreeSet<String> = wrapped.iter().map(|key| key.key.clone()).collect();
            if config.streams.iter().all(|spec| spec.name != name) {
                needed.extend(stream.encryption().keys());
            }
            if let Some(key) = needed.into_iter().find(|key| !config.keys.contains_key(key)) {
                return Err(ReloadError::KeyInUse { key, stream: name });
            }
            for key in wrapped.iter().filter(|key| tried.insert((key.key.clone(), key.master.clone()))) {
                if let Some(source) = self.context.keys.would_lose(keys, key).await {
                    return Err(ReloadError::KeyLost { stream: name, source });
                }
            }
        }
        self.check_keys_of_shut(config)
    }

    /// The keys that are configured stay for streams that could not be opened: nobody can look what they need.
    fn check_keys_of_shut(&self, config: &Config) -> Result<(), ReloadError> {
        let running = self.config();
        let shut = |name: &StreamName| self.stream(name).is_none() && !self.catalog.is_deleting(name);
        for name in self.catalog.list()?.into_iter().filter(shut) {
            let mut needed: BTreeSet<String> = Encryption::load(&self.catalog.folder(&name))
                .map(|encryption| encryption.keys().collect())
                .unwrap_or_default();
            needed.extend(self.locked().get(&name).map(|trouble| trouble.key.clone()));
            let versions = self.catalog.load(&name).unwrap_or_default();
            needed.extend(versions.into_values().filter_map(|definition| definition.spec.encryption_key));
            let gone = |key: &String| running.keys.contains_key(key) && !config.keys.contains_key(key);
            if let Some(key) = needed.into_iter().find(gone) {
                return Err(ReloadError::KeyInUse { key, stream: name });
            }
        }
        Ok(())
    }

    /// The stores that a stream needs under a new configuration: those of the batches that its destinations have open,
    /// by the versions that they were closed under, and those of the definition that stays in force. A destination that is
    /// taken out needs none.
    fn stores_needed(&self, stream: &Stream, config: &Config) -> BTreeSet<String> {
        let (current, definitions) = (stream.definition(), stream.definitions());
        let redefined = config.streams.iter().find(|spec| spec.name == *stream.name());
        let staying = redefined.unwrap_or(&current.spec).destinations();
        let of_batch = |(of, version): (DestinationId, u64)| {
            let closed_under = definitions.iter().find(|definition| definition.version == version)?;
            Some(closed_under.spec.destination_of(&of).filter(|_| staying.contains(&of))?.store.clone())
        };
        let mut needed: BTreeSet<String> = stream.open_shapes().into_iter().filter_map(of_batch).collect();
        if redefined.is_none() {
            needed.extend(current.spec.branches().map(|branch| branch.destination.store.clone()));
        }
        needed
    }

    async fn apply(&self, spec: &StreamSpec) -> Result<(), ReloadError> {
        let now = self.context.timer.now();
        let Some(stream) = self.stream(&spec.name) else {
            if self.catalog.load(&spec.name).is_ok_and(|versions| versions.is_empty()) {
                return self.create_from_yaml(spec).await;
            }
            // It is on disk but could not be opened before; perhaps it can be now.
            self.open_one(&spec.name, Some(spec)).await;
            return Ok(());
        };
        let current = stream.definition();
        if current.spec != *spec {
            self.redefine(&stream, current.next(spec.clone(), now)).await?;
        }
        Ok(())
    }

    /// Puts a version in force; it is durable when this returns.
    pub(super) async fn redefine(&self, stream: &Stream, next: Definition) -> Result<(), ReloadError> {
        let (name, version) = (stream.name().clone(), next.version);
        self.catalog.save(&next)?;
        if let Err(source) = stream.redefine(next).await {
            self.catalog.forget(&name, version)?;
            return Err(ReloadError::Stream { name, source });
        }
        Ok(())
    }

    /// Puts away the streams that left the configuration and have delivered everything.
    pub(super) async fn archive_retired(&self) {
        let _changing = self.changing.lock().await;
        for stream in self.streams() {
            if stream.is_retired()
                && stream.is_finished()
                && let Err(error) = self.archive(&stream).await
            {
                tracing::warn!(stream = %stream.name(), %error, "a retired stream could not be archived");
            }
        }
    }
}
