//! Programs that attack, for tests: a world of two honest servers (real ones, on loopback, with a DNS and an authority
//! of their own), and a man in the middle in front of either, who owns the certificates that an attack needs.
//!
//! An attack is one small named value ([`Attack`]), so that a row of a test reads like the row of the protocol that it
//! holds to. Without an attack the man in the middle passes on what he hears, octet for octet: each scenario is first
//! run so, and a refusal is then known to come from the attack.
//!
//! Nothing here is part of the program: only tests depend on this crate.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that panics fails where the fault is"
)]

mod attack;
mod authority;
mod between;
pub mod letter;
mod line;
mod lines;
mod listening;
mod mail;
mod mail_attack;
mod middle;
mod post;
mod tarpit;
pub mod world;

pub use attack::{Attack, Flood, mallory};
pub use authority::{Authority, Certificate};
pub use line::{Breaks, Line};
pub use mail::MailMiddle;
pub use mail_attack::MailAttack;
pub use middle::{Door, Middle};
pub use post::post;
pub use tarpit::Tarpit;
