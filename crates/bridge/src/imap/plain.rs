//! FETCH of messages that pass as the server keeps them. The server said at first that nothing in them has to be looked
//! at; what it says now must not differ: a message that turns out to need a verdict is not passed but opened.

use super::{
    Came, Result, Session,
    fetch::{Asked, unasked},
    guard::{self, Look},
    listing::Listed,
    wire::{Response, items, response},
};
use sealpost_proto::{
    address::Address,
    imap::{FetchItem, Tag},
    message::MAX_HEADER_OCTETS,
};
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite};

/// One response on its way to the mail program.
struct Passing<'a> {
    number: u32,
    signers: &'a [Address],
    /// Its beginning was said.
    begun: bool,
    /// Names of items that were passed.
    passed: Vec<Vec<u8>>,
    /// The message has to be opened.
    otherwise: bool,
}

/// Up to where responses were passed on.
enum Stop {
    /// To one whose message is not what it was said to be.
    Otherwise(Listed),
    /// To the end; and what the server refuses.
    Done(Option<Vec<u8>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// What the server says of messages that are as they are. Returns those that are not, of which as much as that was
    /// kept from the mail program; and what the server refuses.
    pub(super) async fn pass_plain(
        &mut self,
        asked: &Asked<'_>,
        plain: &[Listed],
        with_modseq: bool,
        signers: &[Address],
    ) -> Result<(Vec<Listed>, Option<Vec<u8>>)> {
        // The UID comes first, so that flags can be told before a long literal.
        let mut wanted = vec![FetchItem::Uid];
        wanted.extend(asked.items.iter().filter(|item| **item != FetchItem::Uid).cloned());
        if with_modseq && !wanted.contains(&FetchItem::ModSeq) {
            wanted.push(FetchItem::ModSeq);
        }
        let tag = self.send_fetch(plain, wanted).await?;
        let by_number: HashMap<u32, u32> = plain.iter().map(|listed| (listed.number, listed.uid)).collect();
        let mut otherwise = Vec::new();
        loop {
            match self.pass_up_to(&tag, &by_number, signers).await? {
                Stop::Otherwise(listed) => otherwise.push(listed),
                Stop::Done(refused) => return Ok((otherwise, refused)),
            }
        }
    }

    async fn pass_up_to(
        &mut self,
        tag: &Tag,
        plain: &HashMap<u32, u32>,
        signers: &[Address],
    ) -> Result<Stop> {
        loop {
            self.program.relieve().await?;
            let (mut line, mut long) = match self.server.next().await? {
                Came::Line(line) => (line, false),
                Came::Literal(line) => (line, true),
            };
            let (number, octets) = match response(&line) {
                Response::Tagged(found, rest) if found == tag.as_str() => {
                    return Ok(Stop::Done((!rest.starts_with(b"OK")).then(|| rest.to_vec())));
                }
                Response::Fetch(number, octets) => (number, octets),
                _ if long => return Err(unasked()),
                _ => {
                    self.aside(&line)?;
                    continue;
                }
            };
            let told = items(octets).and_then(|all| guard::uid(octets, &all));
            let Some(uid) = plain.get(&number).copied().filter(|uid| told.is_none_or(|told| told == *uid))
            else {
                // News of another message.
                self.pass(&line);
                if long {
                    self.skip_response().await?;
                }
                continue;
            };
            let mut passing = Passing { number, signers, begun: false, passed: Vec::new(), otherwise: false };
            let told = guard::told(octets, |_| self.verdict(uid));
            // From here on the response is written in pieces.
            self.amid = true;
            if !told.is_empty() {
                self.program.say(format!("* {number} FETCH (").as_bytes());
                self.program.say(&told);
                passing.begun = true;
            }
            let mut octets = octets.to_vec();
            loop {
                self.pass_items(&mut passing, &octets, long).await?;
                if !long {
                    break;
                }
                (line, long) = match self.server.next().await? {
                    Came::Line(line) => (line, false),
                    Came::Literal(line) => (line, true),
                };
                let rest = line.strip_suffix(b"\r\n").unwrap_or(&line);
                octets = if long { rest } else { rest.strip_suffix(b")").unwrap_or(rest) }.to_vec();
            }
            if passing.begun {
                self.program.say(b")\r\n");
            }
            self.amid = false;
            if passing.otherwise {
                tracing::warn!("the mail server tells otherwise of message {uid} than before; it is opened");
                return Ok(Stop::Otherwise(Listed { number, uid }));
            }
        }
    }

    /// Items of a response, or of a piece of one; where it is cut off, the last one's literal follows.
    async fn pass_items(&mut self, passing: &mut Passing<'_>, octets: &[u8], long: bool) -> Result<()> {
        let all = items(octets).ok_or_else(unasked)?;
        for (at, item) in all.iter().enumerate() {
            let (name, value) = (&octets[item.name.clone()], &octets[item.value.clone()]);
            let known =
                guard::is_own(name) || passing.passed.iter().any(|passed| passed.eq_ignore_ascii_case(name));
            let look = guard::look(name);
            if long && at + 1 == all.len() {
                return self.pass_long(passing, (name, value), look, known).await;
            }
            if known {
                continue;
            }
            let is_from = |value| {
                name.eq_ignore_ascii_case(b"ENVELOPE") && guard::envelope_is_from(value, passing.signers)
            };
            let content = super::wire::string(value).unwrap_or_default();
            if is_from(value) || look != Look::No && guard::tells_otherwise(look, &content, passing.signers) {
                passing.otherwise = true;
                continue;
            }
            self.begin_item(passing, name);
            self.program.say(value);
        }
        Ok(())
    }

    fn begin_item(&mut self, passing: &mut Passing<'_>, name: &[u8]) {
        if std::mem::replace(&mut passing.begun, true) {
            self.program.say(b" ");
        } else {
            self.program.say(format!("* {} FETCH (", passing.number).as_bytes());
        }
        passing.passed.push(name.to_vec());
        self.program.say(name);
        self.program.say(b" ");
    }

    /// An item whose literal is too long to be held: its header is looked at before any of it passes.
    async fn pass_long(
        &mut self,
        passing: &mut Passing<'_>,
        (name, announced): (&[u8], &[u8]),
        look: Look,
        known: bool,
    ) -> Result<()> {
        let mut start = Vec::new();
        while look != Look::No && start.len() <= MAX_HEADER_OCTETS {
            let Some(n) = self.server.literal().await? else { break };
            start.extend_from_slice(&self.server.cutter.input[..n]);
            self.server.cutter.passed(n);
            if look == Look::Header && guard::end_of_header(&start).is_some() {
                break;
            }
        }
        passing.otherwise |= !known && guard::tells_otherwise(look, &start, passing.signers);
        if known || passing.otherwise {
            return self.skip_literal().await;
        }
        self.begin_item(passing, name);
        self.program.say(announced.trim_ascii_end());
        self.program.say(b"\r\n");
        self.program.say(&start);
        self.pass_literal().await
    }
}
