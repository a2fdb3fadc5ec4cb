//! What belongs to an account: keyring, sealed octets, known answers, the login, the server's configuration.

use super::lines;
use crate::{Rng, feedback, seeds};
use sealpost_crypto::{
    recovery::RecoveryKey,
    seal::{open_armoured, open_bytes},
    vectors,
};
use sealpost_proto::{
    base64,
    phc::{Challenge, Cost, Salt},
    sasl::{Credentials, Exchange, Mechanism, Parameters, SaslError, Step},
    smtp::client::Command,
};
use sealpost_server::config::Config;
use std::{io::Read as _, path::Path};

/// Memory times passes that one known answer may cost here.
const VECTOR_COST_MAX: u64 = 4_096;

/// The text inside: what is read and written again reads the same. Behind the text a signature that was not made for
/// it opens nothing.
pub(crate) fn keyring(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if seeds::open_keyring(&seeds::sealed_keyring(text, false)).is_ok() {
        assert!(seeds::is_known_keyring(text), "a keyring that was never signed: {text}");
    }
    // As its owner would sign it: anything goes in, and what is taken comes out again.
    let opened = seeds::open_keyring(&seeds::sealed_keyring(text, true));
    if let Err(error) = &opened {
        feedback::happened(&feedback::shape(&error.to_string()));
    }
    let Ok((keyring, serial)) = opened else { return };
    let Ok(address) = sealpost_proto::address::Address::parse("alice@example.net") else { return };
    let write = |keyring: &sealpost_crypto::keyring::Keyring| {
        let sealed = keyring.seal(&address, serial, &seeds::alice(), &[]).ok()?;
        let plain = open_bytes(&[seeds::alice()], &sealed).expect("sealed to this key");
        Some((sealed, plain))
    };
    let Some((sealed, first)) = write(&keyring) else { return };
    let (again, serial_again) = seeds::open_keyring(&sealed).expect("just written");
    assert_eq!(serial_again, serial);
    let second = write(&again).map(|(_, plain)| plain);
    // Signatures are deterministic, so that the whole of it is.
    assert!(second.as_deref() == Some(&*first), "written again it differs");
}

/// What is taken for a recovery key is one in both forms, and its words and its text are the only ones of it.
pub(crate) fn recovery(input: &[u8]) {
    for line in lines(input) {
        let kit = match RecoveryKey::parse(line) {
            Ok(kit) => kit,
            Err(error) => {
                feedback::happened(&feedback::shape(&error.to_string()));
                continue;
            }
        };
        let same = |text: &str| {
            RecoveryKey::parse(text)
                .is_ok_and(|again| again.words() == kit.words() && again.text() == kit.text())
        };
        assert!(same(&kit.words()) && same(&kit.text()), "{line:?} is another key when written again");
        let typed = line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        assert!(
            typed == *kit.words() || typed == kit.text().to_lowercase(),
            "{line:?} has a second spelling"
        );
    }
}

/// Nothing but what was sealed comes out, and nothing of it is lost at the end.
pub(crate) fn age(input: &[u8]) {
    let check = |plain: &[u8]| {
        let rest = plain.strip_prefix(seeds::SEALED).expect("only what was sealed is opened");
        assert!(rest.len().is_multiple_of(10) && rest.chunks(10).all(|line| line == b"and more\r\n"));
        assert!(rest.is_empty() || rest.len() == 35_000, "the end is cut off");
    };
    for key in [seeds::bob(), seeds::mallory()] {
        let ours = key.public() == seeds::bob().public();
        let opened = open_bytes(std::slice::from_ref(&key), input);
        if let Ok(plain) = &opened {
            assert!(ours, "opened with a key it is not sealed to");
            check(plain);
        }
        if let Ok(mut reader) = open_armoured(std::slice::from_ref(&key), input) {
            let mut plain = Vec::new();
            if reader.read_to_end(&mut plain).is_ok() {
                assert!(ours, "opened with a key it is not sealed to");
                check(&plain);
            }
        }
    }
}

/// A file of known answers ends in a report, whatever it holds.
pub(crate) fn vectors(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let number = |case: &serde_json::Value, name: &str| case.get(name).and_then(serde_json::Value::as_u64);
    if let Ok(file) = serde_json::from_str::<serde_json::Value>(text) {
        let cases = file.get("cases").and_then(|cases| cases.as_array()).cloned().unwrap_or_default();
        let cost: u64 = cases
            .iter()
            .map(|case| number(case, "m_kib").unwrap_or(0).saturating_mul(number(case, "t").unwrap_or(0)))
            .fold(0, u64::saturating_add);
        if cost > VECTOR_COST_MAX {
            return;
        }
    }
    let report = vectors::check(text);
    assert!(report.passed + report.failed > 0, "nothing is said of it");
    assert!(
        report.lines.iter().all(|line| !line.chars().any(char::is_control)),
        "a line steers the terminal"
    );
}

/// After an error or an end there is nothing more to be had; who signs in is who was asked about; the client's own
/// message reads back.
pub(crate) fn sasl(input: &[u8]) {
    let challenge =
        Challenge { cost: Cost::DEFAULT, salt: Salt::new([9; 16]).expect("16 octets are enough") };
    for mechanism in Mechanism::ALL {
        let mut exchange = Exchange::new(mechanism);
        let mut rows = input.split(|b| *b == b'\n');
        let first = rows.next().filter(|row| !row.is_empty());
        let mut step = exchange.start(first);
        let (mut asked, mut proved) = (None, false);
        loop {
            step = match step {
                Ok(Step::Challenge(_)) => {
                    let Some(row) = rows.next() else { return };
                    exchange.line(row)
                }
                Ok(Step::AskChallenge(user)) => {
                    assert_eq!(mechanism, Mechanism::HashedPass);
                    assert!(asked.is_none(), "asked twice");
                    asked = Some(user);
                    exchange.challenge(&challenge)
                }
                Ok(Step::AskScram(question)) => {
                    assert!(matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus));
                    assert_eq!(question.binding.is_some(), mechanism == Mechanism::ScramSha256Plus);
                    exchange.scram(&Parameters {
                        salt: vec![9; 16],
                        iterations: 4096,
                        nonce: "s".to_owned(),
                        binding: question.binding.map(|_| vec![7; 32]),
                        plus_offered: false,
                    })
                }
                Ok(Step::Done(Credentials::Scram(proof))) => {
                    // What was proved is the whole conversation, the server's words among it.
                    let (said, auth) = ("s,s=CQkJCQkJCQkJCQkJCQkJCQ==,i=4096,c=", &proof.auth_message);
                    assert!(auth.starts_with("n=") && auth.contains(said), "{auth}");
                    proved = true;
                    exchange.proved(&[8; 32])
                }
                Ok(Step::Proved) => {
                    assert!(proved);
                    break;
                }
                Ok(Step::Done(credentials)) => {
                    done(mechanism, &credentials, asked.as_ref());
                    break;
                }
                Err(_) => break,
            };
        }
        for row in rows.take(3).chain([b"".as_slice(), b"AA=="]) {
            let error = exchange.line(row).err().expect("it is over");
            let known = [SaslError::Order, SaslError::Base64, SaslError::Cancelled];
            assert!(known.contains(&error), "{error}");
        }
        assert!(exchange.challenge(&challenge).is_err());
    }
}

fn done(mechanism: Mechanism, credentials: &Credentials, asked: Option<&sealpost_proto::address::Address>) {
    match credentials {
        Credentials::HashedPass { user, hash } => {
            assert_eq!(mechanism, Mechanism::HashedPass);
            assert!(asked.is_none_or(|asked| asked == user), "another user in the second step");
            let command = Command::auth_hashed_pass(user, Some(hash)).expect("what was read can be written");
            let line = command.wire().strip_prefix(b"AUTH HASHEDPASS ").and_then(|l| l.strip_suffix(b"\r\n"));
            match Exchange::new(mechanism).start(line) {
                Ok(Step::Done(Credentials::HashedPass { user: again, hash: same })) => {
                    assert!(again == *user && same.expose() == hash.expose());
                }
                _ => panic!("the client's message does not read back"),
            }
        }
        Credentials::Scram(_) => unreachable!("the exchange is not over"),
        Credentials::AppPassword { user, token } => {
            assert_ne!(mechanism, Mechanism::HashedPass);
            assert!(!user.is_empty() && !token.is_empty() && !user.contains('\0') && !token.contains('\0'));
            let message = base64::encode(format!("\0{user}\0{}", token.as_str()));
            let again = Exchange::new(Mechanism::Plain).start(Some(message.as_bytes()));
            assert!(matches!(again, Ok(Step::Done(Credentials::AppPassword { .. }))));
        }
    }
}

/// A configuration is taken or refused with a sentence; reading it never touches the disk.
pub(crate) fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Config::parse(text, Path::new("/nowhere/sealpost.toml")) {
        Ok(config) => {
            assert!(config.data_dir.is_absolute() && config.control_socket().is_absolute());
            assert!(config.domains.iter().all(|domain| config.is_local(domain)));
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            feedback::happened(&feedback::shape(&error.to_string()));
        }
    }
    // Lines alone too: each key's own parser is reached without the rest being right.
    let mut rng = Rng::of(input);
    for line in lines(input).filter(|_| rng.below(4) == 0) {
        let _ = Config::parse(line, Path::new("/nowhere/sealpost.toml"));
    }
}
