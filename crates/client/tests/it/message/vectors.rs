//! `vectors/messages.json`, made by other software.

use super::*;
use sealpost_proto::key::PublicKey;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../../vectors/messages.json")).unwrap()
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a string in {value}"))
}

fn rows(vectors: &Value, name: &str, least: usize) -> Vec<Value> {
    let rows = vectors[name].as_array().unwrap().clone();
    assert!(rows.len() >= least, "{name}");
    rows
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat()
}

#[test]
fn r08_signature_inputs_are_those_of_other_software() {
    let vectors = vectors();
    let key = PublicKey::from_openssh(vectors["sender_keys"][0].as_str().unwrap()).unwrap();
    for row in rows(&vectors, "inputs", 13) {
        let name = string(&row, "name");
        let (header, _) = Header::read(string(&row, "header").as_bytes()).unwrap();
        let input = SignatureInput::new(&header).unwrap();
        assert_eq!(String::from_utf8_lossy(input.head()), string(&row, "head"), "{name}");
        let whole = [input.head(), string(&row, "body").as_bytes()].concat();
        assert_eq!(hex(&Sha256::digest(&whole)), string(&row, "input_sha256"), "{name}");
        assert_eq!(hex(&alice().sign(&whole)), string(&row, "signature"), "{name}");
        assert!(key.verify(&whole, &alice().sign(&whole)).is_ok());
        let whole_message = [string(&row, "header"), "\r\n", string(&row, "body")].concat();
        assert_eq!(
            hex(&message(whole_message.as_bytes()).signature_input_sha256()),
            string(&row, "input_sha256")
        );
    }
    for row in rows(&vectors, "refused", 17) {
        let (header, _) = Header::read(string(&row, "header").as_bytes()).unwrap();
        assert!(SignatureInput::new(&header).is_err(), "{}", string(&row, "name"));
    }
}

#[test]
fn r21_r25_r29_messages_of_other_software_get_their_verdicts() {
    let vectors = vectors();
    let keys = vectors["sender_keys"].as_array().unwrap();
    let facts = Facts {
        keys: keys.iter().map(|k| PublicKey::from_openssh(k.as_str().unwrap()).unwrap()).collect(),
        own_addresses: vec![Address::parse(string(&vectors["reader"], "address")).unwrap()],
        ..facts()
    };
    assert_eq!(string(&vectors["reader"], "seed"), hex(&bob().seed()[..]));
    for row in rows(&vectors, "messages", 26) {
        let name = string(&row, "name");
        let opened = judge(string(&row, "message").as_bytes(), &facts);
        assert_eq!(opened.verdict.name(), string(&row, "verdict"), "{name}: {:?}", opened.notes);
        assert_eq!(
            opened.payload_sha256.map(|h| hex(&h)).as_deref(),
            row["payload_sha256"].as_str(),
            "{name}"
        );
    }
}
