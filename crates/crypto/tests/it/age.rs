//! Stock `age` opens what we seal with the key file we export, and the other way round (profile §6).

use crate::tool::{Folder, key};
use sealpost_crypto::{
    key::SecretKey,
    seal::{SealError, open_armoured, open_bytes, seal_armoured, seal_bytes},
};
use sealpost_proto::key::PublicKey;
use std::io::{Read, Write};

fn seal(recipients: &[PublicKey], plain: &[u8]) -> Vec<u8> {
    let mut sealer = seal_armoured(recipients, Vec::new()).expect("sealed");
    sealer.write_all(plain).expect("sealed");
    sealer.finish().expect("sealed")
}

fn open(key: &SecretKey, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut plain = Vec::new();
    open_armoured(std::slice::from_ref(key), sealed)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Sizes around age's chunk of 64 KiB and around a line of armour.
fn plains() -> impl Iterator<Item = Vec<u8>> {
    [0, 1, 47, 48, 49, 65_535, 65_536, 65_537, 300_000].into_iter().map(|size| {
        let mut plain: Vec<u8> = (0..size).map(|i: u32| i.to_le_bytes()[0].wrapping_mul(31)).collect();
        plain.rotate_left(size as usize / 2);
        plain
    })
}

#[test]
fn r25_age_opens_what_we_seal() {
    let folder = Folder::new();
    folder.export("one", &key(1));
    folder.export("two", &key(2));
    folder.export("other", &key(3));
    for plain in plains() {
        let sealed = seal(&[key(1).public(), key(2).public()], &plain);
        assert_eq!(folder.succeed("age", &["-d", "-i", "one"], &sealed), plain, "{} octets", plain.len());
        assert_eq!(folder.succeed("age", &["-d", "-i", "two"], &sealed), plain);
        assert!(!folder.run("age", &["-d", "-i", "other"], &sealed).status.success());
        let binary = seal_bytes(&[key(1).public()], &plain).expect("sealed");
        assert_eq!(folder.succeed("age", &["-d", "-i", "one"], &binary), plain);
    }
}

#[test]
fn r25_we_open_what_age_seals() {
    let folder = Folder::new();
    let (one, two) = (key(1).public().openssh(), key(2).public().openssh());
    for plain in plains() {
        // `age -a` writes LF line ends.
        let armoured = folder.succeed("age", &["-a", "-r", &one, "-r", &two], &plain);
        assert!(!armoured.contains(&b'\r'));
        for k in [key(1), key(2)] {
            assert_eq!(open(&k, &armoured).expect("opened"), plain, "{} octets", plain.len());
        }
        assert!(matches!(open(&key(3), &armoured), Err(SealError::NotForUs)));
        let crlf = String::from_utf8(armoured).expect("ASCII").replace('\n', "\r\n");
        assert_eq!(open(&key(1), crlf.as_bytes()).expect("opened"), plain);
        let binary = folder.succeed("age", &["-r", &one], &plain);
        assert_eq!(open_bytes(&[key(1)], &binary).expect("opened").as_slice(), plain);
    }
}

#[test]
fn other_ways_of_sealing_are_refused() {
    let folder = Folder::new();
    let generated = folder.succeed("age-keygen", &[], b"");
    let generated = String::from_utf8(generated).expect("ASCII");
    let x25519 = generated.lines().find_map(|l| l.strip_prefix("# public key: ")).expect("a public key");
    let ours = key(1).public().openssh();
    let mixed = folder.succeed("age", &["-a", "-r", &ours, "-r", x25519], b"hello");
    assert!(matches!(open(&key(1), &mixed), Err(SealError::ForeignStanza)));
}

#[test]
fn r29_rsa_recipients() {
    let folder = Folder::new();
    for bits in ["3072", "4096"] {
        let name = format!("rsa{bits}");
        folder.succeed("ssh-keygen", &["-q", "-t", "rsa", "-b", bits, "-N", "", "-C", "", "-f", &name], b"");
        let line = std::fs::read_to_string(folder.path().join(format!("{name}.pub"))).expect("a key");
        let rsa = PublicKey::from_openssh(line.trim()).expect("in bounds");
        let sealed = seal(&[rsa, key(1).public()], b"hello");
        assert_eq!(folder.succeed("age", &["-d", "-i", &name], &sealed), b"hello");
        assert_eq!(open(&key(1), &sealed).expect("opened"), b"hello");
    }
}
