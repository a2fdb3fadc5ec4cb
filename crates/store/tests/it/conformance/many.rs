//! Reads of many messages at once: for SEARCH and for FETCH.

use crate::support::{flagged, inbox, message, octets};
use sealpost_store::{
    Store, StoreError,
    mailbox::{
        Answers, Batch, Decide, Extent, FlagChange, Flags, Judge, Load, MailboxId, Message, NewMessage, Scan,
        Scanned, Sketch, Sketched, Uid, UidRange,
    },
    spool::INLINE_MAX,
};
use std::sync::Arc;

const ALL: [UidRange; 1] = [(1, Uid::MAX)];

fn scan(sketches: &'static [Sketched], decide: Decide) -> Scan {
    // The sum of the octets, which is the number that the message was given.
    let judge: Judge =
        Arc::new(|sketch| sketch.map_or(999, |octets| octets.iter().map(|octet| u64::from(*octet)).sum()));
    let none = Flags::default();
    Scan { flags: none, set: none, keywords: true, rest: true, decide, sketches, judge }
}

/// 200 messages, their UIDs one more than their numbers.
async fn sketched(store: &dyn Store) -> MailboxId {
    let (_, inbox) = inbox(store).await;
    // Some have one, some the other, some none, and one has an empty one, which is not none.
    let sketch = |n: u8| Sketch {
        header: (n.is_multiple_of(2)).then(|| vec![n].into()),
        text: (n.is_multiple_of(3)).then(|| if n == 9 { Vec::new() } else { vec![n, 7] }.into()),
    };
    let messages = (0..200).map(|n| NewMessage { sketch: sketch(n), ..message(vec![n]) }).collect();
    store.append(inbox, messages).await.expect("appends");
    inbox
}

fn header(n: u64) -> u64 {
    if n.is_multiple_of(2) { n } else { 999 }
}

fn text(n: u64) -> u64 {
    match n {
        9 => 0,
        n if n.is_multiple_of(3) => n + 7,
        _ => 999,
    }
}

pub(crate) async fn a_scan_reads_sketches_of_what_is_open(store: Arc<dyn Store>) {
    let inbox = sketched(&*store).await;
    // Copies share a content; those that are copied later stand before it in no order.
    store.copy(inbox, &[7, 100, 150], inbox).await.expect("copies");
    store.copy(inbox, &[3], inbox).await.expect("copies");
    let numbers: Vec<u64> = (0..200).chain([6, 99, 149, 2]).collect();
    let far: Vec<UidRange> = (1..=204).step_by(40).map(|uid| (uid, uid)).collect();
    for ranges in [&ALL[..], &[(2, 5), (100, 202)], &far] {
        for sketches in [&[][..], &[Sketched::Header], &[Sketched::Text], &[Sketched::Header, Sketched::Text]]
        {
            let scanned =
                store.scan(inbox, ranges, scan(sketches, Arc::new(|_, _| None))).await.expect("scans");
            assert!(scanned.found.is_empty());
            let expected: Vec<(Uid, Answers)> = (1..)
                .zip(&numbers)
                .filter(|(uid, _)| ranges.iter().any(|(low, high)| (low..=high).contains(&uid)))
                .map(|(uid, n)| {
                    let header = sketches.contains(&Sketched::Header).then(|| header(*n));
                    (uid, Answers { header, text: sketches.contains(&Sketched::Text).then(|| text(*n)) })
                })
                .collect();
            let open: Vec<_> =
                scanned.open.iter().map(|(message, answers)| (message.uid, *answers)).collect();
            assert_eq!(open, expected, "{sketches:?}");
        }
    }
    let gone = store.scan(MailboxId(9_999), &ALL, scan(&[], Arc::new(|_, _| None))).await;
    assert!(matches!(gone, Err(StoreError::Gone("mailbox"))));
}

pub(crate) async fn a_scan_ends_where_something_decides(store: Arc<dyn Store>) {
    let inbox = sketched(&*store).await;
    // Odd UIDs are ruled out before anything is read, headers find those up to 50, texts rule out the rest up to 100.
    let decide = |message: &Message, answers: Answers| match answers {
        _ if !message.uid.is_multiple_of(2) => Some(false),
        Answers { header: Some(_), text: None } => (message.uid <= 50).then_some(true),
        Answers { text: Some(_), .. } => (message.uid <= 100).then_some(false),
        Answers { header: None, text: None } => None,
    };
    let both = &[Sketched::Header, Sketched::Text];
    let scanned = store.scan(inbox, &ALL, scan(both, Arc::new(decide))).await.expect("scans");
    let modseq = store.status(inbox).await.expect("a status").modseq;
    assert_eq!(scanned.found, (2..=50).step_by(2).map(|uid| (uid, modseq)).collect::<Vec<_>>());
    let open: Vec<Uid> = scanned.open.iter().map(|(message, _)| message.uid).collect();
    assert_eq!(open, (102..=200).step_by(2).collect::<Vec<_>>());
    let entries = store.entries(inbox).await.expect("entries");
    assert_eq!(scanned.open[0].0, entries[101].clone().into(), "with all that is known of it");
}

pub(crate) async fn a_scan_looks_at_flags_and_keywords(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let answered = Flags::SEEN.union(Flags::ANSWERED);
    let messages = vec![
        message("1"),
        flagged("2", Flags::SEEN, &["Work"]),
        flagged("3", answered, &[]),
        flagged("4", Flags::ANSWERED, &["work", "$Junk"]),
    ];
    store.append(inbox, messages).await.expect("appends");
    store
        .store_flags(inbox, &[3], FlagChange::Add, Flags::default(), &["$Junk".to_owned()], None)
        .await
        .expect("stores");
    let entries = store.entries(inbox).await.expect("entries");
    for (flags, set, expected) in [
        (Flags::default(), Flags::default(), &[1, 2, 3, 4][..]),
        (Flags::SEEN, Flags::SEEN, &[2, 3]),
        (Flags::SEEN, Flags::default(), &[1, 4]),
        (answered, answered, &[3]),
        (answered, Flags::ANSWERED, &[4]),
        (answered, Flags::default(), &[1]),
        (Flags::DELETED, Flags::DELETED, &[]),
    ] {
        for keywords in [false, true] {
            // Nothing but a mark, and all of them are open: what was read shows.
            let look = Scan { flags, set, keywords, rest: false, ..scan(&[], Arc::new(|_, _| None)) };
            let Scanned { found, open } = store.scan(inbox, &[(1, 2), (3, 9)], look).await.expect("scans");
            assert!(found.is_empty());
            let expected: Vec<(Message, Answers)> = expected
                .iter()
                .map(|uid| {
                    let mut message = Message::from(entries[*uid - 1].clone());
                    message.rest = None;
                    message.keywords.retain(|_| keywords);
                    (message, Answers::default())
                })
                .collect();
            assert_eq!(open, expected);
        }
    }
}

fn load(extent: Extent) -> Load {
    Load { messages: 1000, octets: usize::MAX, index: true, extent }
}

fn read(batch: &Batch) -> Vec<Option<Vec<u8>>> {
    let read = |loaded: &sealpost_store::mailbox::Loaded| {
        let reader = loaded.octets.as_ref()?;
        let mut all = vec![0; usize::try_from(reader.len()).expect("fits")];
        let mut at = 0;
        while at < all.len() {
            let ready = reader.in_memory(at as u64).to_vec();
            let n = reader.read_at(at as u64, &mut all[at..]).expect("reads");
            assert!(
                ready.len() <= n && ready == all[at..at + ready.len()],
                "what is in memory is what is read"
            );
            at += n;
        }
        Some(all)
    };
    batch.messages.iter().map(read).collect()
}

pub(crate) async fn what_is_loaded_is_what_is_asked_for(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let lens = [0, 1, 4096, 32 * 1024, 32 * 1024 + 1, 100_000, INLINE_MAX + 1];
    let bodies: Vec<Vec<u8>> = (0..).zip(lens).map(|(tag, len)| octets(tag, len)).collect();
    // The index of a message says how long its header is: here, how long all of it is.
    let index = |len: usize| len.to_le_bytes().to_vec();
    let messages =
        bodies.iter().map(|octets| NewMessage { index: index(octets.len()), ..message(octets.clone()) });
    store.append(inbox, messages.collect()).await.expect("appends");
    let entries = store.entries(inbox).await.expect("entries");
    let of = |index: &[u8]| index.try_into().map_or(0, u64::from_le_bytes);
    let half = |index: &[u8]| index.try_into().map_or(0, u64::from_le_bytes) / 2;
    for extent in [
        Extent::Nothing,
        Extent::Header(of),
        Extent::Header(half),
        Extent::Header(|_| u64::MAX),
        Extent::Whole,
    ] {
        let batch = store.load(inbox, &ALL, load(extent)).await.expect("loads");
        assert!(!batch.more);
        assert_eq!(batch.messages.iter().map(|loaded| loaded.entry.clone()).collect::<Vec<_>>(), entries);
        assert!(batch.messages.iter().zip(lens).all(|(loaded, len)| loaded.index == index(len)));
        let expected: Vec<Option<Vec<u8>>> = match extent {
            Extent::Nothing => vec![None; lens.len()],
            _ => bodies.iter().cloned().map(Some).collect(),
        };
        assert!(read(&batch) == expected, "{extent:?}");
    }
    let batch =
        store.load(inbox, &[(3, 3), (5, 9)], Load { index: false, ..load(Extent::Header(half)) }).await;
    let batch = batch.expect("loads");
    assert!(batch.messages.iter().all(|loaded| loaded.index.is_empty()));
    let ready: Vec<usize> =
        batch.messages.iter().map(|l| l.octets.as_ref().expect("a reader").in_memory(0).len()).collect();
    assert_eq!(ready, [2048, 16 * 1024, 0, 0], "nothing of what is too much");
}

pub(crate) async fn a_load_ends_where_its_room_does(store: Arc<dyn Store>) {
    let (_, inbox) = inbox(&*store).await;
    let messages = (0..6).map(|n| NewMessage { index: vec![0; 100], ..message(octets(n, 1000)) });
    store.append(inbox, messages.collect()).await.expect("appends");
    let uids = async |ranges: &[UidRange], messages, octets| {
        let load = Load { messages, octets, ..load(Extent::Whole) };
        let batch = store.load(inbox, ranges, load).await.expect("loads");
        (batch.messages.iter().map(|loaded| loaded.entry.uid).collect::<Vec<_>>(), batch.more)
    };
    let all = ALL.as_slice();
    assert_eq!(uids(all, 7, usize::MAX).await, (vec![1, 2, 3, 4, 5, 6], false));
    assert_eq!(uids(all, 6, usize::MAX).await, (vec![1, 2, 3, 4, 5, 6], true), "there may be more");
    assert_eq!(uids(all, 2, usize::MAX).await, (vec![1, 2], true));
    // One is always read, and then as long as there is room.
    assert_eq!(uids(all, 7, 1).await, (vec![1], true));
    assert_eq!(uids(all, 7, 1100).await, (vec![1], true));
    assert_eq!(uids(all, 7, 1101).await, (vec![1, 2], true));
    assert_eq!(uids(&[(2, 2), (5, 5), (6, 6)], 7, 2200).await, (vec![2, 5], true));
    assert_eq!(uids(&[(2, 2), (5, 5)], 7, 2200).await, (vec![2, 5], false));
}
