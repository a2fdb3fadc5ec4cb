//! The octets of stored messages. No statement stays open between two reads: an open read transaction keeps the log
//! from being cut, and a caller may write to a slow socket in between.

use super::{Shared, convert::number, objects::Objects, reads::Pool};
use crate::{
    error::{Result, StoreError},
    files,
    mailbox::{ContentId, ContentReader},
};
use rusqlite::{Connection, OptionalExtension, blob::Blob};
use std::{io, sync::Arc};

/// Bodies up to this are read whole at once: one statement instead of one for each piece.
pub(super) const READ_WHOLE_MAX: u64 = 32 * 1024;

/// Opens a message for reading. What is opened stays readable to its end, even if the message is removed meanwhile:
/// small bodies are in memory, objects are open files, and the others are within their grace.
pub(super) fn open(shared: &Shared, content: ContentId) -> Result<Box<dyn ContentReader>> {
    shared.pool.with(|conn| {
        let (size, key) = find(conn, content)?;
        if let Some(key) = key {
            return shared.objects.open(&key, size);
        }
        if size > READ_WHOLE_MAX {
            return Ok(Box::new(InlineReader { pool: Arc::clone(&shared.pool), content, size }) as Box<_>);
        }
        let bytes: Vec<u8> = conn
            .prepare_cached("SELECT data FROM body WHERE content_id = ?1")?
            .query_row([content.0], |row| row.get(0))
            .optional()?
            .ok_or(StoreError::Gone("message"))?;
        Ok(Box::new(WholeReader(bytes)) as Box<_>)
    })
}

/// Opens several, in order; `None` where a message is gone. Small bodies are read now, the others when they are asked
/// for.
pub(super) fn open_all(
    shared: &Shared,
    contents: &[ContentId],
) -> Result<Vec<Option<Box<dyn ContentReader>>>> {
    shared.pool.with(|conn| {
        // In one snapshot: without, each statement locks and unlocks the log (two calls of the kernel).
        let snapshot = conn.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached(
            "SELECT size, object_key IS NOT NULL, data FROM content LEFT JOIN body ON content_id = id WHERE id = ?1",
        )?;
        let mut all: Vec<Option<Box<dyn ContentReader>>> = Vec::with_capacity(contents.len());
        for content in contents {
            let mut rows = statement.query([content.0])?;
            let Some(row) = rows.next()? else {
                all.push(None);
                continue;
            };
            let size = number(row.get(0)?, "message")?;
            all.push(if row.get(1)? || size > READ_WHOLE_MAX {
                Some(lazy(shared, *content, size))
            } else {
                row.get::<_, Option<Vec<u8>>>(2)?.map(|bytes| Box::new(WholeReader(bytes)) as Box<_>)
            });
        }
        Ok(all)
    })
}

/// The same, where no more than the first octets are wanted, so many of each.
pub(super) fn open_heads(
    shared: &Shared,
    contents: &[(ContentId, u64)],
) -> Result<Vec<Option<Box<dyn ContentReader>>>> {
    shared.pool.with(|conn| {
        // Between the two looks at a message it must not go.
        let snapshot = conn.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached("SELECT size, object_key FROM content WHERE id = ?1")?;
        let mut heads = Heads::new(shared, &snapshot);
        let mut all: Vec<Option<Box<dyn ContentReader>>> = Vec::with_capacity(contents.len());
        for (content, wanted) in contents {
            let mut rows = statement.query([content.0])?;
            let Some(row) = rows.next()? else {
                all.push(None);
                continue;
            };
            let (size, key) = (number(row.get(0)?, "message")?, row.get::<_, Option<String>>(1)?);
            all.push(Some(Box::new(heads.open((*content, size), key.as_deref(), *wanted)?)));
        }
        Ok(all)
    })
}

/// Reads the first octets of many messages. Of what lies in the database no page is read that has none of them, and of
/// an object no block.
pub(super) struct Heads<'a> {
    shared: &'a Shared,
    snapshot: &'a Connection,
    /// The body read last: another one is opened by it in less time than anew.
    body: Option<Blob<'a>>,
}

impl<'a> Heads<'a> {
    /// `snapshot` is in a transaction.
    pub(super) fn new(shared: &'a Shared, snapshot: &'a Connection) -> Self {
        Self { shared, snapshot, body: None }
    }

    /// A reader with so many octets in memory, unless they are too many.
    pub(super) fn open(
        &mut self,
        (content, size): (ContentId, u64),
        object: Option<&str>,
        wanted: u64,
    ) -> Result<HeadReader> {
        let wanted = size.min(wanted);
        let wanted = if wanted > READ_WHOLE_MAX { 0 } else { usize::try_from(wanted).unwrap_or(0) };
        let mut head = vec![0; wanted];
        let got = match object {
            _ if head.is_empty() => 0,
            Some(key) => self.shared.objects.open(key, size)?.read_at(0, &mut head)?,
            None => {
                let body = match self.body.take() {
                    Some(mut body) => {
                        body.reopen(content.0)?;
                        body
                    }
                    None => self.snapshot.blob_open("main", "body", "data", content.0, true)?,
                };
                let got = body.read_at(&mut head, 0)?;
                self.body = Some(body);
                got
            }
        };
        // What a short read left out is read when it is asked for.
        head.truncate(got);
        Ok(HeadReader { head, rest: LazyReader::new(self.shared, content, size) })
    }
}

/// A reader that holds neither memory nor a file until it is used: for lists of many messages.
pub(super) fn lazy(shared: &Shared, content: ContentId, size: u64) -> Box<dyn ContentReader> {
    Box::new(LazyReader::new(shared, content, size))
}

/// Size, and the object's key if it is one.
fn find(conn: &Connection, content: ContentId) -> Result<(u64, Option<String>)> {
    let (size, key) = conn
        .prepare_cached("SELECT size, object_key FROM content WHERE id = ?1")?
        .query_row([content.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or(StoreError::Gone("message"))?;
    Ok((number(size, "message")?, key))
}

/// One piece of a body in the database.
fn read_inline(
    conn: &Connection,
    content: ContentId,
    size: u64,
    offset: u64,
    buf: &mut [u8],
) -> Result<usize> {
    let rest = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
    let wanted = buf.len().min(rest);
    let Some(at) = usize::try_from(offset).ok().filter(|_| wanted > 0) else { return Ok(0) };
    let blob = conn.blob_open("main", "body", "data", content.0, true)?;
    Ok(blob.read_at(&mut buf[..wanted], at)?)
}

fn to_io(error: StoreError) -> io::Error {
    match error {
        StoreError::Io(error) => error,
        other => io::Error::other(other),
    }
}

pub(super) struct WholeReader(pub(super) Vec<u8>);

impl ContentReader for WholeReader {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(files::copy_at(&self.0, offset, buf))
    }
    fn in_memory(&self, offset: u64) -> &[u8] {
        files::behind(&self.0, offset)
    }
}

/// The first octets in memory, the others when they are asked for.
pub(super) struct HeadReader {
    head: Vec<u8>,
    rest: LazyReader,
}

impl ContentReader for HeadReader {
    fn len(&self) -> u64 {
        self.rest.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if offset < self.head.len() as u64 {
            return Ok(files::copy_at(&self.head, offset, buf));
        }
        self.rest.read_at(offset, buf)
    }
    fn in_memory(&self, offset: u64) -> &[u8] {
        files::behind(&self.head, offset)
    }
}

struct InlineReader {
    pool: Arc<Pool>,
    content: ContentId,
    size: u64,
}

impl ContentReader for InlineReader {
    fn len(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.pool.with(|conn| read_inline(conn, self.content, self.size, offset, buf)).map_err(to_io)
    }
}

struct LazyReader {
    pool: Arc<Pool>,
    objects: Arc<Objects>,
    content: ContentId,
    size: u64,
}

impl LazyReader {
    fn new(shared: &Shared, content: ContentId, size: u64) -> Self {
        let (pool, objects) = (Arc::clone(&shared.pool), Arc::clone(&shared.objects));
        Self { pool, objects, content, size }
    }
}

impl ContentReader for LazyReader {
    fn len(&self) -> u64 {
        self.size
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.pool
            .with(|conn| match find(conn, self.content)? {
                (size, Some(key)) => Ok(self.objects.open(&key, size)?.read_at(offset, buf)?),
                (size, None) => read_inline(conn, self.content, size, offset, buf),
            })
            .map_err(to_io)
    }
}
