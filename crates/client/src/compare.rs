//! `contact compare`: one's own key and a contact's, side by side with what the contact says on the telephone or shows
//! on a screen.

use crate::{
    client::Client,
    contact::ContactReport,
    error::ClientError,
    keys::{is_fingerprint, key_report},
    state::Snapshot,
};
use sealpost_crypto::words::{fingerprint_words, is_word};
use sealpost_proto::{
    address::{Address, Mailbox},
    key::PublicKey,
};

/// Words of a fingerprint.
const WORDS: usize = 12;

/// A key in the forms that people compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Whose.
    pub address: Address,
    /// The key.
    pub key: PublicKey,
    /// `SHA256:…`
    pub fingerprint: String,
    /// Twelve words.
    pub words: String,
}

impl Side {
    fn new(address: &Address, key: &PublicKey) -> Self {
        Self {
            address: address.clone(),
            key: key.clone(),
            fingerprint: key.fingerprint(),
            words: fingerprint_words(key),
        }
    }

    /// What a QR code of this key holds: the address, a space, the fingerprint. [`Heard::Fingerprint`] takes it whole.
    pub fn qr_text(&self) -> String {
        qr_text(&self.address, &self.fingerprint)
    }
}

/// What a QR code of a key holds.
pub fn qr_text(address: &Address, fingerprint: &str) -> String {
    format!("{address} {fingerprint}")
}

/// Both keys.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// One's own.
    pub own: Side,
    /// The one known for the contact.
    pub theirs: Side,
    /// The one that the contact's server gave last, where that is another and nothing leads to it.
    pub published: Option<Side>,
    /// The contact.
    pub contact: ContactReport,
}

/// What the contact said or showed.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// Twelve words, in any case, with any white space.
    Words(&'a str),
    /// `SHA256:…`, or what a QR code holds.
    Fingerprint(&'a str),
}

impl<'a> Heard<'a> {
    /// Words have spaces and no colon.
    pub fn guess(text: &'a str) -> Self {
        if text.contains(':') || text.split_whitespace().count() < 2 {
            Self::Fingerprint(text)
        } else {
            Self::Words(text)
        }
    }
}

/// Whose key that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// The key known for the contact.
    Same,
    /// Not that, but the one its server gives now.
    Published,
    /// Another one.
    Other,
}

/// What cannot be compared; a slip of the tongue must not read as another key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeardError {
    /// Not twelve.
    #[error("a key has twelve words, not {0}; ask for all of them, from the beginning")]
    Count(usize),
    /// Not of the list.
    #[error("{0:?} (number {1}) is no word of the list; ask for it again")]
    Word(String, usize),
    /// Not a whole fingerprint.
    #[error(
        "this is no fingerprint; it has the form SHA256:… with 43 letters, digits, + and / behind the colon"
    )]
    Fingerprint,
    /// Of another address.
    #[error("this is the code of {0}, not of the contact you compare with")]
    Address(String),
}

impl Comparison {
    /// Holds `heard` against the contact's key.
    pub fn hold_against(&self, heard: Heard<'_>) -> Result<Match, HeardError> {
        let is = |side: &Side| match heard {
            Heard::Words(text) => words(text).map(|words| words == side.words),
            Heard::Fingerprint(text) => {
                fingerprint(text, &self.theirs.address).map(|text| is_fingerprint(text, &side.key))
            }
        };
        if is(&self.theirs)? {
            return Ok(Match::Same);
        }
        match &self.published {
            Some(published) if is(published)? => Ok(Match::Published),
            _ => Ok(Match::Other),
        }
    }
}

/// Twelve words of the list, one space between them.
fn words(text: &str) -> Result<String, HeardError> {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    if words.len() != WORDS {
        return Err(HeardError::Count(words.len()));
    }
    match words.iter().position(|word| !is_word(word)) {
        Some(at) => Err(HeardError::Word(words[at].clone(), at + 1)),
        None => Ok(words.join(" ")),
    }
}

/// The fingerprint alone, of the text of a QR code too.
fn fingerprint<'a>(text: &'a str, of: &Address) -> Result<&'a str, HeardError> {
    let text = text.trim();
    let fingerprint = match text.split_once(char::is_whitespace) {
        Some((address, fingerprint)) => {
            let theirs = Address::parse(address).map_err(|_| HeardError::Fingerprint)?;
            if theirs != *of {
                return Err(HeardError::Address(theirs.to_string()));
            }
            fingerprint.trim()
        }
        None => text,
    };
    let digest = fingerprint.trim_start_matches("SHA256:").trim_end_matches('=');
    let whole =
        digest.len() == 43 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if whole { Ok(fingerprint) } else { Err(HeardError::Fingerprint) }
}

impl Client {
    pub(crate) fn compare_contact(&self, mailbox: &Mailbox) -> Result<Comparison, ClientError> {
        let contact = self.show_contact(mailbox)?;
        let own = key_report(&Snapshot::load(self)?)?;
        let looked_up = contact.looked_up.as_ref();
        let published = looked_up.and_then(|l| l.key.as_ref()).filter(|key| **key != contact.key);
        Ok(Comparison {
            own: Side::new(&own.address, &own.key),
            theirs: Side::new(&contact.address, &contact.key),
            published: published.map(|key| Side::new(&contact.address, key)),
            contact,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_crypto::key::SecretKey;

    fn bob() -> Address {
        Address::parse("bob@example.com").expect("an address")
    }

    fn comparison() -> Comparison {
        let side = |n: u8| Side::new(&bob(), &SecretKey::from_seed([n; 32]).public());
        let contact = ContactReport::for_tests(&bob(), side(2).key);
        Comparison { own: side(1), theirs: side(2), published: Some(side(3)), contact }
    }

    #[test]
    fn what_is_heard_is_the_known_key_the_published_one_or_another() {
        let both = comparison();
        let side = |n: u8| Side::new(&bob(), &SecretKey::from_seed([n; 32]).public());
        for (n, want) in [(2, Match::Same), (3, Match::Published), (1, Match::Other), (9, Match::Other)] {
            let side = side(n);
            let shouted = side.words.to_uppercase().replace(' ', " \n");
            let bare = side.fingerprint.trim_start_matches("SHA256:").to_owned();
            for words in [&side.words, &shouted] {
                assert_eq!(both.hold_against(Heard::Words(words)), Ok(want), "{words}");
                assert_eq!(both.hold_against(Heard::guess(words)), Ok(want), "{words}");
            }
            for text in [&side.fingerprint, &bare, &side.qr_text(), &format!(" {}\n", side.qr_text())] {
                assert_eq!(both.hold_against(Heard::Fingerprint(text)), Ok(want), "{text}");
                assert_eq!(both.hold_against(Heard::guess(text)), Ok(want), "{text}");
            }
        }
    }

    #[test]
    fn a_slip_of_the_tongue_is_not_another_key() {
        let both = comparison();
        let words: Vec<&str> = both.theirs.words.split(' ').collect();
        let eleven = words[..11].join(" ");
        let mut slip = words.clone();
        slip[4] = "sealpost";
        for (text, want) in [
            (eleven.as_str(), HeardError::Count(11)),
            ("", HeardError::Count(0)),
            (&slip.join(" "), HeardError::Word("sealpost".to_owned(), 5)),
        ] {
            assert_eq!(both.hold_against(Heard::Words(text)), Err(want), "{text}");
        }
        let whole = &both.theirs.fingerprint;
        for text in ["", "SHA256:", &whole[..40], &format!("{whole}x"), &format!("nobody {whole}")] {
            assert_eq!(both.hold_against(Heard::Fingerprint(text)), Err(HeardError::Fingerprint), "{text}");
        }
        let other = format!("carol@example.com {whole}");
        let want = HeardError::Address("carol@example.com".to_owned());
        assert_eq!(both.hold_against(Heard::Fingerprint(&other)), Err(want));
    }
}
