//! Mail addresses: as written on the wire, and in the canonical form that names an account or a pin (profile §3).

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use std::{borrow::Cow, fmt, net::Ipv4Addr, net::Ipv6Addr};
use unicode_normalization::UnicodeNormalization;

/// Octets of a local part, quotes included (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL_OCTETS: usize = 64;
/// Octets of a domain name in text form: 255 on the wire less the root's two (RFC 1035 §2.3.4).
pub const MAX_DOMAIN_OCTETS: usize = 253;

/// A domain in canonical form: lower-case A-labels (UTS 46, non-transitional), or an address literal `[…]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// Parses and canonicalises (`MÜLLER.example` → `xn--mller-kva.example`).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_DOMAIN_OCTETS {
            return Err(AddressError::DomainTooLong);
        }
        if text.starts_with('[') {
            return literal(text).map(Self);
        }
        if text.is_empty() || text.starts_with('.') || text.ends_with('.') || text.contains("..") {
            return Err(AddressError::Syntax);
        }
        // RFC 5321 §4.1.2 knows letters, digits, hyphens and dots; RFC 6531 §3.3 adds U-labels.
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.') || !c.is_ascii()) {
            return Err(AddressError::Syntax);
        }
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Ignore)
            .map_err(|_| AddressError::Domain)?;
        if ascii.len() > MAX_DOMAIN_OCTETS {
            return Err(AddressError::DomainTooLong);
        }
        if !idna::uts46::verify_dns_length(&ascii, false) {
            return Err(AddressError::Domain);
        }
        // RFC 1123 §2.1: the highest label is alphabetic, so that `10.0.0.1` is never taken for a name.
        if ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return Err(AddressError::Domain);
        }
        Ok(Self(ascii.into_owned()))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an address literal (`[192.0.2.1]`), which no DNS look-up leads to.
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address in canonical form: unquoted where possible, NFC, local part in Unicode default lower case, NFC
/// again; domain as lower-case A-labels. Names accounts and pins; never sent to foreign servers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    at: usize,
}

impl Address {
    /// Parses any valid spelling and canonicalises it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Mailbox::parse(text).map(|m| m.canonical())
    }

    /// Accepts `text` only if it is already canonical (HASHEDPASS user names, profile §4).
    pub fn parse_canonical(text: &str) -> Result<Self, AddressError> {
        let address = Self::parse(text)?;
        if address.text == text { Ok(address) } else { Err(AddressError::NotCanonical) }
    }

    /// `local@domain`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The canonical local part.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain.
    pub fn domain(&self) -> Domain {
        Domain(self.text[self.at + 1..].to_owned())
    }

    /// `alice+list@x` → `Some(alice@x)`; `None` where there is no detail.
    pub fn without_detail(&self) -> Option<Self> {
        let local = unquote(self.local());
        let (name, _detail) = local.split_once('+')?;
        (!name.is_empty()).then(|| Self::join(&quote(name), &self.text[self.at + 1..]))
    }

    /// Whether it is one of an account's addresses, also with `+detail`.
    pub fn is_of(&self, account: &[Self]) -> bool {
        let bare = self.without_detail();
        account.iter().any(|own| own == self || bare.as_ref() == Some(own))
    }

    fn join(local: &str, domain: &str) -> Self {
        Self { text: format!("{local}@{domain}"), at: local.len() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An address as somebody wrote it: what goes on the wire for foreign local parts (profile §3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    local: String,
    domain: String,
    canonical: Address,
}

impl Mailbox {
    /// RFC 5321 §4.1.2 `Mailbox` with RFC 6531's UTF-8; local part at most 64 octets, domain at most 253.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let end = local_end(text).ok_or(AddressError::Syntax)?;
        let (local, domain) = (&text[..end], text[end..].strip_prefix('@').ok_or(AddressError::Syntax)?);
        if local.len() > MAX_LOCAL_OCTETS {
            return Err(AddressError::LocalTooLong);
        }
        let canonical_local = canonical_local(local);
        // A few characters grow when lower-cased or normalised; the canonical form must parse as an address too.
        if canonical_local.len() > MAX_LOCAL_OCTETS {
            return Err(AddressError::LocalTooLong);
        }
        let canonical = Address::join(&canonical_local, Domain::parse(domain)?.as_str());
        Ok(Self { local: local.to_owned(), domain: domain.to_owned(), canonical })
    }

    /// The local part as written, quotes included.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain as written.
    pub fn domain_as_written(&self) -> &str {
        &self.domain
    }

    /// The canonical domain.
    pub fn domain(&self) -> Domain {
        self.canonical.domain()
    }

    /// The canonical address.
    pub fn canonical(&self) -> Address {
        self.canonical.clone()
    }

    /// Whether it goes through a relay without SMTPUTF8 (local part in ASCII; domain is sent as A-labels).
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }
}

/// As written.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not `local@domain` by RFC 5321 §4.1.2 and RFC 6531.
    #[error("this is not a mail address; write it as name@domain")]
    Syntax,
    /// Local part over 64 octets.
    #[error("the part before the @ is longer than 64 octets")]
    LocalTooLong,
    /// Domain over 253 octets.
    #[error("the domain is longer than 253 octets")]
    DomainTooLong,
    /// The domain is not valid under UTS 46.
    #[error("the domain is not a valid name; check its spelling")]
    Domain,
    /// Valid, but not in canonical form where that is asked for.
    #[error("write the address in its canonical form: lower case, no quotes, domain in A-labels")]
    NotCanonical,
}

/// `atext` of RFC 5322 §3.2.3 with RFC 6531's UTF-8. C1 controls are kept out: no one writes them, and terminals
/// obey them.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_control()
    }
}

/// `Dot-string = Atom *("." Atom)`
fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// Where the local part ends: `Local-part = Dot-string / Quoted-string`.
fn local_end(text: &str) -> Option<usize> {
    if !text.starts_with('"') {
        let end = text.find('@')?;
        return is_dot_string(&text[..end]).then_some(end);
    }
    // QcontentSMTP = qtextSMTP / quoted-pairSMTP; quoted-pairSMTP = %d92 %d32-126
    let mut chars = text.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some(i + 1),
            '\\' => {
                chars.next().filter(|(_, c)| matches!(c, ' '..='~'))?;
            }
            ' '..='~' => {}
            c if !c.is_ascii() && !c.is_control() => {}
            _ => return None,
        }
    }
    None
}

/// The content of a local part without quotes and backslashes.
fn unquote(local: &str) -> Cow<'_, str> {
    let Some(inner) = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) else {
        return Cow::Borrowed(local);
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}

/// Inverse of [`unquote`], quoting only where RFC 5321 needs it.
fn quote(content: &str) -> Cow<'_, str> {
    if is_dot_string(content) {
        return Cow::Borrowed(content);
    }
    let mut out = String::with_capacity(content.len() + 2);
    out.push('"');
    for c in content.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Cow::Owned(out)
}

fn canonical_local(local: &str) -> String {
    let composed: String = unquote(local).nfc().collect();
    let lower: String = composed.to_lowercase().nfc().collect();
    quote(&lower).into_owned()
}

/// `address-literal` of RFC 5321 §4.1.3, in one spelling for each address.
fn literal(text: &str) -> Result<String, AddressError> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or(AddressError::Syntax)?;
    if let Ok(v4) = inner.parse::<Ipv4Addr>() {
        return Ok(format!("[{v4}]"));
    }
    let (tag, content) = inner.split_once(':').ok_or(AddressError::Syntax)?;
    if tag.eq_ignore_ascii_case("ipv6") {
        let v6: Ipv6Addr = content.parse().map_err(|_| AddressError::Syntax)?;
        return Ok(format!("[ipv6:{v6}]"));
    }
    // General-address-literal = Standardized-tag ":" 1*dcontent; dcontent = %d33-90 / %d94-126
    let tag_fits = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && tag.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric());
    let content_fits = !content.is_empty() && content.bytes().all(|b| matches!(b, 33..=90 | 94..=126));
    if tag_fits && content_fits {
        Ok(format!("[{}:{content}]", tag.to_ascii_lowercase()))
    } else {
        Err(AddressError::Syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_forms() {
        for (written, canonical) in [
            ("alice@example.org", "alice@example.org"),
            ("Alice@EXAMPLE.Org", "alice@example.org"),
            ("\"Alice\"@example.org", "alice@example.org"),
            ("\"a\\l\\ice\"@example.org", "alice@example.org"),
            ("\"a b\"@example.org", "\"a b\"@example.org"),
            ("\"a@b\"@example.org", "\"a@b\"@example.org"),
            ("\"a\\\"b\"@example.org", "\"a\\\"b\"@example.org"),
            ("\"\"@example.org", "\"\"@example.org"),
            ("\"a..b\"@example.org", "\"a..b\"@example.org"),
            ("bob@MÜLLER.example", "bob@xn--mller-kva.example"),
            ("bob@xn--mller-kva.example", "bob@xn--mller-kva.example"),
            // Non-transitional: ß stays a letter of its own.
            ("heidi@straße.example", "heidi@xn--strae-oqa.example"),
            ("JU\u{308}RGEN@bücher.example", "j\u{fc}rgen@xn--bcher-kva.example"),
            ("ΑΣ@example.org", "ας@example.org"),
            ("\u{212b}@example.org", "å@example.org"),
            ("用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d"),
            ("a!#$%&'*+-/=?^_`{|}~@x", "a!#$%&'*+-/=?^_`{|}~@x"),
            ("a@[192.0.2.1]", "a@[192.0.2.1]"),
            ("a@[IPv6:2001:DB8:0::1]", "a@[ipv6:2001:db8::1]"),
            ("a@[X-new:Some!thing]", "a@[x-new:Some!thing]"),
            ("a@r3---sn.example", "a@r3---sn.example"),
        ] {
            let mailbox = Mailbox::parse(written).unwrap_or_else(|e| panic!("{written}: {e}"));
            assert_eq!(mailbox.canonical().as_str(), canonical, "{written}");
            assert_eq!(mailbox.to_string(), written, "as written");
            assert_eq!(Address::parse_canonical(canonical).expect(canonical).as_str(), canonical);
            let same = written == canonical;
            assert_eq!(Address::parse_canonical(written).is_ok(), same, "{written}");
        }
    }

    #[test]
    fn refusals() {
        use AddressError::{Domain as BadDomain, DomainTooLong, LocalTooLong, Syntax};
        let long_local = format!("{}@x.example", "a".repeat(65));
        let long_utf8 = format!("{}@x.example", "ä".repeat(33));
        let long_domain = format!("a@{}.example", "a.".repeat(124) + "a");
        let long_label = format!("a@{}.example", "a".repeat(64));
        for (text, error) in [
            ("", Syntax),
            ("alice", Syntax),
            ("@example.org", Syntax),
            ("alice@", Syntax),
            ("alice@@example.org", Syntax),
            (" alice@example.org", Syntax),
            ("alice@example.org ", Syntax),
            ("ali ce@example.org", Syntax),
            ("ali\u{9b}ce@example.org", Syntax),
            ("ali\0ce@example.org", Syntax),
            ("alice.@example.org", Syntax),
            (".alice@example.org", Syntax),
            ("a..b@example.org", Syntax),
            ("a(b)@example.org", Syntax),
            ("<alice@example.org>", Syntax),
            ("\"alice@example.org", Syntax),
            ("\"alice\"x@example.org", Syntax),
            ("\"ali\nce\"@example.org", Syntax),
            ("\"ali\\\u{e4}ce\"@example.org", Syntax),
            ("alice@example.org.", Syntax),
            ("alice@.example.org", Syntax),
            ("alice@example..org", Syntax),
            ("alice@exa_mple.org", Syntax),
            ("alice@exa mple.org", Syntax),
            ("alice@-example.org", BadDomain),
            ("alice@example-.org", BadDomain),
            ("alice@xn--a.example", BadDomain),
            ("alice@ex\u{202e}ample.org", BadDomain),
            ("alice@192.0.2.1", BadDomain),
            ("alice@[192.0.2.256]", Syntax),
            ("alice@[192.0.2.1", Syntax),
            ("alice@[2001:db8::1]x", Syntax),
            ("alice@[IPv6:zz]", Syntax),
            ("alice@[]", Syntax),
            ("alice@[tag:]", Syntax),
            (&long_local, LocalTooLong),
            (&long_utf8, LocalTooLong),
            (&long_domain, DomainTooLong),
            (&long_label, BadDomain),
        ] {
            assert_eq!(Mailbox::parse(text).map(|m| m.to_string()), Err(error), "{text:?}");
        }
    }

    #[test]
    fn limits_just_fit() {
        let local = "a".repeat(64);
        let domain = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!(domain.len(), 253);
        assert!(Mailbox::parse(&format!("{local}@{domain}")).is_ok());
        assert_eq!(Mailbox::parse(&format!("{local}@{domain}d")), Err(AddressError::DomainTooLong));
    }

    #[test]
    fn detail() {
        for (with, without) in [
            ("alice+list@x.example", Some("alice@x.example")),
            ("alice+a+b@x.example", Some("alice@x.example")),
            ("alice+@x.example", Some("alice@x.example")),
            ("\"a b+c\"@x.example", Some("\"a b\"@x.example")),
            ("\"ab+ c\"@x.example", Some("ab@x.example")),
            ("alice@x.example", None),
            ("+list@x.example", None),
        ] {
            let cut = Address::parse(with).expect(with).without_detail();
            assert_eq!(cut.as_ref().map(Address::as_str), without, "{with}");
        }
        let own = [Address::parse("alice@x.example").expect("an address")];
        for (address, is_own) in [
            ("Alice@x.example", true),
            ("alice+list@x.example", true),
            ("alicia@x.example", false),
            ("alice@y.example", false),
        ] {
            assert_eq!(Address::parse(address).expect(address).is_of(&own), is_own, "{address}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_canonical_is_a_fixed_point(text in "\\PC{0,40}@?\\PC{0,40}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                let canonical = mailbox.canonical();
                prop_assert_eq!(mailbox.to_string(), text);
                prop_assert_eq!(Address::parse_canonical(canonical.as_str()), Ok(canonical));
            }
        }

        #[test]
        fn quoting_round_trips(content in "[ -~äΣßİ]{0,30}") {
            let quoted = quote(&content);
            prop_assert_eq!(local_end(&format!("{quoted}@x")), Some(quoted.len()));
            prop_assert_eq!(unquote(&quoted), content.as_str());
        }

        #[test]
        fn unicode_locals_have_one_canonical_form(local in "[\\p{L}\\p{M}]{1,12}") {
            if let Ok(a) = Address::parse(&format!("{local}@example.org")) {
                let upper = format!("{}@example.org", a.local());
                prop_assert_eq!(Address::parse_canonical(&upper), Ok(a));
            }
        }
    }
}
