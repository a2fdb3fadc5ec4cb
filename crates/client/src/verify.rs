//! `verify`: why a message gets its verdict, from a file and from what this device knows. Nobody is asked and nothing is
//! changed; the checks are those of reading, told by the judge itself.

use crate::{
    client::Client,
    error::ClientError,
    folder::Folder,
    memory::Memory,
    open::{Check, Facts, Message, OpenError, Verdict},
    read::{MESSAGE_MAX, blocking},
    state::{Snapshot, own_keys},
    trust::facts::{Asked, gather, needs_lookup},
};
use sealpost_proto::address::{Address, Mailbox};
use std::{
    fs::File,
    io::{self, Read, Seek as _},
};

/// What `verify` says.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// The verdict; its `exit_code` is the command's.
    pub verdict: Verdict,
    /// What else must be said, in words.
    pub notes: Vec<String>,
    /// Sealed?
    pub sealed: bool,
    /// The one From address outside, if it is exactly one.
    pub from: Option<Mailbox>,
    /// Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// Whose keys and memory were used; `None` where the folder has no account.
    pub account: Option<Address>,
    /// Each check, in order.
    pub checks: Vec<Check>,
}

/// A message to look through again and again: from a file as it is, from anything else by way of a nameless one.
pub fn message_file(mut input: File) -> io::Result<File> {
    if input.metadata()?.is_file() {
        return Ok(input);
    }
    let mut file = tempfile::tempfile()?;
    let copied = io::copy(&mut Read::by_ref(&mut input).take(MESSAGE_MAX + 1), &mut file)?;
    if copied > MESSAGE_MAX {
        return Err(io::Error::other("this is longer than any message (1 GiB)"));
    }
    file.rewind()?;
    Ok(file)
}

impl Client {
    pub(crate) async fn verify_message(&self, input: File) -> Result<VerifyReport, ClientError> {
        let message = blocking(move || Message::read(message_file(input).map_err(OpenError::Io)?)).await?;
        let snapshot = match self.snapshot() {
            Ok(snapshot) => Some(snapshot),
            Err(ClientError::NoAccount(_)) => None,
            Err(error) => return Err(error),
        };
        let now = self.env.clock.now();
        let from = message.from().cloned();
        let sender = from.as_ref().map(Mailbox::canonical);
        let message_id = message.message_id().map(str::to_owned);
        let mut facts = Facts { now, ..Facts::default() };
        let mut limits = Vec::new();
        let mut identities = Vec::new();
        if let Some(Snapshot { account, secrets, trust }) = &snapshot {
            let own = own_keys(account, secrets, trust);
            identities = secrets.identities();
            facts.own_addresses.clone_from(&own.addresses);
            if let Some(sender) = &sender {
                if message.is_signed() && needs_lookup(trust, &own, sender, now) {
                    limits.push(format!(
                        "the sender's server was not asked now; `sealpost key lookup {sender}` asks it"
                    ));
                }
                let memory = Memory::look(&Folder::new(&self.settings.dir))?;
                let input = message.signature_input_sha256();
                let earlier = memory.earlier(sender, message_id.as_deref(), &input)?;
                let asked = Asked { sender, earlier, own, lookup_failed: None, now };
                facts = gather(trust, &asked);
            }
        } else {
            limits.push(format!(
                "there is no account in {}: nothing sealed can be opened, no sender's key is known, and whether it is a \
                 replay or written to you cannot be told",
                self.settings.dir.display()
            ));
        }
        let opened = blocking(move || message.judge(&identities, &facts)).await?;
        let mut notes = opened.notes;
        notes.extend(limits);
        Ok(VerifyReport {
            verdict: opened.verdict,
            notes,
            sealed: opened.sealed,
            from,
            message_id,
            account: snapshot.map(|s| s.account.address),
            checks: opened.checks,
        })
    }
}
