//! What `export` writes: Maildirs and mbox files that grow, message by message, and know how far they are.

use super::{
    Format,
    maildir::{self, FileName, Keywords},
    mbox_write,
    names::escape,
    stage::{Lf, Staged, is_regular},
};
use sealpost_proto::{imap::Flag, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, FileTimes, OpenOptions},
    io::{self, BufWriter, Seek as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Version of the file that says how far an mbox is.
const VERSION: u32 = 1;
/// Names that the importer takes for no mbox, or shortens: their last dot is escaped.
const ODD_ENDS: [&str; 8] = [".mbox", ".sbd", ".msf", ".dat", ".html", ".json", ".toc", ".lock"];

/// A mailbox on this disk.
pub(super) enum Writer {
    Maildir(Maildir),
    Mbox(Mbox),
}

impl Writer {
    /// Opens or makes the mailbox with these levels below `root`.
    pub(super) fn open(
        root: &Path,
        format: Format,
        levels: &[String],
        uid_validity: u32,
    ) -> io::Result<Self> {
        Ok(match format {
            Format::Maildir => Self::Maildir(Maildir::open(root, levels, uid_validity)?),
            Format::Mbox | Format::Mboxo => Self::Mbox(Mbox::open(root, levels, uid_validity)?),
        })
    }
    /// Whether a message is there already.
    pub(super) fn has(&self, uid: u32) -> bool {
        match self {
            Self::Maildir(maildir) => maildir.known.contains(&uid),
            Self::Mbox(mbox) => uid <= mbox.progress.last_uid,
        }
    }
    /// Writes a message; those of an mbox in the order of their UIDs. Gives back keywords that found no place.
    pub(super) fn write(
        &mut self,
        uid: u32,
        flags: &[Flag],
        date: Option<Timestamp>,
        message: &mut Staged,
    ) -> io::Result<Vec<String>> {
        match self {
            Self::Maildir(maildir) => maildir.write(uid, flags, date, message),
            Self::Mbox(mbox) => mbox.write(uid, flags, date, message).map(|()| Vec::new()),
        }
    }
    /// What was written so far stays, whatever comes.
    pub(super) fn checkpoint(&mut self) -> io::Result<()> {
        if let Self::Mbox(mbox) = self { mbox.checkpoint(true) } else { Ok(()) }
    }
    /// The end.
    pub(super) fn finish(self) -> io::Result<()> {
        if let Self::Mbox(mut mbox) = self { mbox.checkpoint(false) } else { Ok(()) }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// A Maildir++ folder. The names of its files say which messages they are.
pub(super) struct Maildir {
    folder: PathBuf,
    uid_validity: u32,
    known: HashSet<u32>,
    keywords: Keywords,
}

impl Maildir {
    fn open(root: &Path, levels: &[String], uid_validity: u32) -> io::Result<Self> {
        let folder =
            if levels.is_empty() { root.to_owned() } else { root.join(maildir::folder_name(levels)) };
        for sub in ["tmp", "new", "cur"] {
            make(&folder.join(sub))?;
        }
        if !levels.is_empty() {
            // Maildir++ has it that a subfolder is marked as one.
            File::create(folder.join("maildirfolder"))?;
        }
        let mut known = HashSet::new();
        for sub in ["new", "cur"] {
            for entry in fs::read_dir(folder.join(sub))? {
                let name = FileName::parse(entry?.file_name().as_bytes());
                known.extend(uid_of(&name.unique, uid_validity));
            }
        }
        let keywords = Keywords::read(&folder)?;
        Ok(Self { folder, uid_validity, known, keywords })
    }

    fn write(
        &mut self,
        uid: u32,
        flags: &[Flag],
        date: Option<Timestamp>,
        message: &mut Staged,
    ) -> io::Result<Vec<String>> {
        let (letters, new, left_out) = self.keywords.letters(flags);
        if new {
            // Before the letters that mean them.
            let path = self.folder.join(maildir::KEYWORDS_FILE);
            replace(&path, self.keywords.text().as_bytes())?;
        }
        let date = date.unwrap_or(Timestamp(0));
        let unique = format!("{}.V{}U{uid}.sealpost", date.0.max(0), self.uid_validity);
        let temporary = self.folder.join("tmp").join(&unique);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        if is_regular(message.reader()?)? {
            io::copy(message.reader()?, &mut Lf(BufWriter::new(&mut file)))?;
        } else {
            io::copy(message.reader()?, &mut file)?;
        }
        file.set_times(FileTimes::new().set_modified(system_time(date)))?;
        file.sync_all()?;
        let name = format!("{unique},S={}:2,{letters}", file.metadata()?.len());
        fs::rename(&temporary, self.folder.join("cur").join(name))?;
        self.known.insert(uid);
        Ok(left_out)
    }
}

/// The UID in the name of a file of ours.
fn uid_of(unique: &[u8], uid_validity: u32) -> Option<u32> {
    let text = std::str::from_utf8(unique).ok()?.strip_suffix(".sealpost")?;
    let (validity, uid) = text.split_once(".V")?.1.split_once('U')?;
    (validity.parse() == Ok(uid_validity)).then(|| uid.parse().ok())?
}

fn system_time(time: Timestamp) -> SystemTime {
    let since = Duration::from_secs(time.0.unsigned_abs());
    let moment = if time.0 < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    moment.unwrap_or(UNIX_EPOCH)
}

/// Replaces a file as a whole.
fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// How far an mbox is: `.NAME.sealpost` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    version: u32,
    uid_validity: u32,
    last_uid: u32,
    /// Octets up to the end of that message.
    length: u64,
    /// An export runs, or was cut off: what lies behind `length` is half a message at best.
    writing: bool,
}

/// An mbox; subfolders lie in `NAME.sbd`, as Thunderbird has them.
pub(super) struct Mbox {
    out: BufWriter<File>,
    beside: PathBuf,
    progress: Progress,
}

impl Mbox {
    fn open(root: &Path, levels: &[String], uid_validity: u32) -> io::Result<Self> {
        let mut folder = root.to_owned();
        let inbox = ["INBOX".to_owned()];
        let levels = if levels.is_empty() { &inbox } else { levels };
        let (name, above) = levels.split_last().map_or((file_name(""), levels), |(n, a)| (file_name(n), a));
        for level in above {
            folder.push(format!("{}.sbd", file_name(level)));
        }
        make(&folder)?;
        let (path, beside) = (folder.join(&name), folder.join(format!(".{name}.sealpost")));
        let mut progress = match fs::read(&beside) {
            Ok(octets) => serde_json::from_slice::<Progress>(&octets)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                if path.exists() {
                    return Err(io::Error::other(
                        "there is such a file already, which no export wrote; export into another folder",
                    ));
                }
                Progress { version: VERSION, uid_validity, last_uid: 0, length: 0, writing: true }
            }
            Err(e) => return Err(e),
        };
        if progress.version > VERSION {
            return Err(io::Error::other("a newer Sealpost wrote it; use that one"));
        }
        if progress.uid_validity != uid_validity {
            return Err(io::Error::other(
                "the mailbox was made anew or restored since it was exported; export into another folder",
            ));
        }
        let length = fs::metadata(&path).map_or(0, |m| m.len());
        let cut_off = progress.writing && length > progress.length;
        if length != progress.length && !cut_off {
            return Err(io::Error::other(
                "another program changed it since it was exported; export into another folder",
            ));
        }
        progress.writing = true;
        replace(&beside, &serde_json::to_vec(&progress)?)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.set_len(progress.length)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Self { out: BufWriter::new(file), beside, progress })
    }

    fn write(
        &mut self,
        uid: u32,
        flags: &[Flag],
        date: Option<Timestamp>,
        message: &mut Staged,
    ) -> io::Result<()> {
        mbox_write::write(&mut self.out, flags, date, message)?;
        self.progress.last_uid = uid;
        Ok(())
    }

    fn checkpoint(&mut self, writing: bool) -> io::Result<()> {
        self.out.flush()?;
        let file = self.out.get_mut();
        file.sync_all()?;
        self.progress.length = file.stream_position()?;
        self.progress.writing = writing;
        replace(&self.beside, &serde_json::to_vec(&self.progress)?)
    }
}

/// The file of a level.
fn file_name(level: &str) -> String {
    let name = escape(level, &['/']);
    let lower = name.to_lowercase();
    if let Some(rest) = name.strip_prefix('.') {
        return format!("%2E{rest}");
    }
    match name.rfind('.') {
        Some(dot) if ODD_ENDS.iter().any(|end| lower.ends_with(end)) => {
            format!("{}%2E{}", &name[..dot], &name[dot + 1..])
        }
        _ => name,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{super::stage::Stage, *};

    fn staged(octets: &[u8]) -> Staged {
        let mut stage = Stage::new(&std::env::temp_dir(), u64::MAX);
        stage.write_all(octets).unwrap();
        stage.finish().unwrap()
    }

    #[test]
    fn levels_are_files_that_the_importer_reads_back() {
        for (level, file) in [
            ("Work", "Work"),
            (".hidden", "%2Ehidden"),
            ("a.mbox", "a%2Embox"),
            ("x.y.Html", "x.y%2EHtml"),
            ("50%", "50%25"),
        ] {
            assert_eq!(file_name(level), file);
            assert_eq!(super::super::names::unescape(file), level);
        }
    }

    #[test]
    fn an_mbox_that_was_cut_off_goes_on_after_its_last_whole_message() {
        let dir = tempfile::tempdir().unwrap();
        let levels = ["Work".to_owned(), "2024".to_owned()];
        let open = |validity| Writer::open(dir.path(), Format::Mbox, &levels, validity);
        let path = dir.path().join("Work.sbd/2024");
        let mut writer = open(7).unwrap();
        writer.write(3, &[Flag::Seen], None, &mut staged(b"A: 1\r\n\r\nx\r\n")).unwrap();
        writer.checkpoint().unwrap();
        writer.write(4, &[], None, &mut staged(b"A: 2\r\n\r\ny\r\n")).unwrap();
        let Writer::Mbox(mut mbox) = writer else { unreachable!() };
        // As a kill leaves it: octets without a checkpoint.
        mbox.out.flush().unwrap();
        drop(mbox);
        let mut writer = open(7).unwrap();
        assert!(writer.has(3) && !writer.has(4));
        writer.write(4, &[], None, &mut staged(b"A: 2\r\n\r\ny\r\n")).unwrap();
        writer.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nStatus: RO\nX-Status: \nX-Keywords: \nA: 1\n\nx\n\n\
             From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nStatus: O\nX-Status: \nX-Keywords: \nA: 2\n\ny\n\n"
        );
        open(7).unwrap().finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(open(8).is_err(), "another UIDVALIDITY");
        open(7).unwrap().finish().unwrap();
        fs::write(&path, text.clone() + "more").unwrap();
        assert!(open(7).is_err(), "another program added to it");
        fs::write(&path, &text[1..]).unwrap();
        assert!(open(7).is_err(), "another program took from it");
        fs::write(dir.path().join("other"), "").unwrap();
        assert!(Writer::open(dir.path(), Format::Mbox, &["other".to_owned()], 7).is_err());
    }

    #[test]
    fn a_maildir_knows_its_messages_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(dir.path(), Format::Maildir, &["a.b".into()], 7).unwrap();
        let message = &mut staged(b"A: 1\r\n\r\nx\r\n");
        writer.write(3, &[Flag::Seen, Flag::Draft], Some(Timestamp(-5)), message).unwrap();
        writer.write(4, &[], Some(Timestamp(5)), &mut staged(b"A: 1\r\n\nx")).unwrap();
        writer.finish().unwrap();
        let cur = dir.path().join(".a%2Eb/cur");
        let mut names: Vec<_> = fs::read_dir(&cur).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["0.V7U3.sealpost,S=8:2,DS", "5.V7U4.sealpost,S=8:2,"]);
        assert_eq!(fs::read(cur.join(&names[0])).unwrap(), b"A: 1\n\nx\n");
        assert_eq!(fs::read(cur.join(&names[1])).unwrap(), b"A: 1\r\n\nx", "irregular, so as it is");
        // Another program renames it when flags change.
        fs::rename(cur.join(&names[0]), cur.join("0.V7U3.sealpost:2,RS")).unwrap();
        let writer = Writer::open(dir.path(), Format::Maildir, &["a.b".into()], 7).unwrap();
        assert!(writer.has(3) && writer.has(4) && !writer.has(5));
        let writer = Writer::open(dir.path(), Format::Maildir, &["a.b".into()], 8).unwrap();
        assert!(!writer.has(3));
    }
}
