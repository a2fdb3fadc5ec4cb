//! R17, R18: what is secret cannot get into a log by `{:?}`.

use sealpost_crypto::{
    kdf::Password,
    key::SecretKey,
    keyring::{Keyring, Retired},
};
use sealpost_proto::phc::{LoginHash, LoginPhc, Verifier};
use std::fmt::{Debug, Display};

/// Implemented twice for a type with `Debug` or `Display`, so that naming the method is then ambiguous and this file
/// does not compile.
trait Unprintable<Which> {
    fn unprintable() {}
}
impl<T: ?Sized> Unprintable<()> for T {}
impl<T: ?Sized + Debug> Unprintable<u8> for T {}
impl<T: ?Sized + Display> Unprintable<u16> for T {}

#[test]
fn r18_secret_types_cannot_be_printed() {
    SecretKey::unprintable();
    Password::unprintable();
    Keyring::unprintable();
    Retired::unprintable();
    LoginHash::unprintable();
    LoginPhc::unprintable();
    Verifier::unprintable();
}
