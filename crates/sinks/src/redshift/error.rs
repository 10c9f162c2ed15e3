//! What errors are called, and what they must not repeat.

use standpipe_model::{Secret, SinkError};
use tokio_postgres::error::SqlState;

use crate::postgres::error::Failure;

/// The failure of a statement that waits for the ledger's lock: where it was ended for its time, another load is under way,
/// and that is nobody's failure.
pub(super) fn of_lock(failure: Failure) -> Failure {
    let waited = match &failure {
        Failure::Late => true,
        Failure::Server(error) => error
            .code()
            .is_some_and(|state| [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(state)),
        Failure::Told(_) => false,
    };
    if !waited {
        return failure;
    }
    Failure::waiting("another load holds the ledger's lock")
}

/// The same error by AWS's names for them, without secrets. What it means was decided where it arose: a name that is not
/// there, a password or a permission waits for somebody to mend it, all else may pass.
pub(super) fn told(error: SinkError, secrets: &[Secret]) -> SinkError {
    let clean = |mut text: String| {
        for secret in secrets {
            text = text.replace(secret.expose(), "***");
        }
        text
    };
    let code = error.code.as_deref().map(|code| match code.strip_prefix("Postgres.") {
        Some(of) => format!("Redshift.{}", name(of)),
        None => code.to_owned(),
    });
    SinkError { message: clean(error.message), words: error.words.map(clean), code, ..error }
}

fn name(state: &str) -> &str {
    match state {
        "42P01" => "TableNotFound",
        "42703" => "ColumnNotFound",
        "42501" => "InsufficientPrivilege",
        "42601" => "SyntaxError",
        "28000" | "28P01" => "AuthenticationFailed",
        "3D000" => "DatabaseNotFound",
        "25006" => "ReadOnlyCluster",
        "53100" => "DiskFull",
        // An internal error, which is what Redshift calls records that it does not take and a bucket that it may not read.
        "XX000" => "DataLoadFailed",
        other => other,
    }
}
