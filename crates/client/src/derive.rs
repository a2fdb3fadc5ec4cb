//! Argon2id off the async threads, with word to the person who waits.

use crate::{client::Client, error::ClientError, ui::Progress};
use sealpost_crypto::{
    kdf::{self, CostError, Password},
    key::SecretKey,
};
use sealpost_proto::{
    address::Address,
    phc::{Challenge, Cost, LoginPhc, Salt},
};

/// New salts have 16 octets (profile §3).
const SALT_LEN: usize = 16;

impl Client {
    /// A fresh salt.
    pub(crate) fn salt(&self) -> Result<Salt, ClientError> {
        let mut octets = [0; SALT_LEN];
        self.env.random.fill(&mut octets);
        Salt::new(octets).map_err(|e| ClientError::Refused(e.to_string()))
    }

    /// The login hash for `challenge`. Refuses a cost outside the policy, whoever asks for it (profile §3): too little
    /// would make guessing cheap for a hostile server, too much would stop this machine.
    pub(crate) async fn derive_login(
        &self,
        address: &Address,
        password: &Password,
        challenge: &Challenge,
    ) -> Result<LoginPhc, ClientError> {
        check_cost(challenge.cost)?;
        let (user, password, challenge) = (address.clone(), password.clone(), challenge.clone());
        self.blocking(move || {
            let hash = kdf::login_hash(&user, &password, &challenge.salt, challenge.cost)?;
            Ok(LoginPhc { hash, challenge })
        })
        .await
    }

    /// The key for `salt`, within the same policy.
    pub(crate) async fn derive_key(
        &self,
        address: &Address,
        password: &Password,
        salt: &Salt,
        cost: Cost,
    ) -> Result<SecretKey, ClientError> {
        check_cost(cost)?;
        let (user, password, salt) = (address.clone(), password.clone(), salt.clone());
        self.blocking(move || kdf::derive_key(&user, &password, &salt, cost)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, CostError> + Send + 'static,
    ) -> Result<T, ClientError> {
        self.env.ui.progress(Progress::Deriving);
        let done = tokio::task::spawn_blocking(work).await;
        self.env.ui.progress(Progress::Derived);
        let done = done.map_err(|_| failed(&"it was cut off"))?;
        done.map_err(|e| failed(&e))
    }
}

fn failed(reason: &dyn std::fmt::Display) -> ClientError {
    ClientError::Refused(format!("the password could not be turned into a key: {reason}"))
}

fn check_cost(cost: Cost) -> Result<(), ClientError> {
    if cost.is_acceptable() {
        return Ok(());
    }
    Err(ClientError::Refused(format!(
        "the server asks for password hashing with {} KiB, {} passes and {} lanes, which is outside the safe bounds; \
         nothing was sent to it. Ask its administrator",
        cost.m_kib, cost.t, cost.p
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r06_costs_outside_the_policy_are_refused_before_any_work() {
        let cost = |m_kib, t, p| Cost { m_kib, t, p };
        for good in [Cost::DEFAULT, cost(19_456, 2, 1), cost(1_048_576, 16, 8)] {
            assert!(check_cost(good).is_ok(), "{good:?}");
        }
        for bad in [
            cost(19_455, 2, 1),
            cost(1_048_577, 2, 1),
            cost(65_536, 1, 1),
            cost(65_536, 17, 1),
            cost(65_536, 3, 0),
            cost(65_536, 3, 9),
        ] {
            assert_eq!(check_cost(bad).map_err(|e| e.exit_code()), Err(1), "{bad:?}");
        }
    }
}
