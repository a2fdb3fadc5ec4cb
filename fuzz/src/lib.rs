//! Hostile input for every parser and state machine: thin targets, committed corpora, a runner that needs nothing but
//! stable Rust.
//!
//! A target takes octets and panics where a promise is broken: an inverse that is none, an event that may not happen,
//! a secret that shows, a verdict that a changed message must not get. `fuzz/corpus/TARGET/` holds good inputs; the
//! runner changes them. A finding becomes a named test beside the code at fault.

mod dictionary;
mod feedback;
mod grammar;
mod mutate;
mod rng;
mod run;
pub mod seeds;
mod targets;

pub use dictionary::dictionary;
pub use mutate::{MAX_OCTETS, Mutator};
pub use rng::Rng;
pub use run::{Budget, Done, Finding, Session, run};

use std::{fs, path::Path};
use targets::{
    account, backup, bridge, control, imap, keys, lookup, message, names, open, person, pop3, seal, smtp,
    state, transfer,
};

/// A name and what it does with octets.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("address", names::address),
    ("mailboxes", names::mailboxes),
    ("base64", names::base64),
    ("time", names::time),
    ("phc", keys::phc),
    ("key", keys::key),
    ("sshsig", keys::sshsig),
    ("statement", keys::statement),
    ("signed-statement", keys::signed_statement),
    ("keyring", account::keyring),
    ("recovery", account::recovery),
    ("age", account::age),
    ("seal", seal::seal),
    ("vectors", account::vectors),
    ("sasl", account::sasl),
    ("config", account::config),
    ("smtp-command", smtp::command::command),
    ("smtp-server", smtp::server::session),
    ("smtp-data", smtp::server::data),
    ("smtp-bdat", smtp::server::bdat),
    ("smtp-reply", smtp::client::reply),
    ("smtp-client", smtp::client::conversation),
    ("transcript", smtp::client::transcript),
    ("pop3-command", pop3::command),
    ("pop3-server", pop3::session),
    ("pop3-message", pop3::message),
    ("imap-command", imap::command),
    ("imap-reply", imap::reply),
    ("imap-names", imap::names),
    ("bridge-server", bridge::server),
    ("mime", imap::mime),
    ("header", message::header),
    ("write", message::write),
    ("html", person::html),
    ("edited", person::edited),
    ("query", person::query),
    ("open", open::open),
    ("protected", open::protected),
    ("state", state::state),
    ("mbox", transfer::mbox),
    ("maildir", transfer::maildir),
    ("control", control::control),
    ("backup", backup::backup),
    ("mta-sts", lookup::mta_sts),
    ("http", lookup::http),
];

/// The committed inputs of a target, in the order of their names; none where there is no folder.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}
