//! A client whose next octets are always there already, on a paused clock that each read moves on: no wait of the
//! server's ever begins, so none of them can end.

use std::{
    future::Future as _,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

pub(crate) struct Torrent {
    octets: &'static [u8],
    /// What each read takes of the paused clock.
    step: Duration,
    /// It ends then, so that a server that never ends it fails the test.
    end: Instant,
    said: Arc<Mutex<Vec<u8>>>,
}

/// What the server said to it.
#[derive(Clone)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Torrent {
    /// `octets` again and again, once in each `step`, for at most `length`.
    pub(crate) fn new(octets: &'static [u8], step: Duration, length: Duration) -> (Self, Said) {
        let said = Arc::new(Mutex::new(Vec::new()));
        (Self { octets, step, end: Instant::now() + length, said: said.clone() }, Said(said))
    }
}

impl AsyncRead for Torrent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if Instant::now() < self.end {
            // The clock has moved once this was polled; what it waits for is the runtime's turn.
            let _ = pin!(tokio::time::advance(self.step)).poll(cx);
            buf.put_slice(self.octets);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Torrent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.said.lock().unwrap().extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
