//! A word from `sealpost lock` to a running bridge: a socket in the client's folder, for its owner alone. A line comes, a
//! line goes.

use crate::{
    account::{BridgeError, FOLDER},
    gate::Gate,
};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};

const SOCKET: &str = "control.sock";
const LOCK: &str = "lock";
const DONE: &str = "done";
/// Longest line, in octets: far over a word, and nothing to hold.
const LINE_MAX: u64 = 1024;
/// How long either side may take.
const TIMEOUT: Duration = Duration::from_secs(30);

fn path(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(SOCKET)
}

/// Makes the socket; one that lies there is a dead bridge's, since this one holds the folder.
pub(crate) fn bind(folder: &Path) -> io::Result<UnixListener> {
    let path = path(folder);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers for the account `number` of the gate.
pub(crate) async fn serve(listener: UnixListener, gate: Arc<Gate>, number: usize) {
    loop {
        match listener.accept().await {
            // One after the other: each is short, and limited.
            Ok((stream, _)) => match timeout(TIMEOUT, answer(stream, &gate, number)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("control socket: {error}"),
                Err(_) => tracing::warn!("control socket: no line came in time"),
            },
            Err(error) => {
                tracing::warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, gate: &Gate, number: usize) -> io::Result<()> {
    let Some(slot) = gate.slots.get(number) else { return Ok(()) };
    // The mode is set after the bind; this closes the moment between the two.
    let owner = fs::metadata(slot.folder())?.uid();
    let peer = stream.peer_cred()?.uid();
    if peer != owner && peer != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let answer = match line(&mut stream).await?.as_str() {
        LOCK => match slot.lock().await {
            Ok(()) => DONE.to_owned(),
            Err(error) => error.to_string().replace('\n', " "),
        },
        _ => "the request was not understood".to_owned(),
    };
    stream.write_all(format!("{answer}\n").as_bytes()).await
}

async fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

/// Tells the bridge of a client's folder to let go of its keys; `false` where none runs.
pub async fn tell_to_lock(folder: &Path) -> Result<bool, BridgeError> {
    let ask = async {
        let mut stream = match UnixStream::connect(path(folder)).await {
            Ok(stream) => stream,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        stream.write_all(format!("{LOCK}\n").as_bytes()).await?;
        line(&mut stream).await.map(Some)
    };
    let answer = timeout(TIMEOUT, ask).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match answer {
        Ok(None) => Ok(false),
        Ok(Some(answer)) if answer == DONE => Ok(true),
        Ok(Some(why)) => Err(BridgeError::Settings(format!("the running bridge did not lock: {why}"))),
        Err(error) => Err(BridgeError::Settings(format!(
            "the device is locked, but the running bridge could not be told ({error}); it notices within a minute, or stop it"
        ))),
    }
}
