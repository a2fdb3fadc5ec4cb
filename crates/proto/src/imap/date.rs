//! Dates: `date-time` of INTERNALDATE and APPEND, `date` of SEARCH, and the day of a Date header field.

use crate::time::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_SECONDS: i64 = 86_400;

/// A calendar day, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// Checks the date; years 1 to 9999.
    pub fn new(year: i64, month: u32, day: u32) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let longest = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=9999).contains(&year) || !(1..=longest).contains(&day) {
            return None;
        }
        // Days from the civil calendar: years start in March, so that the leap day is the last of its year.
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let of_era = y.rem_euclid(400);
        let of_year =
            (153 * (i64::from(month) + if month > 2 { -3 } else { 9 }) + 2) / 5 + i64::from(day) - 1;
        Some(Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468))
    }
    /// The day of a moment, in UTC.
    pub fn of(time: Timestamp) -> Self {
        Self(time.0.div_euclid(DAY_SECONDS))
    }
    /// Days since 1970-01-01.
    pub fn number(self) -> i64 {
        self.0
    }
    /// Inverse of [`Day::number`].
    pub fn from_number(days: i64) -> Self {
        Self(days)
    }
    /// Year, month, day.
    pub fn civil(self) -> (i64, u32, u32) {
        let days = self.0.saturating_add(719_468);
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let m = (5 * of_year + 2) / 153;
        let day = u32::try_from(of_year - (153 * m + 2) / 5 + 1).unwrap_or(1);
        let month = u32::try_from(if m < 10 { m + 3 } else { m - 9 }).unwrap_or(1);
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }
    /// `date = date-day "-" date-month "-" date-year`
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || year.len() != 4 || day.is_empty() || day.len() > 2 {
            return None;
        }
        Self::new(digits(year)?, month_number(month)?, u32::try_from(digits(day)?).ok()?)
    }
}

/// `1-Jan-2026`
impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{day}-{}-{year:04}", MONTHS[month as usize - 1])
    }
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn month_number(name: &str) -> Option<u32> {
    let at = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))?;
    u32::try_from(at + 1).ok()
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE`, without the quotes.
pub fn parse_date_time(text: &str) -> Option<Timestamp> {
    if text.len() != 26 || !text.is_ascii() {
        return None;
    }
    let (date, rest) = text.split_at(11);
    let mut rest = rest.strip_prefix(' ')?.split(' ');
    let (time, zone) = (rest.next()?, rest.next()?);
    let day = Day::parse(date.strip_prefix(' ').unwrap_or(date))?;
    let seconds = time_of_day(time)?;
    Some(Timestamp(day.0 * DAY_SECONDS + seconds - zone_seconds(zone)?))
}

/// `hh:mm[:ss]` in seconds; a leap second counts as the one before it.
fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let mut next = |highest: i64| {
        let part = parts.next()?;
        if part.len() > 2 { None } else { digits(part).filter(|n| *n <= highest) }
    };
    let (hour, minute) = (next(23)?, next(59)?);
    let second = if text.matches(':').count() == 2 { next(60)? } else { 0 };
    (text.matches(':').count() <= 2).then_some(hour * 3600 + minute * 60 + second.min(59))
}

fn zone_seconds(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let number = digits(&text[1..]).filter(|n| text.len() == 5 && n % 100 < 60)?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// `01-Feb-2026 03:04:05 +0000`, always in UTC.
pub fn date_time(time: Timestamp) -> String {
    let (year, month, day) = Day::of(time).civil();
    let s = time.0.rem_euclid(DAY_SECONDS);
    let year = year.clamp(0, 9999);
    let month = MONTHS[month as usize - 1];
    format!("{day:02}-{month}-{year:04} {:02}:{:02}:{:02} +0000", s / 3600, s / 60 % 60, s % 60)
}

/// The day a Date header field names, without regard to time and zone (RFC 9051 §6.4.4, SENTON).
/// Takes RFC 5322 and its obsolete forms: `[Mon,] 23 Nov 2026 …`, two-digit years.
pub fn header_day(value: &str) -> Option<Day> {
    let value = value.split_once(',').map_or(value, |(_, rest)| rest);
    let mut words = value.split(|c: char| c.is_whitespace() || c == '-').filter(|w| !w.is_empty());
    let day = u32::try_from(digits(words.next()?)?).ok()?;
    let month = month_number(words.next()?.get(..3)?)?;
    let text = words.next()?;
    let year = digits(text)?;
    // RFC 5322 §4.3.
    let year = match text.len() {
        2 if year < 50 => year + 2000,
        2 | 3 => year + 1900,
        _ => year,
    };
    Day::new(year, month, day)
}

/// The moment a Date header field names, as SORT and THREAD compare it (RFC 5256 §2.2): without a valid time it is
/// 00:00:00, without a valid zone UTC.
pub fn header_time(value: &str) -> Option<Timestamp> {
    let day = header_day(value)?;
    let mut words = value.split_whitespace().skip_while(|word| !word.contains(':'));
    let time = words.next().and_then(time_of_day).unwrap_or(0);
    let zone = words.next().and_then(|word| zone_seconds(word).or_else(|| named_zone(word))).unwrap_or(0);
    Some(Timestamp(day.0 * DAY_SECONDS + time - zone))
}

/// `obs-zone` (RFC 5322 §4.3); military letters say nothing, as people got them wrong.
fn named_zone(name: &str) -> Option<i64> {
    let hours = match name.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => return None,
    };
    Some(hours * 3600)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_answers() {
        let t = parse_date_time("17-Jul-1996 02:44:25 -0700").unwrap();
        assert_eq!(t.0, 837_596_665);
        assert_eq!(date_time(t), "17-Jul-1996 09:44:25 +0000");
        assert_eq!(parse_date_time(" 1-Jan-1970 00:00:00 +0000"), Some(Timestamp(0)));
        assert_eq!(date_time(Timestamp(-1)), "31-Dec-1969 23:59:59 +0000");
        assert_eq!(Day::parse("1-Feb-1994").unwrap().to_string(), "1-Feb-1994");
        assert_eq!(Day::parse("29-feb-2024"), Day::new(2024, 2, 29));
    }

    #[test]
    fn refusals() {
        for bad in [
            "",
            "1-Feb-94",
            "30-Feb-2024",
            "29-Feb-2023",
            "0-Jan-2024",
            "1-Foo-2024",
            "1-Jan-2024-",
            "001-Jan-2024",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        for bad in [
            "17-Jul-1996 24:44:25 -0700",
            "17-Jul-1996 02:44:25 0700",
            "17-Jul-1996 02:44:25 -07000",
            "17-Jul-1996 02:44 -0700",
            "1-Jul-1996 02:44:25 -0700",
            "17-Jül-199 02:44:25 -0700",
            "17-Jul-1996 02:44:25 -0760",
        ] {
            assert_eq!(parse_date_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn header_days() {
        for (text, day) in [
            ("Mon, 23 Nov 2026 21:36:00 +0000", Some((2026, 11, 23))),
            (" 1 Jan 70 00:00 GMT", Some((1970, 1, 1))),
            ("3 march 105 x", Some((2005, 3, 3))),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(header_day(text).map(Day::civil), day, "{text}");
        }
    }

    #[test]
    fn header_times() {
        for (text, time) in [
            ("Thu, 1 Jan 1970 00:00:00 +0000", Some(0)),
            ("Thu, 1 Jan 1970 01:00:07 +0100 (CET)", Some(7)),
            ("1 Jan 1970 00:00 EST", Some(5 * 3600)),
            ("1-Jan-1970 00:00:00 -0130", Some(5400)),
            ("2 Jan 1970 25:00:00 +0000", Some(86_400)),
            ("2 Jan 1970 00:00:09 nowhere", Some(86_409)),
            ("2 Jan 1970", Some(86_400)),
            ("31 Dec 1969 23:59:59 GMT", Some(-1)),
            ("noon: today", None),
        ] {
            assert_eq!(header_time(text), time.map(Timestamp), "{text}");
        }
    }

    proptest! {
        #[test]
        fn civil_round_trip(days in -719_162_i64..2_932_896) {
            let (y, m, d) = Day(days).civil();
            prop_assert_eq!(Day::new(y, m, d), Some(Day(days)));
        }
        #[test]
        fn date_time_round_trip(seconds in -62_135_596_800_i64..253_402_300_799) {
            prop_assert_eq!(parse_date_time(&date_time(Timestamp(seconds))), Some(Timestamp(seconds)));
        }
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = (Day::parse(&text), parse_date_time(&text), header_day(&text), header_time(&text));
        }
    }
}
