//! The catalogs that have the columns of tables: their clients, live, and what can go wrong with asking one.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use standpipe_convert::TableSchema;
use standpipe_model::Timestamp;
use standpipe_sinks::iceberg::RestError;

use crate::config::{Catalogs, GlueConfig, IcebergConfig};
use crate::glue::{Glue, GlueError};
use crate::iceberg::{Iceberg, IcebergError};
use crate::spec::{CatalogKind, CatalogTable};

/// The columns of a table could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// From Glue.
    #[error(transparent)]
    Glue(#[from] GlueError),
    /// From an Iceberg catalog.
    #[error(transparent)]
    Iceberg(#[from] IcebergError),
    /// There is no such catalog any more.
    #[error("there is no '{}' under 'catalogs' any more", .0.name())]
    Gone(CatalogKind),
    /// The client could not be made.
    #[error("the client of the catalog could not be made")]
    Client(#[from] tokio::task::JoinError),
}

impl LookupError {
    /// Whether the catalog has been asked, and it is the table that will not do.
    pub(crate) fn is_the_tables(&self) -> bool {
        match self {
            Self::Glue(error) => matches!(error, GlueError::NoTable(_) | GlueError::Columns(_)),
            Self::Iceberg(error) => matches!(
                error,
                IcebergError::Rest(RestError::NoTable(_))
                    | IcebergError::NoVersion(_)
                    | IcebergError::Columns(_)
            ),
            Self::Gone(_) | Self::Client(_) => false,
        }
    }
}

/// The client of a catalog, by the settings that it was made of.
#[derive(Debug)]
struct Client<S, C>(Mutex<Option<(S, Arc<C>)>>);

impl<S, C> Default for Client<S, C> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<S, C> Client<S, C>
where
    S: Clone + PartialEq + Send + 'static,
    C: Send + Sync + 'static,
{
    async fn of<E>(
        &self,
        settings: Option<S>,
        kind: CatalogKind,
        make: fn(&S) -> Result<C, E>,
    ) -> Result<Arc<C>, LookupError>
    where
        E: Send + 'static,
        LookupError: From<E>,
    {
        let settings = settings.ok_or(LookupError::Gone(kind))?;
        let made = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = made().as_ref().filter(|(of, _)| *of == settings) {
            return Ok(Arc::clone(client));
        }
        let of = settings.clone();
        let client = Arc::new(tokio::task::spawn_blocking(move || make(&of)).await??);
        *made() = Some((settings, Arc::clone(&client)));
        Ok(client)
    }
}

/// The clients of all catalogs, live.
#[derive(Debug, Default)]
pub(crate) struct CatalogClients {
    settings: RwLock<Catalogs>,
    glue: Client<GlueConfig, Glue>,
    iceberg: Client<IcebergConfig, Iceberg>,
}

impl CatalogClients {
    /// From now on they are reached in this way.
    pub(crate) fn replace(&self, settings: &Catalogs) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings.clone();
    }

    fn settings(&self) -> Catalogs {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The columns of a table.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(crate) async fn columns(
        &self,
        kind: CatalogKind,
        table: &CatalogTable,
        now: Timestamp,
    ) -> Result<TableSchema, LookupError> {
        Ok(match kind {
            CatalogKind::Glue => {
                let glue = self.glue.of(self.settings().glue, kind, Glue::new).await?;
                glue.columns(table, now).await?
            }
            CatalogKind::Iceberg => self.iceberg().await?.columns(table, now).await?,
        })
    }

    /// The client of the Iceberg catalog.
    ///
    /// # Errors
    /// [`LookupError`].
    pub(crate) async fn iceberg(&self) -> Result<Arc<Iceberg>, LookupError> {
        self.iceberg.of(self.settings().iceberg, CatalogKind::Iceberg, Iceberg::new).await
    }
}
