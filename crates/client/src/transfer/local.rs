//! Sources on this disk, read in a thread of their own.

use super::{
    BATCH_MESSAGES, Format, Place, dates,
    import::{Found, Message, Selected},
    journal::{Key, key},
    maildir::{self, FileName, Keywords},
    mbox::{MboxError, Quoting, Reader},
    names::{shown, unescape},
    stage::{Crlf, Hash, Stage, Staged},
};
use sealpost_proto::{imap::Flag, time::Timestamp};
use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, BufReader, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::mpsc;

/// What is read of a message to find its date, in octets.
const HEAD_MAX: u64 = 64 * 1024;
/// Octets read of a file at a time.
const BUFFER: usize = 256 * 1024;
/// Names of files beside mboxes that are none: indexes, filters, settings.
const NO_MBOX: [&str; 6] = [".msf", ".dat", ".html", ".json", ".toc", ".lock"];

/// A file or folder of mail.
pub(super) struct Local {
    pub format: Format,
    pub places: Vec<Place>,
    /// What was passed over, and why.
    pub passed: Vec<(PathBuf, String)>,
}

impl Local {
    /// Looks at what is there; `format` where the user said it.
    pub(super) fn find(path: &Path, format: Option<Format>) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let maildir = metadata.is_dir() && (maildir::is_mailbox(path) || has_maildir(path));
        let format = format.unwrap_or(if maildir { Format::Maildir } else { Format::Mbox });
        let mut local = Self { format, places: Vec::new(), passed: Vec::new() };
        match format {
            Format::Maildir => {
                let (places, passed) = maildir::mailboxes(path)?;
                let why = "a symbolic link, or too deep; name it as a source of its own";
                local.places = places;
                local.passed = passed.into_iter().map(|path| (path, why.to_owned())).collect();
            }
            Format::Mbox | Format::Mboxo if metadata.is_dir() => local.walk(path, &[])?,
            Format::Mbox | Format::Mboxo => {
                let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                local.places = vec![Place { path: path.to_owned(), levels: vec![level(&stem)] }];
            }
        }
        local.places.sort_by(|a, b| a.levels.cmp(&b.levels));
        Ok(local)
    }

    /// A folder of mbox files: `A`, and what is below it in `A.sbd` (Thunderbird) or `A` (mutt, Dovecot).
    fn walk(&mut self, path: &Path, levels: &[String]) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() && levels.len() < maildir::DEPTH_MAX {
                if !name.starts_with('.') {
                    let name = name.strip_suffix(".sbd").unwrap_or(&name);
                    self.walk(&path, &[levels, &[unescape(name)]].concat())?;
                }
                continue;
            }
            if !kind.is_file() {
                self.passed.push((path, "neither a file nor a folder, or too deep".to_owned()));
                continue;
            }
            let lower = name.to_lowercase();
            if name.starts_with('.') || NO_MBOX.iter().any(|end| lower.ends_with(end)) {
                continue;
            }
            if is_mbox(&path)? {
                self.places.push(Place { path, levels: [levels, &[level(&name)]].concat() });
            } else if entry.metadata()?.len() > 0 {
                self.passed.push((path, MboxError::NotMbox.to_string()));
            }
        }
        Ok(())
    }

    /// Reads the selected folders, one after the other.
    pub(super) fn read(self, reading: &Reading, selected: Vec<Selected>) -> Option<()> {
        for Selected { at, to } in selected {
            let place = &self.places[at];
            let folder = shown(&place.levels);
            let begun = |messages| Found::Folder { from: folder.clone(), to: to.clone(), messages };
            let read = match self.format {
                Format::Maildir => reading.maildir(place, &folder, begun)?,
                Format::Mbox => reading.mbox(place, &folder, Quoting::Rd, begun)?,
                Format::Mboxo => reading.mbox(place, &folder, Quoting::O, begun)?,
            };
            if let Err(error) = read {
                let why = error.to_string();
                reading.send(Found::Skipped { folder, what: place.path.display().to_string(), why })?;
            }
        }
        Some(())
    }
}

/// The mailbox that a file of this name is.
fn level(name: &str) -> String {
    let name = name.strip_suffix(".mbox").filter(|n| !n.is_empty()).unwrap_or(name);
    unescape(name)
}

fn is_mbox(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_MAX).read_to_end(&mut head)?;
    let text = head.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(head.len());
    Ok(head[text..].starts_with(b"From "))
}

/// Whether there is a mailbox one level below, as where no INBOX is kept.
fn has_maildir(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| maildir::is_mailbox(&path))
}

/// What the reading thread needs. Its methods return `None` where nobody listens any more.
pub(super) struct Reading {
    /// Where to.
    pub found: mpsc::Sender<Found>,
    /// What is there already.
    pub done: Arc<HashSet<Key>>,
    /// For large messages on their way.
    pub dir: PathBuf,
    /// Octets of the largest message that is taken.
    pub limit: u64,
    /// `--received-dates`
    pub received_dates: bool,
}

type Read = Result<(), MboxError>;

impl Reading {
    pub(super) fn send(&self, found: Found) -> Option<()> {
        self.found.blocking_send(found).ok()
    }

    fn stage(&self) -> Crlf<Stage> {
        Crlf::new(Stage::new(&self.dir, self.limit))
    }

    fn message(
        &self,
        folder: &str,
        what: String,
        key: Key,
        mut staged: Staged,
        flags: Vec<Flag>,
        date: Option<Timestamp>,
    ) -> io::Result<Found> {
        let date = match date {
            Some(date) if !self.received_dates => Some(date),
            date => dates::received(&staged.head(HEAD_MAX)?).or(date),
        };
        let message = Message { folder: folder.to_owned(), what, key, staged, flags, date };
        Ok(Found::Message(Box::new(message)))
    }

    /// A message of an mbox is named by its content, and among equal ones by which of them it is: the file may have been
    /// compacted since, and then nothing stands where it stood.
    fn mbox(
        &self,
        place: &Place,
        folder: &str,
        quoting: Quoting,
        begun: impl FnOnce(Option<u64>) -> Found,
    ) -> Option<Read> {
        self.send(begun(None))?;
        let file = match File::open(&place.path) {
            Ok(file) => file,
            Err(e) => return Some(Err(e.into())),
        };
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, file), quoting);
        let mut seen: HashMap<Hash, u32> = HashMap::new();
        for number in 1_u64.. {
            let at = reader.position();
            let mut out = self.stage();
            let envelope = match reader.next(&mut out) {
                Ok(Some(envelope)) => envelope,
                Ok(None) => break,
                Err(e) => return Some(Err(e)),
            };
            let staged = match out.into_inner().finish() {
                Ok(staged) => staged,
                Err(e) => return Some(Err(e.into())),
            };
            if envelope.expunged {
                self.send(Found::Removed)?;
                continue;
            }
            let nth = seen.entry(staged.hash).or_default();
            *nth += 1;
            let key = key(folder, &[&staged.hash[..], &nth.to_be_bytes()].concat());
            if self.done.contains(&key) {
                self.send(Found::Already(1))?;
                continue;
            }
            let what = format!("message {number} (near octet {at})");
            match self.message(folder, what, key, staged, envelope.flags, envelope.date) {
                Ok(message) => self.send(message)?,
                Err(e) => return Some(Err(e.into())),
            }
        }
        Some(Ok(()))
    }

    fn maildir(&self, place: &Place, folder: &str, begun: impl FnOnce(Option<u64>) -> Found) -> Option<Read> {
        let listed = (|| -> io::Result<_> {
            let mut all = Vec::new();
            for sub in ["new", "cur"] {
                for entry in fs::read_dir(place.path.join(sub))? {
                    let entry = entry?;
                    let name = std::os::unix::ffi::OsStringExt::into_vec(entry.file_name());
                    // Hidden files are no messages (the specification of Maildir).
                    if !name.starts_with(b".") {
                        all.push((FileName::parse(&name), entry.path()));
                    }
                }
            }
            all.sort_by(|(a, _), (b, _)| (a.delivered(), &a.unique).cmp(&(b.delivered(), &b.unique)));
            Ok((all, Keywords::read(&place.path)?))
        })();
        let (files, keywords) = match listed {
            Ok(listed) => listed,
            Err(e) => return Some(Err(e.into())),
        };
        self.send(begun(Some(files.len() as u64)))?;
        let mut already = 0;
        for (name, path) in files {
            let key = key(folder, &name.unique);
            if self.done.contains(&key) {
                already += 1;
                if already == BATCH_MESSAGES as u64 {
                    self.send(Found::Already(std::mem::take(&mut already)))?;
                }
                continue;
            }
            let what = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let flags = name.flags(&keywords);
            let found = match self
                .file(&path)
                .and_then(|(staged, date)| self.message(folder, what.clone(), key, staged, flags, date))
            {
                Ok(found) => found,
                Err(e) => Found::Skipped { folder: folder.to_owned(), what, why: e.to_string() },
            };
            self.send(found)?;
        }
        self.send(Found::Already(already))?;
        Some(Ok(()))
    }

    /// A message's file, and when it was last changed: for Dovecot and others the day it came.
    fn file(&self, path: &Path) -> io::Result<(Staged, Option<Timestamp>)> {
        let mut file = match File::open(path) {
            // A mail program gave it other flags, and so another name, since the folder was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(io::Error::other(
                    "it has another name or is gone since the folder was read; run the command again",
                ));
            }
            opened => opened?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut out = self.stage();
        io::copy(&mut file, &mut out)?;
        Ok((out.into_inner().finish()?, Some(Timestamp(metadata.mtime()))))
    }
}
