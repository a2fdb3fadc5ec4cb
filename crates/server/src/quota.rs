//! How much an account may hold: what administrators write, and what is left of it.
//!
//! A limit is asked for before octets are taken. What is on its way at that moment is not counted, so that sessions that
//! store at the same time can go over it by a message each; RFC 9208 §3 has limits of that kind.

use crate::{config::Config, context::Context};
use sealpost_store::{
    StoreError,
    account::{AccountId, Quota, Quotas, Usage},
};

const WHAT: &str = "a quota is a number of octets (K, M, G and T for 1024 and its powers: `5G`), or `none`";
const HOW_MANY: &str = "a quota of messages is a number, or `none`";

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
    let octets = number_of(number).and_then(|n| n.checked_mul(1 << (10 * power))).ok_or(WHAT)?;
    // The store's numbers are signed.
    if octets > i64::MAX.unsigned_abs() { Err(WHAT) } else { Ok(Quota::AtMost(octets)) }
}

/// `100000`, `none`.
pub fn parse_messages(text: &str) -> Result<Quota, &'static str> {
    if text == "none" {
        return Ok(Quota::Unlimited);
    }
    match number_of(text) {
        Some(messages) if messages <= i64::MAX.unsigned_abs() => Ok(Quota::AtMost(messages)),
        _ => Err(HOW_MANY),
    }
}

fn number_of(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Limits, and what lies under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Octets that the account may hold.
    pub octets: Option<u64>,
    /// Messages that it may hold.
    pub messages: Option<u64>,
    /// What it holds.
    pub usage: Usage,
}

impl Held {
    /// Whether so much more fits. What takes no more of something is not kept out by it.
    pub fn has_room(self, octets: u64, messages: u64) -> bool {
        let fits = |limit: Option<u64>, held: u64, more: u64| {
            more == 0 || limit.is_none_or(|limit| held.saturating_add(more) <= limit)
        };
        fits(self.octets, self.usage.octets, octets) && fits(self.messages, self.usage.messages, messages)
    }

    /// Whether a message of so many octets never fits, however much is removed.
    pub fn never_fits(self, octets: u64) -> bool {
        self.octets.is_some_and(|limit| octets > limit) || self.messages == Some(0)
    }
}

/// What quotas come to: octets and messages, `None` where there is no limit.
pub fn limits(config: &Config, own: Quotas) -> (Option<u64>, Option<u64>) {
    let limit = |own: Quota, default: Quota| match if own == Quota::Default { default } else { own } {
        Quota::AtMost(limit) => Some(limit),
        Quota::Default | Quota::Unlimited => None,
    };
    let default = &config.accounts;
    (limit(own.octets, default.default_quota), limit(own.messages, default.default_message_quota))
}

/// What an account holds of what it may hold; `None` where it has no limit, and then nothing is counted.
pub async fn held(context: &Context, account: AccountId) -> Result<Option<Held>, StoreError> {
    let (octets, messages) = limits(&context.config, context.store.quotas(account).await?);
    if octets.is_none() && messages.is_none() {
        return Ok(None);
    }
    Ok(Some(Held { octets, messages, usage: context.store.usage(account).await? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_administrators_write() {
        for (text, want) in [
            ("none", Ok(Quota::Unlimited)),
            ("0", Ok(Quota::AtMost(0))),
            ("1000", Ok(Quota::AtMost(1000))),
            ("1K", Ok(Quota::AtMost(1024))),
            ("512M", Ok(Quota::AtMost(512 << 20))),
            ("5G", Ok(Quota::AtMost(5 << 30))),
            ("2T", Ok(Quota::AtMost(2 << 40))),
            ("9223372036854775807", Ok(Quota::AtMost(i64::MAX.unsigned_abs()))),
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
        for (text, want) in [
            ("none", Ok(Quota::Unlimited)),
            ("0", Ok(Quota::AtMost(0))),
            ("100000", Ok(Quota::AtMost(100_000))),
            ("9223372036854775807", Ok(Quota::AtMost(i64::MAX.unsigned_abs()))),
            ("9223372036854775808", Err(HOW_MANY)),
            ("5K", Err(HOW_MANY)),
            ("+1", Err(HOW_MANY)),
            ("", Err(HOW_MANY)),
        ] {
            assert_eq!(parse_messages(text), want, "{text}");
        }
    }

    #[test]
    fn room_ends_at_the_limit() {
        let usage = Usage { octets: 90, messages: 5 };
        let held = Held { octets: Some(100), messages: None, usage };
        assert!(held.has_room(10, 99) && !held.has_room(11, 1) && !held.has_room(u64::MAX, 1));
        assert!(!held.never_fits(100) && held.never_fits(101));
        let held = Held { octets: None, messages: Some(7), usage };
        assert!(held.has_room(99, 2) && !held.has_room(0, 3) && !held.has_room(1, u64::MAX));
        // Lowered since.
        let held = Held { octets: Some(80), messages: Some(4), usage };
        assert!(held.has_room(0, 0) && !held.has_room(1, 0) && !held.has_room(0, 1));
        assert!(!held.never_fits(80) && Held { messages: Some(0), ..held }.never_fits(1));
    }
}
