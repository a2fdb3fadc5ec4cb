//! Connections that read. Each read is short: an open read transaction keeps the log from being cut.

use super::open;
use crate::error::Result;
use rusqlite::Connection;
use std::{
    path::PathBuf,
    sync::{Condvar, Mutex, PoisonError},
};

/// Connections at most; more readers than cores gain nothing, and each has a cache.
const READERS_MAX: usize = 8;

pub(super) struct Pool {
    path: PathBuf,
    cache_kib: u32,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
}

impl Pool {
    pub(super) fn new(path: PathBuf, cache_kib: u32) -> Self {
        Self { path, cache_kib, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `work` with a connection; blocks while all are in use.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let lease = self.lease()?;
        match &lease.conn {
            Some(conn) => work(conn),
            None => unreachable!("a lease holds its connection until it is dropped"),
        }
    }

    fn lease(&self) -> Result<Lease<'_>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(conn) = state.idle.pop() {
                return Ok(Lease { pool: self, conn: Some(conn) });
            }
            if state.open < READERS_MAX {
                state.open += 1;
                drop(state);
                // From here on the lease gives the place back, with or without a connection.
                let mut lease = Lease { pool: self, conn: None };
                lease.conn = Some(open::reader_connection(&self.path, self.cache_kib)?);
                return Ok(lease);
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Lease<'a> {
    pool: &'a Pool,
    conn: Option<Connection>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.conn.take() {
            // A read that was left in the middle of a transaction would stop the log from being cut.
            Some(conn) if conn.is_autocommit() => state.idle.push(conn),
            _ => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
