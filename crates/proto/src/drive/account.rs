//! The account's verbs: login, salts, keys, enrolment, password, keyring (profile §4, §5). Inside verified TLS only.

use super::{Connection, SmtpError, Tls};
use crate::{
    address::Address,
    base64,
    key::PublicKey,
    phc::{Challenge, LoginHash, LoginPhc, Salt},
    smtp::client::{self, Command, KEYRING_MAX, Reply, SaltAfterLogin, SaltStep},
    statement::SignedStatement,
};

/// A two-step login between its two steps: the challenge is known, the hash is not sent. Dropping it leaves the
/// connection unusable; [`PendingLogin::cancel`] does not.
pub struct PendingLogin<'c> {
    connection: &'c mut Connection<Tls>,
    user: Address,
    challenge: Challenge,
}

impl PendingLogin<'_> {
    /// Login salt and cost as the server says; whether to trust them is the caller's (profile §3, cost policy).
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }
    /// The second step. Returns the key salt.
    pub async fn finish(self, hash: &LoginHash) -> Result<Salt, SmtpError> {
        let command = Command::hashed_pass_message(&self.user, Some(hash))?;
        let connection = self.connection;
        connection.send(&command).await?;
        let reply = connection.reply_to(&command, connection.options.timeouts.command).await?;
        connection.end(&command, &reply)?;
        connection.after_login(&command, &reply).await
    }
    /// Gives up (`*`, RFC 4954 §4): nothing secret was sent.
    pub async fn cancel(self) -> Result<(), SmtpError> {
        let command = Command::auth_cancel();
        self.connection.send(&command).await?;
        let reply = self.connection.reply_to(&command, self.connection.options.timeouts.command).await?;
        self.connection.end(&command, &reply)
    }
}

impl Connection<Tls> {
    fn need_hashed_pass(&self) -> Result<(), SmtpError> {
        // Never silently another mechanism instead (R03).
        if self.capabilities.hashed_pass() { Ok(()) } else { Err(SmtpError::NotOffered("AUTH HASHEDPASS")) }
    }
    fn need_sealpost(&self) -> Result<(), SmtpError> {
        if self.capabilities.sealpost() { Ok(()) } else { Err(SmtpError::NotOffered("XSEALPOST 1")) }
    }
    /// AUTH HASHEDPASS in one step (R15), for a client that knows salt and cost. Returns the key salt (R16).
    pub async fn authenticate_hashed_pass(
        &mut self,
        user: &Address,
        hash: &LoginHash,
    ) -> Result<Salt, SmtpError> {
        self.need_hashed_pass()?;
        let command = Command::auth_hashed_pass(user, Some(hash))?;
        let reply = self.exchange(&command).await?;
        if reply.code() == 334 {
            // It did not take the initial response. Cancel rather than say the hash a second time.
            self.exchange(&Command::auth_cancel().hiding(&command)).await?;
        }
        self.after_login(&command, &reply).await
    }
    /// The first of two steps (profile §4): asks for login salt and cost. Sends nothing secret.
    pub async fn login_challenge(&mut self, user: &Address) -> Result<PendingLogin<'_>, SmtpError> {
        self.need_hashed_pass()?;
        let command = Command::auth_hashed_pass(user, None)?;
        let reply = self.exchange(&command).await?;
        if reply.code() != 334 {
            return Err(SmtpError::refused(&command, &reply));
        }
        let Some(challenge) = client::challenge(&reply) else {
            self.exchange(&Command::auth_cancel()).await?;
            return Err(SmtpError::Challenge);
        };
        self.begin()?;
        Ok(PendingLogin { connection: self, user: user.clone(), challenge })
    }
    /// Profile §4: GETSALT at once after 235, with the rule for the courtesy line.
    async fn after_login(&mut self, command: &Command, reply: &Reply) -> Result<Salt, SmtpError> {
        if reply.code() != 235 {
            return Err(SmtpError::refused(command, reply));
        }
        let getsalt = Command::getsalt().hiding(command);
        let mut rule = SaltAfterLogin::default();
        self.begin()?;
        self.send(&getsalt).await?;
        loop {
            let reply = self.reply_to(&getsalt, self.options.timeouts.command).await?;
            // On an error the connection stays marked as broken: disconnect.
            match rule.reply(&reply) {
                Ok(SaltStep::ReadMore) => {}
                Ok(SaltStep::Done(salt)) => {
                    self.broken = false;
                    return Ok(salt);
                }
                Err(client::SaltError::Refused) => return Err(SmtpError::refused(&getsalt, &reply)),
                Err(error) => return Err(error.into()),
            }
        }
    }
    /// AUTH PLAIN with an app password.
    pub async fn authenticate_plain(&mut self, user: &str, token: &str) -> Result<(), SmtpError> {
        if !self.capabilities.has_auth("PLAIN") {
            return Err(SmtpError::NotOffered("AUTH PLAIN"));
        }
        self.expect(&Command::auth_plain(user, token)?, 235).await.map(|_| ())
    }
    /// GETSALT (R13).
    pub async fn salt(&mut self) -> Result<Salt, SmtpError> {
        let reply = self.expect(&Command::getsalt(), 220).await?;
        Ok(client::salt(&reply)?)
    }
    /// RSTSALT (R14): a pending salt where a key is published (profile §9).
    pub async fn reset_salt(&mut self) -> Result<Salt, SmtpError> {
        let reply = self.expect(&Command::rstsalt(), 220).await?;
        Ok(client::salt(&reply)?)
    }
    /// SETPUBKEY (R12).
    pub async fn set_key(
        &mut self,
        key: &PublicKey,
        statement: Option<&SignedStatement>,
    ) -> Result<(), SmtpError> {
        self.expect(&Command::setpubkey(key, statement)?, 250).await.map(|_| ())
    }
    /// XENROL: the session is not signed in by it.
    pub async fn enrol(&mut self, address: &Address, code: &str, login: &LoginPhc) -> Result<(), SmtpError> {
        self.need_sealpost()?;
        self.expect(&Command::enrol(address, code, login)?, 250).await.map(|_| ())
    }
    /// XPASSWD: new login, key and statement, and the session's pending salt, in one transaction.
    pub async fn change_password(
        &mut self,
        login: &LoginPhc,
        key: &PublicKey,
        statement: &SignedStatement,
    ) -> Result<(), SmtpError> {
        self.need_sealpost()?;
        self.expect(&Command::passwd(login, key, statement)?, 250).await.map(|_| ())
    }
    /// XKEYRING: the sealed keyring, if there is one.
    pub async fn keyring(&mut self) -> Result<Option<Vec<u8>>, SmtpError> {
        self.need_sealpost()?;
        let command = Command::keyring();
        let reply = self.exchange(&command).await?;
        match reply.code() {
            220 => {
                let text = reply.lines().concat();
                let keyring = base64::decode(text).map_err(|_| SmtpError::Malformed("XKEYRING"))?;
                if keyring.len() > KEYRING_MAX {
                    return Err(SmtpError::Malformed("XKEYRING"));
                }
                Ok(Some(keyring))
            }
            550 => Ok(None),
            _ => Err(SmtpError::refused(&command, &reply)),
        }
    }
    /// XKEYRING with octets: stores the sealed keyring in place of the one with that SHA-256 (554 where it is another).
    pub async fn put_keyring(&mut self, replaces: Option<[u8; 32]>, keyring: &[u8]) -> Result<(), SmtpError> {
        self.need_sealpost()?;
        self.expect(&Command::put_keyring(replaces, keyring)?, 250).await.map(|_| ())
    }
}
