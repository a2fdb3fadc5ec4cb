//! Lines and replies of SMTP as the man in the middle reads them. He is patient and takes any length: what he bounds
//! is himself, by ending with his connection.

use std::io;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

/// A connection read by lines.
pub(crate) struct Lines<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Lines<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The stream; what was read ahead is lost, as STARTTLS asks for.
    pub(crate) fn into_inner(self) -> S {
        self.0.into_inner()
    }

    /// A line without its end; `None` at the end of the stream.
    pub(crate) async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.0.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line);
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A whole reply: its lines, each with its code.
    pub(crate) async fn reply(&mut self) -> io::Result<Vec<String>> {
        let mut reply = Vec::new();
        loop {
            let line = self.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let more = line.as_bytes().get(3) == Some(&b'-');
            reply.push(line);
            if !more {
                return Ok(reply);
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes()).await?;
        self.0.flush().await
    }

    pub(crate) async fn say_line(&mut self, line: &str) -> io::Result<()> {
        self.say(&format!("{line}\r\n")).await
    }

    pub(crate) async fn say_reply(&mut self, reply: &[String]) -> io::Result<()> {
        self.say(&(reply.join("\r\n") + "\r\n")).await
    }

    /// Carries `octets` octets on.
    pub(crate) async fn carry<T>(&mut self, to: &mut Lines<T>, octets: u64) -> io::Result<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut payload = (&mut self.0).take(octets);
        tokio::io::copy(&mut payload, &mut to.0).await?;
        to.0.flush().await
    }

    /// Reads what comes until it ends; for one who no longer answers.
    pub(crate) async fn drain(&mut self) -> io::Result<()> {
        tokio::io::copy(&mut self.0, &mut tokio::io::sink()).await.map(|_| ())
    }
}
