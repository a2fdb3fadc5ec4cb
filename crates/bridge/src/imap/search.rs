//! SEARCH by content. The server searches what it can read; what was sealed is searched here. A key that speaks of content
//! becomes
//!
//! ```text
//! KEY   →   OR (NOT UID opened KEY) (UID opened KEY')
//! ```
//!
//! where `opened` are the messages that the bridge opens, and in KEY' each part that speaks of content is `UID found`: those
//! of them that match it here. So flags, dates, all forms of results and saved ones stay the server's. Where that is too
//! long for one command, it becomes several, and the bridge tells what they found (see [`super::results`]).

use super::{
    Names, Result, Session,
    fetch::Failure,
    listing::{self, Listed},
    results::Told,
    wire::{Response, response},
};
use crate::entry::{Entry, Keywords, Need};
use sealpost_client::open::field_text;
use sealpost_proto::{
    imap::{
        Body, Command, DateTest, Day, SEARCH_KEYS_MAX, SearchKey, SearchReturn, SeqNumber, SequenceSet, Tag,
        casemap::casemap, date::header_day,
    },
    message::Header,
};
use std::num::NonZeroU32;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest search sent to the server, in octets: under the 64 KiB that it takes in a line.
const SEARCH_MAX: usize = 60 * 1024;
/// Messages handled together.
pub(super) const BATCH: usize = 500;

/// Whether the server takes strings in this charset; ours are in UTF-8, of which ASCII is a part.
pub(super) fn is_known_charset(name: &str) -> bool {
    ["US-ASCII", "UTF-8"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Matches no message.
pub(super) fn nothing() -> SearchKey {
    SearchKey::Not(Box::new(SearchKey::All))
}

/// What the mail program asked.
pub(super) struct Asked {
    pub(super) uid: bool,
    pub(super) returns: Option<Vec<SearchReturn>>,
    pub(super) charset: Option<String>,
    pub(super) key: SearchKey,
}

/// Whether the answer depends on what is sealed.
pub(super) fn speaks_of_content(key: &SearchKey) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().any(speaks_of_content),
        SearchKey::Or(a, b) => speaks_of_content(a) || speaks_of_content(b),
        SearchKey::Not(key) => speaks_of_content(key),
        key => is_content(key),
    }
}

fn is_content(key: &SearchKey) -> bool {
    matches!(
        key,
        SearchKey::Header { .. }
            | SearchKey::Body(_)
            | SearchKey::Text(_)
            | SearchKey::Larger(_)
            | SearchKey::Smaller(_)
            | SearchKey::Sent(..)
    ) || matches!(key, SearchKey::Keyword(name, _) if Keywords::default().has(name.as_str()).is_some())
}

/// The keys that speak of content, in the order in which they stand.
fn leaves<'a>(key: &'a SearchKey, all: &mut Vec<&'a SearchKey>) {
    match key {
        SearchKey::And(keys) => keys.iter().for_each(|key| leaves(key, all)),
        SearchKey::Or(a, b) => {
            leaves(a, all);
            leaves(b, all);
        }
        SearchKey::Not(key) => leaves(key, all),
        key if is_content(key) => all.push(key),
        _ => {}
    }
}

/// What a key asks of messages that pass as they are: a verdict is the bridge's word alone, and they have none.
fn of_plain(key: &SearchKey) -> SearchKey {
    each_leaf(key, &mut |leaf| match leaf {
        SearchKey::Keyword(_, true) => nothing(),
        SearchKey::Keyword(_, false) => SearchKey::All,
        leaf => leaf.clone(),
    })
}

/// What it asks of opened ones; `found` has the UIDs that match each of the [`leaves`].
fn of_opened(key: &SearchKey, found: &[Vec<u32>]) -> SearchKey {
    let mut found = found.iter();
    each_leaf(key, &mut |_| {
        found.next().and_then(|uids| SequenceSet::from_numbers(uids)).map_or_else(nothing, SearchKey::Uid)
    })
}

/// The key with something else in the place of each of its [`leaves`].
fn each_leaf(key: &SearchKey, leaf: &mut dyn FnMut(&SearchKey) -> SearchKey) -> SearchKey {
    match key {
        SearchKey::And(keys) => SearchKey::And(keys.iter().map(|key| each_leaf(key, leaf)).collect()),
        SearchKey::Or(a, b) => {
            let a = each_leaf(a, leaf);
            SearchKey::Or(Box::new(a), Box::new(each_leaf(b, leaf)))
        }
        SearchKey::Not(key) => SearchKey::Not(Box::new(each_leaf(key, leaf))),
        key if is_content(key) => leaf(key),
        key => key.clone(),
    }
}

/// What of the index is needed to decide keys.
fn need(keys: &[&SearchKey]) -> Need {
    let one = |key: &&SearchKey| match key {
        SearchKey::Body(_) | SearchKey::Text(_) => Need::All,
        SearchKey::Header { .. } | SearchKey::Sent(..) => Need::Head,
        _ => Need::Brief,
    };
    keys.iter().map(one).max().unwrap_or(Need::Brief)
}

/// Whether the server takes it in one command.
fn fits(key: &SearchKey) -> bool {
    fn count(key: &SearchKey) -> usize {
        1 + match key {
            SearchKey::And(keys) => keys.iter().map(count).sum(),
            SearchKey::Or(a, b) => count(a) + count(b),
            SearchKey::Not(key) => count(key),
            _ => 0,
        }
    }
    let body = Body::Search { uid: true, returns: None, charset: None, key: key.clone() };
    count(key) <= SEARCH_KEYS_MAX && format!("{body:?}").len() <= SEARCH_MAX
}

/// Whether an opened message matches a key that speaks of content.
fn matches(key: &SearchKey, entry: &Entry) -> bool {
    let header = || Header::read(entry.head()).unwrap_or_default().0;
    match key {
        SearchKey::Larger(size) => entry.size > *size,
        SearchKey::Smaller(size) => entry.size < *size,
        SearchKey::Body(text) => has(entry.text(), &casemap(text)),
        SearchKey::Text(text) => {
            let text = casemap(text);
            has(entry.text(), &text)
                || header().fields().iter().any(|field| {
                    has(&casemap(&format!("{}: {}", field.name(), field_text(&field.unfolded()))), &text)
                })
        }
        SearchKey::Header { field, value } => {
            let value = casemap(value);
            header().all(field).any(|field| has(&casemap(&field_text(&field.unfolded())), &value))
        }
        SearchKey::Sent(test, day) => {
            let header = header();
            let date =
                header.first("Date").map(|field| String::from_utf8_lossy(&field.unfolded()).into_owned());
            date.and_then(|date| header_day(&date)).is_some_and(|sent| compare(*test, sent, *day))
        }
        SearchKey::Keyword(name, set) => entry.keywords.has(name.as_str()) == Some(*set),
        _ => false,
    }
}

fn compare(test: DateTest, sent: Day, day: Day) -> bool {
    match test {
        DateTest::Before => sent < day,
        DateTest::On => sent == day,
        DateTest::Since => sent >= day,
    }
}

fn has(text: &str, needle: &str) -> bool {
    needle.is_empty() || memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some()
}

/// What a search has to know of the open mailbox.
pub(super) struct Looked {
    /// All messages, ascending.
    list: Vec<Listed>,
    /// UIDs of those that are opened.
    pub(super) opened: Vec<u32>,
    /// For each of the [`leaves`], UIDs of opened messages that match.
    found: Vec<Vec<u32>>,
}

impl Looked {
    /// The search as the server is asked for it: in one command, or where that is too long, in several, each of which
    /// looks at some messages in a row. Messages that came since they were listed were not looked at, and are left out.
    pub(super) fn keys(&self, key: &SearchKey) -> std::result::Result<Vec<SearchKey>, Failure> {
        let whole = match self.halves(key, &self.list) {
            (plain, None) => plain,
            (plain, Some(opened)) => SearchKey::Or(Box::new(plain), Box::new(opened)),
        };
        if fits(&whole) {
            return Ok(vec![whole]);
        }
        let mut keys = Vec::new();
        let mut left = vec![self.list.as_slice()];
        while let Some(part) = left.pop() {
            let (plain, opened) = self.halves(key, part);
            if fits(&plain) && opened.as_ref().is_none_or(fits) {
                keys.push(plain);
                keys.extend(opened);
            } else if part.len() > 1 {
                let (first, second) = part.split_at(part.len() / 2);
                left.extend([second, first]);
            } else {
                return Err(Failure::Refused(b"NO [LIMIT] The search is too long".to_vec()));
            }
        }
        Ok(keys)
    }

    /// What is asked of plain and of opened messages among some in a row.
    fn halves(&self, key: &SearchKey, part: &[Listed]) -> (SearchKey, Option<SearchKey>) {
        let ends = part.first().zip(part.last());
        let ends = ends.and_then(|(a, b)| NonZeroU32::new(a.uid).zip(NonZeroU32::new(b.uid)));
        let Some((first, last)) = ends else { return (nothing(), None) };
        let within = |uids: &[u32]| {
            let start = uids.partition_point(|uid| *uid < first.get());
            let end = uids.partition_point(|uid| *uid <= last.get());
            uids.get(start..end).unwrap_or_default().to_vec()
        };
        let range = SequenceSet::Ranges(vec![(SeqNumber::Number(first), SeqNumber::Number(last))]);
        let mut plain = vec![SearchKey::Uid(range)];
        let opened = SequenceSet::from_numbers(&within(&self.opened));
        plain.extend(opened.clone().map(|opened| SearchKey::Not(Box::new(SearchKey::Uid(opened)))));
        plain.push(of_plain(key));
        let found: Vec<Vec<u32>> = self.found.iter().map(|uids| within(uids)).collect();
        let opened = opened.map(|o| SearchKey::And(vec![SearchKey::Uid(o), of_opened(key, &found)]));
        (SearchKey::And(plain), opened)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn search(&mut self, tag: &Tag, asked: &Asked) -> Result<()> {
        let done = self.search_both(tag, asked).await;
        self.searched(tag, asked.returns.as_deref(), done).await
    }

    async fn search_both(&mut self, tag: &Tag, asked: &Asked) -> std::result::Result<(), Failure> {
        let Asked { uid, returns, charset, key } = asked;
        let command = |charset: &Option<String>, key: &SearchKey| {
            let (returns, charset, key) = (returns.clone(), charset.clone(), key.clone());
            Command { tag: tag.clone(), body: Body::Search { uid: *uid, returns, charset, key } }
        };
        if charset.as_deref().is_some_and(|charset| !is_known_charset(charset)) {
            self.forward(&command(charset, key)).await?;
            return Ok(());
        }
        let looked = self.look_into(*uid, key).await?;
        if let [only] = looked.keys(key)?.as_slice() {
            self.forward(&command(charset, only)).await?;
            return Ok(());
        }
        let found = self.find(&looked, charset.as_deref(), key).await?;
        let told = Told { tag, uid: *uid, verb: "SEARCH", returns: returns.as_deref(), key };
        self.tell(&told, &found).await
    }

    /// Looks through the open mailbox for what a key asks of content. What is not indexed yet is read and opened now:
    /// the answer must not depend on how far the index is.
    pub(super) async fn look_into(
        &mut self,
        uid: bool,
        key: &SearchKey,
    ) -> std::result::Result<Looked, Failure> {
        let list = self.list(uid, SequenceSet::all(), None).await?.map_err(Failure::Refused)?;
        let mut keys = Vec::new();
        leaves(key, &mut keys);
        let (mut opened, mut found) = (Vec::new(), vec![Vec::new(); keys.len()]);
        for batch in list.chunks(BATCH) {
            if keys.is_empty() {
                let sorted = self.sort(batch, need(&keys)).await?;
                let known = sorted.known.iter().map(|(listed, _)| listed);
                opened.extend(known.chain(&sorted.unknown).map(|listed| listed.uid));
                continue;
            }
            for (listed, entry) in &self.entries(batch, need(&keys)).await? {
                opened.push(listed.uid);
                for (key, found) in keys.iter().zip(found.iter_mut()) {
                    if matches(key, entry) {
                        found.push(listed.uid);
                    }
                }
            }
        }
        opened.sort_unstable();
        Ok(Looked { list, opened, found })
    }

    /// The entries of those of these messages that are opened.
    pub(super) async fn entries(
        &mut self,
        batch: &[Listed],
        need: Need,
    ) -> std::result::Result<Vec<(Listed, Entry)>, Failure> {
        let sorted = self.sort(batch, need).await?;
        if sorted.unknown.is_empty() {
            return Ok(sorted.known);
        }
        self.open_all(&sorted.unknown).await?;
        Ok(self.sort(batch, need).await?.known)
    }

    /// The messages that match, ascending.
    pub(super) async fn find(
        &mut self,
        looked: &Looked,
        charset: Option<&str>,
        key: &SearchKey,
    ) -> std::result::Result<Vec<Listed>, Failure> {
        // SORT names one always; once UTF8=ACCEPT is enabled, SEARCH may name none (RFC 6855 §3).
        let charset = charset.filter(|_| self.names == Names::Utf7).map(str::to_owned);
        let mut found = Vec::new();
        for key in looked.keys(key)? {
            let (returns, charset) = (Some(vec![SearchReturn::All]), charset.clone());
            // By number: the server tells of no EXPUNGE meanwhile (RFC 9051 §7.5.1).
            self.request(Body::Search { uid: false, returns, charset, key }, |line| {
                let Response::Esearch(all) = response(line) else { return false };
                for (low, high) in listing::ranges(all) {
                    let start = looked.list.partition_point(|listed| listed.number < low);
                    let end = looked.list.partition_point(|listed| listed.number <= high);
                    found.extend_from_slice(looked.list.get(start..end).unwrap_or_default());
                }
                true
            })
            .await?;
        }
        found.sort_unstable_by_key(|listed| listed.number);
        found.dedup();
        Ok(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::entry::Brief;
    use sealpost_client::open::Again;
    use sealpost_proto::imap::Atom;
    use zeroize::Zeroizing;

    fn subject(value: &str) -> SearchKey {
        SearchKey::Header { field: "SUBJECT".into(), value: value.into() }
    }

    fn looked(uids: impl Iterator<Item = u32>, opened: &[u32], found: &[&[u32]]) -> Looked {
        let list = (1..).zip(uids).map(|(number, uid)| Listed { number, uid }).collect();
        Looked { list, opened: opened.to_vec(), found: found.iter().map(|uids| uids.to_vec()).collect() }
    }

    /// How it goes to the server.
    fn written(key: &SearchKey) -> String {
        let body = Body::Search { uid: true, returns: None, charset: None, key: key.clone() };
        format!("{body:?}").trim_start_matches("UID SEARCH ").to_owned()
    }

    #[test]
    fn keys_are_split_between_server_and_bridge() {
        let key = SearchKey::And(vec![
            SearchKey::Recent,
            SearchKey::Not(Box::new(SearchKey::Or(
                Box::new(subject("x")),
                Box::new(SearchKey::Body("y".into())),
            ))),
        ]);
        assert!(speaks_of_content(&key) && !speaks_of_content(&SearchKey::Not(Box::new(SearchKey::Recent))));
        let keys = |looked: Looked, key: &SearchKey| -> Vec<String> {
            looked.keys(key).unwrap_or_default().iter().map(written).collect()
        };
        assert_eq!(
            keys(looked(3..=9, &[4, 5, 9], &[&[5], &[]]), &key),
            ["OR (UID 3:9 NOT UID 4:5,9 (RECENT NOT OR SUBJECT x BODY y)) \
              (UID 4:5,9 (RECENT NOT OR UID 5 NOT ALL))"]
        );
        // Whatever the server says of verdicts counts for nothing.
        let signed = |set| SearchKey::Keyword(Atom::new("$signed").unwrap(), set);
        assert!(speaks_of_content(&signed(true)));
        assert_eq!(keys(looked(1..=2, &[], &[&[]]), &signed(true)), ["UID 1:2 NOT ALL"]);
        assert_eq!(keys(looked(1..=2, &[], &[&[]]), &signed(false)), ["UID 1:2 ALL"]);
        assert_eq!(
            keys(looked(1..=2, &[2], &[&[2]]), &signed(true)),
            ["OR (UID 1:2 NOT UID 2 NOT ALL) (UID 2 UID 2)"]
        );
        assert!(!speaks_of_content(&SearchKey::Keyword(Atom::new("mine").unwrap(), true)));
        // An empty mailbox.
        assert_eq!(keys(looked(std::iter::empty(), &[], &[&[]]), &subject("x")), ["NOT ALL"]);
    }

    /// Whether a message matches a key whose leaves are true of it as `plain` says.
    fn holds(key: &SearchKey, uid: u32, plain: &dyn Fn(&SearchKey) -> bool) -> bool {
        match key {
            SearchKey::All => true,
            SearchKey::And(keys) => keys.iter().all(|key| holds(key, uid, plain)),
            SearchKey::Or(a, b) => holds(a, uid, plain) || holds(b, uid, plain),
            SearchKey::Not(key) => !holds(key, uid, plain),
            SearchKey::Uid(set) => set.resolve(0).iter().any(|(low, high)| (*low..=*high).contains(&uid)),
            key => plain(key),
        }
    }

    #[test]
    fn scattered_messages_are_found_by_several_commands() {
        // Every other message is opened, and every fifth one matches.
        let opened: Vec<u32> = (1..60_000).filter(|uid| uid % 2 == 0).collect();
        let here: Vec<u32> = opened.iter().copied().filter(|uid| uid % 5 == 0).collect();
        let key = SearchKey::Not(Box::new(subject("x")));
        let looked = looked(1..60_000, &opened, &[&here]);
        let keys = looked.keys(&key).unwrap_or_default();
        assert!((4..64).contains(&keys.len()), "{}", keys.len());
        for key in &keys {
            assert!(fits(key) && written(key).len() <= SEARCH_MAX);
        }
        for uid in (1..60_000).step_by(77).chain([60_000, 70_000]) {
            let found = keys.iter().filter(|key| holds(key, uid, &|_| uid % 5 == 0)).count();
            assert_eq!(found, usize::from(uid % 5 != 0 && uid < 60_000), "{uid}");
        }
    }

    #[test]
    fn many_keys_go_in_two_commands_and_too_long_ones_not_at_all() {
        let many = |count| SearchKey::And(vec![subject("x"); count]);
        let found: Vec<Vec<u32>> = vec![vec![2]; SEARCH_KEYS_MAX];
        let looked = Looked { found, ..looked(1..=3, &[2], &[]) };
        // Seven stand around both halves.
        for (count, commands) in [
            ((SEARCH_KEYS_MAX - 9) / 2, Some(1)),
            ((SEARCH_KEYS_MAX - 8) / 2 + 1, Some(2)),
            (SEARCH_KEYS_MAX, None),
        ] {
            assert_eq!(looked.keys(&many(count)).ok().map(|keys| keys.len()), commands, "{count}");
        }
        for (octets, taken) in [(SEARCH_MAX - 100, true), (SEARCH_MAX, false)] {
            assert_eq!(looked.keys(&subject(&"x".repeat(octets))).is_ok(), taken, "{octets}");
        }
    }

    #[test]
    fn opened_messages_match_as_the_rfc_says() {
        let brief = Brief {
            keywords: Keywords::default(),
            size: 100,
            growth: 0,
            texts: [b""; 4],
            again: Again::not(),
        };
        let head = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n aus Basel\r\nDate: Mon, 23 Nov 2026 23:30:00 -0500\r\nTo: bob@x\r\n\r\n";
        let entry =
            Entry::of(brief, Zeroizing::new(head.as_bytes().to_vec()), Zeroizing::new(casemap("Hello Bob")));
        let header =
            |field: &str, value: &str| SearchKey::Header { field: field.into(), value: value.into() };
        for (key, want) in [
            (header("SUBJECT", "grü"), true),
            (header("subject", "e aus B"), true),
            (header("SUBJECT", "bob"), false),
            (header("To", ""), true),
            (header("Cc", ""), false),
            (SearchKey::Body("hELLO".into()), true),
            (SearchKey::Body("Basel".into()), false),
            (SearchKey::Text("Basel".into()), true),
            (SearchKey::Text("bob@X".into()), true),
            (SearchKey::Text("hello b".into()), true),
            (SearchKey::Larger(99), true),
            (SearchKey::Larger(100), false),
            (SearchKey::Smaller(100), false),
            (SearchKey::Smaller(101), true),
            (SearchKey::Sent(DateTest::On, Day::new(2026, 11, 23).unwrap()), true),
            (SearchKey::Sent(DateTest::Since, Day::new(2026, 11, 24).unwrap()), false),
            (SearchKey::Sent(DateTest::Before, Day::new(2026, 11, 24).unwrap()), true),
        ] {
            assert_eq!(matches(&key, &entry), want, "{key:?}");
        }
    }
}
