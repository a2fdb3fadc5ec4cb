//! The state machine, played without a socket.

use super::*;
use crate::{
    base64,
    phc::{Challenge, Cost, Salt},
    sasl::Parameters,
    smtp::verb::Verb,
};
use proptest::prelude::*;
use std::fmt::Write as _;

fn server(role: Role, tls: bool) -> Server {
    let settings =
        Settings { hostname: "mx.example.net".into(), role, message_size: 1000, recipients: 3, draft: true };
    Server::new(Arc::new(settings), tls)
}

/// Plays `input` in the given pieces; says yes to everything. What happened, as text.
fn play(mut server: Server, pieces: &[&[u8]]) -> String {
    let mut log = String::new();
    let mut input = BytesMut::new();
    let mut body = Vec::new();
    let ok = Reply::new(250, "2.0.0", "OK");
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(event) = server.next(&mut input) {
            if let Event::Body(octets) = &event {
                body.extend_from_slice(octets);
                continue;
            }
            log += &String::from_utf8_lossy(&server.output.split());
            match event {
                Event::StartTls => {
                    log += "[STARTTLS]\n";
                    input.clear();
                    server.tls_started();
                }
                Event::Mail(m) => {
                    let _ = writeln!(log, "[{m:?}]");
                    server.answer(&ok);
                }
                Event::Rcpt(r) => {
                    let _ = writeln!(log, "[{r:?}]");
                    server.answer(&ok);
                }
                Event::BodyEnd { eight_bit } => {
                    let _ = writeln!(log, "[message {eight_bit} {:?}]", String::from_utf8_lossy(&body));
                    body.clear();
                    server.answer(&ok);
                }
                Event::Reset => {
                    log += "[reset]\n";
                    body.clear();
                }
                Event::AskChallenge(user) => {
                    let _ = writeln!(log, "[challenge {user}]");
                    let salt = Salt::new([7; 16]).unwrap();
                    server.challenge(&Challenge { cost: Cost::DEFAULT, salt });
                }
                Event::AskScram(question) => {
                    let _ = writeln!(log, "[scram {} {:?}]", question.user, question.binding);
                    server.scram(&Parameters {
                        salt: vec![9; 16],
                        iterations: 4096,
                        nonce: "server".to_owned(),
                        binding: question.binding.map(|_| vec![7; 32]),
                        plus_offered: true,
                    });
                }
                Event::Credentials(crate::sasl::Credentials::Scram(_)) => server.proved(&[8; 32]),
                Event::Proved => server.signed_in(None),
                Event::Credentials(_) => server.signed_in(Some(&Salt::new([9; 16]).unwrap())),
                Event::Asked(a) => {
                    let _ = writeln!(log, "[{a:?}]");
                    server.answer(&ok);
                }
                Event::Key(KeyCommand::StoreKeyring { replaces, data }) => {
                    let _ = writeln!(log, "[keyring {replaces:?} {data:?}]");
                    server.answer(&ok);
                }
                Event::Key(_) | Event::Enrol(_) => {
                    log += "[key]\n";
                    server.answer(&ok);
                }
                Event::Close => {
                    log += "[close]\n";
                    return log;
                }
                Event::Body(_) => {}
            }
        }
        log += &String::from_utf8_lossy(&server.output.split());
    }
    log
}

fn sign_in() -> String {
    let hash = base64::encode([1u8; 32]);
    format!("AUTH HASHEDPASS {}\r\n", base64::encode(format!("\0alice@example.net\0{hash}")))
}

fn scripts() -> Vec<(bool, Vec<u8>)> {
    let text = |s: &str| s.as_bytes().to_vec();
    let user = base64::encode("\0alice@example.net\0");
    let hash = base64::encode(format!("\0alice@example.net\0{}", base64::encode([1u8; 32])));
    vec![
        (
            false,
            text(
                "EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n..x\r\ny\r\n.\r\nQUIT\r\n",
            ),
        ),
        (false, text("HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\nx\ny\r\n.\r\nNOOP\r\n")),
        (
            false,
            text(
                "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<p@d.example>\r\nBDAT 3\r\na\r\nBDAT 5 LAST\r\nb\u{e4}\r\nQUIT\r\n",
            ),
        ),
        (false, text("EHLO a\r\nBDAT 6\r\nQUIT\r\nNOOP\r\nBDAT x\r\nQUIT\r\n")),
        (
            false,
            text("foo\r\nPUBKEY <a@b.example>\r\nGETSALT\r\nXKEYRING none 6\r\nQUIT\r\nAUTH PLAIN x\r\n"),
        ),
        (
            true,
            format!("{}GETSALT\r\nXKEYRING none 3\r\nabcXKEYRING\r\nXKEYRING x\r\nNOOP\r\n", sign_in())
                .into_bytes(),
        ),
        (true, format!("AUTH HASHEDPASS {user}\r\n{hash}\r\nAUTH PLAIN\r\nRSTSALT\r\n").into_bytes()),
        // SCRAM: all of it, and broken off before its end.
        (
            true,
            format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}\r\n{SCRAM_LAST}\r\n\r\nGETSALT\r\nAUTH PLAIN x\r\n")
                .into_bytes(),
        ),
        (
            true,
            format!(
                "AUTH SCRAM-SHA-256\r\n{SCRAM_FIRST}\r\n{SCRAM_LAST}\r\n*\r\nMAIL FROM:<a@b.example>\r\n"
            )
            .into_bytes(),
        ),
        (
            true,
            text(
                "AUTH HASHEDPASS\r\n*\r\nAUTH LOGIN\r\n=\r\nAUTH FOO\r\nAUTH\r\nMAIL FROM:<a@b.example>\r\n",
            ),
        ),
        (
            true,
            format!(
                "EHLO a\r\nNOOP {}\r\nNOOP\r\nPUBKEY {}\r\nQUIT\r\n",
                "x".repeat(600),
                "y".repeat(12_400)
            )
            .into_bytes(),
        ),
    ]
}

#[test]
fn input_cut_at_every_octet_gives_the_same() {
    for role in [Role::Mx, Role::Submission] {
        for (tls, script) in scripts() {
            let whole = play(server(role, tls), &[&script]);
            let single: Vec<&[u8]> = script.chunks(1).collect();
            assert_eq!(play(server(role, tls), &single), whole);
            for cut in (0..script.len()).step_by(1 + script.len() / 400) {
                let (a, b) = script.split_at(cut);
                assert_eq!(play(server(role, tls), &[a, b]), whole, "cut at {cut}");
            }
        }
    }
}

/// `n,,n=alice@example.net,r=abc` and its end for the nonce `server`.
const SCRAM_FIRST: &str = "biwsbj1hbGljZUBleGFtcGxlLm5ldCxyPWFiYw==";
const SCRAM_LAST: &str =
    "Yz1iaXdzLHI9YWJjc2VydmVyLHA9QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQT0=";

#[test]
fn scram_is_over_with_an_empty_line_behind_the_servers_proof() {
    let said = |end: &str| {
        let script = format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}\r\n{SCRAM_LAST}\r\n{end}\r\nGETSALT\r\n");
        play(server(Role::Submission, true), &[script.as_bytes()])
    };
    let log = said("");
    let (challenge, proof) = (
        base64::encode("r=abcserver,s=CQkJCQkJCQkJCQkJCQkJCQ==,i=4096"),
        base64::encode(format!("v={}", base64::encode([8; 32]))),
    );
    assert!(
        log.contains(&format!(
            "[scram alice@example.net None]\n334 {challenge}\r\n334 {proof}\r\n235 2.7.0 "
        )),
        "{log}"
    );
    for end in ["*", "AA==", "x"] {
        let log = said(end);
        assert!(log.contains(&format!("334 {proof}\r\n501 5.5.2 ")) && !log.contains("235 "), "{log}");
    }
}

#[test]
fn r02_pipelined_plain_text_is_never_executed() {
    let log = play(server(Role::Mx, false), &[b"EHLO a\r\nSTARTTLS\r\nRSET\r\nMAIL FROM:<x@y.example>\r\n"]);
    assert!(log.ends_with("220 2.0.0 Ready to start TLS\r\n[STARTTLS]\n"), "{log}");
}

#[test]
fn r16_salt_stands_in_the_same_output_as_the_235() {
    let mut server = server(Role::Submission, true);
    let mut input = BytesMut::from(sign_in().as_bytes());
    assert!(matches!(server.next(&mut input), Some(Event::Credentials(_))));
    server.output.clear();
    server.signed_in(Some(&Salt::new([9; 16]).unwrap()));
    let want = "235 2.7.0 Authentication successful\r\n250 SALT CQkJCQkJCQkJCQkJCQkJCQ==\r\n";
    assert_eq!(server.output, want);
}

#[test]
fn oversize_mail_is_drained_and_refused() {
    let head = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n";
    for (octets, code) in [(998, "250 2.0.0 OK"), (999, "552 5.3.4")] {
        let script = format!("{head}{}\r\n.\r\nNOOP\r\n", "x".repeat(octets));
        let log = play(server(Role::Mx, false), &[script.as_bytes()]);
        assert!(log.contains(&format!("]\n{code}")) || log.contains(&format!("\n{code}")), "{log}");
        assert_eq!(log.contains("552 5.3.4"), octets == 999, "{log}");
        assert!(log.trim_end().ends_with("250 2.0.0 OK"), "{log}");
    }
}

const WITHOUT_END: &str = "421 4.7.0 No end in sight, closing the connection\r\n[close]\n";

/// What is read at most where the limit is so small.
const READ_MAX: usize = 16 * 1024 * 1024;

#[test]
fn a_message_without_end_is_cut() {
    let head = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n";
    let octets = "x".repeat(READ_MAX);
    for (rest, cut) in [("", false), ("x", true), ("xxxxx\r\n.\r\n", true)] {
        for command in ["DATA", "BDAT 999999999", "BDAT 999999999 LAST"] {
            let start = format!("{head}{command}\r\n");
            let log = play(server(Role::Mx, false), &[start.as_bytes(), octets.as_bytes(), rest.as_bytes()]);
            let refusal = format!("552 5.3.4 The message is larger than 1000 octets\r\n{WITHOUT_END}");
            assert_eq!(log.ends_with(&refusal), cut, "{command} {rest}: {log}");
            assert_eq!(log.contains("[close]"), cut, "{log}");
        }
    }
    let bare = format!("{head}DATA\r\n\n");
    let log = play(server(Role::Mx, false), &[bare.as_bytes(), octets.as_bytes()]);
    assert!(log.ends_with(WITHOUT_END), "whatever the fault: {log}");
    assert_eq!(super::super::body::read_max(100 * 1024 * 1024), 200 * 1024 * 1024);
}

/// What is announced to be too large is not handed on first.
#[test]
fn a_chunk_that_cannot_fit_is_read_and_dropped() {
    let head = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n";
    for (first, second, fits) in [(400, 600, true), (400, 601, false), (0, 1001, false), (0, 1000, true)] {
        let (one, two) = ("x".repeat(first), "x".repeat(second));
        let script = format!("{head}BDAT {first}\r\n{one}BDAT {second} LAST\r\n{two}NOOP\r\n");
        let log = play(server(Role::Mx, false), &[script.as_bytes()]);
        assert_eq!(log.contains("552 5.3.4"), !fits, "{first} {second}: {log}");
        assert!(log.ends_with("250 2.0.0 OK\r\n"), "the session goes on: {log}");
        let (mut server, mut input) = (server(Role::Mx, false), BytesMut::from(script.as_bytes()));
        let mut handed_on = 0;
        while let Some(event) = server.next(&mut input) {
            match event {
                Event::Body(octets) => handed_on += octets.len(),
                Event::Reset => {}
                _ => server.answer(&Reply::new(250, "2.0.0", "OK")),
            }
        }
        assert_eq!(handed_on, if fits { first + second } else { first });
    }
}

/// A refused BDAT is read to its end (RFC 3030 §2), where the end is as near as that of a message.
#[test]
fn a_refused_chunk_without_end_is_cut() {
    for (len, cut) in [(READ_MAX, false), (READ_MAX + 1, true)] {
        let script = format!("EHLO a\r\nBDAT {len} LAST\r\n{}NOOP\r\n", "x".repeat(len));
        let log = play(server(Role::Mx, false), &[script.as_bytes()]);
        assert!(log.contains("503 5.5.1"), "{log}");
        assert_eq!(log.ends_with(WITHOUT_END), cut, "{log}");
        assert_eq!(log.ends_with("250 2.0.0 OK\r\n"), !cut, "{log}");
    }
}

#[test]
fn a_line_without_end_is_cut() {
    const MIB: usize = 1024 * 1024;
    for (start, code) in [("NOOP ", "500 5.5.2"), ("AUTH LOGIN\r\n", "500 5.5.6"), ("BDAT ", "501 5.5.4")] {
        for (len, cut) in [(MIB - 1000, false), (MIB + 1, true)] {
            let line = format!("EHLO a\r\n{start}{}", "1".repeat(len));
            let mut pieces: Vec<&[u8]> = line.as_bytes().chunks(16_000).collect();
            let log = play(server(Role::Mx, true), &pieces);
            assert_eq!(log.contains(code), cut, "{start}{len}: {log}");
            assert_eq!(log.ends_with("[close]\n"), cut, "{start}{len}: {log}");
            pieces.push(b"\r\nNOOP\r\n");
            let log = play(server(Role::Mx, true), &pieces);
            assert!(log.contains(code), "{start}{len}: {log}");
            // Octets behind a BDAT that was not understood are no commands in any case.
            assert_eq!(log.ends_with("250 2.0.0 OK\r\n"), !cut && start != "BDAT ", "{start}{len}: {log}");
        }
    }
}

#[test]
fn a_refused_chunk_ends_the_transaction() {
    let script = format!(
        "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nBDAT 1001\r\n{}BDAT 5 LAST\r\nQUIT\r",
        "x".repeat(1001)
    );
    let log = play(server(Role::Mx, false), &[script.as_bytes()]);
    assert!(log.contains("552 5.3.4") && log.contains("[reset]"), "{log}");
    assert!(log.trim_end().ends_with("503 5.5.1 No mail transaction is open; send MAIL first"), "{log}");
}

#[test]
fn recipients_are_limited() {
    let script = format!("EHLO a\r\nMAIL FROM:<>\r\n{}", "RCPT TO:<a@b.example>\r\n".repeat(4));
    let log = play(server(Role::Mx, false), &[script.as_bytes()]);
    assert!(log.ends_with("452 4.5.3 Too many recipients\r\n"), "{log}");
}

#[test]
fn errors_are_limited() {
    let log = play(server(Role::Mx, false), &["x\r\n".repeat(110).as_bytes()]);
    assert_eq!(log.matches("500 5.5.2").count(), 100);
    assert!(log.ends_with("421 4.7.0 Too many errors, closing the connection\r\n[close]\n"), "{log}");
}

#[test]
fn line_limits_are_exact() {
    for (verb, max) in [("NOOP", 512), ("MAIL", 1065), ("PUBKEY", 12_288), ("AUTH", 12_288), ("FOO", 512)] {
        for extra in [0, 1] {
            let line = format!("{verb} {}\r\n", "x".repeat(max - verb.len() - 3 + extra));
            let log = play(server(Role::Mx, true), &[line.as_bytes(), b"NOOP\r\n"]);
            assert_eq!(log.contains("500 5.5.2 Line too long"), extra == 1, "{verb} {extra}: {log}");
            assert!(log.ends_with("250 2.0.0 OK\r\n"), "{log}");
        }
    }
}

/// Octets behind a line that was not understood are no commands: the session ends.
#[test]
fn lines_that_bring_octets_close_when_malformed() {
    for line in [
        "BDAT 6\tLAST",
        "BDAT x",
        &format!("BDAT {}", "1".repeat(600)),
        "XKEYRING none\t6",
        "XKEYRING none 6 6",
        &format!("XKEYRING none {}", "1".repeat(13_000)),
    ] {
        let log = play(server(Role::Mx, true), &[format!("{line}\r\nNOOP\r\n").as_bytes()]);
        assert!(log.contains("501 5.5.4") || log.contains("552 5.3.4"), "{line:.40}: {log}");
        assert!(log.ends_with("[close]\n") && !log.contains("250 2.0.0 OK"), "{line:.40}: {log}");
    }
}

#[test]
fn replies_keep_to_512_octets_whatever_the_parameter() {
    let script = format!("EHLO a\r\nMAIL FROM:<> {}\r\n", "X".repeat(1000));
    let log = play(server(Role::Mx, false), &[script.as_bytes()]);
    assert!(log.contains("555 5.5.4 ") && log.lines().all(|l| l.len() <= 510), "{log}");
}

#[test]
fn keyrings_are_cut_into_lines_of_510_octets() {
    let lines = cut_lines(&"x".repeat(1200));
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [506, 506, 188]);
}

/// Words that lead deep into the machine quickly.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        proptest::sample::select(Verb::ALL.iter().map(|(_, k)| (*k).to_owned()).collect::<Vec<_>>()),
        proptest::sample::select(vec![
            " ",
            "\r\n",
            "\r",
            "\n",
            ".",
            "\r\n.\r\n",
            "FROM:<a@b.example>",
            "TO:<a@b.example>",
            "<>",
            "none",
            "7",
            " LAST",
            "EHLO a\r\n",
            "MAIL FROM:<>\r\n",
            "RCPT TO:<a@b.example>\r\n",
            "DATA\r\n",
            "BDAT 5 LAST\r\n",
            "AUTH HASHEDPASS",
            "*\r\n",
            "=",
            "AGE=",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,5}",
    ];
    proptest::collection::vec(word, 0..40).prop_map(|w| w.concat().into_bytes())
}

proptest! {
    #[test]
    fn never_panics_and_cuts_do_not_matter(script in words(), tls: bool, mx: bool, step in 1usize..30) {
        let role = if mx { Role::Mx } else { Role::Submission };
        let whole = play(server(role, tls), &[&script]);
        // After STARTTLS the rest of a piece is thrown away, so cuts matter there, by design.
        if !whole.contains("[STARTTLS]") {
            let pieces: Vec<&[u8]> = if script.is_empty() { vec![&[]] } else { script.chunks(step).collect() };
            prop_assert_eq!(play(server(role, tls), &pieces), whole);
        }
    }
    #[test]
    fn octets_never_panic(script: Vec<u8>, tls: bool) {
        let _ = play(server(Role::Mx, tls), &[&script]);
    }
}
