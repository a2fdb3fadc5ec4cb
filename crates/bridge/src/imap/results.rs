//! What SEARCH and SORT found, told by the bridge where one command of the server's does not tell it: the order is made
//! here, or the messages are too scattered to be named in one line.

use super::{
    End, Result, Session,
    fetch::{Failure, unasked},
    listing::{self, Listed},
    one_line,
    search::nothing,
    wire::{self, Item, Response, items, response},
};
use sealpost_proto::imap::{
    Body, Command, FetchItem, SearchKey, SearchReturn, SequenceSet, Tag,
    found::{self, asks_modseq, highest_modseq},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages named in one command: each takes at most 11 octets of the 64 KiB that the server takes in a line.
pub(super) const NAMED_MAX: usize = 5000;

/// Saved messages that are remembered.
const SAVED_MAX: usize = 100_000;

/// What a search saved (RFC 5182): another connection does not have it, and the server told nobody which messages it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Saved {
    #[default]
    Nothing,
    Uids(Vec<u32>),
    /// It cannot be saved again.
    Unknown,
}

/// Whether a command saves what it finds.
pub(super) fn saves(body: &Body) -> bool {
    match body {
        Body::Search { returns: Some(returns), .. } | Body::Sort { returns: Some(returns), .. } => {
            returns.contains(&SearchReturn::Save)
        }
        _ => false,
    }
}

/// What is told of what was found.
pub(super) struct Told<'a> {
    pub(super) tag: &'a Tag,
    /// UIDs instead of numbers.
    pub(super) uid: bool,
    /// `SEARCH` or `SORT`
    pub(super) verb: &'a str,
    pub(super) returns: Option<&'a [SearchReturn]>,
    /// What was searched for.
    pub(super) key: &'a SearchKey,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Sends a command of the bridge's own. Lines that `take` does not take are for the mail program.
    pub(super) async fn request(
        &mut self,
        body: Body,
        mut take: impl FnMut(&[u8]) -> bool + Send,
    ) -> std::result::Result<(), Failure> {
        let tag = self.server.tag();
        let mut before = Vec::new();
        let goes_on =
            self.server.command(&Command { tag: tag.clone(), body }, self.names, &mut before).await?;
        if !goes_on {
            let line = before.pop().unwrap_or_default();
            let text = line.strip_prefix(tag.as_str().as_bytes()).unwrap_or(&line);
            return Err(Failure::Refused(text.trim_ascii().to_vec()));
        }
        loop {
            let line = self.whole().await?;
            match response(&line) {
                Response::Tagged(found, rest) if found == tag.as_str() => {
                    return if rest.starts_with(b"OK") {
                        Ok(())
                    } else {
                        Err(Failure::Refused(rest.to_vec()))
                    };
                }
                _ if take(&line) => {}
                _ => {
                    self.aside(&line)?;
                    self.program.relieve().await?;
                }
            }
        }
    }

    /// The next response; of literals that are longer than what is held the octets are left out.
    async fn whole(&mut self) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            match self.server.next().await? {
                super::Came::Line(line) => {
                    whole.extend_from_slice(&line);
                    return Ok(whole);
                }
                super::Came::Literal(line) => {
                    whole.extend_from_slice(&line);
                    if whole.len() > wire::LIMITS.whole || !matches!(response(&whole), Response::Fetch(..)) {
                        return Err(unasked());
                    }
                    self.skip_literal().await?;
                }
            }
        }
    }

    /// Asks for items of messages; `each` gets what is told of one, and says whether it was what was asked for.
    pub(super) async fn items_of(
        &mut self,
        which: &[Listed],
        wanted: &[FetchItem],
        mut each: impl FnMut(Listed, &[u8], &[Item]) -> bool + Send,
    ) -> std::result::Result<(), Failure> {
        for part in which.chunks(NAMED_MAX) {
            let numbers: Vec<u32> = part.iter().map(|listed| listed.number).collect();
            let Some(set) = SequenceSet::from_numbers(&numbers) else { continue };
            let body = Body::Fetch { uid: false, set, items: wanted.to_vec(), changed_since: None };
            self.request(body, |line| {
                let Response::Fetch(number, octets) = response(line) else { return false };
                let Ok(at) = part.binary_search_by_key(&number, |listed| listed.number) else { return false };
                items(octets).is_some_and(|all| each(part[at], octets, &all))
            })
            .await?;
        }
        Ok(())
    }

    /// Tells what was found, in this order, and saves it where that was asked.
    pub(super) async fn tell(
        &mut self,
        told: &Told<'_>,
        order: &[Listed],
    ) -> std::result::Result<(), Failure> {
        // RFC 9051 §6.4.4: SEARCH without RETURN is as with RETURN ().
        let returns = told.returns.or((self.rev2 && told.verb == "SEARCH").then_some(&[]));
        let modseq = self.modseq(told, returns.unwrap_or_default(), order).await?;
        if let Some(returns) = returns.filter(|returns| returns.contains(&SearchReturn::Save)) {
            let uids: Vec<u32> = order.iter().map(|listed| listed.uid).collect();
            self.save(&found::saved(&uids, returns)).await?;
        }
        let number = |listed: &Listed| if told.uid { listed.uid } else { listed.number };
        let numbers: Vec<u32> = order.iter().map(number).collect();
        match returns {
            Some([SearchReturn::Save]) => {}
            Some(returns) => {
                found::esearch(&mut self.program.out, (told.tag, told.uid), returns, &numbers, modseq);
            }
            None => found::plain(&mut self.program.out, told.verb, &numbers, modseq),
        }
        self.program.done(told.tag, &format!("OK {} completed", told.verb));
        Ok(())
    }

    async fn modseq(
        &mut self,
        told: &Told<'_>,
        returns: &[SearchReturn],
        order: &[Listed],
    ) -> std::result::Result<Option<u64>, Failure> {
        if !asks_modseq(told.key) {
            return Ok(None);
        }
        let mut ascending = order.to_vec();
        ascending.sort_unstable_by_key(|listed| listed.number);
        let mut known = Vec::with_capacity(order.len());
        self.items_of(&ascending, &[FetchItem::Uid, FetchItem::ModSeq], |listed, octets, all| {
            let value = listing::value(octets, all, "MODSEQ");
            let digits = value.and_then(|value| value.strip_prefix(b"(")?.strip_suffix(b")"));
            let Some(modseq) = digits.and_then(listing::long_number) else { return false };
            known.push((listed.number, modseq));
            // With flags it is news of another session's doing.
            all.len() == 2
        })
        .await?;
        known.sort_unstable();
        let of = |listed: &Listed| known.binary_search_by_key(&listed.number, |(number, _)| *number);
        let found: Vec<(u32, u64)> =
            order.iter().map(|l| (l.uid, of(l).map_or(0, |at| known[at].1))).collect();
        Ok(highest_modseq(&found, returns, told.key))
    }

    /// Makes these UIDs the server's saved result, in as many steps as it takes to name them (RFC 5182 §2.1: `$` in a
    /// search that saves is still the old result).
    pub(super) async fn save(&mut self, uids: &[u32]) -> std::result::Result<(), Failure> {
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        let mut keys: Vec<SearchKey> =
            uids.chunks(NAMED_MAX).filter_map(SequenceSet::from_numbers).map(SearchKey::Uid).collect();
        if keys.is_empty() {
            keys.push(nothing());
        }
        for (n, key) in keys.into_iter().enumerate() {
            let key = match n {
                0 => key,
                _ => SearchKey::Or(Box::new(SearchKey::Sequence(SequenceSet::Saved)), Box::new(key)),
            };
            let returns = Some(vec![SearchReturn::Save]);
            self.request(Body::Search { uid: false, returns, charset: None, key }, |_| false).await?;
        }
        Ok(())
    }

    /// Asks which messages were saved, while the program waits for the end of the command that saved them: by FETCH, amid
    /// which message numbers do not change (RFC 9051 §7.5.1).
    pub(super) async fn learn_saved(&mut self) -> Result<()> {
        self.saved = Saved::Unknown;
        match self.list(false, SequenceSet::Saved, None).await {
            Ok(Ok(list)) if list.len() <= SAVED_MAX => {
                self.saved = Saved::Uids(list.iter().map(|listed| listed.uid).collect());
                Ok(())
            }
            // The command itself is done and told so: who needs the connection next notices.
            Ok(_) | Err(End::Lost(_)) => Ok(()),
            Err(end) => Err(end),
        }
    }

    /// Saves on a new connection what the last one had saved; `false` where that cannot be. Messages that are gone since
    /// fall out, as they do of what is saved (RFC 5182 §2.1).
    pub(super) async fn save_again(&mut self) -> Result<bool> {
        let uids = match &self.saved {
            Saved::Nothing => return Ok(true),
            Saved::Unknown => return Ok(false),
            Saved::Uids(uids) => uids.clone(),
        };
        match self.save(&uids).await {
            Ok(()) => Ok(true),
            Err(Failure::Session(end)) => Err(end),
            Err(_) => Ok(false),
        }
    }

    /// The end of a command that searched. One that failed leaves nothing saved (RFC 5182 §2.1).
    pub(super) async fn searched(
        &mut self,
        tag: &Tag,
        returns: Option<&[SearchReturn]>,
        done: std::result::Result<(), Failure>,
    ) -> Result<()> {
        let Err(failure) = done else { return Ok(()) };
        let reply = match failure {
            Failure::Session(end) => return Err(end),
            Failure::Command(error) => {
                tracing::warn!("{error}");
                format!("NO [SERVERBUG] {}", one_line(&error.to_string())).into_bytes()
            }
            Failure::Refused(reply) => reply,
        };
        if returns.is_some_and(|returns| returns.contains(&SearchReturn::Save))
            && let Err(Failure::Session(end)) = self.save(&[]).await
        {
            return Err(end);
        }
        self.program.say(&[tag.as_str().as_bytes(), b" ", &reply, b"\r\n"].concat());
        Ok(())
    }
}
