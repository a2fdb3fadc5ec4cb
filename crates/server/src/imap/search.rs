//! SEARCH (RFC 9051 §6.4.4), ESEARCH (RFC 4731) and SEARCHRES (RFC 5182): decided from flags and numbers where that
//! is enough, then from sketches, which rule most messages out, then from the index, and from the octets only for what
//! is still open.

use super::{
    index::Index,
    narrow::{Needle, Search, needle},
    objectid,
    session::{Done, Refusal, Session, ok},
    sketch::Probe,
    text,
    view::{Pick, View, ranges},
};
use sealpost_proto::imap::{
    DateTest, Day, SearchKey, SearchReturn, SystemFlag, Tag,
    found::{self, asks_modseq, highest_modseq},
    response::Code,
};
use sealpost_proto::time::Timestamp;
use sealpost_store::mailbox::{Answers, ContentId, ContentReader, Flags, Message, Sketched, Uid, UidRange};
use std::{io, sync::Arc};

/// Messages that are looked through at a time.
const PART: u32 = 8192;

/// A key made ready: sets resolved, texts folded.
pub(super) enum Test {
    Known(bool),
    All(Vec<Test>),
    Either(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Flag(Flags, bool),
    Keyword(String, bool),
    Internal(DateTest, Day),
    /// INTERNALDATE is this or later; `false`: this or earlier (RFC 5032 §3).
    Within(Timestamp, bool),
    Sent(DateTest, Day),
    Saved(DateTest, Day),
    /// MODSEQ is at least this.
    ModSeq(u64),
    /// An EMAILID's content; `None` where it is none of ours.
    Content(Option<ContentId>),
    Larger(u64),
    Smaller(u64),
    Header(String, Needle),
    Body(Needle),
    Text(Needle),
    /// Ranges of UIDs, ascending: message numbers are resolved to them.
    Uids(Vec<UidRange>),
}

/// What may be looked at to decide.
#[derive(Clone, Copy, Default)]
pub(super) struct Sight<'a> {
    /// What the sketches say.
    pub(super) answers: Answers,
    pub(super) index: Option<&'a Index>,
    pub(super) content: Option<&'a dyn ContentReader>,
}

impl Session {
    /// SEARCH and UID SEARCH.
    pub(super) async fn search(
        &mut self,
        tag: &Tag,
        uid: bool,
        returns: Option<&[SearchReturn]>,
        charset: Option<&str>,
        key: &SearchKey,
    ) -> Result<Done, Refusal> {
        // RFC 9051 §6.4.4: without RETURN as with RETURN ().
        let returns = returns.or(self.enabled.rev2.then_some(&[]));
        let saves = returns.is_some_and(|r| r.contains(&SearchReturn::Save));
        if charset.is_some() && self.enabled.utf8 {
            // RFC 6855 §3: strings are in UTF-8 by then, and nothing else.
            return Err(Refusal::Bad("no CHARSET is named once UTF8=ACCEPT is enabled".to_owned()));
        }
        let found = self.find_for(returns, charset, key).await?;
        let modseq = highest_modseq(&found, returns.unwrap_or_default(), key);
        let uids: Vec<Uid> = found.into_iter().map(|(uid, _)| uid).collect();
        let view = self.view()?;
        let numbers: Vec<u32> =
            if uid { uids.clone() } else { uids.iter().filter_map(|uid| view.number_of(*uid)).collect() };
        if let Some(returns) = returns {
            if saves {
                view.saved = ranges(&found::saved(&uids, returns));
            }
            if returns != [SearchReturn::Save] {
                found::esearch(&mut self.out, (tag, uid), returns, &numbers, modseq);
            }
        } else {
            found::plain(&mut self.out, "SEARCH", &numbers, modseq);
        }
        ok("SEARCH done")
    }

    /// UIDs of the messages that match, ascending, and their MODSEQs, for a command that may save them.
    pub(super) async fn find_for(
        &mut self,
        returns: Option<&[SearchReturn]>,
        charset: Option<&str>,
        key: &SearchKey,
    ) -> Result<Vec<(Uid, u64)>, Refusal> {
        self.view()?;
        if asks_modseq(key) {
            self.enable_condstore();
        }
        let found = self.find_messages(charset, key).await;
        if found.is_err() && returns.is_some_and(|r| r.contains(&SearchReturn::Save)) {
            // RFC 5182 §2.1: a SEARCH that fails leaves nothing saved.
            self.view()?.saved.clear();
        }
        found
    }

    /// UIDs of the messages that match, ascending, and their MODSEQs.
    async fn find_messages(
        &mut self,
        charset: Option<&str>,
        key: &SearchKey,
    ) -> Result<Vec<(Uid, u64)>, Refusal> {
        let known = ["US-ASCII", "UTF-8"];
        if charset.is_some_and(|c| !known.iter().any(|k| k.eq_ignore_ascii_case(c))) {
            return Err(Refusal::no(Code::BadCharset, "this charset is not known"));
        }
        let now = self.ctx.clock.now();
        let view = self.numbered().await?;
        let search = Arc::new(Search::new(view, key, now)?);
        let test = &search.test;
        let pick = match test.within() {
            Some(ranges) => Pick { ranges: ranges.to_vec(), count: 0 },
            None => view.all(),
        };
        let (parts, id) = (view.parts(&pick, PART), view.id);
        let mut found = self.scan(&search, parts, id).await?;
        found.sort_unstable();
        Ok(found)
    }
}

/// Depth is bounded by the parser.
pub(super) fn prepare(
    view: &View,
    key: &SearchKey,
    now: Timestamp,
    probes: &mut Vec<Probe>,
) -> Result<Test, Refusal> {
    Ok(match key {
        SearchKey::All | SearchKey::Old | SearchKey::SaveDateSupported => Test::Known(true),
        // No message is \Recent here (RFC 9051 has done away with it), and none is in a thread that has a name
        // (RFC 8474 §5.2).
        SearchKey::New | SearchKey::Recent | SearchKey::ThreadId(_) => Test::Known(false),
        SearchKey::And(all) => {
            Test::All(all.iter().map(|k| prepare(view, k, now, probes)).collect::<Result<_, _>>()?)
        }
        SearchKey::Or(a, b) => {
            Test::Either(Box::new(prepare(view, a, now, probes)?), Box::new(prepare(view, b, now, probes)?))
        }
        SearchKey::Not(key) => Test::Not(Box::new(prepare(view, key, now, probes)?)),
        SearchKey::Flag(flag, on) => {
            let flag = match flag {
                SystemFlag::Seen => Flags::SEEN,
                SystemFlag::Answered => Flags::ANSWERED,
                SystemFlag::Flagged => Flags::FLAGGED,
                SystemFlag::Deleted => Flags::DELETED,
                SystemFlag::Draft => Flags::DRAFT,
            };
            Test::Flag(flag, *on)
        }
        SearchKey::Keyword(word, on) => Test::Keyword(word.as_str().to_owned(), *on),
        SearchKey::Internal(test, day) => Test::Internal(*test, *day),
        SearchKey::Sent(test, day) => Test::Sent(*test, *day),
        SearchKey::Saved(test, day) => Test::Saved(*test, *day),
        SearchKey::ModSeq { modseq, .. } => Test::ModSeq(*modseq),
        SearchKey::EmailId(id) => Test::Content(objectid::content(id)),
        SearchKey::Within(seconds, younger) => Test::Within(now.plus(-i64::from(seconds.get())), *younger),
        SearchKey::Larger(n) => Test::Larger(*n),
        SearchKey::Smaller(n) => Test::Smaller(*n),
        SearchKey::Header { field, value } => Test::Header(field.clone(), needle(probes, value, Some(field))),
        SearchKey::Body(value) => Test::Body(needle(probes, value, None)),
        SearchKey::Text(value) => Test::Text(needle(probes, value, None)),
        SearchKey::Uid(set) => Test::Uids(view.resolve(set, true)?.ranges),
        SearchKey::Sequence(set) => Test::Uids(view.resolve(set, false)?.ranges),
        _ => return Err(Refusal::Bad("this search key is not built".to_owned())),
    })
}

impl Test {
    /// Flags that a message must have, and flags that it must not have, as far as they are plain to see.
    pub(super) fn flags(&self) -> (Flags, Flags) {
        match self {
            Self::Flag(flag, true) => (*flag, Flags::default()),
            Self::Flag(flag, false) => (Flags::default(), *flag),
            Self::Not(test) => match **test {
                Self::Flag(flag, on) => Self::Flag(flag, !on).flags(),
                _ => Default::default(),
            },
            Self::All(all) => all
                .iter()
                .map(Self::flags)
                .fold(Default::default(), |(on, off), (more, less)| (on.union(more), off.union(less))),
            _ => Default::default(),
        }
    }

    /// Whether keywords have to be read.
    pub(super) fn wants_keywords(&self) -> bool {
        match self {
            Self::Keyword(..) => true,
            Self::All(all) => all.iter().any(Self::wants_keywords),
            Self::Either(a, b) => a.wants_keywords() || b.wants_keywords(),
            Self::Not(test) => test.wants_keywords(),
            _ => false,
        }
    }

    /// Whether more than a mark has to be read to decide.
    pub(super) fn wants_rest(&self) -> bool {
        match self {
            Self::Known(_) | Self::Flag(..) | Self::Keyword(..) | Self::Uids(_) | Self::ModSeq(_) => false,
            Self::All(all) => all.iter().any(Self::wants_rest),
            Self::Either(a, b) => a.wants_rest() || b.wants_rest(),
            Self::Not(test) => test.wants_rest(),
            _ => true,
        }
    }

    /// Whether a sketch of this kind can help, and the octets behind it are needed if it cannot.
    pub(super) fn asks(&self, which: Sketched) -> bool {
        match self {
            Self::Header(..) => which == Sketched::Header,
            Self::Body(_) => which == Sketched::Text,
            Self::Text(_) => true,
            Self::All(all) => all.iter().any(|test| test.asks(which)),
            Self::Either(a, b) => a.asks(which) || b.asks(which),
            Self::Not(test) => test.asks(which),
            _ => false,
        }
    }

    /// Ranges outside of which nothing matches, where they are plain to see.
    fn within(&self) -> Option<&[UidRange]> {
        match self {
            Self::Uids(ranges) => Some(ranges),
            Self::All(all) => all.iter().find_map(Self::within),
            _ => None,
        }
    }

    /// Three-valued: `None` is "needs a closer look".
    pub(super) fn decide(&self, message: &Message, sight: Sight<'_>) -> io::Result<Option<bool>> {
        let sighted = sight.index.zip(sight.content);
        Ok(Some(match self {
            Self::Known(known) => *known,
            Self::All(all) => {
                let mut open = false;
                for test in all {
                    match test.decide(message, sight)? {
                        Some(true) => {}
                        Some(false) => return Ok(Some(false)),
                        None => open = true,
                    }
                }
                return Ok((!open).then_some(true));
            }
            Self::Either(a, b) => {
                return Ok(match a.decide(message, sight)? {
                    Some(true) => Some(true),
                    a => match (a, b.decide(message, sight)?) {
                        (_, Some(true)) => Some(true),
                        (Some(false), Some(false)) => Some(false),
                        _ => None,
                    },
                });
            }
            Self::Not(test) => return Ok(test.decide(message, sight)?.map(|matches| !matches)),
            Self::Flag(flag, on) => message.flags.contains(*flag) == *on,
            Self::Keyword(word, on) => message.keywords.iter().any(|k| k.eq_ignore_ascii_case(word)) == *on,
            Self::Internal(test, day) => match message.rest {
                None => return Ok(None),
                Some(rest) => compare(*test, Day::of(rest.internal_date), *day),
            },
            Self::Within(then, younger) => match message.rest {
                None => return Ok(None),
                Some(rest) if *younger => rest.internal_date >= *then,
                Some(rest) => rest.internal_date <= *then,
            },
            Self::Sent(test, day) => match sight.index {
                None => return Ok(None),
                // Without a Date field nothing was sent on any day.
                Some(index) => index.sent.is_some_and(|sent| compare(*test, sent.day, *day)),
            },
            Self::Saved(test, day) => match message.rest {
                None => return Ok(None),
                Some(rest) => compare(*test, Day::of(rest.save_date), *day),
            },
            Self::ModSeq(modseq) => message.modseq >= *modseq,
            Self::Content(content) => match message.rest {
                None => return Ok(None),
                Some(rest) => Some(rest.content) == *content,
            },
            Self::Larger(n) => match message.rest {
                None => return Ok(None),
                Some(rest) => rest.size > *n,
            },
            Self::Smaller(n) => match message.rest {
                None => return Ok(None),
                Some(rest) => rest.size < *n,
            },
            Self::Uids(ranges) => {
                let after = ranges.partition_point(|(low, _)| *low <= message.uid);
                after.checked_sub(1).is_some_and(|at| message.uid <= ranges[at].1)
            }
            Self::Header(_, needle) if needle.is_ruled_out(sight.answers.header) => false,
            Self::Body(needle) if needle.is_ruled_out(sight.answers.text) => false,
            Self::Text(needle)
                if needle.is_ruled_out(sight.answers.header) && needle.is_ruled_out(sight.answers.text) =>
            {
                false
            }
            Self::Header(field, needle) => match sighted {
                None => return Ok(None),
                Some((index, content)) => text::header_has(index, content, field, &needle.text)?,
            },
            Self::Body(needle) => match sighted {
                None => return Ok(None),
                Some((index, content)) => text::body_has(index, content, &needle.text)?,
            },
            Self::Text(needle) => match sighted {
                None => return Ok(None),
                Some((index, content)) => text::text_has(index, content, &needle.text)?,
            },
        }))
    }
}

fn compare(test: DateTest, day: Day, with: Day) -> bool {
    match test {
        DateTest::Before => day < with,
        DateTest::On => day == with,
        DateTest::Since => day >= with,
    }
}
