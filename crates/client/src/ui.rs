//! What the library asks and tells the person in front of it, so that a command line, the demo and a bridge can each
//! do that their own way.

use crate::transfer::TransferEvent;
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
};

/// Asked and told; the library calls it from blocking and async code alike, so implementations must not need a
/// runtime.
pub trait Ui: Send + Sync {
    /// Asks for a decision. Unattended programs answer `false`, which always means "do not".
    fn confirm(&self, question: &Question) -> bool;
    /// Something takes a while.
    fn progress(&self, event: Progress) {
        let _ = event;
    }
    /// How far an import or export is, and what it leaves out.
    fn transfer(&self, event: &TransferEvent) {
        let _ = event;
    }
    /// Something worth a line happened by itself ("the key statement was renewed"). Never holds a secret.
    fn say(&self, line: &str) {
        let _ = line;
    }
}

/// Answers no question and shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unattended;

impl Ui for Unattended {
    fn confirm(&self, _question: &Question) -> bool {
        false
    }
}

/// A decision that is the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// The home server's name is not bound to the address's domain (profile §7, §8); no login hash has left yet.
    HomeServer {
        /// Whose home.
        address: Address,
        /// The name in the server's certificate.
        server: String,
        /// Why nothing binds it.
        reason: String,
    },
    /// No key is published: has this account never had a device (profile §9)?
    FirstKey {
        /// Whose.
        address: Address,
    },
    /// Salt, cost or key of one's own account differ from what this device remembers, without a statement chain
    /// (profile §9: an attack until the user says otherwise).
    OwnAccountChanged {
        /// Whose.
        address: Address,
        /// What differs, in words.
        what: String,
        /// The key this device remembers.
        remembered: Option<PublicKey>,
        /// The key derived from the password, which is the one published.
        derived: PublicKey,
    },
    /// The server asks for a login salt or cost other than this device remembers, and no statement chain tells of a
    /// change on another device. No hash of the password has left yet.
    LoginChanged {
        /// Whose.
        address: Address,
        /// The server.
        server: String,
    },
    /// Trust this key of a contact from now on (`contact accept`).
    AcceptKey {
        /// Whose.
        address: Address,
        /// The key that counted until now.
        pinned: Option<PublicKey>,
        /// The key its server gives now.
        key: PublicKey,
        /// Fingerprint and words of `key`, for comparing.
        fingerprint: String,
        /// Twelve words to read aloud.
        words: String,
        /// What else is known: who answered, how the server is bound, expiry.
        notes: Vec<String>,
    },
    /// These have no key: send unencrypted to everybody?
    SendPlain {
        /// Those without a key, and what their server said.
        without: Vec<(Mailbox, String)>,
        /// Those who could have had it sealed.
        with: Vec<Mailbox>,
    },
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HomeServer { address, server, reason } => write!(
                f,
                "The mail server of {address} is called {server}, and nothing ties that name to {} ({reason}). \
                 Is {server} really your provider's server?",
                address.domain()
            ),
            Self::FirstKey { address } => write!(
                f,
                "No key is published for {address}. Has this account never been used with Sealpost on any device? \
                 Only then may a first key be published now."
            ),
            Self::OwnAccountChanged { address, what, .. } => write!(
                f,
                "{what} of {address} is not what this device remembers, and no signed statement explains it. \
                 Did you yourself set a new password with a new code from your administrator?"
            ),
            Self::LoginChanged { address, server } => write!(
                f,
                "{server} asks for another hash of the password of {address} than this device remembers, and no signed \
                 statement tells of a new password. Did you yourself set a new one with a new code from your \
                 administrator?"
            ),
            Self::AcceptKey { address, pinned, fingerprint, words, notes, .. } => {
                for note in notes {
                    writeln!(f, "{note}")?;
                }
                if let Some(pinned) = pinned {
                    writeln!(f, "Trusted until now: {}", pinned.fingerprint())?;
                }
                writeln!(f, "Key now:           {fingerprint}")?;
                writeln!(f, "In words:          {words}")?;
                write!(f, "Did {address} confirm this key to you, in person or on the telephone?")
            }
            Self::SendPlain { without, with } => {
                for (mailbox, why) in without {
                    writeln!(f, "{mailbox}: {why}")?;
                }
                if with.is_empty() {
                    write!(f, "Send this message unencrypted, so that every server on its way can read it?")
                } else {
                    write!(
                        f,
                        "Send this message unencrypted to everybody, also to the {} with a key? \
                         (--sealed-only leaves out those without one.)",
                        with.len()
                    )
                }
            }
        }
    }
}

/// Something that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Argon2id runs (a second or so); [`Progress::Derived`] follows.
    Deriving,
    /// Argon2id is done.
    Derived,
    /// Octets sent so far.
    Upload {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// Octets received so far.
    Download {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
}
