//! The person at the terminal: asked for decisions, told of what happens, shown progress.

use crate::{output::printable, progress};
use indicatif::ProgressBar;
use sealpost_client::ui::{Progress, Question, Ui};
use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

/// Asks on the terminal; where standard input or error is none, every answer is "do not".
#[derive(Default)]
pub struct Person {
    bar: Mutex<Option<Bar>>,
}

struct Bar {
    kind: Kind,
    bar: ProgressBar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deriving,
    Upload,
    Download,
}

impl Person {
    fn show(&self, kind: Kind, done: u64, total: u64) {
        let mut slot = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_ref().is_none_or(|b| b.kind != kind) {
            let bar = match kind {
                Kind::Deriving => progress::spinner("Deriving the key from the password"),
                Kind::Upload => progress::transfer("Sending", total),
                Kind::Download => progress::transfer("Fetching", total),
            };
            if let Some(old) = slot.replace(Bar { kind, bar }) {
                old.bar.finish_and_clear();
            }
        }
        if let Some(Bar { bar, .. }) = &*slot {
            bar.set_position(done);
        }
        drop(slot);
        if kind != Kind::Deriving && done >= total {
            self.clear();
        }
    }

    fn clear(&self) {
        if let Some(Bar { bar, .. }) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Ui for Person {
    fn confirm(&self, question: &Question) -> bool {
        self.clear();
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return false;
        }
        let mut err = io::stderr().lock();
        let mut answer = String::new();
        let asked = write!(err, "{}\nType yes or no: ", printable(&question.to_string()))
            .and_then(|()| err.flush())
            .and_then(|()| io::stdin().lock().read_line(&mut answer));
        // Only the whole word: what is asked here is not confirmed by leaning on a key.
        asked.is_ok() && answer.trim().eq_ignore_ascii_case("yes")
    }

    fn progress(&self, event: Progress) {
        match event {
            Progress::Deriving => self.show(Kind::Deriving, 0, 1),
            Progress::Derived => self.clear(),
            Progress::Upload { done, total } => self.show(Kind::Upload, done, total),
            Progress::Download { done, total } => self.show(Kind::Download, done, total),
            _ => {}
        }
    }

    fn say(&self, line: &str) {
        self.clear();
        // Nothing can be done about a standard error that is gone.
        drop(writeln!(io::stderr(), "{}", printable(line)));
    }
}
