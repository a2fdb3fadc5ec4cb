//! Options of the commands that read and write mail.

use clap::Args;
use std::path::PathBuf;

/// `sealpost send`.
#[derive(Debug, Args)]
pub struct Send {
    /// Which of your addresses it comes from; with --reply the one that was written to, else your primary one
    #[arg(long, value_name = "ADDR")]
    pub from: Option<String>,
    /// Recipient; may be repeated
    #[arg(long, value_name = "ADDR", required_unless_present = "reply")]
    pub to: Vec<String>,
    /// Recipient of a copy; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub cc: Vec<String>,
    /// Hidden recipient; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub bcc: Vec<String>,
    /// Subject (sealed with the text)
    #[arg(long, value_name = "TEXT", required_unless_present = "reply")]
    pub subject: Option<String>,
    /// Attach FILE; may be repeated
    #[arg(long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    /// Answer the message with this UID in INBOX
    #[arg(long, value_name = "UID")]
    pub reply: Option<String>,
    #[command(flatten)]
    pub policy: SendPolicy,
    /// The text, UTF-8; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub text: PathBuf,
}

/// What may be done for recipients who were never written to before.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = true)]
pub struct SendPolicy {
    /// Send unencrypted to everybody if a new contact has no key
    #[arg(long, conflicts_with = "sealed_only")]
    pub allow_plain: bool,
    /// Leave out recipients who have no key
    #[arg(long)]
    pub sealed_only: bool,
    /// Take a new contact's key from a server that is not proven to be the domain's own
    #[arg(long)]
    pub trust_first_use: bool,
}

/// `sealpost list`.
#[derive(Debug, Args)]
pub struct List {
    /// Mailbox
    #[arg(long, value_name = "M", default_value = "INBOX")]
    pub mailbox: String,
    /// By conversation, answers below what they answer; opens what was not opened before
    #[arg(long)]
    pub threads: bool,
}

/// `sealpost search`.
#[derive(Debug, Args)]
pub struct Search {
    /// Look into this mailbox only, instead of all
    #[arg(long, value_name = "M")]
    pub mailbox: Option<String>,
    /// What to look for
    #[arg(value_name = "QUERY", required = true)]
    pub query: Vec<String>,
}

/// `sealpost read`.
#[derive(Debug, Args)]
pub struct Read {
    /// Mailbox
    #[arg(long, value_name = "M", default_value = "INBOX")]
    pub mailbox: String,
    /// The message's UID as `list` shows it, or `last`
    #[arg(value_name = "UID")]
    pub uid: String,
    /// Show content that is withheld because of the verdict
    #[arg(long)]
    pub force: bool,
    /// Save the attachments in this folder
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}

/// `sealpost save`.
#[derive(Debug, Args)]
pub struct Save {
    /// Mailbox
    #[arg(long, value_name = "M", default_value = "INBOX")]
    pub mailbox: String,
    /// The message's UID as `list` shows it, or `last`
    #[arg(value_name = "UID")]
    pub uid: String,
    /// Save the part with this number, as `read` shows it; 1 is usually the text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub part: Option<u32>,
    /// Save all attachments, as is done without --part too
    #[arg(long, conflicts_with = "part")]
    pub all: bool,
    /// Folder, made if it does not exist; with --part, - is standard output
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub to: PathBuf,
    /// Save what is withheld because of the verdict
    #[arg(long)]
    pub force: bool,
}

/// `sealpost verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The message as it came, header and all; - or nothing is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true)]
    pub file: PathBuf,
}
