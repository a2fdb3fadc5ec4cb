//! Changes of a store as clients ask for them.

use crate::body::Octets;

/// One change with everything settled. Ids are those that the store gives out. `Quit` is that of POP3: what DELE has
/// marked goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the store's own words")]
pub enum Act {
    CreateAccount { address: String, code: u8, expires: i64 },
    ResetAccount { address: String, code: u8, expires: i64 },
    RemoveAccount { address: String },
    SetAlias { alias: String, account: i64 },
    Enrol { address: String, code: u8, login: u8, now: i64 },
    ResetSalt { account: i64, generation: i64, salt: u8 },
    SetKey(SetKey),
    PutKeyring { account: i64, replaces: Option<Vec<u8>>, data: Vec<u8> },
    AddPassword { account: i64, name: String },
    RevokePassword { account: i64, name: String },
    Secret { told: String },
    Create { account: i64, name: String },
    Delete { account: i64, name: String },
    Rename { account: i64, from: String, to: String },
    Subscribe { account: i64, name: String, on: bool },
    Append { mailbox: i64, messages: Vec<(Octets, u8, Vec<String>)> },
    Flag { mailbox: i64, uids: Vec<u32>, how: u8, flags: u8, keywords: Vec<String>, since: Option<u64> },
    Copy { from: i64, uids: Vec<u32>, to: i64, remove: bool },
    Expunge { mailbox: i64, uids: Option<Vec<u32>> },
    Quit { mailbox: i64, uids: Vec<u32> },
    Accept(Accept),
    Claim { now: i64, lease: i64, limit: usize, any: bool },
    Settle { id: i64, rest: Option<(Vec<String>, i64)>, bounce: Option<Accept> },
}

/// SETPUBKEY and XPASSWD.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the store's own words")]
pub struct SetKey {
    pub account: i64,
    pub generation: i64,
    pub key: u8,
    pub salt: Option<u8>,
    pub login: Option<u8>,
    pub statement: bool,
    pub keyring: Option<(Option<Vec<u8>>, Vec<u8>)>,
}

/// An acceptance: one message for accounts and for other domains.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the store's own words")]
pub struct Accept {
    pub octets: Octets,
    pub from: Option<String>,
    pub local: Vec<i64>,
    pub remote: Vec<Vec<String>>,
    pub due: i64,
}
