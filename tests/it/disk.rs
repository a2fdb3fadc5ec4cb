//! A disk of a few MiB that a test can fill: a tmpfs of its own. Needs root, or sudo without a password.

use crate::support::succeed;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What takes up the room.
const FILLER: &str = "filler";

/// A file system, unmounted when dropped.
pub struct SmallDisk {
    path: PathBuf,
}

fn as_root(program: &str) -> Command {
    let own = fs::metadata("/proc/self").expect("Linux").uid();
    if own == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

impl SmallDisk {
    /// A disk of `kib` KiB at `path`, a folder that is made.
    pub fn new(path: &Path, kib: u32) -> Self {
        fs::create_dir(path).expect("made");
        let own = fs::metadata(path).expect("made");
        let options = format!("size={kib}k,mode=0700,uid={},gid={}", own.uid(), own.gid());
        succeed(as_root("mount").args(["-t", "tmpfs", "-o", &options, "sealpost-test"]).arg(path));
        Self { path: path.to_owned() }
    }

    /// Fills it, but for `free` octets.
    pub fn fill(&self, free: u64) {
        self.clear();
        let mut filler = fs::File::create(self.path.join(FILLER)).expect("made");
        let piece = [0x5a; 4096];
        let full = loop {
            if let Err(error) = filler.write_all(&piece) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
        let size = filler.metadata().expect("there").len();
        filler.set_len(size.saturating_sub(free)).expect("cut");
    }

    /// Gives the room back.
    pub fn clear(&self) {
        match fs::remove_file(self.path.join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test left behind may still be ending.
        drop(as_root("umount").arg("-l").arg(&self.path).output());
    }
}
