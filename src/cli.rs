//! The command line: every command and option, and nothing else. Help, man pages and completions are made from
//! these types, so that they cannot disagree with the program.

mod account;
mod admin;
mod bridge;
mod mail;
mod transfer;
mod writing;

pub use account::{Contact, Enrol, Key, Login, Passwd, Recovery};
pub use admin::{
    AppPassword, AppPasswordAction, Backup, Queue, QueueAction, Restore, Serve, ServerConfig, User,
    UserAction,
};
pub use bridge::{Bridge, BridgeAction, BridgeRun, Program};
pub use mail::{List, Read, Save, Search, Send, SendPolicy, Verify};
pub use transfer::{Export, ExportFormat, Import, ImportFormat, TransferAccount};
pub use writing::{Compose, Forward, Reply, Writing};

use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// End-to-end encrypted mail that asks nothing of people but their password.
///
/// One program is mail server, client and key directory. Begin with `sealpost demo`, which shows two servers and two
/// people exchanging mail that neither server can read.
#[derive(Debug, Parser)]
#[command(name = "sealpost", version, propagate_version = true, after_long_help = crate::exit::HELP)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options taken before and after the command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The client's folder [default: $SEALPOST_DIR, else ~/.local/share/sealpost]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Standard output is one JSON object; everything else goes to standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Read the password from FILE (one trailing line feed is cut) instead of asking for it
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Ask this name server instead of the system's
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub dns: Option<SocketAddr>,
    /// Trust the root certificates in this PEM file instead of the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Port on which mail servers (MX) listen, where it is not 25
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub mx_port: Option<u16>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch two mail servers exchange a message that neither can read
    Demo(Demo),
    /// Use a new account for the first time, with the code from its administrator
    Enrol(Enrol),
    /// Set up this device for an account that is in use already
    Login(Login),
    /// Send a message, sealed and signed
    Send(Send),
    /// Write a message in your editor and send it, sealed and signed
    ///
    /// To, Cc, Bcc, Subject and files to attach (Attach:) are header lines on top, an empty line stands between them and the
    /// text. The editor is $VISUAL, else $EDITOR. With FILE, or where standard input is no terminal, the text comes from
    /// there. A message without text, or left as it was, is not sent. What was written is kept in a file until it is sent;
    /// where sending fails, that file and the command that goes on with it are told (`kept` with --json).
    Compose(Compose),
    /// Answer a message, quoting it
    ///
    /// To whom its Reply-To says, else its sender; with --all to everybody whom it was written to. Written as with compose.
    /// Of a withheld message nothing is quoted or taken over.
    Reply(Reply),
    /// Send a message on, its text and its attachments or all of it as an attachment
    ///
    /// Written as with compose. A withheld message is not sent on, and the status is 4.
    Forward(Forward),
    /// List the messages of a mailbox
    List(List),
    /// Read a message; says its verdict first
    Read(Read),
    /// Look for messages by what is in them, sealed or not
    ///
    /// Words stand anywhere in a message, all of them in it; "several words" in quotes belong together, NOT word must
    /// not be there, A OR B is either. from:, to:, cc:, subject:, body: look in one place; since:, before:, on: take a date
    /// (2026-01-31), larger:, smaller: a size (100K), is: one of read, unread, answered, flagged, draft, sealed, signed,
    /// withheld. All mailboxes are searched, and each message found is shown with its own, which `read --mailbox` takes.
    /// Sealed mail is opened once, for an index on this device that `sealpost bridge` shares.
    Search(Search),
    /// Save attachments; no file is ever overwritten
    ///
    /// Without --part all attachments are saved, each under the name that its sender gave it as far as that is safe; where
    /// there is a file of that name already, a number is added. `read` shows the parts and their numbers. Of a withheld
    /// message nothing is saved without --force, and the status is 4.
    Save(Save),
    /// Explain a message in a file: each check, its result, the reason, and the verdict
    ///
    /// The checks are those of `read`, with the keys and the memory of this device. Nobody is asked and nothing is
    /// changed. Without an account in the folder it says what cannot be checked. The status is that of `read`.
    Verify(Verify),
    /// Bring mail in: mbox files, a Maildir, or another IMAP server
    ///
    /// Messages come octet for octet, with flags, dates and folders; lines that end in LF get CRLF, as mail has it. Nothing
    /// is taken away from where it comes from. What is done is written down: stopped anywhere and started again, it goes
    /// on where it was, and what was imported once is not imported again. Mail stays as it is: what was plain is not
    /// sealed. The status is 1 where a message had to be left out; each is told.
    ///
    /// With --json standard output is a JSON object a line, the last one the summary.
    Import(Import),
    /// Write mail out as a Maildir or as mbox files
    ///
    /// Messages are written as they are stored: what is sealed stays sealed. Exported again into the same folder, new
    /// messages are added to it.
    ///
    /// With --json standard output is a JSON object a line, the last one the summary.
    Export(Export),
    /// Let ordinary mail programs read and send sealed mail, over IMAP and submission on this machine
    ///
    /// Mail programs sign in with the address and a password of the bridge's own, which `sealpost bridge info` shows. With
    /// --json the first line on standard output is a JSON object that says where to connect.
    Bridge(Bridge),
    /// Show, look up, rotate or export keys
    #[command(subcommand)]
    Key(Key),
    /// Change the password
    Passwd(Passwd),
    /// A printed page that brings all mail back after a forgotten password
    #[command(subcommand)]
    Recovery(Recovery),
    /// Whose keys are known and trusted
    #[command(subcommand)]
    Contact(Contact),
    /// Forget on this device what opens mail without the password; a running bridge does the same
    Lock,
    /// Give the password once, so that commands and the bridge need none again
    ///
    /// What opens mail on this device goes into the desktop's key store (Secret Service), where there is one, else into a
    /// file that only you can read. Needs no network.
    Unlock,
    /// Run the mail server
    Serve(Serve),
    /// Administer the accounts of a server
    User(User),
    /// Administer passwords for ordinary mail programs
    AppPassword(AppPassword),
    /// See what waits to be relayed
    Queue(Queue),
    /// Copy the store of a server, which may run, into one file
    Backup(Backup),
    /// Make a store out of a backup
    Restore(Restore),
    /// Recompute a file of test vectors (for implementers of the protocol)
    Vectors(Vectors),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Write the manual pages into a folder
    Man(Man),
}

/// `sealpost demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Set up servers and accounts in the folder given by --dir, write demo.json there and run until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// With --keep: lift the limits per network, address and account, for load tests
    #[arg(long, requires = "keep")]
    pub no_limits: bool,
    /// Change one octet on the way to show that the demo notices (for its test)
    #[arg(long, hide = true, value_name = "WHAT", conflicts_with = "keep")]
    pub tamper: Option<Tamper>,
}

/// What a proxy in front of a server changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tamper {
    /// One octet of the key in the reply to PUBKEY.
    Pubkey,
    /// One octet of a message body on its way between the servers.
    Body,
    /// One octet of the key salt told to a new device.
    Salt,
}

/// `sealpost vectors`.
#[derive(Debug, Args)]
pub struct Vectors {
    /// A file like vectors/keys.json
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `sealpost completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `sealpost man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder; made if it does not exist
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_ascii_whitespace())
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in [
            "sealpost --dir D --json --password-file P --dns 127.0.0.1:53 --ca-file C --mx-port 26 list",
            "sealpost list --dir D --json --password-file P --dns 127.0.0.1:53 --ca-file C --mx-port 26",
            "sealpost --json --dir D list --password-file P --dns 127.0.0.1:53 --ca-file C --mx-port 26",
        ] {
            let global = parse(line).unwrap_or_else(|e| panic!("{line}: {e}")).global;
            assert!(global.json, "{line}");
            assert_eq!(global.dir, Some("D".into()), "{line}");
            assert_eq!(global.password_file, Some("P".into()), "{line}");
            assert_eq!(global.dns.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:53"), "{line}");
            assert_eq!(global.ca_file, Some("C".into()), "{line}");
            assert_eq!(global.mx_port, Some(26), "{line}");
        }
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        for line in [
            "sealpost demo",
            "sealpost demo --keep --dir D --no-limits",
            "sealpost --dir D demo --keep",
            "sealpost enrol a@b.example --code-file C",
            "sealpost login a@b.example",
            "sealpost send --to a@b.example --to c@d.example --cc e@f.example --bcc g@h.example --subject S --attach A --attach B T",
            "sealpost send --to a@b.example --subject S --allow-plain -",
            "sealpost send --to a@b.example --subject S --sealed-only --trust-first-use",
            "sealpost send --reply 3",
            "sealpost send --reply 3 --from f@b.example",
            "sealpost list --mailbox Sent",
            "sealpost read last",
            "sealpost read --mailbox Sent 12 --force --save D",
            "sealpost compose",
            "sealpost compose --from f@b.example --to a@b.example --cc c@d.example --bcc e@f.example --subject S --attach A --edit T",
            "sealpost compose --resume F --allow-plain",
            "sealpost reply last --all --no-quote -",
            "sealpost forward 3 --to a@b.example --as-attachment --mailbox Sent",
            "sealpost forward 3 --no-attachments --sealed-only",
            "sealpost list --threads",
            "sealpost search from:bob picnic --mailbox Sent",
            "sealpost save 3",
            "sealpost save last --part 2 --to D --mailbox Sent --force",
            "sealpost save 3 --all",
            "sealpost import mail --format mboxo --folder A --folder B=C --into D --received-dates --anew --dry-run",
            "sealpost import --from imaps://a@b.example --from-password-file P --from-ca-file C",
            "sealpost import mail --account imaps://a@b.example --account-password-file P",
            "sealpost export mail --format mbox --folder A --dry-run",
            "sealpost recovery show",
            "sealpost recovery make",
            "sealpost recovery make page.html",
            "sealpost recovery use --kit-file F",
            "sealpost recovery revoke --lost",
            "sealpost enrol a@b.example --recovery-kit F",
            "sealpost verify",
            "sealpost verify -",
            "sealpost verify message.eml --json",
            "sealpost key show",
            "sealpost key lookup a@b.example",
            "sealpost key rotate --no-keyring",
            "sealpost key export",
            "sealpost key export F --all",
            "sealpost passwd --new-password-file F",
            "sealpost contact list",
            "sealpost contact show a@b.example --qr",
            "sealpost key show --qr",
            "sealpost contact compare a@b.example",
            "sealpost contact compare a@b.example --words W",
            "sealpost contact compare a@b.example --fingerprint F",
            "sealpost contact accept a@b.example",
            "sealpost contact forget a@b.example",
            "sealpost serve --config F --check",
            "sealpost user add a@b.example --config C",
            "sealpost user --config C list",
            "sealpost user reset a@b.example --config C --json",
            "sealpost user remove a@b.example --config C",
            "sealpost app-password add a@b.example phone --token-file F --config C",
            "sealpost app-password list a@b.example --config C",
            "sealpost app-password revoke a@b.example phone --config C",
            "sealpost queue list --config C",
            "sealpost vectors F",
            "sealpost completions bash",
            "sealpost man D",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "sealpost",
            "sealpost nonsense",
            "sealpost send --to a@b.example",
            "sealpost send --subject S",
            "sealpost send --to a@b.example --subject S --allow-plain --sealed-only",
            "sealpost read",
            "sealpost compose --resume F --to a@b.example",
            "sealpost compose --resume F --from a@b.example",
            "sealpost reply",
            "sealpost forward",
            "sealpost forward 3 --as-attachment --no-attachments",
            "sealpost save",
            "sealpost search",
            "sealpost save 1 --part 0",
            "sealpost save 1 --part 1 --all",
            "sealpost contact compare a@b.example --words W --fingerprint F",
            "sealpost list --mx-port 0",
            "sealpost list --dns nowhere",
            "sealpost demo --no-limits",
            "sealpost serve",
            "sealpost user add",
            "sealpost app-password add a@b.example",
        ] {
            assert!(parse(line).is_err(), "{line} was taken");
        }
    }
}
