//! What a server's errors mean: whose fault they are, and what the worker does next.

use standpipe_model::{ErrorClass, SinkError};
use tokio_postgres::error::{DbError, SqlState};

use crate::cause::{WORDS_MAX, causes, find, refuses_certificate};
use crate::client::coded;

/// How much of the server's words about a row is kept, in characters.
pub(super) const ROW_WORDS_MAX: usize = 1000;

/// A step of an attempt failed.
pub(crate) enum Failure {
    /// The server, or the way to it.
    Server(tokio_postgres::Error),
    /// There was no answer in time.
    Late,
    /// It is known what to do.
    Told(SinkError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        Self::Told(error)
    }
}

/// An error with a state of SQL.
pub(crate) fn fault(class: ErrorClass, state: &str, message: String) -> SinkError {
    coded(class, &code(state), message)
}

fn code(state: &str) -> String {
    format!("Postgres.{state}")
}

impl Failure {
    /// What the server said about a row, where the row is at fault: code and message.
    pub(super) fn about_rows(&self) -> Option<(String, String)> {
        match self {
            Self::Server(error) => error.as_db_error().filter(|error| is_about_rows(error.code())).map(words),
            Self::Late | Self::Told(_) => None,
        }
    }

    /// The same of what may be a row's fault or anyone's: input functions and triggers use any state they like.
    pub(super) fn perhaps_about_rows(&self) -> Option<(String, String)> {
        match self {
            Self::Server(error) => {
                error.as_db_error().filter(|error| is_perhaps_about_rows(error)).map(words)
            }
            Self::Late | Self::Told(_) => None,
        }
    }

    /// The error that holds rows of which the table took none, all for that reason: `None` where it is of a kind that is
    /// about rows more often than not. Of a `few` nobody knows whether they are at fault, so it does not hold them for ever.
    pub(super) fn of_all(&self, few: bool) -> Option<SinkError> {
        let Self::Server(error) = self else { return None };
        let said = error.as_db_error().filter(|said| class(said.code()) == ErrorClass::Misconfigured)?;
        let message = said.message().chars().take(WORDS_MAX).collect();
        let class = if few { ErrorClass::Transient } else { ErrorClass::Misconfigured };
        Some(fault(class, said.code().code(), message))
    }

    /// A lock was waited for that somebody else holds: that is nobody's failure.
    pub(crate) fn waiting(message: &str) -> Self {
        let state = SqlState::LOCK_NOT_AVAILABLE;
        let error = fault(ErrorClass::Transient, state.code(), message.to_owned());
        Self::Told(SinkError { is_ours: true, ..error })
    }

    /// The same failure where another attempt at the batch was waited for.
    pub(super) fn of_lock(self) -> Self {
        match &self {
            Self::Server(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                Self::waiting("an attempt at the same batch is still under way")
            }
            _ => self,
        }
    }

    /// The error for the worker, of an attempt at `place`.
    pub(crate) fn into_error(self, place: &str) -> SinkError {
        match self {
            Self::Told(error) => SinkError { message: format!("{place}: {}", error.message), ..error },
            Self::Late => {
                let message = format!("{place}: no answer in time");
                coded(ErrorClass::Transient, "Postgres.RequestTimeout", message)
            }
            Self::Server(error) => match error.as_db_error() {
                Some(said) => {
                    // It may hold a value whole.
                    let said_of: String = said.message().chars().take(WORDS_MAX).collect();
                    fault(class(said.code()), said.code().code(), format!("{place}: {said_of}"))
                }
                None => {
                    let message = format!("{place}: {}", causes(&error));
                    coded(ErrorClass::Transient, "Postgres.ConnectionReset", message)
                }
            },
        }
    }

    /// The same for a connection that was not made.
    pub(super) fn into_connect_error(self, place: &str) -> SinkError {
        let Self::Server(error) = self else {
            return self.into_error(place);
        };
        if error.as_db_error().is_some() {
            return Self::Server(error).into_error(place);
        }
        let (class, code) = if refuses_certificate(&error) || find::<rustls::Error>(&error).is_some() {
            (ErrorClass::Misconfigured, "Postgres.SSLHandshakeFailure")
        } else if error.is_closed() || find::<std::io::Error>(&error).is_some() {
            (ErrorClass::Transient, "Postgres.ConnectionFailed")
        } else {
            // A server without TLS, no password where one is wanted, a way to prove it that is not known here.
            (ErrorClass::Misconfigured, "Postgres.ConnectionRefused")
        };
        let message = format!("{place}: {}", causes(&error));
        SinkError { code: Some(code.to_owned()), ..SinkError::new(class, message).with_source(error) }
    }
}

/// Whether another row might have been taken.
pub(super) fn is_about_rows(state: &SqlState) -> bool {
    // A key twice among the rows, data, constraints, functions of triggers, the check of a view, a limit of the server
    // (a row too large for its index, JSON too deep), triggers that raise.
    matches!(state.code().split_at_checked(2), Some(("21" | "22" | "23" | "38" | "44" | "54" | "P0", _)))
}

/// Whether it may be about a row: not where the connection, the transaction, the session, the server's resources or who
/// we are is at fault, nor where its data is damaged.
fn is_perhaps_about_rows(said: &DbError) -> bool {
    let state = said.code();
    let not = ["08", "25", "28", "3D", "3F", "40", "53", "55", "57", "58"];
    let damaged = ["XX001", "XX002"].contains(&state.code());
    // What a row sets off (a sequence, a trigger) may lack a permission that no row can have. It is the row's own where a
    // policy's check or a trigger's RAISE says so.
    let of_row = matches!(said.routine(), Some("ExecWithCheckOptions" | "exec_stmt_raise"));
    let lacks_permission = *state == SqlState::INSUFFICIENT_PRIVILEGE && !of_row;
    !damaged && !lacks_permission && state.code().get(..2).is_some_and(|class| !not.contains(&class))
}

/// Unknown is [`Transient`](ErrorClass::Transient): a server that stops, a deadlock, a full disk and much more pass.
pub(super) fn class(state: &SqlState) -> ErrorClass {
    match state.code().split_at_checked(2) {
        // Who we are, the database, the schema, names and permissions, what this server cannot do.
        Some(("0A" | "28" | "3D" | "3F" | "42", _)) => ErrorClass::Misconfigured,
        _ if *state == SqlState::TOO_MANY_CONNECTIONS => ErrorClass::Throttled,
        _ => ErrorClass::Transient,
    }
}

/// What is told of a row: with the server's detail, and where in the row it was.
fn words(said: &DbError) -> (String, String) {
    let mut message = said.message().to_owned();
    for more in [said.detail(), said.where_()].into_iter().flatten() {
        message.push_str(" (");
        message.push_str(more);
        message.push(')');
    }
    let message = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(ROW_WORDS_MAX).collect();
    (code(said.code().code()), message)
}
