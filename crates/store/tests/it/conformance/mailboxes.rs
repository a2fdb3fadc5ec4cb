//! Messages: append, copy, move, expunge, changes.

use crate::support::{NOW, account, flagged, inbox, mailbox, message, octets, read, strings};
use sealpost_store::{
    Store, StoreError,
    mailbox::{ContentId, FlagChange, Flags, MailboxId, NewMessage, Uid},
    spool::INLINE_MAX,
};
use std::sync::Arc;

async fn uids(store: &dyn Store, mailbox: MailboxId) -> Vec<Uid> {
    store.entries(mailbox).await.expect("entries").iter().map(|entry| entry.uid).collect()
}

async fn delete(store: &dyn Store, mailbox: MailboxId, uids: &[Uid]) {
    store
        .store_flags(mailbox, uids, FlagChange::Add, Flags::DELETED, &[], None)
        .await
        .map(drop)
        .expect("stores");
}

pub(crate) async fn messages_come_back_octet_for_octet(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let lens = [0, 1, 4096, 32 * 1024, 32 * 1024 + 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 3_000_000];
    for (tag, len) in (0..).zip(lens) {
        let octets = octets(tag, len);
        // Received piece by piece, as DATA does.
        let mut spool = store.spool();
        for piece in octets.chunks(50_000) {
            spool.write(piece).expect("writes");
        }
        let received = NewMessage { body: spool.finish().expect("finishes"), ..message("") };
        // And made in memory, as a bounce is.
        let copied =
            store.append(inbox, vec![received.clone(), message(octets.clone())]).await.expect("appends");
        assert_eq!(copied.uids.len(), 2);
        let entries = store.entries(inbox).await.expect("entries");
        for entry in &entries[entries.len() - 2..] {
            assert_eq!(entry.size, len as u64);
            assert!(read(&*store, entry.content).await == octets, "{len} octets");
        }
        // A body can be committed again, and read after it was.
        store.append(inbox, vec![received.clone()]).await.expect("appends");
        let mut again = Vec::new();
        std::io::Read::read_to_end(&mut received.body.reader().expect("a reader"), &mut again)
            .expect("reads");
        assert!(again == octets);
        let reader = store.content(entries[entries.len() - 1].content).await.expect("the content");
        let mut piece = [0; 8];
        for offset in [len as u64, len as u64 + 1, u64::MAX] {
            assert_eq!(reader.read_at(offset, &mut piece).expect("reads"), 0);
        }
    }
    assert!(matches!(store.content(ContentId(99_999)).await.map(drop), Err(StoreError::Gone(_))));
}

pub(crate) async fn replacing_does_both_or_neither(store: Arc<dyn Store>) {
    let (account, inbox) = inbox(&*store).await;
    let drafts = mailbox(&*store, account, "Drafts").await;
    let old = store.append(inbox, vec![message("old")]).await.expect("appends").uids[0].1;
    // Within one mailbox, and into another.
    let copied = store.replace(inbox, old, inbox, message("new")).await.expect("replaces");
    let new = copied.uids[0].1;
    assert!(new > old);
    assert_eq!(uids(&*store, inbox).await, [new]);
    store.replace(inbox, new, drafts, message("newer")).await.expect("replaces");
    assert!(uids(&*store, inbox).await.is_empty());
    let before = uids(&*store, drafts).await;
    assert_eq!(before.len(), 1);
    // What is not there is not replaced, and nothing comes in its place.
    for (from, uid) in [(inbox, old), (inbox, new), (drafts, 99)] {
        let refused = store.replace(from, uid, drafts, message(octets(1, INLINE_MAX + 1))).await;
        assert!(matches!(refused, Err(StoreError::Gone("message"))), "{refused:?}");
    }
    let gone = store.replace(drafts, before[0], MailboxId(99_999), message("x")).await;
    assert!(matches!(gone, Err(StoreError::Gone("mailbox"))), "{gone:?}");
    assert_eq!(uids(&*store, drafts).await, before);
    assert_eq!(store.status(drafts).await.expect("a status").messages, 1);
}

pub(crate) async fn appending_gives_ascending_uids(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let status = store.status(inbox).await.expect("a status");
    assert_eq!((status.uid_next, status.messages), (1, 0));
    assert!(status.modseq >= 1 && status.uid_validity >= 1);
    let first = store.append(inbox, vec![message("1"), message("2")]).await.expect("appends");
    assert_eq!((first.uid_validity, first.uids), (status.uid_validity, vec![(0, 1), (0, 2)]));
    let second = store.append(inbox, vec![message("3")]).await.expect("appends");
    assert_eq!(second.uids, [(0, 3)]);
    let none = store.append(inbox, Vec::new()).await.expect("nothing to do");
    assert_eq!((none.uid_validity, none.uids), (status.uid_validity, Vec::new()));
    let entries = store.entries(inbox).await.expect("entries");
    assert_eq!(entries.iter().map(|entry| entry.uid).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(entries[0].modseq, entries[1].modseq, "one change, one MODSEQ");
    assert!(entries[2].modseq > entries[1].modseq);
    assert_eq!((entries[0].internal_date, entries[0].save_date), (NOW, NOW));
    assert_eq!(store.status(inbox).await.expect("a status").modseq, entries[2].modseq);
    // Many sessions at once: each UID once.
    let appends: Vec<_> = (0..50)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.append(inbox, vec![message(format!("{n}"))]).await })
        })
        .collect();
    let mut given = Vec::new();
    for append in appends {
        given.push(append.await.expect("runs").expect("appends").uids[0].1);
    }
    given.sort_unstable();
    assert_eq!(given, (4..54).collect::<Vec<_>>());
}

pub(crate) async fn an_append_is_all_or_nothing(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let before = store.status(inbox).await.expect("a status");
    let bad = flagged("x", Flags::default(), &["two words"]);
    assert!(store.append(inbox, vec![message("1"), bad, message("3")]).await.is_err());
    assert!(uids(&*store, inbox).await.is_empty());
    assert_eq!(store.status(inbox).await.expect("a status"), before);
    assert!(matches!(store.append(MailboxId(999), vec![message("x")]).await, Err(StoreError::Gone(_))));
}

pub(crate) async fn counters_follow(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let trash = mailbox(&*store, id, "Trash").await;
    let counters = async |mailbox| {
        let status = store.status(mailbox).await.expect("a status");
        (status.messages, status.unseen, status.deleted, status.size)
    };
    let seen_deleted = Flags::SEEN.union(Flags::DELETED);
    let messages = vec![
        message("a"),
        flagged("bb", Flags::SEEN, &[]),
        flagged("ccc", seen_deleted, &[]),
        message("dddd"),
    ];
    store.append(inbox, messages).await.expect("appends");
    assert_eq!(counters(inbox).await, (4, 2, 1, 10));
    delete(&*store, inbox, &[1]).await;
    assert_eq!(counters(inbox).await, (4, 2, 2, 10));
    store.copy(inbox, &[1, 2], trash).await.expect("copies");
    assert_eq!((counters(inbox).await, counters(trash).await), ((4, 2, 2, 10), (2, 1, 1, 3)));
    store.move_messages(inbox, &[3, 4], trash).await.expect("moves");
    assert_eq!((counters(inbox).await, counters(trash).await), ((2, 1, 1, 3), (4, 2, 2, 10)));
    assert_eq!(store.expunge(trash, None).await.expect("expunges"), [1, 3]);
    assert_eq!(counters(trash).await, (2, 1, 0, 6));
    let how = FlagChange::Replace;
    store.store_flags(trash, &[2, 4], how, Flags::DELETED, &[], None).await.map(drop).expect("stores");
    assert_eq!(counters(trash).await, (2, 2, 2, 6));
    store.expunge(trash, None).await.expect("expunges");
    assert_eq!(counters(trash).await, (0, 0, 0, 0));
}

pub(crate) async fn indexes_come_back(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let indexed = NewMessage { index: b"envelope".to_vec(), ..message("1") };
    store.append(inbox, vec![indexed, message("2")]).await.expect("appends");
    let ids: Vec<_> =
        store.entries(inbox).await.expect("entries").into_iter().map(|entry| entry.content).collect();
    let found = store.indexes(&[ids[1], ids[0], ContentId(9_999), ids[0]]).await.expect("asks");
    assert_eq!(found, [b"".to_vec(), b"envelope".to_vec(), b"".to_vec(), b"envelope".to_vec()]);
    assert!(store.indexes(&[]).await.expect("asks").is_empty());
}

pub(crate) async fn heads_are_the_first_octets(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let lens = [0, 1, 4096, 100_000, INLINE_MAX + 1];
    let all: Vec<Vec<u8>> = (0..).zip(lens).map(|(tag, len)| octets(tag, len)).collect();
    store.append(inbox, all.iter().map(|octets| message(octets.clone())).collect()).await.expect("appends");
    let ids: Vec<_> =
        store.entries(inbox).await.expect("entries").into_iter().map(|entry| entry.content).collect();
    for wanted in [0, 1, 700, 5000, 32 * 1024, 32 * 1024 + 1, u64::MAX] {
        let mut asked: Vec<_> = ids.iter().map(|id| (*id, wanted)).collect();
        asked.insert(2, (ContentId(9_999), wanted));
        let mut heads = store.heads(&asked).await.expect("reads");
        assert!(heads.remove(2).is_none(), "it is not there");
        for (head, octets) in heads.iter().zip(&all) {
            let head = head.as_ref().expect("it is there");
            assert_eq!(head.len(), octets.len() as u64);
            // What was not asked for is there all the same.
            let mut read = Vec::new();
            let mut piece = [0; 1000];
            loop {
                let n = head.read_at(read.len() as u64, &mut piece).expect("reads");
                if n == 0 {
                    break;
                }
                read.extend_from_slice(&piece[..n]);
            }
            assert!(read == *octets, "{wanted} of {}", octets.len());
        }
    }
}

pub(crate) async fn copies_share_content(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    store.append(inbox, vec![message("shared")]).await.expect("appends");
    let copied = store.copy(inbox, &[1], archive).await.expect("copies");
    assert_eq!(copied.uids, [(1, 1)]);
    assert_eq!(copied.uid_validity, store.status(archive).await.expect("a status").uid_validity);
    let (original, copy) =
        (store.entries(inbox).await.expect("entries"), store.entries(archive).await.expect("entries"));
    assert_eq!(original[0].content, copy[0].content);
    // The copy lives on.
    delete(&*store, inbox, &[1]).await;
    store.expunge(inbox, None).await.expect("expunges");
    assert_eq!(read(&*store, copy[0].content).await, b"shared");
}

pub(crate) async fn copying_takes_flags_and_keywords_along(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    store.append(archive, vec![flagged("0", Flags::default(), &["WORK"])]).await.expect("appends");
    store
        .append(inbox, vec![flagged("1", Flags::FLAGGED, &["work", "b"]), flagged("2", Flags::SEEN, &[])])
        .await
        .expect("appends");
    let copied = store.copy(inbox, &[2, 1, 2, 7], archive).await.expect("copies");
    assert_eq!(copied.uids, [(1, 2), (2, 3)], "ascending, each once, what is missing is left out");
    let entries = store.entries(archive).await.expect("entries");
    // The spelling is that of the mailbox it lies in.
    assert_eq!((entries[1].flags, entries[1].keywords.clone()), (Flags::FLAGGED, strings(&["WORK", "b"])));
    assert_eq!((entries[2].flags, entries[2].keywords.clone()), (Flags::SEEN, Vec::new()));
    assert_eq!(entries[1].internal_date, NOW);
}

pub(crate) async fn moving_leaves_nothing_behind(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    store.append(inbox, vec![message("1"), message("2"), message("3")]).await.expect("appends");
    let before = store.status(inbox).await.expect("a status").modseq;
    let moved = store.move_messages(inbox, &[3, 1], archive).await.expect("moves");
    assert_eq!(moved.uids, [(1, 1), (3, 2)]);
    assert_eq!((uids(&*store, inbox).await, uids(&*store, archive).await), (vec![2], vec![1, 2]));
    let changes = store.changes(inbox, before).await.expect("changes");
    assert_eq!(changes.vanished, [1, 3]);
    assert!(changes.entries.is_empty() && changes.modseq > before);
    let entries = store.entries(archive).await.expect("entries");
    assert_eq!(read(&*store, entries[1].content).await, b"3");
    // Nothing to move: an empty answer, no MODSEQ.
    let before = store.status(inbox).await.expect("a status");
    assert!(store.move_messages(inbox, &[1, 3], archive).await.expect("moves").uids.is_empty());
    assert_eq!(store.status(inbox).await.expect("a status"), before);
}

pub(crate) async fn copying_and_moving_within_one_mailbox(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("1"), message("2")]).await.expect("appends");
    assert_eq!(store.copy(inbox, &[1, 2], inbox).await.expect("copies").uids, [(1, 3), (2, 4)]);
    assert_eq!(store.move_messages(inbox, &[1, 4], inbox).await.expect("moves").uids, [(1, 5), (4, 6)]);
    assert_eq!(uids(&*store, inbox).await, [2, 3, 5, 6]);
    assert_eq!(store.status(inbox).await.expect("a status").messages, 4);
    for (entry, octets) in store.entries(inbox).await.expect("entries").iter().zip([b"2", b"1", b"1", b"2"]) {
        assert_eq!(read(&*store, entry.content).await, octets);
    }
}

pub(crate) async fn copying_from_or_to_nowhere_is_refused(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("1")]).await.expect("appends");
    let (before, nowhere) = (store.status(inbox).await.expect("a status"), MailboxId(999));
    assert!(matches!(store.copy(inbox, &[1], nowhere).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.copy(inbox, &[], nowhere).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.copy(nowhere, &[1], inbox).await, Err(StoreError::Gone(_))));
    assert!(matches!(store.move_messages(inbox, &[1], nowhere).await, Err(StoreError::Gone(_))));
    assert_eq!(store.status(inbox).await.expect("a status"), before, "nothing was moved");
}

pub(crate) async fn expunge_takes_deleted_messages_only(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, (0..6).map(|n| message(format!("{n}"))).collect()).await.expect("appends");
    let before = store.status(inbox).await.expect("a status");
    assert!(store.expunge(inbox, None).await.expect("expunges").is_empty());
    assert!(store.expunge(inbox, Some(&[1, 2])).await.expect("expunges").is_empty(), "none has \\Deleted");
    assert_eq!(store.status(inbox).await.expect("a status"), before);
    delete(&*store, inbox, &[1, 2, 4, 6]).await;
    assert_eq!(store.expunge(inbox, Some(&[4, 3, 2, 9, 4])).await.expect("expunges"), [2, 4]);
    assert_eq!(uids(&*store, inbox).await, [1, 3, 5, 6]);
    assert!(store.expunge(inbox, Some(&[])).await.expect("expunges").is_empty());
    assert_eq!(store.expunge(inbox, None).await.expect("expunges"), [1, 6]);
    assert_eq!(uids(&*store, inbox).await, [3, 5]);
}

pub(crate) async fn expunged_uids_are_told_and_never_reused(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, (0..5).map(|n| message(format!("{n}"))).collect()).await.expect("appends");
    let start = store.status(inbox).await.expect("a status").modseq;
    delete(&*store, inbox, &[2, 3, 5]).await;
    store.expunge(inbox, Some(&[5])).await.expect("expunges");
    let middle = store.status(inbox).await.expect("a status").modseq;
    store.expunge(inbox, None).await.expect("expunges");
    assert_eq!(store.changes(inbox, start).await.expect("changes").vanished, [2, 3, 5]);
    assert_eq!(store.changes(inbox, middle).await.expect("changes").vanished, [2, 3]);
    assert_eq!(store.append(inbox, vec![message("6")]).await.expect("appends").uids, [(0, 6)]);
    assert_eq!(store.status(inbox).await.expect("a status").uid_next, 7);
}

pub(crate) async fn expunged_content_stays_readable_for_a_while(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store.append(inbox, vec![message("small"), message(octets(1, INLINE_MAX + 1))]).await.expect("appends");
    let entries = store.entries(inbox).await.expect("entries");
    delete(&*store, inbox, &[1, 2]).await;
    store.expunge(inbox, None).await.expect("expunges");
    // A session that has not been told of the expunge yet may still fetch (RFC 9051 §7.5.1).
    assert_eq!(read(&*store, entries[0].content).await, b"small");
    assert!(read(&*store, entries[1].content).await == octets(1, INLINE_MAX + 1));
}

pub(crate) async fn changes_tell_all_since_a_modseq(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    store
        .append(inbox, vec![message("1"), flagged("2", Flags::SEEN, &["k"]), message("3")])
        .await
        .expect("appends");
    let since = store.status(inbox).await.expect("a status").modseq;
    let nothing = store.changes(inbox, since).await.expect("changes");
    assert!(nothing.entries.is_empty() && nothing.vanished.is_empty());
    assert_eq!(nothing.modseq, since);
    delete(&*store, inbox, &[1, 2]).await;
    store.expunge(inbox, Some(&[1])).await.expect("expunges");
    store.append(inbox, vec![message("4")]).await.expect("appends");
    let changes = store.changes(inbox, since).await.expect("changes");
    assert_eq!(changes.vanished, [1]);
    assert_eq!(changes.modseq, store.status(inbox).await.expect("a status").modseq);
    let all = store.entries(inbox).await.expect("entries");
    assert_eq!(changes.entries, [all[0].clone(), all[2].clone()], "2 was changed, 4 is new, 3 is as it was");
    assert_eq!(changes.entries[0].keywords, strings(&["k"]));
    let from_the_start = store.changes(inbox, 0).await.expect("changes");
    assert_eq!((from_the_start.entries, from_the_start.vanished), (all, vec![1]));
    assert!(store.changes(inbox, u64::MAX).await.expect("changes").entries.is_empty());
}

pub(crate) async fn mailboxes_are_found_by_name(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    for name in ["INBOX", "inbox"] {
        assert_eq!(store.find_mailbox(id, name).await.expect("looks"), Some(inbox));
    }
    let bob = account(&*store, "bob@example.net").await;
    assert_ne!(store.find_mailbox(bob, "INBOX").await.expect("looks"), Some(inbox));
    for name in ["", "sent", "Sent/x"] {
        assert_eq!(store.find_mailbox(id, name).await.expect("looks"), None, "{name}");
    }
}

pub(crate) async fn statuses_come_together(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    store.append(inbox, vec![message("1"), message("2")]).await.expect("appends");
    let (one, two) =
        (store.status(inbox).await.expect("a status"), store.status(archive).await.expect("a status"));
    let all = store.statuses(&[archive, MailboxId(i64::MAX), inbox]).await.expect("statuses");
    assert_eq!(all, [Some(two), None, Some(one)]);
}

pub(crate) async fn keywords_of_a_mailbox_stay_known(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    assert!(store.keywords(inbox).await.expect("keywords").is_empty());
    store.append(inbox, vec![flagged("1", Flags::default(), &["b", "A"])]).await.expect("appends");
    store.append(inbox, vec![flagged("2", Flags::DELETED, &["c", "B"])]).await.expect("appends");
    store.expunge(inbox, None).await.expect("expunges");
    assert_eq!(store.keywords(inbox).await.expect("keywords"), strings(&["A", "b", "c"]));
}

pub(crate) async fn contents_are_opened_together(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let bodies = [octets(1, 10), octets(2, 100 * 1024), octets(3, INLINE_MAX + 1)];
    store.append(inbox, bodies.iter().cloned().map(message).collect()).await.expect("appends");
    let mut contents: Vec<ContentId> =
        store.entries(inbox).await.expect("entries").iter().map(|entry| entry.content).collect();
    contents.insert(1, ContentId(i64::MAX));
    let readers = store.contents(&contents).await.expect("opens");
    let mut found = Vec::new();
    for reader in &readers {
        found.push(reader.as_ref().map(|reader| {
            let mut all = vec![0; usize::try_from(reader.len()).expect("fits")];
            let mut at = 0;
            while at < all.len() {
                at += reader.read_at(at as u64, &mut all[at..]).expect("reads");
            }
            all
        }));
    }
    let [one, two, three] = bodies;
    assert!(found == [Some(one), None, Some(two), Some(three)]);
}

pub(crate) async fn watchers_wake_after_every_change(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let bob = account(&*store, "bob@example.net").await;
    let bobs = mailbox(&*store, bob, "INBOX").await;
    let (mut watch, mut second, other) = (store.watch(id), store.watch(id), store.watch(bob));
    watch.mark_unchanged();
    store.append(inbox, vec![message("1")]).await.expect("appends");
    watch.changed().await.expect("wakes");
    second.changed().await.expect("wakes");
    delete(&*store, inbox, &[1]).await;
    watch.changed().await.expect("wakes");
    store.expunge(inbox, None).await.expect("expunges");
    watch.changed().await.expect("wakes");
    store.create_mailbox(id, "new", None).await.expect("makes");
    watch.changed().await.expect("wakes");
    store.delete_mailbox(id, "new").await.expect("deletes");
    watch.changed().await.expect("wakes");
    assert!(!other.has_changed().expect("is watched"));
    store.append(bobs, vec![message("1")]).await.expect("appends");
    let mut other = other;
    other.changed().await.expect("wakes");
    // Reads and refusals wake nobody.
    let _ = store.entries(inbox).await.expect("entries");
    assert!(store.append(inbox, vec![flagged("x", Flags::default(), &["a b"])]).await.is_err());
    assert!(!watch.has_changed().expect("is watched"));
}

pub(crate) async fn many_messages_are_expunged_and_flagged(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let archive = mailbox(&*store, id, "Archive").await;
    // More than one chunk.
    let all: Vec<Uid> = (1..=1201).collect();
    store.append(inbox, all.iter().map(|n| message(format!("{n}"))).collect()).await.expect("appends");
    let (entries, _) =
        store.store_flags(inbox, &all, FlagChange::Add, Flags::DELETED, &[], None).await.expect("stores");
    assert_eq!(entries.iter().map(|changed| changed.entry.uid).collect::<Vec<_>>(), all);
    store.copy(inbox, &all, archive).await.expect("copies");
    assert_eq!(store.expunge(inbox, None).await.expect("expunges"), all);
    assert_eq!(store.status(inbox).await.expect("a status").messages, 0);
    assert_eq!(store.changes(inbox, 0).await.expect("changes").vanished, all);
    assert_eq!(store.status(archive).await.expect("a status").messages, 1201);
}

/// What POP3 lists is what its lines carry: a message that does not end in CRLF gets one.
pub(crate) async fn a_maildrop_counts_the_octets_of_lines(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    let large = |end: &[u8]| [&octets(1, INLINE_MAX + 1), end].concat();
    let cases: [(Vec<u8>, u64); 9] = [
        (b"".to_vec(), 0),
        (b"\r\n".to_vec(), 0),
        (b"a\r\n".to_vec(), 0),
        (b"a".to_vec(), 2),
        (b"\n".to_vec(), 2),
        (b"a\n".to_vec(), 2),
        (b"a\r".to_vec(), 2),
        (large(b"\r\n"), 0),
        (large(b"\r"), 2),
    ];
    store
        .append(inbox, cases.iter().map(|(octets, _)| message(octets.clone())).collect())
        .await
        .expect("appends");
    let archive = mailbox(&*store, id, "Archive").await;
    store.copy(inbox, &(1..=9).collect::<Vec<_>>(), archive).await.expect("copies");
    for mailbox in [inbox, archive] {
        let (drop, status) = (
            store.maildrop(mailbox).await.expect("a maildrop"),
            store.status(mailbox).await.expect("a status"),
        );
        assert_eq!(drop.uid_validity, status.uid_validity);
        let entries = store.entries(mailbox).await.expect("entries");
        assert_eq!(drop.messages.len(), cases.len());
        for ((message, entry), (octets, more)) in drop.messages.iter().zip(entries).zip(&cases) {
            assert_eq!((message.uid, message.content), (entry.uid, entry.content));
            assert_eq!(message.line_octets, octets.len() as u64 + more, "message {}", message.uid);
        }
    }
    assert!(matches!(store.maildrop(MailboxId(999)).await, Err(StoreError::Gone(_))));
}

pub(crate) async fn removal_takes_what_is_named_whatever_its_flags(store: Arc<dyn Store>) {
    let (id, inbox) = inbox(&*store).await;
    // More than one chunk of EXPUNGE: it is one change all the same.
    let all: Vec<Uid> = (1..=1201).collect();
    store.append(inbox, all.iter().map(|n| message(format!("{n}"))).collect()).await.expect("appends");
    delete(&*store, inbox, &[2]).await;
    let (before, mut watch) = (store.status(inbox).await.expect("a status"), store.watch(id));
    assert!(store.remove(inbox, &[]).await.expect("removes").is_empty());
    assert!(store.remove(inbox, &[5000]).await.expect("removes").is_empty());
    assert_eq!(store.status(inbox).await.expect("a status"), before);
    let named: Vec<Uid> = all[2..].iter().rev().copied().chain([1201, 7, 5000]).collect();
    assert_eq!(store.remove(inbox, &named).await.expect("removes"), all[2..]);
    assert_eq!(uids(&*store, inbox).await, [1, 2]);
    let after = store.status(inbox).await.expect("a status");
    assert_eq!((after.messages, after.deleted, after.modseq), (2, 1, before.modseq + 1), "in one change");
    assert_eq!(store.changes(inbox, before.modseq).await.expect("changes").vanished, all[2..]);
    watch.changed().await.expect("wakes");
    assert!(matches!(store.remove(MailboxId(999), &[1]).await, Err(StoreError::Gone(_))));
}
