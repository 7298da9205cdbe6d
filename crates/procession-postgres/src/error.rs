//! Which [`TableError`] an error of PostgreSQL is.
//!
//! | error | SQLSTATE | becomes |
//! |---|---|---|
//! | the connection fails, is closed, or times out | none, class 08 | `Unavailable` |
//! | deadlock, serialization failure | class 40 | `Unavailable`, after further attempts |
//! | lock timeout, cancelled statement or statement timeout | 55P03, 57014 | `Unavailable` |
//! | transaction idle for too long | 25P03 | `Unavailable` |
//! | the server shuts down, crashes, starts up, or ends the session | class 57 | `Unavailable` |
//! | too many connections, disk full, out of memory | class 53 | `Unavailable` |
//! | an I/O error of the server | class 58 | `Unavailable` |
//! | read-only transaction, recovery in progress: a standby, or a failover under way | 25006, 55000 | `Unavailable` |
//! | text that the database cannot encode | 22021, 22P05 | `Invalid` |
//! | the queue of notifications is full | 54000, raised by its function | `Unavailable` |
//! | other limits, such as a key that is too long for an index | class 54 | `Invalid` |
//! | permission denied, wrong password, unknown table, and everything else | 42501, 28P01, 42P01, .. | `Unusable` |
//!
//! Sessions check text before they send it, so neither a NUL character nor a key that is too long reaches the server.

use std::error::Error as _;
use std::io;

use postgres::error::{DbError, SqlState};
use procession_supervisor::shared::TableError;

/// Classifies an error.
pub(crate) fn failed(error: postgres::Error) -> TableError {
    let Some(state) = error.code() else {
        return if is_permanent(&error) {
            TableError::Unusable(error.into())
        } else {
            TableError::Unavailable(error.into())
        };
    };
    match state.code() {
        "25006" | "25P03" | "55000" | "55P03" => TableError::Unavailable(error.into()),
        "22021" | "22P05" => invalid(&error),
        "57P04" => TableError::Unusable(error.into()),
        code => match code.get(..2) {
            Some("08" | "40" | "53" | "57" | "58") => TableError::Unavailable(error.into()),
            Some("54") if !is_of_notifications(&error) => invalid(&error),
            Some("54") => TableError::Unavailable(error.into()),
            _ => TableError::Unusable(error.into()),
        },
    }
}

/// Whether the commit failed because some session does not read its notifications.
fn is_of_notifications(error: &postgres::Error) -> bool {
    error.as_db_error().and_then(DbError::routine).is_some_and(|name| name.contains("Notify"))
}

fn invalid(error: &postgres::Error) -> TableError {
    let message = error.as_db_error().map_or_else(String::new, |error| error.message().to_owned());
    TableError::Invalid { reason: format!("PostgreSQL cannot keep this text: {message}") }
}

/// Whether an error that is not the server's stays until somebody repairs its cause. The crate does not say what kind
/// of error it is, except in its text.
fn is_permanent(error: &postgres::Error) -> bool {
    const PERMANENT: [&str; 4] = [
        "authentication error",
        "invalid configuration",
        "invalid connection string",
        "error performing TLS handshake",
    ];
    let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
    let text = error.to_string();
    !is_io && (PERMANENT.contains(&text.as_str()) || text.starts_with("error deserializing"))
}

/// Whether another attempt of the same transaction may succeed at once: it was rolled back because of a conflict.
pub(crate) fn is_conflict(error: &TableError) -> bool {
    has_code(error, &SqlState::T_R_DEADLOCK_DETECTED)
        || has_code(error, &SqlState::T_R_SERIALIZATION_FAILURE)
}

/// Whether a transaction was rolled back because it broke a unique index.
pub(crate) fn is_duplicate(error: &TableError) -> bool {
    has_code(error, &SqlState::UNIQUE_VIOLATION)
}

/// Whether an error has this SQLSTATE.
pub(crate) fn has_code(error: &TableError, state: &SqlState) -> bool {
    let (TableError::Unavailable(error) | TableError::Unusable(error)) = error else {
        return false;
    };
    error.downcast_ref::<postgres::Error>().and_then(postgres::Error::code) == Some(state)
}
