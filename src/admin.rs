use crate::exit::Failure;
use sealpost_proto::address::Address;
use std::path::Path;
use zeroize::Zeroizing;
pub async fn user_add(_c: &Path, _a: &Address) -> Result<Zeroizing<String>, Failure> {
    todo!()
}
pub async fn user_reset(_c: &Path, _a: &Address) -> Result<Zeroizing<String>, Failure> {
    todo!()
}
pub async fn app_password_add(_c: &Path, _a: &Address, _n: &str) -> Result<Zeroizing<String>, Failure> {
    todo!()
}
