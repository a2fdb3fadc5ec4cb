//! Options of the commands for the account, its keys and its contacts.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `sealpost enrol`.
#[derive(Debug, Args)]
pub struct Enrol {
    /// The account's address
    #[arg(value_name = "ADDR")]
    pub address: String,
    /// Read the one-time code from FILE instead of asking for it
    #[arg(long, value_name = "FILE")]
    pub code_file: Option<PathBuf>,
    /// Keep retired keys on this device alone, not sealed on the server
    #[arg(long)]
    pub no_keyring: bool,
    /// Make a recovery kit too, and write its page to FILE (as `recovery make` does); on a terminal it is offered
    #[arg(long, value_name = "FILE", conflicts_with = "no_keyring")]
    pub recovery_kit: Option<PathBuf>,
}

/// `sealpost login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The account's address
    #[arg(value_name = "ADDR")]
    pub address: String,
}

/// `sealpost key`.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// One's own key: fingerprint, words to read aloud, statement
    Show {
        /// The fingerprint as a QR code too
        #[arg(long)]
        qr: bool,
    },
    /// What the server of an address says its key is now
    Lookup {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
    },
    /// Make a new key; old mail stays readable
    Rotate {
        /// Keep retired keys on this device alone, not sealed on the server
        #[arg(long)]
        no_keyring: bool,
    },
    /// Write the private key as an OpenSSH key file, which `age -d -i` takes
    Export {
        /// Where to, readable by you alone; - or nothing is standard output
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The retired keys too
        #[arg(long)]
        all: bool,
    },
}

/// `sealpost passwd`.
#[derive(Debug, Args)]
pub struct Passwd {
    /// Read the new password from FILE; if there is no such file, a passphrase is made and written there
    #[arg(long, value_name = "FILE")]
    pub new_password_file: Option<PathBuf>,
}

/// `sealpost recovery`.
#[derive(Debug, Subcommand)]
pub enum Recovery {
    /// Whether there is a recovery kit, and which page is the one in force
    Show,
    /// Make a recovery kit; a page of an earlier one opens nothing that is written from then on
    ///
    /// Without FILE the page is shown on the terminal, once. In FILE it is HTML with a QR code where the name ends in .html,
    /// else plain text; - is standard output, for a printer. The key lies on no disk but in that file.
    Make {
        /// Where to write the page, readable by you alone
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Bring old mail and contacts back, after enrolment with a new password
    Use {
        /// Read the words or the text of the kit from FILE instead of asking for it
        #[arg(long, value_name = "FILE")]
        kit_file: Option<PathBuf>,
    },
    /// Seal to no recovery kit from now on
    Revoke {
        /// The kit is lost and the password forgotten: give up the old mail and contacts that wait for it
        #[arg(long)]
        lost: bool,
    },
}

/// `sealpost contact`.
#[derive(Debug, Subcommand)]
pub enum Contact {
    /// All contacts whose key is known, where each key came from, and what is wrong with it
    List,
    /// One contact's key: fingerprint, words, where it came from, since when, and the statements behind it
    Show {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
        /// The fingerprint as a QR code too
        #[arg(long)]
        qr: bool,
    },
    /// Compare a contact's key with what the contact reads aloud or shows
    ///
    /// Shows your own key and the contact's in words and as QR codes (each holds an address, a space and a fingerprint),
    /// and on a terminal asks for what the contact says. The status is 0 where it is the key known for the contact, 3
    /// where it is one that must be accepted first, and 4 where it is another one. Words or fingerprints with a slip in
    /// them are refused with status 2.
    #[command(group = clap::ArgGroup::new("heard"))]
    Compare {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
        /// The twelve words that the contact read aloud
        #[arg(long, value_name = "WORDS", group = "heard")]
        words: Option<String>,
        /// The fingerprint that the contact told, or what the contact's QR code holds
        #[arg(long, value_name = "SHA256:…", group = "heard")]
        fingerprint: Option<String>,
    },
    /// Trust the key that the contact's server gives now; compare fingerprints first
    Accept {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
        /// Accept only the key with this fingerprint (SHA256:…)
        #[arg(long, value_name = "SHA256:…")]
        fingerprint: Option<String>,
    },
    /// Forget the contact's key, as if never met
    Forget {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
    },
}
