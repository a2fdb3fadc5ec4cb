//! What can go wrong in a conversation, by who is at fault.

use crate::smtp::client::{BareLineEnd, Command, CommandError, Reply, ReplyError, SaltError};

/// A server's no. The reply's text has passed the command's own redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// To what.
    pub verb: &'static str,
    /// Its words.
    pub reply: Reply,
}

impl Refusal {
    pub(super) fn new(verb: &'static str, reply: Reply) -> Self {
        Self { verb, reply }
    }
}

/// Why a conversation failed. Holds no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpError {
    /// The server answered, and not with what was asked for.
    #[error("the server answered {} with: {}", .0.verb, .0.reply)]
    Refused(Refusal),
    /// Reading or writing failed.
    #[error("the connection to the server failed: {0}")]
    Io(#[from] std::io::Error),
    /// The TLS handshake failed.
    #[error("the server's TLS could not be verified: {0}")]
    Tls(std::io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection without answering {0}")]
    Closed(&'static str),
    /// The server did not answer in time.
    #[error("the server took too long over {0}")]
    Timeout(&'static str),
    /// The server does not speak SMTP.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// Something was said before TLS that was meant to be believed inside it.
    #[error(
        "somebody on the way to the server tried to slip answers in before TLS; the connection was closed"
    )]
    Injected,
    /// The server does not offer what is needed.
    #[error("the server does not offer {0}")]
    NotOffered(&'static str),
    /// The salt was missing, malformed or told twice with different values.
    #[error(transparent)]
    Salt(#[from] SaltError),
    /// The login challenge is not of the form of profile §4.
    #[error("the server's login challenge is malformed; do not trust it with a password")]
    Challenge,
    /// An answer whose content is not what it must be.
    #[error("the server's answer to {0} is malformed")]
    Malformed(&'static str),
    /// We were asked to send what cannot be sent.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The message cannot be sent as it is.
    #[error(transparent)]
    Body(#[from] BareLineEnd),
    /// The message could not be read.
    #[error("the message could not be read: {0}")]
    Source(std::io::Error),
    /// An earlier exchange did not end; the connection is of no use.
    #[error("the connection broke off earlier; connect again")]
    OutOfStep,
}

impl SmtpError {
    pub(super) fn refused(command: &Command, reply: &Reply) -> Self {
        Self::Refused(Refusal::new(command.verb(), command.shown_reply(reply)))
    }
    /// The server's reply, where it gave one.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused(refusal) => Some(&refusal.reply),
            _ => None,
        }
    }
    /// The server's reply code, where it gave one.
    pub fn code(&self) -> Option<u16> {
        self.reply().map(Reply::code)
    }
}
