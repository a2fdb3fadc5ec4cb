//! Mail that comes from other programs' files.

use sealpost_client::transfer::{
    maildir::{FileName, Keywords},
    mbox::{Quoting, Reader},
};

/// Messages are found to the end of the file, in either quoting; written as our export writes them they are read back.
pub(crate) fn mbox(input: &[u8]) {
    for quoting in [Quoting::Rd, Quoting::O] {
        let mut reader = Reader::new(input, quoting);
        loop {
            let mut out = Vec::new();
            match reader.next(&mut out) {
                Ok(Some(_)) => {
                    assert!(out.len() as u64 <= reader.position(), "more came out than went in");
                    if quoting == Quoting::Rd {
                        read_back(out);
                    }
                }
                Ok(None) => {
                    assert_eq!(reader.position(), input.len() as u64, "the end of the file was left");
                    break;
                }
                Err(_) => break,
            }
        }
    }
}

fn read_back(mut message: Vec<u8>) {
    // An mbox cannot hold a message without a line end.
    if !message.is_empty() && !message.ends_with(b"\n") {
        message.push(b'\n');
    }
    let mut file = b"From x Thu Jan  1 00:00:00 1970\nStatus: O\nX-Status: \nX-Keywords: \n".to_vec();
    for line in message.split_inclusive(|b| *b == b'\n') {
        let text = line.iter().position(|b| *b != b'>').unwrap_or(line.len());
        if line[text..].starts_with(b"From ") {
            file.push(b'>');
        }
        file.extend_from_slice(line);
    }
    file.push(b'\n');
    let mut reader = Reader::new(&file[..], Quoting::Rd);
    let mut out = Vec::new();
    let envelope = reader.next(&mut out).expect("memory").expect("a message");
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&message));
    assert!(envelope.flags.is_empty() && !envelope.expunged, "the message's own fields are no notes");
    assert_eq!(reader.next(&mut Vec::new()).expect("memory"), None);
}

/// Names of files, one a line, behind a line `==` the words of `dovecot-keywords`. Flags written are read back.
pub(crate) fn maildir(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (names, words) = text.split_once("==\n").unwrap_or((&text, ""));
    let mut keywords = Keywords::parse(words);
    assert_eq!(Keywords::parse(&keywords.text()), keywords);
    for name in names.lines() {
        let parsed = FileName::parse(name.as_bytes());
        let flags = parsed.flags(&keywords);
        let (letters, new, left_out) = keywords.letters(&flags);
        assert!(!new && left_out.is_empty(), "a letter without a word has a flag");
        let unique = String::from_utf8_lossy(&parsed.unique).into_owned();
        let again = FileName::parse(format!("{unique},S=1:2,{letters}").as_bytes());
        let mut other = again.flags(&keywords);
        let by_name = |flag: &sealpost_proto::imap::Flag| flag.to_string().to_ascii_lowercase();
        let mut flags = flags;
        flags.sort_by_key(by_name);
        flags.dedup_by_key(|flag| by_name(flag));
        other.sort_by_key(by_name);
        assert_eq!(flags, other);
        if !unique.is_empty() && !unique.starts_with([',', ':']) {
            assert_eq!(String::from_utf8_lossy(&again.unique), unique);
        }
    }
}
