//! Backup through the control socket, so that the file is written by whoever asked, with his rights and where he wants
//! it; and restore. Behind the response `backup` come pieces of the archive, each with its length in four octets
//! (big-endian), then a length of 0 and one more response: `backup-done` or `error`.

use super::{
    AdminError, Request, Response, open_existing,
    reach::{Reached, reach},
    socket,
};
use crate::{config::Config, context::Context, privileges};
use bytes::Bytes;
use sealpost_proto::time::{Clock as _, SystemClock};
use sealpost_store::{StoreError, backup::Backup as _, backup::Summary};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::mpsc,
};

/// Octets of one piece.
const PIECE: usize = 64 * 1024;
/// Pieces that wait to be sent: with the above the memory a backup takes, however slow its reader is.
const WAITING: usize = 8;
/// How long one piece may wait for its reader; he holds up the clearing away of removed mail.
const SEND_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the server may take for its next piece; before the first one it copies its database.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Longest response around the pieces.
const RESPONSE_MAX: u64 = 64 * 1024;

/// Hands pieces from the store's thread to the socket's task.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let n = octets.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&octets[..n]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Why there is none where the store finds no room for the copy of its database.
const NO_ROOM: &str = "the disk of the store is full, and a backup needs room there for a copy of the database: free \
                       some space and try again";

fn why(error: &StoreError) -> String {
    if matches!(error, StoreError::Full) { NO_ROOM.to_owned() } else { error.to_string() }
}

/// The file, and why it could not be written: its disk is another one than the store's.
struct Destination {
    file: File,
    failed: Arc<OnceLock<String>>,
}

impl Write for Destination {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.file.write(octets);
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::Interrupted
        {
            // The first reason is the reason.
            let _ = self.failed.set(error.to_string());
        }
        written
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The server's side.
pub(super) async fn send(stream: &mut UnixStream, context: &Context) -> io::Result<()> {
    socket::write_line(stream, &Response::Backup).await?;
    let (sender, mut pieces) = mpsc::channel::<Bytes>(WAITING);
    let out = Box::new(Pieces { sender, piece: Vec::with_capacity(PIECE) });
    let store = context.store.clone();
    let backup = tokio::spawn(async move { store.backup(out).await });
    let in_time =
        |result: Result<io::Result<()>, _>| result.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    while let Some(piece) = pieces.recv().await {
        let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
        let write = async {
            stream.write_u32(length).await?;
            stream.write_all(&piece).await
        };
        in_time(tokio::time::timeout(SEND_TIMEOUT, write).await)?;
    }
    let done = match backup.await {
        Ok(Ok(summary)) => summary.into(),
        Ok(Err(error)) => Response::Error { message: why(&error) },
        Err(_) => Response::Error { message: "the backup was cut short".to_owned() },
    };
    let end = async {
        stream.write_u32(0).await?;
        socket::write_line(stream, &done).await
    };
    in_time(tokio::time::timeout(SEND_TIMEOUT, end).await)
}

impl From<Summary> for Response {
    fn from(summary: Summary) -> Self {
        let Summary { accounts, messages, octets } = summary;
        Self::BackupDone { accounts, messages, octets }
    }
}

/// Writes a backup of the store behind `config` to `out`: of the running server, or, where none runs, of the store
/// itself. After an error what `out` has got is worth nothing.
pub async fn backup(config: &Config, out: File) -> Result<Summary, AdminError> {
    let path = config.control_socket();
    let fail = |source| AdminError::Socket { path: path.clone(), source };
    let failed = Arc::default();
    let mut out = Destination { file: out, failed: Arc::clone(&failed) };
    match reach(config, || open_existing(config)).await? {
        Reached::Server(stream) => receive(stream, &mut out).await.map_err(|error| match error {
            Receive::Socket(error) => fail(error),
            Receive::Admin(error) => error,
        }),
        Reached::Store(store) => {
            store.backup(Box::new(out)).await.map_err(|error| match (failed.get(), error) {
                (Some(reason), _) => AdminError::Output(reason.clone()),
                (None, error @ StoreError::Full) => AdminError::Refused(why(&error)),
                (None, error) => error.into(),
            })
        }
    }
}

enum Receive {
    Socket(io::Error),
    Admin(AdminError),
}

impl From<io::Error> for Receive {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

async fn receive(stream: UnixStream, out: &mut Destination) -> Result<Summary, Receive> {
    let mut stream = BufReader::with_capacity(PIECE, stream);
    socket::write_line(stream.get_mut(), &Request::Backup).await?;
    match response(&mut stream).await? {
        Response::Backup => {}
        Response::Error { message } => return Err(Receive::Admin(AdminError::Refused(message))),
        _ => return Err(Receive::Admin(AdminError::Answer)),
    }
    let mut piece = vec![0; PIECE];
    loop {
        let next = async {
            let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
            let room = piece.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
            stream.read_exact(room).await
        };
        let length = tokio::time::timeout(RECEIVE_TIMEOUT, next)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if length == 0 {
            break;
        }
        out.write_all(&piece[..length]).map_err(|e| Receive::Admin(AdminError::Output(e.to_string())))?;
    }
    match response(&mut stream).await? {
        Response::BackupDone { accounts, messages, octets } => Ok(Summary { accounts, messages, octets }),
        Response::Error { message } => Err(Receive::Admin(AdminError::Refused(message))),
        _ => Err(Receive::Admin(AdminError::Answer)),
    }
}

async fn response(stream: &mut BufReader<UnixStream>) -> Result<Response, Receive> {
    let mut line = Vec::new();
    stream.take(RESPONSE_MAX).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    serde_json::from_slice(&line).map_err(|_| Receive::Admin(AdminError::Answer))
}

/// Makes the store in `data_dir` out of a backup, as `user` where one is named.
pub async fn restore(archive: File, data_dir: &Path, user: Option<&str>) -> Result<Summary, AdminError> {
    if let Some(user) = user {
        privileges::become_user(user, data_dir)?;
    }
    privileges::check_owner(data_dir)?;
    let folder = data_dir.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        sealpost_store::sqlite::restore(
            io::BufReader::with_capacity(PIECE, archive),
            &folder,
            SystemClock.now(),
        )
    });
    Ok(work.await.map_err(|e| StoreError::Io(io::Error::other(e)))??)
}
