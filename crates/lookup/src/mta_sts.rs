//! MTA-STS (RFC 8461): the record, the policy, its fetching and its cache.

use crate::{dns::NoAnswer, https};
use sealpost_proto::{
    address::Domain,
    time::{Clock, Timestamp},
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Octets of a policy that are read; RFC 8461 §3.3 suggests 64 KiB.
pub(crate) const POLICY_MAX: usize = 64 * 1_024;
/// Seconds a policy may be kept (RFC 8461 §3.2: 31,557,600).
const MAX_AGE_MAX: i64 = 31_557_600;
/// Host patterns of one policy.
const PATTERNS_MAX: usize = 256;
/// Policies kept in memory.
const CACHE_MAX: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Enforce,
    Testing,
    None,
}

/// A domain's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    mode: Mode,
    patterns: Vec<String>,
    max_age_seconds: i64,
}

impl Policy {
    /// RFC 8461 §3.2: `key: value` lines ended by LF or CRLF; the first of a repeated key counts, but `mx`, which may
    /// repeat; unknown keys are passed over.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?;
        let (mut version, mut mode, mut max_age, mut patterns) = (None, None, None, Vec::new());
        for line in text.lines() {
            if line.trim().is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':')?;
            let value = value.trim_matches([' ', '\t']);
            match key {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if patterns.len() < PATTERNS_MAX => patterns.push(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        let mode = match mode? {
            "enforce" => Mode::Enforce,
            "testing" => Mode::Testing,
            "none" => Mode::None,
            _ => return None,
        };
        let max_age = max_age?;
        let digits = (1..=10).contains(&max_age.len()) && max_age.bytes().all(|b| b.is_ascii_digit());
        let max_age_seconds = digits.then(|| max_age.parse::<i64>().ok()).flatten()?.min(MAX_AGE_MAX);
        (version? == "STSv1" && (mode == Mode::None || !patterns.is_empty())).then_some(Self {
            mode,
            patterns,
            max_age_seconds,
        })
    }
    /// Whether the policy is in mode enforce and lists `server` (RFC 8461 §4.1: `*` stands for one whole left-most
    /// label).
    pub(crate) fn enforces(&self, server: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_prefix("*.") {
            Some(parent) => {
                server.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
            None => pattern == server,
        };
        self.mode == Mode::Enforce && self.patterns.iter().any(matches)
    }
}

/// The `id` of the one STSv1 record among `records`; with none or several there is no policy (RFC 8461 §3.1).
pub(crate) fn record_id(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|record| {
        let version = record.split(';').next().unwrap_or_default();
        version.trim() == "v=STSv1"
    });
    let record = ours.next()?;
    if ours.next().is_some() {
        return None;
    }
    let id = record.split(';').find_map(|field| field.trim().strip_prefix("id="))?.trim();
    let ok = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    ok.then(|| id.to_owned())
}

struct Cached {
    id: String,
    policy: Policy,
    until: Timestamp,
}

/// Policies fetched before, by domain; valid for their `max_age` as long as the record's id is the same.
#[derive(Default)]
pub(crate) struct Cache {
    policies: Mutex<HashMap<Domain, Cached>>,
}

impl Cache {
    /// The policy of `domain`, if it has one that can be had.
    pub(crate) async fn policy(
        &self,
        domain: &Domain,
        records: Result<Vec<String>, NoAnswer>,
        fetch: impl AsyncFnOnce() -> Result<Vec<u8>, https::Error>,
        clock: &dyn Clock,
    ) -> Option<Policy> {
        let now = clock.now();
        let cached = {
            let policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = policies.get(domain).filter(|cached| cached.until > now);
            kept.map(|cached| (cached.id.clone(), cached.policy.clone()))
        };
        let id = match records {
            Ok(records) => record_id(&records),
            Err(_) => None,
        };
        match (id, cached) {
            // A record that has vanished does not end a policy before its time (RFC 8461 §2, §5.1).
            (None, cached) => cached.map(|(_, policy)| policy),
            (Some(id), Some((known, policy))) if id == known => Some(policy),
            (Some(id), cached) => {
                let fetched = match fetch().await {
                    Ok(octets) => Policy::parse(&octets),
                    Err(error) => {
                        tracing::debug!(%domain, %error, "MTA-STS policy could not be fetched");
                        None
                    }
                };
                let Some(policy) = fetched else { return cached.map(|(_, policy)| policy) };
                let until = now.plus(policy.max_age_seconds);
                let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
                if policies.len() >= CACHE_MAX {
                    policies.retain(|_, cached| cached.until > now);
                }
                if policies.len() < CACHE_MAX || policies.contains_key(domain) {
                    policies.insert(domain.clone(), Cached { id, policy: policy.clone(), until });
                }
                Some(policy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    const POLICY: &str =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n";

    #[test]
    fn policies() {
        let policy = Policy::parse(POLICY.as_bytes()).unwrap();
        for (server, listed) in [
            ("mail.example.com", true),
            ("a.example.net", true),
            ("example.net", false),
            ("a.b.example.net", false),
            (".example.net", false),
            ("mail.example.com.evil", false),
        ] {
            assert_eq!(policy.enforces(server), listed, "{server}");
        }
        for bad in [
            "",
            "mode: enforce\nmx: a\nmax_age: 1\n",
            "version: STSv2\nmode: enforce\nmx: a\nmax_age: 1\n",
            "version: STSv1\nmode: strict\nmx: a\nmax_age: 1\n",
            "version: STSv1\nmode: enforce\nmax_age: 1\n",
            "version: STSv1\nmode: enforce\nmx: a\n",
            "version: STSv1\nmode: enforce\nmx: a\nmax_age: -1\n",
            "version: STSv1\nmode: enforce\nmx: a\nmax_age: 99999999999\n",
            "<html>\n",
        ] {
            assert_eq!(Policy::parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 1\nnew: x\n").is_some());
        assert_eq!(Policy::parse(b"\xff"), None);
    }

    #[test]
    fn records() {
        let id = |records: &[&str]| record_id(&records.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=1"]).as_deref(), Some("1"));
        for bad in [
            &["v=STSv1; id=1", "v=STSv1; id=2"][..],
            &["v=STSv1"],
            &["v=STSv1; id="],
            &["v=STSv1; id=a b"],
            &["v=STSv10; id=1"],
            &[],
        ] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }

    struct HandClock(AtomicI64);
    impl Clock for HandClock {
        fn now(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
    }

    #[tokio::test]
    async fn cache_by_id_and_age() {
        let (cache, clock) = (Cache::default(), HandClock(AtomicI64::new(0)));
        let domain = Domain::parse("example.net").unwrap();
        let record = |id: &str| Ok(vec![format!("v=STSv1; id={id}")]);
        let good = async || Ok(POLICY.as_bytes().to_vec());
        let fails = async || Err(https::Error::Status(404));
        let never = async || -> Result<Vec<u8>, https::Error> { panic!("fetched") };
        assert!(cache.policy(&domain, Err(NoAnswer::NoRecords), never, &clock).await.is_none());
        assert!(cache.policy(&domain, record("1"), fails, &clock).await.is_none());
        assert!(cache.policy(&domain, record("1"), good, &clock).await.is_some());
        assert!(cache.policy(&domain, record("1"), never, &clock).await.is_some());
        assert!(cache.policy(&domain, Err(NoAnswer::NoRecords), never, &clock).await.is_some());
        assert!(cache.policy(&domain, record("2"), fails, &clock).await.is_some(), "the old one holds");
        clock.0.store(604_801, Ordering::Relaxed);
        assert!(cache.policy(&domain, Err(NoAnswer::NoRecords), never, &clock).await.is_none());
        assert!(cache.policy(&domain, record("1"), fails, &clock).await.is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(octets: Vec<u8>, lines in "(version: STSv1|mode: (enforce|x)|mx: [*.a]{0,5}|max_age: [0-9]{0,12}|[:;]|\n){0,12}") {
            let _ = Policy::parse(&octets);
            if let Some(policy) = Policy::parse(lines.as_bytes()) {
                let _ = policy.enforces("a.a");
            }
            let _ = record_id(&[lines]);
        }
    }
}
