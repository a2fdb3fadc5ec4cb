//! Who is asked for keys, in which order, and what is remembered of the answers (profile §8).

use crate::{
    client::Client,
    error::ClientError,
    session::{Session, smtp},
    state::State,
    trust::{
        pins::{self, Learnt, Observation, Pin},
        policy::{Answer, Source},
    },
};
use sealpost_lookup::{Binding, DirectAnswer, KeyAnswer, Lookup, LookupError};
use sealpost_proto::{
    address::{Address, Domain, Mailbox},
    statement::Chain,
};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// What a look-up gave for one address.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub mailbox: Mailbox,
    pub source: Source,
    pub answer: Answer,
}

impl Found {
    fn failed(mailbox: Mailbox, server: String, reason: String) -> Self {
        Self { mailbox, source: Source::Home { server }, answer: Answer::Failed(reason) }
    }
}

impl Client {
    /// Steps 1 to 4 of profile §8 for `mailboxes`, one connection for each domain, all domains at once. The answers
    /// come in the order of the question.
    pub(crate) async fn look_up(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        mailboxes: &[Mailbox],
    ) -> Vec<Found> {
        let mut domains: BTreeMap<Domain, Vec<Mailbox>> = BTreeMap::new();
        for mailbox in mailboxes {
            domains.entry(mailbox.domain()).or_default().push(mailbox.clone());
        }
        let mut asking = JoinSet::new();
        for (domain, mailboxes) in domains {
            let lookup = lookup.clone();
            asking.spawn(async move {
                let answer = lookup.keys(&domain, &mailboxes).await;
                (domain, mailboxes, answer)
            });
        }
        let mut found = Vec::new();
        while let Some(done) = asking.join_next().await {
            // A task that panicked leaves its addresses without an answer, which is told below.
            let Ok((domain, mailboxes, answer)) = done else { continue };
            match answer {
                Ok(answer) => found.extend(self.direct(state, &domain, answer)),
                // The domain itself says so: nobody else needs to be asked.
                Err(error @ LookupError::NoMail(_)) => {
                    let failed = |m| Found::failed(m, domain.to_string(), error.to_string());
                    found.extend(mailboxes.into_iter().map(failed));
                }
                Err(error) => {
                    let reason = error.to_string();
                    found.extend(self.through_home(state, lookup, session, mailboxes, &reason).await);
                }
            }
        }
        let mut ordered = Vec::with_capacity(mailboxes.len());
        for mailbox in mailboxes {
            let at = found.iter().position(|f| f.mailbox == *mailbox);
            ordered.push(match at {
                Some(at) => found.swap_remove(at),
                None => Found::failed(mailbox.clone(), String::new(), "the look-up was cut off".to_owned()),
            });
        }
        for found in &ordered {
            self.observe(state, found);
        }
        ordered
    }

    fn direct(&self, state: &mut State, domain: &Domain, answer: DirectAnswer) -> Vec<Found> {
        let source = source(state, domain, &answer);
        if let Source::Direct { unbound: None, keywords, .. } = &source
            && state.trust.learn_keywords(domain, keywords, self.env.clock.now())
        {
            state.trust.mark_dirty();
        }
        let found = |(mailbox, answer)| Found { mailbox, source: source.clone(), answer: translate(answer) };
        answer.answers.into_iter().map(found).collect()
    }

    /// Step 4: the home server asks.
    pub(crate) async fn through_home(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        mailboxes: Vec<Mailbox>,
        reason: &str,
    ) -> Vec<Found> {
        let result = async {
            let session = match session {
                Some(session) => session,
                None => session.insert(self.sign_in(state, lookup).await?),
            };
            let server = session.home.host().name.clone();
            let answers = lookup.keys_over(session.home.session(), &mailboxes).await.map_err(smtp)?;
            Ok::<_, ClientError>((server, answers))
        };
        match result.await {
            Ok((server, answers)) => {
                let found = |(mailbox, answer)| Found {
                    mailbox,
                    source: Source::Home { server: server.clone() },
                    answer: match translate(answer) {
                        Answer::Failed(second) if !reason.is_empty() => {
                            Answer::Failed(format!("{reason}; asked through {server}: {second}"))
                        }
                        answer => answer,
                    },
                };
                answers.into_iter().map(found).collect()
            }
            Err(error) => {
                let failed = |mailbox| {
                    Found::failed(
                        mailbox,
                        String::new(),
                        join(reason, &format!("the home server could not be asked: {error}")),
                    )
                };
                mailboxes.into_iter().map(failed).collect()
            }
        }
    }

    /// Remembers what was published, and lets a pin follow its statement chain.
    fn observe(&self, state: &mut State, found: &Found) {
        let address = found.mailbox.canonical();
        let now = self.env.clock.now();
        let authenticated = match &found.source {
            Source::Direct { unbound, .. } => unbound.is_none(),
            // A key of the home server's own domain counts as looked up directly (profile §6).
            Source::Home { .. } => address.domain() == state.account.address.domain(),
        };
        let (key, chain) = match &found.answer {
            Answer::Key(key, chain) => (Some(key.clone()), chain.clone()),
            Answer::NoKey => (None, Chain::default()),
            Answer::Failed(_) => return,
        };
        let observations = &mut state.trust.observations;
        observations.insert(address.clone(), Observation::new(now, authenticated, key.clone(), &chain));
        pins::bound(observations, &state.trust.pins);
        if let (Some(key), Some(pin)) = (key, state.trust.pins.get_mut(&address))
            && pin.key != key
            && chain.leads(&pin.key, &key)
        {
            *pin = Pin::new(key, now, Learnt::Chain, Some(pin));
            state.trust.mark_dirty();
        }
    }

    /// The look-up for one sender of a message that is read: contacts directly, strangers through the home server, so
    /// that reading does not tell a stranger's server that, and from where, the message is read.
    pub(crate) async fn look_up_sender(
        &self,
        state: &mut State,
        lookup: &Lookup,
        session: &mut Option<Session>,
        sender: &Address,
        as_written: &Mailbox,
    ) -> Option<String> {
        let found = if state.trust.pins.contains_key(sender) {
            self.look_up(state, lookup, session, std::slice::from_ref(as_written)).await
        } else {
            let found = self.through_home(state, lookup, session, vec![as_written.clone()], "").await;
            for found in &found {
                self.observe(state, found);
            }
            found
        };
        found.into_iter().find_map(|found| match found.answer {
            Answer::Failed(reason) => Some(reason),
            _ => None,
        })
    }
}

fn join(first: &str, second: &str) -> String {
    if first.is_empty() { second.to_owned() } else { format!("{first}; {second}") }
}

/// Who answered; a home server that the user confirmed counts as bound to its own domain.
fn source(state: &State, domain: &Domain, answer: &DirectAnswer) -> Source {
    let own = *domain == state.account.address.domain();
    let unbound = match &answer.host.binding {
        Binding::None(_) if own && state.account.confirmed_servers.contains(&answer.host.name) => None,
        Binding::None(reason) => Some(reason.clone()),
        _ => None,
    };
    Source::Direct { server: answer.host.name.clone(), unbound, keywords: answer.keywords.clone() }
}

pub(crate) fn translate(answer: KeyAnswer) -> Answer {
    match answer {
        KeyAnswer::Key(key, chain) => Answer::Key(key, chain),
        KeyAnswer::NoKey => Answer::NoKey,
        KeyAnswer::Failed(reason) => Answer::Failed(reason),
    }
}
