//! Searches, orders and threads by chance: what the bridge answers of sealed and plain mail together, the server answers of
//! the same messages in plain.

use super::{Bridge, straight};
use crate::{server::Client, support::Demo};

/// Messages, and commands asked of them.
const MESSAGES: usize = 24;
const COMMANDS: usize = 90;

/// A generator whose numbers are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ x >> 31) % n as u64).expect("small")
    }
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A message, and the header's words in whatever form programs write them.
fn message(chance: &mut Chance, number: usize) -> String {
    let from = chance.one(&[
        "bob@example.com",
        "\"Zoe, B.\" <bob@example.com>",
        "=?utf-8?q?=C3=84nne?= <bob@example.com>",
        "berta@example.org",
        "\"Adam\" <zacharias@example.org>",
        "=?iso-8859-1?b?3GxsaQ==?= <ulli@example.org>",
    ]);
    let mut header = format!("From: {from}\r\nMessage-ID: <{number}@x.example>\r\n");
    let date = chance.one(&[
        "Date: Sat, 01 Feb 2020 10:00:00 +0000\r\n",
        "Date: Sat, 01 Feb 2020 23:30:00 -0500\r\n",
        "Date: 2 Feb 2020 00:10 +0300 (MSK)\r\n",
        "Date: Mon, 03 Feb 2020 10:00:00 GMT\r\n",
        "",
    ]);
    // What is sealed gets a date where it has none.
    let needs_one = date.is_empty() && from.contains("bob@");
    header += if needs_one { "Date: Tue, 04 Feb 2020 10:00:00 +0000\r\n" } else { date };
    header += chance.one(&[
        "Subject: apples\r\n",
        "Subject: Re: =?utf-8?q?=C3=84pfel?= und\r\n =?utf-8?b?QmlybmVu?=\r\n",
        "Subject: [list] A\u{308}PFEL und Birnen\r\n",
        "Subject: Fwd: apples (fwd)\r\n",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\taus Basel\r\n",
        "",
    ]);
    header += chance.one(&[
        "To: c@y.example, \"D, E\" <d@y.example>\r\n",
        "To: undisclosed-recipients:;\r\n",
        "To: Friends: f@y.example, g@y.example;\r\n",
        "",
    ]);
    header += chance.one(&["Cc: \"Quince\" <q@y.example>\r\n", "Cc: d@y.example\r\n", ""]);
    header += chance.one(&["X-Tag: red\r\nX-Tag: Blue\r\n", "X-Tag: green\r\n", ""]);
    for (field, most) in [("References", 3), ("In-Reply-To", 1)] {
        let count = chance.below(most + 1);
        if number > 0 && count > 0 {
            let ids: Vec<String> =
                (0..count).map(|_| format!("<{}@x.example>", chance.below(number + 2))).collect();
            header = format!("{header}{field}: {}\r\n", ids.join("\r\n "));
        }
    }
    let body = chance.one(&[
        "\r\nplums and PEARS\r\n",
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\
         \r\nB=E4ume im W=\r\nald\r\n",
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\
         \r\nQsOkdW1lIHVuZCBwbHVtcw==\r\n",
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nnot plums\r\n--b\r\n\r\npears here\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: within\r\n\r\ninner plums\r\n--b--\r\n",
        "\r\n",
    ]);
    header + body
}

fn key(chance: &mut Chance, depth: usize) -> String {
    let literal = |text: &str| format!("{{{}+}}\r\n{text}", text.len());
    match chance.below(if depth == 0 { 9 } else { 12 }) {
        0 => {
            let word = chance.one(&["apples", "\u{e4}pfel", "BIRNEN", "gr\u{fc}\u{df}e aus", "", "nowhere"]);
            format!("SUBJECT {}", literal(word))
        }
        1 => format!(
            "FROM {}",
            literal(chance.one(&["bob", "\u{dc}lli", "zoe, b", "\u{c4}NNE", "example.org"]))
        ),
        2 => format!("{} {}", chance.one(&["TO", "CC"]), chance.one(&["d@y", "quince", "friends", "\"\""])),
        3 => format!("HEADER X-Tag {}", chance.one(&["blue", "red", "\"\"", "yellow"])),
        4 => {
            let words = ["plums", "b\u{e4}ume", "im wald", "pears", "not plums", "inner"];
            format!("BODY {}", literal(chance.one(&words)))
        }
        5 => format!(
            "TEXT {}",
            literal(chance.one(&["within", "plums", "y.example", "quince", "basel", "X-Tag: red"]))
        ),
        6 => format!("SENT{} {}-Feb-2020", chance.one(&["ON", "BEFORE", "SINCE"]), chance.below(4) + 1),
        7 => {
            chance.one(&["FLAGGED", "UNSEEN", "ALL", "5:15", "UID 3:9,20:*", "BEFORE 12-Mar-2020"]).to_owned()
        }
        8 => format!("HEADER Message-ID <{}@", chance.below(MESSAGES)),
        9 => format!("NOT {}", key(chance, depth - 1)),
        10 => format!("OR {} {}", key(chance, depth - 1), key(chance, depth - 1)),
        _ => format!("({} {})", key(chance, depth - 1), key(chance, depth - 1)),
    }
}

fn command(chance: &mut Chance) -> String {
    let key = key(chance, 3);
    let uid = chance.one(&["", "UID "]);
    let returns = chance.one(&["", "", "RETURN () ", "RETURN (MIN MAX COUNT) "]);
    match chance.below(3) {
        0 => format!("{uid}SEARCH {returns}CHARSET UTF-8 {key}"),
        1 => {
            let keys = ["SUBJECT", "FROM", "TO", "CC", "DATE", "ARRIVAL", "DISPLAYFROM", "DISPLAYTO"];
            let order: Vec<String> = (0..=chance.below(2))
                .map(|_| format!("{}{}", chance.one(&["", "REVERSE "]), chance.one(&keys)))
                .collect();
            format!("{uid}SORT {returns}({}) UTF-8 {key}", order.join(" "))
        }
        _ => format!("{uid}THREAD {} UTF-8 {key}", chance.one(&["REFERENCES", "ORDEREDSUBJECT"])),
    }
}

/// All of them in one APPEND.
fn file(client: &mut Client, mailbox: &str, messages: &[(String, String)]) {
    assert!(client.imap(&format!("CREATE {mailbox}")).contains("a OK "));
    client.send(format!("a APPEND {mailbox}"));
    for (parameters, message) in messages {
        client.send(format!(" {parameters} {{{}+}}\r\n{message}", message.len()));
    }
    client.send("\r\n");
    let answer = client.tagged();
    assert!(answer.contains("a OK [APPENDUID "), "{answer}");
    assert!(client.imap(&format!("SELECT {mailbox}")).contains(&format!("* {MESSAGES} EXISTS")));
}

#[test]
fn answers_are_those_of_the_server_to_the_same_in_plain() {
    let demo = Demo::start(&[]);
    let bob = Bridge::start(&demo, 1, &[]);
    let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
    for seed in [1, 2, 3] {
        let mut chance = Chance(seed);
        let messages: Vec<(String, String)> = (0..MESSAGES)
            .map(|number| {
                let flags = chance.one(&["()", "(\\Flagged)", "(\\Seen)"]);
                let day = chance.below(28) + 1;
                (format!("{flags} \"{day:02}-Mar-2020 12:00:00 +0000\""), message(&mut chance, number))
            })
            .collect();
        file(&mut program, &format!("Mixed{seed}"), &messages);
        file(&mut server, &format!("Same{seed}"), &messages);
        for _ in 0..COMMANDS {
            let command = command(&mut chance);
            let told = |answer: String| -> Vec<String> {
                assert!(answer.contains("a OK "), "seed {seed}: {command}: {answer}");
                let lines = answer.lines().filter(|line| line.starts_with("* ") && !line.contains("FLAGS "));
                lines.map(str::to_owned).collect()
            };
            let (through, straight) = (told(program.imap(&command)), told(server.imap(&command)));
            assert_eq!(through, straight, "seed {seed}: {command}");
        }
    }
    let mut other = straight(&demo, 1);
    other.imap("SELECT Mixed1");
    let kept = other.imap("FETCH 1:* (BODY.PEEK[])");
    let sealed = kept.matches("BEGIN AGE ENCRYPTED FILE").count();
    assert!((5..MESSAGES - 5).contains(&sealed), "{sealed} of them are sealed");
}
