//! Extensions of IMAP through the bridge, on a mailbox that has sealed, signed and plain mail. Where it can be, what the
//! bridge answers is compared with what the server itself answers of the same messages in plain.

use super::{Bridge, composed, straight, wait_for};
use crate::{
    server::Client,
    support::{Demo, run, sealpost},
};

/// Day in February 2020 on which it arrived, and header: those from Bob are sealed as he files them, others stay plain.
const FILED: [(u32, &str); 8] = [
    (
        3,
        "Date: Sat, 01 Feb 2020 10:00:00 +0000\nSubject: Re: =?utf-8?q?=C3=84pfel?=\n\
         From: \"Zoe\" <bob@example.com>\nTo: c@x.example\nCc: q@x.example\nMessage-ID: <2@x>\nReferences: <1@x>",
    ),
    // Earlier in UTC than the first one, although the clock reads later.
    (
        2,
        "Date: Sat, 01 Feb 2020 11:00:00 +0300\nSubject: a\u{308}pfel\nFrom: berta@example.org\n\
         To: \"A\" <d@x.example>\nMessage-ID: <1@x>",
    ),
    (
        1,
        "Date: Fri, 31 Jan 2020 23:00:00 -0800\nSubject: [list] birnen\nFrom: \"Adam\" <zacharias@example.org>\n\
         To: B@x.example\nMessage-ID: <3@x>\nIn-Reply-To: your letter <2@x>",
    ),
    (
        5,
        "Date: Sun, 02 Feb 2020 10:00:00 +0000\nFrom: bob@example.com\nSubject: Birnen\nX: a long field\n\
         Message-ID: <4@x>",
    ),
    (
        4,
        "Date: Sun, 02 Feb 2020 10:00:00 +0000\nFrom: \"Bob\" <bob@example.com>\nTo: \"Zzz\" <a@x.example>\n\
         Subject: Fwd: birnen\nMessage-ID: <5@x>\nReferences: <3@x> <lost@x> <4@x>",
    ),
    // No date: when it came counts.
    (6, "Subject: re: plums\nFrom: carl@example.org\nMessage-ID: <6@x>\nReferences: <lost@x>"),
    (
        7,
        "Date: Mon, 03 Feb 2020 10:00:00 +0000\nSubject: Zwetschgen\nFrom: \"anna\" <bob@example.com>\n\
         To: \"Zzz\" <a@x.example>\nMessage-ID: <7@x>\nIn-Reply-To: <6@x>",
    ),
    (8, "Date: Tue, 04 Feb 2020 10:00:00 +0000\nSubject: plums\nFrom: dora@example.org\nMessage-ID: <8@x>"),
];

/// A mailbox `Mixed`, filed through the bridge, and `Same` with the same messages in plain.
struct World {
    demo: Demo,
    _bob: Bridge,
    /// Through the bridge, in `Mixed`.
    program: Client,
    /// Without it, in `Same`.
    server: Client,
}

impl World {
    fn new() -> Self {
        let demo = Demo::start(&[]);
        let (alice, bob) = (Bridge::start(&demo, 0, &["--allow-plain"]), Bridge::start(&demo, 1, &[]));
        // Who is there and has no key gets signed mail in plain, and Bob the same.
        let config = demo.server(1, "config");
        let add = ["user", "--config", &config, "add", "carol@example.com"];
        assert!(run(sealpost().args(add)).status.success());
        let to = ["carol@example.com", "bob@example.com"];
        let reply = alice.send("alice@example.net", &to, &composed("Quitten, signed", "quinces"));
        assert!(reply.starts_with("250 "), "{reply}");
        let (mut program, mut server) = (bob.imap(), straight(&demo, 1));
        wait_for(&mut program, 1);
        for mailbox in ["Mixed", "Same"] {
            assert!(program.imap(&format!("CREATE {mailbox}")).contains("a OK "));
        }
        assert!(program.imap("COPY 1 Mixed").contains("a OK "));
        server.imap("SELECT INBOX");
        assert!(server.imap("COPY 1 Same").contains("a OK "));
        for (day, header) in FILED {
            let message = filed(header);
            for (client, mailbox) in [(&mut program, "Mixed"), (&mut server, "Same")] {
                let head = format!("{mailbox} \"{day:02}-Feb-2020 12:00:00 +0000\"");
                client.send(format!("a APPEND {head} {{{}}}\r\n", message.len()));
                assert!(client.line().starts_with('+'));
                client.send(format!("{message}\r\n"));
                let answer = client.tagged();
                assert!(answer.contains("a OK "), "{answer}");
            }
        }
        // UIDs are no numbers.
        for (client, mailbox) in [(&mut program, "Mixed"), (&mut server, "Same")] {
            assert!(client.imap(&format!("SELECT {mailbox}")).contains("* 9 EXISTS"));
            client.imap("STORE 3 +FLAGS.SILENT (\\Deleted)");
            assert!(client.imap("EXPUNGE").contains("* 3 EXPUNGE"));
            client.imap("STORE 2,5,8 +FLAGS.SILENT (\\Flagged)");
        }
        Self { demo, _bob: bob, program, server }
    }

    /// Untagged lines of both answers.
    fn both(&mut self, command: &str) -> (String, String) {
        let untagged = |answer: String| {
            let (all, last) = answer.trim_end().rsplit_once("\r\n").unwrap_or(("", answer.trim_end()));
            assert!(last.starts_with("a OK "), "{command:.80}: {answer}");
            // News of flags comes when it comes.
            let told = |line: &&str| !line.contains("FLAGS ");
            all.lines().filter(told).collect::<Vec<_>>().join("\n")
        };
        (untagged(self.program.imap(command)), untagged(self.server.imap(command)))
    }

    fn same(&mut self, command: &str) -> String {
        let (through, straight) = self.both(command);
        assert_eq!(through, straight, "{command:.80}");
        through
    }
}

fn filed(header: &str) -> String {
    format!("{}\r\n\r\nbody\r\n", header.replace('\n', "\r\n"))
}

#[test]
fn sort_and_thread_compare_what_is_inside() {
    let mut world = World::new();
    // The mailbox is what it is meant to be.
    let mut other = straight(&world.demo, 1);
    other.imap("SELECT Mixed");
    let kept = other.imap("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])");
    assert_eq!(kept.matches("[...]").count(), 4, "{kept}");
    assert!(kept.contains("Quitten") && !kept.contains("Zwetschgen"), "{kept}");
    for order in [
        "ARRIVAL",
        "REVERSE ARRIVAL",
        "DATE",
        "REVERSE DATE",
        "SUBJECT",
        "REVERSE SUBJECT",
        "SUBJECT REVERSE DATE",
        "FROM",
        "DISPLAYFROM",
        "REVERSE DISPLAYFROM",
        "TO",
        "DISPLAYTO DATE",
        "CC REVERSE ARRIVAL",
    ] {
        for search in ["ALL", "SUBJECT birnen", "NOT TEXT birnen", "FLAGGED", "2:6 NOT SUBJECT plums"] {
            let told = world.same(&format!("SORT ({order}) UTF-8 {search}"));
            assert!(told.starts_with("* SORT "), "{told}");
            world.same(&format!("UID SORT ({order}) US-ASCII {search}"));
        }
    }
    for search in ["ALL", "SUBJECT birnen", "NOT FLAGGED", "SUBJECT nowhere"] {
        for algorithm in ["REFERENCES", "ORDEREDSUBJECT"] {
            world.same(&format!("THREAD {algorithm} UTF-8 {search}"));
            world.same(&format!("UID THREAD {algorithm} UTF-8 {search}"));
        }
    }
    assert_eq!(world.same("THREAD REFERENCES UTF-8 ALL"), "* THREAD (2 3 (4 5)(6 7))(8)(1)");
    // Texts compare by i;unicode-casemap (I18NLEVEL=1): case and composition do not matter.
    assert_eq!(world.same("SEARCH CHARSET UTF-8 SUBJECT {6+}\r\nÄPFEL"), "* SEARCH 2");
    assert_eq!(world.same("SORT (DATE) UTF-8 SUBJECT {7+}\r\nA\u{308}PFEL"), "* SORT 2");
    // Sizes are those of what the bridge shows.
    let sizes = world.program.imap("FETCH 1:* (RFC822.SIZE)");
    let size_of = |line: &str| -> Option<(u32, u32)> {
        let (start, size) = line.split_once("RFC822.SIZE ")?;
        Some((size.trim_end_matches(')').parse().ok()?, start.split(' ').nth(1)?.parse().ok()?))
    };
    let mut order: Vec<(u32, u32)> = sizes.lines().filter_map(size_of).collect();
    assert_eq!(order.len(), 8, "{sizes}");
    order.sort_unstable();
    let order: Vec<String> = order.iter().map(|(_, number)| number.to_string()).collect();
    let told = world.program.imap("SORT (SIZE) UTF-8 ALL");
    assert!(told.starts_with(&format!("* SORT {}\r\n", order.join(" "))), "{told} {sizes}");
}

#[test]
fn sorted_results_are_told_in_every_form_and_saved() {
    let mut world = World::new();
    for returns in ["", "ALL COUNT", "MIN MAX", "MIN", "COUNT"] {
        for rest in ["(REVERSE SUBJECT) UTF-8 ALL", "(FROM DATE) UTF-8 SUBJECT birnen", "(DATE) UTF-8 SEEN"] {
            world.same(&format!("SORT RETURN ({returns}) {rest}"));
            world.same(&format!("UID SORT RETURN ({returns}) {rest}"));
        }
    }
    for (command, saved) in [
        ("SORT RETURN (SAVE) (SUBJECT) UTF-8 SUBJECT birnen", "FETCH $ (UID)"),
        ("SORT RETURN (SAVE MIN) (REVERSE SUBJECT) UTF-8 ALL", "UID FETCH $ (UID)"),
        ("SORT RETURN (SAVE COUNT MAX) (DATE) UTF-8 3:5", "FETCH $ (UID)"),
        ("SORT RETURN (SAVE) (DATE) UTF-8 SUBJECT nowhere", "SEARCH $"),
        ("SEARCH RETURN (SAVE) SUBJECT birnen", "SORT (DATE) UTF-8 $"),
    ] {
        world.same(command);
        world.same(saved);
    }
    // MODSEQs are told where they are asked for.
    let told = world.program.imap("SORT (SUBJECT) UTF-8 MODSEQ 1");
    let modseqs = world.program.imap("FETCH 1:* (MODSEQ)");
    let highest =
        modseqs.lines().filter_map(|line| line.split_once("MODSEQ (")?.1.split(')').next()?.parse().ok());
    let highest: u64 = highest.max().expect("some");
    assert!(told.contains(&format!("(MODSEQ {highest})")), "{told}{modseqs}");
    // What fails, fails as at the server, and leaves nothing saved.
    for (command, start) in [
        ("SORT () UTF-8 ALL", "a BAD"),
        ("SORT (COLOUR) UTF-8 ALL", "a BAD"),
        ("SORT (DATE) KOI8-R ALL", "a NO [BADCHARSET"),
        ("THREAD REFERENCES KOI8-R SUBJECT x", "a NO [BADCHARSET"),
        ("SEARCH CHARSET KOI8-R SUBJECT x", "a NO [BADCHARSET"),
        ("SORT RETURN (SAVE) (DATE) UTF-8 99 SUBJECT x", "a BAD"),
    ] {
        for client in [&mut world.program, &mut world.server] {
            let answer = client.imap(command);
            assert!(answer.starts_with(start), "{command}: {answer}");
        }
    }
    world.same("SEARCH $");
}

#[test]
fn long_searches_and_those_in_newer_forms_find_the_same() {
    let mut world = World::new();
    // More keys than the server takes beside those that tell opened messages from others: several commands.
    for (term, count) in [("SUBJECT e", 600), ("NOT SUBJECT birnen", 450)] {
        let many = vec![term; count].join(" ");
        for returns in ["", "RETURN () ", "RETURN (MIN MAX COUNT) ", "RETURN (SAVE COUNT) "] {
            world.same(&format!("SEARCH {returns}{many}"));
            world.same(&format!("UID SEARCH {returns}{many}"));
        }
        assert!(!world.same("FETCH $ (UID)").is_empty());
        world.same(&format!("SORT (DATE) UTF-8 {many}"));
        // `$` in it is what was saved before.
        world.same(&format!("SEARCH RETURN (SAVE ALL) $ {many} NOT UID 2"));
        world.same("SEARCH $");
    }
    for extension in ["UTF8=ACCEPT", "IMAP4rev2"] {
        assert!(world.same(&format!("ENABLE {extension}")).contains(extension));
        world.same("SEARCH SUBJECT birnen");
        world.same(&format!("SEARCH {}", vec!["NOT SUBJECT birnen"; 450].join(" ")));
        world.same("SORT (DATE) UTF-8 SUBJECT birnen");
    }
    // A mailbox without messages, and one whose messages are all plain.
    world.program.imap("CREATE Empty");
    world.program.imap("CREATE Plain");
    world.server.imap("COPY 2:* Plain");
    for mailbox in ["Empty", "Plain"] {
        for client in [&mut world.program, &mut world.server] {
            assert!(client.imap(&format!("SELECT {mailbox}")).contains("a OK "));
        }
        for command in
            ["SORT (SUBJECT) UTF-8 ALL", "SEARCH SUBJECT birnen", "THREAD REFERENCES UTF-8 TEXT body"]
        {
            world.same(command);
        }
    }
}

/// The number behind a word in each line that has it.
fn numbers(answer: &str, word: &str) -> Vec<u64> {
    let number = |line: &str| {
        let rest = line.split_once(&format!("{word} "))?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    answer.lines().filter_map(number).collect()
}

#[test]
fn sizes_of_mailboxes_are_no_less_than_those_of_their_messages() {
    let mut world = World::new();
    let (program, server) = (&mut world.program, &mut world.server);
    // One mailbox of plain mail alone, one of mail that is signed and has a verdict.
    for (mailbox, message) in [("Plain", "2"), ("Signed", "1")] {
        program.imap(&format!("CREATE {mailbox}"));
        assert!(server.imap(&format!("COPY {message} {mailbox}")).contains("a OK "));
    }
    let mut sizes = Vec::new();
    for mailbox in ["Mixed", "Plain", "Signed"] {
        program.imap(&format!("SELECT {mailbox}"));
        let shown: u64 = numbers(&program.imap("FETCH 1:* (RFC822.SIZE)"), "RFC822.SIZE").iter().sum();
        let answer = program.imap(&format!("STATUS {mailbox} (MESSAGES SIZE)"));
        assert!(!answer.contains("UIDVALIDITY"), "{answer}");
        let told = numbers(&answer, "SIZE");
        let stored = numbers(&server.imap(&format!("STATUS {mailbox} (SIZE)")), "SIZE");
        assert!(told[0] >= shown && told[0] >= stored[0], "{mailbox}: {told:?} {shown} {stored:?}");
        sizes.push((shown, told[0], stored[0]));
    }
    let [mixed, plain, signed] = sizes[..] else { panic!("{sizes:?}") };
    assert_eq!((plain.0, plain.1), (plain.2, plain.2), "plain mail is as the server has it");
    assert!(signed.0 == signed.1 && signed.1 > signed.2, "a verdict takes room: {signed:?}");
    assert!(mixed.1 > mixed.0, "sealed mail takes more at the server");
    // The same in LIST, where somebody asks for UIDVALIDITY as well.
    let answer = program.imap("LIST \"\" (Plain Signed) RETURN (STATUS (UIDVALIDITY SIZE MAILBOXID))");
    assert_eq!(numbers(&answer, "SIZE"), [plain.1, signed.1], "{answer}");
    assert_eq!(answer.matches("UIDVALIDITY ").count(), 2, "{answer}");
    assert_eq!(answer.matches("MAILBOXID (").count(), 2, "{answer}");
    assert!(program.imap("STATUS Nowhere (SIZE)").contains("a NO "));
}

/// What says nothing of messages passes as it is.
#[test]
fn annotations_and_quotas_pass() {
    let mut world = World::new();
    let capabilities = world.program.imap("CAPABILITY");
    for capability in ["METADATA", "LIST-METADATA", "QUOTA", "I18NLEVEL=1", "STATUS=SIZE", "SAVEDATE"] {
        assert!(capabilities.contains(&format!(" {capability}")), "{capability}: {capabilities}");
    }
    for absent in ["COMPRESS", "UNAUTHENTICATE", "AUTH="] {
        assert!(!capabilities.contains(absent), "{absent}: {capabilities}");
    }
    let value = "the \"note\"\r\n with \u{e4}";
    let set = format!("SETMETADATA Mixed (/private/comment {{{}+}}\r\n{value})", value.len());
    assert!(world.program.imap(&set).contains("a OK "));
    for get in ["GETMETADATA Mixed /private/comment", "LIST \"\" Mixed RETURN (METADATA (/private/comment))"]
    {
        let (through, straight) = (world.program.imap(get), world.server.imap(get));
        let untagged = |answer: &str| answer.rsplit_once("a OK ").expect("the end").0.to_owned();
        assert_eq!(untagged(&through), untagged(&straight), "{get}");
        assert!(through.contains("the \"note\""), "{through}");
    }
    world.same("GETQUOTAROOT INBOX");
}

#[test]
fn previews_are_of_what_is_inside() {
    let mut world = World::new();
    let bodies = [
        ("", "> quoted\r\nThe answer,  in\r\n\ttwo lines\r\n".to_owned()),
        ("Content-Type: text/html; charset=utf-8\r\n", "<style>p{}</style><p>Gr\u{fc}\u{df}e &amp; K\u{fc}sse</p>".to_owned()),
        ("", "word ".repeat(100)),
        ("Content-Type: text/html\r\n", "<!-- ".to_owned() + &"x".repeat(70_000) + " --><p>too far</p>"),
        (
            "Content-Type: multipart/mixed; boundary=b\r\n",
            "--b\r\n\r\n \r\n--b\r\nContent-Disposition: attachment\r\n\r\na file\r\n--b\r\n\r\nthen words\r\n--b--\r\n"
                .to_owned(),
        ),
        ("Content-Type: image/png\r\n", "AAAA".to_owned()),
    ];
    for (header, body) in &bodies {
        let message = format!(
            "From: bob@example.com\r\nDate: Sat, 01 Feb 2020 10:00:00 +0000\r\nMessage-ID: <{}@x>\r\n\
             MIME-Version: 1.0\r\n{header}\r\n{body}",
            body.len()
        );
        for (client, mailbox) in [(&mut world.program, "Mixed"), (&mut world.server, "Same")] {
            client.send(format!("a APPEND {mailbox} {{{}+}}\r\n{message}\r\n", message.len()));
            let answer = client.tagged();
            assert!(answer.contains("a OK "), "{answer}");
        }
    }
    let mut previews = Vec::new();
    for number in 1..=8 + bodies.len() {
        previews.push(world.same(&format!("FETCH {number} (UID PREVIEW)")));
    }
    for words in ["The answer, in two lines", "Gr\u{fc}\u{df}e & K\u{fc}sse", "then words", "quinces"] {
        assert!(previews.iter().any(|told| told.contains(words)), "{words}: {previews:?}");
    }
}
