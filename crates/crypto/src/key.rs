//! The private key: an Ed25519 seed that signs messages, statements and keyrings, and opens sealed mail.

use sealpost_proto::{
    key::PublicKey,
    statement::{SignedStatement, Statement, StatementError},
};

/// An Ed25519 key pair. No `Debug`; cleared on drop.
#[derive(Clone)]
pub struct SecretKey {
    _private: (),
}

impl SecretKey {
    /// From the seed of RFC 8032.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let _ = seed;
        todo!()
    }
    /// The seed; keep it out of logs and errors.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        todo!()
    }
    /// The public half.
    pub fn public(&self) -> PublicKey {
        todo!()
    }
    /// Raw 64-byte signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let _ = message;
        todo!()
    }
    /// The same over a message read twice, in bounded memory: `feed` is called twice and must give the same bytes.
    pub fn sign_stream<E>(
        &self,
        feed: impl FnMut(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<[u8; 64], E> {
        let _ = feed;
        todo!()
    }
    /// Armoured SSHSIG, hash sha512.
    pub fn sshsig(&self, namespace: &str, message: &[u8]) -> String {
        let _ = (namespace, message);
        todo!()
    }
    /// The OpenSSH private key file (`-----BEGIN OPENSSH PRIVATE KEY-----`), for `sealpost key export` and `age -i`.
    pub fn to_openssh_pem(&self, comment: &str) -> zeroize::Zeroizing<String> {
        let _ = comment;
        todo!()
    }
    /// Signs a statement about this key; `previous` is the key before it, when the statement names one.
    /// Fails where the statement names other keys than these, or would not parse.
    pub fn sign_statement(
        &self,
        statement: &Statement,
        previous: Option<&SecretKey>,
    ) -> Result<SignedStatement, StatementError> {
        let _ = (statement, previous);
        todo!()
    }
}
