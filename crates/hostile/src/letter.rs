//! Sealed messages put together by hand: as anybody can make them who has a key, and as no honest client would.

use sealpost_crypto::{key::SecretKey, seal};
use sealpost_proto::message::{Header, SignatureInput, fold_pubkey, fold_signature};
use std::io::Write as _;

/// Puts the signature of `signer` under a header (without the two long fields) and a body.
pub fn sign(head: &str, body: &[u8], signer: &SecretKey) -> Vec<u8> {
    let (header, _) = Header::read(head.as_bytes()).unwrap();
    let input = SignatureInput::new(&header).unwrap();
    let signature = signer.sign(&[input.head(), body].concat());
    let algorithm = signer.public().algorithm();
    let head =
        format!("{head}{}{}\r\n", fold_pubkey(&signer.public()), fold_signature(algorithm, &signature));
    [head.as_bytes(), body].concat()
}

/// The payload sealed, in armour.
pub fn armour(payload: &[u8], to: &SecretKey) -> Vec<u8> {
    let mut sealer = seal::seal_armoured(&[to.public()], Vec::new()).unwrap();
    sealer.write_all(payload).unwrap();
    sealer.finish().unwrap()
}

/// The outer header of a sealed message without the two long fields.
pub fn outer(from: &str) -> String {
    format!(
        "From: {from}\r\nTo: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nMessage-ID: <1@example.net>\r\n\
         Subject: [...]\r\nMIME-Version: 1.0\r\nContent-Type: application/age\r\nContent-Transfer-Encoding: 7bit\r\n\
         X-Sender-Encrypted: yes\r\n"
    )
}

/// A payload as [`outer`] wants it, from Alice.
pub fn payload() -> String {
    "From: alice@example.net\r\nTo: bob@example.com\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\nSubject: inner\r\n\
     Message-ID: <1@example.net>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; hp=\"cipher\"\r\n\
     HP-Outer: From: alice@example.net\r\nHP-Outer: To: bob@example.com\r\n\
     HP-Outer: Date: Mon, 23 Nov 2026 21:36:00 +0000\r\nHP-Outer: Message-ID: <1@example.net>\r\n\
     HP-Outer: Subject: [...]\r\n\r\nsecret text\r\n"
        .into()
}

/// The same under another Message-ID.
pub fn under(id: &str, text: &str) -> String {
    text.replace("<1@example.net>", &format!("<{id}@example.net>"))
}
