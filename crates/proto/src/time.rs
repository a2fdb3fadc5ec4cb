//! Moments as the protocol writes them. The clock itself is handed in by the callers ([`Clock`]).

/// A moment in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `YYYY-MM-DDTHH:MM:SSZ`, the only form statements and keyrings take (profile §9).
    pub fn to_rfc3339(self) -> String {
        todo!()
    }
    /// Inverse of [`Timestamp::to_rfc3339`]; any other spelling is refused.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let _ = text;
        todo!()
    }
    /// RFC 5322 §3.3 date-time in UTC: `Mon, 23 Nov 2026 21:36:00 +0000`.
    pub fn to_rfc5322(self) -> String {
        todo!()
    }
    /// `self` moved by `seconds`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// Where the time comes from: the system in a program, a hand-set value in tests, so that no test sleeps.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}
