//! The client: replies, a whole conversation with a hostile server, and what a transcript shows of it.

use crate::{Rng, seeds};
use bytes::BytesMut;
use sealpost_proto::{
    address::{Address, Mailbox},
    base64,
    drive::{Connection, Envelope, Options, SmtpError, Tls},
    phc::{Challenge, Cost, LoginHash, LoginPhc, Salt},
    smtp::{
        body::{DotReader, Judge},
        client::{
            Capabilities, DotStuffer, Reply, ReplyError, ReplyLimits, ReplyReader, SaltAfterLogin, challenge,
        },
        reply,
    },
    transcript::{DataSummary, Recorder},
};
use std::{cell::OnceCell, fmt::Write as _, io::Cursor, sync::Arc};
use tokio::runtime::{Builder, Runtime};

fn read(pieces: &[&[u8]], limits: ReplyLimits) -> (Vec<Reply>, Option<ReplyError>) {
    let (mut reader, mut input, mut replies) = (ReplyReader::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.next(&mut input, limits) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

/// How replies are cut does not matter; what a server of ours writes, a client of ours reads; message octets come
/// through stuffing and reading unchanged.
pub(crate) fn reply(input: &[u8]) {
    let pieces = Rng::of(input).pieces(input);
    for limits in [ReplyLimits::STANDARD, ReplyLimits::LONG_LINES] {
        let (whole, error) = read(&[input], limits);
        let (cut, cut_error) = read(&pieces, limits);
        assert_eq!(cut, whole, "it matters how the input is cut");
        // A line that is too long and malformed may be called either, by how much of it is there.
        assert_eq!(cut_error.is_some(), error.is_some());
        for reply in whole {
            assert!(!reply.lines().is_empty() && reply.lines().len() <= limits.lines);
            assert!(
                !reply.lines().iter().any(|line| line.chars().any(char::is_control)),
                "a line steers a terminal"
            );
            assert!(reply.to_string().len() <= 3 * 1_024);
            let _ = (Capabilities::from_reply(&reply), reply.enhanced(), challenge(&reply));
            let _ = SaltAfterLogin::default().reply(&reply);
            let lines: Vec<String> = reply.lines().to_vec();
            let written = reply::Reply::lines(reply.code(), lines.clone()).to_bytes();
            let (again, error) = read(&[&written], ReplyLimits::KEYRING);
            assert!(error.is_none() && again.len() == 1, "a reply of ours is not one reply");
            // What is no UTF-8 grew when it was read: writing cuts it to the limit of a line.
            if lines.iter().all(|line| line.len() <= reply::LONG_LINE_MAX - "220-".len()) {
                assert_eq!(again[0].lines(), lines);
            }
        }
    }
    stuffing(input, &pieces);
}

fn stuffing(input: &[u8], pieces: &[&[u8]]) {
    let (mut stuffer, mut wire) = (DotStuffer::default(), Vec::new());
    let sent = pieces.iter().try_for_each(|piece| stuffer.push(piece, &mut wire));
    let sent = sent.and_then(|()| stuffer.finish(&mut wire));
    if input.contains(&0) {
        return; // refused by servers, passed on by the client's half, which has the server's word for it
    }
    let mut judge = Judge::new(u64::MAX);
    judge.update(input);
    assert_eq!(sent.is_ok(), judge.finish().is_none(), "client and server differ about line ends");
    if sent.is_ok() {
        let mut message = Vec::new();
        let (used, end) = DotReader::default().read(&wire, &mut message);
        assert!(end && used == wire.len(), "the end is not the end");
        let whole = message == input || message.strip_suffix(b"\r\n") == Some(input);
        assert!(whole, "another message came out");
    }
}

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|cell| {
        let runtime =
            cell.get_or_init(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
        runtime.block_on(future)
    })
}

/// A connection to a server that says `octets` whatever it hears.
fn connection(octets: Vec<u8>, recorder: &Arc<Recorder>) -> Connection<Tls> {
    let stream = tokio::io::join(Cursor::new(octets), tokio::io::sink());
    let tap: Arc<Recorder> = Arc::clone(recorder);
    Connection::verified_tls(Box::new(stream), Options { tap: Some(tap), ..Options::default() })
}

const GREETING: &[u8] =
    b"220 mail.example.net ESMTP\r\n250-mail.example.net\r\n250-PIPELINING\r\n250-SIZE 9999\r\n\
    250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH HASHEDPASS PLAIN\r\n250 XSEALPOST 1\r\n";

const USER: &str = "alice@example.net";
const TOKEN: &str = "tok3ntok3ntok3ntok3nto";
const CODE: &str = "c0dec0dec0dec0dec0dec0";
const HASH: [u8; 32] = [0xa7; 32];

async fn start(octets: &[u8], recorder: &Arc<Recorder>) -> Option<Connection<Tls>> {
    let mut connection = connection([GREETING, octets].concat(), recorder);
    connection.greeting().await.ok()?;
    connection.ehlo("client.example.org").await.ok()?;
    Some(connection)
}

fn login() -> LoginPhc {
    let salt = Salt::new([0x5c; 16]).expect("16 octets are enough");
    LoginPhc { challenge: Challenge { cost: Cost::DEFAULT, salt }, hash: LoginHash::from_bytes(HASH) }
}

fn user() -> Address {
    Address::parse(USER).expect("an address")
}

/// Greeting, EHLO and every command against octets that were there before anything was asked.
pub(crate) fn conversation(input: &[u8]) {
    let recorder = Arc::new(Recorder::default());
    run(async {
        let mut first = connection(input.to_vec(), &recorder);
        if first.greeting().await.is_ok() && first.hello("client.example.org").await.is_ok() {
            let _ = first.authenticate_hashed_pass(&user(), &LoginHash::from_bytes(HASH)).await;
        }
        let mailboxes = [USER, "bob+x@example.org"].map(|text| Mailbox::parse(text).expect("an address"));
        if let Some(mut second) = start(input, &recorder).await {
            if let Ok(answers) = second.pubkeys(&mailboxes).await {
                assert_eq!(answers.len(), mailboxes.len());
                if let Ok(chains) = second.key_infos(&mailboxes).await {
                    assert_eq!(chains.len(), mailboxes.len());
                }
            }
            let _ = second.keyring().await;
            let _ = second.salt().await;
        }
        send(input, &recorder).await;
    });
    assert!(
        recorder
            .to_text()
            .lines()
            .all(|line| line.starts_with("C: ") || line.starts_with("S: ") || line.starts_with("-- "))
    );
}

async fn send(input: &[u8], recorder: &Arc<Recorder>) {
    let Some(mut connection) = start(input, recorder).await else { return };
    let body = b"Subject: x\r\n\r\n.\r\n..\r\n".to_vec();
    let envelope = Envelope {
        reverse_path: Some(USER.to_owned()),
        recipients: vec!["a@example.org".to_owned(), "b@example.org".to_owned()],
        eight_bit: false,
        smtputf8: false,
        size: body.len() as u64,
    };
    if let Ok(outcome) = connection.send_message(&envelope, Box::new(Cursor::new(body)), |_| {}).await {
        assert_eq!(outcome.recipients.len(), 2, "a recipient without an outcome");
        for reply in outcome.recipients.iter().flatten() {
            assert!(reply.is_positive(), "called sent on {reply}");
        }
    }
}

/// What a hostile server may echo: names in the input stand for the secrets.
fn with_secrets(input: &[u8], secrets: &[(&str, String)]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(input).into_owned();
    for (name, secret) in secrets {
        text = text.replace(name, secret);
    }
    text.into_bytes()
}

fn clean<T>(outcome: &Result<T, SmtpError>, recorder: &Recorder, secrets: &[(&str, String)]) {
    let mut shown = recorder.to_text();
    if let Err(error) = outcome {
        let _ = write!(shown, "{error} {error:?}");
    }
    for (name, secret) in secrets {
        assert!(!shown.contains(secret.as_str()), "{name} shows in: {shown}");
    }
    recorder.take();
}

/// Login hash, app password, code and plain text never show, not even when the server says them back.
pub(crate) fn transcript(input: &[u8]) {
    let hash = base64::encode(HASH);
    let phc = login().to_phc();
    let secrets = [
        ("@HASH@", hash.clone()),
        ("@MESSAGE@", base64::encode(format!("\0{USER}\0{hash}"))),
        ("@PLAIN@", base64::encode(format!("\0{USER}\0{TOKEN}"))),
        ("@TOKEN@", TOKEN.to_owned()),
        ("@CODE@", CODE.to_owned()),
        ("@LOGIN@", base64::encode(phc.as_bytes())),
        ("@PHC@", phc.as_str().to_owned()),
    ];
    let input = with_secrets(input, &secrets);
    let recorder = Arc::new(Recorder::default());
    run(async {
        if let Some(mut c) = start(&input, &recorder).await {
            clean(
                &c.authenticate_hashed_pass(&user(), &LoginHash::from_bytes(HASH)).await,
                &recorder,
                &secrets[..2],
            );
        }
        if let Some(mut c) = start(&input, &recorder).await
            && let Ok(pending) = c.login_challenge(&user()).await
        {
            // What came before the hash was sent is the server's own.
            recorder.take();
            clean(&pending.finish(&LoginHash::from_bytes(HASH)).await, &recorder, &secrets[..2]);
        }
        recorder.take();
        if let Some(mut c) = start(&input, &recorder).await {
            clean(&c.authenticate_plain(USER, TOKEN).await, &recorder, &secrets[2..4]);
        }
        if let Some(mut c) = start(&input, &recorder).await {
            clean(&c.enrol(&user(), CODE, &login()).await, &recorder, &secrets[4..]);
        }
        if let Some(mut c) = start(&input, &recorder).await {
            let statement = seeds::first_statement();
            let key = statement.statement().key.clone();
            clean(&c.change_password(&login(), &key, &statement).await, &recorder, &secrets[5..]);
        }
    });
    summary(&input);
}

/// Of a message, neither the body nor the Subject is shown.
fn summary(input: &[u8]) {
    const PLANTED: &[u8] = b"P1anted-1n-th3-b0dy";
    let message = [b"From: a@example.net\r\nSubject: P1anted-1n-th3-b0dy\r\n P1anted-1n-th3-b0dy\r\n\r\nP1anted-1n-th3-b0dy\r\n", input, PLANTED].concat();
    let mut data = DataSummary::default();
    Rng::of(input).pieces(&message).into_iter().for_each(|piece| data.push(piece));
    let planted = String::from_utf8_lossy(PLANTED).into_owned();
    assert!(!data.lines().iter().any(|line| line.contains(&planted)), "plain text shows: {:?}", data.lines());
}
