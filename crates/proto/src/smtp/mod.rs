//! SMTP (RFC 5321) with the draft's verbs: grammar, server and client state machines.

pub mod body;
pub mod client;
pub mod parse;
pub mod reply;
pub mod server;
pub mod verb;
