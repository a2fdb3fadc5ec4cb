use super::*;
use crate::phc::{Cost, Salt};
use proptest::prelude::*;

const MESSAGES: [&[u8]; 3] = [b"A: 1\r\n\r\none\r\n.\r\n", b"A: 2\r\n\r\ntwo\r\nzwei\r\n", b"A: 3\r\n\r\n"];

/// Plays a server whose only password is `open sesame`; replies and what happened, as text.
struct Play {
    server: Server,
    input: BytesMut,
    said: Vec<u8>,
    happened: Vec<String>,
}

impl Play {
    fn new(tls: bool) -> Self {
        let server = Server::new("mail.example.net", tls);
        Self { server, input: BytesMut::new(), said: Vec::new(), happened: Vec::new() }
    }

    fn feed(&mut self, octets: &[u8]) -> &mut Self {
        self.input.extend_from_slice(octets);
        while let Some(event) = self.server.next(&mut self.input) {
            self.said.extend_from_slice(&self.server.output.split());
            if self.event(event) {
                break;
            }
        }
        self.said.extend_from_slice(&self.server.output.split());
        self
    }

    /// Whether it was the end.
    fn event(&mut self, event: Event) -> bool {
        match event {
            Event::Flush => {}
            Event::StartTls => {
                self.input.clear();
                self.happened.push("TLS".to_owned());
                self.server.tls_started();
            }
            Event::AskChallenge(user) => {
                self.happened.push(format!("challenge for {user}"));
                self.server
                    .challenge(&Challenge { cost: Cost::DEFAULT, salt: Salt::new([9u8; 16]).unwrap() });
            }
            Event::AskScram(question) => {
                self.happened.push(format!("parameters for {}", question.user));
                self.server.scram(&Parameters {
                    salt: vec![9; 16],
                    iterations: 4096,
                    nonce: "server".to_owned(),
                    binding: None,
                    plus_offered: false,
                });
            }
            Event::Credentials(Credentials::Scram(proof)) => {
                self.happened.push(format!("proof of {}", proof.user));
                self.server.proved(&[8; 32]);
            }
            Event::Proved => {
                let sizes = MESSAGES.iter().map(|m| m.len() as u64);
                self.server.signed_in(Maildrop::new(77, (4..).zip(sizes)));
            }
            Event::Credentials(credentials) => {
                let right = match &credentials {
                    Credentials::AppPassword { user, token } => {
                        self.happened.push(format!("password of {user}"));
                        token.as_str() == "open sesame"
                    }
                    Credentials::HashedPass { user, .. } => {
                        self.happened.push(format!("hash of {user}"));
                        true
                    }
                    Credentials::Scram(_) => unreachable!("matched above"),
                };
                if right {
                    let sizes = MESSAGES.iter().map(|m| m.len() as u64);
                    self.server.signed_in(Maildrop::new(77, (4..).zip(sizes)));
                } else {
                    self.server.refuse(&Reply::coded(super::super::reply::Code::Auth, "wrong"));
                }
            }
            Event::Retrieve(at) => {
                self.server.begin_message();
                for piece in MESSAGES[at.index()].chunks(5) {
                    if !self.server.push_message(piece) {
                        break;
                    }
                }
                self.server.end_message();
            }
            Event::Update(uids) => {
                self.happened.push(format!("removed {uids:?}"));
                self.server.updated();
            }
            Event::Close => {
                self.happened.push("closed".to_owned());
                return true;
            }
        }
        false
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }
    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

const LOGIN: &[u8] = b"USER alice@example.net\r\nPASS open sesame\r\n";

fn signed_in() -> Play {
    let mut play = Play::new(true);
    play.feed(LOGIN);
    assert!(play.text().ends_with("+OK 3 messages (43 octets)\r\n"), "{}", play.text());
    play.said.clear();
    play.happened.clear();
    play
}

/// Every verb in every state: what is answered, and that nothing happens that the state has no place for.
#[test]
fn each_verb_in_each_state() {
    let rows: &[(&str, &str, &str, &str)] = &[
        // command, before TLS, before login, signed in
        ("CAPA", "+OK cap", "+OK cap", "+OK cap"),
        ("STLS", "+OK begin TLS", "-ERR TLS is on", "-ERR you are signed in"),
        ("UTF8", "-ERR begin TLS", "+OK headers", "-ERR you are signed in"),
        ("USER a@b", "-ERR begin TLS", "+OK now", "-ERR you are signed in"),
        ("PASS x", "-ERR begin TLS", "-ERR USER comes", "-ERR you are signed in"),
        ("APOP a b", "-ERR APOP", "-ERR APOP", "-ERR APOP"),
        ("AUTH", "-ERR begin TLS", "+OK mech", "-ERR you are signed in"),
        ("AUTH PLAIN", "-ERR begin TLS", "+ ", "-ERR you are signed in"),
        ("AUTH CRAM-MD5", "-ERR begin TLS", "-ERR this mechanism", "-ERR you are signed in"),
        ("STAT", "-ERR begin TLS", "-ERR sign in", "+OK 3 43"),
        ("LIST", "-ERR begin TLS", "-ERR sign in", "+OK 3 messages (43 octets)"),
        ("LIST 2", "-ERR begin TLS", "-ERR sign in", "+OK 2 19"),
        ("LIST 4", "-ERR begin TLS", "-ERR sign in", "-ERR no such message"),
        ("UIDL", "-ERR begin TLS", "-ERR sign in", "+OK unique ids"),
        ("UIDL 1", "-ERR begin TLS", "-ERR sign in", "+OK 1 77.4"),
        ("UIDL 0", "-ERR begin TLS", "-ERR sign in", "-ERR no such message"),
        ("RETR 1", "-ERR begin TLS", "-ERR sign in", "+OK 16 octets"),
        ("RETR 9", "-ERR begin TLS", "-ERR sign in", "-ERR no such message"),
        ("TOP 1 0", "-ERR begin TLS", "-ERR sign in", "+OK the top"),
        ("TOP 9 0", "-ERR begin TLS", "-ERR sign in", "-ERR no such message"),
        ("DELE 1", "-ERR begin TLS", "-ERR sign in", "+OK message 1"),
        ("DELE 9", "-ERR begin TLS", "-ERR sign in", "-ERR no such message"),
        ("RSET", "-ERR begin TLS", "-ERR sign in", "+OK 3 messages"),
        ("NOOP", "-ERR begin TLS", "-ERR sign in", "+OK"),
        ("QUIT", "+OK goodbye", "+OK goodbye", "+OK goodbye"),
        (
            "FOO",
            "-ERR this command is not known",
            "-ERR this command is not known",
            "-ERR this command is not known",
        ),
        ("RETR", "-ERR the form is", "-ERR the form is", "-ERR the form is"),
    ];
    for (command, clear, before_login, inside) in rows {
        for (mut play, expected) in
            [(Play::new(false), clear), (Play::new(true), before_login), (signed_in(), inside)]
        {
            play.said.clear();
            play.server.output.clear();
            play.feed(format!("{command}\r\n").as_bytes());
            assert!(play.text().starts_with(expected), "{command}: {} is not {expected}", play.text());
            let allowed: &[&str] = if expected.starts_with("+OK begin") { &["TLS"] } else { &["closed"] };
            assert!(
                play.happened.iter().all(|h| allowed.contains(&h.as_str())),
                "{command}: {:?}",
                play.happened
            );
        }
    }
}

#[test]
fn a_session() {
    let mut play = signed_in();
    play.feed(
        b"LIST\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nRETR 3\r\nDELE 2\r\nDELE 2\r\nRETR 2\r\nSTAT\r\nLIST\r\n",
    );
    let expected = "+OK 3 messages (43 octets)\r\n1 16\r\n2 19\r\n3 8\r\n.\r\n\
        +OK unique ids follow\r\n1 77.4\r\n2 77.5\r\n3 77.6\r\n.\r\n\
        +OK 16 octets\r\nA: 1\r\n\r\none\r\n..\r\n.\r\n\
        +OK the top follows\r\nA: 2\r\n\r\ntwo\r\n.\r\n\
        +OK 8 octets\r\nA: 3\r\n\r\n.\r\n\
        +OK message 2 goes at QUIT\r\n-ERR message 2 is marked as deleted\r\n-ERR message 2 is marked as deleted\r\n\
        +OK 2 24\r\n+OK 2 messages (24 octets)\r\n1 16\r\n3 8\r\n.\r\n";
    assert_eq!(play.text(), expected);
    play.feed(b"QUIT\r\nNOOP\r\n");
    assert_eq!(play.happened, ["removed [5]", "closed"]);
    assert!(play.text().ends_with("+OK goodbye, what was marked is gone\r\n"));
}

#[test]
fn rset_takes_marks_back_and_only_quit_removes() {
    let mut play = signed_in();
    play.feed(b"DELE 1\r\nDELE 3\r\nRSET\r\nQUIT\r\n");
    assert_eq!(play.happened, ["closed"]);
    let mut play = signed_in();
    play.feed(b"DELE 1\r\n");
    play.server.close(&Reply::err("shutting down"));
    play.feed(b"QUIT\r\n");
    assert_eq!(play.happened, ["closed"], "nothing goes without QUIT");
}

#[test]
fn a_removal_that_fails_is_said_and_the_session_ends() {
    let mut server = Server::new("h", true);
    let mut input = BytesMut::from(&[LOGIN, b"DELE 1\r\nQUIT\r\nNOOP\r\n"].concat()[..]);
    assert!(matches!(server.next(&mut input), Some(Event::Credentials(_))));
    server.signed_in(Maildrop::new(1, [(1, 1)]));
    assert!(matches!(server.next(&mut input), Some(Event::Update(uids)) if uids == [1]));
    assert!(server.next(&mut input).is_none(), "it waits for the answer");
    server.refuse(&Reply::err("the store failed"));
    assert!(matches!(server.next(&mut input), Some(Event::Close)));
    assert!(server.output.ends_with(b"-ERR the store failed\r\n"));
}

#[test]
fn a_password_needs_a_name_each_time() {
    let mut play = Play::new(true);
    play.feed(b"USER bob@example.net\r\nPASS wrong\r\nPASS open sesame\r\n");
    let lines = play.lines();
    assert_eq!(lines[2..], ["-ERR [AUTH] wrong", "-ERR USER comes before PASS"]);
    play.feed(b"USER bob@example.net\r\nAUTH PLAIN =\r\nPASS open sesame\r\n");
    assert!(play.lines().last().unwrap().starts_with("-ERR USER comes"), "{:?}", play.lines());
    assert_eq!(play.happened, ["password of bob@example.net"]);
}

#[test]
fn r15_hashedpass_and_nothing_follows_the_ok() {
    let first = base64::encode("\0alice@example.net\0");
    let second = base64::encode(format!("\0alice@example.net\0{}", base64::encode([7; 32])));
    let mut play = Play::new(true);
    play.feed(format!("AUTH HASHEDPASS\r\n{first}\r\n{second}\r\nNOOP\r\n").as_bytes());
    let lines = play.lines();
    assert_eq!(lines[1], "+ ");
    assert!(base64::decode(&lines[2][2..]).unwrap().starts_with(b"$argon2id$"));
    assert_eq!(lines[3..], ["+OK 3 messages (43 octets)", "+OK"]);
    assert_eq!(play.happened, ["challenge for alice@example.net", "hash of alice@example.net"]);
    let mut play = Play::new(true);
    play.feed(format!("auth hashedpass {second}\r\n").as_bytes());
    assert_eq!(play.happened, ["hash of alice@example.net"]);
    let mut play = Play::new(true);
    play.feed(b"AUTH PLAIN\r\n*\r\nAUTH PLAIN\r\n!\r\nNOOP\r\n");
    assert_eq!(play.lines().iter().filter(|line| line.starts_with("-ERR")).count(), 3, "{:?}", play.lines());
}

#[test]
fn what_capa_tells_in_each_state() {
    let tags = |mut play: Play| -> Vec<String> {
        play.said.clear();
        play.server.output.clear();
        play.feed(b"CAPA\r\n");
        let lines = play.lines();
        assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("+OK capabilities follow", "."));
        lines[1..lines.len() - 1].to_vec()
    };
    let (clear, tls, inside) = (tags(Play::new(false)), tags(Play::new(true)), tags(signed_in()));
    let has = |tags: &[String], tag: &str| tags.iter().any(|t| t.split(' ').next() == Some(tag));
    assert!(has(&clear, "STLS") && !has(&clear, "SASL") && !has(&clear, "USER"), "{clear:?}");
    assert!(!has(&tls, "STLS") && has(&tls, "SASL") && has(&tls, "USER"), "{tls:?}");
    assert_eq!(tls, inside);
    assert!(tls.iter().any(|tag| tag.starts_with("SASL HASHEDPASS ")), "{tls:?}");
    for tag in ["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE", "IMPLEMENTATION"] {
        assert!([&clear, &tls, &inside].into_iter().all(|tags| has(tags, tag)), "{tag}");
    }
}

#[test]
fn stls_throws_away_what_was_pipelined() {
    let mut play = Play::new(false);
    play.feed(b"STLS\r\nUSER mallory@example.net\r\nPASS open sesame\r\n");
    assert_eq!(play.happened, ["TLS"]);
    play.feed(b"PASS open sesame\r\n");
    assert!(play.lines().last().unwrap().starts_with("-ERR USER comes"), "the name came in clear text");
}

#[test]
fn long_lines_are_dropped_and_endless_ones_end_the_session() {
    for (length, max) in [(LINE_MAX - 2, true), (LINE_MAX - 1, false)] {
        let mut play = Play::new(true);
        play.feed(format!("USER {}\r\nQUIT\r\n", "x".repeat(length - 5)).as_bytes());
        assert_eq!(play.lines()[1] == "+OK now the password", max, "{:?}", play.lines());
        assert_eq!(play.lines()[1] == "-ERR this line is too long", !max);
        assert_eq!(play.happened, ["closed"]);
    }
    for (length, taken) in [(AUTH_LINE_MAX - 2, true), (AUTH_LINE_MAX - 1, false)] {
        for before in ["AUTH PLAIN ", "AUTH PLAIN\r\n"] {
            let more = length - before.trim_end_matches("AUTH PLAIN\r\n").len();
            let mut play = Play::new(true);
            play.feed(format!("{before}{}\r\nNOOP\r\n", "A".repeat(more)).as_bytes());
            let said = play.text();
            assert_eq!(said.contains("too long"), !taken, "{said}");
            assert!(said.ends_with("-ERR sign in first\r\n"), "the exchange is over: {said}");
        }
    }
    for (dropped, ends) in [(DROP_MAX - 2, false), (DROP_MAX - 1, true)] {
        let mut play = Play::new(true);
        play.feed(&vec![b'x'; dropped]).feed(b"\r\nQUIT\r\n");
        assert_eq!(play.text().contains("+OK goodbye"), !ends);
    }
}

#[test]
fn twenty_faults_in_a_row_are_enough() {
    let mut play = Play::new(true);
    play.feed(&b"FOO\r\n".repeat(19));
    play.feed(b"CAPA\r\n");
    play.feed(&b"FOO\r\n".repeat(19));
    assert_eq!(play.happened, [""; 0]);
    play.feed(b"FOO\r\nCAPA\r\n");
    assert_eq!(play.happened, ["closed"]);
    // What a well-meaning program may meet by the hundred is none.
    let mut play = signed_in();
    play.feed(&b"RETR 9\r\n".repeat(100));
    assert_eq!(play.happened, [""; 0]);
}

#[test]
fn a_long_listing_comes_in_pieces() {
    let mut server = Server::new("h", true);
    let mut input = BytesMut::from(&[LOGIN, b"UIDL\r\nNOOP\r\n"].concat()[..]);
    assert!(matches!(server.next(&mut input), Some(Event::Credentials(_))));
    server.signed_in(Maildrop::new(u32::MAX, (1..=100_000).map(|uid| (uid, 4096))));
    let mut all = Vec::new();
    while let Some(event) = server.next(&mut input) {
        assert!(matches!(event, Event::Flush));
        assert!(server.output.len() < OUTPUT_MAX + 128, "{} octets", server.output.len());
        all.extend_from_slice(&server.output.split());
    }
    all.extend_from_slice(&server.output.split());
    let text = String::from_utf8(all).unwrap();
    assert!(text.contains("\r\n100000 4294967295.100000\r\n.\r\n+OK\r\n"), "{}", &text[text.len() - 100..]);
    assert_eq!(text.lines().count(), 3 + 100_000 + 3);
}

proptest! {
    /// How the octets are cut changes nothing.
    #[test]
    fn cuts_do_not_matter(
        commands in proptest::collection::vec(prop_oneof![
            Just("USER a@b.example\r\n".to_owned()), Just("PASS open sesame\r\n".to_owned()),
            Just("AUTH PLAIN\r\n".to_owned()), Just("AGEAYgBvcGVuIHNlc2FtZQ==\r\n".to_owned()),
            Just("RETR 1\r\n".to_owned()), Just("TOP 2 1\r\n".to_owned()), Just("LIST\r\n".to_owned()),
            Just("DELE 1\r\n".to_owned()), Just("RSET\r\n".to_owned()), Just("UIDL\n".to_owned()),
            Just("QUIT\r\n".to_owned()), "[ -~]{0,20}\r\n",
        ], 0..24),
        cuts in proptest::collection::vec(1usize..40, 1..40),
    ) {
        let octets = commands.concat().into_bytes();
        let mut whole = Play::new(true);
        whole.feed(&octets);
        let mut cut = Play::new(true);
        cut.feed(b"");
        let mut rest = &octets[..];
        for at in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, then) = rest.split_at((*at).min(rest.len()));
            // A session that has ended reads no more.
            if !cut.happened.iter().any(|h| h == "closed") {
                cut.feed(piece);
            }
            rest = then;
        }
        prop_assert_eq!(whole.text(), cut.text());
        prop_assert_eq!(whole.happened, cut.happened);
    }

    #[test]
    fn never_panics(octets: Vec<u8>, tls: bool) {
        Play::new(tls).feed(&octets);
        Play::new(tls).feed(&[LOGIN, &octets].concat());
    }
}
