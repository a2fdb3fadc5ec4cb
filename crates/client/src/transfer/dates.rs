//! Dates of messages outside of IMAP: the `From_` line of an mbox, and the day a message was received.

use mail_parser::DateTime;
use sealpost_proto::{imap::Day, time::Timestamp};

const DAY_SECONDS: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
/// Zones that RFC 5322 §4.3 gives a meaning, in hours.
const ZONES: [(&str, i64); 11] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
];

/// The date of a `From_` line, given what follows `From `: `asctime` with or without a zone before or behind the year
/// (RFC 4155 appendix A and what programs write), or RFC 5322's order. Without a zone it is UTC, as RFC 4155 has it.
pub(crate) fn from_line(rest: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(rest).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().map(|w| w.trim_end_matches(',')).collect();
    // The sender may hold spaces and be called "Mon": the first place where a whole date stands is meant.
    (0..words.len()).find_map(|at| {
        let rest = &words[at + 1..];
        DAYS.iter()
            .any(|d| d.eq_ignore_ascii_case(words[at]))
            .then(|| asctime(rest).or_else(|| ordinary(rest)))?
    })
}

/// `Jan  1 00:00:00 [zone] 2024 [zone]`
fn asctime(words: &[&str]) -> Option<Timestamp> {
    let [month, day, time, rest @ ..] = words else { return None };
    let (mut year, mut zone) = (None, 0);
    for word in rest.iter().take(3) {
        if word.len() == 4 && year.is_none() && word.bytes().all(|b| b.is_ascii_digit()) {
            year = word.parse().ok();
        } else if let Some(seconds) = zone_seconds(word) {
            zone = seconds;
        } else {
            break;
        }
    }
    moment(year?, month, day, time, zone)
}

/// `1 Jan 2024 00:00:00 +0000`
fn ordinary(words: &[&str]) -> Option<Timestamp> {
    let [day, month, year, time, rest @ ..] = words else { return None };
    let year = (year.len() == 4).then(|| number(year))??;
    moment(year, month, day, time, rest.first().and_then(|w| zone_seconds(w)).unwrap_or(0))
}

fn moment(year: i64, month: &str, day: &str, time: &str, zone: i64) -> Option<Timestamp> {
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(month))?;
    let day = Day::new(year, u32::try_from(month + 1).ok()?, u32::try_from(number(day)?).ok()?)?;
    let mut parts = time.split(':').map(number);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(Timestamp(day.number() * DAY_SECONDS + hour * 3600 + minute * 60 + second.min(59) - zone))
}

/// At most two digits but for a year's four.
fn number(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn zone_seconds(word: &str) -> Option<i64> {
    if let Some((_, hours)) = ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Some(hours * 3600);
    }
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = number(&word[1..]).filter(|n| word.len() == 5 && n % 100 < 60)?;
    Some(sign * (digits / 100 * 3600 + digits % 100 * 60))
}

/// `Thu Jan  1 00:00:00 1970`, in UTC: inverse of [`from_line`] for the years that both know.
pub(crate) fn asctime_of(time: Timestamp) -> String {
    let day = Day::of(time);
    let (year, month, of_month) = day.civil();
    let weekday = usize::try_from(day.number().rem_euclid(7)).unwrap_or(0);
    let s = time.0.rem_euclid(DAY_SECONDS);
    format!(
        "{} {} {of_month:>2} {:02}:{:02}:{:02} {:04}",
        DAYS[weekday],
        MONTHS[month as usize - 1],
        s / 3600,
        s / 60 % 60,
        s % 60,
        year.clamp(1, 9999)
    )
}

/// When a message says that it was received: by its topmost Received field, else its Date.
pub(crate) fn received(head: &[u8]) -> Option<Timestamp> {
    let mut date = None;
    for (name, value) in fields(head) {
        if name.eq_ignore_ascii_case(b"Received") {
            let at = value.iter().rposition(|b| *b == b';')?;
            if let Some(time) = rfc5322(&value[at + 1..]) {
                return Some(time);
            }
        } else if name.eq_ignore_ascii_case(b"Date") && date.is_none() {
            date = rfc5322(&value);
        }
    }
    date
}

fn rfc5322(value: &[u8]) -> Option<Timestamp> {
    // The parser wants the end of the line.
    let text = format!("{}\n", String::from_utf8_lossy(value).trim());
    let parsed = DateTime::parse_rfc822(&text).filter(DateTime::is_valid)?;
    // A time zone of a hundred hours is no date, nor is the year 0.
    Some(Timestamp(parsed.to_timestamp())).filter(|t| (1..=9999).contains(&Day::of(*t).civil().0))
}

/// Names and unfolded values of a header, up to its end.
fn fields(head: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in head.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if let (b' ' | b'\t', Some((_, value))) = (line[0], all.last_mut()) {
            value.push(b' ');
            value.extend_from_slice(line.trim_ascii());
        } else if let Some(colon) = line.iter().position(|b| *b == b':') {
            all.push((line[..colon].trim_ascii().to_vec(), line[colon + 1..].trim_ascii().to_vec()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn from_lines_as_programs_write_them() {
        let t = Some(Timestamp(1_704_164_645));
        for (line, expected) in [
            // Python, Postfix, mutt; Thunderbird; Dovecot; Google Takeout; with a zone; RFC 5322's order.
            ("MAILER-DAEMON Tue Jan  2 03:04:05 2024", t),
            ("- Tue Jan 02 03:04:05 2024", t),
            ("alice@example.net Tue Jan 02 03:04:05 2024", t),
            ("1725899423523@xxx Tue Jan 02 03:04:05 +0000 2024", t),
            ("a@b Tue Jan  2 04:04:05 2024 +0100", t),
            ("a@b Mon Jan  1 22:04:05 EST 2024", t),
            ("a@b Tue Jan  2 03:04:05 2024 remote from uucp", t),
            ("\"A Mon\" Mon a@b Tue Jan  2 03:04:05 2024", t),
            ("a@b Tue, 2 Jan 2024 03:04:05 +0000", t),
            ("a@b tue jan 2 03:04 2024", Some(Timestamp(1_704_164_640))),
            ("a@b Tue Jan  2 03:04:05", None),
            ("a@b Tue Foo  2 03:04:05 2024", None),
            ("a@b Tue Feb 30 03:04:05 2024", None),
            ("a@b Tue Jan  2 24:00:00 2024", None),
            ("here to there", None),
            ("Tuesday to Thursday", None),
            ("", None),
        ] {
            assert_eq!(from_line(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_message_was_received_when_its_last_server_says() {
        for (head, expected) in [
            (
                "Received: from x\r\n by y with ESMTP;\r\n\tTue, 2 Jan 2024 03:04:05 +0000\r\nReceived: a; Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n",
                Some(1_704_164_645),
            ),
            (
                "Date: Tue, 2 Jan 2024 04:04:05 +0100\n\nReceived: x; Mon, 1 Jan 2024 00:00:00 +0000\n",
                Some(1_704_164_645),
            ),
            ("Received: broken; yesterday\nDate: Tue, 2 Jan 2024 03:04:05 GMT\n\n", Some(1_704_164_645)),
            ("Subject: none\n\n", None),
            ("", None),
        ] {
            assert_eq!(received(head.as_bytes()), expected.map(Timestamp), "{head}");
        }
    }

    proptest! {
        #[test]
        fn written_dates_are_read_back(seconds in -62_135_596_800_i64..253_402_300_799) {
            let line = format!("MAILER-DAEMON {}", asctime_of(Timestamp(seconds)));
            prop_assert_eq!(from_line(line.as_bytes()), Some(Timestamp(seconds)));
        }
        #[test]
        fn never_panics(octets in proptest::collection::vec(any::<u8>(), 0..80), text in "(Received|Date): [a-z;]{0,4}[0-9A-Za-z:+, -]{0,40}\r\n") {
            let _ = (from_line(&octets), received(&octets), received(text.as_bytes()));
        }
    }
}
