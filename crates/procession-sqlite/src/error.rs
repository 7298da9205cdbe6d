//! Which [`TableError`] an error of SQLite or of the file system becomes.
//!
//! | what | error | because |
//! |---|---|---|
//! | the database is busy or locked, out of memory, no free file descriptor | `Unavailable` | it passes |
//! | the disk is full, an I/O error | `Unavailable` | somebody may free space; one failed read must not end a lease |
//! | the file is corrupt, not a database, or read-only, or cannot be opened | `Unusable` | somebody must repair it |
//! | any other error of SQLite, such as a table with other columns | `Unusable` | the same statement fails again |
//! | a text that is longer than SQLite allows | `Invalid` | |

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use procession_supervisor::shared::TableError;
use rusqlite::ErrorCode;

/// Why a call failed, before it is known which database it was about.
#[derive(Debug)]
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    Table(TableError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

/// The source of a [`TableError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("SQLite cannot use the database `{}`", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("cannot {what} `{}`", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "the file system of `{}` does not support flock, which shows whether a program is alive; move the database to \
         a local disk",
        path.display()
    )]
    NoLocks { path: PathBuf, source: io::Error },
    #[error(
        "`{}` is on a network file system or a FUSE file system ({kind}), where locks are not reliable; move the \
         database to a local disk",
        path.display()
    )]
    Network { path: PathBuf, kind: &'static str },
    #[error("`{}` {problem}", path.display())]
    Database { path: PathBuf, problem: String },
}

impl Fault {
    pub(crate) fn unusable(self) -> TableError {
        TableError::Unusable(self.into())
    }

    pub(crate) fn unavailable(self) -> TableError {
        TableError::Unavailable(self.into())
    }

    /// A database in which something is not as it must be.
    pub(crate) fn database(path: &Path, problem: impl Into<String>) -> TableError {
        Self::Database { path: path.to_owned(), problem: problem.into() }.unusable()
    }

    /// An operation on a file that failed.
    pub(crate) fn file(what: &'static str, path: &Path, source: io::Error) -> TableError {
        let passes = is_out_of_resources(&source);
        let fault = Self::File { what, path: path.to_owned(), source };
        if passes { fault.unavailable() } else { fault.unusable() }
    }
}

impl Failure {
    pub(crate) fn about(self, path: &Path) -> TableError {
        let source = match self {
            Self::Table(error) => return error,
            Self::Sqlite(source) => source,
        };
        let code = source.sqlite_error_code();
        let fault = Fault::Sqlite { path: path.to_owned(), source };
        match code {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure,
            ) => fault.unavailable(),
            Some(ErrorCode::CannotOpen) if no_file_can_be_opened() => fault.unavailable(),
            Some(ErrorCode::TooBig) => {
                TableError::Invalid { reason: "the text is longer than SQLite allows".to_owned() }
            }
            _ => fault.unusable(),
        }
    }
}

/// SQLite reports a file that does not exist and the lack of file descriptors by the same code.
fn no_file_can_be_opened() -> bool {
    File::open("/dev/null").is_err_and(|error| is_out_of_resources(&error))
}

fn is_out_of_resources(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC, Errno::DQUOT, Errno::IO];
    error
        .raw_os_error()
        .is_some_and(|code| passing.iter().any(|errno| errno.raw_os_error() == code))
}
