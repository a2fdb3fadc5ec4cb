//! The keyring (profile §9): what every device of an account needs beyond the password, sealed to the account's own
//! key and kept by the home server: retired keys, pins, what domains offer, replay and first-seen memory.
//!
//! # Form
//!
//! Binary age around these octets:
//!
//! ```text
//! sealpost keyring v1 LF
//! address: ADDR LF
//! serial: N LF                 decimal, no leading zeros
//! LF
//! {…} LF                       one line of JSON in UTF-8
//! armoured SSHSIG              namespace sealpost-keyring, sha512, over all octets before it
//! ```
//!
//! The JSON, with what the profile leaves open settled:
//!
//! - `"retired": [{"seed": b64, "key": "ssh-ed25519 …", "from": time, "until": time}]`: the seed's key must be `key`.
//! - `"pins": {ADDR: {"key": "ssh-… …", "since": time, "signs": bool}}`: `signs` says that mail signed by this contact
//!   was seen.
//! - `"domains": {DOMAIN: [KEYWORD, …]}`: EHLO keywords once seen in an authenticated look-up.
//! - `"replay": {"SENDER MESSAGE-ID": [sha256 hex, time]}`: the canonical sender, one space, the Message-ID with its
//!   angle brackets. The value is one pair: the *first* payload with a good signature, and when it was seen. Another
//!   payload under the same name is a replay however often it is read, so it is never recorded.
//! - `"recovery": {"key": "ssh-ed25519 …" or null, "since": time}`: the public half of the recovery kit to which keyrings
//!   are sealed as well, or that there is none any more; of two the later counts. An addition of ours.
//! - `"current": {"seed": b64, "key": "ssh-ed25519 …"}`: the key that signs this keyring, in keyrings for a recovery kit
//!   only: after a forgotten password nothing else makes it again. Whoever opens the keyring with it has it already.
//! - `"seen": {"SENDER sha256 hex": time}`: first-seen memory by SHA-256 of the signature input, which a message has
//!   even while it cannot be opened. An addition of ours: other programs keep it as an unknown member, and without it
//!   a message counts as first seen now.
//!
//! Times are RFC 3339: written as `YYYY-MM-DDTHH:MM:SSZ`, read in any form. All members may be absent. Unknown ones,
//! here and in the objects of `retired` and `pins`, are kept and written back. A keyring may be 1 MiB sealed; when it
//! grows beyond, the oldest replay and first-seen memory goes first.

mod json;

use crate::{
    hex,
    key::SecretKey,
    seal::{self, SealError},
};
use sealpost_proto::{
    address::{Address, Domain},
    key::PublicKey,
    sshsig,
    time::Timestamp,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use zeroize::Zeroizing;

/// SSHSIG namespace of keyrings.
pub const NAMESPACE: &str = "sealpost-keyring";
/// What `XKEYRING` takes (profile §9).
pub const MAX_SEALED_OCTETS: usize = 1 << 20;
/// Room for age's header, its chunk tags and the signature: 20 recipients and more.
const OVERHEAD_OCTETS: usize = 8_192;
/// A longer Message-ID is remembered by its beginning; RFC 5322's lines bound honest ones.
const MAX_MESSAGE_ID_OCTETS: usize = 998;

const FIRST_LINE: &str = "sealpost keyring v1\n";

/// What a keyring holds. No `Debug`: it holds seeds.
#[derive(Clone, Default)]
pub struct Keyring {
    /// Keys of this account that open old mail.
    pub retired: Vec<Retired>,
    /// Contacts' keys.
    pub pins: BTreeMap<Address, Pin>,
    /// Keywords that domains were seen to offer.
    pub domains: BTreeMap<Domain, BTreeSet<String>>,
    /// Replay memory by `SENDER MESSAGE-ID`, as [`Keyring::record_payload`] names it.
    pub replay: BTreeMap<String, FirstPayload>,
    /// First-seen memory by `SENDER SHA-256`, as [`Keyring::record_seen`] names it.
    pub seen: BTreeMap<String, Timestamp>,
    /// The recovery kit, or that it was revoked.
    pub recovery: Option<Recovery>,
    /// The key that signed a keyring for a recovery kit; set by reading only, [`Keyring::seal`] writes its own.
    pub current: Option<SecretKey>,
    other: Map<String, Value>,
}

/// To which recovery kit keyrings are sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Its public half, which is nobody's business but the account's: only who knows it can write what the kit opens.
    /// `None`: revoked.
    pub key: Option<PublicKey>,
    /// Since when.
    pub since: Timestamp,
}

/// A key that was the account's.
#[derive(Clone)]
pub struct Retired {
    /// The key.
    pub key: SecretKey,
    /// From when it was used.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    other: Map<String, Value>,
}

impl Retired {
    /// A key used `from` … `until`.
    pub fn new(key: SecretKey, from: Timestamp, until: Timestamp) -> Self {
        Self { key, from, until, other: Map::new() }
    }
}

/// A contact's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The key.
    pub key: PublicKey,
    /// Since when it is pinned.
    pub since: Timestamp,
    /// Whether mail signed by this contact was seen.
    pub signs: bool,
    other: Map<String, Value>,
}

impl Pin {
    /// A pin made at `since`.
    pub fn new(key: PublicKey, since: Timestamp, signs: bool) -> Self {
        Self { key, since, signs, other: Map::new() }
    }
}

/// What replay memory holds for one (sender, Message-ID).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstPayload {
    /// SHA-256 of the payload without Bcc fields; of the signature input for plain mail (profile §6).
    pub sha256: [u8; 32],
    /// When it was seen first.
    pub first_seen: Timestamp,
}

/// Which of two pins for one contact a merge keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The one of the keyring that is merged into.
    Ours,
    /// The other one.
    Theirs,
}

impl Keyring {
    /// Seals it for `address` to `key`, to the recovery kit if there is one, and to `also`, signed by `key`. At a rotation `key` is the new
    /// one: the keyring becomes current together with it, and a key that was rotated away because others may have it
    /// must open nothing that is written from now on.
    pub fn seal(
        &self,
        address: &Address,
        serial: u64,
        key: &SecretKey,
        also: &[PublicKey],
    ) -> Result<Vec<u8>, KeyringError> {
        let mut fitting = None;
        let mut text = self.to_text(address, serial, key);
        // Half of the memory at a time: a few rounds, and it is not full again with the next message.
        while text.len() > MAX_SEALED_OCTETS - OVERHEAD_OCTETS {
            let smaller: &mut Self = fitting.get_or_insert_with(|| self.clone());
            if !smaller.forget_oldest_half() {
                return Err(KeyringError::TooLarge);
            }
            text = smaller.to_text(address, serial, key);
        }
        let signature = key.sshsig(NAMESPACE, text.as_bytes());
        let mut plain = Zeroizing::new(String::with_capacity(text.len() + signature.len()));
        plain.push_str(&text);
        plain.push_str(&signature);
        let kit = self.recovery.as_ref().and_then(|recovery| recovery.key.clone());
        let recipients: Vec<PublicKey> =
            std::iter::once(key.public()).chain(kit).chain(also.iter().cloned()).collect();
        let sealed = seal::seal_bytes(&recipients, plain.as_bytes())?;
        if sealed.len() > MAX_SEALED_OCTETS { Err(KeyringError::TooLarge) } else { Ok(sealed) }
    }

    /// Opens a keyring of `address` signed by one of `signers` (the keys current when it can have been written),
    /// with a serial not below `least_serial` (what this client remembers; 0 on a new device).
    pub fn open(
        identities: &[SecretKey],
        sealed: &[u8],
        address: &Address,
        signers: &[PublicKey],
        least_serial: u64,
    ) -> Result<(Self, u64), KeyringError> {
        let plain = Plain::open(identities, sealed)?;
        let (text, signature) = plain.parts()?;
        let signed = |key| sshsig::verify(key, NAMESPACE, text.as_bytes(), signature).is_ok();
        if !signers.iter().any(signed) {
            return Err(KeyringError::Signer);
        }
        read(text, address, least_serial)
    }

    /// Opens a keyring with a recovery kit. Who signed it cannot be known beforehand, since the key is in it; that it is
    /// genuine follows from the kit's public half, which nobody but the account's devices has.
    pub fn recover(
        kit: &SecretKey,
        sealed: &[u8],
        address: &Address,
        least_serial: u64,
    ) -> Result<(Self, u64), KeyringError> {
        let plain = Plain::open(std::slice::from_ref(kit), sealed)?;
        let (text, signature) = plain.parts()?;
        let (keyring, serial) = read(text, address, least_serial)?;
        let for_this_kit = keyring.recovery.as_ref().is_some_and(|r| r.key.as_ref() == Some(&kit.public()));
        let signer = keyring.current.as_ref().filter(|_| for_this_kit).ok_or(KeyringError::Signer)?;
        sshsig::verify(&signer.public(), NAMESPACE, text.as_bytes(), signature)
            .map_err(|_| KeyringError::Signer)?;
        Ok((keyring, serial))
    }

    /// What replay memory holds for this sender and Message-ID.
    pub fn first_payload(&self, sender: &Address, message_id: &str) -> Option<FirstPayload> {
        self.replay.get(&replay_name(sender, message_id)).copied()
    }

    /// Records a payload with a good signature; an earlier one under the same name stays.
    pub fn record_payload(&mut self, sender: &Address, message_id: &str, sha256: [u8; 32], now: Timestamp) {
        let new = FirstPayload { sha256, first_seen: now };
        self.replay.entry(replay_name(sender, message_id)).or_insert(new);
    }

    /// When a message with this signature input was first seen.
    pub fn first_seen(&self, sender: &Address, signature_input_sha256: &[u8; 32]) -> Option<Timestamp> {
        self.seen.get(&seen_name(sender, signature_input_sha256)).copied()
    }

    /// Records the signature input of a message whose signature is good; an earlier moment stays.
    pub fn record_seen(&mut self, sender: &Address, signature_input_sha256: &[u8; 32], now: Timestamp) {
        let first = self.seen.entry(seen_name(sender, signature_input_sha256)).or_insert(now);
        *first = now.min(*first);
    }

    /// Takes in what another device stored: everything that either knows, the earliest moment of each memory. Where
    /// the two pin different keys for one contact, `decide` (by statement chain) chooses from ours and theirs.
    pub fn merge(&mut self, theirs: Self, mut decide: impl FnMut(&Address, &Pin, &Pin) -> Keep) {
        for key in theirs.retired {
            match self.retired.iter_mut().find(|ours| ours.key.public() == key.key.public()) {
                Some(ours) => {
                    ours.from = ours.from.min(key.from);
                    ours.until = ours.until.min(key.until);
                    add_missing(&mut ours.other, key.other);
                }
                None => self.retired.push(key),
            }
        }
        for (address, pin) in theirs.pins {
            match self.pins.entry(address) {
                Entry::Vacant(place) => {
                    place.insert(pin);
                }
                Entry::Occupied(mut place) => {
                    let signs = place.get().signs || pin.signs;
                    if place.get().key == pin.key {
                        let ours = place.get_mut();
                        ours.since = ours.since.min(pin.since);
                        add_missing(&mut ours.other, pin.other);
                    } else if decide(place.key(), place.get(), &pin) == Keep::Theirs {
                        place.insert(pin);
                    }
                    place.get_mut().signs = signs;
                }
            }
        }
        for (domain, keywords) in theirs.domains {
            self.domains.entry(domain).or_default().extend(keywords);
        }
        for (name, payload) in theirs.replay {
            let first = self.replay.entry(name).or_insert(payload);
            if payload.first_seen < first.first_seen {
                *first = payload;
            }
        }
        for (name, moment) in theirs.seen {
            let first = self.seen.entry(name).or_insert(moment);
            *first = moment.min(*first);
        }
        let later =
            |ours: &Recovery| theirs.recovery.as_ref().is_some_and(|theirs| theirs.since > ours.since);
        if self.recovery.as_ref().is_none_or(later) && theirs.recovery.is_some() {
            self.recovery = theirs.recovery;
        }
        add_missing(&mut self.other, theirs.other);
    }

    fn to_text(&self, address: &Address, serial: u64, key: &SecretKey) -> Zeroizing<String> {
        let head = format!("{FIRST_LINE}address: {address}\nserial: {serial}\n\n");
        let json = json::write(self, key);
        let mut text = Zeroizing::new(String::with_capacity(head.len() + json.len() + 1));
        text.push_str(&head);
        text.push_str(&json);
        text.push('\n');
        text
    }

    /// Drops the older half of replay and first-seen memory; false if there is none.
    fn forget_oldest_half(&mut self) -> bool {
        let replayed = self.replay.values().map(|p| p.first_seen);
        let mut moments: Vec<Timestamp> = replayed.chain(self.seen.values().copied()).collect();
        moments.sort_unstable();
        let Some(&median) = moments.get(moments.len() / 2) else { return false };
        let before = moments.len();
        self.replay.retain(|_, p| p.first_seen > median);
        self.seen.retain(|_, moment| *moment > median);
        self.replay.len() + self.seen.len() < before
    }
}

/// Why a keyring was refused or could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// Could not be opened or sealed.
    #[error("the keyring cannot be opened: {0}")]
    Seal(#[from] SealError),
    /// Signed by another key, or not at all.
    #[error("the keyring is not signed by your key; the home server may have swapped it")]
    Signer,
    /// Of another account.
    #[error("the keyring belongs to another address")]
    Address,
    /// Older than the one this client knows.
    #[error(
        "the keyring is number {found}, older than number {least} that this device knows; the home server went back"
    )]
    Serial {
        /// In the keyring.
        found: u64,
        /// Remembered.
        least: u64,
    },
    /// Signed, but not of the known form.
    #[error("the keyring is not of a form that this version knows; use a newer one")]
    Syntax,
    /// Over 1 MiB, and no memory to drop.
    #[error("the keyring is larger than 1 MiB")]
    TooLarge,
}

/// What was sealed.
struct Plain(Zeroizing<Vec<u8>>);

impl Plain {
    fn open(identities: &[SecretKey], sealed: &[u8]) -> Result<Self, KeyringError> {
        if sealed.len() > MAX_SEALED_OCTETS {
            return Err(KeyringError::TooLarge);
        }
        Ok(Self(seal::open_bytes(identities, sealed)?))
    }

    /// The signed text, and the signature.
    fn parts(&self) -> Result<(&str, &str), KeyringError> {
        let plain = std::str::from_utf8(&self.0).map_err(|_| KeyringError::Syntax)?;
        // JSON escapes control characters, so that the armour's first line at the start of a line is the armour.
        let at = plain.find(&["\n", sshsig::BEGIN].concat()).ok_or(KeyringError::Syntax)? + 1;
        Ok(plain.split_at(at))
    }
}

fn read(text: &str, address: &Address, least_serial: u64) -> Result<(Keyring, u64), KeyringError> {
    let (found, serial, json) = split(text).ok_or(KeyringError::Syntax)?;
    if found != address.as_str() {
        return Err(KeyringError::Address);
    }
    if serial < least_serial {
        return Err(KeyringError::Serial { found: serial, least: least_serial });
    }
    Ok((json::parse(json).ok_or(KeyringError::Syntax)?, serial))
}

/// Address, serial and JSON line of the signed text.
fn split(text: &str) -> Option<(&str, u64, &str)> {
    let rest = text.strip_prefix(FIRST_LINE)?.strip_prefix("address: ")?;
    let (address, rest) = rest.split_once('\n')?;
    let (serial, rest) = rest.strip_prefix("serial: ")?.split_once('\n')?;
    let canonical = serial == "0" || !serial.starts_with('0');
    let digits = serial.bytes().all(|b| b.is_ascii_digit());
    let serial = serial.parse().ok().filter(|_| canonical && digits)?;
    let json = rest.strip_prefix('\n')?.strip_suffix('\n')?;
    (!json.contains('\n')).then_some((address, serial, json))
}

fn replay_name(sender: &Address, message_id: &str) -> String {
    let mut end = message_id.len().min(MAX_MESSAGE_ID_OCTETS);
    while !message_id.is_char_boundary(end) {
        end -= 1;
    }
    format!("{sender} {}", &message_id[..end])
}

fn seen_name(sender: &Address, sha256: &[u8; 32]) -> String {
    format!("{sender} {}", hex::encode(sha256))
}

fn add_missing(ours: &mut Map<String, Value>, theirs: Map<String, Value>) {
    for (name, value) in theirs {
        ours.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests;
