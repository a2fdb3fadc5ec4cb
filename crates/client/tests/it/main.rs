//! The client as its users call it.

#![allow(unreachable_pub, reason = "a test binary has no users; its modules share what they need")]

mod account;
mod hostile;
mod mail;
mod message;
mod world;
