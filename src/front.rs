//! Programs that stand in front of the person for a while: an editor, a pager.

use crate::signals;
use std::{
    ffi::{OsStr, OsString},
    process::Command,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
use tokio::signal::unix::{SignalKind, signal};

/// What makes a command line more than a program with options: it is left to the shell as it is.
const SHELL: &[u8] = b"|&;<>()$`\\\"'*?[]#~=%{}!\n";

/// How many are in front.
static IN_FRONT: AtomicUsize = AtomicUsize::new(0);

/// While this lives, Ctrl-C is the business of the program in front, which the terminal sends it to as well: `less` goes on,
/// and must not be left alone with the shell.
pub struct InFront(());

impl InFront {
    pub fn begin() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(watch);
        IN_FRONT.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for InFront {
    fn drop(&mut self) {
        IN_FRONT.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Once Ctrl-C is caught it stays so; from then on this does what the system did before.
fn watch() {
    let (caught, ready) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut interrupts) = signal(SignalKind::interrupt()) else { return };
            let _ = caught.send(());
            while interrupts.recv().await.is_some() {
                if IN_FRONT.load(Ordering::SeqCst) == 0 {
                    std::process::exit(signals::INTERRUPTED.into());
                }
            }
        });
    });
    // An error is the end of that thread: then nothing is caught.
    let _ = ready.recv();
}

/// A person's command line, by the shell, since people put options there. `argument` is one, whatever is in it.
pub fn command(line: &OsStr, argument: Option<&OsStr>) -> Command {
    let mut script = OsString::new();
    // A shell between would end at Ctrl-C although the program goes on.
    if !line.as_encoded_bytes().iter().any(|octet| SHELL.contains(octet)) {
        script.push("exec ");
    }
    script.push(line);
    if argument.is_some() {
        script.push(" \"$1\"");
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg("sh").args(argument);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str, argument: Option<&str>) -> String {
        let output = command(line.as_ref(), argument.map(OsStr::new)).output().expect("there is a shell");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn the_shell_reads_the_line_and_not_the_argument() {
        assert_eq!(said("echo -n a", None), "a");
        assert_eq!(said("echo one | tr o 0; true", None), "0ne\n");
        assert_eq!(said("printf [%s]", Some("$(id) 'x' ; ls")), "[$(id) 'x' ; ls]");
        assert_eq!(said("A=b sh -c 'echo $A $0'", Some("c")), "b c\n");
    }
}
