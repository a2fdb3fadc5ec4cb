//! Looking behind the traits of a store, with SQLite alone. The crash tests of the program look the same way.

use std::{collections::BTreeMap, path::Path};

/// Rows that lead nowhere, and what nobody leads to. `tidy` also asks that
/// nothing is left to be cleared away.
pub fn inspect(path: &Path, tidy: bool) -> Result<(), String> {
    let say = |error: rusqlite::Error| error.to_string();
    let conn = rusqlite::Connection::open_with_flags(
        path.join("store.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .map_err(say)?;
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(say)?;
    if check != "ok" {
        return Err(format!("integrity_check: {check}"));
    }
    for (what, sql) in [
        (
            "contents with a wrong number of references",
            "SELECT count(*) FROM content WHERE refs <> (SELECT count(*) FROM entry WHERE content_id = content.id)
             + (SELECT count(*) FROM queue WHERE content_id = content.id)",
        ),
        (
            "entries without content",
            "SELECT count(*) FROM entry WHERE content_id NOT IN (SELECT id FROM content)",
        ),
        (
            "queue entries without content",
            "SELECT count(*) FROM queue WHERE content_id NOT IN (SELECT id FROM content)",
        ),
        ("entries without a mailbox", "SELECT count(*) FROM entry WHERE mailbox_id NOT IN (SELECT id FROM mailbox)"),
        (
            "contents without octets",
            "SELECT count(*) FROM content WHERE object_key IS NULL AND id NOT IN (SELECT content_id FROM body)",
        ),
        ("octets without content", "SELECT count(*) FROM body WHERE content_id NOT IN (SELECT id FROM content)"),
        (
            "contents that nobody will clear away",
            "SELECT count(*) FROM content WHERE refs = 0 AND id NOT IN (SELECT content_id FROM gc)",
        ),
        (
            "contents in use to be cleared away",
            "SELECT count(*) FROM gc WHERE content_id NOT IN (SELECT id FROM content WHERE refs = 0)",
        ),
        ("foreign keys that lead nowhere", "SELECT count(*) FROM pragma_foreign_key_check"),
    ] {
        let count: i64 = conn.query_row(sql, [], |row| row.get(0)).map_err(say)?;
        if count > 0 {
            return Err(format!("{count} {what}"));
        }
    }
    let mut objects = BTreeMap::new();
    let folders = std::fs::read_dir(path.join("objects")).map_err(|error| error.to_string())?;
    for folder in folders.flatten() {
        for object in std::fs::read_dir(folder.path()).map_err(|error| error.to_string())?.flatten() {
            let size = object.metadata().map_err(|error| error.to_string())?.len();
            objects.insert(object.file_name().to_string_lossy().into_owned(), size);
        }
    }
    // A row whose grace is over may have lost its object to an older crash; nobody can read it any more.
    let mut rows = conn
        .prepare("SELECT object_key, size, refs FROM content WHERE object_key IS NOT NULL")
        .map_err(say)?;
    let named = rows
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
        .map_err(say)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(say)?;
    for (key, size, refs) in &named {
        if *refs > 0 && objects.get(key).copied() != u64::try_from(*size).ok() {
            return Err(format!("an object of {size} octets is {:?}", objects.get(key)));
        }
    }
    if tidy {
        let rest: i64 = conn
            .query_row(
                "SELECT (SELECT count(*) FROM gc) + (SELECT count(*) FROM gc_object)
                 + (SELECT count(*) FROM mailbox WHERE account_id IS NULL)",
                [],
                |row| row.get(0),
            )
            .map_err(say)?;
        let in_use = named.iter().filter(|(_, _, refs)| *refs > 0).count();
        let received = std::fs::read_dir(path.join("tmp")).map_err(|error| error.to_string())?.count();
        if rest > 0 || objects.len() != in_use || received > 0 {
            return Err(format!(
                "garbage stays: {rest} notes, {} objects for {in_use} rows, {received} spool files",
                objects.len()
            ));
        }
    }
    Ok(())
}
