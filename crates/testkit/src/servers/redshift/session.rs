//! One client's connection, with its own to the PostgreSQL behind.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{Sink, SinkExt, stream};
use pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::store::PortalStore;
use pgwire::api::{
    ClientInfo, ClientPortalStore, METADATA_DATABASE, METADATA_USER, PgWireConnectionState,
    PgWireServerHandlers, Type,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::copy::{Load, load};
use crate::servers::S3Access;

/// What Redshift has not, as it would stand in a statement.
const NOT_THERE: [&str; 12] = [
    "ON CONFLICT",
    "SAVEPOINT",
    "PG_ADVISORY",
    "RETURNING",
    "TO_REGCLASS",
    " UUID",
    " JSONB",
    "::",
    "NOW()",
    "ANY (",
    "FROM STDIN",
    "TIMESTAMPTZ DEFAULT",
];

/// What stands behind the double.
pub(super) struct Behind {
    /// PostgreSQL's port.
    pub(super) port: u16,
    pub(super) store: S3Access,
}

/// A client's session.
pub(super) struct Session {
    behind: Arc<Behind>,
    backend: Mutex<Option<Client>>,
}

impl Session {
    pub(super) fn new(behind: Arc<Behind>) -> Self {
        Self { behind, backend: Mutex::default() }
    }

    async fn connect(&self, user: &str, password: &str, database: &str) -> PgWireResult<Client> {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.behind.port).user(user).password(password).dbname(database);
        let (client, connection) = config.connect(NoTls).await.map_err(|error| told("FATAL", &error))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// An error as the client is told it.
pub(super) fn error(severity: &str, code: &str, message: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(severity.to_owned(), code.to_owned(), message.into())))
}

/// The backend's own.
pub(super) fn told(severity: &str, of: &tokio_postgres::Error) -> PgWireError {
    match of.as_db_error() {
        Some(said) => error(severity, said.code().code(), said.message()),
        None => error("FATAL", "08006", of.to_string()),
    }
}

#[async_trait]
impl StartupHandler for Session {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(ref startup) => {
                protocol_negotiation(client, startup).await?;
                save_startup_parameters_to_metadata(client, startup);
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = Authentication::CleartextPassword;
                client.send(PgWireBackendMessage::Authentication(ask)).await?;
            }
            PgWireFrontendMessage::PasswordMessageFamily(given) => {
                let password = given.into_password()?.password;
                let said = |name: &str| client.metadata().get(name).cloned().unwrap_or_default();
                let (user, database) = (said(METADATA_USER), said(METADATA_DATABASE));
                let backend = self.connect(&user, &password, &database).await?;
                *self.backend.lock().await = Some(backend);
                finish_authentication(client, &DefaultServerParameterProvider::default()).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // What stands in quotes is nobody's SQL.
        let capitals: String = query.to_uppercase().split('\'').step_by(2).collect();
        if let Some(what) = NOT_THERE.iter().find(|what| capitals.contains(**what)) {
            return Err(error("ERROR", "0A000", format!("Redshift has no {what}")));
        }
        let backend = self.backend.lock().await;
        let backend = backend.as_ref().ok_or_else(|| error("FATAL", "08003", "nobody is connected"))?;
        if capitals.starts_with("COPY ") {
            let rows = load(backend, &self.behind.store, Load::parse(query)?).await?;
            return Ok(vec![Response::Execution(Tag::new("COPY").with_rows(rows))]);
        }
        let messages = backend.simple_query(query).await.map_err(|error| told("ERROR", &error))?;
        responses(messages)
    }
}

/// What the backend said, statement by statement.
fn responses(messages: Vec<SimpleQueryMessage>) -> PgWireResult<Vec<Response>> {
    let (mut responses, mut fields, mut rows) = (Vec::new(), None, Vec::new());
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                let field = |name: &str| {
                    FieldInfo::new(name.to_owned(), None, None, Type::VARCHAR, FieldFormat::Text)
                };
                fields =
                    Some(Arc::new(columns.iter().map(|column| field(column.name())).collect::<Vec<_>>()));
            }
            SimpleQueryMessage::Row(row) => {
                let Some(fields) = &fields else { continue };
                let mut encoder = DataRowEncoder::new(Arc::clone(fields));
                for column in 0..row.len() {
                    encoder.encode_field(&row.get(column))?;
                }
                rows.push(Ok(encoder.take_row()));
            }
            SimpleQueryMessage::CommandComplete(count) => responses.push(match fields.take() {
                Some(fields) => {
                    Response::Query(QueryResponse::new(fields, stream::iter(std::mem::take(&mut rows))))
                }
                None => Response::Execution(Tag::new("OK").with_rows(usize::try_from(count).unwrap_or(0))),
            }),
            _ => {}
        }
    }
    Ok(responses)
}

/// A session's handlers, as the protocol's library wants them.
pub(super) struct Handlers(pub(super) Arc<Session>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }
}
