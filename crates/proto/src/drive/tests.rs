use super::*;
use crate::smtp::client::{ReplyError, SaltError};
use crate::{address::Mailbox, transcript::Recorder};
use std::io::Cursor;

/// A scripted server: says `greeting`, then for each line it reads that begins with the given text writes the answer.
/// Lines are read up to CRLF; what is read in all is returned.
async fn serve(mut stream: tokio::io::DuplexStream, script: Vec<(&'static str, String)>) -> String {
    let (mut all, mut input) = (String::new(), Vec::new());
    for (expected, answer) in script {
        if !expected.is_empty() {
            let line = loop {
                if let Some(at) = input.windows(2).position(|w| w == b"\r\n") {
                    break input.drain(..at + 2).collect::<Vec<u8>>();
                }
                if stream.read_buf(&mut input).await.unwrap() == 0 {
                    return all;
                }
            };
            let line = String::from_utf8(line).unwrap();
            assert!(line.starts_with(expected), "expected {expected}, got {line}");
            all.push_str(&line);
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return all;
        }
    }
    while stream.read_buf(&mut input).await.is_ok_and(|n| n > 0) {}
    all + &String::from_utf8_lossy(&input)
}

fn start(script: &[(&'static str, &str)]) -> (BoxStream, tokio::task::JoinHandle<String>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1_024);
    let script = script.iter().map(|(line, answer)| (*line, (*answer).to_owned())).collect();
    (Box::new(ours), tokio::spawn(serve(theirs, script)))
}

async fn tls(script: &[(&'static str, &str)], tap: Option<Arc<dyn Tap>>) -> Connection<Tls> {
    let (stream, _) = start(script);
    let mut connection = Connection::verified_tls(stream, Options { tap, timeouts: Timeouts::INTERACTIVE });
    connection.greeting().await.unwrap();
    connection.ehlo("client.example").await.unwrap();
    connection
}

const GREET: (&str, &str) = ("", "220 mail.example.net ready\r\n");
const EHLO: (&str, &str) = (
    "EHLO client.example\r\n",
    "250-mail.example.net\r\n250-PIPELINING\r\n250-AUTH HASHEDPASS PLAIN\r\n250-ENCRYPTMESSAGE\r\n250 XSEALPOST 1\r\n",
);

#[tokio::test]
async fn r02_nothing_said_before_tls_is_believed_in_it() {
    let ehlo = ("EHLO", "250-x\r\n250 STARTTLS\r\n");
    let (stream, _) = start(&[GREET, ehlo, ("STARTTLS", "220 go\r\n250-x\r\n250 ENCRYPTMESSAGE\r\n")]);
    let mut connection = Connection::plain(stream, Options::default());
    connection.greeting().await.unwrap();
    assert!(connection.ehlo("client.example").await.unwrap().has("STARTTLS"));
    let upgraded = connection.starttls(|stream| async { Ok(stream) }).await;
    assert!(matches!(upgraded, Err(SmtpError::Injected)));

    // Half a line is as bad.
    let (stream, _) = start(&[GREET, ehlo, ("STARTTLS", "220 go\r\n2")]);
    let mut connection = Connection::plain(stream, Options::default());
    connection.greeting().await.unwrap();
    connection.ehlo("client.example").await.unwrap();
    assert!(matches!(connection.starttls(|stream| async { Ok(stream) }).await, Err(SmtpError::Injected)));

    // What EHLO offered before TLS is forgotten.
    let (stream, _) =
        start(&[GREET, ("EHLO", "250-x\r\n250 ENCRYPTMESSAGE\r\n"), ("STARTTLS", "220 go\r\n")]);
    let mut connection = Connection::plain(stream, Options::default());
    connection.greeting().await.unwrap();
    assert!(connection.ehlo("client.example").await.unwrap().encrypt_message());
    let upgraded = connection.starttls(|stream| async { Ok(stream) }).await.unwrap();
    assert!(!upgraded.capabilities().encrypt_message());
}

#[tokio::test]
async fn r03_starttls_that_is_refused_is_an_error() {
    let (stream, _) = start(&[GREET, ("STARTTLS", "454 4.7.0 not now\r\n")]);
    let mut connection = Connection::plain(stream, Options::default());
    connection.greeting().await.unwrap();
    let error = connection.starttls(|stream| async { Ok(stream) }).await.err().unwrap();
    assert_eq!(error.code(), Some(454));
}

#[tokio::test]
async fn refuses_what_is_no_server() {
    for (said, expected) in [
        ("554 5.7.1 go away\r\n", "refused"),
        ("SSH-2.0-OpenSSH_9.7\r\n", "syntax"),
        ("220-a\r\n221 b\r\n", "codes"),
        (&"2".repeat(5_000), "line"),
        (&"220-x\r\n".repeat(200), "long"),
        ("", "time"),
    ] {
        let (stream, _server) = start(&[("", said)]);
        tokio::time::pause();
        let error = Connection::plain(stream, Options::default()).greeting().await.unwrap_err();
        tokio::time::resume();
        let found = match error {
            SmtpError::Refused(_) => "refused",
            SmtpError::Reply(ReplyError::Syntax) => "syntax",
            SmtpError::Reply(ReplyError::Codes) => "codes",
            SmtpError::Reply(ReplyError::LineTooLong) => "line",
            SmtpError::Reply(ReplyError::TooLong) => "long",
            SmtpError::Timeout("greeting") => "time",
            other => panic!("{other}"),
        };
        assert_eq!(found, expected, "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_trickles_ends_in_time() {
    let (ours, mut theirs) = tokio::io::duplex(1_024);
    tokio::spawn(async move {
        while theirs.write_all(b"220-still here\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    });
    let started = tokio::time::Instant::now();
    let mut connection = Connection::plain(Box::new(ours), Options::default());
    assert!(matches!(connection.greeting().await, Err(SmtpError::Timeout("greeting"))));
    assert!(started.elapsed() <= Timeouts::INTERACTIVE.greeting + Duration::from_secs(1));
    assert!(matches!(connection.ehlo("x").await, Err(SmtpError::OutOfStep)), "never used again");
}

#[tokio::test]
async fn a_closed_connection_is_said() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    drop(theirs);
    let mut connection = Connection::plain(Box::new(ours), Options::default());
    assert!(matches!(connection.greeting().await, Err(SmtpError::Closed("greeting"))));
}

fn mailboxes(texts: &[&str]) -> Vec<Mailbox> {
    texts.iter().map(|text| Mailbox::parse(text).unwrap()).collect()
}

#[tokio::test]
async fn r10_pubkey_answers_in_order_and_only_220_and_550_are_definite() {
    let mut connection = tls(
        &[
            GREET,
            EHLO,
            ("PUBKEY a@example.net\r\n", "550 No public key available for a@example.net\r\n"),
            ("PUBKEY b@example.net\r\n", "220 ed25519 QUJD\r\n"),
            ("PUBKEY c@example.net\r\n", "450 4.7.1 later\r\n"),
            ("PUBKEY d@example.net\r\n", "551 5.7.1 Not a domain of this server\r\n"),
            ("PUBKEY e@example.net\r\n", "220-ed25519 QUJD\r\n220 x\r\n"),
        ],
        None,
    )
    .await;
    let asked =
        mailboxes(&["a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@Example.NET"]);
    let answers = connection.pubkeys(&asked).await.unwrap();
    assert_eq!(answers[0], PubkeyAnswer::NoKey);
    assert!(matches!(answers[1], PubkeyAnswer::BadKey(_)));
    for answer in &answers[2..] {
        assert!(matches!(answer, PubkeyAnswer::Failed(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn r16_login_and_the_salt() {
    const A: &str = "AAECAwQFBgcICQoLDA0ODw==";
    let user = crate::address::Address::parse("alice@example.net").unwrap();
    let hash = crate::phc::LoginHash::from_bytes([7; 32]);
    let payload = crate::base64::encode(format!("\0alice@example.net\0{}", crate::base64::encode([7; 32])));
    let courtesy = format!("235 2.7.0 Authentication successful\r\n250 SALT {A}\r\n");
    let other = format!("235 ok\r\n250 SALT {}\r\n", crate::base64::encode([9; 16]));
    let salt = format!("220 SALT {A}\r\n");
    let echo = format!("535 5.7.8 no such login {payload}\r\n");
    for (auth, getsalt, expected) in [
        (courtesy.as_str(), salt.as_str(), "ok"),
        ("235 2.7.0 ok\r\n", &salt, "ok"),
        (&other, &salt, "differ"),
        ("235 ok\r\n", "530 5.7.0 Authentication required\r\n", "530"),
        ("535 5.7.8 Authentication credentials invalid\r\n", "", "535"),
        (&echo, "", "535"),
        ("334 \r\n", "501 5.0.0 cancelled\r\n", "334"),
        ("421 4.7.0 too many\r\n", "", "421"),
    ] {
        let recorder = Arc::new(Recorder::default());
        let mut connection =
            tls(&[GREET, EHLO, ("AUTH HASHEDPASS ", auth), ("", getsalt)], Some(recorder.clone())).await;
        let found = match connection.authenticate_hashed_pass(&user, &hash).await {
            Ok(salt) => {
                assert_eq!(salt.as_bytes(), crate::base64::decode(A).unwrap());
                "ok".to_owned()
            }
            Err(SmtpError::Salt(SaltError::Differ)) => {
                assert!(matches!(connection.salt().await, Err(SmtpError::OutOfStep)), "disconnected");
                "differ".to_owned()
            }
            Err(error) => {
                assert!(!error.to_string().contains(&payload), "R18");
                error.code().unwrap().to_string()
            }
        };
        assert_eq!(found, expected, "{auth}");
        // R18: no secret in what is shown, whatever the server echoes.
        let shown = recorder.to_text();
        assert!(shown.contains("C: AUTH HASHEDPASS base64(\\0alice@example.net\\0…)"), "{shown}");
        for secret in [payload.as_str(), &crate::base64::encode([7; 32]), A] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[tokio::test]
async fn r03_no_login_where_hashedpass_is_not_offered() {
    let mut connection = tls(&[GREET, ("EHLO", "250-x\r\n250 AUTH PLAIN LOGIN\r\n")], None).await;
    let user = crate::address::Address::parse("alice@example.net").unwrap();
    let hash = crate::phc::LoginHash::from_bytes([7; 32]);
    let refused = connection.authenticate_hashed_pass(&user, &hash).await;
    assert!(matches!(refused, Err(SmtpError::NotOffered("AUTH HASHEDPASS"))));
    assert!(matches!(connection.login_challenge(&user).await, Err(SmtpError::NotOffered(_))));
    assert!(matches!(connection.keyring().await, Err(SmtpError::NotOffered("XSEALPOST 1"))));
}

/// Found by the fuzzer: a server that says the client's message back one command later had it shown.
#[tokio::test]
async fn r18_a_hash_said_back_to_a_later_command_is_not_shown() {
    let user = crate::address::Address::parse("alice@example.net").unwrap();
    let hash = crate::phc::LoginHash::from_bytes([7; 32]);
    let message = crate::base64::encode(format!("\0{user}\0{}", crate::base64::encode([7; 32])));
    let cancelled = format!("501 5.5.2 {message} cancelled\r\n");
    let no_salt = format!("550 {message}\r\n");
    for script in [
        [("AUTH HASHEDPASS ", "334 \r\n"), ("*", cancelled.as_str())],
        [("AUTH HASHEDPASS ", "235 2.7.0 OK\r\n"), ("GETSALT", no_salt.as_str())],
    ] {
        let tap = Arc::new(Recorder::default());
        let mut connection = tls(&[&[GREET, EHLO], script.as_slice()].concat(), Some(tap.clone())).await;
        let error = connection.authenticate_hashed_pass(&user, &hash).await.unwrap_err();
        let shown = format!("{} {error} {error:?}", tap.to_text());
        assert!(!shown.contains(&message), "{shown}");
    }
}

#[tokio::test]
async fn app_passwords_are_not_shown() {
    let recorder = Arc::new(Recorder::default());
    let script = [GREET, EHLO, ("AUTH PLAIN ", "535 5.7.8 bad token app-token-000001\r\n")];
    let mut connection = tls(&script, Some(recorder.clone())).await;
    let error = connection.authenticate_plain("bob@example.com", "app-token-000001").await.unwrap_err();
    assert!(!error.to_string().contains("app-token") && !recorder.to_text().contains("app-token"));
}

#[tokio::test]
async fn keyring_over_many_lines() {
    let keyring: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let text = crate::base64::encode(&keyring);
    let mut answer = String::new();
    let chunks: Vec<&str> = text.as_bytes().chunks(510).map(|c| std::str::from_utf8(c).unwrap()).collect();
    for (at, chunk) in chunks.iter().enumerate() {
        let mark = if at + 1 == chunks.len() { " " } else { "-" };
        answer.extend(["220", mark, chunk, "\r\n"]);
    }
    let recorder = Arc::new(Recorder::default());
    let script = [
        GREET,
        EHLO,
        ("XKEYRING\r\n", answer.as_str()),
        ("XKEYRING\r\n", "550 none\r\n"),
        ("XKEYRING\r\n", "220 !!\r\n"),
        ("XKEYRING none 3\r\n", ""),
        ("", "554 5.5.1 changed\r\n"),
    ];
    let mut connection = tls(&script, Some(recorder.clone())).await;
    assert_eq!(connection.keyring().await.unwrap(), Some(keyring));
    assert_eq!(connection.keyring().await.unwrap(), None);
    assert!(matches!(connection.keyring().await, Err(SmtpError::Malformed("XKEYRING"))));
    assert_eq!(connection.put_keyring(None, b"abc").await.unwrap_err().code(), Some(554));
    assert!(recorder.to_text().len() < 1_000);
}

fn envelope(recipients: &[&str], size: usize) -> Envelope {
    Envelope {
        reverse_path: Some("a@x".into()),
        recipients: recipients.iter().map(ToString::to_string).collect(),
        eight_bit: false,
        smtputf8: false,
        size: size as u64,
    }
}

async fn send(
    script: &[(&'static str, &str)],
    message: &'static [u8],
) -> (Result<Vec<u16>, SmtpError>, String) {
    let (stream, server) = start(script);
    let mut connection = Connection::plain(stream, Options::default());
    connection.greeting().await.unwrap();
    connection.ehlo("client.example").await.unwrap();
    let outcome = connection
        .send_message(&envelope(&["r1@y", "r2@y"], message.len()), Box::new(Cursor::new(message)), |_| {})
        .await;
    drop(connection);
    let codes = outcome.map(|outcome| {
        let code =
            |r: Result<Reply, Refusal>| r.map_or_else(|refusal| refusal.reply.code(), |reply| reply.code());
        outcome.recipients.into_iter().map(code).collect()
    });
    (codes, server.await.unwrap())
}

#[tokio::test]
async fn data_with_results_for_each_recipient() {
    let ehlo = ("EHLO", "250-x\r\n250 SIZE 100\r\n");
    let (codes, sent) = send(
        &[
            GREET,
            ehlo,
            ("MAIL FROM:<a@x> SIZE=15\r\n", "250 ok\r\n"),
            ("RCPT TO:<r1@y>\r\n", "550 5.1.1 no\r\n"),
            ("RCPT TO:<r2@y>\r\n", "250 ok\r\n"),
            ("DATA\r\n", "354 go\r\n"),
            ("Subject: x\r\n", ""),
            ("\r\n", ""),
            ("..\r\n", ""),
            (".\r\n", "250 queued\r\n"),
        ],
        b"Subject: x\r\n\r\n.",
    )
    .await;
    assert_eq!(codes.unwrap(), [550, 250]);
    assert!(sent.ends_with("\r\n..\r\n.\r\n"), "{sent}");
}

#[tokio::test]
async fn bdat_where_chunking_is_offered() {
    let ehlo = ("EHLO", "250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    let (codes, sent) = send(
        &[
            GREET,
            ehlo,
            ("MAIL FROM:<a@x>\r\n", "250 ok\r\n"),
            ("RCPT TO:<r1@y>\r\n", "250 ok\r\n"),
            ("RCPT TO:<r2@y>\r\n", "452 4.2.2 full\r\n"),
            ("BDAT 10 LAST\r\n", "250 queued\r\n"),
        ],
        b"a\r\n.\r\n..",
    )
    .await;
    // No CRLF at the end of the message: one is added, and counted.
    assert_eq!(codes.unwrap(), [250, 452]);
    assert!(sent.ends_with("BDAT 10 LAST\r\na\r\n.\r\n..\r\n"), "{sent}");
}

#[tokio::test]
async fn refusals_of_the_whole_message() {
    let mail = [GREET, ("EHLO", "250 x\r\n"), ("MAIL", "552 5.3.4 too big\r\n"), ("RSET", "250 ok\r\n")];
    assert_eq!(send(&mail, b"a\r\n").await.0.unwrap(), [552, 552]);
    let ok = ("RCPT", "250 ok\r\n");
    let data = [
        GREET,
        ("EHLO", "250 x\r\n"),
        ("MAIL", "250 ok\r\n"),
        ok,
        ok,
        ("DATA", "451 4.3.0 no\r\n"),
        ("RSET", "250 ok\r\n"),
    ];
    assert_eq!(send(&data, b"a\r\n").await.0.unwrap(), [451, 451]);
    let closing = [GREET, ("EHLO", "250 x\r\n"), ("MAIL", "421 4.3.2 bye\r\n")];
    assert_eq!(send(&closing, b"a\r\n").await.0.unwrap_err().code(), Some(421));
}

#[tokio::test]
async fn bare_line_ends_never_leave() {
    let ok = ("RCPT", "250 ok\r\n");
    let script = [GREET, ("EHLO", "250 x\r\n"), ("MAIL", "250 ok\r\n"), ok, ok, ("DATA", "354 go\r\n")];
    let (result, sent) = send(&script, b"a\n.\r\nMAIL FROM:<evil@x>\r\n").await;
    assert!(matches!(result, Err(SmtpError::Body(_))));
    assert!(!sent.contains("evil"));
}

#[tokio::test]
async fn needs_that_the_server_lacks() {
    for (eight_bit, smtputf8) in [(true, false), (false, true)] {
        let (stream, _) = start(&[GREET, ("EHLO", "250 x\r\n")]);
        let mut connection = Connection::plain(stream, Options::default());
        connection.greeting().await.unwrap();
        connection.ehlo("client.example").await.unwrap();
        let envelope = Envelope { eight_bit, smtputf8, ..envelope(&["r@y"], 3) };
        let outcome = connection.send_message(&envelope, Box::new(Cursor::new(b"a\r\n")), |_| {}).await;
        assert!(matches!(outcome, Err(SmtpError::NotOffered(_))));
    }
}

#[tokio::test]
async fn message_that_lost_its_end_is_not_finished() {
    let (stream, server) = start(&[
        GREET,
        ("EHLO", "250 x\r\n"),
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
    ]);
    let mut connection = Connection::plain(stream, Options::default());
    connection.greeting().await.unwrap();
    connection.ehlo("client.example").await.unwrap();
    let outcome =
        connection.send_message(&envelope(&["r@y"], 100), Box::new(Cursor::new(b"short\r\n")), |_| {}).await;
    assert!(matches!(outcome, Err(SmtpError::Source(_))));
    assert!(matches!(connection.reset().await, Err(SmtpError::OutOfStep)));
    drop(connection);
    assert!(!server.await.unwrap().contains("\r\n.\r\n"));
}

/// Answers every command, each after `pause`, with `answer`; EHLO with two extensions at most.
async fn dawdle(mut stream: tokio::io::DuplexStream, pause: Duration, answer: String) {
    let mut input = Vec::new();
    let _ = stream.write_all(b"220 slow\r\n").await;
    loop {
        while let Some(end) = input.windows(2).position(|w| w == b"\r\n") {
            let line: Vec<u8> = input.drain(..end + 2).collect();
            tokio::time::sleep(pause).await;
            let answer = if line.starts_with(b"EHLO") {
                "250-slow\r\n250-XSEALPOST 1\r\n250 PIPELINING\r\n"
            } else {
                answer.as_str()
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if stream.read_buf(&mut input).await.is_ok_and(|n| n == 0) {
            return;
        }
    }
}

async fn dawdling(pause: Duration, answer: &str) -> Connection<Tls> {
    let (ours, theirs) = tokio::io::duplex(64 * 1_024);
    tokio::spawn(dawdle(theirs, pause, answer.to_owned()));
    let mut connection = Connection::verified_tls(Box::new(ours), Options::default());
    connection.greeting().await.unwrap();
    connection.ehlo("client.example").await.unwrap();
    connection
}

/// Each answer comes in time, and all of them together would take eight hours.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_at_every_step_is_left_after_a_quarter_of_an_hour() {
    let recipients: Vec<String> = (0..1_000).map(|n| format!("r{n}@y")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    for (pause, fits) in [(0, true), (29, false)] {
        let started = tokio::time::Instant::now();
        let mut connection = dawdling(Duration::from_secs(pause), "250 ok\r\n").await;
        let asked = mailboxes(&recipients);
        let answers = connection.pubkeys(&asked).await;
        match answers {
            Ok(answers) => assert!(fits && answers.len() == 1_000),
            Err(error) => assert!(!fits && matches!(error, SmtpError::Timeout("PUBKEY")), "{error}"),
        }
        let limit = Timeouts::INTERACTIVE.session + Duration::from_secs(1);
        assert!(started.elapsed() <= limit, "{:?}", started.elapsed());
    }
}

/// The longest answer that one XKEYINFO may have, to every one of many.
#[tokio::test]
async fn the_answers_to_many_commands_are_bounded_together() {
    let line = format!("220-{}\r\n", "x".repeat(1_400));
    let chain = |lines: usize| format!("{}220 x\r\n", line.repeat(lines));
    for (recipients, lines, fits) in [(8, 1_000, true), (64, 1_000, false)] {
        let names: Vec<String> = (0..recipients).map(|n| format!("r{n}@y")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut connection = dawdling(Duration::ZERO, &chain(lines)).await;
        let answers = connection.key_infos(&mailboxes(&names)).await;
        match answers {
            Ok(answers) => assert!(fits && answers.len() == recipients),
            Err(error) => assert!(!fits && matches!(error, SmtpError::Reply(ReplyError::TooLong)), "{error}"),
        }
        let after = connection.salt().await;
        assert_eq!(matches!(after, Err(SmtpError::OutOfStep)), !fits, "never used again");
    }
}

#[test]
fn patience_is_spent_by_waiting_and_earned_by_octets() {
    let seconds = Duration::from_secs;
    let mut patience = Patience::new(seconds(10));
    assert_eq!((patience.step(seconds(3)), patience.step(seconds(30))), (seconds(3), seconds(10)));
    patience.earn(1 << 40);
    assert_eq!(patience.step(seconds(30)), seconds(10), "nothing is saved up");
    let long_ago = tokio::time::Instant::now().checked_sub(seconds(60)).unwrap();
    patience.waited_since(long_ago);
    assert_eq!(patience.step(seconds(30)), Duration::ZERO);
    patience.earn(8 * 1_024);
    assert_eq!(patience.step(seconds(30)), seconds(1));
    patience.renew();
    assert_eq!(patience.step(seconds(30)), seconds(10));
}
