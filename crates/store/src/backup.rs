//! Backups: what a store owes its administrator besides the mail.

use crate::error::Result;
use async_trait::async_trait;
use std::io::Write;

/// What a backup holds, or a restore brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Accounts.
    pub accounts: u64,
    /// Distinct messages.
    pub messages: u64,
    /// Octets of the archive.
    pub octets: u64,
}

/// Copying a store while it is used.
#[async_trait]
pub trait Backup: Send + Sync {
    /// Writes an archive of the store as it is at one moment of this call: all that was acknowledged before it, and
    /// nothing by halves. Deliveries go on meanwhile. What `out` has got is worth nothing after an error.
    async fn backup(&self, out: Box<dyn Write + Send>) -> Result<Summary>;
}
