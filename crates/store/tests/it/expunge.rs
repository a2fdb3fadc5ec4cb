//! Messages that are marked while others are removed.

use crate::support::{inbox, message, open};
use sealpost_store::mailbox::{FlagChange, Flags, Mailboxes as _};

/// A copy of a marked message is marked. Where it was made before the message went, it goes as well; where it comes
/// after, there is nothing to copy.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_while_marked_messages_go_is_not_left_behind() {
    let (store, _dir) = open();
    let (_, inbox) = inbox(&*store).await;
    for round in 0..200 {
        let uid = store.append(inbox, vec![message("a")]).await.expect("appends").uids[0].1;
        let marked = store.store_flags(inbox, &[uid], FlagChange::Add, Flags::DELETED, &[], None).await;
        marked.expect("marks");
        let uids = [uid];
        let (gone, copied) = tokio::join!(store.expunge(inbox, None), store.copy(inbox, &uids, inbox));
        let (gone, copied) = (gone.expect("expunges"), copied.expect("copies"));
        let left = store.status(inbox).await.expect("a status").messages;
        assert_eq!(left, 0, "round {round}: {gone:?} went, and {:?} was copied", copied.uids);
    }
}
