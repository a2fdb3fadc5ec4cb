//! The IMAP server (RFC 3501, RFC 9051): one session a connection, driven by the codec in `sealpost_proto::imap`.
//!
//! `session` reads commands and writes replies; a file for each group of verbs holds their handlers, which return
//! a `session::Done` and never end a session by themselves.

mod append;
mod batches;
mod binary;
pub mod capability;
mod enable;
mod fetch;
mod flags;
mod folders;
mod idle;
pub mod index;
mod list;
mod login;
mod messages;
mod metadata;
mod narrow;
mod notify;
mod objectid;
mod preview;
mod quota;
mod search;
mod section;
mod select;
mod session;
mod sketch;
mod sort;
mod text;
mod thread;
mod uids;
mod updates;
mod view;

use crate::{conn::Conn, context::Context};

/// Serves one connection to its end. Implicit TLS has been shaken by the caller.
pub async fn serve(conn: Conn, ctx: Context) {
    session::Session::new(conn, ctx).run().await;
}
