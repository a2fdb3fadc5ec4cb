//! One connection: octets in and out, plain or TLS.

mod deflate;

use bytes::BytesMut;
use deflate::Inflater;
use sealpost_proto::sasl::Binding;
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Octets taken at most at each read: large enough to keep bodies moving.
const READ_STEP: usize = 16 * 1024;
/// How long a client may take to read what was sent (one call of [`Conn::write`]); RFC 5321 §4.5.3.2 gives 5
/// minutes for a command, and a client that does not read for that long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a connection runs over: a socket, or a pair of buffers in tests with a paused clock.
pub trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// A client's connection.
pub struct Conn {
    /// Received and not yet consumed octets.
    pub input: BytesMut,
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The hash of the certificate that the client was shown, for channel bindings.
    end_point: Option<Arc<[u8]>>,
    /// Set where both sides compress.
    inflater: Option<Inflater>,
    stream: Stream,
}

enum Stream {
    Plain(Box<dyn Io>),
    Tls(Box<TlsStream<Box<dyn Io>>>),
}

impl Stream {
    async fn read(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(s) => poll_fn(|cx| poll_read(Pin::new(s), cx, input)).await,
            Self::Tls(s) => match poll_fn(|cx| poll_read(Pin::new(s.as_mut()), cx, input)).await {
                // Many programs close without close_notify; every protocol here has its own end marks.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

thread_local! {
    /// Where octets arrive, one place for all sessions of a thread: thousands that wait need no room of their own.
    static ARRIVALS: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_STEP].into());
}

/// Reads once, into the thread's place, and from there to the end of `input`.
fn poll_read<S: AsyncRead + ?Sized>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    ARRIVALS.with_borrow_mut(|arrivals| {
        let mut arrived = ReadBuf::new(arrivals);
        ready!(stream.poll_read(cx, &mut arrived))?;
        let octets = arrived.filled_mut();
        input.extend_from_slice(octets);
        // They may be a login hash, and the place outlives the session.
        octets.fill(0);
        Poll::Ready(Ok(octets.len()))
    })
}

impl Conn {
    /// Takes an accepted socket; turns off Nagle's algorithm, since replies are small and waited for.
    pub fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let (peer, local) = (socket.peer_addr()?, socket.local_addr()?);
        Ok(Self::over(Box::new(socket), peer, local))
    }

    /// Takes any stream.
    pub fn over(stream: Box<dyn Io>, peer: SocketAddr, local: SocketAddr) -> Self {
        Self {
            input: BytesMut::new(),
            peer,
            local,
            end_point: None,
            inflater: None,
            stream: Stream::Plain(stream),
        }
    }

    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Reads more into `input`; 0 at the end. Idle time-outs are the caller's. Cancel safe: nothing read is lost
    /// when the future is dropped.
    pub async fn read(&mut self) -> io::Result<usize> {
        if self.input.is_empty() {
            // What it held has been handed on; a session that waits keeps no room for what may come.
            self.input = BytesMut::new();
        }
        let Self { stream, input, inflater, .. } = self;
        let Some(inflater) = inflater else { return stream.read(input).await };
        loop {
            // Octets that inflate to nothing are no news: the time-outs run on.
            if inflater.has_more() {
                let octets = inflater.inflate(input)?;
                if octets > 0 {
                    return Ok(octets);
                }
                continue;
            }
            let mut octets = BytesMut::new();
            if stream.read(&mut octets).await? == 0 {
                return Ok(0);
            }
            inflater.take(&mut octets);
        }
    }

    /// Whether both sides compress.
    pub fn is_compressed(&self) -> bool {
        self.inflater.is_some()
    }

    /// From here on both sides compress (RFC 4978 §3): what lies in `input` came behind the command that asked for it,
    /// and is compressed already.
    pub fn compress(&mut self) {
        self.inflater = Some(Inflater::new(std::mem::take(&mut self.input)));
    }

    /// [`Conn::read`] before `deadline`, `None` behind it: octets that never pause do not put it off.
    pub async fn read_by(&mut self, deadline: Instant) -> io::Result<Option<usize>> {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::timeout_at(deadline, self.read()).await.ok().transpose()
    }

    /// Writes all and flushes; an error after `WRITE_TIMEOUT`.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let compressed;
        let bytes = if self.is_compressed() {
            compressed = deflate::compressed(bytes)?;
            &compressed
        } else {
            bytes
        };
        let work = async {
            match &mut self.stream {
                Stream::Plain(s) => {
                    s.write_all(bytes).await?;
                    s.flush().await
                }
                Stream::Tls(s) => {
                    s.write_all(bytes).await?;
                    s.flush().await
                }
            }
        };
        tokio::time::timeout(WRITE_TIMEOUT, work).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// STARTTLS: throws away `input` (RFC 3207 §4.2), shakes hands.
    pub async fn start_tls(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let Stream::Plain(stream) = self.stream else {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "TLS is on already"));
        };
        let tls = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(Self {
            input: BytesMut::new(),
            peer: self.peer,
            local: self.local,
            end_point: None,
            inflater: None,
            stream: Stream::Tls(Box::new(tls)),
        })
    }

    /// Says goodbye (TLS close_notify) and closes. Errors do not matter any more.
    pub async fn close(mut self) {
        let work = async {
            match &mut self.stream {
                Stream::Plain(s) => s.shutdown().await,
                Stream::Tls(s) => s.shutdown().await,
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), work).await;
    }

    /// TLS version and cipher suite, for the trace header (RFC 8314 §4.3).
    pub fn tls_description(&self) -> Option<String> {
        let Stream::Tls(s) = &self.stream else { return None };
        let (_, session) = s.get_ref();
        let version = match session.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLS1.2",
            rustls::ProtocolVersion::TLSv1_3 => "TLS1.3",
            _ => "TLS",
        };
        let suite = session.negotiated_cipher_suite()?.suite();
        Some(format!("{version} {}", suite.as_str().unwrap_or("unknown")))
    }

    /// Says which certificate the client was shown (its hash after RFC 5929 §4.1).
    #[must_use]
    pub fn with_end_point(self, hash: Option<Arc<[u8]>>) -> Self {
        Self { end_point: hash, ..self }
    }

    /// Whether SCRAM can be bound to this connection.
    pub fn can_bind(&self) -> bool {
        self.tls_1_3().is_some() || self.end_point.is_some()
    }

    /// The octets of a channel binding; `None` where this connection has none of that kind.
    pub fn binding(&self, kind: Binding) -> Option<Vec<u8>> {
        match kind {
            // Before TLS 1.3 it would take the extended master secret (RFC 9266 §4.2), which rustls does not tell of.
            Binding::TlsExporter => {
                let exported =
                    self.tls_1_3()?.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
                exported.ok().map(|octets| octets.to_vec())
            }
            Binding::TlsServerEndPoint => self.end_point.as_deref().map(<[u8]>::to_vec),
        }
    }

    fn tls_1_3(&self) -> Option<&rustls::ServerConnection> {
        let Stream::Tls(s) = &self.stream else { return None };
        let connection = s.get_ref().1;
        (connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)).then_some(connection)
    }
}
