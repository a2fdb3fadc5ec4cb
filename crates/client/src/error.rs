//! Why a command failed. Each ends in a sentence a person can act on, names the option or command that would overrule
//! it where there is one, and never holds a secret.

use crate::{compose::ComposeError, open::OpenError, send::SendReport};
use sealpost_crypto::kdf::PasswordError;
use sealpost_proto::address::Address;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Something about the folder.
    #[error("{what} {}: {reason}", path.display())]
    Folder {
        /// What could not be done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No account in the folder.
    #[error("there is no account in {}; begin with `sealpost enrol` or `sealpost login`", .0.display())]
    NoAccount(PathBuf),
    /// The folder is another account's.
    #[error("this folder belongs to {0}; give another one with --dir")]
    OtherAccount(Address),
    /// Only the password opens what this device keeps.
    #[error("this device is locked; unlock it with `sealpost unlock` and your password")]
    Locked,
    /// What opens the secrets of this device lies in the key store, which was of no use.
    #[error(
        "what opens the secrets of this device lies in the desktop's key store, and {0}. Unlock the key store, or run \
             `sealpost unlock` with your password"
    )]
    KeyStore(String),
    /// The password, the code or the stored login was not taken.
    #[error("{0}")]
    SignIn(String),
    /// A password that may not be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The user must decide; names the option or command.
    #[error("{0}")]
    Decide(String),
    /// Something that must be taken for an attack, or that cannot work as it is.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// Nobody answers where the server is: it may work in a moment.
    #[error("{0}")]
    Away(String),
    /// Nothing was sent; says so for each recipient.
    #[error("{}", not_sent(.0))]
    NotSent(Box<SendReport>),
    /// Composing failed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// Reading failed.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ClientError {
    /// The exit status: 1 failed or refused for good, 3 the user must decide, 5 try later, 6 sign-in failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Folder { .. }
            | Self::NoAccount(_)
            | Self::OtherAccount(_)
            | Self::Password(_)
            | Self::Refused(_)
            | Self::Compose(_)
            | Self::Open(_) => 1,
            Self::Locked | Self::KeyStore(_) | Self::Decide(_) => 3,
            Self::Later(_) | Self::Away(_) => 5,
            Self::SignIn(_) => 6,
            Self::NotSent(report) => {
                let later = |r: &crate::send::RecipientReport| r.outcome == crate::send::Outcome::TryLater;
                if report.recipients.iter().any(later) { 5 } else { 3 }
            }
        }
    }
}

fn not_sent(report: &SendReport) -> String {
    let why = report.recipients.iter().map(|r| format!("\n  {}: {}", r.address, r.why));
    let unsure = report.recipients.iter().any(|r| r.why.ends_with(crate::send::UNSURE));
    let head = if unsure { "it is not certain that anything was sent" } else { "nothing was sent" };
    std::iter::once(head.to_owned()).chain(why).collect()
}
