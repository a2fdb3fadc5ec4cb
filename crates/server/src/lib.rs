//! Sealpost's mail server. It handles sealed octets and public keys only: no crate with a private key, a password
//! or a key derivation is in its reach (a test reads `cargo tree`).

pub mod admin;
pub mod apppass;
pub mod auth;
pub mod config;
pub mod conn;
pub mod context;
pub mod imap;
pub mod limits;
mod listen;
pub mod network;
pub mod notify;
mod places;
pub mod pop3;
pub mod privileges;
pub mod quota;
pub mod relay;
mod run;
pub mod sasl;
pub mod smtp;
pub mod tls;

pub use listen::{Addresses, Passed};
pub use run::{Prepared, RunError, RunningServer, forbid_core_dumps, prepare, run, run_with};
