//! Mail as anybody can send it: the envelope and the octets that the attacker likes, without a login.

use crate::lines::Lines;
use std::{io, net::SocketAddr};
use tokio::net::TcpStream;

/// Hands `message` (CRLF line ends) to the server at `server` for `to`.
pub async fn post(server: SocketAddr, from: &str, to: &str, message: &[u8]) -> io::Result<()> {
    let mut stream = Lines::new(TcpStream::connect(server).await?);
    expect(&mut stream, '2').await?;
    let size = format!("BDAT {} LAST\r\n", message.len());
    let text = String::from_utf8_lossy(message).into_owned();
    for (say, code) in [
        ("EHLO attacker.example\r\n".to_owned(), '2'),
        (format!("MAIL FROM:<{from}>\r\n"), '2'),
        (format!("RCPT TO:<{to}>\r\n"), '2'),
        (size + &text, '2'),
        ("QUIT\r\n".to_owned(), '2'),
    ] {
        stream.say(&say).await?;
        expect(&mut stream, code).await?;
    }
    Ok(())
}

async fn expect(stream: &mut Lines<TcpStream>, class: char) -> io::Result<()> {
    let reply = stream.reply().await?;
    if reply[0].starts_with(class) { Ok(()) } else { Err(io::Error::other(reply.join(" / "))) }
}
