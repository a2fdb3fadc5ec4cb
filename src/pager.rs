//! A pager for what is longer than the terminal: $PAGER, else `less`. On terminals only, never with `--json`.

use crate::{
    exit::{Exit, Failure},
    front::{self, InFront},
    output::Output,
};
use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Stdio},
};

/// What `less` is told where the person has not said otherwise: end where all fits on the screen, let colours through,
/// leave the screen as it is. Other control characters never reach it.
const LESS: &str = "FRX";

/// Standard output leads to a pager as long as this lives.
pub struct Pager {
    child: Child,
    /// Standard output as it was.
    terminal: OwnedFd,
    _front: InFront,
}

impl Pager {
    /// Prints with a pager where there is a terminal. One who leaves the pager early has seen enough: that is no failure.
    pub fn show(out: Output, print: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
        let Some(pager) = Self::start(out) else { return Ok(print()?) };
        let printed = print().map_err(Failure::from);
        pager.finish()?;
        match printed {
            Err(failure) if failure.exit == Exit::Closed => Ok(()),
            other => other,
        }
    }

    fn start(out: Output) -> Option<Self> {
        if out.is_json() || !io::stdout().is_terminal() {
            return None;
        }
        let command = chosen(env::var_os("PAGER"))?;
        let mut pager = front::command(&command, None);
        pager.stdin(Stdio::piped());
        if env::var_os("LESS").is_none() {
            pager.env("LESS", LESS);
        }
        let terminal = io::stdout().as_fd().try_clone_to_owned().ok()?;
        io::stdout().flush().ok()?;
        let front = InFront::begin();
        // Without a pager it is printed as it is.
        let mut child = pager.spawn().ok()?;
        let pipe = child.stdin.take()?;
        if rustix::stdio::dup2_stdout(&pipe).is_err() {
            drop(pipe);
            drop(child.wait());
            return None;
        }
        Some(Self { child, terminal, _front: front })
    }

    /// Waits until the person has read.
    fn finish(mut self) -> Result<(), Failure> {
        // Whoever left early leaves what was not written yet unread.
        drop(io::stdout().flush());
        // This closes the pipe, so that the pager sees the end.
        rustix::stdio::dup2_stdout(&self.terminal).map_err(io::Error::from)?;
        self.child.wait()?;
        Ok(())
    }
}

/// The pager's command line; `None` where there is none or it is not wanted.
fn chosen(pager: Option<OsString>) -> Option<OsString> {
    match pager {
        None => Some("command -v less >/dev/null && exec less || exec cat".into()),
        Some(pager) if pager.is_empty() || pager == "cat" => None,
        Some(pager) => Some(pager),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_person_says_counts() {
        assert_eq!(chosen(Some("".into())), None);
        assert_eq!(chosen(Some("cat".into())), None);
        assert_eq!(chosen(Some("most -s".into())), Some("most -s".into()));
        assert!(chosen(None).is_some_and(|command| command.to_string_lossy().contains("less")));
    }
}
