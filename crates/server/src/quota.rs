//! How much an account may hold: what administrators write, and what is left of it.
//!
//! A limit is asked for before octets are taken. What is on its way at that moment is not counted, so that sessions that
//! store at the same time can go over it by a message each; RFC 9208 §3 has limits of that kind.

use crate::context::Context;
use sealpost_store::{
    StoreError,
    account::{AccountId, Quota, Usage},
};

const WHAT: &str = "a quota is a number of octets (K, M, G and T for 1024 and its powers: `5G`), or `none`";

/// `5G`, `512M`, `none`.
pub fn parse(text: &str) -> Result<Quota, &'static str> {
    if text == "none" {
        return Ok(Quota::Unlimited);
    }
    let (number, power) = match text.bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1),
        Some(b'M') => (&text[..text.len() - 1], 2),
        Some(b'G') => (&text[..text.len() - 1], 3),
        Some(b'T') => (&text[..text.len() - 1], 4),
        _ => (text, 0),
    };
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WHAT);
    }
    let octets = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << (10 * power))).ok_or(WHAT)?;
    // The store's numbers are signed.
    if octets > i64::MAX.unsigned_abs() { Err(WHAT) } else { Ok(Quota::Octets(octets)) }
}

/// A limit, and what lies under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Octets that the account may hold.
    pub limit: u64,
    /// What it holds.
    pub usage: Usage,
}

impl Held {
    /// Whether so many octets more fit.
    pub fn has_room(self, octets: u64) -> bool {
        self.usage.octets.saturating_add(octets) <= self.limit
    }
}

/// What an account holds of what it may hold; `None` where it has no limit, and then nothing is counted.
pub async fn held(context: &Context, account: AccountId) -> Result<Option<Held>, StoreError> {
    let limit = match context.store.quota(account).await? {
        Quota::Default => context.config.accounts.default_quota,
        own => own,
    };
    let Quota::Octets(limit) = limit else { return Ok(None) };
    Ok(Some(Held { limit, usage: context.store.usage(account).await? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_administrators_write() {
        for (text, want) in [
            ("none", Ok(Quota::Unlimited)),
            ("0", Ok(Quota::Octets(0))),
            ("1000", Ok(Quota::Octets(1000))),
            ("1K", Ok(Quota::Octets(1024))),
            ("512M", Ok(Quota::Octets(512 << 20))),
            ("5G", Ok(Quota::Octets(5 << 30))),
            ("2T", Ok(Quota::Octets(2 << 40))),
            ("9223372036854775807", Ok(Quota::Octets(i64::MAX.unsigned_abs()))),
            ("9223372036854775808", Err(WHAT)),
            ("99999999T", Err(WHAT)),
            ("", Err(WHAT)),
            ("G", Err(WHAT)),
            ("-1", Err(WHAT)),
            ("+1", Err(WHAT)),
            ("5 G", Err(WHAT)),
            ("5GB", Err(WHAT)),
            ("5é", Err(WHAT)),
            ("all", Err(WHAT)),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }

    #[test]
    fn room_ends_at_the_limit() {
        let held = Held { limit: 100, usage: Usage { octets: 90, messages: 1 } };
        assert!(held.has_room(10) && !held.has_room(11) && !held.has_room(u64::MAX));
    }
}
