//! POP3 (RFC 1939 and its extensions), the server's side: octets in, [`server::Event`]s and octets out.
//!
//! ```text
//! Clear ──STLS──► Authorization ──PASS, AUTH──► Transaction ──QUIT──► (update) ──► closed
//! ```
//!
//! Each state is a type with what is known by then: a password can be given in [`server`]'s `Authorization` alone, which
//! exists inside TLS only, and a message can be named in `Transaction` alone, which holds the maildrop.

pub mod capability;
pub mod command;
mod line;
pub mod maildrop;
pub mod message;
pub mod reply;
pub mod server;
pub mod surrogate;
