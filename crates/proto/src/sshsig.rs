//! Armoured SSHSIG signatures (OpenSSH PROTOCOL.sshsig), verification only; made in `sealpost-crypto`.

use crate::key::{BadSignature, PublicKey};

/// Checks that `armoured` is an SSHSIG by exactly `key`, in `namespace`, hash sha512, over `message`; strict.
pub fn verify(key: &PublicKey, namespace: &str, message: &[u8], armoured: &str) -> Result<(), BadSignature> {
    let _ = (key, namespace, message, armoured);
    todo!()
}
