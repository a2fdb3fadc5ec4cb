//! Between the model's changes and the store's traits.

use crate::{
    act::{Accept, Act, SetKey},
    body::Octets,
    model::Answer,
    rng::Rng,
};
use sealpost_proto::{
    address::{Address, Domain},
    key::PublicKey,
    phc::{Cost, Salt, Verifier},
    statement::SignedStatement,
    time::{Clock, Timestamp},
};
use sealpost_store::{
    StoreError,
    account::{AccountId, Accounts, AppPassword, Enrolment, KeyChange, Login, StagedKeyring, Swap},
    mailbox::{FlagChange, Flags, MailboxId, Mailboxes, NewMessage, Sketch, SpecialUse},
    queue::{Accepted, BodyNeeds, Queue, QueueId, RemoteEntry, Settlement},
    spool::{Body, INLINE_MAX},
    sqlite::{Options, SqliteStore},
};
use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// The addresses there can be accounts for.
pub const ADDRESSES: [&str; 3] = ["alice@example.net", "bob@example.net", "carol@example.org"];
/// The addresses that can lead to them.
pub const ALIASES: [&str; 3] = ["postmaster@example.net", "sales@example.net", "bob@example.net"];
/// Codes are numbered from 0.
pub const CODES: u8 = 4;

/// A clock set by hand.
#[derive(Debug)]
pub struct HandClock(pub AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Opens a store that does everything on the caller's thread. The names of its objects come from few folders, so that
/// they meet.
pub fn open(path: &Path, clock: &Arc<HandClock>, rng: &mut Rng) -> Result<Arc<SqliteStore>, StoreError> {
    let names = Mutex::new(rng.fork());
    let random = move |octets: &mut [u8]| {
        let mut rng = names.lock().unwrap_or_else(PoisonError::into_inner);
        for octet in octets.iter_mut() {
            *octet = u8::try_from(rng.below(256)).unwrap_or(0);
        }
        octets[0] &= 1;
    };
    let options = Options {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        writer_cache_kib: 1024,
        reader_cache_kib: 256,
        // A script is short; the log is to be copied back in the middle of it all the same.
        log_pages: 30,
        collect_garbage: false,
        threads: false,
        random: Arc::new(random),
        ..Options::default()
    };
    SqliteStore::open_with(path, options)
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).expect("the simulation's own address")
}

pub(crate) fn domain(recipient: &str) -> Domain {
    Domain::parse(recipient.rsplit('@').next().unwrap_or_default()).expect("the simulation's own domain")
}

fn salt(tag: u8) -> Salt {
    Salt::new([tag; 16]).expect("sixteen octets")
}

fn login(tag: u8) -> Login {
    Login { salt: salt(tag), cost: Cost::DEFAULT, verifier: Verifier([tag.wrapping_add(100); 32]) }
}

/// A chain of three keys, each with its statement.
fn chain() -> [(PublicKey, SignedStatement); 3] {
    [
        include_bytes!("../../crates/store/tests/data/first.statement").as_slice(),
        include_bytes!("../../crates/store/tests/data/second.statement"),
        include_bytes!("../../crates/store/tests/data/third.statement"),
    ]
    .map(|wire| {
        let statement = SignedStatement::from_bytes(wire).expect("a valid statement");
        (statement.statement().key.clone(), statement)
    })
}

/// The number of a key among [`chain`].
pub(crate) fn key_number(key: &PublicKey) -> Option<u8> {
    (0..).zip(chain()).find(|(_, (known, _))| known == key).map(|(number, _)| number)
}

pub(crate) fn special(special_use: Option<SpecialUse>) -> u8 {
    match special_use {
        None => 0,
        Some(SpecialUse::Drafts) => 1,
        Some(SpecialUse::Sent) => 2,
        Some(SpecialUse::Archive) => 3,
        Some(SpecialUse::Junk) => 4,
        Some(SpecialUse::Trash) => 5,
    }
}

/// A body as a session would have received it: through a spool, or made in memory.
fn body(store: &SqliteStore, octets: Octets) -> Result<Body, StoreError> {
    if octets.tag.is_multiple_of(2) {
        return Ok(Body::from_bytes(octets.bytes()));
    }
    let mut spool = store.spool();
    for piece in octets.bytes().chunks(16 * 1024) {
        spool.write(piece)?;
    }
    Ok(spool.finish()?)
}

fn accepted(store: &SqliteStore, accept: &Accept, now: Timestamp) -> Result<Accepted, StoreError> {
    let body = body(store, accept.octets)?;
    let message = || NewMessage {
        body: body.clone(),
        flags: Flags::default(),
        keywords: Vec::new(),
        internal_date: now,
        index: Vec::new(),
        sketch: Sketch::default(),
    };
    Ok(Accepted {
        reverse_path: accept.from.clone(),
        local: accept.local.iter().map(|account| (AccountId(*account), message())).collect(),
        remote: accept
            .remote
            .iter()
            .map(|recipients| RemoteEntry {
                body: body.clone(),
                domain: domain(&recipients[0]),
                recipients: recipients.clone(),
                needs: BodyNeeds::default(),
                received: now,
                due: Timestamp(accept.due),
            })
            .collect(),
    })
}

fn swap(swap: Swap) -> String {
    match swap {
        Swap::Done => "done",
        Swap::KeyChanged => "key changed",
        Swap::KeyringChanged => "keyring changed",
        Swap::SaltInUse => "salt in use",
    }
    .into()
}

fn sha256(data: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(data).into()
}

fn staged(replaces: Option<&Vec<u8>>, data: &[u8]) -> StagedKeyring {
    StagedKeyring { replaces: replaces.map(|old| sha256(old)), data: data.to_vec() }
}

/// What the disk or SQLite failed at; the model knows no such answer.
pub const FAILED: &str = "failed";

fn word(error: &StoreError) -> &'static str {
    match error {
        StoreError::Gone(_) => "gone",
        StoreError::Exists(_) => "exists",
        StoreError::Refused(_) => "refused",
        StoreError::Limit(_) => "limit",
        _ => FAILED,
    }
}

/// Does it, and says what came of it in the model's words.
pub async fn run(store: Arc<SqliteStore>, act: Act, now: i64) -> Answer {
    perform(&store, &act, Timestamp(now)).await.map_err(|error| word(&error))
}

async fn perform(store: &SqliteStore, act: &Act, now: Timestamp) -> Result<String, StoreError> {
    let done = || "done".to_owned();
    Ok(match act {
        Act::CreateAccount { address: name, code, expires } => {
            let id = store.create_account(&address(name), [*code; 32], Timestamp(*expires), now).await?;
            format!("account {}", id.0)
        }
        Act::ResetAccount { address: name, code, expires } => {
            let id = store.reset_account(&address(name), [*code; 32], Timestamp(*expires)).await?;
            format!("account {}", id.0)
        }
        Act::RemoveAccount { address: name } => {
            store.remove_account(&address(name)).await?;
            done()
        }
        Act::SetAlias { alias, account } => {
            store.set_alias(&address(alias), AccountId(*account)).await?;
            done()
        }
        Act::Enrol { address: name, code, login: tag, now } => {
            match store.enrol(&address(name), [*code; 32], login(*tag), Timestamp(*now)).await? {
                Enrolment::Done(id) => format!("enrolled {}", id.0),
                Enrolment::WrongCode => "wrong code".into(),
                Enrolment::SaltInUse => "salt in use".into(),
            }
        }
        Act::ResetSalt { account, generation, salt: tag } => {
            swap(store.reset_salt(AccountId(*account), *generation, salt(*tag)).await?)
        }
        Act::SetKey(change) => swap(set_key(store, change).await?),
        Act::PutKeyring { account, replaces, data } => {
            swap(store.put_keyring(AccountId(*account), staged(replaces.as_ref(), data)).await?)
        }
        Act::AddPassword { account, name } => {
            let password = AppPassword {
                name: name.clone(),
                salt: vec![1; 16],
                iterations: 4096,
                stored_key: [2; 32],
                server_key: [3; 32],
                created: now,
            };
            store.add_app_password(AccountId(*account), password).await?;
            done()
        }
        Act::RevokePassword { account, name } => {
            store.revoke_app_password(AccountId(*account), name).await?;
            done()
        }
        Act::Secret { .. } => hex(&store.server_secret().await?),
        Act::Create { account, name } => {
            format!("mailbox {}", store.create_mailbox(AccountId(*account), name, None).await?.0)
        }
        Act::Delete { account, name } => {
            store.delete_mailbox(AccountId(*account), name).await?;
            done()
        }
        Act::Rename { account, from, to } => {
            store.rename_mailbox(AccountId(*account), from, to).await?;
            done()
        }
        Act::Subscribe { account, name, on } => {
            store.subscribe(AccountId(*account), name, *on).await?;
            done()
        }
        Act::Append { mailbox, messages } => {
            let messages = messages
                .iter()
                .map(|(octets, flags, keywords)| {
                    Ok(NewMessage {
                        body: body(store, *octets)?,
                        flags: Flags(*flags),
                        keywords: keywords.clone(),
                        internal_date: now,
                        index: index(*octets),
                        sketch: Sketch::default(),
                    })
                })
                .collect::<Result<_, StoreError>>()?;
            format!("{:?}", store.append(MailboxId(*mailbox), messages).await?.uids)
        }
        Act::Flag { mailbox, uids, how, flags, keywords, since } => {
            let how = [FlagChange::Replace, FlagChange::Add, FlagChange::Remove][usize::from(*how)];
            let mailbox = MailboxId(*mailbox);
            let (entries, left) =
                store.store_flags(mailbox, uids, how, Flags(*flags), keywords, *since).await?;
            let touched: Vec<u32> = entries.iter().map(|changed| changed.entry.uid).collect();
            format!("{touched:?} {left:?}")
        }
        Act::Copy { from, uids, to, remove } => {
            let (from, to) = (MailboxId(*from), MailboxId(*to));
            let copied = if *remove {
                store.move_messages(from, uids, to).await?
            } else {
                store.copy(from, uids, to).await?
            };
            format!("{:?}", copied.uids)
        }
        Act::Expunge { mailbox, uids } => {
            format!("{:?}", store.expunge(MailboxId(*mailbox), uids.as_deref()).await?)
        }
        Act::Quit { mailbox, uids } => format!("{:?}", store.remove(MailboxId(*mailbox), uids).await?),
        Act::Accept(accept) => {
            store.accept(accepted(store, accept, now)?).await?;
            done()
        }
        Act::Claim { now, lease, limit, .. } => {
            let lease = Duration::from_secs(u64::try_from(*lease).unwrap_or(0));
            let claimed = store.claim_due(Timestamp(*now), lease, *limit).await?;
            for entry in &claimed {
                // What is claimed is what is sent.
                Octets::of(&whole(&entry.entry.body)?).map_err(StoreError::Database)?;
            }
            format!("{:?}", claimed.iter().map(|entry| entry.id.0).collect::<Vec<_>>())
        }
        Act::Settle { id, rest, bounce } => {
            let bounce = match bounce {
                Some(bounce) => Some(accepted(store, bounce, now)?),
                None => None,
            };
            let settlement = match rest {
                Some((recipients, due)) => Settlement::Retry {
                    recipients: recipients.clone(),
                    due: Timestamp(*due),
                    error: "try later".into(),
                    bounce,
                },
                None => Settlement::Done { bounce },
            };
            store.settle(QueueId(*id), settlement).await?;
            done()
        }
    })
}

async fn set_key(store: &SqliteStore, change: &SetKey) -> Result<Swap, StoreError> {
    let (key, statement) = chain()[usize::from(change.key)].clone();
    let change_of_key = KeyChange {
        generation: change.generation,
        salt: change.salt.map(salt),
        key,
        statement: change.statement.then_some(statement),
        login: change.login.map(login),
        keyring: change.keyring.as_ref().map(|(replaces, data)| staged(replaces.as_ref(), data)),
    };
    store.set_key(AccountId(change.account), change_of_key).await
}

/// What is kept beside a message: its length in words, so that it can be told.
pub(crate) fn index(octets: Octets) -> Vec<u8> {
    format!("{octets:?}").into_bytes()
}

pub(crate) fn whole(body: &Body) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut body.reader()?, &mut bytes)?;
    Ok(bytes)
}

/// Octets in hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"))
}

/// Larger bodies are objects.
pub fn is_object(octets: Octets) -> bool {
    octets.len > INLINE_MAX
}
