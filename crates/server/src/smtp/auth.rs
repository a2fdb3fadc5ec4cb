//! AUTH and XENROL (profile §4, §5).

use super::{Session, Who, keys::KeySession, store_failure};
use crate::{
    auth::{AuthError, Enrolled, Method},
    conn::Conn,
    sasl,
};
use sealpost_proto::{
    sasl::{Credentials, Parameters, Question},
    smtp::{reply::Reply, verb::Enrol},
};
use sealpost_store::account::Login;

/// The reply to a failed login.
pub(super) fn failure(error: &AuthError) -> Reply {
    match error {
        AuthError::Invalid => Reply::new(535, "5.7.8", "Authentication credentials invalid"),
        AuthError::TooMany => Reply::new(421, "4.7.0", "Too many failed logins, try again later").and_close(),
        AuthError::Store(error) => {
            let _ = store_failure(error);
            Reply::new(454, "4.7.0", "Temporary authentication failure")
        }
    }
}

impl Session {
    /// SCRAM: what to ask the user with.
    pub(super) async fn scram(&self, question: &Question, conn: &Conn) -> Result<Parameters, Reply> {
        sasl::parameters(&self.context.auth, question, conn).await.map_err(|e| failure(&e))
    }

    /// AUTH: 235, and the key salt with it for HASHEDPASS (R15, R16); SCRAM: the server's proof.
    pub(super) async fn sign_in(&mut self, credentials: Credentials) -> Result<(), Reply> {
        self.proving = None;
        let mut signed_in = self.context.auth.check(credentials, self.peer).await.map_err(|e| failure(&e))?;
        if let Some(signature) = signed_in.signature.take() {
            self.proving = Some(signed_in);
            self.server.proved(&signature);
            return Ok(());
        }
        if signed_in.method == Method::AppPassword {
            self.who = Who::AppPassword(signed_in);
            self.server.signed_in(None);
            return Ok(());
        }
        let state = self
            .context
            .store
            .key_state(signed_in.account)
            .await
            .map_err(|e| failure(&AuthError::Store(e)))?;
        self.server.signed_in(Some(&state.salt));
        self.who = Who::HashedPass(Box::new(KeySession::new(signed_in, state)));
        Ok(())
    }

    /// The client has seen the server's proof and goes on: 235.
    pub(super) fn proved(&mut self) -> Result<(), Reply> {
        let Some(signed_in) = self.proving.take() else { return Err(failure(&AuthError::Invalid)) };
        if *signed_in.closed.borrow() {
            return Err(failure(&AuthError::Invalid));
        }
        self.who = Who::AppPassword(signed_in);
        self.server.signed_in(None);
        Ok(())
    }

    /// XENROL. The session is not signed in by it.
    pub(super) async fn enrol(&mut self, enrol: Enrol) -> Result<Reply, Reply> {
        let (login, fault) = match enrol.login {
            Ok(phc) => (Some(to_login(&phc)), None),
            Err(reply) => (None, Some(reply)),
        };
        let outcome = self.context.auth.enrol(enrol.address.as_ref(), &enrol.code, login, self.peer).await;
        match outcome.map_err(|e| failure(&e))? {
            Enrolled::Done => Ok(Reply::new(250, "2.0.0", "OK")),
            Enrolled::SaltInUse => Err(salt_in_use()),
            Enrolled::NoLogin => Err(fault.unwrap_or_else(salt_in_use)),
        }
    }
}

pub(super) fn salt_in_use() -> Reply {
    Reply::new(501, "5.5.4", "Choose another login salt, this one is in use")
}

pub(super) fn to_login(phc: &sealpost_proto::phc::LoginPhc) -> Login {
    Login { salt: phc.challenge.salt.clone(), cost: phc.challenge.cost, verifier: phc.hash.verifier() }
}
