//! FETCH responses of opened messages, written out as their octets come.

use super::{
    Result, Session,
    ends::CHUNK,
    fetch::Asked,
    opening::Content,
    parts::{self, Answer},
};
use crate::entry::Entry;
use std::{
    io::{self, Read as _},
    ops::Range,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// How a command ends that asked for a part whose transfer encoding is not known (RFC 3516 §4.3).
const UNKNOWN_ENCODING: &[u8] = b"NO [UNKNOWN-CTE] a part's transfer encoding is not known; use BODY";
/// Octets of an opened message read into memory at once; more goes in pieces.
const MEMORY_MAX: u64 = 1024 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// One FETCH response.
    pub(super) async fn answer(
        &mut self,
        asked: &Asked<'_>,
        number: u32,
        told: &[u8],
        entry: &Entry,
        content: Option<Content>,
    ) -> Result<()> {
        self.program.say(format!("* {number} FETCH (").as_bytes());
        self.program.say(told);
        for item in asked.items.iter().filter(|item| parts::is_content(item)) {
            let answer = match &content {
                _ if parts::is_indexed(item) => parts::from_entry(item, entry),
                Some(Content { shown, structure }) if shown.in_memory().is_some() => {
                    parts::from_octets(item, shown, structure.as_deref())?
                }
                Some(Content { shown, structure }) => {
                    let (item, shown, structure) = (item.clone(), shown.clone(), structure.clone());
                    let work = move || parts::from_octets(&item, &shown, structure.as_deref());
                    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??
                }
                None => Answer::Written(b"X NIL".to_vec()),
            };
            if matches!(answer, Answer::UnknownEncoding) {
                self.undecoded = Some(UNKNOWN_ENCODING.to_vec());
                continue;
            }
            // The UID stands before it.
            self.program.say(b" ");
            match (answer, &content) {
                (Answer::Written(octets), _) => self.program.say(&octets),
                (Answer::Brief(name, text), _) => {
                    self.program.say(name.as_bytes());
                    self.program.say(entry.brief(text));
                }
                (Answer::Memory(name, octets), _) => {
                    self.program.say(format!("{name}{{{}}}\r\n", octets.len()).as_bytes());
                    self.program.say(&octets);
                }
                (Answer::Octets(name, range), Some(Content { shown, .. })) => {
                    let length = range.end - range.start;
                    self.program.say(format!("{name}{{{length}}}\r\n").as_bytes());
                    if let Some(octets) = shown.in_memory() {
                        self.say_range(octets, range);
                        continue;
                    }
                    let shown = shown.clone();
                    let reader = move || Ok(shown.reader(range.start)?.take(length));
                    self.write_octets(reader, length).await?;
                }
                (Answer::Decoded(name, decoded), Some(Content { shown, .. })) => {
                    let length = decoded.length();
                    self.program.say(format!("{name}{{{length}}}\r\n").as_bytes());
                    let shown = shown.clone();
                    self.write_octets(move || decoded.reader(&shown), length).await?;
                }
                (Answer::Octets(..) | Answer::Decoded(..), None) | (Answer::UnknownEncoding, _) => {}
            }
        }
        self.program.say(b")\r\n");
        self.program.relieve().await?;
        Ok(())
    }

    /// Octets of a message in memory: of its header and what stands behind it.
    fn say_range(&mut self, (head, body): (&[u8], &[u8]), range: Range<u64>) {
        for (octets, start) in [(head, 0), (body, head.len() as u64)] {
            let within =
                |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(octets.len());
            self.program.say(&octets[within(range.start)..within(range.end)]);
        }
    }

    /// Octets of an opened message. A message that ends before its length breaks the connection: the mail program waits
    /// for the rest.
    async fn write_octets<R: io::Read>(
        &mut self,
        reader: impl FnOnce() -> io::Result<R> + Send + 'static,
        length: u64,
    ) -> Result<()> {
        if length <= MEMORY_MAX {
            let octets = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
                let mut octets = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
                reader()?.read_to_end(&mut octets)?;
                Ok(octets)
            });
            let octets = octets.await.map_err(io::Error::other)??;
            if octets.len() as u64 != length {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.program.say(&octets);
            self.program.relieve().await?;
            return Ok(());
        }
        let (send, mut receive) = tokio::sync::mpsc::channel::<Vec<u8>>(2);
        let reading = tokio::task::spawn_blocking(move || -> io::Result<u64> {
            let mut reader = reader()?;
            let mut passed = 0;
            loop {
                let mut chunk = Vec::with_capacity(CHUNK);
                (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk)?;
                passed += chunk.len() as u64;
                if chunk.is_empty() || send.blocking_send(chunk).is_err() {
                    return Ok(passed);
                }
            }
        });
        while let Some(chunk) = receive.recv().await {
            self.program.say(&chunk);
            self.program.relieve().await?;
        }
        if reading.await.map_err(io::Error::other)?? != length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }
}
