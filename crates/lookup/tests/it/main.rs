//! Look-ups over real sockets: a DNS zone, a development CA, scripted servers, all on loopback.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]

mod bindings;
mod fake;
mod order;
mod statements;
mod world;
