//! Sealpost's client: trust, composing, opening, and the life of an account. It never sees a store.
//!
//! Begin at [`client::Client`]: one method for each command.

pub mod client;
pub mod compose;
pub mod contact;
pub mod error;
pub mod folder;
pub mod imap;
pub mod keys;
mod mime;
pub mod open;
pub mod read;
pub mod send;
mod spool;
pub mod submit;
pub mod ui;
