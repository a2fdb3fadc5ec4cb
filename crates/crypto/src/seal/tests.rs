//! R25: armour, damage, foreign sealings, limits.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

fn key(n: u16) -> SecretKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_seed(seed)
}

fn seal(recipients: &[u16], plain: &[u8]) -> Vec<u8> {
    let recipients: Vec<_> = recipients.iter().map(|n| key(*n).public()).collect();
    let mut writer = seal_armoured(&recipients, Vec::new()).expect("sealed");
    writer.write_all(plain).expect("sealed");
    writer.finish().expect("sealed")
}

fn open(identities: &[u16], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let identities: Vec<_> = identities.iter().map(|n| key(*n)).collect();
    let mut plain = Vec::new();
    open_armoured(&identities, sealed)?.read_to_end(&mut plain)?;
    Ok(plain)
}

fn outcome<T>(result: &Result<T, SealError>) -> &'static str {
    match result {
        Ok(_) => "opened",
        Err(SealError::NotForUs) => "not for us",
        Err(SealError::TooManyStanzas) => "too many",
        Err(SealError::ForeignStanza) => "foreign",
        Err(SealError::Damaged) => "damaged",
        Err(_) => "other",
    }
}

/// Lays binary age out as armour.
fn armour(binary: &[u8]) -> Vec<u8> {
    let mut writer = armor::ArmoredWriter::wrap_output(Vec::new(), armor::Format::AsciiArmor).expect("vec");
    writer.write_all(binary).expect("vec");
    writer.finish().expect("vec")
}

fn dearmour(text: &[u8]) -> Vec<u8> {
    let mut binary = Vec::new();
    armor::ArmoredReader::new(text).read_to_end(&mut binary).expect("armour");
    binary
}

/// Binary age with another header put before the MAC line.
fn with_header(sealed: &[u8], edit: impl FnOnce(&str) -> String) -> Vec<u8> {
    let binary = dearmour(sealed);
    let end = binary.windows(4).position(|w| w == b"\n---").expect("a MAC line") + 1;
    let header = std::str::from_utf8(&binary[..end]).expect("ASCII");
    armour(&[edit(header).as_bytes(), &binary[end..]].concat())
}

#[test]
fn r25_armour_is_ascii_with_crlf_and_64_columns() {
    for size in [0, 1, 47, 48, 100, 6_143, 6_144, 65_536, 200_000] {
        let sealed = seal(&[1], &vec![b'x'; size]);
        let text = String::from_utf8(sealed).expect("ASCII");
        assert!(text.is_ascii());
        let lines: Vec<&str> = text.split("\r\n").collect();
        let [first, body @ .., tail, last, end] = &lines[..] else { panic!("too few lines") };
        assert_eq!(first.as_bytes(), ARMOUR_BEGIN);
        assert!(body.iter().all(|l| l.len() == 64 && !l.contains(['\r', '\n'])), "{size}");
        assert!((1..=64).contains(&tail.len()), "{size}");
        assert_eq!((*last, *end), ("-----END AGE ENCRYPTED FILE-----", ""));
    }
}

#[test]
fn flushing_in_between_changes_nothing() {
    let mut writer = seal_armoured(&[key(1).public()], Vec::new()).expect("sealed");
    for _ in 0..1_000 {
        writer.write_all(&[7; 100]).expect("sealed");
        writer.flush().expect("sealed");
    }
    let sealed = writer.finish().expect("sealed");
    assert!(sealed.split(|b| *b == b'\n').all(|l| l.len() <= 65));
    assert_eq!(open(&[1], &sealed).expect("opened"), vec![7; 100_000]);
}

#[test]
fn each_recipient_opens_and_nobody_else() {
    let sealed = seal(&[1, 2, 2, 1], b"hello");
    for n in [1, 2] {
        assert_eq!(open(&[n], &sealed).expect("opened"), b"hello");
        assert_eq!(open(&[8, 9, n], &sealed).expect("opened"), b"hello");
    }
    assert_eq!(outcome(&open(&[3], &sealed)), "not for us");
    assert_eq!(outcome(&open(&[], &sealed)), "not for us");
    // Repeated recipients get one stanza each; the third is the crate's grease.
    let text = dearmour(&sealed);
    assert_eq!(text.windows(4).filter(|w| w == b"\n-> ").count(), 3);
    assert!(matches!(seal_armoured(&[], Vec::new()), Err(SealError::NoRecipients)));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_damage() {
    let sealed = seal(&[1], &[b'x'; 500]);
    // Without the END line's line end the armour is whole.
    for cut in 0..sealed.len() - 2 {
        let got = outcome(&open(&[1], &sealed[..cut]));
        assert_eq!(got, "damaged", "cut at {cut}");
    }
    let binary = dearmour(&sealed);
    let mac = binary.windows(4).position(|w| w == b"--- ").expect("a MAC line");
    for i in 0..binary.len() {
        let mut bad = binary.clone();
        bad[i] ^= 1;
        let got = outcome(&open(&[1], &armour(&bad)));
        assert_ne!(got, "opened", "octet {i}");
        if i >= mac {
            assert_eq!(got, "damaged", "octet {i}");
        }
    }
    for size in [0, 1, 65_535, 65_536, 65_537, 131_072] {
        let binary = dearmour(&seal(&[1], &vec![b'x'; size]));
        assert_eq!(open(&[1], &armour(&binary)).expect("whole").len(), size);
        for (what, bad) in [
            ("trailing octet", [&binary[..], &[0]].concat()),
            ("last octet gone", binary[..binary.len() - 1].to_vec()),
            ("last chunk gone", binary[..binary.len() - (size % 65_536 + 16)].to_vec()),
        ] {
            assert_eq!(outcome(&open(&[1], &armour(&bad))), "damaged", "{size}: {what}");
        }
    }
}

#[test]
fn reading_on_after_damage_gives_no_end_of_file() {
    let binary = dearmour(&seal(&[1], &vec![b'x'; 70_000]));
    let bad = armour(&binary[..binary.len() - 20]);
    let mut reader = open_armoured(&[key(1)], &bad[..]).expect("the header is whole");
    let mut plain = Vec::new();
    assert!(reader.read_to_end(&mut plain).is_err());
    for _ in 0..3 {
        assert!(reader.read(&mut [0; 10]).is_err());
    }
}

#[test]
fn armour_is_found_by_the_caller_and_taken_strictly() {
    let sealed = String::from_utf8(seal(&[1], b"hello")).expect("ASCII");
    assert_eq!(outcome(&open(&[1], sealed.replace("\r\n", "\n").as_bytes())), "opened", "LF");
    assert_eq!(outcome(&open(&[1], format!("{sealed}\r\n \r\n").as_bytes())), "opened", "white space behind");
    assert_eq!(outcome(&open(&[1], sealed.trim_end().as_bytes())), "opened", "no line end behind");
    let body_start = sealed.find("\r\n").expect("lines") + 2;
    for (what, bad) in [
        ("nothing", String::new()),
        ("blank line before", format!("\r\n{sealed}")),
        ("space before", format!(" {sealed}")),
        ("text behind", format!("{sealed}x")),
        ("no end", sealed.replace("-----END AGE ENCRYPTED FILE-----\r\n", "")),
        ("blank line in between", sealed.replacen("\r\n", "\r\n\r\n", 1)),
        ("other columns", format!("{}\r\n{}", &sealed[..body_start + 60], &sealed[body_start + 60..])),
        ("one long line", format!("{}{}", &sealed[..body_start], "A".repeat(100_000))),
        ("long first line", "-".repeat(100_000)),
        ("other armour", sealed.replace("AGE ENCRYPTED FILE", "PGP MESSAGE")),
        ("space in a line", format!("{} {}", &sealed[..body_start + 3], &sealed[body_start + 4..])),
    ] {
        assert_eq!(outcome(&open(&[1], bad.as_bytes())), "damaged", "{what}");
    }
    assert_eq!(outcome(&open(&[1], &dearmour(sealed.as_bytes()))), "damaged", "binary");
}

#[test]
fn foreign_stanzas_are_refused_and_grease_is_not() {
    let sealed = seal(&[1], b"hello");
    let add = |line: &str| with_header(&sealed, |h| format!("{h}-> {line}\nAAAA\n"));
    for kind in [
        "X25519 abc",
        "scrypt abc 18",
        "piv-p256 abc",
        "ssh-ed25519x abc",
        "SSH-ED25519 a",
        "grease",
        "-grease-x",
    ] {
        assert_eq!(outcome(&open(&[1], &add(kind))), "foreign", "{kind}");
    }
    // Taken, so that the MAC is what fails.
    for kind in ["ssh-rsa abc", "ssh-ed25519 abcdef", "x-grease abc", "-grease"] {
        assert_eq!(outcome(&open(&[1], &add(kind))), "damaged", "{kind}");
    }
    for (what, bad) in [
        ("version 2", with_header(&sealed, |h| h.replace("org/v1", "org/v2"))),
        ("overlong line", with_header(&sealed, |h| format!("{h}-> x-grease {}\n\n", "a".repeat(2_000)))),
        (
            "overlong header",
            with_header(&sealed, |h| {
                format!("{h}-> x-grease\n{}\n", format!("{}\n", "A".repeat(64)).repeat(20_000))
            }),
        ),
        ("no stanza", with_header(&sealed, |_| "age-encryption.org/v1\n".to_owned())),
        ("CR", with_header(&sealed, |h| h.replace('\n', "\r\n"))),
    ] {
        assert_eq!(outcome(&open(&[1], &bad)), "damaged", "{what}");
    }
}

#[test]
fn a_thousand_stanzas_are_opened_and_not_one_more() {
    let all: Vec<u16> = (0..999).collect();
    let sealed = seal(&all, b"hello");
    assert_eq!(open(&[998], &sealed).expect("1,000 with grease"), b"hello");
    let more = with_header(&sealed, |h| format!("{h}-> x-grease\n\n"));
    assert_eq!(outcome(&open(&[998], &more)), "too many");
    let keys: Vec<_> = (0..1_000).map(|n| key(n).public()).collect();
    assert!(matches!(seal_armoured(&keys, Vec::new()), Err(SealError::TooManyStanzas)));
}

#[test]
fn bytes_round_trip() {
    let sealed = seal_bytes(&[key(1).public(), key(2).public()], b"hello").expect("sealed");
    assert!(sealed.starts_with(VERSION_LINE));
    assert_eq!(open_bytes(&[key(2)], &sealed).expect("opened").as_slice(), b"hello");
    assert!(matches!(open_bytes(&[key(3)], &sealed), Err(SealError::NotForUs)));
    assert!(matches!(open_bytes(&[key(1)], &sealed[..sealed.len() - 1]), Err(SealError::Damaged)));
    assert!(matches!(open_bytes(&[key(1)], b""), Err(SealError::Damaged)));
}

#[test]
fn failing_input_is_not_called_damage() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "no"))
        }
    }
    assert!(matches!(open_armoured(&[key(1)], Broken), Err(SealError::Io(_))));
}

/// Counts what passes, and gives or takes any amount.
#[derive(Default)]
struct Counted {
    passed: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    give: Vec<u8>,
}

impl Write for Counted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.passed.fetch_add(buf.len(), Relaxed);
        self.give.extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at = self.passed.load(Relaxed);
        let n = (&self.give[at..]).read(buf)?;
        self.passed.store(at + n, Relaxed);
        Ok(n)
    }
}

/// A message of any size takes a few chunks of memory: what goes in comes out soon, what comes out was just read.
#[test]
fn sealing_and_opening_run_in_bounded_memory() {
    const HELD: usize = 256 * 1_024;
    const SIZE: usize = 8 << 20;
    let block = [b'x'; 8_192];
    let out = Counted::default();
    let passed = out.passed.clone();
    let mut writer = seal_armoured(&[key(1).public()], out).expect("sealed");
    for n in 1..=SIZE / block.len() {
        writer.write_all(&block).expect("sealed");
        assert!(passed.load(Relaxed) + HELD > n * block.len() / 3 * 4, "holds back after {n} blocks");
    }
    let sealed = writer.finish().expect("sealed").give;

    let input = Counted { give: sealed, ..Counted::default() };
    let passed = input.passed.clone();
    let mut reader = open_armoured(&[key(1)], input).expect("opened");
    let (mut opened, mut block) = (0, block);
    loop {
        let n = reader.read(&mut block).expect("whole");
        if n == 0 {
            break;
        }
        opened += n;
        assert!(
            passed.load(Relaxed) < opened / 3 * 4 + opened / 20 + HELD,
            "reads ahead after {opened} octets"
        );
    }
    assert_eq!(opened, SIZE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn round_trips(plain: Vec<u8>, pieces in 1usize..50) {
        let mut writer = seal_armoured(&[key(1).public()], Vec::new()).expect("sealed");
        for piece in plain.chunks(pieces) {
            writer.write_all(piece).expect("sealed");
        }
        let sealed = writer.finish().expect("sealed");
        prop_assert_eq!(open(&[1], &sealed).map_err(|e| TestCaseError::fail(e.to_string()))?, plain);
    }

    #[test]
    fn opening_never_panics(bytes: Vec<u8>, stanzas in "(-> [a-z0-9 -]{0,20}\n[A-Za-z0-9+/]{0,64}\n){0,4}") {
        let _ = open(&[1], &bytes);
        let binary = [b"age-encryption.org/v1\n", stanzas.as_bytes(), b"--- ", &bytes].concat();
        let _ = open(&[1], &armour(&binary));
        let _ = open_bytes(&[key(1)], &binary);
    }
}
