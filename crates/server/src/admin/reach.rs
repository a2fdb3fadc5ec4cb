//! What an administrator's command works on: the running server, or the store itself.

use super::AdminError;
use crate::config::Config;
use sealpost_store::{StoreError, sqlite::SqliteStore};
use std::{future::Future, io, sync::Arc, time::Duration};
use tokio::{net::UnixStream, time::Instant};

/// How long a store may be in use without anybody at its control socket: a server that is starting opens the socket
/// behind the store, one that is ending leaves the store behind the socket, and another command takes moments.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Who answers.
pub(super) enum Reached {
    /// A server runs.
    Server(UnixStream),
    /// None does, and its lock keeps one out meanwhile.
    Store(Arc<SqliteStore>),
}

/// The running server behind `config`; where none runs, the store as `open` opens it.
pub(super) async fn reach<F>(config: &Config, open: impl Fn() -> F) -> Result<Reached, AdminError>
where
    F: Future<Output = Result<Arc<SqliteStore>, AdminError>>,
{
    let path = config.control_socket();
    let start = Instant::now();
    loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => return Ok(Reached::Server(stream)),
            Err(error) if nobody_there(&error) => {}
            Err(source) => return Err(AdminError::Socket { path, source }),
        }
        match open().await {
            Err(AdminError::Store(StoreError::Locked)) if start.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            opened => return opened.map(Reached::Store),
        }
    }
}

/// No server listens at the socket.
fn nobody_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::admin::{Request, Response, call};

    struct World {
        config: Config,
        _dir: tempfile::TempDir,
        lock: std::fs::File,
    }

    /// A store that is locked, as by a server that has not come to its control socket.
    fn world() -> World {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        drop(SqliteStore::open(&folder).unwrap());
        let lock = std::fs::File::open(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let file = dir.path().join("sealpost.toml");
        let text = "hostname = \"mail.example.net\"\ndomains = [\"example.net\"]\ndata_dir = \"data\"\n\
                    [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[listen]\nsmtp = \"127.0.0.1:0\"\n";
        std::fs::write(&file, text).unwrap();
        World { config: Config::load(&file).unwrap(), _dir: dir, lock }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_starting_or_ending_is_waited_for() {
        let world = world();
        let release = async {
            tokio::time::sleep(PATIENCE / 2).await;
            world.lock.unlock().unwrap();
        };
        let (answer, ()) = tokio::join!(call(&world.config, Request::UserList), release);
        assert!(matches!(answer.unwrap(), Response::Users { users } if users.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stays_in_use_is_told() {
        let world = world();
        let answer = call(&world.config, Request::UserList).await;
        assert!(matches!(answer, Err(AdminError::Store(StoreError::Locked))));
    }
}
