//! The person's editor, and the file that it edits: in a folder of its own below the client's, so that nobody else can
//! read it, whatever the editor makes of its permissions, and so that nothing is lost where the machine or this program
//! ends meanwhile.

use crate::{
    exit::Failure,
    front::{self, InFront},
};
use sealpost_proto::time::{Clock as _, SystemClock};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    process::Stdio,
};

/// Folder for unsent messages, in the client's.
const FOLDER: &str = "drafts";
/// The file's name: editors know the ending, and show mail as such.
const NAME: &str = "message.eml";
/// Longest message taken from an editor, in octets; what is longer is an attachment.
const MAX_OCTETS: u64 = 16 << 20;
/// Editors where none is chosen, the easy one first.
const EDITORS: [&str; 2] = ["nano", "vi"];
/// Most drafts begun within one second.
const DRAFTS_MAX: u32 = 1_000;

/// A message that is being written.
#[derive(Debug)]
pub struct DraftFile {
    path: PathBuf,
    /// The folder that goes with it; none where the person named the file.
    folder: Option<PathBuf>,
}

impl DraftFile {
    /// A new one with this text, in the client's folder `dir`.
    pub fn new(dir: &Path, text: &str) -> Result<Self, Failure> {
        let drafts = dir.join(FOLDER);
        let make = || -> io::Result<Self> {
            DirBuilder::new().recursive(true).mode(0o700).create(&drafts)?;
            let moment = SystemClock.now().to_rfc3339().replace(':', "");
            for n in 1..=DRAFTS_MAX {
                let folder = drafts.join(format!("{moment}-{n}"));
                match DirBuilder::new().mode(0o700).create(&folder) {
                    Ok(()) => {
                        let draft = Self { path: folder.join(NAME), folder: Some(folder) };
                        draft.write_new(text)?;
                        return Ok(draft);
                    }
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(e),
                }
            }
            Err(io::ErrorKind::AlreadyExists.into())
        };
        make().map_err(|e| Failure::file("cannot write in", &drafts, &e))
    }

    /// One that was kept, or a file of the person's.
    pub fn of(dir: &Path, path: &Path) -> Result<Self, Failure> {
        let path = fs::canonicalize(path).map_err(|e| Failure::file("cannot read", path, &e))?;
        let drafts = fs::canonicalize(dir.join(FOLDER)).ok();
        let folder =
            path.parent().filter(|folder| folder.parent().is_some() && folder.parent() == drafts.as_deref());
        let folder = folder.filter(|_| path.file_name() == Some(OsStr::new(NAME))).map(Path::to_owned);
        Ok(Self { path, folder })
    }

    fn write_new(&self, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// Its text.
    pub fn read(&self) -> Result<String, Failure> {
        let read = || -> io::Result<String> {
            let mut octets = Vec::new();
            File::open(&self.path)?.take(MAX_OCTETS + 1).read_to_end(&mut octets)?;
            if octets.len() as u64 > MAX_OCTETS {
                return Err(io::Error::other("it is longer than 16 MiB; attach what is long"));
            }
            String::from_utf8(octets).map_err(|_| io::Error::other("it is not UTF-8"))
        };
        read().map_err(|e| Failure::file("cannot read", &self.path, &e))
    }

    /// Whether the person removed it.
    pub fn is_gone(&self) -> bool {
        !self.path.exists()
    }

    /// Lets the person edit it. An error where the editor failed.
    pub fn edit(&self) -> Result<(), Failure> {
        let editor = chosen([env::var_os("VISUAL"), env::var_os("EDITOR")], env::var_os("PATH").as_deref())?;
        let mut command = front::command(&editor, Some(self.path.as_os_str()));
        // It needs the terminal, wherever this program's own streams lead.
        if !io::stdin().is_terminal()
            && let Ok(terminal) = File::open("/dev/tty")
        {
            command.stdin(terminal);
        }
        if !io::stdout().is_terminal() {
            command.stdout(
                io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from),
            );
        }
        let said = |why: &dyn std::fmt::Display| {
            Failure::failed(format_args!("the editor {} failed: {why}", editor.display()))
        };
        let _front = InFront::begin();
        let status = command.status().map_err(|e| said(&e))?;
        if status.success() { Ok(()) } else { Err(said(&status)) }
    }

    /// Removes it with whatever the editor left beside it. A file of the person's stays.
    pub fn remove(self) -> Result<(), Failure> {
        match self.folder {
            Some(folder) => {
                fs::remove_dir_all(&folder).map_err(|e| Failure::file("cannot remove", &folder, &e))
            }
            None => Ok(()),
        }
    }

    /// Leaves it, for its owner alone.
    pub fn keep(self) -> PathBuf {
        // What some editors make anew has other permissions; the folder keeps others out all the same.
        drop(fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)));
        self.path
    }
}

/// How many unsent messages are kept, and where.
pub fn kept(dir: &Path) -> (usize, PathBuf) {
    let drafts = dir.join(FOLDER);
    let count = fs::read_dir(&drafts)
        .map_or(0, |entries| entries.flatten().filter(|e| e.path().join(NAME).is_file()).count());
    (count, drafts)
}

/// VISUAL, EDITOR, or what there is.
fn chosen(named: [Option<OsString>; 2], path: Option<&OsStr>) -> Result<OsString, Failure> {
    if let Some(editor) = named.into_iter().flatten().find(|editor| !editor.is_empty()) {
        return Ok(editor);
    }
    let folders: Vec<PathBuf> = path.map(|path| env::split_paths(path).collect()).unwrap_or_default();
    let there = |editor: &&&str| folders.iter().any(|folder| folder.join(editor).is_file());
    EDITORS.iter().find(there).map(OsString::from).ok_or_else(|| {
        Failure::usage("there is no editor; set EDITOR to one, or give the text as FILE or on standard input")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_draft_is_private_and_goes_with_all_that_is_beside_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        let draft = DraftFile::new(dir.path(), "To:\n\nhello\n").expect("written");
        let other = DraftFile::new(dir.path(), "x").expect("written");
        assert_ne!(draft.path, other.path);
        let folder = draft.path.parent().expect("a folder").to_owned();
        assert_eq!((mode(&draft.path), mode(&folder), mode(&dir.path().join(FOLDER))), (0o600, 0o700, 0o700));
        assert_eq!(draft.read().expect("read"), "To:\n\nhello\n");
        assert_eq!(kept(dir.path()).0, 2);
        // Editors leave backups.
        fs::write(folder.join("message.eml~"), "hello").expect("written");
        fs::set_permissions(&draft.path, fs::Permissions::from_mode(0o644)).expect("set");
        let path = draft.keep();
        assert_eq!(mode(&path), 0o600);
        let again = DraftFile::of(dir.path(), &path).expect("there");
        again.remove().expect("removed");
        assert!(!folder.exists() && other.path.exists());
        // A file of the person's is only read.
        let own = dir.path().join("own.txt");
        fs::write(&own, "To:\n\nx").expect("written");
        DraftFile::of(dir.path(), &own).expect("there").remove().expect("nothing to do");
        assert!(own.exists());
        fs::write(&own, vec![b'x'; usize::try_from(MAX_OCTETS).expect("small") + 1]).expect("written");
        assert!(DraftFile::of(dir.path(), &own).expect("there").read().is_err());
        fs::write(&own, b"\xff").expect("written");
        assert!(DraftFile::of(dir.path(), &own).expect("there").read().is_err());
    }

    #[test]
    fn the_persons_editor_comes_first() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = Some(dir.path().as_os_str());
        let choose = |visual: Option<&str>, editor: Option<&str>| {
            chosen([visual.map(OsString::from), editor.map(OsString::from)], path).ok()
        };
        assert_eq!(choose(Some("code --wait"), Some("vim")), Some("code --wait".into()));
        assert_eq!(choose(Some(""), Some("vim")), Some("vim".into()));
        assert_eq!(choose(None, None), None);
        fs::write(dir.path().join("vi"), "").expect("written");
        assert_eq!(choose(None, None), Some("vi".into()));
    }
}
