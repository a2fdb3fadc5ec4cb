//! IMAP: commands, responses, names, the structure of messages.

use super::lines;
use crate::{Rng, feedback};
use bytes::BytesMut;
use sealpost_proto::imap::{
    Atom, Command, Flag, Limits, MailboxName, Names, Received, Receiver, Reply, SequenceSet, Tag, encode,
    envelope::Envelope,
    mime::{Scanner, Structure},
    parse, quote_mailbox, reply as parse_reply, response, structure, threading, utf7,
};

/// Small, so that inputs get over them.
const LIMITS: Limits = Limits { line: 300, literal: 100, whole: 600 };

/// Everything that is received, with literals taken where they fit.
fn receive(pieces: &[&[u8]], limits: Limits) -> Vec<(Received, Vec<u8>)> {
    let (mut receiver, mut input, mut all) = (Receiver::new(limits), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let what = receiver.receive(&mut input);
            match what {
                Received::More | Received::Endless => break,
                Received::Literal(head) => {
                    let taken = receiver.accept_literal(head);
                    assert!(!taken || head.len <= limits.literal as u64);
                    if !taken && head.sync {
                        all.push((what, receiver.refuse_literal().to_vec()));
                    } else if !taken {
                        receiver.skip_literal(head);
                    }
                }
                Received::Whole | Received::TooLong => {
                    let whole = receiver.take().to_vec();
                    assert!(whole.len() <= limits.whole, "more than the limit is kept");
                    all.push((what, whole));
                }
            }
        }
        assert!(receiver.so_far().len() <= limits.whole);
    }
    all
}

/// How the input is cut does not matter; a command that is read, written and read again is the same command.
pub(crate) fn command(input: &[u8]) {
    let pieces = Rng::of(input).pieces(input);
    let whole = receive(&[input], LIMITS);
    assert_eq!(receive(&pieces, LIMITS), whole, "it matters how the input is cut");
    let commands = receive(&[input], Limits::SERVER);
    for (_, octets) in commands.iter().filter(|(received, _)| *received == Received::Whole) {
        let _ = (parse::tag_of(octets), parse::is_append(octets));
        for names in [Names::Utf7, Names::Utf8] {
            let _ = parse::append_start(octets, names);
            let _ = (parse::append_next(octets, false), parse::append_next(octets, true));
            let parsed = parse::command(octets, names);
            let kind = match &parsed {
                Ok(command) => format!("{:?}", command.body),
                Err(error) => format!("{error:?}"),
            };
            feedback::happened(
                kind.trim_start_matches('(').split(['(', '{', ' ']).next().unwrap_or_default(),
            );
            let Ok(command) = parsed else { continue };
            written(&command, names);
        }
    }
}

/// What is written of a command is one, and reads as the same.
fn written(command: &Command, names: Names) {
    let pieces = encode::command(command, names);
    let last = pieces.len() - 1;
    assert!(pieces.iter().enumerate().all(|(n, piece)| piece.wait == (n < last)));
    let written: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
    let received = receive(&[&written], Limits::CLIENT);
    assert_eq!(received, [(Received::Whole, written.clone())], "what we write is not one command");
    let again = parse::command(&written, names);
    assert!(again.as_ref() == Ok(command), "{command:?} became {again:?}");
}

/// The same for a command of another target.
pub(crate) fn goes_as_one(command: &Command) {
    written(command, Names::Utf7);
}

/// A response is read or refused, however deep it nests; text for people holds no control characters.
pub(crate) fn reply(input: &[u8]) {
    for (received, octets) in receive(&[input], Limits::CLIENT) {
        if received != Received::Whole {
            continue;
        }
        for names in [Names::Utf7, Names::Utf8] {
            let read = parse_reply(&octets, names);
            feedback::happened(&feedback::shape(&format!("{read:?}")));
            match read {
                Ok(Reply::Tagged(_, _, text) | Reply::Untagged(_, text)) => {
                    assert!(!text.text.chars().chain(text.arguments.chars()).any(char::is_control));
                }
                Ok(Reply::Continue(text)) => assert!(!text.chars().any(char::is_control)),
                _ => {}
            }
        }
    }
}

/// Names, flags, sets: what is read is what was written, in both encodings of names.
pub(crate) fn names(input: &[u8]) {
    for line in lines(input) {
        assert_eq!(utf7::decode(&utf7::encode(line)).as_deref(), Some(line), "UTF-7 of {line:?}");
        if let Some(name) = utf7::decode(line) {
            assert_eq!(utf7::encode(&name), line, "another spelling of {name:?}");
        }
        if let Some(name) = MailboxName::new(line) {
            for names in [Names::Utf7, Names::Utf8] {
                let response = format!("* LIST () \"/\" {}\r\n", quote_mailbox(&name, names));
                match parse_reply(response.as_bytes(), names) {
                    Ok(Reply::List { name: again, .. }) => assert_eq!(again, name.as_str()),
                    other => panic!("{response:?} is read as {other:?}"),
                }
            }
        }
        if let Some(tag) = Tag::new(line) {
            let command = format!("{tag} NOOP\r\n");
            assert!(parse::command(command.as_bytes(), Names::Utf8).is_ok_and(|c| c.tag == tag));
        }
        if let Some(atom) = Atom::new(line) {
            let flag = Flag::Keyword(atom);
            let command = format!("a STORE 1 FLAGS ({flag})\r\n");
            let read = parse::command(command.as_bytes(), Names::Utf8);
            assert!(read.is_ok(), "{command:?}: {read:?}");
        }
        let numbers: Vec<u32> = line.split(',').filter_map(|n| n.parse().ok()).filter(|n| *n > 0).collect();
        if let Some(set) = SequenceSet::from_numbers(&numbers) {
            let ranges = set.resolve(u32::MAX);
            let within = |n: &u32| ranges.iter().any(|(first, last)| (first..=last).contains(&n));
            assert!(numbers.iter().all(within), "a number got lost");
            let count: u64 = ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
            let mut distinct = numbers.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(count, distinct.len() as u64, "a number was won");
        }
    }
}

fn scan(pieces: &[&[u8]]) -> Structure {
    let mut scanner = Scanner::new();
    for piece in pieces {
        scanner.push(piece);
    }
    scanner.finish()
}

fn told(structure: &Structure) -> Vec<u8> {
    let mut out = b"* 1 FETCH (ENVELOPE ".to_vec();
    if let Some(root) = structure.nodes.first() {
        let start = out.len();
        structure::envelope(&mut out, root);
        Envelope::read(&out[start..]).expect("an envelope can be read");
    } else {
        response::nstring(&mut out, None);
    }
    let mut extended = Vec::new();
    let mut at = 0;
    out.extend_from_slice(b" BODY ");
    for extension in structure::body_structure(&mut extended, structure) {
        out.extend_from_slice(&extended[at..extension.start]);
        at = extension.end;
    }
    out.extend_from_slice(&extended[at..]);
    out.extend_from_slice(b" BODYSTRUCTURE ");
    out.extend_from_slice(&extended);
    out.extend_from_slice(b")\r\n");
    out
}

/// However a message is cut, its structure is the same, its parts lie within it, and what FETCH says of it is one
/// response that our own client can read.
pub(crate) fn mime(input: &[u8]) {
    let whole = scan(&[input]);
    let cut = scan(&Rng::of(input).pieces(input));
    let told_whole = told(&whole);
    assert_eq!(
        String::from_utf8_lossy(&told(&cut)),
        String::from_utf8_lossy(&told_whole),
        "it matters how the input is cut"
    );
    for node in &whole.nodes {
        feedback::happened(&format!("{} {}", node.header == node.body, node.body == node.end));
        assert!(node.header <= node.body && node.body <= node.end && node.end <= input.len() as u64);
    }
    let received = receive(&[&told_whole], Limits::CLIENT);
    assert_eq!(received.len(), 1, "FETCH is not one response: {}", String::from_utf8_lossy(&told_whole));
    let read = parse_reply(&received[0].1, Names::Utf8);
    assert!(
        matches!(&read, Ok(Reply::Fetch(values)) if values.len() == 3),
        "{read:?}: {}",
        String::from_utf8_lossy(&told_whole)
    );
    assert!(!sealpost_server::imap::index::build(input).is_empty() || input.len() > 10_000);
    for id in threading::message_ids(input) {
        assert!(!id.is_empty(), "an id of nothing");
    }
    let base = threading::base_subject(&String::from_utf8_lossy(input));
    assert_eq!(threading::base_subject(&base.text).text, base.text, "a base has itself as base");
}
