//! The client as its users call it.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where the fault is")]
#![allow(unreachable_pub, reason = "a test binary has no users; its modules share what they need")]

mod account;
mod devices;
mod downgrade;
#[path = "../../../lookup/tests/it/fake.rs"]
mod fake;
mod home;
mod hostile;
mod lock;
mod mail;
mod message;
mod middle;
mod recovery;
mod senders;
mod trust;

use sealpost_hostile::world;
