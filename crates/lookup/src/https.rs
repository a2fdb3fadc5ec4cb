//! The one HTTPS request there is: GET of an MTA-STS policy (RFC 8461 §3.3). No redirects, no cookies, no compression,
//! bounded in time and size.

use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// The whole request; RFC 8461 §3.3 lets a client wait up to a minute.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Octets of status line and header.
const HEADER_MAX: usize = 16 * 1_024;

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the server took too long")]
    Timeout,
    #[error("the server's answer is not HTTP")]
    Syntax,
    #[error("the document is too long")]
    TooLong,
    #[error("the server answered with status {0}")]
    Status(u16),
}

/// Gets `https://host/path` from whichever of `addresses` answers.
pub(crate) async fn get(
    tls: &Arc<rustls::ClientConfig>,
    host: &str,
    addresses: &[std::net::SocketAddr],
    path: &str,
    octets_max: usize,
) -> Result<Vec<u8>, Error> {
    let request = async {
        let tcp = tokio::net::TcpStream::connect(addresses).await?;
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|_| Error::Syntax)?;
        let mut stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Sealpost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        // A document whose end depends on the connection's needs TLS's own end: what was cut short is an error.
        read(&mut stream, octets_max).await
    };
    timeout(TIMEOUT, request).await.map_err(|_| Error::Timeout)?
}

async fn read(stream: &mut (impl AsyncRead + Unpin), octets_max: usize) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    // Chunked framing costs a little more than the document itself.
    let limit = HEADER_MAX + octets_max * 2;
    loop {
        if let Some(body) = parse(&all, false, octets_max)? {
            return Ok(body);
        }
        if all.len() > limit {
            return Err(Error::TooLong);
        }
        if stream.take(8 * 1_024).read_buf(&mut all).await? == 0 {
            return parse(&all, true, octets_max)?.ok_or(Error::Syntax);
        }
    }
}

/// The body, once it is whole; `None` asks for more octets.
pub(crate) fn parse(octets: &[u8], ended: bool, octets_max: usize) -> Result<Option<Vec<u8>>, Error> {
    let Some(end) = octets.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if octets.len() > HEADER_MAX || ended { Err(Error::Syntax) } else { Ok(None) };
    };
    let header = std::str::from_utf8(&octets[..end]).map_err(|_| Error::Syntax)?;
    let body = &octets[end + 4..];
    let mut lines = header.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    if !status.next().is_some_and(|version| version == "HTTP/1.1" || version == "HTTP/1.0") {
        return Err(Error::Syntax);
    }
    let code: u16 = status.next().and_then(|code| code.parse().ok()).ok_or(Error::Syntax)?;
    if code != 200 {
        return Err(Error::Status(code));
    }
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Error::Syntax)?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().map_err(|_| Error::Syntax)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
            if !chunked {
                return Err(Error::Syntax);
            }
        }
    }
    let whole = match (chunked, length) {
        (true, _) => return dechunk(body, octets_max),
        (false, Some(length)) if length > octets_max => return Err(Error::TooLong),
        (false, Some(length)) => body.get(..length),
        (false, None) if body.len() > octets_max => return Err(Error::TooLong),
        (false, None) => ended.then_some(body),
    };
    Ok(whole.map(<[u8]>::to_vec))
}

/// RFC 9112 §7.1.
fn dechunk(mut body: &[u8], octets_max: usize) -> Result<Option<Vec<u8>>, Error> {
    let mut whole = Vec::new();
    loop {
        let Some(end) = body.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&body[..end]).map_err(|_| Error::Syntax)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| Error::Syntax)?;
        if size == 0 {
            return Ok(Some(whole));
        }
        if size > octets_max - whole.len() {
            return Err(Error::TooLong);
        }
        let Some(chunk) = body.get(end + 2..end + 2 + size) else { return Ok(None) };
        whole.extend_from_slice(chunk);
        let Some(rest) = body.get(end + 2 + size..end + 4 + size) else { return Ok(None) };
        if rest != b"\r\n" {
            return Err(Error::Syntax);
        }
        body = &body[end + 4 + size..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(answer: &[u8]) -> Result<Vec<u8>, String> {
        read(&mut &*answer, 100).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn answers() {
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101));
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", Ok("ab")),
            ("HTTP/1.0 200 OK\r\n\r\nabc", Ok("abc")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n",
                Ok("abc"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Err("the server's answer is not HTTP")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
                Err("the server's answer is not HTTP"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
                Err("the document is too long"),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Err("the server's answer is not HTTP")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", Err("the document is too long")),
            (
                "HTTP/1.1 301 Moved\r\nLocation: https://evil\r\n\r\n",
                Err("the server answered with status 301"),
            ),
            ("220 mail ESMTP\r\n\r\n\r\n", Err("the server's answer is not HTTP")),
            ("", Err("the server's answer is not HTTP")),
            (&long, Err("the document is too long")),
            (&endless, Err("the server's answer is not HTTP")),
        ];
        for (answer, expected) in cases {
            let expected = expected.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned);
            assert_eq!(get(answer.as_bytes()).await, expected, "{}", &answer[..answer.len().min(80)]);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(octets: Vec<u8>, body in "([0-9a-fx;]{0,4}|\r\n){0,12}") {
            let _ = parse(&octets, true, 100);
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            if let Ok(Some(document)) = parse(text.as_bytes(), true, 100) {
                proptest::prop_assert!(document.len() <= 100);
            }
        }
    }
}
