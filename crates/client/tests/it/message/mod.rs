//! Composing and opening messages, with real sealing and signing.

mod altered;
mod checks;
mod composed;
mod delivered;
mod given;
mod large;
mod shown;
mod vectors;
mod verdicts;

use sealpost_client::{
    compose::{Composition, Copy, Draft, Outgoing},
    open::{Facts, Message, Opened},
};
use sealpost_crypto::{key::SecretKey, seal};
use sealpost_hostile::letter::{armour, outer, payload, sign};
use sealpost_proto::{
    address::{Address, Mailbox},
    message::{Header, SignatureInput, fold_pubkey},
    time::Timestamp,
};
use std::{
    fs::File,
    io::{Read, Seek as _, Write},
};

/// Mon, 23 Nov 2026 21:36:00 UTC.
const NOW: Timestamp = Timestamp(1_795_469_760);

fn alice() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

fn bob() -> SecretKey {
    SecretKey::from_seed([2; 32])
}

fn mallory() -> SecretKey {
    SecretKey::from_seed([3; 32])
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn draft() -> Draft {
    Draft {
        from: mailbox("alice@example.net"),
        to: vec![mailbox("bob@example.com")],
        cc: Vec::new(),
        bcc: Vec::new(),
        subject: "Grüße aus Basel".into(),
        text: "Hello Bob,\n\nFrom here: 5 = 5.\n.\nAlice\n".into(),
        attachments: Vec::new(),
        carried: Vec::new(),
        in_reply_to: None,
        references: Vec::new(),
    }
}

fn compose(draft: Draft) -> Composition {
    Composition::new(draft, NOW, [7; 16]).unwrap()
}

fn octets(outgoing: &Outgoing) -> Vec<u8> {
    let mut out = Vec::new();
    outgoing.open().unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(out.len() as u64, outgoing.size());
    out
}

/// The draft sealed to Bob and signed by Alice.
fn sealed(draft: Draft) -> Vec<u8> {
    octets(&compose(draft).sealed(&Copy::Visible, &[bob().public()], &alice()).unwrap())
}

fn plain(draft: Draft) -> Vec<u8> {
    octets(&compose(draft).plain(&alice()).unwrap())
}

/// What Bob knows of Alice after they have met.
fn facts() -> Facts {
    Facts {
        keys: vec![alice().public()],
        confirmed: true,
        own_addresses: vec![Address::parse("bob@example.com").unwrap()],
        now: NOW,
        ..Facts::default()
    }
}

fn file_of(octets: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(octets).unwrap();
    file.rewind().unwrap();
    file
}

fn message(octets: &[u8]) -> Message {
    Message::read(file_of(octets)).unwrap()
}

/// Bob's verdict.
fn judge(octets: &[u8], facts: &Facts) -> Opened {
    message(octets).judge(&[bob()], facts).unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

fn wrap(payload: &str) -> Vec<u8> {
    sign(&outer("alice@example.net"), &armour(payload.as_bytes(), &bob()), &alice())
}
