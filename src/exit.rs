//! Exit statuses, in one table, and the one error type that `main` turns into a sentence and a status.

use std::{fmt, process::ExitCode};

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something failed, or was refused for good.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The user must decide; the message names the option or command.
    Decide = 3,
    /// A message was withheld because of its verdict (profile §6), or a key compared is another one.
    Withheld = 4,
    /// It may work later: network, name server, a busy server.
    Later = 5,
    /// The password, code or app password was not taken.
    SignIn = 6,
    /// Whoever read standard output went away; nothing is said. What a shell gives for SIGPIPE.
    Closed = 141,
}

/// Shown by `--help`; the README and the man page repeat it.
pub const HELP: &str = "\
Exit status:
  0  done; for read, save and verify: the message may be shown
  1  failed, or refused for good
  2  the command line is wrong
  3  refused until you decide: the message names the option or command
  4  read, save, verify, forward: the content is withheld because of the verdict; contact compare: another key
  5  could not be done now (network, server busy); try again later
  6  the password or code was not taken
  141  standard output was closed by its reader

Environment:
  SEALPOST_DIR  the client's folder where --dir is not given
  SEALPOST_KEY_STORE  none: keep secrets in the client's folder though there is a key store
  SEALPOST_LOG  what the server logs, e.g. info or sealpost_server=debug
  PAGER         what shows long output on terminals, else less; empty or cat: nothing does
  NO_COLOR      no colour on terminals";

/// Why a command ends early.
#[derive(Debug)]
pub struct Failure {
    /// Status.
    pub exit: Exit,
    /// A sentence or more that a person can act on; never a secret.
    pub message: String,
    /// What `--json` prints besides the error.
    pub details: Option<serde_json::Value>,
}

/// What commands return: the process's status, 0 or a verdict's.
pub type Outcome = Result<ExitCode, Failure>;

impl Failure {
    /// A failure with this status.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), details: None }
    }
    /// Status 1.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }
    /// Status 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }
    /// A file that could not be used.
    pub fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failed(format_args!("{what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let exit = if error.kind() == std::io::ErrorKind::BrokenPipe { Exit::Closed } else { Exit::Failed };
        Self::new(exit, error)
    }
}
