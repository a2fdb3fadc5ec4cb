//! Backup of a store in use, and restore into an empty folder. The archive is an ordinary tar file:
//!
//! ```text
//! sealpost-backup   {"version":1,"created":"2026-11-25T18:00:00Z"}
//! store.db          the database at one moment
//! objects/ab/…      the bodies that it names
//! SHA256SUMS        of all the above, as sha256sum(1) writes and checks it; the end of the archive
//! ```
//!
//! First the database, then the objects: they never change, and none is removed while a backup runs.

use super::{Shared, SqliteStore, convert::signed, objects, open};
use crate::{
    backup::{Backup, Summary},
    error::{Result, StoreError},
    files,
};
use async_trait::async_trait;
use rand_core::{OsRng, RngCore};
use rusqlite::{Connection, OpenFlags};
use sealpost_proto::time::Timestamp;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
    sync::{Arc, PoisonError},
};
use tar::{Archive, Builder, EntryType, Header};

/// What an archive begins with.
const HEAD_NAME: &str = "sealpost-backup";
const DB_NAME: &str = "store.db";
const SUMS_NAME: &str = "SHA256SUMS";
/// The form of the archive.
const VERSION: u64 = 1;
/// Longest head; ours has some 60 octets.
const HEAD_MAX: u64 = 4096;
/// Octets copied at a time.
const COPY_BYTES: usize = 64 * 1024;
/// UIDVALIDITY of restored mailboxes begins this far above everything that the backup or the clock knows, ...
const UID_VALIDITY_STEP: u32 = 1 << 20;
/// ... and a random number below this further on: one backup restored twice gives different ones.
const UID_VALIDITY_RANDOM: u32 = 1 << 22;
/// Ids that were given out after the backup are not given out again.
const ID_STEP: i64 = 1 << 20;
/// The database under this name is not yet a store.
const RESTORING: &str = "store.db.restoring";

#[async_trait]
impl Backup for SqliteStore {
    async fn backup(&self, out: Box<dyn Write + Send>) -> Result<Summary> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move || write(&shared, out)).await
    }
}

/// Octets on their way, counted and hashed.
struct Counted<T> {
    inner: T,
    octets: u64,
    hash: Sha256,
}

impl<T> Counted<T> {
    fn new(inner: T) -> Self {
        Self { inner, octets: 0, hash: Sha256::new() }
    }
    fn digest(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.octets += n as u64;
        self.hash.update(&buf[..n]);
        Ok(n)
    }
}

/// Counts what is written.
struct Counting<T> {
    inner: T,
    octets: u64,
}

impl<T: Write> Write for Counting<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.octets += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A tar archive being written, with the sums of what is in it.
struct Writer<W: Write> {
    tar: Builder<W>,
    sums: String,
    created: Timestamp,
}

impl<W: Write> Writer<W> {
    fn add(&mut self, name: &str, size: u64, data: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.created.0).unwrap_or(0));
        let mut data = Counted::new(data.take(size));
        self.tar.append_data(&mut header, name, &mut data)?;
        if data.octets != size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{name} is shorter than it was"),
            ));
        }
        let _ = writeln!(self.sums, "{}  {name}", hex(&data.digest()));
        Ok(())
    }
}

fn write(shared: &Shared, out: Box<dyn Write + Send>) -> Result<Summary> {
    // From here to the end no object is removed.
    let _gate = shared.keep_objects.lock().unwrap_or_else(PoisonError::into_inner);
    let created = shared.clock.now();
    let (_, snapshot) = files::temporary(&shared.tmp)?;
    // One read transaction: the store at one moment. The writer goes on; its log grows until this is done. The copy has
    // no free pages, so nothing of removed mail.
    let name =
        snapshot.to_str().ok_or_else(|| StoreError::Database("the store's path is not UTF-8".into()))?;
    open::reader_connection(&shared.db, 1024)?.execute("VACUUM INTO ?1", [name])?;
    let db = File::open(&snapshot)?;
    let size = db.metadata()?.len();

    let out = Counting { inner: BufWriter::with_capacity(COPY_BYTES, out), octets: 0 };
    let mut archive = Writer { tar: Builder::new(out), sums: String::new(), created };
    let head = format!("{{\"version\":{VERSION},\"created\":\"{}\"}}\n", created.to_rfc3339());
    archive.add(HEAD_NAME, head.len() as u64, head.as_bytes())?;
    archive.add(DB_NAME, size, db)?;
    let conn = read_only(&snapshot)?;
    let mut statement =
        conn.prepare("SELECT object_key, size FROM content WHERE object_key IS NOT NULL ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, size): (String, i64) = (row.get(0)?, row.get(1)?);
        let size = u64::try_from(size).map_err(|_| StoreError::Database("a size is below zero".into()))?;
        archive.add(&object_name(&key), size, File::open(shared.objects.path(&key))?)?;
    }
    let sums = std::mem::take(&mut archive.sums);
    archive.add(SUMS_NAME, sums.len() as u64, sums.as_bytes())?;
    let mut out = archive.tar.into_inner()?;
    out.flush()?;
    summary(&conn, out.octets)
}

fn object_name(key: &str) -> String {
    format!("objects/{}/{key}", key.get(..2).unwrap_or("00"))
}

fn read_only(path: &Path) -> Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

fn summary(conn: &Connection, octets: u64) -> Result<Summary> {
    let count = |table: &str| -> Result<u64> {
        let n: i64 = conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        Ok(u64::try_from(n).unwrap_or(0))
    };
    Ok(Summary { accounts: count("account")?, messages: count("content")?, octets })
}

fn wrong(what: impl Into<String>) -> StoreError {
    StoreError::Archive(what.into())
}

/// Makes a store out of a backup, in a folder that is empty or not there. Everything is checked: the sum of each file,
/// the database, the bodies that it names. After an error the folder is as empty as it was.
///
/// Mailboxes get new UIDVALIDITYs: UIDs that were given out after the backup must not come to mean other messages
/// (RFC 9051 §2.3.1.1), and what clients have seen since then must be forgotten.
pub fn restore(archive: impl Read, dir: &Path, now: Timestamp) -> Result<Summary> {
    if dir.is_dir() && fs::read_dir(dir)?.next().is_some() {
        return Err(StoreError::Refused("folder is not empty; a backup is restored into an empty one"));
    }
    let lock = open::prepare_dir(dir)?;
    let done = unpack(archive, dir).and_then(|octets| finish(dir, now, octets));
    drop(lock);
    if done.is_err() {
        // All that lies there is ours.
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!(%error, path = %path.display(), "could not be removed; do it by hand");
            }
        }
    }
    done
}

/// Writes the archive's files; their names are taken from a list of what there may be, never as they come.
fn unpack(archive: impl Read, dir: &Path) -> Result<u64> {
    let mut archive = Archive::new(Counted::new(archive));
    let mut sums: BTreeMap<String, [u8; 32]> = BTreeMap::new();
    let mut complete = false;
    files::make_dir(&dir.join("objects"))?;
    let broken = |e: io::Error| match StoreError::from(e) {
        StoreError::Io(e) => wrong(format!("it could not be read ({e})")),
        other => other,
    };
    // Raw: our archives have no entries that only describe others, so there is nothing to interpret.
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.to_str().map(str::to_owned).unwrap_or_default();
        if complete || entry.header().entry_type() != EntryType::Regular {
            return Err(wrong(format!("`{}` does not belong into it", name.escape_default())));
        }
        if sums.is_empty() {
            if name != HEAD_NAME {
                return Err(wrong("it is no backup of Sealpost"));
            }
            let mut head = Counted::new(entry.take(HEAD_MAX));
            let mut text = String::new();
            head.read_to_string(&mut text).map_err(broken)?;
            let value: serde_json::Value =
                serde_json::from_str(&text).map_err(|_| wrong("its head is damaged"))?;
            if value["version"].as_u64() != Some(VERSION) {
                return Err(wrong(format!("it has version {}; use a newer sealpost", value["version"])));
            }
            sums.insert(name, head.digest());
            continue;
        }
        if name == SUMS_NAME {
            compare(entry, &sums)?;
            complete = true;
            continue;
        }
        if sums.contains_key(&name) {
            return Err(wrong("it holds a file twice"));
        }
        let target = match name.strip_prefix("objects/").and_then(|rest| rest.split_once('/')) {
            _ if name == DB_NAME => dir.join(RESTORING),
            Some((folder, key)) if objects::is_key(key) && key.starts_with(folder) && folder.len() == 2 => {
                let folder = dir.join("objects").join(folder);
                files::make_dir(&folder)?;
                folder.join(key)
            }
            _ => return Err(wrong(format!("`{}` does not belong into it", name.escape_default()))),
        };
        let mut file = files::create_private(&target)?;
        let size = entry.size();
        let mut data = Counted::new(&mut entry);
        copy(&mut data, &mut file, broken)?;
        if data.octets != size {
            return Err(wrong("it ends too early"));
        }
        file.sync_all()?;
        sums.insert(name, data.digest());
    }
    if !complete {
        return Err(wrong("it ends too early"));
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    Ok(rest.octets)
}

/// As [`io::copy`], but tells a faulty archive from a full disk.
fn copy(from: &mut impl Read, to: &mut File, broken: impl Fn(io::Error) -> StoreError) -> Result<()> {
    let mut piece = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut piece).map_err(&broken)? {
            0 => return Ok(()),
            n => to.write_all(&piece[..n])?,
        }
    }
}

/// SHA256SUMS: one line for each file, and each fits.
fn compare(sums_file: impl Read, sums: &BTreeMap<String, [u8; 32]>) -> Result<()> {
    // A line that stands there twice must not make up for one that does not.
    let mut listed = BTreeSet::new();
    for line in BufReader::new(sums_file).lines() {
        let line = line.map_err(|_| wrong("its list of sums is damaged"))?;
        let (sum, name) = line.split_once("  ").ok_or_else(|| wrong("its list of sums is damaged"))?;
        match sums.get(name) {
            Some(found) if hex(found) == sum => {
                if !listed.insert(name.to_owned()) {
                    return Err(wrong("its list of sums names a file twice"));
                }
            }
            Some(_) => return Err(wrong(format!("{name} is damaged (its SHA-256 is another one)"))),
            None => return Err(wrong(format!("{} is missing", name.escape_default()))),
        }
    }
    if listed.len() == sums.len() {
        Ok(())
    } else {
        Err(wrong("it holds files that are not in its list of sums"))
    }
}

/// Checks the database, moves its numbers on, and makes it the store.
fn finish(dir: &Path, now: Timestamp, octets: u64) -> Result<Summary> {
    let path = dir.join(RESTORING);
    if !path.exists() {
        return Err(wrong("it holds no database"));
    }
    let mut conn = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != open::APPLICATION_ID {
        return Err(wrong("its database is not Sealpost's"));
    }
    let whole: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if whole != "ok" {
        return Err(wrong(format!("its database is damaged: {whole}")));
    }
    check_objects(&conn, dir)?;
    renumber(&mut conn, now)?;
    let summary = summary(&conn, octets)?;
    conn.close().map_err(|(_, error)| error)?;
    File::open(&path)?.sync_all()?;
    // Names of objects before the database that names them.
    let objects = dir.join("objects");
    for folder in fs::read_dir(&objects)? {
        files::sync_dir(&folder?.path())?;
    }
    files::sync_dir(&objects)?;
    fs::rename(&path, dir.join(DB_NAME))?;
    files::sync_dir(dir)?;
    Ok(summary)
}

/// Every body that the database names is there, in full length.
fn check_objects(conn: &Connection, dir: &Path) -> Result<()> {
    let mut statement = conn.prepare("SELECT object_key, size FROM content WHERE object_key IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, size): (String, i64) = (row.get(0)?, row.get(1)?);
        let found = fs::metadata(dir.join(object_name(&key))).map(|m| m.len());
        if !found.is_ok_and(|found| signed(found) == size) {
            return Err(wrong(format!("the body {key} is missing or has another length")));
        }
    }
    Ok(())
}

fn renumber(conn: &mut Connection, now: Timestamp) -> Result<()> {
    conn.pragma_update(None, "synchronous", "FULL")?;
    let tx = conn.transaction()?;
    let last: i64 =
        tx.query_row("SELECT value FROM counter WHERE name = 'uid_validity'", [], |row| row.get(0))?;
    let random = i64::from(OsRng.next_u32() % UID_VALIDITY_RANDOM);
    let mut value = last.max(now.0) + i64::from(UID_VALIDITY_STEP) + random;
    let mailboxes: Vec<i64> = tx
        .prepare("SELECT id FROM mailbox ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in mailboxes {
        value += 1;
        tx.prepare_cached("UPDATE mailbox SET uid_validity = ?1 WHERE id = ?2")?.execute([value, id])?;
    }
    if u32::try_from(value).is_err() {
        return Err(wrong("its UIDVALIDITYs have come to their end; no store can be made of it"));
    }
    tx.execute("UPDATE counter SET value = ?1 WHERE name = 'uid_validity'", [value])?;
    tx.execute("UPDATE sqlite_sequence SET seq = seq + ?1", [ID_STEP])?;
    tx.commit()?;
    Ok(())
}
