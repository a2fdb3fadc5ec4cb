//! Scripts: what clients ask for, and what goes wrong meanwhile. A step can be left out and the rest still makes sense:
//! operations are settled against the state in which they are begun.

use crate::{
    act::{Accept, Act, SetKey},
    body::Octets,
    disk::{
        BROKEN, FULL, Fault, INTERRUPTED,
        log::{Call, Kind, class},
    },
    model::Model,
    rng::Rng,
    store::{ADDRESSES, ALIASES, CODES, is_object},
};
use sealpost_store::spool::INLINE_MAX;

/// An operation before it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// Which; see [`Op::settle`].
    pub what: u8,
    /// What decides the rest.
    pub seed: u64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Clients that ask at the same time, so that one transaction carries them all.
    Round(Vec<Op>),
    /// In the next round this goes wrong.
    Fault(Fault),
    /// The disk is full, until [`Step::Space`].
    Full {
        /// Writes that still find room.
        after: u32,
    },
    /// There is room again.
    Space,
    /// The clock jumps by so many seconds.
    Clock(i64),
    /// What is gone is cleared away.
    Collect,
    /// The server is stopped and started.
    Restart,
    /// The process is killed and started again; what it had written is in the system's memory.
    Kill {
        /// After so many accesses of the last round; anywhere in it or behind it where nothing is said.
        at: Option<usize>,
    },
    /// The machine loses its power and comes back.
    Crash {
        /// Decides what was on the disk.
        seed: u64,
    },
}

/// How a script is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Steps.
    pub steps: usize,
    /// Whether the disk has faults.
    pub faults: bool,
    /// Whether its syncs lie.
    pub lies: bool,
}

impl Plan {
    /// Most scripts meet faults, some a disk that lies, some nothing but crashes.
    pub fn of(rng: &mut Rng) -> Self {
        let lies = rng.one_in(8);
        Self { steps: 12 + rng.below(30), faults: lies || !rng.one_in(4), lies }
    }
}

/// An operation that no script draws: one large message to the first mailbox.
pub const LARGE: u8 = 99;

/// Names of mailboxes; the first ones are always there.
const MAILBOXES: [&str; 9] =
    ["INBOX", "Archive", "Trash", "work", "work/deep", "play", "play/deep/er", "INBOX/below", "old"];
const KEYWORDS: [&str; 3] = ["home", "work", "$forwarded"];
const REMOTE: [&str; 3] = ["dora@example.com", "emil@example.com", "frida@example.edu"];
/// Longer than the grace of removed mail.
const HOURS: i64 = 2 * 3600;

/// A script.
pub fn script(plan: Plan, rng: &mut Rng) -> Vec<Step> {
    let mut steps = vec![Step::Round(vec![Op { what: 0, seed: 0 }, Op { what: 0, seed: 1 }])];
    if rng.one_in(6) {
        // While the store is being made.
        steps.insert(0, Step::Kill { at: None });
    }
    while steps.len() < plan.steps {
        match rng.below(20) {
            0..=12 => {
                if plan.faults && rng.one_in(2) {
                    steps.push(Step::Fault(fault(plan, rng)));
                }
                steps.push(Step::Round(round(rng)));
            }
            13 => steps.push(Step::Clock([1, 60, HOURS, -90, -86_400, 10 * 86_400][rng.below(6)])),
            14 => steps.push(Step::Collect),
            15 => steps.push(Step::Restart),
            16 => steps.push(Step::Kill { at: None }),
            17 | 18 => steps.push(Step::Crash { seed: rng.draw() }),
            _ if plan.faults && !plan.lies => {
                steps.push(Step::Full { after: u32::try_from(rng.below(30)).unwrap_or(0) });
                for _ in 0..=rng.below(3) {
                    steps.push(Step::Round(round(rng)));
                }
                steps.push(Step::Space);
            }
            _ => steps.push(Step::Round(round(rng))),
        }
    }
    steps
}

fn round(rng: &mut Rng) -> Vec<Op> {
    (0..=rng.below(4))
        .map(|_| Op { what: u8::try_from(rng.below(40)).unwrap_or(0), seed: rng.draw() })
        .collect()
}

fn fault(plan: Plan, rng: &mut Rng) -> Fault {
    let classes = *rng.pick(&[class::DATABASE, class::LOG, class::OBJECT, class::FOLDER, class::ALL]);
    let nth = 1 + u32::try_from(rng.below(12)).unwrap_or(0);
    let count = 1 + u32::try_from(rng.below(3)).unwrap_or(0);
    if plan.lies {
        let count = if rng.one_in(2) { 1 } else { 1000 };
        return Fault { calls: Call::Sync.bit(), classes, nth: 1, kind: Kind::Lies, error: 0, count };
    }
    let (calls, kind, error) = match rng.below(9) {
        0..=2 => (Call::Sync.bit(), Kind::Fails, BROKEN),
        8 => (Call::Write.bit(), Kind::Short, 0),
        3 => (Call::Write.bit(), Kind::Fails, FULL),
        4 => (Call::Write.bit() | Call::Truncate.bit(), Kind::Fails, BROKEN),
        5 => (Call::Read.bit(), Kind::Fails, BROKEN),
        6 => (Call::Write.bit() | Call::Sync.bit() | Call::Read.bit(), Kind::Fails, INTERRUPTED),
        _ => (
            Call::Create.bit() | Call::Link.bit() | Call::MakeFolder.bit() | Call::Unlink.bit(),
            Kind::Fails,
            *rng.pick(&[FULL, BROKEN]),
        ),
    };
    let nth = if kind == Kind::Fails && calls & (Call::Write.bit() | Call::Read.bit()) == 0 {
        1 + nth / 6
    } else {
        nth
    };
    Fault { calls, classes, nth, kind, error, count }
}

impl Op {
    /// What it comes to in this state; nothing where there is nothing to do it to. `tag` numbers the message, if it
    /// makes one.
    pub fn settle(self, model: &Model, now: i64, tag: u64) -> Option<Act> {
        let mut rng = Rng::new(self.seed);
        let rng = &mut rng;
        let seen = &model.seen;
        let accounts: Vec<i64> = seen.accounts.keys().copied().collect();
        let boxes: Vec<i64> = seen.mailboxes.keys().copied().collect();
        let code = |rng: &mut Rng| u8::try_from(rng.below(usize::from(CODES))).unwrap_or(0);
        if self.what == 0 && self.seed < 2 {
            // Every script begins with two accounts.
            let address = ADDRESSES[usize::try_from(self.seed).unwrap_or(0)].to_owned();
            return Some(Act::CreateAccount { address, code: 0, expires: now + 3600 });
        }
        let address = rng.pick(&ADDRESSES).to_string();
        let account = if accounts.is_empty() { 1 } else { *rng.pick(&accounts) };
        let mailbox = if boxes.is_empty() { 1 } else { *rng.pick(&boxes) };
        let generation = seen.accounts.get(&account).map_or(1, |account| account.generation);
        let keyring = |rng: &mut Rng| {
            let replaces = seen.accounts.get(&account).and_then(|account| account.keyring.clone());
            let len = [40, 5000][rng.below(2)];
            let replaces = if rng.one_in(6) { Some(vec![0]) } else { replaces };
            (replaces, format!("{:>len$}", rng.below(1000)).into_bytes())
        };
        let name = |rng: &mut Rng| (*rng.pick(&MAILBOXES)).to_owned();
        Some(match self.what {
            LARGE => {
                let octets = Octets { tag: tag * 8, len: INLINE_MAX + 1 };
                Act::Append { mailbox: *boxes.first()?, messages: vec![(octets, 0, Vec::new())] }
            }
            0 => Act::CreateAccount { address, code: code(rng), expires: now + 3600 },
            1 => Act::ResetAccount { address, code: code(rng), expires: now + 3600 },
            2 if rng.one_in(2) => Act::RemoveAccount { address },
            2 | 3 => Act::SetAlias { alias: (*rng.pick(&ALIASES)).to_owned(), account },
            4 | 5 => {
                Act::Enrol { address, code: code(rng), login: u8::try_from(rng.below(12)).unwrap_or(0), now }
            }
            6 => Act::ResetSalt { account, generation, salt: u8::try_from(rng.below(200)).unwrap_or(0) },
            7 | 8 => Act::SetKey(SetKey {
                account,
                generation: generation - i64::from(rng.one_in(6)),
                key: u8::try_from(rng.below(3)).unwrap_or(0),
                salt: rng.one_in(2).then(|| u8::try_from(rng.below(200)).unwrap_or(0)),
                login: rng.one_in(2).then(|| u8::try_from(rng.below(12)).unwrap_or(0)),
                statement: rng.one_in(2),
                keyring: rng.one_in(2).then(|| keyring(rng)),
            }),
            9 => {
                let (replaces, data) = keyring(rng);
                Act::PutKeyring { account, replaces, data }
            }
            10 => Act::AddPassword { account, name: (*rng.pick(&["phone", "tablet"])).to_owned() },
            11 => Act::RevokePassword { account, name: (*rng.pick(&["phone", "tablet"])).to_owned() },
            12 => Act::Secret { told: String::new() },
            13 | 14 => Act::Create { account, name: name(rng) },
            15 => Act::Delete { account, name: name(rng) },
            16 => Act::Rename { account, from: name(rng), to: name(rng) },
            17 => Act::Subscribe { account, name: name(rng), on: rng.one_in(2) },
            18..=22 => {
                let count = rng.below(4);
                let messages = (0..count)
                    .map(|n| {
                        (
                            octets(tag * 8 + n as u64, rng),
                            u8::try_from(rng.below(32)).unwrap_or(0),
                            keywords(rng),
                        )
                    })
                    .collect();
                Act::Append { mailbox, messages }
            }
            23 | 24 => Act::Flag {
                mailbox,
                uids: uids(seen, mailbox, rng),
                how: u8::try_from(rng.below(3)).unwrap_or(0),
                flags: u8::try_from(rng.below(32)).unwrap_or(0),
                keywords: keywords(rng),
                since: rng
                    .one_in(3)
                    .then(|| seen.mailboxes.get(&mailbox).map_or(1, |m| m.modseq.saturating_sub(1))),
            },
            25..=28 => {
                let to = if boxes.is_empty() { 1 } else { *rng.pick(&boxes) };
                Act::Copy { from: mailbox, uids: uids(seen, mailbox, rng), to, remove: rng.one_in(2) }
            }
            29 | 30 if rng.one_in(3) => Act::Quit { mailbox, uids: uids(seen, mailbox, rng) },
            29 | 30 => {
                let uids = rng.one_in(2).then(|| uids(seen, mailbox, rng));
                Act::Expunge { mailbox, uids }
            }
            31..=34 => {
                Act::Accept(accept(&accounts, octets(tag * 8 + u64::from(rng.one_in(2)), rng), now, rng))
            }
            35 | 36 => Act::Claim {
                now,
                lease: 60 + 60 * rng.seconds(60),
                limit: 1 + rng.below(3),
                any: seen.next_due.is_some_and(|due| due <= now),
            },
            _ => {
                // Mostly one that is claimed.
                let claimed: Vec<i64> = model.claims.keys().copied().collect();
                let all: Vec<i64> = seen.queue.keys().copied().collect();
                let id =
                    if claimed.is_empty() || rng.one_in(8) { all.first() } else { Some(rng.pick(&claimed)) };
                let id = *id?;
                let to = seen.queue.get(&id).map(|entry| entry.to.clone()).unwrap_or_default();
                let rest = (rng.one_in(3) && !to.is_empty())
                    .then(|| (to[..=rng.below(to.len())].to_vec(), now + 60 * rng.seconds(30)));
                let bounce = rng.one_in(3).then(|| Accept {
                    from: None,
                    ..accept(&accounts, octets(tag * 8 + u64::from(rng.one_in(2)), rng), now, rng)
                });
                Act::Settle { id, rest, bounce }
            }
        })
    }
}

fn keywords(rng: &mut Rng) -> Vec<String> {
    KEYWORDS.iter().filter(|_| rng.one_in(3)).map(|keyword| (*keyword).to_owned()).collect()
}

fn uids(seen: &crate::model::Seen, mailbox: i64, rng: &mut Rng) -> Vec<u32> {
    let next = seen.mailboxes.get(&mailbox).map_or(1, |mailbox| mailbox.next);
    (0..rng.below(5)).map(|_| 1 + u32::try_from(rng.below(next as usize)).unwrap_or(0)).collect()
}

/// Mostly small ones, some that fill pages, some that become objects.
fn octets(tag: u64, rng: &mut Rng) -> Octets {
    let len = match rng.below(16) {
        0..=8 => 30 + rng.below(600),
        9..=11 => 3_000 + rng.below(9_000),
        12 => 33_000 + rng.below(20_000),
        _ => INLINE_MAX + 1 + rng.below(700),
    };
    let octets = Octets { tag, len };
    debug_assert!(len <= INLINE_MAX || is_object(octets));
    octets
}

fn accept(accounts: &[i64], octets: Octets, now: i64, rng: &mut Rng) -> Accept {
    let local = accounts.iter().filter(|_| rng.one_in(2)).copied().collect();
    let remote = match rng.below(4) {
        0 => vec![],
        1 => vec![vec![REMOTE[0].to_owned(), REMOTE[1].to_owned()]],
        2 => vec![vec![REMOTE[1].to_owned()], vec![REMOTE[2].to_owned()]],
        _ => vec![vec![REMOTE[2].to_owned()]],
    };
    let due = now + 30 * rng.seconds(4);
    Accept { octets, from: Some("alice@example.net".into()), local, remote, due }
}
