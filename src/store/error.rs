//! Errors of the database, by what the caller can do about them.

use rusqlite::ErrorCode;
use std::io;
use std::path::PathBuf;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be created, or its permissions could not be set.
    #[error("cannot open the database {path}: {source}")]
    Io {
        /// The database file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is damaged, and so is the new one that was created in its place.
    #[error("the database {path} is damaged: {problem}")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// SQLite's description of the damage.
        problem: String,
    },
    /// The file is a sound database of another program.
    #[error("{path} is a database, but not stayd's; move it away to start with a new one")]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// Another version of stayd has written it.
    #[error("the database {path} has version {found}; this stayd knows only version {known}")]
    OtherVersion {
        /// The database file.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The version that this program knows.
        known: i64,
    },
    /// SQLite could not open it: it is locked, the disk is full, there is no shared memory for the
    /// write-ahead log …
    #[error("cannot open the database {path}: {source}")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

/// Why a write or a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another live session has this name.
    #[error("another live session is named {0:?}")]
    NameTaken(String),
    /// The database cannot be used at the moment (it is locked, damaged, or its disk is full …); a
    /// retry may succeed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The database will never accept this, however often it is tried.
    #[error("the database refused: {0}")]
    Refused(String),
    /// The writer has stopped.
    #[error("the store has stopped")]
    Stopped,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            // An error of the data itself will not go away.
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
            | None => StoreError::Refused(error.to_string()),
            Some(_) => StoreError::Unavailable(error.to_string()),
        }
    }
}
