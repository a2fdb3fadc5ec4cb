//! Command lines to typed arguments (RFC 5321 §4.1, RFC 6531, profile §5). Every fault is the reply to it.

use super::{
    reply::Reply,
    verb::{
        Asked, AskedFor, ChangePassword, Chunk, Enrol, KEYRING_MAX, KeyCommand, KeyringCommand, Mail, Rcpt,
    },
};
use crate::{
    address::{Address, Mailbox},
    base64,
    key::{KeyError, PublicKey},
    phc::{LoginPhc, PhcError},
    sasl::Mechanism,
    statement::SignedStatement,
};
use zeroize::Zeroizing;

/// RFC 5321 §4.5.3.1.2: a domain has at most 255 octets.
const HELLO_MAX: usize = 255;
/// Longest one-time code, in octets: ours have 31, and longer ones are certainly wrong.
const CODE_MAX: usize = 256;

/// `MAIL FROM:<…> …`.
pub fn mail(args: &[u8]) -> Result<Mail, Reply> {
    let syntax = || Reply::new(501, "5.1.7", "Syntax: MAIL FROM:<address> [parameters]");
    let text = std::str::from_utf8(args).map_err(|_| syntax())?;
    let (path, params) = after_keyword(text, "FROM:").and_then(path).ok_or_else(syntax)?;
    let reverse_path = if path.is_empty() { None } else { Some(Mailbox::parse(path).map_err(|_| syntax())?) };
    let mut mail = Mail { reverse_path, size: None, eight_bit: false, smtputf8: false };
    let mut seen = Vec::new();
    for param in params.split_ascii_whitespace() {
        let (key, value) = param.split_once('=').map_or((param, None), |(k, v)| (k, Some(v)));
        let key = key.to_ascii_uppercase();
        let bad = || Reply::new(501, "5.5.4", format!("Syntax error in parameter {key:.40}"));
        if seen.contains(&key) {
            return Err(bad());
        }
        match (key.as_str(), value) {
            ("SIZE", Some(v)) => mail.size = Some(number(v).ok_or_else(bad)?),
            ("BODY", Some(v)) if v.eq_ignore_ascii_case("7BIT") => {}
            ("BODY", Some(v)) if v.eq_ignore_ascii_case("8BITMIME") => mail.eight_bit = true,
            ("SMTPUTF8", None) => mail.smtputf8 = true,
            // RFC 4954 §5: taken because AUTH is offered, and not trusted.
            ("AUTH", Some(v)) if !v.is_empty() && v.is_ascii() => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH", _) => return Err(bad()),
            _ => return Err(Reply::new(555, "5.5.4", format!("Unknown parameter {key:.40}"))),
        }
        seen.push(key);
    }
    if !path.is_ascii() && !mail.smtputf8 {
        return Err(needs_smtputf8());
    }
    Ok(mail)
}

/// `RCPT TO:<…>`; `smtputf8` as MAIL had it.
pub fn rcpt(args: &[u8], smtputf8: bool) -> Result<Rcpt, Reply> {
    let syntax = || Reply::new(501, "5.1.3", "Syntax: RCPT TO:<address>");
    let text = std::str::from_utf8(args).map_err(|_| syntax())?;
    let (path, params) = after_keyword(text, "TO:").and_then(path).ok_or_else(syntax)?;
    if let Some(param) = params.split_ascii_whitespace().next() {
        let key = param.split('=').next().unwrap_or_default().to_ascii_uppercase();
        return Err(Reply::new(555, "5.5.4", format!("Unknown parameter {key:.40}")));
    }
    if path.eq_ignore_ascii_case("postmaster") {
        return Ok(Rcpt::Postmaster);
    }
    let mailbox = Mailbox::parse(path).map_err(|_| syntax())?;
    if !path.is_ascii() && !smtputf8 {
        return Err(needs_smtputf8());
    }
    Ok(Rcpt::Mailbox(mailbox))
}

/// RFC 6531 §3.5.
fn needs_smtputf8() -> Reply {
    Reply::new(553, "5.6.7", "An address beyond ASCII needs the SMTPUTF8 parameter of MAIL")
}

/// HELO and EHLO: a name or address literal; its truth is not checked (RFC 5321 §4.1.4).
pub fn hello(args: &[u8]) -> Result<String, Reply> {
    match std::str::from_utf8(args) {
        Ok(name)
            if (1..=HELLO_MAX).contains(&name.len())
                && !name.contains(|c: char| c.is_whitespace() || c.is_control()) =>
        {
            Ok(name.to_owned())
        }
        _ => Err(Reply::new(501, "5.5.4", "Say your host name, as in EHLO mail.example.com")),
    }
}

/// `BDAT length [LAST]` (RFC 3030 §2). A fault closes the connection, since what follows is not commands.
pub fn bdat(args: &[u8]) -> Result<Chunk, Reply> {
    let words = words(args);
    let chunk = match words.as_slice() {
        [len] => number(len).map(|len| Chunk { len, last: false }),
        [len, last] if last.eq_ignore_ascii_case("LAST") => number(len).map(|len| Chunk { len, last: true }),
        _ => None,
    };
    chunk.ok_or_else(|| Reply::new(501, "5.5.4", "Syntax: BDAT length [LAST]").and_close())
}

/// An initial response, still in base64.
pub type InitialResponse = Zeroizing<Vec<u8>>;

/// `AUTH mechanism [initial-response]`.
pub fn auth(args: &[u8]) -> Result<(Mechanism, Option<InitialResponse>), Reply> {
    let words = words(args);
    let (name, initial) = match words.as_slice() {
        [name] => (*name, None),
        [name, initial] => (*name, Some(Zeroizing::new(initial.as_bytes().to_vec()))),
        _ => return Err(Reply::new(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")),
    };
    let mechanism = Mechanism::from_name(name)
        .ok_or_else(|| Reply::new(504, "5.5.4", "Unrecognized authentication mechanism"))?;
    Ok((mechanism, initial))
}

/// `PUBKEY addr`, `XKEYINFO <addr>`.
pub fn asked(what: AskedFor, args: &[u8]) -> Result<Asked, Reply> {
    let syntax = |why: &str| Reply::new(501, "5.1.3", why.to_owned());
    let text = std::str::from_utf8(args).map_err(|_| syntax("This is not an address in UTF-8"))?;
    let text = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(text);
    let mailbox = Mailbox::parse(text).map_err(|e| syntax(&sentence(&e)))?;
    Ok(Asked { what, mailbox, as_sent: text.to_owned() })
}

/// `SETPUBKEY key [statement]`.
pub fn set_pub_key(args: &[u8]) -> Result<KeyCommand, Reply> {
    let words = words(args);
    let (key, statement) = match words.as_slice() {
        [key] => (public_key(key)?, None),
        [key, statement] => (public_key(key)?, Some(Box::new(key_statement(statement)?))),
        _ => return Err(Reply::new(501, "5.5.4", "Syntax: SETPUBKEY key [statement]")),
    };
    Ok(KeyCommand::SetPubKey { key, statement })
}

/// `XPASSWD login key statement`.
pub fn change_password(args: &[u8]) -> Result<Box<ChangePassword>, Reply> {
    let words = words(args);
    let [login, key, statement] = words.as_slice() else {
        return Err(Reply::new(501, "5.5.4", "Syntax: XPASSWD login key statement"));
    };
    Ok(Box::new(ChangePassword {
        login: login_phc(login)?,
        key: public_key(key)?,
        statement: key_statement(statement)?,
    }))
}

/// `XENROL addr code login`.
pub fn enrol(args: &[u8]) -> Result<Enrol, Reply> {
    let words = words(args);
    let [address, code, login] = words.as_slice() else {
        return Err(Reply::new(501, "5.5.4", "Syntax: XENROL address code login"));
    };
    let code = Zeroizing::new(if code.len() <= CODE_MAX { (*code).to_owned() } else { String::new() });
    Ok(Enrol { address: Address::parse(address).ok(), code, login: login_phc(login) })
}

/// `XKEYRING`, `XKEYRING hash length`. Every fault closes the connection (profile §9).
pub fn keyring(args: &[u8]) -> Result<KeyringCommand, Reply> {
    let malformed = || Reply::new(501, "5.5.4", "Syntax: XKEYRING [sha256-or-none length]").and_close();
    if args.is_empty() {
        return Ok(KeyringCommand::Fetch);
    }
    let words = words(args);
    let [hash, len] = words.as_slice() else { return Err(malformed()) };
    let replaces = if *hash == "none" { None } else { Some(sha256_hex(hash).ok_or_else(malformed)?) };
    if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    match number(len) {
        Some(0) => Err(malformed()),
        Some(len) if len <= KEYRING_MAX => {
            Ok(KeyringCommand::Store { replaces, len: usize::try_from(len).map_err(|_| malformed())? })
        }
        _ => Err(Reply::new(552, "5.3.4", "A keyring may have 1048576 octets").and_close()),
    }
}

/// No arguments.
pub fn nothing(args: &[u8]) -> Result<(), Reply> {
    if args.is_empty() { Ok(()) } else { Err(Reply::new(501, "5.5.4", "This command takes no argument")) }
}

fn public_key(text: &str) -> Result<PublicKey, Reply> {
    PublicKey::from_wire(text).map_err(|e| {
        let code = if e == KeyError::Algorithm { 504 } else { 501 };
        Reply::new(code, "5.5.4", sentence(&e))
    })
}

fn key_statement(text: &str) -> Result<SignedStatement, Reply> {
    SignedStatement::from_wire(text).map_err(|e| Reply::new(501, "5.5.4", sentence(&e)))
}

/// base64(PHC string), with the bounds on salt and cost that XENROL and XPASSWD share.
fn login_phc(text: &str) -> Result<LoginPhc, Reply> {
    let refuse = |why: &str| Reply::new(501, "5.5.4", why.to_owned());
    let octets = Zeroizing::new(base64::decode(text).map_err(|e| refuse(&sentence(&e)))?);
    let phc = std::str::from_utf8(&octets).map_err(|_| refuse(&sentence(&PhcError::Syntax)))?;
    let login = LoginPhc::from_phc(phc).map_err(|e| refuse(&sentence(&e)))?;
    if login.challenge.cost.is_acceptable() {
        Ok(login)
    } else {
        Err(refuse("The cost must be m 19456 to 1048576, t 2 to 16, p 1 to 8"))
    }
}

/// An error's text as a sentence.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}

/// Words apart by single or several spaces; none if the line is not UTF-8.
fn words(args: &[u8]) -> Vec<&str> {
    std::str::from_utf8(args).map(|t| t.split(' ').filter(|w| !w.is_empty()).collect()).unwrap_or_default()
}

/// Digits only, as ABNF has it (`parse` alone would take a `+`). At most 20 (RFC 1870 §3).
fn number(text: &str) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn sha256_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(keyword.len())?;
    // Spaces behind the colon are not in the grammar, and common.
    head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

/// `<path>` and what follows it; a source route is cut off (RFC 5321 §4.1.1.3, Appendix C).
fn path(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = text.bytes().position(|b| {
        let ends = b == b'>' && !quoted;
        (quoted, escaped) = match b {
            _ if escaped => (quoted, false),
            b'\\' if quoted => (true, true),
            b'"' => (!quoted, false),
            _ => (quoted, false),
        };
        ends
    })?;
    let (path, rest) = (&text[..end], &text[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let path = match path.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => path,
    };
    Some((path, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code<T>(result: Result<T, Reply>) -> u16 {
        result.err().map_or(250, |r| r.code())
    }

    #[test]
    fn mail_lines() {
        for (line, want) in [
            ("FROM:<a@example.com>", 250),
            ("from: <a@example.com> size=100 body=8bitmime", 250),
            ("FROM:<>", 250),
            ("FROM:<@relay.example,@b.example:a@example.com>", 250),
            ("FROM:<\"a>b\"@example.com>", 250),
            ("FROM:<a@example.com> AUTH=<>", 250),
            ("FROM:<ä@example.com> SMTPUTF8", 250),
            ("FROM:<ä@example.com>", 553),
            ("FROM:<a@exämple.com>", 553),
            ("FROM:a@example.com", 501),
            ("FROM:<a@example.com", 501),
            ("FROM:<a@example.com>SIZE=1", 501),
            ("FROM:<a>", 501),
            ("TO:<a@example.com>", 501),
            ("", 501),
            ("FROM:<a@example.com> SIZE=x", 501),
            ("FROM:<a@example.com> SIZE=+1", 501),
            ("FROM:<a@example.com> SIZE=1 SIZE=1", 501),
            ("FROM:<a@example.com> BODY=BINARYMIME", 501),
            ("FROM:<a@example.com> SMTPUTF8=1", 501),
            ("FROM:<a@example.com> RET=FULL", 555),
        ] {
            assert_eq!(code(mail(line.as_bytes())), want, "{line}");
        }
        let parsed =
            mail(b"FROM:<@r.example:A.b@Example.com> SIZE=99999999999999999999 BODY=8BITMIME").unwrap();
        assert_eq!(parsed.reverse_path.unwrap().to_string(), "A.b@Example.com");
        assert_eq!((parsed.size, parsed.eight_bit, parsed.smtputf8), (Some(u64::MAX), true, false));
        assert_eq!(code(mail(b"FROM:<\xff@example.com>")), 501);
    }

    #[test]
    fn rcpt_lines() {
        for (line, want) in [
            ("TO:<a@example.com>", 250),
            ("TO:<Postmaster>", 250),
            ("TO:<ä@example.com>", 553),
            ("TO:<>", 501),
            ("TO:<a@example.com> NOTIFY=NEVER", 555),
            ("TO:a@example.com", 501),
        ] {
            assert_eq!(code(rcpt(line.as_bytes(), false)), want, "{line}");
        }
        assert_eq!(code(rcpt("TO:<ä@example.com>".as_bytes(), true)), 250);
    }

    #[test]
    fn keyring_lines() {
        let hash = "ab".repeat(32);
        for (line, want, closes) in [
            (String::new(), 250, false),
            ("none 1048576".into(), 250, false),
            (format!("{hash} 5"), 250, false),
            ("none 1048577".into(), 552, true),
            ("none 99999999999999999999999".into(), 552, true),
            ("none".into(), 501, true),
            ("none -5".into(), 501, true),
            ("none 0".into(), 501, true),
            ("none 5 5".into(), 501, true),
            ("abc 5".into(), 501, true),
        ] {
            let got = keyring(line.as_bytes());
            assert_eq!(got.as_ref().err().is_some_and(Reply::closes), closes, "{line}");
            assert_eq!(code(got), want, "{line}");
        }
    }

    #[test]
    fn bdat_lines() {
        assert_eq!(bdat(b"86 LAST").unwrap(), Chunk { len: 86, last: true });
        assert_eq!(bdat(b"0 last").unwrap(), Chunk { len: 0, last: true });
        for bad in ["", "x", "-1", "1 FIRST", "1 LAST x", "999999999999999999999"] {
            assert!(bdat(bad.as_bytes()).unwrap_err().closes(), "{bad}");
        }
    }

    #[test]
    fn r10_pubkey_addresses() {
        let local = "x".repeat(64);
        for (line, want) in [
            ("alice@example.com".to_owned(), 250),
            ("<alice@example.com>".to_owned(), 250),
            ("ä@exämple.com".to_owned(), 250),
            (format!("{local}@example.com"), 250),
            (format!("{local}x@example.com"), 501),
            (format!("a@{}", "x.".repeat(127)), 501),
            ("alice".to_owned(), 501),
            ("<alice@example.com".to_owned(), 501),
            ("alice@example.com bob@example.com".to_owned(), 501),
            ("a b@example.com".to_owned(), 501),
            (String::new(), 501),
        ] {
            assert_eq!(code(asked(AskedFor::Key, line.as_bytes())), want, "{line}");
        }
        assert_eq!(code(asked(AskedFor::Key, b"\xc3@example.com")), 501);
        assert_eq!(asked(AskedFor::Chain, b"<Al@Example.com>").unwrap().as_sent, "Al@Example.com");
    }

    proptest! {
        #[test]
        fn never_panics(args: Vec<u8>, text in "\\PC{0,80}", smtputf8: bool) {
            for args in [args.as_slice(), text.as_bytes()] {
                let _ = (mail(args), rcpt(args, smtputf8), hello(args), bdat(args), keyring(args));
                let _ = (auth(args).is_ok(), asked(AskedFor::Key, args), set_pub_key(args).is_ok());
                let _ = (change_password(args).is_ok(), enrol(args).is_ok());
            }
        }
        #[test]
        fn mail_never_panics(path in "[<>@:\"\\\\a-c. =A-Z]{0,40}") {
            let _ = mail(format!("FROM:<{path}").as_bytes());
            let _ = rcpt(format!("TO:<{path}").as_bytes(), true);
        }
    }
}
