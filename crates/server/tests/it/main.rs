//! Integration tests over real sockets with real TLS and a store in a temporary folder.
#![allow(clippy::unwrap_used, reason = "tests")]

mod imap;
mod kit;
mod pop3;
mod scram;
mod smtp;
mod torrent;
