//! Lists of mailboxes as From, To, Cc and Bcc carry them (RFC 5322 §3.4, §4.4): groups, comments, display names and
//! obsolete forms of real mail are taken, whatever does not fit is counted and never guessed at.

use crate::address::Mailbox;

/// Most mailboxes read from one field; the rest is counted as faults.
pub const MAX_MAILBOXES: usize = 2_000;

/// Deepest nesting of comments (RFC 5322 §3.2.2 has no limit).
const MAX_COMMENT_DEPTH: usize = 32;

/// A mailbox and the name beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedMailbox {
    /// Display name, quotes taken off, encoded words (RFC 2047) as they stand.
    pub name: Option<String>,
    /// The address.
    pub mailbox: Mailbox,
}

/// The parsed value of an address field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailboxList {
    /// All mailboxes in order, those in groups too.
    pub mailboxes: Vec<NamedMailbox>,
    /// How many groups (`friends: …;`) there are.
    pub groups: usize,
    /// How many entries could not be read.
    pub faults: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A run of ordinary characters, dots and `@` included.
    Word(String),
    /// A quoted string: as written, and what it means.
    Quoted(String, String),
    /// `[…]`, as written.
    Literal(String),
    /// A comment's text.
    Comment(String),
    /// One of `<>,;:`.
    Mark(char),
    /// White space.
    Gap,
    /// An unclosed quote, comment or literal, or a stray bracket.
    Bad,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.chars().filter(|c| !matches!(c, '\r' | '\n')).peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => {
                if out.last() != Some(&Token::Gap) {
                    out.push(Token::Gap);
                }
            }
            '<' | '>' | ',' | ';' | ':' => out.push(Token::Mark(c)),
            '"' => {
                let (mut raw, mut plain, mut closed) = (String::from('"'), String::new(), false);
                while let Some(c) = chars.next() {
                    raw.push(c);
                    match c {
                        '"' => {
                            closed = true;
                            break;
                        }
                        '\\' => {
                            if let Some(escaped) = chars.next() {
                                raw.push(escaped);
                                plain.push(escaped);
                            }
                        }
                        _ => plain.push(c),
                    }
                }
                out.push(if closed { Token::Quoted(raw, plain) } else { Token::Bad });
            }
            '(' => {
                let (mut text, mut depth) = (String::new(), 1_usize);
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => text.extend(chars.next()),
                        '(' => {
                            depth += 1;
                            text.push(c);
                        }
                        ')' => {
                            depth -= 1;
                            if depth == 0 {
                                break;
                            }
                            text.push(c);
                        }
                        _ => text.push(c),
                    }
                    if depth > MAX_COMMENT_DEPTH {
                        break;
                    }
                }
                out.push(if depth == 0 { Token::Comment(text) } else { Token::Bad });
            }
            '[' => {
                let mut text = String::from('[');
                for c in chars.by_ref() {
                    text.push(c);
                    if c == ']' {
                        break;
                    }
                }
                out.push(if text.ends_with(']') { Token::Literal(text) } else { Token::Bad });
            }
            ')' | ']' | '\u{fffd}' => out.push(Token::Bad),
            _ => match out.last_mut() {
                Some(Token::Word(word)) => word.push(c),
                _ => out.push(Token::Word(c.into())),
            },
        }
    }
    out
}

/// An addr-spec from its tokens: white space and comments may stand around dots and the `@` only, so that two words
/// side by side never run into one address.
fn addr_spec(tokens: &[Token]) -> Option<Mailbox> {
    let mut text = String::new();
    let mut gap = false;
    for token in tokens {
        let piece = match token {
            Token::Gap | Token::Comment(_) => {
                gap = true;
                continue;
            }
            Token::Word(piece) | Token::Quoted(piece, _) | Token::Literal(piece) => piece,
            Token::Mark(_) | Token::Bad => return None,
        };
        if gap && !text.is_empty() && !text.ends_with(['.', '@']) && !piece.starts_with(['.', '@']) {
            return None;
        }
        gap = false;
        text.push_str(piece);
    }
    Mailbox::parse(&text).ok()
}

/// The words of a display name.
fn phrase(tokens: &[Token]) -> Option<String> {
    let mut name = String::new();
    for token in tokens {
        match token {
            Token::Gap | Token::Comment(_) => {
                if !name.is_empty() && !name.ends_with(' ') {
                    name.push(' ');
                }
            }
            Token::Word(text) | Token::Quoted(_, text) | Token::Literal(text) => name.push_str(text),
            Token::Mark(_) | Token::Bad => return None,
        }
    }
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

impl MailboxList {
    /// Parses a field's value, folded or not. Octets that are no UTF-8 spoil only the entry they stand in.
    pub fn parse(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let tokens = tokens(&text);
        let mut list = Self::default();
        let mut start = 0;
        let mut in_angle = false;
        let mut in_group = false;
        for (i, token) in tokens.iter().enumerate() {
            let Token::Mark(mark) = token else { continue };
            match mark {
                '<' => in_angle = true,
                '>' => in_angle = false,
                // In `<@a,@b:user@c>` comma and colon belong to an obsolete route (RFC 5322 §4.4).
                ',' if !in_angle => {
                    list.entry(&tokens[start..i]);
                    start = i + 1;
                }
                ':' if !in_angle && !in_group => {
                    list.groups += 1;
                    in_group = true;
                    start = i + 1;
                }
                ';' if !in_angle => {
                    list.entry(&tokens[start..i]);
                    start = i + 1;
                    in_group = false;
                }
                _ => {}
            }
        }
        list.entry(&tokens[start..]);
        list
    }

    fn entry(&mut self, tokens: &[Token]) {
        // Empty entries are RFC 5322 §4.4 obs-mbox-list.
        if tokens.iter().all(|t| matches!(t, Token::Gap | Token::Comment(_))) {
            return;
        }
        let read = Self::mailbox(tokens).filter(|_| self.mailboxes.len() < MAX_MAILBOXES);
        match read {
            Some(mailbox) => self.mailboxes.push(mailbox),
            None => self.faults += 1,
        }
    }

    fn mailbox(tokens: &[Token]) -> Option<NamedMailbox> {
        let Some(open) = tokens.iter().position(|t| *t == Token::Mark('<')) else {
            // `user@example.net (Name)`
            let name = tokens.iter().rev().find_map(|t| match t {
                Token::Comment(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
                _ => None,
            });
            return Some(NamedMailbox { name, mailbox: addr_spec(tokens)? });
        };
        let close = open + tokens[open..].iter().position(|t| *t == Token::Mark('>'))?;
        if !tokens[close + 1..].iter().all(|t| matches!(t, Token::Gap | Token::Comment(_))) {
            return None;
        }
        let mut inner = &tokens[open + 1..close];
        let routed = inner.iter().find(|t| **t != Token::Gap);
        if matches!(routed, Some(Token::Word(word)) if word.starts_with('@')) {
            let colon = inner.iter().position(|t| *t == Token::Mark(':'))?;
            inner = &inner[colon + 1..];
        }
        let before = &tokens[..open];
        if before.iter().any(|t| matches!(t, Token::Mark(_) | Token::Bad)) {
            return None;
        }
        Some(NamedMailbox { name: phrase(before), mailbox: addr_spec(inner)? })
    }

    /// The mailbox, if there is exactly one and nothing else: no group, nothing unreadable (profile §6).
    pub fn exactly_one(&self) -> Option<&NamedMailbox> {
        match self.mailboxes.as_slice() {
            [one] if self.groups == 0 && self.faults == 0 => Some(one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<String> {
        MailboxList::parse(text.as_bytes())
            .mailboxes
            .iter()
            .map(|m| match &m.name {
                Some(name) => format!("{name}|{}", m.mailbox),
                None => m.mailbox.to_string(),
            })
            .collect()
    }

    #[test]
    fn reads_the_mail_of_the_world() {
        let rows: [(&str, &[&str]); 16] = [
            ("a@example.net", &["a@example.net"]),
            ("<a@example.net>", &["a@example.net"]),
            ("Alice <a@example.net>, bob@example.com", &["Alice|a@example.net", "bob@example.com"]),
            (r#""Doe, Jane \"J\"" <j@x.org>"#, &[r#"Doe, Jane "J"|j@x.org"#]),
            ("a@x.org (Alice (the first))", &["Alice (the first)|a@x.org"]),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &["Pete|pete@silly.test"]),
            ("friends: a@x.org, B <b@x.org>;, c@x.org", &["a@x.org", "B|b@x.org", "c@x.org"]),
            ("undisclosed-recipients:;", &[]),
            ("Mary Smith <@node.test,@host.test:mary@x.test>", &["Mary Smith|mary@x.test"]),
            ("john . doe @ example . net", &["john.doe@example.net"]),
            ("A\r\n B <a@x.org>,\r\n\tC <c@x.org>", &["A B|a@x.org", "C|c@x.org"]),
            ("=?utf-8?q?J=C3=BCrgen?= <j@x.org>", &["=?utf-8?q?J=C3=BCrgen?=|j@x.org"]),
            ("J. R. Doe <j@x.org>", &["J. R. Doe|j@x.org"]),
            ("\"odd local\"@x.org", &["\"odd local\"@x.org"]),
            (",, a@x.org ,,", &["a@x.org"]),
            ("jürgen@x.org", &["jürgen@x.org"]),
        ];
        for (text, want) in rows {
            assert_eq!(read(text), want, "{text:?}");
            assert_eq!(MailboxList::parse(text.as_bytes()).faults, 0, "{text:?}");
        }
    }

    #[test]
    fn what_is_unclear_is_a_fault_and_never_an_address() {
        let rows = [
            "foo bar@example.net",
            "a@x.org b@x.org",
            "<a@x.org> <b@x.org>",
            "<a@x.org> b@x.org",
            "<a@x.org",
            "\"open <a@x.org>",
            "(open a@x.org",
            "nobody",
            "a@x.org)",
            "<<a@x.org>>",
            "a@[127.0.0.1",
            "a@@x.org",
            "b@x.org <>",
        ];
        for text in rows {
            let list = MailboxList::parse(text.as_bytes());
            assert!(list.mailboxes.is_empty() && list.faults > 0, "{text:?}: {list:?}");
            assert!(list.exactly_one().is_none());
        }
        let list = MailboxList::parse(b"ok@x.org, b\xfcd@x.org, fine@x.org");
        assert_eq!((list.mailboxes.len(), list.faults), (2, 1));
    }

    #[test]
    fn exactly_one_is_exactly_one() {
        for (text, want) in [
            ("a@x.org", true),
            ("A <a@x.org>,", true),
            ("a@x.org, b@x.org", false),
            ("g: a@x.org;", false),
            ("a@x.org, nonsense", false),
            ("", false),
        ] {
            assert_eq!(MailboxList::parse(text.as_bytes()).exactly_one().is_some(), want, "{text:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let most = vec!["a@x.org"; MAX_MAILBOXES].join(",");
        assert_eq!(MailboxList::parse(most.as_bytes()).faults, 0);
        let more = vec!["a@x.org"; MAX_MAILBOXES + 1].join(",");
        let list = MailboxList::parse(more.as_bytes());
        assert_eq!((list.mailboxes.len(), list.faults), (MAX_MAILBOXES, 1));
        let nested = |n: usize| format!("a@x.org {}{}", "(".repeat(n), ")".repeat(n));
        assert_eq!(MailboxList::parse(nested(MAX_COMMENT_DEPTH).as_bytes()).faults, 0);
        assert_ne!(MailboxList::parse(nested(MAX_COMMENT_DEPTH + 1).as_bytes()).faults, 0);
    }

    proptest! {
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            MailboxList::parse(&octets);
        }

        #[test]
        fn never_panics_on_what_looks_like_addresses(text in "[a@.<>(),;:\"\\\\\\[\\] \r\n]{0,60}") {
            let list = MailboxList::parse(text.as_bytes());
            prop_assert!(list.exactly_one().is_none() || list.mailboxes.len() == 1);
        }
    }
}
