//! THREAD (RFC 5256): conversations, from the index alone.

use super::{
    session::{Done, Refusal, Session, ok},
    sort::sent,
};
use sealpost_proto::imap::{
    SearchKey, ThreadAlgorithm,
    casemap::casemap_start,
    thread::{self, Threaded},
};
use sealpost_store::mailbox::Uid;
use std::io;

/// Octets of a folded subject that are compared, as in SORT.
const COMPARED_MAX: usize = 256;

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
            messages.push(Threaded {
                number: loaded.message.uid,
                sent: sent(loaded, keys),
                subject: casemap_start(&keys.subject.text, COMPARED_MAX),
                is_reply: keys.subject.is_reply,
                id: keys.message_id.map(|id| id.0),
                references: keys.references.iter().map(|id| id.0).collect(),
            });
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
        let work = move || match algorithm {
            ThreadAlgorithm::OrderedSubject => thread::ordered_subject(&messages),
            ThreadAlgorithm::References => thread::references(&messages),
        };
        let threads = tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?;
        self.out.extend_from_slice(if threads.is_empty() { b"* THREAD" } else { b"* THREAD " });
        self.out.extend_from_slice(&threads);
        self.out.extend_from_slice(b"\r\n");
        ok("THREAD done")
    }
}
