//! SMTP, both sides.

pub(crate) mod client;
pub(crate) mod command;
pub(crate) mod server;
