//! Schema versions: a list of steps, each run once, in order, in one transaction with its version number.

use crate::error::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

/// Step `n` (from 1) makes version `n` out of version `n - 1`. Steps that have been released never change.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
    include_str!("schema/0009.sql"),
];

/// Brings the database to the newest version; refuses one that is newer still.
pub(super) fn migrate(conn: &mut Connection, steps: &[&str]) -> Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (n INTEGER NOT NULL) STRICT")?;
    let found: i64 =
        tx.query_row("SELECT n FROM schema_version", [], |row| row.get(0)).optional()?.unwrap_or(0);
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let Some(due) = usize::try_from(found).ok().and_then(|n| steps.get(n..)) else {
        return Err(StoreError::Newer { found, known });
    };
    if due.is_empty() {
        return Ok(());
    }
    for step in due {
        tx.execute_batch(step)?;
    }
    tx.execute("DELETE FROM schema_version", [])?;
    tx.execute("INSERT INTO schema_version (n) VALUES (?1)", [known])?;
    tx.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7);";
    const TWO: &str = "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1;";

    fn version(conn: &Connection) -> i64 {
        conn.query_row("SELECT n FROM schema_version", [], |row| row.get(0)).expect("a version")
    }

    #[test]
    fn a_store_of_version_1_becomes_version_2_with_its_data() {
        let mut conn = Connection::open_in_memory().expect("opens");
        migrate(&mut conn, &[ONE]).expect("version 1");
        assert_eq!(version(&conn), 1);
        migrate(&mut conn, &[ONE, TWO]).expect("version 2");
        assert_eq!(version(&conn), 2);
        let row: (i64, i64) =
            conn.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).expect("the row");
        assert_eq!(row, (7, 8));
        migrate(&mut conn, &[ONE, TWO]).expect("again changes nothing");
        assert_eq!(version(&conn), 2);
    }

    #[test]
    fn a_newer_store_is_refused_and_left_alone() {
        let mut conn = Connection::open_in_memory().expect("opens");
        migrate(&mut conn, &[ONE, TWO]).expect("version 2");
        let error = migrate(&mut conn, &[ONE]).expect_err("version 2 is newer");
        assert!(matches!(error, StoreError::Newer { found: 2, known: 1 }), "{error}");
        assert_eq!(version(&conn), 2);
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let mut conn = Connection::open_in_memory().expect("opens");
        migrate(&mut conn, &[ONE]).expect("version 1");
        migrate(&mut conn, &[ONE, TWO, "this is no SQL"]).expect_err("the third step fails");
        assert_eq!(version(&conn), 1);
        conn.query_row("SELECT y FROM a", [], |_| Ok(())).expect_err("the second step was undone");
    }

    #[test]
    fn the_real_steps_run() {
        let mut conn = Connection::open_in_memory().expect("opens");
        migrate(&mut conn, MIGRATIONS).expect("runs");
        assert_eq!(version(&conn), i64::try_from(MIGRATIONS.len()).expect("few"));
    }
    /// Sketches that could rule out what is found today are gone.
    #[test]
    fn versions_7_and_8_remove_sketches() {
        let mut conn = Connection::open_in_memory().expect("opens");
        migrate(&mut conn, &MIGRATIONS[..6]).expect("version 6");
        conn.execute_batch(
            "INSERT INTO content (id, refs, size, idx, sketch) VALUES (1, 1, 1, x'', x'ff');
             INSERT INTO text_sketch VALUES (1, x'ff');",
        )
        .expect("a message");
        let counts = |conn: &Connection| {
            let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
            (
                count("SELECT count(*) FROM text_sketch"),
                count("SELECT count(*) FROM content WHERE sketch = x'ff'"),
            )
        };
        migrate(&mut conn, &MIGRATIONS[..7]).expect("version 7");
        assert_eq!(counts(&conn), (0, 1), "headers were read as before");
        migrate(&mut conn, &MIGRATIONS[..8]).expect("version 8");
        assert_eq!(counts(&conn), (0, 0));
    }
}
