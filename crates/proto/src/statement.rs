//! Key statements and their chains (profile §9): parsing, writing the text, verification. Signing is
//! `sealpost-crypto`'s.

use crate::{address::Address, key::PublicKey, sshsig, time::Timestamp};
use std::collections::HashMap;

/// SSHSIG namespace of statements.
pub const NAMESPACE: &str = "sealpost-key";
/// Two years, in seconds: how long a statement lives.
pub const LIFE_SECONDS: i64 = 2 * 365 * 86_400;
/// How far ahead of our clock a statement may be dated (profile §9).
pub const MAX_AHEAD_SECONDS: i64 = 86_400;
/// The base64 of a statement has to fit a line of 12,288 octets (profile §5), so no statement is longer than this.
pub const MAX_OCTETS: usize = 12_288 / 4 * 3;
/// Statements in one chain: rotated every week, it lasts a lifetime; it bounds what a hostile server makes us verify.
pub const MAX_CHAIN: usize = 4_096;

const FIRST_LINE: &str = "sealpost key statement v1";

/// What a statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Sorted by octets, no duplicates, at least one.
    pub addresses: Vec<Address>,
    /// The key it is about.
    pub key: PublicKey,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// The key before it, or none for the start of a chain.
    pub previous: Option<PublicKey>,
}

impl Statement {
    /// The exact text that is signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        let mut line = |name: &str, value: &str| {
            for part in [name, ": ", value, "\n"] {
                text.push_str(part);
            }
        };
        for address in &self.addresses {
            line("address", address.as_str());
        }
        line("key", &self.key.openssh());
        line("created", &self.created.to_rfc3339());
        line("expires", &self.expires.to_rfc3339());
        line("previous", &self.previous.as_ref().map_or_else(|| "none".to_owned(), PublicKey::openssh));
        text
    }

    /// Parses exactly [`Statement::to_text`]'s form: addresses canonical, sorted by octets, without duplicates;
    /// `expires` after `created`; `previous` another key than `key`.
    pub fn from_text(text: &str) -> Result<Self, StatementError> {
        Self::parse(text).ok_or(StatementError::Syntax)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n').peekable();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut addresses: Vec<Address> = Vec::new();
        while let Some(value) = lines.peek().and_then(|l| l.strip_prefix("address: ")) {
            let address = Address::parse_canonical(value).ok()?;
            if addresses.last().is_some_and(|last| last.as_str().as_bytes() >= value.as_bytes()) {
                return None;
            }
            addresses.push(address);
            lines.next();
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(": ");
        let key = PublicKey::from_openssh(value("key")?).ok()?;
        let created = Timestamp::from_rfc3339(value("created")?)?;
        let expires = Timestamp::from_rfc3339(value("expires")?)?;
        let previous = match value("previous")? {
            "none" => None,
            other => Some(PublicKey::from_openssh(other).ok()?),
        };
        let sane = !addresses.is_empty() && created < expires && previous.as_ref() != Some(&key);
        (sane && lines.next().is_none()).then_some(Self { addresses, key, created, expires, previous })
    }

    /// Whether it speaks for `address` (itself, or with `+detail` cut).
    pub fn covers(&self, address: &Address) -> bool {
        self.addresses.contains(address)
            || address.without_detail().is_some_and(|plain| self.addresses.contains(&plain))
    }
}

/// A statement whose lines and signatures hold; cannot be made otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    statement: Statement,
    wire: Vec<u8>,
}

impl SignedStatement {
    /// Parses and verifies text ‖ armoured SSHSIG by key ‖ armoured SSHSIG by previous (raw bytes, before base64).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > MAX_OCTETS {
            return Err(StatementError::Syntax);
        }
        let all = std::str::from_utf8(bytes).map_err(|_| StatementError::Syntax)?;
        let (text, armours) = all.split_at(all.find(sshsig::BEGIN).ok_or(StatementError::Syntax)?);
        let statement = Statement::from_text(text)?;
        // The LF after the last armour may be missing, as `ssh-keygen` has it; the one between the two may not.
        let by_key = armours.find(sshsig::END).ok_or(StatementError::Syntax)? + sshsig::END.len();
        let by_key = by_key + usize::from(armours[by_key..].starts_with('\n'));
        let (by_key, by_previous) = armours.split_at(by_key);
        let check = |key: &PublicKey, armour: &str| {
            sshsig::verify(key, NAMESPACE, text.as_bytes(), armour).map_err(|_| StatementError::Signature)
        };
        check(&statement.key, by_key)?;
        match &statement.previous {
            Some(previous) if by_key.ends_with('\n') => check(previous, by_previous)?,
            None if by_previous.is_empty() => {}
            _ => return Err(StatementError::Syntax),
        }
        Ok(Self { statement, wire: bytes.to_vec() })
    }
    /// From the base64 of the wire.
    pub fn from_wire(text: &str) -> Result<Self, StatementError> {
        Self::from_bytes(&crate::base64::decode(text).map_err(|_| StatementError::Base64)?)
    }
    /// The base64 of the wire.
    pub fn to_wire(&self) -> String {
        crate::base64::encode(&self.wire)
    }
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.wire
    }
    /// What it says.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}

/// A whole `XKEYINFO` answer, newest first, checked as profile §9 asks: every statement valid, `created` never
/// going back nor over a day ahead of `now`, no fork, addresses cover the one asked for.
///
/// A chain may have gaps: `previous: none` starts anew after a forgotten password, and a key set without a statement
/// leaves one too. Nothing leads across a gap, so contacts see an unsigned change there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    statements: Vec<SignedStatement>,
}

impl Chain {
    /// Checks the statements of one answer for `address` at `now`.
    ///
    /// The newest statement must cover `address`. An older one must cover it too or share an address with the newest:
    /// an alias may have been added since.
    pub fn check(
        newest_first: Vec<SignedStatement>,
        address: &Address,
        now: Timestamp,
    ) -> Result<Self, StatementError> {
        if newest_first.len() > MAX_CHAIN {
            return Err(StatementError::TooMany);
        }
        let Some(newest) = newest_first.first().map(SignedStatement::statement) else {
            return Ok(Self::default());
        };
        let of_this_account = |s: &Statement| {
            s.covers(address)
                || (newest.covers(address) && s.addresses.iter().any(|a| newest.addresses.contains(a)))
        };
        if !newest_first.iter().all(|s| of_this_account(&s.statement)) {
            return Err(StatementError::Address);
        }
        let in_order =
            newest_first.is_sorted_by(|newer, older| newer.statement.created >= older.statement.created);
        if !in_order || newest.created > now.plus(MAX_AHEAD_SECONDS) {
            return Err(StatementError::Dates);
        }
        let mut next: HashMap<&PublicKey, &PublicKey> = HashMap::new();
        for s in newest_first.iter().map(SignedStatement::statement) {
            let fork = |previous| next.insert(previous, &s.key).is_some_and(|other| other != &s.key);
            if s.previous.as_ref().is_some_and(fork) {
                return Err(StatementError::Fork);
            }
        }
        Ok(Self { statements: newest_first })
    }

    /// Newest first.
    pub fn statements(&self) -> &[SignedStatement] {
        &self.statements
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&Statement> {
        self.statements.first().map(SignedStatement::statement)
    }

    /// Whether the chain leads from `pinned` to `to` by `previous` links (equal keys: yes).
    pub fn leads(&self, pinned: &PublicKey, to: &PublicKey) -> bool {
        pinned == to || self.keys_from(pinned).contains(to)
    }

    /// Every key the chain leads to from `pinned`, oldest first, `pinned` included.
    pub fn keys_from(&self, pinned: &PublicKey) -> Vec<PublicKey> {
        let mut keys = vec![pinned.clone()];
        // Once through in the order of time: links go forward only, and a circle ends where the list ends.
        for s in self.statements.iter().rev().map(SignedStatement::statement) {
            if s.previous.as_ref().is_some_and(|p| keys.contains(p)) && !keys.contains(&s.key) {
                keys.push(s.key.clone());
            }
        }
        keys
    }

    /// When `key` was retired: `created` of the statement whose `previous` is `key` and whose key differs; of the
    /// first one, where that was renewed.
    pub fn retired_at(&self, key: &PublicKey) -> Option<Timestamp> {
        let follows = |s: &&Statement| s.previous.as_ref() == Some(key) && s.key != *key;
        self.statements.iter().map(SignedStatement::statement).filter(follows).map(|s| s.created).min()
    }

    /// Whether the newest statement is past its `expires` at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.newest().is_some_and(|s| s.expires <= now)
    }
}

/// Why a statement or a chain was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not base64.
    #[error("the key statement is not standard base64")]
    Base64,
    /// Unknown, missing, repeated or misplaced lines, or a line that does not parse.
    #[error("the key statement is not well-formed")]
    Syntax,
    /// A signature does not hold.
    #[error("a signature of the key statement does not hold")]
    Signature,
    /// Not about the address asked for.
    #[error("the key statement is not about this address")]
    Address,
    /// Two statements with one previous key and different keys.
    #[error("two key statements follow the same key; refuse both and ask the contact")]
    Fork,
    /// `created` goes back, or lies over a day ahead.
    #[error("the dates of the key statements are out of order; check this machine's clock")]
    Dates,
    /// More statements than any account makes.
    #[error("the answer holds too many key statements")]
    TooMany,
    /// Asked to sign with a key that the statement does not name.
    #[error("the statement names other keys than those it should be signed by")]
    WrongSigner,
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    const T0: Timestamp = Timestamp(1_795_469_760);

    fn secret(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn key(n: u8) -> PublicKey {
        PublicKey::from_ed25519(secret(n).verifying_key().as_bytes()).expect("a good key")
    }

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    fn armour(n: u8, text: &str) -> String {
        let raw = secret(n).sign(&sshsig::signed_data(NAMESPACE, text.as_bytes())).to_bytes();
        sshsig::armour(&key(n), NAMESPACE, &raw)
    }

    /// `days` after T0; previous 0 is none.
    fn unsigned(n: u8, previous: u8, days: i64) -> Statement {
        let created = T0.plus(days * 86_400);
        Statement {
            addresses: vec![address("alice@example.net")],
            key: key(n),
            created,
            expires: created.plus(LIFE_SECONDS),
            previous: (previous != 0).then(|| key(previous)),
        }
    }

    fn wire(s: &Statement, signers: &[u8]) -> String {
        let text = s.to_text();
        signers.iter().fold(text.clone(), |all, n| all + &armour(*n, &text))
    }

    fn signed(n: u8, previous: u8, days: i64) -> SignedStatement {
        let signers = if previous == 0 { vec![n] } else { vec![n, previous] };
        SignedStatement::from_bytes(wire(&unsigned(n, previous, days), &signers).as_bytes()).expect("valid")
    }

    fn check(newest_first: &[SignedStatement]) -> Result<Chain, StatementError> {
        Chain::check(newest_first.to_vec(), &address("alice@example.net"), T0)
    }

    #[test]
    fn r05_text_is_exactly_this() {
        let mut s = unsigned(1, 2, 0);
        s.addresses.push(address("alice@example.org"));
        let text = format!(
            "sealpost key statement v1\naddress: alice@example.net\naddress: alice@example.org\nkey: {}\n\
             created: 2026-11-23T21:36:00Z\nexpires: 2028-11-22T21:36:00Z\nprevious: {}\n",
            key(1).openssh(),
            key(2).openssh()
        );
        assert_eq!(s.to_text(), text);
        assert_eq!(Statement::from_text(&text), Ok(s));
        assert!(unsigned(1, 0, 0).to_text().ends_with("previous: none\n"));
    }

    #[test]
    fn r05_unknown_missing_repeated_or_misplaced_lines_are_refused() {
        let mut s = unsigned(1, 2, 0);
        s.addresses.push(address("bob@example.org"));
        let good = s.to_text();
        let lines: Vec<&str> = good.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 7);
        for i in 0..lines.len() {
            // An address fewer is another valid statement; all other lines are needed.
            let missing: String = [&lines[..i], &lines[i + 1..]].concat().concat();
            assert_eq!(Statement::from_text(&missing).is_ok(), i == 1 || i == 2, "without {}", lines[i]);
            let repeated: String = [&lines[..=i], &lines[i..]].concat().concat();
            assert_eq!(Statement::from_text(&repeated), Err(StatementError::Syntax), "twice {}", lines[i]);
            let unknown: String = [&lines[..i], &["comment: x\n"], &lines[i..]].concat().concat();
            assert_eq!(Statement::from_text(&unknown), Err(StatementError::Syntax), "before {}", lines[i]);
            for j in i + 1..lines.len() {
                let mut swapped = lines.clone();
                swapped.swap(i, j);
                assert_eq!(
                    Statement::from_text(&swapped.concat()),
                    Err(StatementError::Syntax),
                    "{i} and {j}"
                );
            }
        }
        for (from, to) in [
            ("v1", "v2"),
            ("sealpost", "Sealpost"),
            ("address: alice", "address:alice"),
            ("address: alice", "address:  alice"),
            ("address: alice", "Address: alice"),
            ("address: alice", "address: Alice"),
            ("@example.net", ""),
            ("key: ssh-ed25519", "key: ssh-rsa"),
            ("00Z\n", "00+00:00\n"),
            ("00Z\n", "00Z \n"),
            ("2026", "2029"),
            ("expires: 2028-11-22", "expires: 2026-11-23"),
            ("\n", "\r\n"),
            ("\n", "\n\n"),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(
                Statement::from_text(&good.replacen(from, to, 1)),
                Err(StatementError::Syntax),
                "{from} -> {to}"
            );
        }
        for bad in [good.trim_end(), &format!("{good}\n"), &format!("{good}x\n"), &format!("\n{good}"), ""] {
            assert_eq!(Statement::from_text(bad), Err(StatementError::Syntax), "{bad:?}");
        }
        let own = Statement { previous: Some(key(1)), ..unsigned(1, 0, 0) };
        assert_eq!(Statement::from_text(&own.to_text()), Err(StatementError::Syntax), "follows itself");
    }

    #[test]
    fn r05_signed_by_key_and_by_previous() {
        let first = unsigned(1, 0, 0);
        let second = unsigned(2, 1, 1);
        for (s, signers, result) in [
            (&first, &[1][..], Ok(())),
            (&first, &[2], Err(StatementError::Signature)),
            (&first, &[1, 1], Err(StatementError::Syntax)),
            (&first, &[], Err(StatementError::Syntax)),
            (&second, &[2, 1], Ok(())),
            (&second, &[1, 2], Err(StatementError::Signature)),
            (&second, &[2], Err(StatementError::Signature)),
            (&second, &[2, 2], Err(StatementError::Signature)),
            (&second, &[1, 1], Err(StatementError::Signature)),
            (&second, &[2, 3], Err(StatementError::Signature)),
            (&second, &[2, 1, 1], Err(StatementError::Signature)),
        ] {
            let bytes = wire(s, signers);
            let got = SignedStatement::from_bytes(bytes.as_bytes());
            assert_eq!(got.as_ref().map(|_| ()), result.as_ref().copied(), "{signers:?}");
            if let Ok(got) = got {
                assert_eq!(got.statement(), s);
                assert_eq!(SignedStatement::from_wire(&got.to_wire()), Ok(got));
                assert!(
                    SignedStatement::from_bytes(bytes.trim_end().as_bytes()).is_ok(),
                    "last LF may be missing"
                );
            }
        }
        let good = wire(&second, &[2, 1]);
        for (what, bad) in [
            ("trailing", format!("{good}x")),
            ("blank line behind", format!("{good}\n")),
            (
                "blank line between",
                good.replace("-----END SSH SIGNATURE-----\n-", "-----END SSH SIGNATURE-----\n\n-"),
            ),
            ("no LF between", good.replace("-----END SSH SIGNATURE-----\n-", "-----END SSH SIGNATURE------")),
            ("changed line", good.replace("expires: 2028", "expires: 2029")),
            ("CRLF", good.replace('\n', "\r\n")),
            ("too long", format!("{good}{}", "x".repeat(MAX_OCTETS))),
        ] {
            assert!(SignedStatement::from_bytes(bad.as_bytes()).is_err(), "{what}");
        }
        assert_eq!(SignedStatement::from_bytes(&[0xff]), Err(StatementError::Syntax));
        assert_eq!(SignedStatement::from_wire("AAA"), Err(StatementError::Base64));
        // Signed in another namespace: a message signature can never pass for a statement.
        let text = first.to_text();
        let raw = secret(1).sign(&sshsig::signed_data("file", text.as_bytes())).to_bytes();
        let other = text + &sshsig::armour(&key(1), "file", &raw);
        assert_eq!(SignedStatement::from_bytes(other.as_bytes()), Err(StatementError::Signature));
    }

    #[test]
    fn r05_chain_leads_forward_only() {
        let chain =
            check(&[signed(3, 2, -1), signed(2, 1, -2), signed(2, 1, -3), signed(1, 0, -9)]).expect("good");
        assert_eq!(chain.newest().map(|s| &s.key), Some(&key(3)));
        for (from, to, leads) in [
            (1, 1, true),
            (1, 2, true),
            (1, 3, true),
            (2, 3, true),
            (3, 1, false),
            (2, 1, false),
            (4, 3, false),
            (4, 4, true),
        ] {
            assert_eq!(chain.leads(&key(from), &key(to)), leads, "{from} to {to}");
        }
        assert_eq!(chain.keys_from(&key(1)), [key(1), key(2), key(3)]);
        assert_eq!(chain.keys_from(&key(2)), [key(2), key(3)]);
        assert_eq!(chain.keys_from(&key(9)), [key(9)]);
        // Renewed since: retired when the statement was first made.
        assert_eq!(chain.retired_at(&key(1)), Some(T0.plus(-3 * 86_400)));
        assert_eq!(chain.retired_at(&key(2)), Some(T0.plus(-86_400)));
        assert_eq!(chain.retired_at(&key(3)), None);
    }

    #[test]
    fn r05_gaps_are_unsigned_changes() {
        for newest in [signed(3, 0, -1), signed(3, 4, -1)] {
            let chain = check(&[newest, signed(2, 1, -2), signed(1, 0, -3)]).expect("no fault in itself");
            assert!(chain.leads(&key(1), &key(2)));
            assert!(!chain.leads(&key(1), &key(3)));
            assert!(!chain.leads(&key(2), &key(3)));
            assert_eq!(chain.retired_at(&key(2)), None);
        }
        // A circle ends.
        let chain = check(&[signed(1, 2, -1), signed(2, 1, -2), signed(1, 0, -3)]).expect("odd, but signed");
        assert_eq!(chain.keys_from(&key(1)), [key(1), key(2)]);
        assert!(check(&[]).expect("empty").newest().is_none());
    }

    #[test]
    fn r05_forks_dates_and_addresses() {
        let (one, two) = (signed(1, 0, -9), signed(2, 1, -5));
        for (what, list, error) in [
            ("fork", vec![signed(3, 1, -4), two.clone(), one.clone()], StatementError::Fork),
            (
                "fork further up",
                vec![signed(4, 1, -1), signed(3, 2, -2), two.clone(), one.clone()],
                StatementError::Fork,
            ),
            ("back in time", vec![one.clone(), two.clone()], StatementError::Dates),
            ("renewal back in time", vec![signed(1, 0, -10), one.clone()], StatementError::Dates),
            ("ahead", vec![signed(3, 2, 2), two.clone(), one.clone()], StatementError::Dates),
        ] {
            assert_eq!(check(&list), Err(error), "{what}");
        }
        assert!(check(&[signed(3, 2, 1), two.clone(), one.clone()]).is_ok(), "a day ahead is taken");
        assert!(
            check(&[two.clone(), signed(2, 1, -5), one.clone()]).is_ok(),
            "the same moment is not before"
        );

        let ask =
            |who: &str, list: &[SignedStatement]| Chain::check(list.to_vec(), &address(who), T0).map(|_| ());
        let list = [two, one];
        assert_eq!(ask("alice+x@example.net", &list), Ok(()));
        for other in ["bob@example.net", "alice@example.org", "bob+alice@example.net", "alice+x@example.org"]
        {
            assert_eq!(ask(other, &list), Err(StatementError::Address), "{other}");
        }
        let with = |n: u8, previous: u8, days, addresses: &[&str]| {
            let s = Statement {
                addresses: addresses.iter().map(|a| address(a)).collect(),
                ..unsigned(n, previous, days)
            };
            let signers = if previous == 0 { vec![n] } else { vec![n, previous] };
            SignedStatement::from_bytes(wire(&s, &signers).as_bytes()).expect("valid")
        };
        let alias = with(3, 2, -1, &["al@example.net", "alice@example.net"]);
        let [two, one] = list;
        assert_eq!(ask("al@example.net", &[alias, two.clone(), one.clone()]), Ok(()), "alias added later");
        let strange = with(3, 2, -1, &["al@example.net"]);
        assert_eq!(
            ask("al@example.net", &[strange.clone(), two.clone(), one.clone()]),
            Err(StatementError::Address)
        );
        assert_eq!(ask("alice@example.net", &[strange, two, one]), Err(StatementError::Address));
    }

    #[test]
    fn r05_expiry_counts_for_the_newest() {
        let chain = check(&[signed(2, 1, -1), signed(1, 0, -800)]).expect("good");
        assert!(!chain.is_expired(T0));
        let end = T0.plus(-86_400 + LIFE_SECONDS);
        assert!(!chain.is_expired(end.plus(-1)));
        assert!(chain.is_expired(end));
    }

    #[test]
    fn long_chains_are_refused() {
        let one = signed(1, 0, -1);
        assert!(check(&vec![one.clone(); MAX_CHAIN]).is_ok());
        assert_eq!(check(&vec![one; MAX_CHAIN + 1]), Err(StatementError::TooMany));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "(sealpost key statement v1\n)?(address: [a-c]@x\n){0,3}\\PC{0,40}", bytes: Vec<u8>) {
            if let Ok(s) = Statement::from_text(&text) {
                prop_assert_eq!(s.to_text(), text.clone());
            }
            let _ = SignedStatement::from_wire(&text);
            let _ = SignedStatement::from_bytes(&bytes);
            let _ = SignedStatement::from_bytes(&[text.as_bytes(), sshsig::BEGIN.as_bytes(), &bytes].concat());
        }

        #[test]
        fn text_round_trips(n in 1u8..9, previous in 0u8..9, days in -9_000i64..9_000) {
            prop_assume!(n != previous);
            let s = unsigned(n, previous, days);
            prop_assert_eq!(Statement::from_text(&s.to_text()), Ok(s));
        }
    }
}
