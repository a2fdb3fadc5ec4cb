//! Command lines: verbs and arguments as types. Which state takes them is [`super::server`]'s.

use std::fmt;
use zeroize::Zeroizing;

/// A command. Some hold secrets, which `Debug` does not show.
#[derive(PartialEq, Eq)]
pub enum Command {
    /// RFC 1939 §7
    User(String),
    /// RFC 1939 §7: all behind the space, spaces included.
    Pass(Zeroizing<String>),
    /// RFC 1939 §7; never taken.
    Apop,
    /// RFC 5034
    Auth {
        /// Name.
        mechanism: String,
        /// Initial response, still in base64.
        initial: Option<Zeroizing<String>>,
    },
    /// `AUTH` alone: old programs ask for the mechanisms with it.
    AuthList,
    /// RFC 2449 §5
    Capa,
    /// RFC 2595 §4
    Stls,
    /// RFC 6856 §2.1
    Utf8,
    /// RFC 1939 §5
    Stat,
    /// RFC 1939 §5
    List(Option<u64>),
    /// RFC 1939 §5
    Retr(u64),
    /// RFC 1939 §5
    Dele(u64),
    /// RFC 1939 §5
    Noop,
    /// RFC 1939 §5
    Rset,
    /// RFC 1939 §5, §6
    Quit,
    /// RFC 1939 §7
    Top {
        /// Message.
        message: u64,
        /// Lines of the body.
        lines: u64,
    },
    /// RFC 1939 §7
    Uidl(Option<u64>),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Why a line is no command. Never holds what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No verb of ours.
    #[error("this command is not known; CAPA tells what is")]
    Unknown,
    /// A verb of ours with arguments that do not fit; the form that would.
    #[error("the form is: {0}")]
    Form(&'static str),
    /// An octet that no command has.
    #[error("control characters in a command")]
    Control,
}

impl Command {
    /// Parses a line without its end.
    pub fn parse(line: &[u8]) -> Result<Self, Fault> {
        if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return Err(Fault::Control);
        }
        let (verb, rest) = match memchr::memchr(b' ', line) {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &[][..]),
        };
        let verb = verb.to_ascii_uppercase();
        match verb.as_slice() {
            b"USER" => user(rest),
            // A password may begin and end with spaces.
            b"PASS" if rest.is_empty() => Err(Fault::Form("PASS password")),
            b"PASS" => Ok(Self::Pass(Zeroizing::new(String::from_utf8_lossy(rest).into_owned()))),
            b"APOP" => Ok(Self::Apop),
            b"AUTH" => auth(rest),
            b"CAPA" => nothing(rest, "CAPA", Self::Capa),
            b"STLS" => nothing(rest, "STLS", Self::Stls),
            b"UTF8" => nothing(rest, "UTF8", Self::Utf8),
            b"STAT" => nothing(rest, "STAT", Self::Stat),
            b"NOOP" => nothing(rest, "NOOP", Self::Noop),
            b"RSET" => nothing(rest, "RSET", Self::Rset),
            b"QUIT" => nothing(rest, "QUIT", Self::Quit),
            b"LIST" => optional(rest, "LIST [message]").map(Self::List),
            b"UIDL" => optional(rest, "UIDL [message]").map(Self::Uidl),
            b"RETR" => one(rest).map(Self::Retr).ok_or(Fault::Form("RETR message")),
            b"DELE" => one(rest).map(Self::Dele).ok_or(Fault::Form("DELE message")),
            b"TOP" => top(rest).ok_or(Fault::Form("TOP message lines")),
            _ => Err(Fault::Unknown),
        }
    }

    /// Appends the line, as a client sends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.shown_or(str::to_owned).as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// The line as it may be shown: secrets are `…`.
    pub fn shown(&self) -> String {
        self.shown_or(|_| "…".to_owned()).to_string()
    }

    fn shown_or(&self, secret: impl Fn(&str) -> String) -> Zeroizing<String> {
        let numbered = |verb: &str, number: &Option<u64>| match number {
            Some(number) => format!("{verb} {number}"),
            None => verb.to_owned(),
        };
        Zeroizing::new(match self {
            Self::User(name) => format!("USER {name}"),
            Self::Pass(password) => format!("PASS {}", secret(password)),
            Self::Apop => "APOP".to_owned(),
            Self::Auth { mechanism, initial: None } => format!("AUTH {mechanism}"),
            Self::Auth { mechanism, initial: Some(initial) } => {
                format!("AUTH {mechanism} {}", secret(initial))
            }
            Self::AuthList => "AUTH".to_owned(),
            Self::Capa => "CAPA".to_owned(),
            Self::Stls => "STLS".to_owned(),
            Self::Utf8 => "UTF8".to_owned(),
            Self::Stat => "STAT".to_owned(),
            Self::List(number) => numbered("LIST", number),
            Self::Retr(number) => format!("RETR {number}"),
            Self::Dele(number) => format!("DELE {number}"),
            Self::Noop => "NOOP".to_owned(),
            Self::Rset => "RSET".to_owned(),
            Self::Quit => "QUIT".to_owned(),
            Self::Top { message, lines } => format!("TOP {message} {lines}"),
            Self::Uidl(number) => numbered("UIDL", number),
        })
    }
}

/// Arguments; more spaces than one, and spaces at the end, are forgiven.
fn words(rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    rest.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty())
}

fn nothing(rest: &[u8], form: &'static str, command: Command) -> Result<Command, Fault> {
    if words(rest).next().is_none() { Ok(command) } else { Err(Fault::Form(form)) }
}

/// `USER name`. A name with a space in it is no address; the spaces go no further than here.
fn user(rest: &[u8]) -> Result<Command, Fault> {
    let name = String::from_utf8_lossy(rest).trim().to_owned();
    if name.is_empty() { Err(Fault::Form("USER address")) } else { Ok(Command::User(name)) }
}

/// `AUTH [mechanism [initial-response]]`
fn auth(rest: &[u8]) -> Result<Command, Fault> {
    let mut words = words(rest);
    let Some(mechanism) = words.next() else { return Ok(Command::AuthList) };
    let initial = words.next().map(|text| Zeroizing::new(String::from_utf8_lossy(text).into_owned()));
    match (std::str::from_utf8(mechanism), words.next()) {
        (Ok(mechanism), None) => Ok(Command::Auth { mechanism: mechanism.to_owned(), initial }),
        _ => Err(Fault::Form("AUTH mechanism [initial-response]")),
    }
}

/// Digits alone. What is beyond 64 bits is as far beyond any message as the largest of them.
fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

fn one(rest: &[u8]) -> Option<u64> {
    let mut words = words(rest);
    let found = number(words.next()?)?;
    words.next().is_none().then_some(found)
}

fn optional(rest: &[u8], form: &'static str) -> Result<Option<u64>, Fault> {
    if words(rest).next().is_none() { Ok(None) } else { one(rest).map(Some).ok_or(Fault::Form(form)) }
}

fn top(rest: &[u8]) -> Option<Command> {
    let mut words = words(rest);
    let (message, lines) = (number(words.next()?)?, number(words.next()?)?);
    words.next().is_none().then_some(Command::Top { message, lines })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_commands() {
        let pass = |text: &str| Command::Pass(Zeroizing::new(text.to_owned()));
        let auth = |initial: Option<&str>| Command::Auth {
            mechanism: "PLAIN".to_owned(),
            initial: initial.map(|i| Zeroizing::new(i.to_owned())),
        };
        for (line, command) in [
            ("USER alice@example.net", Command::User("alice@example.net".to_owned())),
            ("user  alice@example.net ", Command::User("alice@example.net".to_owned())),
            ("USER zoë@example.net", Command::User("zoë@example.net".to_owned())),
            ("PASS secret", pass("secret")),
            ("pass  two words ", pass(" two words ")),
            ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", Command::Apop),
            ("AUTH", Command::AuthList),
            ("AUTH ", Command::AuthList),
            ("AUTH PLAIN", auth(None)),
            ("auth PLAIN AAAA", auth(Some("AAAA"))),
            ("AUTH PLAIN =", auth(Some("="))),
            ("CAPA", Command::Capa),
            ("stls", Command::Stls),
            ("UTF8", Command::Utf8),
            ("STAT ", Command::Stat),
            ("LIST", Command::List(None)),
            ("LIST ", Command::List(None)),
            ("LIST 7", Command::List(Some(7))),
            ("LIST 007 ", Command::List(Some(7))),
            ("LIST 99999999999999999999999", Command::List(Some(u64::MAX))),
            ("RETR 1", Command::Retr(1)),
            ("RETR 0", Command::Retr(0)),
            ("DELE 2", Command::Dele(2)),
            ("NOOP", Command::Noop),
            ("RSET", Command::Rset),
            ("QUIT", Command::Quit),
            ("TOP 1 0", Command::Top { message: 1, lines: 0 }),
            ("top 1  10", Command::Top { message: 1, lines: 10 }),
            ("UIDL", Command::Uidl(None)),
            ("UIDL 3", Command::Uidl(Some(3))),
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line:?}");
        }
    }

    #[test]
    fn lines_that_are_none() {
        for (line, fault) in [
            (&b""[..], Fault::Unknown),
            (b" STAT", Fault::Unknown),
            (b"XYZZY", Fault::Unknown),
            (b"STATUS", Fault::Unknown),
            (b"RETR\t1", Fault::Unknown),
            (b"LAST", Fault::Unknown),
            (b"\xff\xfe", Fault::Unknown),
            (b"USER", Fault::Form("USER address")),
            (b"USER  ", Fault::Form("USER address")),
            (b"PASS", Fault::Form("PASS password")),
            (b"PASS ", Fault::Form("PASS password")),
            (b"AUTH PLAIN a b", Fault::Form("AUTH mechanism [initial-response]")),
            (b"AUTH \xff", Fault::Form("AUTH mechanism [initial-response]")),
            (b"CAPA x", Fault::Form("CAPA")),
            (b"STAT 1", Fault::Form("STAT")),
            (b"QUIT now", Fault::Form("QUIT")),
            (b"LIST x", Fault::Form("LIST [message]")),
            (b"LIST 1 2", Fault::Form("LIST [message]")),
            (b"LIST +1", Fault::Form("LIST [message]")),
            (b"LIST -1", Fault::Form("LIST [message]")),
            (b"UIDL 1.5", Fault::Form("UIDL [message]")),
            (b"RETR", Fault::Form("RETR message")),
            (b"RETR 1 2", Fault::Form("RETR message")),
            (b"DELE one", Fault::Form("DELE message")),
            (b"TOP 1", Fault::Form("TOP message lines")),
            (b"TOP 1 2 3", Fault::Form("TOP message lines")),
            (b"TOP 1 -2", Fault::Form("TOP message lines")),
            (b"NOOP\0", Fault::Control),
            (b"PASS a\rb", Fault::Control),
            (b"\x1b[A", Fault::Control),
        ] {
            assert_eq!(Command::parse(line), Err(fault), "{line:?}");
        }
    }

    /// Found by the fuzzer: an initial response that is no UTF-8 was written as another one than was read.
    #[test]
    fn octets_that_are_no_utf8_come_back_as_what_they_were_taken_for() {
        for line in [&b"AUTH N \x80"[..], b"USER \xff", b"PASS \xfe\x80"] {
            let command = Command::parse(line).unwrap();
            let mut written = Vec::new();
            command.write(&mut written);
            assert_eq!(Command::parse(&written[..written.len() - 2]), Ok(command));
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        for line in ["PASS open sesame", "AUTH PLAIN c2VzYW1l"] {
            let shown = Command::parse(line.as_bytes()).ok().unwrap().shown();
            assert!(shown.ends_with(" …") && !shown.contains("sesame") && !shown.contains("c2V"), "{shown}");
        }
    }

    fn commands() -> impl Strategy<Value = Command> {
        let word = "[!-~ä☘]{1,40}";
        prop_oneof![
            word.prop_map(Command::User),
            "[ -~ä☘]{1,60}".prop_map(|p| Command::Pass(Zeroizing::new(p))),
            (word, proptest::option::of("[!-~]{1,60}")).prop_map(|(mechanism, initial)| Command::Auth {
                mechanism,
                initial: initial.map(Zeroizing::new)
            }),
            Just(()).prop_map(|()| Command::AuthList),
            any::<Option<u64>>().prop_map(Command::List),
            any::<Option<u64>>().prop_map(Command::Uidl),
            any::<u64>().prop_map(Command::Retr),
            any::<u64>().prop_map(Command::Dele),
            any::<(u64, u64)>().prop_map(|(message, lines)| Command::Top { message, lines }),
            (0usize..8).prop_map(|n| match n {
                0 => Command::Apop,
                1 => Command::Capa,
                2 => Command::Stls,
                3 => Command::Stat,
                4 => Command::Noop,
                5 => Command::Rset,
                6 => Command::Utf8,
                _ => Command::Quit,
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(command in commands()) {
            let mut line = Vec::new();
            command.write(&mut line);
            prop_assert!(line.ends_with(b"\r\n"));
            prop_assert_eq!(Command::parse(&line[..line.len() - 2]), Ok(command));
        }

        #[test]
        fn never_panics(line: Vec<u8>) {
            let _ = Command::parse(&line);
        }
    }
}
