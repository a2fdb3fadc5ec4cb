//! The client's side of SMTP, sans-IO: replies in ([`ReplyReader`]), commands out ([`Command`]), what EHLO offered
//! ([`Capabilities`]), the rule for the salt after a login ([`SaltAfterLogin`]), and message data ([`DotStuffer`]).
//! `crate::drive` puts a socket and a clock under them.

mod body;
mod capabilities;
mod command;
mod login;
mod reply;

pub use body::{BareLineEnd, DotStuffer, LineEndCheck};
pub use capabilities::Capabilities;
pub use command::{COMMAND_MAX, Command, CommandError, KEYRING_MAX, MailParameters};
pub use login::{SaltAfterLogin, SaltError, SaltStep, challenge, salt};
pub use reply::{EnhancedCode, Reply, ReplyError, ReplyLimits, ReplyReader};
