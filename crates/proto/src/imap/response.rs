//! A server's responses (RFC 9051 §7): lines go into a buffer that the session writes out. FETCH is written piece by
//! piece, as its literals are streamed.

use super::{
    reply::Condition,
    types::{MailboxName, Names, Tag, is_astring_char},
};
use std::fmt;

/// `resp-text-code` (RFC 9051 §7.1, RFC 5530)
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// ALREADYEXISTS
    AlreadyExists,
    /// APPENDUID: UIDVALIDITY and the UIDs given.
    AppendUid(u32, String),
    /// AUTHENTICATIONFAILED
    AuthenticationFailed,
    /// BADCHARSET with those known.
    BadCharset,
    /// BADEVENT (RFC 5465) with the names of the events that there are.
    BadEvent(String),
    /// CANNOT
    Cannot,
    /// CAPABILITY
    Capability(String),
    /// CLIENTBUG
    ClientBug,
    /// CLOSED
    Closed,
    /// COMPRESSIONACTIVE (RFC 4978)
    CompressionActive,
    /// COPYUID: UIDVALIDITY of the destination, UIDs there and here.
    CopyUid(u32, String, String),
    /// EXPUNGEISSUED
    ExpungeIssued,
    /// HIGHESTMODSEQ (RFC 7162)
    HighestModSeq(u64),
    /// LIMIT
    Limit,
    /// MAILBOXID (RFC 8474)
    MailboxId(String),
    /// METADATA LONGENTRIES (RFC 5464): octets of the longest value left out.
    MetadataLongEntries(u64),
    /// METADATA MAXSIZE (RFC 5464): octets of the longest value taken.
    MetadataMaxSize(usize),
    /// METADATA TOOMANY (RFC 5464)
    MetadataTooMany,
    /// MODIFIED (RFC 7162): messages that a conditional STORE left alone.
    Modified(String),
    /// NONEXISTENT
    NonExistent,
    /// NOPERM
    NoPerm,
    /// NOTIFICATIONOVERFLOW (RFC 5465)
    NotificationOverflow,
    /// OVERQUOTA
    OverQuota,
    /// PERMANENTFLAGS
    PermanentFlags(String),
    /// PRIVACYREQUIRED
    PrivacyRequired,
    /// READ-ONLY
    ReadOnly,
    /// READ-WRITE
    ReadWrite,
    /// SERVERBUG
    ServerBug,
    /// TOOBIG (RFC 4469)
    TooBig,
    /// TRYCREATE
    TryCreate,
    /// UIDNEXT
    UidNext(u32),
    /// UIDVALIDITY
    UidValidity(u32),
    /// UNAVAILABLE
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516)
    UnknownCte,
    /// UNSEEN (RFC 3501)
    Unseen(u32),
    /// USEATTR (RFC 6154)
    UseAttr,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyExists => f.write_str("ALREADYEXISTS"),
            Self::AppendUid(validity, uids) => write!(f, "APPENDUID {validity} {uids}"),
            Self::AuthenticationFailed => f.write_str("AUTHENTICATIONFAILED"),
            Self::BadCharset => f.write_str("BADCHARSET (US-ASCII UTF-8)"),
            Self::BadEvent(names) => write!(f, "BADEVENT ({names})"),
            Self::Cannot => f.write_str("CANNOT"),
            Self::Capability(all) => write!(f, "CAPABILITY {all}"),
            Self::ClientBug => f.write_str("CLIENTBUG"),
            Self::Closed => f.write_str("CLOSED"),
            Self::CompressionActive => f.write_str("COMPRESSIONACTIVE"),
            Self::CopyUid(validity, from, to) => write!(f, "COPYUID {validity} {from} {to}"),
            Self::ExpungeIssued => f.write_str("EXPUNGEISSUED"),
            Self::HighestModSeq(modseq) => write!(f, "HIGHESTMODSEQ {modseq}"),
            Self::Limit => f.write_str("LIMIT"),
            Self::MailboxId(id) => write!(f, "MAILBOXID ({id})"),
            Self::MetadataLongEntries(octets) => write!(f, "METADATA LONGENTRIES {octets}"),
            Self::MetadataMaxSize(octets) => write!(f, "METADATA MAXSIZE {octets}"),
            Self::MetadataTooMany => f.write_str("METADATA TOOMANY"),
            Self::Modified(set) => write!(f, "MODIFIED {set}"),
            Self::NonExistent => f.write_str("NONEXISTENT"),
            Self::NoPerm => f.write_str("NOPERM"),
            Self::NotificationOverflow => f.write_str("NOTIFICATIONOVERFLOW"),
            Self::OverQuota => f.write_str("OVERQUOTA"),
            Self::PermanentFlags(flags) => write!(f, "PERMANENTFLAGS ({flags})"),
            Self::PrivacyRequired => f.write_str("PRIVACYREQUIRED"),
            Self::ReadOnly => f.write_str("READ-ONLY"),
            Self::ReadWrite => f.write_str("READ-WRITE"),
            Self::ServerBug => f.write_str("SERVERBUG"),
            Self::TooBig => f.write_str("TOOBIG"),
            Self::TryCreate => f.write_str("TRYCREATE"),
            Self::UidNext(uid) => write!(f, "UIDNEXT {uid}"),
            Self::UidValidity(n) => write!(f, "UIDVALIDITY {n}"),
            Self::Unavailable => f.write_str("UNAVAILABLE"),
            Self::UnknownCte => f.write_str("UNKNOWN-CTE"),
            Self::Unseen(n) => write!(f, "UNSEEN {n}"),
            Self::UseAttr => f.write_str("USEATTR"),
        }
    }
}

/// `tag SP resp-cond-state`, or with `*`.
pub fn status(out: &mut Vec<u8>, tag: Option<&Tag>, condition: Condition, code: Option<&Code>, text: &str) {
    let word = match condition {
        Condition::Ok => "OK",
        Condition::No => "NO",
        Condition::Bad => "BAD",
        Condition::Bye => "BYE",
        Condition::PreAuth => "PREAUTH",
    };
    let tag = tag.map_or("*", Tag::as_str);
    line(out, format_args!("{tag} {word} {}{text}", code.map(|c| format!("[{c}] ")).unwrap_or_default()));
}

/// A line of our own making: `text` holds no CR or LF.
pub fn line(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{text}\r\n");
}

/// `number64`, without formatting: a list of a mailbox has many.
pub fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).unwrap_or(0);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `string`: quoted where it is short printable ASCII, else a literal.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= 1000 && bytes.iter().all(|b| matches!(b, 0x20..=0x7e | b'\t')) {
        out.push(b'"');
        for b in bytes {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*b);
        }
        out.push(b'"');
    } else {
        // A literal must not hold NUL (RFC 9051 §4.3); readers of a header lose nothing by its absence.
        let clean: Vec<u8> = bytes.iter().copied().filter(|b| *b != 0).collect();
        out.extend_from_slice(format!("{{{}}}\r\n", clean.len()).as_bytes());
        out.extend_from_slice(&clean);
    }
}

/// `astring`
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() && bytes.iter().all(|b| is_astring_char(*b)) && !bytes.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(bytes);
    } else {
        string(out, bytes);
    }
}

/// `literal8` (RFC 3516): octets, NUL among them.
pub fn literal8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("~{{{}}}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

/// `nstring`
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// A mailbox name as a response has it: an atom where it can be, else quoted (UTF-8 inside where enabled). Never a
/// literal: names hold no CR, LF or NUL.
pub fn quote_mailbox(name: &MailboxName, names: Names) -> String {
    let wire = match names {
        Names::Utf7 => super::utf7::encode(name.as_str()),
        Names::Utf8 => name.as_str().to_owned(),
    };
    if !wire.is_empty() && wire.bytes().all(is_astring_char) && !wire.eq_ignore_ascii_case("NIL") {
        return wire;
    }
    format!("\"{}\"", wire.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn strings_take_the_form_that_holds_them() {
        for (bytes, wire) in [
            (&b""[..], &b"\"\""[..]),
            (b"a b", b"\"a b\""),
            (b"a\"\\", b"\"a\\\"\\\\\""),
            (b"\xc3\xa4", b"{2}\r\n\xc3\xa4"),
            (b"a\r\nb", b"{4}\r\na\r\nb"),
            (b"a\0b", b"{2}\r\nab"),
        ] {
            let mut out = Vec::new();
            string(&mut out, bytes);
            assert_eq!(out, wire);
        }
    }

    #[test]
    fn numbers() {
        for n in [0, 1, 9, 10, 4_294_967_295, u64::MAX] {
            let mut out = b"x".to_vec();
            number(&mut out, n);
            assert_eq!(out, format!("x{n}").as_bytes());
        }
    }

    #[test]
    fn mailbox_names() {
        let name = |n: &str| MailboxName::new(n).unwrap();
        assert_eq!(quote_mailbox(&name("inbox"), Names::Utf7), "INBOX");
        assert_eq!(quote_mailbox(&name("Entwürfe"), Names::Utf7), "Entw&APw-rfe");
        assert_eq!(quote_mailbox(&name("Entwürfe"), Names::Utf8), "\"Entwürfe\"");
        assert_eq!(quote_mailbox(&name("a \"b\""), Names::Utf7), "\"a \\\"b\\\"\"");
        assert_eq!(quote_mailbox(&name(""), Names::Utf7), "\"\"");
        assert_eq!(quote_mailbox(&name("nil"), Names::Utf7), "\"nil\"");
    }

    #[test]
    fn status_lines() {
        let mut out = Vec::new();
        status(&mut out, Tag::new("a1").as_ref(), Condition::No, Some(&Code::PrivacyRequired), "TLS first");
        status(&mut out, None, Condition::Bye, None, "bye");
        assert_eq!(out, b"a1 NO [PRIVACYREQUIRED] TLS first\r\n* BYE bye\r\n");
    }
}
