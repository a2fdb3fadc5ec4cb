//! SCRAM-SHA-256 with app passwords (RFC 5802, RFC 7677): what the server asks with, and what it is answered.
//!
//! Salt and iterations are a function of the server's secret and the user name alone, and what is stored for an app
//! password is made with them. So the question needs no look-up, and is the same for known, unknown and not enrolled
//! users, with and without app passwords.

use super::{AuthError, Authenticator, SignedIn};
use crate::apppass;
use rand_core::{OsRng, RngCore as _};
use sealpost_proto::{
    base64,
    sasl::{Parameters, Proof},
};
use std::net::IpAddr;

/// Random octets of the server's nonce.
const NONCE_OCTETS: usize = 18;

impl Authenticator {
    /// What SCRAM asks `user` with; the caller adds what it knows of the connection.
    pub async fn scram_parameters(&self, user: &str) -> Result<Parameters, AuthError> {
        let mut nonce = [0; NONCE_OCTETS];
        OsRng.fill_bytes(&mut nonce);
        Ok(Parameters {
            salt: apppass::salt(self.secret().await?, user).to_vec(),
            iterations: apppass::ITERATIONS,
            nonce: base64::encode(nonce),
            binding: None,
            plus_offered: false,
        })
    }

    /// SCRAM: who proves that an app password is known is signed in, and is shown that the server knows it too.
    pub(super) async fn scram(&self, proof: &Proof, peer: IpAddr) -> Result<SignedIn, AuthError> {
        let salt = apppass::salt(self.secret().await?, &proof.user);
        let found = self.app_passwords(&proof.user, peer).await?;
        match apppass::prove(&found.passwords, &salt, proof) {
            Some((name, signature)) => self.found(found, Some(name)).await.map(|mut signed_in| {
                signed_in.signature = Some(Box::new(signature));
                signed_in
            }),
            None => self.found(found, None).await,
        }
    }
}
