//! `ssh-keygen` checks our key files, fingerprints, statements and keyrings, and we check what it signs (profile §9).

use crate::tool::{Folder, key};
use sealpost_crypto::{
    key::SecretKey,
    keyring::{self, Keyring},
    seal::open_bytes,
};
use sealpost_proto::{
    address::Address,
    key::PublicKey,
    sshsig,
    statement::{self, LIFE_SECONDS, SignedStatement, Statement},
    time::Timestamp,
};

const T0: Timestamp = Timestamp(1_795_469_760);

fn alice() -> Address {
    Address::parse("alice@example.net").expect("valid")
}

/// Has `ssh-keygen -Y verify` check `signature` over `message` by `signer`.
fn verifies(folder: &Folder, signer: &PublicKey, namespace: &str, message: &str, signature: &str) -> bool {
    folder.write("allowed", format!("alice@example.net {}\n", signer.openssh()));
    folder.write("signature", signature);
    let args =
        ["-Y", "verify", "-f", "allowed", "-I", "alice@example.net", "-n", namespace, "-s", "signature"];
    folder.run("ssh-keygen", &args, message.as_bytes()).status.success()
}

fn sign(folder: &Folder, key_file: &str, namespace: &str, message: &str) -> String {
    let args = ["-q", "-Y", "sign", "-f", key_file, "-n", namespace];
    String::from_utf8(folder.succeed("ssh-keygen", &args, message.as_bytes())).expect("ASCII")
}

fn statement(key: &SecretKey, previous: Option<&SecretKey>) -> Statement {
    Statement {
        addresses: vec![alice()],
        key: key.public(),
        created: T0,
        expires: T0.plus(LIFE_SECONDS),
        previous: previous.map(SecretKey::public),
    }
}

#[test]
fn r05_ssh_keygen_verifies_our_statements() {
    let folder = Folder::new();
    let (old, new) = (key(1), key(2));
    let signed = new.sign_statement(&statement(&new, Some(&old)), Some(&old)).expect("signed");
    let all = std::str::from_utf8(signed.as_bytes()).expect("UTF-8");
    let (text, armours) = all.split_at(all.find(sshsig::BEGIN).expect("a signature"));
    let (by_new, by_old) = armours.split_at(armours[1..].find(sshsig::BEGIN).expect("another") + 1);
    for (by, signature) in [(&new, by_new), (&old, by_old)] {
        let by = by.public();
        assert!(verifies(&folder, &by, "sealpost-key", text, signature));
        assert!(!verifies(&folder, &by, "sealpost-keyring", text, signature));
        assert!(!verifies(&folder, &by, "sealpost-key", &text.replace("alice", "bob"), signature));
    }
    assert!(!verifies(&folder, &old.public(), "sealpost-key", text, by_new));
}

#[test]
fn r28_ssh_keygen_verifies_our_keyrings() {
    let folder = Folder::new();
    let sealed = Keyring::default().seal(&alice(), 7, &key(1), &[]).expect("sealed");
    let plain = open_bytes(&[key(1)], &sealed).expect("opened");
    let plain = std::str::from_utf8(&plain).expect("UTF-8");
    let (text, signature) = plain.split_at(plain.find(sshsig::BEGIN).expect("a signature"));
    assert!(verifies(&folder, &key(1).public(), keyring::NAMESPACE, text, signature));
    assert!(!verifies(&folder, &key(1).public(), keyring::NAMESPACE, &text.replace('7', "8"), signature));
    // And `age` with the exported key opens it.
    folder.export("key", &key(1));
    assert_eq!(folder.succeed("age", &["-d", "-i", "key"], &sealed), plain.as_bytes());
}

#[test]
fn r05_we_verify_what_ssh_keygen_signs() {
    let folder = Folder::new();
    folder.export("old", &key(1));
    folder.export("new", &key(2));
    let text = statement(&key(2), Some(&key(1))).to_text();
    let by = |file| sign(&folder, file, statement::NAMESPACE, &text);
    let wire = [text.as_str(), &by("new"), &by("old")].concat();
    let signed = SignedStatement::from_bytes(wire.as_bytes()).expect("valid");
    assert_eq!(signed.statement().key, key(2).public());
    // Ed25519 signatures and the layout have one form only: ours is the same, octet for octet.
    let ours = key(2).sign_statement(&statement(&key(2), Some(&key(1))), Some(&key(1))).expect("signed");
    assert_eq!(ours.as_bytes(), wire.as_bytes());
    // Signatures with the other hash that ssh-keygen knows are refused, and so is another namespace.
    let args = ["-q", "-Y", "sign", "-O", "hashalg=sha256", "-f", "new", "-n", "sealpost-key"];
    let sha256 = String::from_utf8(folder.succeed("ssh-keygen", &args, text.as_bytes())).expect("ASCII");
    for bad in [sha256, sign(&folder, "new", "file", &text)] {
        assert!(sshsig::verify(&key(2).public(), statement::NAMESPACE, text.as_bytes(), &bad).is_err());
    }
}

#[test]
fn r29_we_verify_rsa_signatures_and_statements() {
    let folder = Folder::new();
    folder.succeed("ssh-keygen", &["-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", "", "-f", "rsa"], b"");
    let line = std::fs::read_to_string(folder.path().join("rsa.pub")).expect("a key");
    let rsa = PublicKey::from_openssh(line.trim()).expect("in bounds");
    let statement = Statement { key: rsa.clone(), ..statement(&key(1), None) };
    let text = statement.to_text();
    let signature = sign(&folder, "rsa", "sealpost-key", &text);
    assert_eq!(sshsig::verify(&rsa, "sealpost-key", text.as_bytes(), &signature), Ok(()));
    assert!(sshsig::verify(&rsa, "sealpost-key", b"another", &signature).is_err());
    assert!(sshsig::verify(&key(1).public(), "sealpost-key", text.as_bytes(), &signature).is_err());
    let wire = [text, signature].concat();
    assert_eq!(SignedStatement::from_bytes(wire.as_bytes()).map(|s| s.statement().clone()), Ok(statement));
    // Below the bounds.
    folder.succeed("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f", "small"], b"");
    let line = std::fs::read_to_string(folder.path().join("small.pub")).expect("a key");
    assert!(PublicKey::from_openssh(line.trim()).is_err());
}

#[test]
fn exported_key_files_and_fingerprints_agree() {
    let folder = Folder::new();
    for n in 1..6 {
        folder.export("key", &key(n));
        let public =
            String::from_utf8(folder.succeed("ssh-keygen", &["-y", "-f", "key"], b"")).expect("ASCII");
        assert_eq!(public.trim(), format!("{} alice@example.net", key(n).public().openssh()));
        let shown =
            String::from_utf8(folder.succeed("ssh-keygen", &["-l", "-f", "key"], b"")).expect("ASCII");
        assert_eq!(shown.split(' ').nth(1), Some(key(n).public().fingerprint().as_str()));
    }
}
