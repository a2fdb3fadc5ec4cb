//! The files in `vectors/`: known answers, and keys to refuse.

use sealpost_crypto::vectors;
use sealpost_proto::key::{KeyError, PublicKey};
use serde_json::Value;
use std::path::Path;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn r06_r22_known_answers_of_other_software() {
    let report = vectors::check(&file("keys.json"));
    assert_eq!((report.passed, report.failed), (12, 0), "{:#?}", report.lines);
    // One digit of one seed.
    let changed = file("keys.json").replacen("0a8deff2", "0a8deff3", 1);
    let report = vectors::check(&changed);
    assert_eq!((report.passed, report.failed), (11, 1), "{:#?}", report.lines);
}

#[test]
fn r29_keys_to_refuse() {
    let cases: Value = serde_json::from_str(&file("refused-keys.json")).expect("JSON");
    let cases = cases["cases"].as_array().expect("a list");
    let (mut taken, mut refused) = (0, 0);
    for case in cases {
        let (name, reply) =
            (case["name"].as_str().expect("a name"), case["reply"].as_str().expect("a reply"));
        let outcome = match PublicKey::from_reply(reply) {
            Ok(_) => "taken",
            Err(KeyError::Base64) => "base64",
            Err(KeyError::Blob) => "blob",
            Err(KeyError::Algorithm) => "algorithm",
            Err(KeyError::Mismatch) => "mismatch",
            Err(KeyError::WeakPoint) => "weak point",
            Err(KeyError::RsaBounds) => "rsa bounds",
            Err(_) => "other",
        };
        assert_eq!(Some(outcome), case["outcome"].as_str(), "{name}");
        if outcome == "taken" { taken += 1 } else { refused += 1 }
    }
    assert!(taken >= 3 && refused > 40, "{taken} taken, {refused} refused");
}
