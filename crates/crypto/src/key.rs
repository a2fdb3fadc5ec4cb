//! The private key: an Ed25519 seed that signs messages, statements and keyrings, and opens sealed mail.

use ed25519_dalek::{
    Signer, SigningKey,
    hazmat::{ExpandedSecretKey, raw_sign_byupdate},
};
use rand_core::{OsRng, RngCore};
use sealpost_proto::{
    key::PublicKey,
    sshsig,
    statement::{NAMESPACE, SignedStatement, Statement, StatementError},
};
use sha2::{Digest, Sha512};
use ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use std::{cell::RefCell, io};
use zeroize::{Zeroize, Zeroizing};

/// An Ed25519 key pair. No `Debug`; cleared on drop.
#[derive(Clone)]
pub struct SecretKey {
    /// Clears itself.
    signing: SigningKey,
    public: PublicKey,
}

impl SecretKey {
    /// From the seed of RFC 8032.
    #[expect(clippy::missing_panics_doc, reason = "it never does, as the comment shows")]
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(&seed);
        seed.zeroize();
        // A clamped scalar is a multiple of 8 below 2^255 < 8L, hence no multiple of L: its point is never of small
        // order, and dalek writes it canonically.
        let public = PublicKey::from_ed25519(signing.verifying_key().as_bytes())
            .expect("the public half of a seed is a point of large order");
        Self { signing, public }
    }

    /// The public half on Curve25519's other form (RFC 7748), as age's stanzas have it.
    pub(crate) fn montgomery(&self) -> [u8; 32] {
        self.signing.verifying_key().to_montgomery().to_bytes()
    }

    /// The seed; keep it out of logs and errors.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Raw 64-byte signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }

    /// The same over a message read twice, in bounded memory: `feed` is called twice and must give the same bytes.
    /// Fails if it did not (a file that changed meanwhile).
    ///
    /// The nonce is drawn from the seed *and* fresh randomness, so that it is not the octets of [`SecretKey::sign`].
    /// With RFC 8032's own nonce, two messages of which the first reading was the same and the second was not would
    /// give the private key away.
    pub fn sign_stream<E: From<io::Error>>(
        &self,
        mut feed: impl FnMut(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<[u8; 64], E> {
        let mut expanded = ExpandedSecretKey::from(self.signing.as_bytes());
        let mut fresh = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *fresh);
        let mut prefix = Sha512::new().chain_update(expanded.hash_prefix).chain_update(*fresh).finalize();
        expanded.hash_prefix.copy_from_slice(&prefix[..32]);
        prefix.as_mut_slice().zeroize();

        // dalek asks for `Fn` and an error of its own; ours is kept aside.
        let pass = RefCell::new(Pass { feed: &mut feed, digests: Vec::new(), failed: None });
        let signature = raw_sign_byupdate(
            &expanded,
            |hash: &mut Sha512| {
                let pass = &mut *pass.borrow_mut();
                let mut digest = Sha512::new();
                let outcome = (pass.feed)(&mut |bytes| {
                    hash.update(bytes);
                    digest.update(bytes);
                });
                pass.digests.push(digest.finalize().into());
                outcome.map_err(|e| {
                    pass.failed = Some(e);
                    ed25519_dalek::SignatureError::new()
                })
            },
            &self.signing.verifying_key(),
        );
        let pass = pass.into_inner();
        let same = pass.digests.windows(2).all(|two| two[0] == two[1]);
        match (signature, pass.failed) {
            (Ok(signature), None) if same => Ok(signature.to_bytes()),
            (_, Some(error)) => Err(error),
            _ => Err(io::Error::other("the message changed while it was being signed; try again").into()),
        }
    }

    /// Armoured SSHSIG, hash sha512.
    pub fn sshsig(&self, namespace: &str, message: &[u8]) -> String {
        sshsig::armour(&self.public, namespace, &self.sign(&sshsig::signed_data(namespace, message)))
    }

    /// The OpenSSH private key file (`-----BEGIN OPENSSH PRIVATE KEY-----`), for `sealpost key export` and `age -i`.
    #[expect(clippy::missing_panics_doc, reason = "writing into memory has no way to fail")]
    pub fn to_openssh_pem(&self, comment: &str) -> Zeroizing<String> {
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(self.signing.as_bytes()));
        PrivateKey::new(pair, comment)
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .expect("an unencrypted Ed25519 pair is always written")
    }

    /// Signs a statement about this key; `previous` is the key before it, when the statement names one.
    /// Fails where the statement names other keys than these, or would not parse.
    pub fn sign_statement(
        &self,
        statement: &Statement,
        previous: Option<&SecretKey>,
    ) -> Result<SignedStatement, StatementError> {
        if statement.key != self.public || statement.previous.as_ref() != previous.map(|p| &p.public) {
            return Err(StatementError::WrongSigner);
        }
        let text = statement.to_text();
        let mut wire = text.clone();
        for signer in std::iter::once(self).chain(previous) {
            wire.push_str(&signer.sshsig(NAMESPACE, text.as_bytes()));
        }
        SignedStatement::from_bytes(wire.as_bytes())
    }
}

/// What the readings of a streamed message leave behind.
struct Pass<F, E> {
    feed: F,
    digests: Vec<[u8; 64]>,
    failed: Option<E>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::{address::Address, statement::LIFE_SECONDS, time::Timestamp};

    fn key(n: u8) -> SecretKey {
        SecretKey::from_seed([n; 32])
    }

    #[test]
    fn rfc_8032_test_2() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2)
                .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex"))
                .collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SecretKey::from_seed(seed.clone().try_into().expect("32 bytes"));
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        assert_eq!(key.public().ed25519().map(Vec::from), Some(public));
        assert_eq!(key.seed().as_slice(), seed);
        let signature = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(key.sign(&[0x72]).as_slice(), signature);
    }

    #[test]
    fn r21_streamed_signatures_verify_and_never_repeat_a_nonce() {
        let key = key(1);
        let feed = |sink: &mut dyn FnMut(&[u8])| -> io::Result<()> {
            sink(b"hello, ");
            sink(b"world");
            Ok(())
        };
        let one = key.sign_stream(feed).expect("signed");
        let two = key.sign_stream(feed).expect("signed");
        assert_eq!(key.public().verify(b"hello, world", &one), Ok(()));
        assert_eq!(key.public().verify(b"hello, world", &two), Ok(()));
        assert_ne!(one[..32], two[..32]);
    }

    #[test]
    fn a_message_that_changes_is_not_signed() {
        let mut n = 0_u8;
        let changed = key(1).sign_stream(|sink| -> io::Result<()> {
            n += 1;
            sink(&[n]);
            Ok(())
        });
        assert!(changed.is_err());
        for fails_at in [1, 2] {
            let mut n = 0;
            let failed = key(1).sign_stream(|sink| {
                n += 1;
                sink(b"x");
                if n == fails_at { Err(io::Error::new(io::ErrorKind::NotFound, "gone")) } else { Ok(()) }
            });
            assert_eq!(failed.map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        }
    }

    #[test]
    fn r05_statements_are_signed_by_both_keys_or_not_at_all() {
        let statement = |n: u8, previous: Option<u8>| Statement {
            addresses: vec![Address::parse("alice@example.net").expect("valid")],
            key: key(n).public(),
            created: Timestamp(1_795_469_760),
            expires: Timestamp(1_795_469_760).plus(LIFE_SECONDS),
            previous: previous.map(|p| key(p).public()),
        };
        let first = key(1).sign_statement(&statement(1, None), None).expect("signed");
        assert_eq!(first.statement(), &statement(1, None));
        assert!(key(2).sign_statement(&statement(2, Some(1)), Some(&key(1))).is_ok());
        for (signer, statement, previous) in [
            (2, statement(1, None), None),
            (1, statement(1, None), Some(2)),
            (2, statement(2, Some(1)), None),
            (2, statement(2, Some(1)), Some(3)),
        ] {
            let previous = previous.map(key);
            let result = key(signer).sign_statement(&statement, previous.as_ref());
            assert_eq!(result, Err(StatementError::WrongSigner));
        }
        let nobody = Statement { addresses: Vec::new(), ..statement(1, None) };
        assert_eq!(key(1).sign_statement(&nobody, None), Err(StatementError::Syntax));
    }

    proptest! {
        #[test]
        fn sshsig_fits_its_namespace_and_message_only(message: Vec<u8>, seed: [u8; 32]) {
            let key = SecretKey::from_seed(seed);
            let armoured = key.sshsig("sealpost-key", &message);
            prop_assert_eq!(sshsig::verify(&key.public(), "sealpost-key", &message, &armoured), Ok(()));
            prop_assert!(sshsig::verify(&key.public(), "sealpost-keyring", &message, &armoured).is_err());
            let other = [&message[..], b"x"].concat();
            prop_assert!(sshsig::verify(&key.public(), "sealpost-key", &other, &armoured).is_err());
        }
    }
}
