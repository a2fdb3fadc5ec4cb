//! The two ends of a session: the mail program's, which speaks commands, and the home server's, which answers them.

use super::wire::{Cutter, Next, Response, response};
use bytes::BytesMut;
use sealpost_client::bridge::MailConnection;
use sealpost_proto::{
    drive::BoxStream,
    imap::{Body, Command, Limits, Names, Receiver, Tag, encode},
};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use zeroize::Zeroizing;

/// Octets gathered before they are written.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Longest silence of a mail program: RFC 9051 §5.4 asks for 30 minutes at least.
pub(crate) const PROGRAM_SILENCE: Duration = Duration::from_secs(31 * 60);
/// Longest silence of the server while it owes an answer.
const SERVER_SILENCE: Duration = Duration::from_secs(10 * 60);
/// Responses that the server may say before it takes a literal: news of a few messages.
const BEFORE_MAX: usize = 1_000;
/// Octets that a mail program may send ahead while it waits for something else.
pub(crate) const AHEAD_MAX: usize = 256 * 1024;
/// Longest wait for a mail program to take what is written.
const WRITE: Duration = Duration::from_secs(5 * 60);

/// The mail program.
pub(crate) struct Program<S> {
    pub(crate) stream: S,
    pub(crate) input: BytesMut,
    pub(crate) receiver: Receiver,
    pub(crate) out: Vec<u8>,
    said_bye: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Program<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            receiver: Receiver::new(Limits::SERVER),
            out: Vec::new(),
            said_bye: false,
        }
    }

    /// Reads once; an error at the end.
    pub(crate) async fn fill(&mut self) -> io::Result<()> {
        self.input.reserve(4 * 1024);
        match timeout(PROGRAM_SILENCE, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits for something else; what the mail program says meanwhile is read, and `heard` is called. It may go away, too.
    pub(crate) async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
        mut heard: impl FnMut(),
    ) -> io::Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                read = self.fill(), if self.input.len() < AHEAD_MAX => {
                    read?;
                    heard();
                }
            }
        }
    }

    pub(crate) fn say(&mut self, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.say(text.as_bytes());
        self.say(b"\r\n");
    }

    /// `* BYE text`, once: the first reason is the true one.
    pub(crate) fn bye(&mut self, text: &str) {
        if !std::mem::replace(&mut self.said_bye, true) {
            self.line(&format!("* BYE {text}"));
        }
    }

    /// `tag OK text`
    pub(crate) fn done(&mut self, tag: &Tag, text: &str) {
        self.line(&format!("{} {text}", tag.as_str()));
    }

    /// Writes what was said, where it is much.
    pub(crate) async fn relieve(&mut self) -> io::Result<()> {
        if self.out.len() < CHUNK { Ok(()) } else { self.flush().await }
    }

    /// Writes what was said.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let write = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        let written = timeout(WRITE, write).await;
        self.out.clear();
        self.out.shrink_to(CHUNK);
        written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// The home server's connection is of no use any more.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) io::Error);

impl From<io::Error> for Lost {
    fn from(e: io::Error) -> Self {
        Self(e)
    }
}

/// The home server, signed in.
pub(crate) struct Server {
    stream: BoxStream,
    pub(crate) cutter: Cutter,
    tags: u64,
}

/// A response, or a piece of one.
pub(crate) enum Came {
    /// A whole response, or (behind a literal) the rest of one.
    Line(Zeroizing<Vec<u8>>),
    /// The beginning of one, up to and with the announcement of a literal, whose octets follow.
    Literal(Zeroizing<Vec<u8>>),
}

impl Server {
    pub(crate) fn new(connection: MailConnection) -> Self {
        Self { stream: connection.stream, cutter: Cutter::new(connection.input), tags: 0 }
    }

    /// A tag for a command of the bridge's own.
    pub(crate) fn tag(&mut self) -> Tag {
        self.tags += 1;
        // Letters and digits are a tag.
        Tag::new(format!("bridge{}", self.tags)).unwrap_or_else(|| unreachable!())
    }

    /// Waits for more octets. Safe to give up on.
    pub(crate) async fn fill(&mut self) -> std::result::Result<(), Lost> {
        self.cutter.input.reserve(CHUNK);
        match self.stream.read_buf(&mut self.cutter.input).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// The same while the server owes an answer.
    async fn fill_soon(&mut self) -> std::result::Result<(), Lost> {
        timeout(SERVER_SILENCE, self.fill()).await.map_err(|_| Lost(io::ErrorKind::TimedOut.into()))?
    }

    /// What comes next.
    pub(crate) async fn next(&mut self) -> std::result::Result<Came, Lost> {
        loop {
            match self.cutter.next()? {
                Next::More => self.fill_soon().await?,
                Next::Whole(line) => return Ok(Came::Line(line)),
                Next::Literal(line) => return Ok(Came::Literal(line)),
            }
        }
    }

    /// Octets of the literal that is passing; `None` behind its end. Consumed by `cutter.passed`.
    pub(crate) async fn literal(&mut self) -> std::result::Result<Option<usize>, Lost> {
        loop {
            match self.cutter.pass().map(<[u8]>::len) {
                Some(0) => self.fill_soon().await?,
                other => return Ok(other),
            }
        }
    }

    pub(crate) async fn send(&mut self, octets: &[u8]) -> std::result::Result<(), Lost> {
        let write = async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        };
        let written: io::Result<()> =
            timeout(SERVER_SILENCE, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        Ok(written?)
    }

    /// Sends a command. What the server says before it takes a literal goes to `before`; `false` where it ended the
    /// command there, and the tagged response is the last of that.
    pub(crate) async fn command(
        &mut self,
        command: &Command,
        names: Names,
        before: &mut Vec<Zeroizing<Vec<u8>>>,
    ) -> std::result::Result<bool, Lost> {
        for piece in encode::command(command, names) {
            self.send(&piece.bytes).await?;
            if !piece.wait {
                continue;
            }
            loop {
                let Came::Line(line) = self.next().await? else {
                    return Err(Lost(io::Error::new(io::ErrorKind::InvalidData, "a literal out of place")));
                };
                if line.starts_with(b"+") {
                    break;
                }
                let ends = matches!(response(&line), Response::Tagged(tag, _) if tag == command.tag.as_str());
                before.push(line);
                if ends {
                    return Ok(false);
                }
                if before.len() > BEFORE_MAX {
                    let error = "too much before it takes a literal";
                    return Err(Lost(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
        Ok(true)
    }

    /// The last word on a connection of the bridge's own; nobody waits for the answer.
    pub(crate) async fn leave(&mut self) {
        let _ = self.send(b"bye LOGOUT\r\n").await;
    }

    /// A command of the bridge's own. `each` is given all untagged responses; what is left is the tagged one, without its
    /// tag.
    pub(crate) async fn run(
        &mut self,
        body: Body,
        names: Names,
        mut each: impl FnMut(&[u8]) + Send,
    ) -> std::result::Result<Vec<u8>, Lost> {
        let tag = self.tag();
        self.command(&Command { tag: tag.clone(), body }, names, &mut Vec::new()).await?;
        loop {
            let Came::Line(line) = self.next().await? else {
                return Err(Lost(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a literal that nobody asked for",
                )));
            };
            match response(&line) {
                Response::Tagged(found, rest) if found == tag.as_str() => return Ok(rest.to_vec()),
                Response::Bye => return Err(Lost(io::ErrorKind::ConnectionAborted.into())),
                _ => each(&line),
            }
        }
    }
}
