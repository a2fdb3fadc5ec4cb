//! App passwords (profile §4): 128 random bits, shown once, kept as SCRAM-SHA-256 material (RFC 5802, RFC 7677).

use crate::auth::same;
use hmac::{Hmac, Mac as _};
use rand_core::{OsRng, RngCore as _};
use sealpost_proto::{address::Address, sasl::Proof, time::Timestamp};
use sealpost_store::account::AppPassword;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// RFC 7677 §4 asks for 4096 at least; the token has 128 random bits, so more would only cost the server.
pub const ITERATIONS: u32 = 4096;
/// App passwords of one account: at a login each is looked at, and those with a salt of their own cost one PBKDF2.
pub const PER_ACCOUNT_MAX: usize = 50;
/// Shortest token an administrator may choose, in characters.
pub const TOKEN_MIN: usize = 20;
/// Longest token, in octets (as for passwords, profile §3).
pub const TOKEN_MAX: usize = 1024;
/// Letters of generated tokens and codes: base 32 without look-alikes.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A random text of 130 bits (26 letters) in groups of `-`, for app passwords and one-time codes.
pub fn random_token() -> Zeroizing<String> {
    let mut random = Zeroizing::new([0u8; 26]);
    OsRng.fill_bytes(&mut *random);
    let mut text = Zeroizing::new(String::with_capacity(32));
    for (i, byte) in random.iter().enumerate() {
        if i > 0 && i % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    text
}

/// The salt of a user's app passwords: HMAC-SHA-256 of the user name with the server's secret, cut to 16 bytes. It is one
/// for all of them, since SCRAM asks with it before it is told which one was typed (their 128 random bits each need no
/// salt), and anybody may ask, so that it must not tell who has an account.
pub fn salt(secret: &[u8; 32], user: &str) -> [u8; 16] {
    let address = Address::parse(user);
    let name = address.as_ref().map_or(user, Address::as_str);
    let whole = hmac(secret, format!("sealpost app password salt v1\0{name}").as_bytes());
    let mut salt = [0; 16];
    salt.copy_from_slice(&whole[..16]);
    salt
}

/// What is stored for a token; `salt` is the user's.
pub fn make(name: &str, token: &str, salt: [u8; 16], created: Timestamp) -> AppPassword {
    let salted = salted_password(token, &salt, ITERATIONS);
    AppPassword {
        name: name.to_owned(),
        iterations: ITERATIONS,
        stored_key: stored_key(&salted),
        server_key: hmac(&salted, b"Server Key"),
        salt: salt.to_vec(),
        created,
    }
}

/// The name of the app password that `token` is, if any. Takes the same time wherever it stands in the list, and a
/// dummy computation where there is none. Blocking.
pub fn find(passwords: &[AppPassword], token: &str) -> Option<String> {
    let mut found = None;
    let mut last: Option<(&AppPassword, [u8; 32])> = None;
    for password in passwords.iter().take(PER_ACCOUNT_MAX) {
        let key = match last {
            Some((one, key)) if one.salt == password.salt && one.iterations == password.iterations => key,
            _ => stored_key(&salted_password(token, &password.salt, password.iterations)),
        };
        last = Some((password, key));
        if same(&key, &password.stored_key) {
            found = Some(password.name.clone());
        }
    }
    if passwords.is_empty() {
        let _ = stored_key(&salted_password(token, &[0; 16], ITERATIONS));
    }
    found
}

/// The name of the app password that a proof of SCRAM was made with, and the server's own proof (RFC 5802 §3):
///
/// ```text
/// ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage); StoredKey = H(ClientKey)
/// ServerSignature = HMAC(ServerKey, AuthMessage)
/// ```
///
/// Those whose salt is not the one that was asked with cannot be proved; they were made before there was SCRAM.
pub fn prove(passwords: &[AppPassword], salt: &[u8; 16], proof: &Proof) -> Option<(String, [u8; 32])> {
    let mut found = None;
    for password in passwords.iter().take(PER_ACCOUNT_MAX) {
        let client_key = client_key(&password.stored_key, proof);
        let fits = password.salt == salt && password.iterations == ITERATIONS;
        if same(&Sha256::digest(*client_key).into(), &password.stored_key) && fits {
            let signature = hmac(&password.server_key, proof.auth_message.as_bytes());
            found = Some((password.name.clone(), signature));
        }
    }
    if passwords.is_empty() {
        let _ = Sha256::digest(*client_key(&[0; 32], proof));
    }
    found
}

fn client_key(stored_key: &[u8; 32], proof: &Proof) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new(hmac(stored_key, proof.auth_message.as_bytes()));
    for (octet, of_proof) in key.iter_mut().zip(proof.proof) {
        *octet ^= of_proof;
    }
    key
}

fn salted_password(token: &str, salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(token.as_bytes(), salt, iterations))
}

fn stored_key(salted: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(*Zeroizing::new(hmac(salted, b"Client Key"))).into()
}

fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SALT: [u8; 16] = [7; 16];

    /// RFC 7677 §3: user "user", password "pencil".
    #[test]
    fn scram_known_answer() {
        let salt: [u8; 16] =
            sealpost_proto::base64::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let made = [make("other", "eraser", salt, Timestamp(0)), make("it", "pencil", salt, Timestamp(0))];
        let client_proof =
            sealpost_proto::base64::decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let mut proof = Proof {
            user: "user".to_owned(),
            proof: client_proof.try_into().unwrap(),
            auth_message:
                "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                           c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
                    .to_owned(),
        };
        let (name, signature) = prove(&made, &salt, &proof).unwrap();
        assert_eq!(name, "it");
        assert_eq!(sealpost_proto::base64::encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(prove(&made[..1], &salt, &proof).is_none());
        assert!(prove(&made, &SALT, &proof).is_none(), "another salt than was asked with");
        assert!(prove(&[], &salt, &proof).is_none());
        proof.proof[31] ^= 1;
        assert!(prove(&made, &salt, &proof).is_none());
    }

    #[test]
    fn finds_the_right_one_only() {
        let token = |name: &str| format!("token-of-{name}-xxxxxxxxxx");
        let mut made: Vec<_> =
            ["a", "b", "c"].iter().map(|n| make(n, &token(n), SALT, Timestamp(0))).collect();
        // Made before there was one salt for all.
        made.push(make("old", &token("old"), [8; 16], Timestamp(0)));
        for name in ["a", "b", "c", "old"] {
            assert_eq!(find(&made, &token(name)).as_deref(), Some(name));
        }
        assert_eq!(find(&made, &token("d")), None);
        assert_eq!(find(&[], &token("b")), None);
    }

    #[test]
    fn salts_differ_by_user_and_server_and_not_by_spelling() {
        let alice = salt(&[1; 32], "alice@example.net");
        assert_eq!(alice, salt(&[1; 32], "Alice@EXAMPLE.net"));
        assert_ne!(alice, salt(&[1; 32], "bob@example.net"));
        assert_ne!(alice, salt(&[2; 32], "alice@example.net"));
        assert_ne!(salt(&[1; 32], "alice"), salt(&[1; 32], "Alice"), "no addresses");
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (a, b) = (random_token(), random_token());
        assert_ne!(*a, *b);
        assert_eq!(a.bytes().filter(|b| LETTERS.contains(b)).count(), 26);
    }
}
