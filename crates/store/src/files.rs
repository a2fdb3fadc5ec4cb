//! The few things asked of the file system, in one place.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};
use tempfile::TempPath;

/// Reads up to `buf.len()` octets at `offset` without moving the file's own position; 0 at the end.
pub(crate) fn read_at(file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    // Past i64::MAX pread(2) says EINVAL; no file has an octet there.
    if i64::try_from(offset).is_err() {
        return Ok(0);
    }
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, buf, offset);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, buf, offset);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The same out of memory.
pub(crate) fn copy_at(bytes: &[u8], offset: u64, buf: &mut [u8]) -> usize {
    let rest = behind(bytes, offset);
    let n = rest.len().min(buf.len());
    buf[..n].copy_from_slice(&rest[..n]);
    n
}

/// What stands from `offset` on.
pub(crate) fn behind(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|at| bytes.get(at..)).unwrap_or_default()
}

/// A new file in `dir`, readable by its owner alone, removed when the path is dropped.
pub(crate) fn temporary(dir: &Path) -> io::Result<(File, TempPath)> {
    Ok(tempfile::Builder::new().prefix("in-").suffix("").tempfile_in(dir)?.into_parts())
}

/// Makes a folder for its owner alone, if it is not there.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Opens a file for reading and writing by its owner alone, and makes it if it is not there.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a file for its owner alone; it must not be there.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file's octets over themselves, and syncs them.
pub(crate) fn rewrite(path: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut octets = vec![0; 64 * 1024];
    let mut at = 0;
    loop {
        let n = read_at(&file, at, &mut octets)?;
        if n == 0 {
            return file.sync_all();
        }
        // The file's own position moves along, for nothing else is done with it.
        file.write_all(&octets[..n])?;
        at += n as u64;
    }
}

/// Takes all rights from everybody but the owner.
pub(crate) fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    #[cfg(not(unix))]
    let _ = (path, mode);
    Ok(())
}

/// Makes names that were added to or taken from a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
