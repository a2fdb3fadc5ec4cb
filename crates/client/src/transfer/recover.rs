//! After a break: which messages of the batch that was on its way have arrived.

use super::{
    TransferEvent,
    journal::Batch,
    pull::{groups, local},
    stage::{Hash, Stage},
    upload::Upload,
};
use crate::{error::ClientError, imap::ImapError, mailbox::imap_error};
use sealpost_proto::imap::SequenceSet;
use std::{collections::HashMap, time::Duration};

/// A batch younger than this may still be on its way into the store of a server that its client has left, in seconds.
const FRESH_SECONDS: i64 = 60;
/// So often, and so far apart, such a batch is looked for.
const LOOKS: u32 = 10;
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Messages whose sizes are asked for at once when a batch is looked for.
const METAS: usize = 500;
impl Upload {
    /// Finds out what became of the batch during which the last import ended, whoever or whatever ended it.
    pub(super) async fn look_for_pending(&mut self) -> Result<(), ClientError> {
        let Some(batch) = self.journal.pending().cloned() else { return Ok(()) };
        if self.dry_run {
            return Ok(());
        }
        let missing = self.settle(&batch).await?;
        let there = batch.messages.len() - missing.len();
        self.ui.transfer(&TransferEvent::Note(format!(
            "the last import ended in the middle of {} messages for {}; {there} of them had arrived",
            batch.messages.len(),
            batch.mailbox
        )));
        Ok(())
    }

    /// Finds out what became of a batch that has no end, and notes that. The places of those that are not there.
    pub(super) async fn settle(&mut self, batch: &Batch) -> Result<Vec<usize>, ClientError> {
        let mut missing = self.missing(batch).await?;
        // Its client is gone, but the server may have had all of it, and be about to store it.
        let mut looks = 0;
        while !missing.is_empty() && looks < LOOKS && self.clock.now().0 - batch.at < FRESH_SECONDS {
            tokio::time::sleep(LOOK_AGAIN).await;
            missing = self.missing(batch).await?;
            looks += 1;
        }
        self.journal.end(missing.clone()).map_err(local)?;
        Ok(missing)
    }

    /// The places of those messages of a batch that are not in the mailbox. Equal messages are told apart by their number.
    async fn missing(&mut self, batch: &Batch) -> Result<Vec<usize>, ClientError> {
        let all = || (0..batch.messages.len()).collect();
        let selected = match self.mail.examine(&batch.mailbox).await {
            Ok(selected) => selected,
            // It is gone, and the batch with it.
            Err(ImapError::Refused { .. }) => return Ok(all()),
            Err(error) => return Err(imap_error(error)),
        };
        // With another UIDVALIDITY the UIDs of then say nothing: all messages are looked at.
        let from = if selected.uid_validity == batch.uid_validity { batch.uid_next } else { 1 };
        let uids =
            if selected.exists == 0 { Vec::new() } else { self.mail.uids().await.map_err(imap_error)? };
        let uids: Vec<u32> = uids.into_iter().filter(|uid| *uid >= from).collect();
        let mut there: HashMap<Hash, usize> = HashMap::new();
        for chunk in uids.chunks(METAS) {
            let Some(set) = SequenceSet::from_numbers(chunk) else { continue };
            let mut metas = self.mail.fetch_meta(set, &[]).await.map_err(imap_error)?;
            metas.retain(|meta| batch.messages.iter().any(|entry| entry.size == meta.size));
            for group in groups(&metas) {
                let uids: Vec<u32> = group.iter().map(|meta| meta.uid).collect();
                let most = group.iter().map(|meta| meta.size).sum();
                // Only the hash is wanted: nothing is kept.
                let got =
                    self.mail.fetch_messages(&uids, most, Stage::hash_only).await.map_err(imap_error)?;
                for (_, stage) in got {
                    *there.entry(stage.finish().map_err(local)?.hash).or_default() += 1;
                }
            }
        }
        self.mail.unselect().await.map_err(imap_error)?;
        let mut missing = Vec::new();
        for (at, entry) in batch.messages.iter().enumerate() {
            match there.get_mut(&entry.hash) {
                Some(left) if *left > 0 => *left -= 1,
                _ => missing.push(at),
            }
        }
        Ok(missing)
    }
}
