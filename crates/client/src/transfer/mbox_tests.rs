//! mbox files as programs write them, and our own there and back.

use super::{
    mbox::{Envelope, MboxError, Quoting, Reader},
    mbox_write,
    stage::{Crlf, Stage, Staged},
};
use proptest::prelude::*;
use sealpost_proto::{
    imap::{Atom, Flag},
    time::Timestamp,
};
use std::io::Write as _;

fn read(file: &[u8], quoting: Quoting) -> Result<Vec<(String, Envelope)>, MboxError> {
    let mut reader = Reader::new(file, quoting);
    let mut all = Vec::new();
    loop {
        let mut out = Vec::new();
        match reader.next(&mut out)? {
            Some(envelope) => all.push((String::from_utf8_lossy(&out).into_owned(), envelope)),
            None => return Ok(all),
        }
    }
}

fn messages(file: &str) -> Vec<String> {
    read(file.as_bytes(), Quoting::Rd).unwrap().into_iter().map(|(text, _)| text).collect()
}

const F: &str = "From a@b Tue Jan  2 03:04:05 2024\n";

#[test]
fn where_messages_begin_and_end() {
    for (file, expected) in [
        (String::new(), vec![]),
        ("\n\n".into(), vec![]),
        (format!("{F}A: 1\n\nx\n\n{F}A: 2\n\ny\n\n"), vec!["A: 1\n\nx\n", "A: 2\n\ny\n"]),
        // No empty line before the second, none at the end, not even a line end.
        (format!("{F}A: 1\n\nx\n{F}A: 2\n\ny"), vec!["A: 1\n\nx\n", "A: 2\n\ny"]),
        // Only the last of several empty lines is the file's.
        (format!("{F}A: 1\n\nx\n\n\n\n{F}A: 2\n\n"), vec!["A: 1\n\nx\n\n\n", "A: 2\n"]),
        // Text that begins like one.
        (format!("{F}A: 1\n\nFrom here on\n\nFrom there\n\n"), vec!["A: 1\n\nFrom here on\n\nFrom there\n"]),
        // Thunderbird's bare separator, behind an empty line alone.
        ("From \nA: 1\n\nx\n\nFrom \nA: 2\n\nFrom\n\n".to_owned(), vec!["A: 1\n\nx\n", "A: 2\n\nFrom\n"]),
        (
            "From - Tue Jan 02 03:04:05 2024\r\nA: 1\r\n\r\nx\r\n\r\nFrom \r\nA: 2\r\n\r\n\r\n".into(),
            vec!["A: 1\r\n\r\nx\r\n", "A: 2\r\n\r\n"],
        ),
        // An empty message, and one of empty lines.
        (format!("{F}\n{F}\n\n\n"), vec!["", "\n\n"]),
        (format!("\n\n{F}A: 1\n\n"), vec!["A: 1\n"]),
    ] {
        assert_eq!(messages(&file), expected, "{file:?}");
    }
    for no_mbox in ["Subject: a message\n\nx\n", ">From a\n", "From a@b Tue Jan  2 03:04:05 2024", "\0\0\n"] {
        assert!(matches!(read(no_mbox.as_bytes(), Quoting::Rd), Err(MboxError::NotMbox)), "{no_mbox:?}");
    }
}

#[test]
fn quoting_is_undone_once() {
    let file = format!("{F}>From: no\n\n>From x\n>>From y\n>> From z\n>>>From \n");
    assert_eq!(messages(&file), [">From: no\n\nFrom x\n>From y\n>> From z\n>>From \n"]);
    let o = read(file.as_bytes(), Quoting::O).unwrap().remove(0).0;
    assert_eq!(o, ">From: no\n\nFrom x\n>>From y\n>> From z\n>>>From \n");
}

#[test]
fn notes_of_mail_programs_are_flags_and_not_part_of_the_message() {
    let keyword = |word| Flag::Keyword(Atom::new(word).unwrap());
    for (header, left, flags) in [
        (
            "A: 1\nStatus: RO\nX-Status: AF\nX-Keywords: $Junk  work\n\n",
            "A: 1\n\n",
            vec![Flag::Seen, Flag::Answered, Flag::Flagged, keyword("$Junk"), keyword("work")],
        ),
        ("status: O\nx-status: T\nA: 1\n\n", "A: 1\n\n", vec![Flag::Draft]),
        // Python.
        ("A: 1\nStatus: R\nX-Status: D\n\n", "A: 1\n\n", vec![Flag::Seen, Flag::Deleted]),
        // Thunderbird.
        (
            "X-Mozilla-Status: 1007\nX-Mozilla-Status2: 00800000\nX-Mozilla-Keys: $label1   \nA: 1\n\n",
            "A: 1\n\n",
            vec![Flag::Seen, Flag::Answered, Flag::Flagged, keyword("$Forwarded"), keyword("$label1")],
        ),
        // Keywords over two lines, and one that is no atom.
        ("X-Keywords: a\n\tb(c\nA: 1\n\n", "A: 1\n\n", vec![keyword("a"), keyword("b_c")]),
        // What is not such a note is the message's own; so is what stands there twice, and the text.
        ("Status: fixed\nX-Mozilla-Status: odd\n\n", "Status: fixed\nX-Mozilla-Status: odd\n\n", vec![]),
        ("Status: R\nStatus: R\n\nStatus: R\n", "Status: R\n\nStatus: R\n", vec![Flag::Seen]),
        // Our own three: all behind them is the message's.
        (
            "Status: O\nX-Status: \nX-Keywords: \nStatus: R\nX-Mozilla-Status: 0001\n\n",
            "Status: R\nX-Mozilla-Status: 0001\n\n",
            vec![],
        ),
        ("Status: O\nX-Status: \nX-Keywords: \n folded\n\n", " folded\n\n", vec![]),
    ] {
        let file = format!("{F}{header}x\n\n");
        let (text, envelope) = read(file.as_bytes(), Quoting::Rd).unwrap().remove(0);
        assert_eq!(text, format!("{left}x\n"), "{header}");
        assert_eq!(envelope.flags, flags, "{header}");
        assert_eq!((envelope.date, envelope.expunged), (Some(Timestamp(1_704_164_645)), false));
    }
    let file = format!("{F}X-Mozilla-Status: 0009\n\n");
    assert!(read(file.as_bytes(), Quoting::Rd).unwrap()[0].1.expunged);
}

#[test]
fn lines_of_any_length() {
    let long = "x".repeat(200_000);
    let file = format!("{F}A: {long}\n\n{long}\nFrom {long} Tue Jan  2 03:04:05 2024\n\n");
    assert_eq!(messages(&file), [format!("A: {long}\n\n{long}\nFrom {long} Tue Jan  2 03:04:05 2024\n")]);
}

fn staged(octets: &[u8]) -> Staged {
    let mut stage = Stage::new(&std::env::temp_dir(), u64::MAX);
    stage.write_all(octets).unwrap();
    stage.finish().unwrap()
}

fn flags() -> impl Strategy<Value = Vec<Flag>> {
    let word = "[a-z$_]{1,8}".prop_map(|word| Flag::Keyword(Atom::new(word).unwrap()));
    let one = prop_oneof![
        Just(Flag::Seen),
        Just(Flag::Answered),
        Just(Flag::Flagged),
        Just(Flag::Deleted),
        Just(Flag::Draft),
        word
    ];
    proptest::collection::vec(one, 0..5).prop_map(|mut flags| {
        flags.sort_by_key(ToString::to_string);
        flags.dedup();
        flags
    })
}

proptest! {
    /// Every message that ends its last line, whatever stands in it, with its flags and date.
    #[test]
    fn export_and_import_are_inverses(
        all in proptest::collection::vec(
            (
                "((|>|>>|From |From: | |a|Status: R|X-Status: A|X-Keywords: b|X-Mozilla-Status: 0001|From a Tue Jan  2 03:04:05 2024|\r|\0)\r\n){0,6}",
                flags(),
                -62_135_596_800_i64..253_402_300_799,
            ),
            0..4,
        ),
    ) {
        let mut file = Vec::new();
        for (text, flags, date) in &all {
            mbox_write::write(&mut file, flags, Some(Timestamp(*date)), &mut staged(text.as_bytes())).unwrap();
        }
        let mut reader = Reader::new(&file[..], Quoting::Rd);
        for (text, flags, date) in &all {
            let mut out = Crlf::new(Vec::new());
            let mut envelope = reader.next(&mut out).unwrap().unwrap();
            envelope.flags.sort_by_key(ToString::to_string);
            let octets = out.into_inner();
            prop_assert_eq!(String::from_utf8_lossy(&octets), text.as_str());
            prop_assert_eq!(&envelope.flags, flags);
            prop_assert_eq!(envelope.date, Some(Timestamp(*date)));
        }
        prop_assert_eq!(reader.next(&mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let file = [F.as_bytes(), &octets].concat();
        let _ = (read(&octets, Quoting::Rd), read(&file, Quoting::O));
    }
}
