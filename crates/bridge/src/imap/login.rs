//! Before a session is signed in: the bridge answers alone.

use super::{
    End, PASSED, Result,
    ends::{Program, Server},
    one_line,
    resume::{PATIENCE, RETRY},
};
use crate::{
    account::Account,
    gate::{Gate, NoEntry},
};
use sealpost_client::{bridge::MailConnection, error::ClientError};
use sealpost_proto::{
    imap::{Body, Received, Secret, Tag, parse},
    sasl::{Credentials, Exchange, Mechanism, Step},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};
use zeroize::Zeroizing;

/// Before login.
const CAPABILITIES: &str = "IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE AUTH=PLAIN AUTH=LOGIN";
/// A wrong password waits so long: other programs on this machine may guess.
const WRONG: Duration = Duration::from_secs(2);
/// Wrong passwords of one connection.
const WRONG_MAX: u32 = 3;
/// Longest line of a SASL exchange: that of the server (RFC 4954's limit).
const SASL_LINE_MAX: usize = 12_288;

type SignedIn = (Arc<Account>, Server, String);

/// Greets and waits for a login; `None` where the mail program left without one.
pub(super) async fn login<S: AsyncRead + AsyncWrite + Unpin + Send>(
    program: &mut Program<S>,
    gate: &Gate,
) -> Result<Option<SignedIn>> {
    program.line(&format!("* OK [CAPABILITY {CAPABILITIES}] Sealpost bridge"));
    let mut wrong = 0;
    loop {
        program.flush().await?;
        match program.receiver.receive(&mut program.input) {
            Received::More => {
                program.fill().await?;
                continue;
            }
            Received::Literal(head) => {
                if program.receiver.accept_literal(head) {
                    if head.sync {
                        program.line("+ Go on");
                    }
                    continue;
                }
                program.line("* BYE The literal is too long");
                return Ok(None);
            }
            Received::TooLong | Received::Endless => {
                program.line("* BYE The command is too long");
                return Ok(None);
            }
            Received::Whole => {}
        }
        let octets = program.receiver.take();
        let command = match parse::command(&octets, sealpost_proto::imap::Names::Utf7) {
            Ok(command) => command,
            Err(bad) => {
                let tag = bad.tag.as_ref().map_or("*", Tag::as_str).to_owned();
                program.line(&format!("{tag} BAD {}", bad.error));
                continue;
            }
        };
        let tag = command.tag;
        let (user, password) = match command.body {
            Body::Capability => {
                program.line(&format!("* CAPABILITY {CAPABILITIES}"));
                program.done(&tag, "OK CAPABILITY completed");
                continue;
            }
            Body::Noop => {
                program.done(&tag, "OK NOOP completed");
                continue;
            }
            Body::Id(_) => {
                program.line("* ID (\"name\" \"Sealpost bridge\")");
                program.done(&tag, "OK ID completed");
                continue;
            }
            Body::Logout => {
                program.line("* BYE Goodbye");
                program.done(&tag, "OK LOGOUT completed");
                program.flush().await?;
                return Ok(None);
            }
            Body::Login { user, password } => {
                (String::from_utf8_lossy(&user).into_owned(), Zeroizing::new(password.expose().to_vec()))
            }
            Body::Authenticate { mechanism, initial } => {
                match sasl(program, mechanism.as_str(), initial.as_ref()).await? {
                    Ok(credentials) => credentials,
                    Err(text) => {
                        program.done(&tag, text);
                        continue;
                    }
                }
            }
            _ => {
                program.done(&tag, "BAD Sign in first");
                continue;
            }
        };
        let account = match gate.enter(&user, &password).await {
            Ok(account) => account,
            Err(NoEntry::Closed(why)) => {
                unavailable(program, &tag, &why);
                program.flush().await?;
                return Ok(None);
            }
            Err(NoEntry::Wrong) => {
                tokio::time::sleep(WRONG).await;
                program.done(
                &tag,
                "NO [AUTHENTICATIONFAILED] Not the password that `sealpost bridge info` shows for this address",
            );
                wrong += 1;
                if wrong >= WRONG_MAX {
                    program.line("* BYE Too many wrong passwords");
                    return Ok(None);
                }
                continue;
            }
        };
        match reach(program, &account).await? {
            Ok(connection) => {
                let capabilities = passed(&connection.capabilities);
                program.done(&tag, &format!("OK [CAPABILITY {capabilities}] Signed in"));
                return Ok(Some((account, Server::new(connection), capabilities)));
            }
            Err(error) => {
                let text = error.to_string();
                if matches!(error, ClientError::SignIn(_)) {
                    program.done(&tag, &format!("NO [AUTHENTICATIONFAILED] {}", one_line(&text)));
                    continue;
                }
                unavailable(program, &tag, &text);
                program.flush().await?;
                return Ok(None);
            }
        }
    }
}

/// Refuses a login that may work later. Behind a BYE, programs do not take the NO for a wrong password and ask for another.
fn unavailable<S: AsyncRead + AsyncWrite + Unpin + Send>(program: &mut Program<S>, tag: &Tag, why: &str) {
    let text = one_line(why);
    program.bye(&format!("[UNAVAILABLE] {text}"));
    program.done(tag, &format!("NO [UNAVAILABLE] {text}"));
}

/// Signs in to the home server; where it is not there, for as long as mail programs have patience.
async fn reach<S: AsyncRead + AsyncWrite + Unpin + Send>(
    program: &mut Program<S>,
    account: &Account,
) -> Result<std::result::Result<MailConnection, ClientError>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match program.meanwhile(account.client.mail_connection(), || {}).await? {
            Err(ClientError::Away(why)) if Instant::now() < until => {
                tracing::debug!("the mail server is not there yet: {why}");
                sleep(RETRY).await;
            }
            other => return Ok(other),
        }
    }
}

/// What of the server's capabilities the bridge passes on.
fn passed(capabilities: &[String]) -> String {
    let is_passed = |capability: &&String| {
        let name = capability
            .split_once('=')
            .filter(|(name, _)| *name == "APPENDLIMIT")
            .map_or(capability.as_str(), |(name, _)| name);
        PASSED.iter().any(|passed| passed.eq_ignore_ascii_case(name))
    };
    capabilities.iter().filter(is_passed).map(String::as_str).collect::<Vec<_>>().join(" ")
}

type Found = std::result::Result<(String, Zeroizing<Vec<u8>>), &'static str>;

/// AUTHENTICATE PLAIN and LOGIN.
async fn sasl<S: AsyncRead + AsyncWrite + Unpin + Send>(
    program: &mut Program<S>,
    mechanism: &str,
    initial: Option<&Secret>,
) -> Result<Found> {
    let Some(mechanism @ (Mechanism::Plain | Mechanism::Login)) = Mechanism::from_name(mechanism) else {
        return Ok(Err("NO [CANNOT] The bridge takes PLAIN and LOGIN"));
    };
    let malformed = "BAD Malformed credentials";
    let mut exchange = Exchange::new(mechanism);
    let Ok(mut step) = exchange.start(initial.map(Secret::expose)) else { return Ok(Err(malformed)) };
    loop {
        match step {
            Step::Challenge(octets) => {
                program.line(&format!("+ {}", sealpost_proto::base64::encode(&octets)));
                program.flush().await?;
            }
            Step::Done(Credentials::AppPassword { user, token }) => {
                return Ok(Ok((user, Zeroizing::new(token.as_bytes().to_vec()))));
            }
            _ => return Ok(Err(malformed)),
        }
        let line = loop {
            if let Some(at) = memchr::memchr(b'\n', &program.input) {
                break Zeroizing::new(program.input.split_to(at + 1).trim_ascii().to_vec());
            }
            if program.input.len() > SASL_LINE_MAX {
                return Err(End::Io(io::ErrorKind::InvalidData.into()));
            }
            program.fill().await?;
        };
        match exchange.line(&line) {
            Ok(next) => step = next,
            Err(_) => return Ok(Err(malformed)),
        }
    }
}
