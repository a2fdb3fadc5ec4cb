//! Moments as the protocol writes them. The clock itself is handed in by the callers ([`Clock`]).

use jiff::{SignedDuration, civil::DateTime};

/// 9999-12-31T23:59:59Z: the last moment that four digits of year can write.
const LAST_SECOND: i64 = 253_402_300_799;
/// 0000-01-01T00:00:00Z: the first one.
const FIRST_SECOND: i64 = -62_167_219_200;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A moment in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `YYYY-MM-DDTHH:MM:SSZ`, the only form statements and keyrings take (profile §9). Moments outside the
    /// years 0000 to 9999 are written as the nearest one inside.
    pub fn to_rfc3339(self) -> String {
        let t = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }

    /// Inverse of [`Timestamp::to_rfc3339`]; any other spelling is refused.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        const FORM: &[u8; 20] = b"dddd-dd-ddTdd:dd:ddZ";
        let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
        let fits =
            |(have, want): (&u8, &u8)| if *want == b'd' { have.is_ascii_digit() } else { have == want };
        if !bytes.iter().zip(FORM).all(fits) {
            return None;
        }
        let two = |at: usize| text[at..at + 2].parse::<i8>().ok();
        let year = text[..4].parse::<i16>().ok()?;
        // `DateTime::new` refuses days a month does not have and the leap second 60.
        let civil = DateTime::new(year, two(5)?, two(8)?, two(11)?, two(14)?, two(17)?, 0).ok()?;
        Some(Self(civil.duration_since(EPOCH).as_secs()))
    }

    /// RFC 5322 §3.3 date-time in UTC: `Mon, 23 Nov 2026 21:36:00 +0000`.
    pub fn to_rfc5322(self) -> String {
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let t = self.civil();
        let weekday = usize::try_from(t.weekday().to_sunday_zero_offset()).unwrap_or_default();
        let month = usize::try_from(t.month() - 1).unwrap_or_default();
        format!(
            "{}, {} {} {:04} {:02}:{:02}:{:02} +0000",
            DAYS[weekday],
            t.day(),
            MONTHS[month],
            t.year(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }

    /// `self` moved by `seconds`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    fn civil(self) -> DateTime {
        let second = self.0.clamp(FIRST_SECOND, LAST_SECOND);
        // Both bounds lie inside jiff's years -9999 to 9999, so the fallback is never taken.
        EPOCH.checked_add(SignedDuration::from_secs(second)).unwrap_or(EPOCH)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms() {
        for (second, rfc3339, rfc5322) in [
            (0, "1970-01-01T00:00:00Z", "Thu, 1 Jan 1970 00:00:00 +0000"),
            (1_795_469_760, "2026-11-23T21:36:00Z", "Mon, 23 Nov 2026 21:36:00 +0000"),
            (951_782_399, "2000-02-28T23:59:59Z", "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400, "2000-02-29T00:00:00Z", "Tue, 29 Feb 2000 00:00:00 +0000"),
            (-1, "1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 +0000"),
            (LAST_SECOND, "9999-12-31T23:59:59Z", "Fri, 31 Dec 9999 23:59:59 +0000"),
            (FIRST_SECOND, "0000-01-01T00:00:00Z", "Sat, 1 Jan 0000 00:00:00 +0000"),
        ] {
            assert_eq!(Timestamp(second).to_rfc3339(), rfc3339);
            assert_eq!(Timestamp::from_rfc3339(rfc3339), Some(Timestamp(second)));
            assert_eq!(Timestamp(second).to_rfc5322(), rfc5322);
        }
        assert_eq!(Timestamp(i64::MAX).to_rfc3339(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp(i64::MIN).to_rfc3339(), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T21:36:00",
            "2026-11-23T21:36:00z",
            "2026-11-23t21:36:00Z",
            "2026-11-23 21:36:00Z",
            "2026-11-23T21:36:00+00:00",
            "2026-11-23T21:36:00.0Z",
            "2026-11-23T21:36:0Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T21:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "+026-11-23T21:36:00Z",
            "-001-11-23T21:36:00Z",
            " 2026-11-23T21:36:00Z",
            "2026-11-23T21:36:00Z\n",
            "2026-11-23T21:3\u{661}:0Z",
        ] {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(second in FIRST_SECOND..=LAST_SECOND) {
            let t = Timestamp(second);
            prop_assert_eq!(Timestamp::from_rfc3339(&t.to_rfc3339()), Some(t));
            prop_assert!(!t.to_rfc5322().is_empty());
        }

        #[test]
        fn never_panics(text in "\\PC{0,24}") {
            if let Some(t) = Timestamp::from_rfc3339(&text) {
                prop_assert_eq!(t.to_rfc3339(), text);
            }
        }
    }
}
