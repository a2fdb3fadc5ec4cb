//! THREAD (RFC 5256): conversations, from the index alone.

use super::{
    session::{Done, Refusal, Session, ok},
    sort::arrived,
};
use sealpost_proto::imap::{
    SearchKey, ThreadAlgorithm,
    thread::{Threaded, threads},
};
use sealpost_store::mailbox::Uid;
use std::io;

impl Session {
    /// THREAD and UID THREAD.
    pub(super) async fn thread(
        &mut self,
        uid: bool,
        algorithm: ThreadAlgorithm,
        charset: &str,
        key: &SearchKey,
    ) -> Result<Done, Refusal> {
        let found = self.find_for(None, Some(charset), key).await?;
        let uids: Vec<Uid> = found.into_iter().map(|(uid, _)| uid).collect();
        let mut messages = Vec::with_capacity(uids.len());
        self.each_keys(&uids, true, |loaded, keys| {
            messages.push(Threaded::new(loaded.message.uid, arrived(loaded), keys));
        })
        .await?;
        if !uid {
            let view = self.view()?;
            messages.retain_mut(|message| {
                let number = view.number_of(message.number);
                message.number = number.unwrap_or(0);
                number.is_some()
            });
        }
        let work = move || {
            let mut out = Vec::new();
            threads(&mut out, algorithm, &messages);
            out
        };
        let told = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        self.out.extend_from_slice(&told);
        ok("THREAD done")
    }
}
