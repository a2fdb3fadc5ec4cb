//! Hashes, keys, signatures, statements: one spelling each, and nothing that is signed can be made without the key.

use super::lines;
use crate::{feedback, seeds};
use sealpost_proto::{
    address::Address,
    key::PublicKey,
    phc::{Challenge, LoginPhc},
    sshsig,
    statement::{Chain, SignedStatement, Statement},
    time::Timestamp,
};

/// What is read writes itself the same.
pub(crate) fn phc(input: &[u8]) {
    for line in lines(input) {
        if let Ok(challenge) = Challenge::from_phc(line) {
            assert_eq!(challenge.to_phc(), line);
        }
        if let Ok(login) = LoginPhc::from_phc(line) {
            assert_eq!(login.to_phc().as_str(), line);
        }
    }
}

fn agrees(key: &PublicKey) {
    assert_eq!(PublicKey::from_blob(key.blob()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_key_string(&key.key_string()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_wire(&key.wire()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_openssh(&key.openssh()).as_ref(), Ok(key));
    let reply = format!("{} {}", key.algorithm().token(), key.wire());
    assert_eq!(PublicKey::from_reply(&reply).as_ref(), Ok(key));
    assert!(key.fingerprint().starts_with("SHA256:"));
    assert!(key.verify(b"", &[0; 64]).is_err(), "a key takes a signature of zeroes");
}

/// One key, one spelling of each form.
pub(crate) fn key(input: &[u8]) {
    if let Ok(key) = PublicKey::from_blob(input) {
        assert_eq!(key.blob(), input);
        agrees(&key);
    }
    for line in lines(input) {
        if let Ok(key) = PublicKey::from_key_string(line) {
            assert_eq!(key.key_string(), line);
            agrees(&key);
        }
        if let Ok(key) = PublicKey::from_wire(line) {
            assert_eq!(key.wire(), line);
            agrees(&key);
        }
        for key in [PublicKey::from_reply(line), PublicKey::from_openssh(line)].into_iter().flatten() {
            agrees(&key);
        }
    }
}

/// Only the one signature of the seed's key over the seed's message is ever taken, however its armour is laid out.
pub(crate) fn sshsig(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let key = seeds::alice().public();
    if sshsig::verify(&key, seeds::SIGNED_NAMESPACE, seeds::SIGNED, text).is_ok() {
        let bare = |armour: &str| armour.replace('\n', "");
        let genuine = seeds::alice().sshsig(seeds::SIGNED_NAMESPACE, seeds::SIGNED);
        assert_eq!(bare(text), bare(&genuine), "another signature than the one made");
    }
    assert!(sshsig::verify(&key, "other", seeds::SIGNED, text).is_err(), "in another namespace");
    assert!(sshsig::verify(&key, seeds::SIGNED_NAMESPACE, b"other", text).is_err(), "over another message");
    assert!(sshsig::verify(&seeds::bob().public(), seeds::SIGNED_NAMESPACE, seeds::SIGNED, text).is_err());
}

/// Text and wire form are inverses; a statement that nobody signed is never taken; chains keep their order.
pub(crate) fn statement(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(statement) = Statement::from_text(text)
    {
        assert_eq!(statement.to_text(), text);
    }
    let mut chain = Vec::new();
    let taken = |signed: &SignedStatement| {
        let text = signed.statement().to_text();
        assert!(seeds::statement_texts().contains(&text), "a statement that was never signed: {text}");
    };
    if let Ok(signed) = SignedStatement::from_bytes(input) {
        assert_eq!(signed.as_bytes(), input);
        taken(&signed);
    }
    for line in lines(input) {
        if let Ok(signed) = SignedStatement::from_wire(line) {
            assert_eq!(signed.to_wire(), line);
            taken(&signed);
            chain.push(signed);
        }
    }
    let Ok(address) = Address::parse("alice@example.net") else { return };
    let length = chain.len();
    if let Ok(chain) = Chain::check(chain, &address, Timestamp(seeds::NOW)) {
        assert_eq!(chain.statements().len(), length);
        for signed in chain.statements() {
            let keys = chain.keys_from(&signed.statement().key);
            assert!(keys.iter().all(|key| chain.leads(&signed.statement().key, key)));
            assert!(
                !chain.leads(&seeds::mallory().public(), &signed.statement().key),
                "from a key not in it"
            );
        }
    }
}

/// A text as Alice signs it, before and after her rotation, with all its signatures right: what is taken says what the
/// text says, and reads back the same; a chain made of it leads nowhere that it does not say.
pub(crate) fn signed_statement(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (old, new) = (seeds::alice(), seeds::alice_later());
    let by = |key: &sealpost_crypto::key::SecretKey| key.sshsig("sealpost-key", input);
    let mut chain = vec![seeds::first_statement()];
    for armours in [by(&old), by(&new), [by(&old), by(&new)].concat(), [by(&new), by(&old)].concat()] {
        let octets = [text, &armours].concat();
        let read = SignedStatement::from_bytes(octets.as_bytes());
        feedback::happened(&format!("{:?}", read.as_ref().map(|_| ())));
        let Ok(signed) = read else { continue };
        assert_eq!(signed.statement().to_text(), text, "it says something else");
        assert_eq!(SignedStatement::from_wire(&signed.to_wire()).as_ref(), Ok(&signed));
        let signers = [old.public(), new.public()];
        assert!(signers.contains(&signed.statement().key), "nobody signed for this key");
        assert!(signed.statement().previous.as_ref().is_none_or(|key| signers.contains(key)));
        assert!(signed.statement().created < signed.statement().expires);
        chain.insert(0, signed);
    }
    let Ok(address) = Address::parse("alice@example.net") else { return };
    let checked = Chain::check(chain, &address, Timestamp(seeds::NOW));
    feedback::happened(&format!("{:?}", checked.as_ref().map(|chain| chain.statements().len())));
    if let Ok(chain) = checked {
        let leads = chain.leads(&old.public(), &new.public());
        let says = |s: &SignedStatement| {
            s.statement().key == new.public() && s.statement().previous.as_ref() == Some(&old.public())
        };
        assert_eq!(leads, chain.statements().iter().any(says), "the chain leads where nothing says so");
    }
}
