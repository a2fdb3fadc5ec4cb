//! A backup, and a server that is restored from it: what came after it is lost, and its numbers mean nothing else
//! (RFC 9051 §2.3.1.1: another UIDVALIDITY).

use super::{
    folder,
    truth::Truth,
    world::{Checked, World, must},
};
use sealpost_proto::time::{Clock as _, SystemClock};
use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

/// Octets as they were written, and what they hold.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    archive: Arc<Vec<u8>>,
    truth: Box<Truth>,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic under the lock").extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl World<'_> {
    /// A backup while all sessions are there; another one takes its place.
    pub(super) async fn back_up(&mut self) -> Checked {
        let memory = Memory::default();
        self.said.push_str("a backup is made\n");
        self.store.backup(Box::new(memory.clone())).await.map_err(|error| error.to_string())?;
        let archive = std::mem::take(&mut *memory.0.lock().expect("no panic under the lock"));
        let mut truth = self.truth.clone();
        truth.kept = None;
        self.truth.kept = Some(Kept { archive: Arc::new(archive), truth: Box::new(truth) });
        Ok(())
    }
}

/// Puts the last backup in the place of what is there, if one was made.
pub(super) fn restore(dir: &Path, truth: &mut Truth, said: &mut String) -> Checked {
    let Some(kept) = truth.kept.clone() else { return Ok(()) };
    said.push_str("the server is lost, and restored from its backup\n");
    let place = folder();
    let new = place.path().join("data");
    sealpost_store::sqlite::restore(&kept.archive[..], &new, SystemClock.now())
        .map_err(|error| error.to_string())?;
    let data = dir.join("data");
    std::fs::remove_dir_all(&data).map_err(|error| error.to_string())?;
    std::fs::rename(&new, &data).map_err(|error| error.to_string())?;
    truth.go_back(*kept.truth.clone());
    truth.kept = Some(kept);
    Ok(())
}

impl Truth {
    /// What it was before is the truth again; what sessions were told stays told.
    fn go_back(&mut self, before: Self) {
        let lost = std::mem::replace(self, before);
        for mailbox in lost.mailboxes.values() {
            self.spent.extend(mailbox.validity.map(|validity| (mailbox.name.clone(), validity)));
        }
        for mailbox in self.mailboxes.values_mut() {
            mailbox.validity = None;
            mailbox.next = mailbox.messages.keys().last().map_or(1, |last| last + 1);
            mailbox.modseqs.forget();
        }
        self.spent.extend(lost.spent.iter().cloned());
        self.follows(lost);
    }

    /// UIDVALIDITY of before a restore must not come again.
    pub(super) fn is_new(&self, name: &str, validity: u32) -> Checked {
        must(!self.spent.contains(&(name.to_owned(), validity)), || {
            format!("{name} has the UIDVALIDITY {validity} of a time that was lost")
        })
    }
}
