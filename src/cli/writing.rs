//! Options of the commands that write mail: compose, reply, forward.

use super::SendPolicy;
use clap::Args;
use std::path::PathBuf;

/// What the commands that write have in common.
#[derive(Debug, Args)]
pub struct Writing {
    /// Which of your addresses it comes from, instead of the one that was written to, or your primary one
    #[arg(long, value_name = "ADDR")]
    pub from: Option<String>,
    /// Recipient; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub to: Vec<String>,
    /// Recipient of a copy; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub cc: Vec<String>,
    /// Hidden recipient; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub bcc: Vec<String>,
    /// Subject (sealed with the text)
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,
    /// Attach FILE; may be repeated
    #[arg(long, value_name = "FILE")]
    pub attach: Vec<PathBuf>,
    /// Open the editor although there is no terminal or a FILE, with whose text it begins
    #[arg(long)]
    pub edit: bool,
    /// Go on with a message that was kept in FILE, header lines and all
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to", "cc", "bcc", "subject", "attach", "text"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub policy: SendPolicy,
    /// The text, UTF-8, instead of an editor; - is standard input, as is nothing where that is no terminal
    #[arg(value_name = "FILE")]
    pub text: Option<PathBuf>,
}

/// `sealpost compose`.
#[derive(Debug, Args)]
pub struct Compose {
    #[command(flatten)]
    pub writing: Writing,
}

/// `sealpost reply`.
#[derive(Debug, Args)]
pub struct Reply {
    /// Mailbox
    #[arg(long, value_name = "M", default_value = "INBOX")]
    pub mailbox: String,
    /// The message's UID as `list` shows it, or `last`
    #[arg(value_name = "UID")]
    pub uid: String,
    /// Answer everybody whom it was written to
    #[arg(long)]
    pub all: bool,
    /// Do not quote it
    #[arg(long)]
    pub no_quote: bool,
    #[command(flatten)]
    pub writing: Writing,
}

/// `sealpost forward`.
#[derive(Debug, Args)]
pub struct Forward {
    /// Mailbox
    #[arg(long, value_name = "M", default_value = "INBOX")]
    pub mailbox: String,
    /// The message's UID as `list` shows it, or `last`
    #[arg(value_name = "UID")]
    pub uid: String,
    /// Send it along whole, as a message in the message, instead of its text and attachments
    #[arg(long)]
    pub as_attachment: bool,
    /// Leave its attachments out
    #[arg(long, conflicts_with = "as_attachment")]
    pub no_attachments: bool,
    #[command(flatten)]
    pub writing: Writing,
}
