//! A disk that the simulation owns: a folder in memory whose every change is noted (`disk/calls.c`), whose calls can be
//! made to fail, and of which can be said what a crash would leave ([`image`]).

pub mod image;
pub mod log;

use log::{Kind, Record};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

/// A call that is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Calls, as a sum of [`log::Call::bit`].
    pub calls: u32,
    /// Files, as a sum of [`log::class`].
    pub classes: u32,
    /// Which of them, counted from 1.
    pub nth: u32,
    /// How.
    pub kind: Kind,
    /// The error it returns.
    pub error: i32,
    /// How many in a row; 0 for all until [`Disk::calm`].
    pub count: u32,
}

/// `ENOSPC`.
pub const FULL: i32 = 28;
/// `EIO`.
pub const BROKEN: i32 = 5;
/// `EINTR`.
pub const INTERRUPTED: i32 = 4;

/// A folder whose disk is simulated.
pub struct Disk {
    folder: tempfile::TempDir,
    control: File,
}

impl Disk {
    /// A new and empty one, in memory where the system has a file system for that.
    pub fn new() -> io::Result<Self> {
        let folder = scratch()?;
        let mut control = File::options().read(true).write(true).open("/sealpost-sim")?;
        writeln_whole(&mut control, &format!("root {}", folder.path().display()))?;
        Ok(Self { folder, control })
    }
    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
    /// The store's folder on it.
    pub fn store(&self) -> PathBuf {
        self.path().join("store")
    }
    /// What was asked of it since the last time.
    pub fn take_log(&mut self) -> io::Result<Vec<Record>> {
        let mut bytes = Vec::new();
        self.control.read_to_end(&mut bytes)?;
        Ok(log::parse(&bytes))
    }
    /// Makes a call go wrong.
    pub fn fault(&mut self, fault: Fault) -> io::Result<()> {
        let Fault { calls, classes, nth, kind, error, count } = fault;
        let line = format!("fault {calls} {classes} {nth} {} {error} {count}", kind as u32);
        writeln_whole(&mut self.control, &line)
    }
    /// Nothing goes wrong any more.
    pub fn calm(&mut self) -> io::Result<()> {
        writeln_whole(&mut self.control, "calm")
    }
}

/// A folder of this run alone.
pub(crate) fn scratch() -> io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("sealpost-sim-");
    if memory.is_dir()
        && let Ok(folder) = builder.tempdir_in(memory)
    {
        return Ok(folder);
    }
    builder.tempdir()
}

/// One command is one write.
fn writeln_whole(control: &mut File, line: &str) -> io::Result<()> {
    control.write_all(format!("{line}\n").as_bytes())
}
