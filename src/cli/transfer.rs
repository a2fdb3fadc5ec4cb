//! `import` and `export`.

use clap::Args;
use std::path::PathBuf;

/// `sealpost import`.
#[derive(Debug, Args)]
#[group(id = "import-source", required = true, args = ["path", "from"])]
pub struct Import {
    /// An mbox file, a folder of them (Thunderbird, mutt), or a Maildir (both layouts)
    #[arg(value_name = "PATH", conflicts_with = "from")]
    pub path: Option<PathBuf>,
    // An attribute, since rustdoc would take the brackets for a link and `--help` would show what escapes them.
    #[arg(
        long,
        value_name = "URL",
        help = "Another server: imaps://user@host[:port], or imap://… for STARTTLS"
    )]
    pub from: Option<String>,
    /// Read the password for --from from FILE instead of asking for it
    #[arg(long, value_name = "FILE", requires = "from")]
    pub from_password_file: Option<PathBuf>,
    /// Trust the root certificates in this PEM file for --from, instead of --ca-file's or the system's
    #[arg(long, value_name = "FILE", requires = "from")]
    pub from_ca_file: Option<PathBuf>,
    /// How PATH is written, where it is not told by itself
    #[arg(long, value_name = "FORMAT", conflicts_with = "from")]
    pub format: Option<ImportFormat>,
    /// Only this folder and what is below it, into MAILBOX if that is given; may be repeated
    #[arg(long, value_name = "FOLDER[=MAILBOX]")]
    pub folder: Vec<String>,
    /// Put everything below this mailbox; a single file or the source's INBOX into it
    #[arg(long, value_name = "MAILBOX")]
    pub into: Option<String>,
    /// Date messages by their Received fields, not by the dates of their files
    #[arg(long, conflicts_with = "from")]
    pub received_dates: bool,
    /// Forget what was imported from there before, and import all of it once more
    #[arg(long)]
    pub anew: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub account: TransferAccount,
}

/// `sealpost export`.
#[derive(Debug, Args)]
pub struct Export {
    /// The folder to write into; made if it does not exist
    #[arg(value_name = "DIR")]
    pub target: PathBuf,
    /// How to write
    #[arg(long, value_name = "FORMAT", default_value = "maildir")]
    pub format: ExportFormat,
    /// Only this mailbox and what is below it; may be repeated
    #[arg(long, value_name = "MAILBOX")]
    pub folder: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub account: TransferAccount,
}

/// Whose mail is imported or exported, where it is not that of the client's folder.
#[derive(Debug, Args)]
pub struct TransferAccount {
    #[arg(
        long,
        value_name = "URL",
        help = "Sign in to this account by an app password instead: imaps://user@host[:port] or imap://…"
    )]
    pub account: Option<String>,
    /// Read the app password for --account from FILE instead of asking for it
    #[arg(long, value_name = "FILE", requires = "account")]
    pub account_password_file: Option<PathBuf>,
}

/// What `import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportFormat {
    /// Files of messages, `>From ` lines quoted once more each time (mboxrd)
    Mbox,
    /// Files of messages, only `From ` lines quoted (mboxo)
    Mboxo,
    /// A file for each message
    Maildir,
}

/// What `export` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// A Maildir++: a file for each message
    Maildir,
    /// A file for each mailbox (mboxrd), in Thunderbird's layout
    Mbox,
}
