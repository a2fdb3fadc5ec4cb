//! `reply` and `forward`: what a new message takes over from another one. Of withheld content nothing is taken: not the
//! text, not the subject, and not the sender, who may be somebody else (profile §6).

use crate::{
    client::Client,
    compose::{Carried, ComposeError},
    error::ClientError,
    mailbox::imap_error,
    mime::file_name,
    open::{Content, Opened, Take, Verdict},
    read::{Judged, Place, Which, blocking},
    session::Session,
    spool::for_each_chunk,
    staged::Staging,
    state::State,
};
use sealpost_lookup::Lookup;
use sealpost_proto::address::{Address, Mailbox};
use std::io;

/// A message in a mailbox.
#[derive(Debug, Clone)]
pub struct MessageAt {
    /// Mailbox, usually INBOX.
    pub mailbox: String,
    /// Which.
    pub which: Which,
}

/// What goes along with a forwarded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carry {
    /// Its text at most.
    #[default]
    Nothing,
    /// Its attachments.
    Attachments,
    /// All of it, as a message in the message.
    Message,
}

/// The fields that tie a message to those it answers (RFC 5322 §3.6.4), ids with angle brackets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thread {
    /// In-Reply-To.
    pub in_reply_to: Option<String>,
    /// References, oldest first.
    pub references: Vec<String>,
}

/// The message that was answered or forwarded, to be marked as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub(crate) mailbox: String,
    pub(crate) uid_validity: u32,
    /// Its UID.
    pub uid: u32,
    /// Forwarded, else answered.
    pub(crate) forwarded: bool,
}

impl Link {
    /// The same, to be marked as forwarded.
    #[must_use]
    pub fn forwarded(self) -> Self {
        Self { forwarded: true, ..self }
    }
}

/// A message to answer or forward.
#[derive(Debug, Clone)]
pub struct Original {
    /// The verdict.
    pub verdict: Verdict,
    /// What else must be said, in words.
    pub notes: Vec<String>,
    /// What is in it; `None` where that is withheld.
    pub content: Option<Content>,
    /// What goes along.
    pub carried: Vec<Carried>,
    /// The ids that a message has which answers it.
    pub thread: Thread,
    /// To mark it.
    pub link: Link,
    /// One's own addresses, the primary one first.
    own: Vec<Address>,
}

impl Client {
    /// Fetches and judges a message that is to be answered or forwarded.
    pub(crate) async fn original_message(
        &self,
        at: &MessageAt,
        carry: Carry,
    ) -> Result<Original, ClientError> {
        let mut state = State::load(self).await?;
        let lookup = state.account.lookup(self)?;
        let mut session = None;
        let original = self.fetch_original(&mut state, &lookup, &mut session, at, carry).await;
        self.finish(state, &lookup, session).await?;
        original
    }

    pub(crate) async fn fetch_original(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        at: &MessageAt,
        carry: Carry,
    ) -> Result<Original, ClientError> {
        let mut mail = self.mail(state, lookup).await?;
        let selected = mail.examine(&at.mailbox).await.map_err(imap_error)?;
        let uid = crate::read::which(&mut mail, at.which, &at.mailbox).await?;
        let file = self.fetch(&mut mail, uid).await?;
        let _ = mail.logout().await;
        let place = Place { mailbox: &at.mailbox, uid_validity: selected.uid_validity, uid };
        let Judged { opened, message_id, .. } =
            self.judge(state, lookup, session, file, Some(&place)).await?;
        let (verdict, notes) = (opened.verdict, opened.notes.clone());
        let (content, carried) = match carry {
            Carry::Message if !verdict.is_withheld() => carried_whole(opened).await?,
            carry => {
                let take = if carry == Carry::Attachments { Take::Aside } else { Take::Nothing };
                blocking(move || {
                    let mut opened = opened;
                    let mut content = opened.content_with(false, &take)?;
                    let aside = content.iter_mut().flat_map(|content| content.aside.drain(..));
                    let carried = aside.map(|(part, octets)| Carried::attachment(&part, octets)).collect();
                    Ok((content, carried))
                })
                .await?
            }
        };
        let inside = content.as_ref().map(|content| content.message_id.clone());
        let id = inside.filter(|id| !id.is_empty()).or(message_id);
        let mut references = content.as_ref().map(|content| content.references.clone()).unwrap_or_default();
        references.extend(id.clone());
        Ok(Original {
            verdict,
            notes,
            content,
            carried,
            thread: Thread { in_reply_to: id, references },
            link: Link {
                mailbox: at.mailbox.clone(),
                uid_validity: selected.uid_validity,
                uid,
                forwarded: false,
            },
            own: state.own_keys().addresses,
        })
    }
}

/// The content, and the whole message to go along.
async fn carried_whole(opened: Opened) -> Result<(Option<Content>, Vec<Carried>), ClientError> {
    let work = move || -> Result<_, ClientError> {
        let mut opened = opened;
        let content = opened.content(false, None)?;
        let Some(message) = opened.forwarded() else { return Ok((content, Vec::new())) };
        let mut staging = Staging::new();
        let staged = message
            .reader(0)
            .and_then(|reader| for_each_chunk(reader, |chunk| staging.push(chunk)))
            .and_then(|()| staging.finish())
            .map_err(ComposeError::Io)?;
        let subject = content.as_ref().map(|content| content.subject.trim()).unwrap_or_default();
        let name = if subject.is_empty() { "message".to_owned() } else { subject.replace(['/', '\\'], "_") };
        let name = file_name::sanitised(&(name + ".eml"));
        let carried = Carried::message(&name, &staged).map_err(|error| match error {
            ComposeError::SignedEightBit | ComposeError::NotSevenBit(_) => ClientError::Refused(
                "the message cannot go along whole without breaking a signature in it; forward it without \
                 --as-attachment"
                    .to_owned(),
            ),
            error => error.into(),
        })?;
        Ok((content, vec![carried]))
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| ComposeError::Io(io::Error::other(e)))?
}

impl Original {
    /// Whom an answer goes to: To, and with `all` Cc. Never to oneself, unless nobody else is there.
    pub fn recipients(&self, all: bool) -> (Vec<Mailbox>, Vec<Mailbox>) {
        let Some(content) = &self.content else { return (Vec::new(), Vec::new()) };
        let is_own = |mailbox: &Mailbox| mailbox.canonical().is_of(&self.own);
        let [to, cc] = &content.recipients;
        // An answer to what one wrote oneself goes to whom it went.
        let (first, others): (&[Mailbox], Vec<&Mailbox>) = if self.is_from_self() && !to.is_empty() {
            (to, cc.iter().collect())
        } else {
            (&content.reply_to, to.iter().chain(cc).collect())
        };
        let mut known: Vec<Address> = Vec::new();
        let mut take = |list: Vec<&Mailbox>, own: bool| -> Vec<Mailbox> {
            let mut taken = Vec::new();
            for mailbox in list {
                let address = mailbox.canonical();
                if (own || !is_own(mailbox)) && !known.contains(&address) {
                    known.push(address);
                    taken.push(mailbox.clone());
                }
            }
            taken
        };
        let mut to = take(first.iter().collect(), false);
        if to.is_empty() {
            to = take(first.iter().collect(), true);
        }
        let cc = if all { take(others, false) } else { Vec::new() };
        (to, cc)
    }

    /// Which of one's own addresses an answer is From, with the `+detail` that it was written to: the first in To, else in
    /// Cc; for what one wrote oneself the one that it was from. `None` for the primary one, as where none is named.
    pub fn from(&self) -> Option<Mailbox> {
        let content = self.content.as_ref()?;
        let is_own = |mailbox: &&Mailbox| mailbox.canonical().is_of(&self.own);
        let [to, cc] = &content.recipients;
        let named = if self.is_from_self() { &content.reply_to } else { to };
        let from = named.iter().chain(cc).find(is_own)?;
        (Some(&from.canonical()) != self.own.first()).then(|| from.clone())
    }

    /// Whether one wrote it oneself.
    fn is_from_self(&self) -> bool {
        self.content.as_ref().is_some_and(|content| {
            !content.reply_to.is_empty() && content.reply_to.iter().all(|m| m.canonical().is_of(&self.own))
        })
    }

    /// `Re: …`; `None` where the content is withheld.
    pub fn reply_subject(&self) -> Option<String> {
        Some(prefixed(&self.content.as_ref()?.subject, "Re:", &["re:"]))
    }

    /// `Fwd: …`; the same.
    pub fn forward_subject(&self) -> Option<String> {
        Some(prefixed(&self.content.as_ref()?.subject, "Fwd:", &["fwd:", "fw:"]))
    }
}

/// The subject with a prefix, which it may have already.
fn prefixed(subject: &str, prefix: &str, known: &[&str]) -> String {
    let subject = subject.trim();
    let has =
        |known: &&str| subject.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
    if known.iter().any(has) { subject.to_owned() } else { format!("{prefix} {subject}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn boxes(text: &str) -> Vec<Mailbox> {
        text.split_whitespace().map(|a| Mailbox::parse(a).unwrap()).collect()
    }

    fn original(reply_to: &str, to: &str, cc: &str) -> Original {
        Original {
            verdict: Verdict::Good,
            notes: Vec::new(),
            content: Some(Content {
                reply_to: boxes(reply_to),
                recipients: [boxes(to), boxes(cc)],
                ..Content::default()
            }),
            carried: Vec::new(),
            thread: Thread::default(),
            link: Link { mailbox: "INBOX".into(), uid_validity: 1, uid: 1, forwarded: false },
            own: ["me@x.org", "sales@y.org"].map(|own| Address::parse(own).unwrap()).to_vec(),
        }
    }

    #[test]
    fn answers_go_to_everybody_but_oneself() {
        for (reply_to, to, cc, want_to, want_cc) in [
            ("a@x.org", "me@x.org b@x.org", "c@x.org", "a@x.org", "b@x.org c@x.org"),
            ("a@x.org", "Me+list@X.org a@x.org", "ME@x.org b@x.org b@x.org", "a@x.org", "b@x.org"),
            ("l@x.org m@x.org", "l@x.org", "", "l@x.org m@x.org", ""),
            // One's own message: to whom it went.
            ("me@x.org", "a@x.org", "b@x.org", "a@x.org", "b@x.org"),
            ("me@x.org", "me@x.org", "", "me@x.org", ""),
            ("me@x.org", "", "b@x.org", "me@x.org", "b@x.org"),
            ("", "a@x.org", "", "", "a@x.org"),
        ] {
            let original = original(reply_to, to, cc);
            assert_eq!(original.recipients(true), (boxes(want_to), boxes(want_cc)), "{reply_to} {to} {cc}");
            assert_eq!(original.recipients(false), (boxes(want_to), Vec::new()), "{reply_to} {to} {cc}");
        }
        let withheld = Original { content: None, ..original("a@x.org", "me@x.org", "") };
        assert_eq!(withheld.recipients(true), (Vec::new(), Vec::new()));
        assert_eq!((withheld.reply_subject(), withheld.forward_subject()), (None, None));
    }

    #[test]
    fn answers_come_from_where_it_was_written_to() {
        for (reply_to, to, cc, want) in [
            ("a@x.org", "me@x.org", "", ""),
            ("a@x.org", "ME@X.org", "", ""),
            ("a@x.org", "b@x.org", "", ""),
            ("a@x.org", "", "", ""),
            ("a@x.org", "sales@y.org", "", "sales@y.org"),
            ("a@x.org", "b@x.org Sales@Y.org me@x.org", "", "Sales@Y.org"),
            ("a@x.org", "b@x.org me@x.org sales@y.org", "", ""),
            ("a@x.org", "b@x.org", "c@x.org sales@y.org", "sales@y.org"),
            ("a@x.org", "me@x.org", "sales@y.org", ""),
            ("a@x.org", "Me+List@x.org", "", "Me+List@x.org"),
            ("a@x.org", "mean@x.org me@y.org", "", ""),
            // One's own message.
            ("sales@y.org", "b@x.org me@x.org", "", "sales@y.org"),
            ("me@x.org", "b@x.org", "sales@y.org", ""),
        ] {
            let original = original(reply_to, to, cc);
            assert_eq!(original.from(), boxes(want).pop(), "{reply_to} {to} {cc}");
        }
        let withheld = Original { content: None, ..original("a@x.org", "sales@y.org", "") };
        assert_eq!(withheld.from(), None);
    }

    #[test]
    fn prefixes_stand_once() {
        for (subject, reply, forward) in [
            ("x", "Re: x", "Fwd: x"),
            ("RE: x", "RE: x", "Fwd: RE: x"),
            ("fw: x", "Re: fw: x", "fw: x"),
            (" ", "Re: ", "Fwd: "),
            ("Reé", "Re: Reé", "Fwd: Reé"),
        ] {
            assert_eq!(prefixed(subject, "Re:", &["re:"]), reply);
            assert_eq!(prefixed(subject, "Fwd:", &["fwd:", "fw:"]), forward);
        }
    }
}
