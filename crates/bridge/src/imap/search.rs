//! SEARCH by content. The server searches what it can read; what was sealed is searched here. Each key that speaks of
//! content becomes
//!
//! ```text
//! KEY   →   OR (NOT UID opened KEY) UID found
//! ```
//!
//! where `opened` are the messages that the bridge opens and `found` those of them that match here; so flags, dates, all
//! forms of results and saved ones stay the server's.

use super::{Result, Session, listing::Listed, one_line};
use crate::{
    account::BridgeError,
    entry::{Entry, Keywords, Need},
};
use sealpost_client::open::field_text;
use sealpost_proto::{
    imap::{
        Body, Command, DateTest, Day, SearchKey, SearchReturn, SequenceSet, Tag, casemap::casemap,
        date::header_day,
    },
    message::Header,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest search sent to the server, in octets: under the 64 KiB that it takes in a line.
const SEARCH_MAX: usize = 60 * 1024;
/// Messages handled together.
const BATCH: usize = 500;

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

/// The key for the server; `found` has the UIDs that match each of the [`leaves`] here.
fn rewrite(
    key: &SearchKey,
    opened: Option<&SequenceSet>,
    found: &mut std::vec::IntoIter<Vec<u32>>,
) -> SearchKey {
    match key {
        SearchKey::And(keys) => SearchKey::And(keys.iter().map(|key| rewrite(key, opened, found)).collect()),
        SearchKey::Or(a, b) => {
            let a = rewrite(a, opened, found);
            SearchKey::Or(Box::new(a), Box::new(rewrite(b, opened, found)))
        }
        SearchKey::Not(key) => SearchKey::Not(Box::new(rewrite(key, opened, found))),
        key if is_content(key) => {
            let others = opened
                .map_or(SearchKey::All, |opened| SearchKey::Not(Box::new(SearchKey::Uid(opened.clone()))));
            let there = match key {
                // A verdict is the bridge's word alone: what was not opened has none.
                SearchKey::Keyword(_, true) => SearchKey::Not(Box::new(SearchKey::All)),
                SearchKey::Keyword(_, false) => others,
                key => SearchKey::And(vec![others, key.clone()]),
            };
            match SequenceSet::from_numbers(&found.next().unwrap_or_default()) {
                None => there,
                Some(here) => SearchKey::Or(Box::new(there), Box::new(SearchKey::Uid(here))),
            }
        }
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

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    pub(super) async fn search(&mut self, tag: &Tag, asked: Asked) -> Result<()> {
        let list = match self.list(asked.uid, SequenceSet::all(), None).await? {
            Ok(list) => list,
            Err(refusal) => {
                self.program.say(&[tag.as_str().as_bytes(), b" ", &refusal, b"\r\n"].concat());
                return Ok(());
            }
        };
        let mut keys = Vec::new();
        leaves(&asked.key, &mut keys);
        let mut opened = Vec::new();
        let mut found = vec![Vec::new(); keys.len()];
        for batch in list.chunks(BATCH) {
            match self.search_batch(batch, &keys, &mut opened, &mut found).await? {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!("{error}");
                    self.program.done(tag, &format!("NO [SERVERBUG] {}", one_line(&error.to_string())));
                    return Ok(());
                }
            }
        }
        let opened = SequenceSet::from_numbers(&opened);
        let key = rewrite(&asked.key, opened.as_ref(), &mut found.into_iter());
        let body = Body::Search { uid: asked.uid, returns: asked.returns, charset: asked.charset, key };
        if format!("{body:?}").len() > SEARCH_MAX {
            self.program.done(tag, "NO [LIMIT] Too many scattered messages match; search for less");
            return Ok(());
        }
        self.forward(&Command { tag: tag.clone(), body }).await?;
        Ok(())
    }

    async fn search_batch(
        &mut self,
        batch: &[Listed],
        keys: &[&SearchKey],
        opened: &mut Vec<u32>,
        found: &mut [Vec<u32>],
    ) -> Result<std::result::Result<(), BridgeError>> {
        let mut sorted = match self.sort(batch, need(keys)).await? {
            Ok(sorted) => sorted,
            Err(error) => return Ok(Err(error)),
        };
        if !sorted.unknown.is_empty() {
            // What is not indexed yet is read and opened now: the answer must not depend on how far the index is.
            if let Err(error) = self.open_all(&sorted.unknown).await? {
                return Ok(Err(error));
            }
            sorted = match self.sort(batch, need(keys)).await? {
                Ok(sorted) => sorted,
                Err(error) => return Ok(Err(error)),
            };
        }
        for (listed, entry) in &sorted.known {
            opened.push(listed.uid);
            for (key, found) in keys.iter().zip(found.iter_mut()) {
                if matches(key, entry) {
                    found.push(listed.uid);
                }
            }
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sealpost_proto::imap::Atom;
    use zeroize::Zeroizing;

    #[test]
    fn keys_are_split_between_server_and_bridge() {
        let subject = SearchKey::Header { field: "SUBJECT".into(), value: "x".into() };
        let key = SearchKey::And(vec![
            SearchKey::Recent,
            SearchKey::Not(Box::new(SearchKey::Or(
                Box::new(subject.clone()),
                Box::new(SearchKey::Body("y".into())),
            ))),
        ]);
        assert!(speaks_of_content(&key) && !speaks_of_content(&SearchKey::Not(Box::new(SearchKey::Recent))));
        let opened = SequenceSet::from_numbers(&[4, 5, 9]).unwrap();
        let rewritten = rewrite(&key, Some(&opened), &mut vec![vec![5], vec![]].into_iter());
        let others = SearchKey::Not(Box::new(SearchKey::Uid(opened)));
        let here = SearchKey::Uid(SequenceSet::from_numbers(&[5]).unwrap());
        let want = SearchKey::And(vec![
            SearchKey::Recent,
            SearchKey::Not(Box::new(SearchKey::Or(
                Box::new(SearchKey::Or(
                    Box::new(SearchKey::And(vec![others.clone(), subject])),
                    Box::new(here),
                )),
                Box::new(SearchKey::And(vec![others, SearchKey::Body("y".into())])),
            ))),
        ]);
        assert_eq!(rewritten, want);
        // Whatever the server says of verdicts counts for nothing.
        let signed = |set| SearchKey::Keyword(Atom::new("$signed").unwrap(), set);
        let none = |key: &SearchKey| rewrite(key, None, &mut vec![vec![]].into_iter());
        assert!(speaks_of_content(&signed(true)));
        assert_eq!(none(&signed(true)), SearchKey::Not(Box::new(SearchKey::All)));
        assert_eq!(none(&signed(false)), SearchKey::All);
        assert!(!speaks_of_content(&SearchKey::Keyword(Atom::new("mine").unwrap(), true)));
    }

    #[test]
    fn opened_messages_match_as_the_rfc_says() {
        let text = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let entry = Entry {
            keywords: Keywords::default(),
            size: 100,
            envelope: text(""),
            body: text(""),
            body_structure: text(""),
            head: Some(text(
                "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n aus Basel\r\nDate: Mon, 23 Nov 2026 23:30:00 -0500\r\nTo: bob@x\r\n\r\n",
            )),
            text: Some(Zeroizing::new(casemap("Hello Bob"))),
        };
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
