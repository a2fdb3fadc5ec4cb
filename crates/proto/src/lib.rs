//! Sealpost's wire formats and state machines, sans-IO: bytes in, events and bytes out.
//!
//! Nothing here opens a socket, reads a clock, draws randomness or touches a disk, so every grammar and every
//! state machine can be tested and fuzzed by a function call. The one exception is [`drive`], the async driver
//! of the SMTP client, behind the feature of the same name and off by default.

pub mod address;
pub mod base64;
#[cfg(feature = "drive")]
pub mod drive;
pub mod imap;
pub mod key;
pub mod message;
pub mod phc;
pub mod pop3;
pub mod sasl;
pub mod smtp;
pub mod sshsig;
pub mod statement;
pub mod time;
pub mod transcript;
