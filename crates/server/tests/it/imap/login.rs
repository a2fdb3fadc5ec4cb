//! Profile §4 in IMAP: what is offered when, and each way in and each refusal.

use super::harness::{ALICE, Client, HASH, Server, TOKEN};
use sealpost_proto::base64;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

fn message(hash: &str) -> String {
    base64::encode(format!("\0{ALICE}\0{hash}"))
}

#[tokio::test]
async fn r02_hashedpass_is_neither_offered_nor_taken_without_tls() {
    let server = Server::start().await;
    let mut client = Client::over(TcpStream::connect(server.imap).await.unwrap());
    let greeting = client.line().await;
    assert!(greeting.contains("STARTTLS LOGINDISABLED") && !greeting.contains("AUTH="), "{greeting}");
    let refused =
        client.refused(&format!("AUTHENTICATE HASHEDPASS {}", message(&base64::encode(HASH)))).await;
    assert!(refused.starts_with("NO [PRIVACYREQUIRED]"), "{refused}");
    let refused = client.refused(&format!("LOGIN {ALICE} {TOKEN}")).await;
    assert!(refused.starts_with("NO [PRIVACYREQUIRED]"), "{refused}");
    assert!(client.refused("SELECT INBOX").await.starts_with("BAD"));
}

#[tokio::test]
async fn starttls_throws_away_what_was_pipelined() {
    let server = Server::start().await;
    let mut client = Client::over(TcpStream::connect(server.imap).await.unwrap());
    client.line().await;
    client.send("a STARTTLS\r\nb NOOP\r\nc LOGOUT\r\n").await;
    assert!(client.line().await.starts_with("a OK"));
    let name = rustls::pki_types::ServerName::try_from("mail.example.net").unwrap();
    let tls = server.connector.connect(name, client.stream).await.unwrap();
    let mut client = Client::over(tls);
    let capabilities = client.ok("CAPABILITY").await;
    assert_eq!(capabilities.len(), 1, "{capabilities:?}");
    for needed in ["AUTH=HASHEDPASS", "AUTH=PLAIN", "AUTH=LOGIN", "SASL-IR", "IMAP4rev1"] {
        assert!(capabilities[0].split(' ').any(|c| c == needed), "{needed}");
    }
    assert!(!capabilities[0].contains("STARTTLS"));
    assert!(client.refused("STARTTLS").await.starts_with("BAD"));
    client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
}

#[tokio::test]
async fn r15_hashedpass_in_one_step_and_nothing_follows_the_ok() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.ok(&format!("AUTHENTICATE HASHEDPASS {}", message(&base64::encode(HASH)))).await;
    // A salt line would stand before the next reply.
    let untagged = client.ok("NOOP").await;
    assert!(untagged.is_empty(), "{untagged:?}");
    client.ok("SELECT INBOX").await;
    assert!(client.refused(&format!("LOGIN {ALICE} {TOKEN}")).await.starts_with("BAD"));
}

#[tokio::test]
async fn r15_hashedpass_in_two_steps_without_initial_response() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send("a AUTHENTICATE HASHEDPASS\r\n").await;
    assert_eq!(client.stream_line().await, "+ ");
    client.send(format!("{}\r\n", message(""))).await;
    let challenge = client.line().await;
    let challenge = base64::decode(challenge.strip_prefix("+ ").unwrap()).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    assert_eq!(challenge, "$argon2id$v=19$m=65536,t=3,p=1$AwMDAwMDAwMDAwMDAwMDAw");
    client.send(format!("{}\r\n", message(&base64::encode(HASH)))).await;
    assert!(client.line().await.starts_with("a OK"));
}

#[tokio::test]
async fn wrong_logins_are_authenticationfailed_and_malformed_ones_bad() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let wrong = message(&base64::encode([8; 32]));
    let unknown = base64::encode(format!("\0nobody@example.net\0{}", base64::encode(HASH)));
    let plain_with_main_hash = base64::encode(format!("\0{ALICE}\0{}", base64::encode(HASH)));
    for (command, start) in [
        (format!("AUTHENTICATE HASHEDPASS {wrong}"), "NO [AUTHENTICATIONFAILED]"),
        (format!("AUTHENTICATE HASHEDPASS {unknown}"), "NO [AUTHENTICATIONFAILED]"),
        (format!("AUTHENTICATE PLAIN {plain_with_main_hash}"), "NO [AUTHENTICATIONFAILED]"),
        (format!("LOGIN {ALICE} wrong"), "NO [AUTHENTICATIONFAILED]"),
        ("AUTHENTICATE HASHEDPASS =".to_owned(), "BAD"),
        ("AUTHENTICATE HASHEDPASS AAA".to_owned(), "BAD"),
        (format!("AUTHENTICATE HASHEDPASS {}", base64::encode("x\0y\0z")), "BAD"),
        (
            format!(
                "AUTHENTICATE HASHEDPASS {}",
                base64::encode(format!("\0Alice@example.net\0{}", base64::encode(HASH)))
            ),
            "BAD",
        ),
        ("AUTHENTICATE CRAM-MD5".to_owned(), "NO"),
    ] {
        let status = client.refused(&command).await;
        assert!(status.starts_with(start), "{command}: {status}");
    }
    client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
}

#[tokio::test]
async fn a_star_cancels() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.send("a AUTHENTICATE HASHEDPASS\r\n").await;
    client.stream_line().await;
    client.send("*\r\n").await;
    assert!(client.line().await.starts_with("a BAD"));
    client.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
}

#[tokio::test]
async fn plain_and_login_take_app_passwords() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.ok(&format!("AUTHENTICATE PLAIN {}", base64::encode(format!("\0{ALICE}\0{TOKEN}")))).await;
    let mut client = server.connect().await;
    client.send("a AUTHENTICATE LOGIN\r\n").await;
    assert_eq!(client.line().await, format!("+ {}", base64::encode("Username:")));
    client.send(format!("{}\r\n", base64::encode(ALICE))).await;
    assert_eq!(client.line().await, format!("+ {}", base64::encode("Password:")));
    client.send(format!("{}\r\n", base64::encode(TOKEN))).await;
    assert!(client.line().await.starts_with("a OK"));
    let mut client = server.connect().await;
    // User and password as literals, one of them synchronising.
    client.send(format!("a LOGIN {{{}+}}\r\n{ALICE} {{{}}}\r\n", ALICE.len(), TOKEN.len())).await;
    assert!(client.line().await.starts_with('+'));
    client.send(format!("{TOKEN}\r\n")).await;
    assert!(client.line().await.starts_with("a OK"));
}

#[tokio::test]
async fn too_many_failures_are_bye() {
    let server = Server::start_with("failed_logins = 1").await;
    let mut client = server.connect().await;
    assert!(client.refused(&format!("LOGIN {ALICE} wrong")).await.starts_with("NO [AUTH"));
    client.send(format!("a LOGIN {ALICE} {TOKEN}\r\n")).await;
    assert!(client.line().await.starts_with("* BYE"));
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn a_session_is_closed_with_bye_when_the_account_is() {
    let server = Server::start().await;
    let mut client = server.inbox().await;
    let mut idle = server.inbox().await;
    idle.send("a IDLE\r\n").await;
    assert!(idle.line().await.starts_with('+'));
    server.ctx.auth.close_sessions(server.account, None);
    assert!(client.line().await.starts_with("* BYE"));
    assert!(idle.line().await.starts_with("* BYE"));
    let _ = idle.stream.shutdown().await;
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    /// A line with its trailing space kept: `+ `.
    async fn stream_line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.octets(1).await);
        }
        String::from_utf8(line[..line.len() - 2].to_vec()).unwrap()
    }
}
