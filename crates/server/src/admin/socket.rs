//! The control socket: one line of JSON in, one line of JSON out, for the server's own user and root alone.

use super::{Admin, AdminError, Request, Response, backup};
use crate::{config::Config, context::Context, run::RunError};
use std::{
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use zeroize::Zeroizing;

/// Longest request: an address, a name, a token.
const REQUEST_MAX: u64 = 64 * 1024;
/// Longest response: a list of a hundred thousand accounts or queue entries.
const RESPONSE_MAX: u64 = 64 * 1024 * 1024;
/// How long either side may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes the socket, readable and writable by its owner alone. One that lies there is a dead server's: ours holds
/// the store's lock.
pub(crate) fn bind(context: &Context) -> Result<UnixListener, RunError> {
    let path = context.config.control_socket();
    let fail = |source| RunError::Bind { address: path.display().to_string(), source };
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(fail)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

/// Answers until the shutdown.
pub(crate) async fn serve(listener: UnixListener, context: Context) {
    let mut stopping = context.shutdown.clone();
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let context = context.clone();
        tasks.spawn(async move {
            if let Err(error) = answer(stream, &context).await {
                tracing::warn!(%error, "control socket");
            }
        });
    }
}

async fn answer(mut stream: UnixStream, context: &Context) -> io::Result<()> {
    // The mode is set after the bind; this closes the moment between the two.
    let owner = std::fs::metadata(&context.config.data_dir)?.uid();
    let peer = stream.peer_cred()?.uid();
    if peer != owner && peer != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
    let line = read_line(&mut stream, REQUEST_MAX);
    let line = tokio::time::timeout(TIMEOUT, line).await.map_err(timed_out)??;
    let request = serde_json::from_slice(&line);
    if let Ok(Request::Backup) = request {
        // As long as it takes; each piece of it has its time.
        return backup::send(&mut stream, context).await;
    }
    tokio::time::timeout(TIMEOUT, respond(&mut stream, request, context)).await.map_err(timed_out)?
}

async fn respond(
    stream: &mut UnixStream,
    request: serde_json::Result<Request>,
    context: &Context,
) -> io::Result<()> {
    let response = match request {
        Ok(request) => {
            let admin = Admin {
                config: &context.config,
                store: context.store.as_ref(),
                clock: context.clock.as_ref(),
                auth: Some(&context.auth),
            };
            admin.handle(request).await
        }
        // The error's text could repeat a token.
        Err(_) => Response::Error { message: "the request was not understood".to_owned() },
    };
    write_line(stream, &response).await
}

/// Asks the server behind `config`'s control socket, which is `stream`.
pub(super) async fn ask(
    config: &Config,
    mut stream: UnixStream,
    request: &Request,
) -> Result<Response, AdminError> {
    let fail = |source| AdminError::Socket { path: config.control_socket(), source };
    let work = async {
        write_line(&mut stream, request).await?;
        read_line(&mut stream, RESPONSE_MAX).await
    };
    let line = tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| fail(io::ErrorKind::TimedOut.into()))?
        .map_err(fail)?;
    serde_json::from_slice(&line).map_err(|_| AdminError::Answer)
}

async fn read_line(stream: &mut UnixStream, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::new());
    BufReader::new(stream.take(max)).read_until(b'\n', &mut line).await?;
    if line.last() == Some(&b'\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

pub(super) async fn write_line(stream: &mut UnixStream, value: &impl serde::Serialize) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(value)?);
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}
