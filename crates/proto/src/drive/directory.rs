//! The key directory: PUBKEY and XKEYINFO (R10, R11), in pipelined batches. Inside verified TLS only (profile §4:
//! clients believe only what came in TLS).

use super::{Connection, SmtpError, Tls};
use crate::{
    address::Mailbox,
    key::{KeyError, PublicKey},
    smtp::client::{Command, Reply},
    statement::{SignedStatement, StatementError},
};

/// The answer to one PUBKEY. Only the first two are definite (profile §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PubkeyAnswer {
    /// 220
    Key(PublicKey),
    /// 550
    NoKey,
    /// 220 with a key that must not be used.
    BadKey(KeyError),
    /// Anything else.
    Failed(Reply),
}

/// The answer to one XKEYINFO. The statements' own lines and signatures hold; the chain is not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainAnswer {
    /// 220; newest first. Empty for 550: there is no chain.
    Statements(Vec<SignedStatement>),
    /// A statement that does not hold makes the whole answer a failed look-up (profile §9).
    BadStatement(StatementError),
    /// Anything else.
    Failed(Reply),
}

impl Connection<Tls> {
    /// PUBKEY for each of `mailboxes`, one answer each, in order.
    pub async fn pubkeys(&mut self, mailboxes: &[Mailbox]) -> Result<Vec<PubkeyAnswer>, SmtpError> {
        let commands = mailboxes.iter().map(Command::pubkey).collect::<Result<Vec<_>, _>>()?;
        let replies = self.batch(&commands).await?;
        let answer = |reply: Reply| match (reply.code(), reply.lines()) {
            (220, [line]) => match PublicKey::from_reply(line) {
                Ok(key) => PubkeyAnswer::Key(key),
                Err(error) => PubkeyAnswer::BadKey(error),
            },
            (550, _) => PubkeyAnswer::NoKey,
            _ => PubkeyAnswer::Failed(reply),
        };
        Ok(replies.into_iter().map(answer).collect())
    }
    /// XKEYINFO for each of `mailboxes`, one answer each, in order.
    pub async fn key_infos(&mut self, mailboxes: &[Mailbox]) -> Result<Vec<ChainAnswer>, SmtpError> {
        let commands = mailboxes.iter().map(Command::key_info).collect::<Result<Vec<_>, _>>()?;
        let replies = self.batch(&commands).await?;
        let answer = |reply: Reply| match reply.code() {
            220 => {
                let statements = reply.lines().iter().map(|line| SignedStatement::from_wire(line)).collect();
                match statements {
                    Ok(statements) => ChainAnswer::Statements(statements),
                    Err(error) => ChainAnswer::BadStatement(error),
                }
            }
            550 => ChainAnswer::Statements(Vec::new()),
            _ => ChainAnswer::Failed(reply),
        };
        Ok(replies.into_iter().map(answer).collect())
    }
}
