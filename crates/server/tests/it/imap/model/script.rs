//! Scripts: what sessions do, in an order. Numbers in them are drawn before it is known what a mailbox will hold; they
//! are taken modulo what a session knows when the step comes, so that a script stays sensible while it shrinks.

use super::content::SENDERS;
use proptest::prelude::*;

/// Names that scripts use: few, so that they meet.
pub(super) const NAMES: [&str; 7] = ["INBOX", "a", "a/b", "a/b/c", "b", "c", "Archive"];
/// Flags that scripts use, in lower case.
pub(super) const FLAGS: [&str; 7] =
    ["\\seen", "\\deleted", "\\flagged", "\\answered", "\\draft", "$label", "custom"];
/// Words of subjects, and of bodies.
pub(super) const WORDS: [&str; 4] = ["apple", "pear", "plüm", "Äpfel"];
/// Sessions at once.
pub(super) const SESSIONS: usize = 3;

/// One of [`NAMES`].
pub(super) type Name = usize;
/// Some of [`FLAGS`], a bit each.
pub(super) type FlagBits = u8;

#[derive(Debug, Clone, Copy)]
pub(super) enum Set {
    All,
    Last,
    One(u8),
    Range(u8, u8),
    Two(u8, u8),
    /// `$`
    Saved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Replace,
    Add,
    Remove,
}

/// A message to be stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    pub(super) flags: FlagBits,
    /// What it is made from.
    pub(super) text: u32,
}

/// A MODSEQ: one that the session has heard, or one beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    pub(super) heard: u8,
    pub(super) beside: i8,
}

/// How a mailbox is opened (RFC 7162 §3.1.8, §3.2.5).
#[derive(Debug, Clone, Copy)]
pub(super) enum Opening {
    Plain,
    Condstore,
    /// As it was seen before, one of several times; the bits say whether the UIDs that were known then are told, and
    /// their numbers.
    Resync(u8),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Item {
    Flags,
    Modseq,
    Size,
    /// BODY.PEEK[]
    Peek,
    /// BODY[], which sets \Seen
    Body,
    /// INTERNALDATE, and SAVEDATE (RFC 8514)
    Dates,
}

#[derive(Debug, Clone)]
pub(super) enum Key {
    All,
    Flag(usize, bool),
    Larger(u16),
    Smaller(u16),
    Subject(usize),
    Body(usize),
    Text(usize),
    Uids(Set),
    Modseq(Since),
    From(usize),
    /// SINCE, BEFORE, ON (below, above or at 0) a day of November 2026.
    Came(i8, u8),
    /// YOUNGER, or OLDER, than some hours (RFC 5032).
    Younger(bool, u8),
    /// SAVEDSINCE, or SAVEDBEFORE, what is long ago (RFC 8514).
    SavedSince(bool),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Box<Key>, Box<Key>),
}

/// What SORT compares.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Arrival,
    Date,
    From,
    Size,
    Subject,
    Cc,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sorted {
    pub(super) reverse: bool,
    pub(super) order: Order,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    Select {
        name: Name,
        read_only: bool,
        opening: Opening,
    },
    /// CONDSTORE, or QRESYNC
    Enable(bool),
    Append {
        name: Name,
        drafts: Vec<Draft>,
    },
    Replace {
        uid: bool,
        at: u8,
        name: Name,
        draft: Draft,
    },
    Store {
        uid: bool,
        set: Set,
        how: How,
        silent: bool,
        flags: FlagBits,
        /// UNCHANGEDSINCE
        guard: Option<Since>,
    },
    Copy {
        uid: bool,
        set: Set,
        to: Name,
        remove: bool,
    },
    Expunge,
    UidExpunge(Set),
    Close,
    Unselect,
    Fetch {
        uid: bool,
        set: Set,
        item: Item,
        /// CHANGEDSINCE, and whether what has vanished is asked for as well
        since: Option<(Since, bool)>,
    },
    Search {
        uid: bool,
        saves: bool,
        key: Key,
    },
    Sort {
        uid: bool,
        order: Vec<Sorted>,
        key: Key,
    },
    Thread {
        uid: bool,
        references: bool,
        key: Key,
    },
    Create(Name),
    Delete(Name),
    Rename {
        from: Name,
        to: Name,
    },
    Subscribe {
        name: Name,
        on: bool,
    },
    List,
    Lsub,
    Status(Name),
    Noop,
    /// Commands in flight at the same time.
    Together(Vec<Step>),
    /// The server ends and starts again; everybody logs in anew.
    Restart,
    Backup,
    /// The server ends, and is made anew from its last backup.
    Restore,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) who: usize,
    pub(super) act: Act,
}

fn name() -> impl Strategy<Value = Name> {
    // Most happens in the first two.
    prop_oneof![8 => Just(0), 3 => Just(1), 2 => 2..NAMES.len()]
}

/// What is given another name: a tree, mostly.
fn renamed() -> impl Strategy<Value = Name> {
    prop_oneof![3 => 1..=2_usize, 1 => 0..NAMES.len()]
}

fn set() -> impl Strategy<Value = Set> {
    prop_oneof![
        2 => Just(Set::All),
        2 => Just(Set::Last),
        4 => any::<u8>().prop_map(Set::One),
        2 => any::<(u8, u8)>().prop_map(|(a, b)| Set::Range(a, b)),
        1 => any::<(u8, u8)>().prop_map(|(a, b)| Set::Two(a, b)),
        2 => Just(Set::Saved),
    ]
}

/// One flag or two, \Deleted more often: without it nothing is ever expunged.
fn flags() -> impl Strategy<Value = FlagBits> {
    let one = || (0..FLAGS.len()).prop_map(|bit| 1 << bit);
    prop_oneof![3 => Just(0b10), 4 => one(), 2 => (one(), one()).prop_map(|(a, b): (u8, u8)| a | b), 1 => Just(0)]
}

fn draft() -> impl Strategy<Value = Draft> {
    (flags(), any::<u32>()).prop_map(|(flags, text)| Draft { flags, text })
}

fn since() -> impl Strategy<Value = Since> {
    // The last that was heard, mostly.
    let heard = prop_oneof![Just(u8::MAX), any::<u8>()];
    (heard, prop_oneof![4 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => Just(i8::MIN)])
        .prop_map(|(heard, beside)| Since { heard, beside })
}

fn sorted() -> impl Strategy<Value = Sorted> {
    let order = prop_oneof![
        Just(Order::Arrival),
        Just(Order::Date),
        Just(Order::From),
        Just(Order::Size),
        Just(Order::Subject),
        Just(Order::Cc),
    ];
    (any::<bool>(), order).prop_map(|(reverse, order)| Sorted { reverse, order })
}

fn opening() -> impl Strategy<Value = Opening> {
    prop_oneof![
        5 => Just(Opening::Plain),
        1 => Just(Opening::Condstore),
        4 => any::<u8>().prop_map(Opening::Resync),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    let words = 0..WORDS.len();
    let leaf = prop_oneof![
        1 => Just(Key::All),
        4 => (0..FLAGS.len(), any::<bool>()).prop_map(|(flag, on)| Key::Flag(flag, on)),
        1 => (0..400_u16).prop_map(Key::Larger),
        1 => (0..400_u16).prop_map(Key::Smaller),
        1 => words.clone().prop_map(Key::Subject),
        1 => words.clone().prop_map(Key::Body),
        1 => words.prop_map(Key::Text),
        1 => set().prop_map(Key::Uids),
        2 => since().prop_map(Key::Modseq),
        1 => (0..SENDERS.len()).prop_map(Key::From),
        1 => (-1..=1_i8, 16..=24_u8).prop_map(|(side, day)| Key::Came(side, day)),
        1 => (any::<bool>(), any::<u8>()).prop_map(|(younger, hours)| Key::Younger(younger, hours)),
        1 => any::<bool>().prop_map(Key::SavedSince),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|key| Key::Not(Box::new(key))),
            two.clone().prop_map(|(a, b)| Key::Or(Box::new(a), Box::new(b))),
            two.prop_map(|(a, b)| Key::And(Box::new(a), Box::new(b))),
        ]
    })
}

/// What may be in flight beside others.
fn one() -> impl Strategy<Value = Act> + Clone {
    let how = prop_oneof![1 => Just(How::Replace), 3 => Just(How::Add), 2 => Just(How::Remove)];
    let item = prop_oneof![3 => Just(Item::Flags), 2 => Just(Item::Modseq), 1 => Just(Item::Size), 1 => Just(Item::Dates), 1 => Just(Item::Peek), 1 => Just(Item::Body)];
    let drafts =
        prop_oneof![3 => prop::collection::vec(draft(), 1), 1 => prop::collection::vec(draft(), 2..5)];
    let yes = any::<bool>;
    prop_oneof![
        8 => (name(), prop::bool::weighted(0.15), opening())
            .prop_map(|(name, read_only, opening)| Act::Select { name, read_only, opening }),
        2 => prop::bool::weighted(0.7).prop_map(Act::Enable),
        12 => (name(), drafts).prop_map(|(name, drafts)| Act::Append { name, drafts }),
        3 => (yes(), any::<u8>(), name(), draft())
            .prop_map(|(uid, at, name, draft)| Act::Replace { uid, at, name, draft }),
        10 => (yes(), set(), how, yes(), flags(), prop::option::weighted(0.3, since()))
            .prop_map(|(uid, set, how, silent, flags, guard)| Act::Store { uid, set, how, silent, flags, guard }),
        5 => (yes(), set(), name(), yes()).prop_map(|(uid, set, to, remove)| Act::Copy { uid, set, to, remove }),
        4 => Just(Act::Expunge),
        2 => set().prop_map(Act::UidExpunge),
        1 => Just(Act::Close),
        1 => Just(Act::Unselect),
        6 => (yes(), set(), item, prop::option::weighted(0.25, (since(), yes())))
            .prop_map(|(uid, set, item, since)| Act::Fetch { uid, set, item, since }),
        5 => (yes(), prop::bool::weighted(0.4), key())
            .prop_map(|(uid, saves, key)| Act::Search { uid, saves, key }),
        3 => (yes(), prop::collection::vec(sorted(), 1..3), key())
            .prop_map(|(uid, order, key)| Act::Sort { uid, order, key }),
        3 => (yes(), yes(), key()).prop_map(|(uid, references, key)| Act::Thread { uid, references, key }),
        2 => name().prop_map(Act::Create),
        1 => name().prop_map(Act::Delete),
        3 => (renamed(), 0..NAMES.len()).prop_map(|(from, to)| Act::Rename { from, to }),
        1 => (name(), yes()).prop_map(|(name, on)| Act::Subscribe { name, on }),
        1 => Just(Act::List),
        1 => Just(Act::Lsub),
        2 => name().prop_map(Act::Status),
        6 => Just(Act::Noop),
    ]
    .boxed()
}

/// MODSEQs that come up meanwhile are above those that were heard, so none beside them is asked for; and what opens a
/// mailbox, or asks which messages it has been given, is done alone.
fn may_be_together(act: &Act) -> bool {
    let low = |since: &Since| since.beside <= 0;
    match act {
        Act::Store { guard, .. } => guard.as_ref().is_none_or(low),
        Act::Fetch { since, .. } => since.is_none(),
        Act::Search { key, .. } => !asks_modseq(key),
        Act::Rename { from, .. } => NAMES[*from] != "INBOX",
        Act::Select { .. } | Act::Enable(_) | Act::Delete(_) | Act::Sort { .. } | Act::Thread { .. } => false,
        _ => true,
    }
}

/// Whether a key has a MODSEQ in it.
pub(super) fn asks_modseq(key: &Key) -> bool {
    match key {
        Key::Modseq(_) => true,
        Key::Not(key) => asks_modseq(key),
        Key::Or(a, b) | Key::And(a, b) => asks_modseq(a) || asks_modseq(b),
        _ => false,
    }
}

fn act() -> impl Strategy<Value = Act> {
    let beside = one().prop_filter("is done alone", may_be_together);
    let step = (0..SESSIONS, beside).prop_map(|(who, act)| Step { who, act });
    prop_oneof![
        90 => one(),
        12 => prop::collection::vec(step, 2..5).prop_map(Act::Together),
        1 => Just(Act::Restart),
        1 => Just(Act::Backup),
        1 => Just(Act::Restore),
    ]
}

/// How scripts mostly begin: a tree of mailboxes, and some messages, which everybody has looked at.
fn beginning() -> Vec<Step> {
    let inbox = |who| Step { who, act: Act::Select { name: 0, read_only: false, opening: Opening::Plain } };
    let fetch =
        |who| Step { who, act: Act::Fetch { uid: true, set: Set::All, item: Item::Flags, since: None } };
    let append = |text| Step { who: 0, act: Act::Append { name: 0, drafts: vec![Draft { flags: 0, text }] } };
    let tree = Step { who: 0, act: Act::Create(3) };
    let mut steps = vec![tree, append(3), append(66), append(130)];
    steps.extend((0..SESSIONS).flat_map(|who| [inbox(who), fetch(who)]));
    steps
}

/// What all sessions do, in order.
pub(super) fn script() -> impl Strategy<Value = Vec<Step>> {
    let kept = prop::collection::vec(prop::bool::weighted(0.9), beginning().len());
    let step = (0..SESSIONS, act()).prop_map(|(who, act)| Step { who, act });
    (kept, prop::collection::vec(step, 1..90)).prop_map(|(kept, steps)| {
        let begin = beginning().into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(step, _)| step);
        begin.chain(steps).collect()
    })
}
