//! App passwords (profile §4): 128 random bits, shown once, kept as SCRAM-SHA-256 material (RFC 5802, RFC 7677).

use crate::auth::same;
use hmac::{Hmac, Mac as _};
use rand_core::{OsRng, RngCore as _};
use sealpost_proto::time::Timestamp;
use sealpost_store::account::AppPassword;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// RFC 7677 §4 asks for 4096 at least; the token has 128 random bits, so more would only cost the server.
const ITERATIONS: u32 = 4096;
/// App passwords of one account: each costs one PBKDF2 at every login.
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

/// What is stored for a token.
pub fn make(name: &str, token: &str, created: Timestamp) -> AppPassword {
    let mut salt = vec![0; 16];
    OsRng.fill_bytes(&mut salt);
    let salted = salted_password(token, &salt, ITERATIONS);
    AppPassword {
        name: name.to_owned(),
        iterations: ITERATIONS,
        stored_key: stored_key(&salted),
        server_key: hmac(&salted, b"Server Key"),
        salt,
        created,
    }
}

/// The name of the app password that `token` is, if any. Takes the same time wherever it stands in the list, and a
/// dummy computation where there is none. Blocking.
pub fn find(passwords: &[AppPassword], token: &str) -> Option<String> {
    let mut found = None;
    for password in passwords.iter().take(PER_ACCOUNT_MAX) {
        let salted = salted_password(token, &password.salt, password.iterations);
        if same(&stored_key(&salted), &password.stored_key) {
            found = Some(password.name.clone());
        }
    }
    if passwords.is_empty() {
        let _ = stored_key(&salted_password(token, &[0; 16], ITERATIONS));
    }
    found
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

    /// RFC 7677 §3: user "user", password "pencil".
    #[test]
    fn scram_known_answer() {
        let salt = sealpost_proto::base64::decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password("pencil", &salt, 4096);
        let auth = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac(&hmac(&salted, b"Server Key"), auth);
        assert_eq!(sealpost_proto::base64::encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn finds_the_right_one_only() {
        let made: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|n| make(n, &format!("token-of-{n}-xxxxxxxxxx"), Timestamp(0)))
            .collect();
        assert_eq!(find(&made, "token-of-b-xxxxxxxxxx").as_deref(), Some("b"));
        assert_eq!(find(&made, "token-of-d-xxxxxxxxxx"), None);
        assert_eq!(find(&[], "token-of-b-xxxxxxxxxx"), None);
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (a, b) = (random_token(), random_token());
        assert_ne!(*a, *b);
        assert_eq!(a.bytes().filter(|b| LETTERS.contains(b)).count(), 26);
    }
}
