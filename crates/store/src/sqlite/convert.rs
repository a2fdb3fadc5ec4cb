//! Between rows and values.

use crate::error::{Result, StoreError};
use rusqlite::ErrorCode;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            // The index of the log could not grow: SQLite tells a full disk from other failures everywhere but there.
            Some(ErrorCode::SystemIoFailure)
                if error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
            {
                Self::Full
            }
            // Every foreign key leads to an account.
            Some(ErrorCode::ConstraintViolation)
                if error.sqlite_extended_error_code()
                    == Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) =>
            {
                Self::Gone("account")
            }
            // The text is SQLite's and holds no values.
            _ => Self::Database(error.to_string()),
        }
    }
}

/// A row holds what we never wrote.
pub(super) fn damaged(what: &'static str) -> StoreError {
    StoreError::Database(format!("a stored {what} is damaged; restore it from a backup"))
}

/// A stored number as the type it was written from.
pub(super) fn number<T: TryFrom<i64>>(value: i64, what: &'static str) -> Result<T> {
    T::try_from(value).map_err(|_| damaged(what))
}

/// A number to be stored. Sizes and counts never come near 2^63.
pub(super) fn signed(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// A stored blob of fixed length.
pub(super) fn array<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| damaged(what))
}
