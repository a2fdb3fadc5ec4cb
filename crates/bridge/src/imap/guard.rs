//! What a mail program may hear of the home server, which is not believed. Three things are kept from it: responses that
//! two readers could read in two ways, content that nobody asked for, and marks of a verdict that are not the bridge's.

use super::wire::{self, Item, items};
use crate::entry::Keywords;
use sealpost_proto::{
    address::{Address, Mailbox},
    message::{ENCRYPTED_FIELD, Header, MailboxList, SIGNATURE_FIELD},
};

/// Items of FETCH that say nothing of the content: they are the server's to tell, asked or not (RFC 9051 §7.5.2).
const OWN_ITEMS: [&str; 7] = ["UID", "FLAGS", "INTERNALDATE", "MODSEQ", "SAVEDATE", "EMAILID", "THREADID"];
/// Responses in which strings stand, and so literals may; all others are numbers, atoms or text up to the line's end.
const WITH_STRINGS: [&str; 11] = [
    "LIST",
    "LSUB",
    "STATUS",
    "METADATA",
    "NAMESPACE",
    "ID",
    "QUOTA",
    "QUOTAROOT",
    "ESEARCH",
    "ACL",
    "MYRIGHTS",
];
/// The name of the verdict's field as it is looked for.
const VERDICT: &[u8] = b"sealpost-verdict";

/// Whether a response, or a piece of one up to a literal's announcement, is put together as RFC 9051 §9 has it: CR, LF
/// and NUL inside literals alone, and literals only where a string may stand. Text that ends like an announcement would
/// else be a literal for one reader, and the next response for another.
pub(crate) fn is_sound(piece: &[u8], continued: bool) -> bool {
    let Some(line) = piece.strip_suffix(b"\r\n") else { return false };
    let odd = line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    if !odd && !line.ends_with(b"}") {
        return true;
    }
    if !continued && !may_hold_strings(line) {
        // Text may end in a brace, but not look like an announcement.
        return !odd && announcement(line, line.iter().rposition(|b| *b == b'{').unwrap_or(0)).is_none();
    }
    let mut at = 0;
    while let Some(octet) = line.get(at) {
        match octet {
            b'\r' | b'\n' | 0 => return false,
            b'"' => {
                let Some(end) = end_of_quoted(line, at) else { return false };
                at = end;
            }
            b'{' => match announcement(line, at) {
                None => at += 1,
                Some((behind, _)) if behind == line.len() => return stands_apart(line, at),
                Some((behind, length)) => {
                    let Some(end) = behind.checked_add(2).and_then(|start| start.checked_add(length)) else {
                        return false;
                    };
                    if !line[behind..].starts_with(b"\r\n") || end > line.len() || !stands_apart(line, at) {
                        return false;
                    }
                    at = end;
                }
            },
            _ => at += 1,
        }
    }
    true
}

fn may_hold_strings(line: &[u8]) -> bool {
    let mut words = line.splitn(4, |b| *b == b' ');
    if words.next() != Some(b"*") {
        return false;
    }
    let (second, third) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    WITH_STRINGS.iter().any(|name| second.eq_ignore_ascii_case(name.as_bytes()))
        || second.iter().all(u8::is_ascii_digit) && third.eq_ignore_ascii_case(b"FETCH")
}

/// Behind `{n}` or `{n+}` at `at`, and n.
fn announcement(line: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = line.get(at..)?.strip_prefix(b"{")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let behind = &rest[digits..];
    let plus = usize::from(behind.starts_with(b"+"));
    if digits == 0 || behind.get(plus) != Some(&b'}') {
        return None;
    }
    let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().unwrap_or(usize::MAX);
    Some((at + 1 + digits + plus + 1, number))
}

/// Whether a literal at `at` is a value of its own.
fn stands_apart(line: &[u8], at: usize) -> bool {
    let before = line[..at].strip_suffix(b"~").unwrap_or(&line[..at]);
    before.last().is_none_or(|b| matches!(b, b' ' | b'('))
}

fn end_of_quoted(line: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match line.get(at)? {
            b'\r' | b'\n' | 0 => return None,
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// Whether a careless reader would take this for a FETCH response, which it is not by the grammar.
pub(crate) fn looks_like_fetch(line: &[u8]) -> bool {
    let mut words = line.split(|b| !b.is_ascii_graphic()).filter(|word| !word.is_empty());
    let star = words.next() == Some(b"*");
    let verb = words.find(|word| !word.iter().all(u8::is_ascii_digit)).unwrap_or_default();
    let starts = |name: &[u8]| verb.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    star && (starts(b"FETCH") || starts(b"UIDFETCH"))
}

/// Whether an item says nothing of the content.
pub(super) fn is_own(name: &[u8]) -> bool {
    OWN_ITEMS.iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()))
}

/// The UID that a FETCH response tells.
pub(super) fn uid(octets: &[u8], all: &[Item]) -> Option<u32> {
    std::str::from_utf8(named(octets, all, "UID")?).ok()?.parse().ok()
}

fn named<'a>(octets: &'a [u8], all: &[Item], name: &str) -> Option<&'a [u8]> {
    let item = all.iter().find(|item| octets[item.name.clone()].eq_ignore_ascii_case(name.as_bytes()))?;
    octets.get(item.value.clone())
}

/// What a FETCH response tells besides content, each item once; of the keywords that tell verdicts it has those of
/// `keywords`, which is asked with the UID where flags are told.
pub(super) fn told(octets: &[u8], keywords: impl FnOnce(Option<u32>) -> Keywords) -> Vec<u8> {
    let Some(all) = items(octets) else { return Vec::new() };
    let mut out: Vec<u8> = Vec::new();
    let mut keywords = Some(keywords);
    for (at, item) in all.iter().enumerate() {
        let name = &octets[item.name.clone()];
        let first = !all[..at].iter().any(|other| octets[other.name.clone()].eq_ignore_ascii_case(name));
        let value = &octets[item.value.clone()];
        if !first || !is_own(name) || !is_value(name, value) {
            continue;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(name);
        out.push(b' ');
        if let Some(keywords) = keywords.take_if(|_| name.eq_ignore_ascii_case(b"FLAGS")) {
            out.extend(flags(value, keywords(uid(octets, &all))));
        } else {
            out.extend_from_slice(value);
        }
    }
    out
}

/// Whether the value of one of [`OWN_ITEMS`] is of its kind. In any other a careless reader might find items:
/// `MODSEQ (FLAGS ($Sealed))`.
fn is_value(name: &[u8], value: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let all = |value: &[u8], is: fn(&u8) -> bool| !value.is_empty() && value.iter().all(is);
    let within = |start: &[u8], end: &[u8]| value.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    if is("FLAGS") {
        return true;
    }
    if is("UID") {
        return all(value, u8::is_ascii_digit);
    }
    if is("MODSEQ") {
        return within(b"(", b")").is_some_and(|digits| all(digits, u8::is_ascii_digit));
    }
    let is_none = value.eq_ignore_ascii_case(b"NIL");
    if is("EMAILID") || is("THREADID") {
        let is_id = |id| all(id, |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        return is_none || within(b"(", b")").is_some_and(is_id);
    }
    // INTERNALDATE, SAVEDATE
    let is_date = |date| all(date, |b| b.is_ascii_alphanumeric() || b" :+-".contains(b));
    is_none || within(b"\"", b"\"").is_some_and(is_date)
}

/// A list of flags with the keywords of a verdict and no others of their kind.
fn flags(list: &[u8], own: Keywords) -> Vec<u8> {
    let Some(inner) = list.strip_prefix(b"(").and_then(|list| list.strip_suffix(b")")) else {
        return b"()".to_vec();
    };
    let is_flag = |word: &&[u8]| {
        !word.is_empty() && word.iter().all(|b| b.is_ascii_graphic() && !b"(){%*\"".contains(b))
    };
    let is_verdict = |word: &[u8]| Keywords::NAMES.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(word));
    let mut words: Vec<&[u8]> =
        inner.split(|b| *b == b' ').filter(is_flag).filter(|word| !is_verdict(word)).collect();
    for name in own.names() {
        words.push(name.as_bytes());
    }
    [b"(", &words.join(&b' ')[..], b")"].concat()
}

/// Whether a message with this header may pass as it is: nothing in it speaks of a verdict or could have one, and it is
/// not From a contact who signs.
pub(super) fn passes_as_it_is(header: &Header, signers: &[Address]) -> bool {
    let marked = ["Sealpost-Verdict", ENCRYPTED_FIELD, SIGNATURE_FIELD];
    marked.iter().all(|name| header.first(name).is_none())
        && !header.all("From").any(|field| {
            let named = MailboxList::parse(field.value()).mailboxes;
            named.iter().any(|named| signers.contains(&named.mailbox.canonical()))
        })
}

/// How far into the content of an item it is looked for a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It has none of the message's.
    No,
    /// It begins with the header, or is fields of it.
    Header,
    /// It is a piece from somewhere.
    Piece,
}

/// What an item of this name holds of the message's own header.
pub(super) fn look(name: &[u8]) -> Look {
    let name = name.to_ascii_uppercase();
    let (name, origin) = match name.iter().rposition(|b| *b == b'<').filter(|_| name.ends_with(b">")) {
        Some(at) => (&name[..at], &name[at + 1..name.len() - 1]),
        None => (&name[..], &b"0"[..]),
    };
    let head = [&b"BODY[]"[..], b"BODY[HEADER]", b"RFC822", b"RFC822.HEADER", b"BINARY[]"].contains(&name)
        || name.starts_with(b"BODY[HEADER.FIELDS");
    match (head, origin.iter().all(|b| *b == b'0')) {
        (false, _) => Look::No,
        (true, true) => Look::Header,
        (true, false) => Look::Piece,
    }
}

/// Whether what is told of a message that passes as it is shows that it must not.
pub(super) fn tells_otherwise(look: Look, octets: &[u8], signers: &[Address]) -> bool {
    match look {
        Look::No => false,
        Look::Header => {
            let end = end_of_header(octets).unwrap_or(octets.len());
            let header = &octets[..end];
            holds_verdict(header) || !Header::read(header).is_ok_and(|(h, _)| passes_as_it_is(&h, signers))
        }
        // Fields that stand across two pieces: a piece may begin amid the name.
        Look::Piece => {
            let begins = |rest: &[u8]| {
                let start = octets.get(..rest.len()).is_some_and(|start| start.eq_ignore_ascii_case(rest));
                start && octets[rest.len()..].trim_ascii_start().starts_with(b":")
            };
            holds_verdict(octets) || (1..VERDICT.len()).any(|at| begins(&VERDICT[at..]))
        }
    }
}

/// Behind the empty line; `None` where it did not come yet.
pub(super) fn end_of_header(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(2);
    }
    let ends = memchr::memchr_iter(b'\n', octets).map(|at| at + 1);
    ends.into_iter().find_map(|at| {
        let rest = &octets[at..];
        let line = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
        (line > 0).then_some(at + line)
    })
}

fn holds_verdict(octets: &[u8]) -> bool {
    memchr::memchr2_iter(b's', b'S', octets)
        .any(|at| octets.get(at..at + VERDICT.len()).is_some_and(|word| word.eq_ignore_ascii_case(VERDICT)))
}

/// Whether an ENVELOPE is From one of these.
pub(super) fn envelope_is_from(envelope: &[u8], signers: &[Address]) -> bool {
    let Some(from) = list(envelope).and_then(|fields| fields.get(2).cloned()) else { return false };
    list(&envelope[from.clone()]).unwrap_or_default().into_iter().any(|address| {
        let address = &envelope[from.start + address.start..from.start + address.end];
        let Some(parts) = list(address).filter(|parts| parts.len() == 4) else { return false };
        let text = |at: usize| wire::string(&address[parts[at].clone()]);
        let (Some(local), Some(domain)) = (text(2), text(3)) else { return false };
        let mailbox = [&local[..], b"@", &domain].concat();
        let mailbox = String::from_utf8_lossy(&mailbox).into_owned();
        Mailbox::parse(&mailbox).is_ok_and(|mailbox| signers.contains(&mailbox.canonical()))
    })
}

/// The values in a parenthesised list.
fn list(value: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    value.strip_prefix(b"(")?.strip_suffix(b")")?;
    let mut at = 1;
    let mut all = Vec::new();
    while at < value.len() - 1 {
        // Addresses stand side by side without a space.
        let end = match value[at] {
            b' ' => {
                at += 1;
                continue;
            }
            b'(' => wire::end_of_list(value, at)?,
            _ => wire::end_of_value(&value[..value.len() - 1], at)?,
        };
        all.push(at..end);
        at = end;
    }
    Some(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signed() -> Keywords {
        Keywords::from_bits(0b11)
    }

    #[test]
    fn what_two_readers_read_in_two_ways_is_not_sound() {
        for sound in [
            "* OK [ALERT] hi}\r\n",
            "a OK done\r\n",
            "* 1 FETCH (UID 1 BODY[] {3}\r\na\r\n UID 2)\r\n",
            "* 1 FETCH (UID 1 BODY[] {99999}\r\n",
            "* LIST () \"/\" {3}\r\na\"b\r\n",
            "* LIST () \"/\" \"a{3}\"\r\n",
            "* 1 FETCH (BODY[] ~{2}\r\n\0\r)\r\n",
        ] {
            assert!(is_sound(sound.as_bytes(), false), "{sound:?}");
        }
        assert!(is_sound(b" UID 5)\r\n", true) && is_sound(b" X {5}\r\n", true));
        for odd in [
            "* OK hi",
            "* OK hi\n",
            "* OK hi\rthere\r\n",
            "* OK h\0i\r\n",
            "* OK hello {3}\r\na\r\n\r\n",
            "* OK hello {99999}\r\n",
            "a OK done {3}\r\nabc\r\n",
            "+ go on {3}\r\nabc\r\n",
            "* SEARCH 1 {3}\r\nabc\r\n",
            "* LIST () \"/\" \"x {3}\r\nabc\"\r\n",
            "* LIST () \"/\" x{3}\r\nabc\r\n",
            "* 1 FETCH (ENVELOPE (\"{3}\r\na\")\r\n",
        ] {
            assert!(!is_sound(odd.as_bytes(), false), "{odd:?}");
        }
    }

    #[test]
    fn what_a_careless_reader_takes_for_fetch() {
        for odd in
            ["*  2 FETCH (X)\r\n", "*\t2\tFETCH (X)\r\n", "* 2 fetch  (", "* 2 UIDFETCH (X)", "* FETCH 2"]
        {
            assert!(looks_like_fetch(odd.as_bytes()), "{odd:?}");
        }
        for other in ["* OK FETCH\r\n", "a FETCH\r\n", "* 2 EXISTS\r\n", "* LIST () \"/\" FETCH\r\n", "*\r\n"]
        {
            assert!(!looks_like_fetch(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn items_that_are_no_content_are_told_once() {
        for (octets, uid, keywords, want) in [
            ("UID 7 FLAGS (\\Seen $signed mine)", Some(7), Keywords::default(), "UID 7 FLAGS (\\Seen mine)"),
            ("FLAGS ($Sealed) X 5 MODSEQ (3)", None, Keywords::default(), "FLAGS () MODSEQ (3)"),
            ("FLAGS () UID 9 BODY[] {5}\r\n", Some(9), signed(), "FLAGS ($Sealed $Signed) UID 9"),
            ("flags (a) FLAGS ($Signed)", None, Keywords::default(), "flags (a)"),
            ("FLAGS (a\t$Signed b \"$Signed\")", None, Keywords::default(), "FLAGS (b)"),
            ("UID 7 ENVELOPE (NIL) BODY (NIL) RFC822 \"x\" BINARY[1] \"\"", None, signed(), "UID 7"),
            ("UID", None, signed(), ""),
            (
                "UID 7 MODSEQ (3) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" SAVEDATE NIL EMAILID (a-1) THREADID NIL",
                None,
                signed(),
                "UID 7 MODSEQ (3) INTERNALDATE \"17-Jul-2026 02:44:25 -0700\" SAVEDATE NIL EMAILID (a-1) THREADID NIL",
            ),
            // Found by fuzzing: items within the values of others.
            ("MODSEQ (FLAGS ($Sealed)) UID 7", None, signed(), "UID 7"),
            ("INTERNALDATE \"x FLAGS ($Sealed)\" EMAILID (a ($Signed)) UID x", None, signed(), ""),
            ("SAVEDATE {14}\r\nFLAGS ($Sealed) MODSEQ ()", None, signed(), ""),
        ] {
            let told = told(octets.as_bytes(), |found| {
                assert_eq!(found, uid, "{octets}");
                keywords
            });
            assert_eq!(String::from_utf8(told).unwrap(), want, "{octets}");
        }
    }

    #[test]
    fn plain_mail_that_is_none_is_told_by_its_header() {
        let signers = [Address::parse("alice@example.net").unwrap()];
        let otherwise =
            |name: &str, octets: &str| tells_otherwise(look(name.as_bytes()), octets.as_bytes(), &signers);
        for (name, octets) in [
            ("BODY[]", "sealpost-VERDICT: good\r\n\r\n"),
            ("BODY[]", "From: eve@x\r\nSealpost-Verdict : good\r\n\r\n"),
            ("BODY[]", "Subject: x\rSealpost-Verdict: good\r\n\r\n"),
            ("RFC822", "X-Sender-Encrypted: yes\r\n\r\n"),
            ("RFC822.HEADER", "X-Sender-Signature: x\r\n\r\n"),
            ("body[header.fields (from)]", "From: Alice <ALICE@example.net>\r\n\r\n"),
            ("BODY[]<0>", "From: alice@example.net"),
            ("BODY[]<100>", "x\r\nSealpost-Verdict: good\r\n"),
            ("BODY[]<100>", "lpost-Verdict: good\r\n"),
            ("BODY[]<100>", "t: good\r\n"),
            ("BODY[]", &"X: y\r\n".repeat(3_000)),
        ] {
            assert!(otherwise(name, octets), "{name}: {octets:.60}");
        }
        for (name, octets) in [
            ("BODY[]", "From: eve@x\r\n\r\nSealpost-Verdict: in the text\r\nFrom: alice@example.net\r\n"),
            ("BODY[]", "\r\nSealpost-Verdict: in the text\r\n"),
            ("BODY[TEXT]", "Sealpost-Verdict: good\r\n\r\n"),
            ("BODY[1.HEADER]", "Sealpost-Verdict: good\r\n\r\n"),
            ("BODY[]<100>", "text\r\n"),
            ("BODY[]<100>", "Verdict of the court\r\n"),
        ] {
            assert!(!otherwise(name, octets), "{name}: {octets}");
        }
    }

    #[test]
    fn the_sender_in_an_envelope() {
        let signers = [Address::parse("alice@example.net").unwrap()];
        let from = |list: &str| format!("(NIL \"x ((\" {list} NIL NIL NIL NIL NIL NIL \"<1@x>\")");
        for (list, want) in [
            ("((NIL NIL \"alice\" \"example.net\"))", true),
            ("((\"E\" NIL \"eve\" \"x\")(\"A (\" NIL {5}\r\nAlice \"EXAMPLE.net\"))", true),
            ("((NIL NIL \"eve\" \"example.net\") (NIL NIL \"alice\" \"example.net\"))", true),
            ("((NIL NIL \"eve\" \"example.net\"))", false),
            ("((\"alice@example.net\" NIL \"eve\" \"x\"))", false),
            ("NIL", false),
            ("((", false),
        ] {
            assert_eq!(envelope_is_from(from(list).as_bytes(), &signers), want, "{list}");
        }
        assert!(!envelope_is_from(b"", &signers) && !envelope_is_from(b"()", &signers));
    }

    proptest! {
        #[test]
        fn never_panics(octets in "[*A-Z \\[\\](){}\"\\\\0-9+\r\n~<>]{0,60}") {
            let octets = octets.as_bytes();
            for continued in [false, true] {
                let _ = is_sound(octets, continued);
            }
            let _ = (looks_like_fetch(octets), told(octets, |_| signed()), look(octets));
            let _ = (envelope_is_from(octets, &[]), end_of_header(octets));
            for look in [Look::Header, Look::Piece] {
                let _ = tells_otherwise(look, octets, &[]);
            }
        }
    }
}
