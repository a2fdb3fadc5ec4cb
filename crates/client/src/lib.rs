//! Sealpost's client: trust, composing, opening, and the life of an account. It never sees a store.
//!
//! Begin at [`client::Client`]: one method for each command.

pub mod answer;
pub mod bridge;
pub mod client;
pub mod compare;
pub mod compose;
pub mod contact;
mod derive;
pub mod edit;
mod enrol;
pub mod error;
mod folder;
pub mod imap;
mod keyring_sync;
pub mod keys;
pub mod keystore;
pub mod list;
pub mod lock;
mod login;
mod lookups;
mod mailbox;
mod memory;
mod mime;
pub mod open;
mod protection;
pub mod qr;
pub mod query;
pub mod quote;
pub mod read;
pub mod recovery;
mod rotate;
mod secrets;
mod seen;
pub mod send;
pub mod sending;
mod session;
mod spool;
pub mod staged;
mod state;
mod stored;
pub mod submit;
pub mod transfer;
pub mod trust;
pub mod ui;
mod vault;
pub mod verify;
