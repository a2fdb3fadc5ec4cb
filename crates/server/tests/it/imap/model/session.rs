//! A session, and what its client believes from the untagged responses that it got (RFC 9051 §5.2, §7.5.1).

use super::{
    super::harness::{Client, Server},
    modseq::Aware,
    script::{Set, Since},
    truth::{Flags, Message, State, Truth},
};
use std::{collections::BTreeMap, fmt::Write as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A message as the client knows it; its number is its place.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) uid: u32,
    /// As told; `None` before anything was.
    pub(super) flags: Option<Flags>,
    /// What it has been in truth since this session was last up to date: the server may answer from any.
    pub(super) been: Vec<State>,
}

/// A selected mailbox.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    pub(super) id: u64,
    pub(super) read_only: bool,
    pub(super) known: Vec<Known>,
    /// The highest UID ever known.
    pub(super) top: u32,
    /// MODSEQs as they were told, which commands guard themselves with; the first is HIGHESTMODSEQ.
    pub(super) heard: Vec<u64>,
    /// UIDs that the client was told are gone.
    pub(super) gone: Vec<u32>,
    /// What the last SEARCH saved (RFC 5182).
    pub(super) saved: Vec<u32>,
    /// How many messages the client was told of, where which ones is not followed (`together.rs`).
    pub(super) count: usize,
}

/// How untagged responses about messages are to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// No EXPUNGE may come now (RFC 9051 §7.5.1).
    pub(super) numbers_stay: bool,
    /// Nor VANISHED (RFC 7162 §3.2.10.2).
    pub(super) uids_stay: bool,
    /// What FETCH asked for is all that it must tell.
    pub(super) asked: bool,
}

impl Rules {
    pub(super) const FREE: Self = Self { numbers_stay: false, uids_stay: false, asked: false };

    /// Those of FETCH, STORE and SEARCH.
    pub(super) fn of(uid: bool) -> Self {
        Self { numbers_stay: !uid, uids_stay: !uid, asked: false }
    }
}

/// UIDs of a set such as `3:5,9`, in its order.
pub(super) fn numbers(set: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let ranges = set.split(',').map(|range| range.split_once(':').unwrap_or((range, range)));
    // The ends of a range may stand in any order (RFC 9051 §9, seq-range).
    let ranges = ranges.map(|(one, other)| (number(one), number(other)));
    ranges.flat_map(|(one, other)| one.min(other)..=one.max(other)).collect()
}

impl Selected {
    /// A MODSEQ that the client has heard, or one beside it; at least `least`.
    pub(super) fn modseq(&self, since: Since, least: u64) -> u64 {
        let heard = self.heard[usize::from(since.heard) % self.heard.len()];
        heard.saturating_add_signed(i64::from(since.beside)).max(least)
    }

    /// A set as it is written, and the UIDs it means. Empty for a mailbox without messages: nothing fits it.
    pub(super) fn resolve(&self, set: Set, uid: bool) -> (String, Vec<u32>) {
        let count = self.known.len();
        if let Set::Saved = set {
            let known = |uid: &&u32| self.known.iter().any(|known| known.uid == **uid);
            return ("$".to_owned(), self.saved.iter().filter(known).copied().collect());
        }
        if count == 0 {
            return (if uid { "4294967295" } else { "1" }.to_owned(), Vec::new());
        }
        let at = |n: u8| usize::from(n) % count;
        let write = |at: usize| if uid { self.known[at].uid.to_string() } else { (at + 1).to_string() };
        let (text, places): (String, Vec<usize>) = match set {
            Set::Saved => unreachable!("answered above"),
            Set::All => (format!("{}:{}", write(0), write(count - 1)), (0..count).collect()),
            Set::Last if uid => (write(count - 1), vec![count - 1]),
            Set::Last => ("*".to_owned(), vec![count - 1]),
            Set::One(n) => (write(at(n)), vec![at(n)]),
            Set::Range(a, b) => {
                let (low, high) = (at(a).min(at(b)), at(a).max(at(b)));
                // Written the way it was drawn: a range may run backwards.
                (format!("{}:{}", write(at(a)), write(at(b))), (low..=high).collect())
            }
            Set::Two(a, b) => {
                let mut places = vec![at(a), at(b)];
                places.sort_unstable();
                places.dedup();
                (format!("{},{}", write(at(a)), write(at(b))), places)
            }
        };
        (text, places.into_iter().map(|at| self.known[at].uid).collect())
    }

    fn place(&self, number: &str) -> Result<usize, String> {
        let number: usize = number.parse().map_err(|_| format!("{number} is no number"))?;
        if number == 0 || number > self.known.len() {
            return Err(format!("there is no message {number}; there are {}", self.known.len()));
        }
        Ok(number - 1)
    }

    /// One untagged response about messages.
    fn hear(
        &mut self,
        line: &str,
        truth: &mut Truth,
        rules: Rules,
        knows: Knows,
    ) -> Result<Option<Fetched>, String> {
        if let Some(set) = line.strip_prefix("* VANISHED ")
            && !set.starts_with("(EARLIER)")
        {
            let may = knows.qresync && !rules.uids_stay;
            return if may { self.vanish(set, truth).map(|()| None) } else { Err("VANISHED now".to_owned()) };
        }
        let mut words = line.splitn(4, ' ').skip(1);
        let (number, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match verb {
            "EXPUNGE" if rules.numbers_stay => Err("EXPUNGE while message numbers must stay".to_owned()),
            "EXPUNGE" if knows.qresync => Err("EXPUNGE where VANISHED was asked for".to_owned()),
            "EXPUNGE" => {
                let gone = self.known.remove(self.place(number)?);
                self.is_gone(gone.uid, truth).map(|()| None)
            }
            "EXISTS" => {
                let top = self.top;
                let mailbox = truth.mailboxes.get(&self.id);
                let new = mailbox.into_iter().flat_map(|mailbox| mailbox.messages.range(top + 1..));
                for (uid, message) in new {
                    self.top = *uid;
                    self.known.push(Known { uid: *uid, flags: None, been: vec![message.state()] });
                }
                if number == self.known.len().to_string() {
                    Ok(None)
                } else {
                    Err(format!("{number} EXISTS, where the client can know {}", self.known.len()))
                }
            }
            "FETCH" => {
                let at = self.place(number)?;
                let fetched = Fetched::parse(words.next().unwrap_or_default());
                self.learn(at, &fetched, truth)?;
                let bare = fetched.flags.is_some() && fetched.modseq.is_none();
                if !rules.asked && bare && knows.modseqs == Aware::Yes {
                    return Err(format!("no MODSEQ in {line}"));
                }
                if fetched.modseq.is_some() && knows.modseqs == Aware::No {
                    return Err(format!("nobody asked for MODSEQ: {line}"));
                }
                Ok(Some(Fetched { uid: Some(self.known[at].uid), ..fetched }))
            }
            _ => Ok(None),
        }
    }

    /// What a FETCH response tells of flags and MODSEQ: one of the states that the message has been in.
    fn learn(&mut self, at: usize, fetched: &Fetched, truth: &mut Truth) -> Result<(), String> {
        let known = &mut self.known[at];
        if fetched.uid.is_some_and(|uid| uid != known.uid) {
            return Err(format!("{} is UID {}, and was told to be {:?}", at + 1, known.uid, fetched.uid));
        }
        let mailbox = truth.mailboxes.get_mut(&self.id);
        let fits = |state: &State| {
            let modseq =
                |value| mailbox.as_ref().is_none_or(|m| m.modseqs.fits(known.uid, state.tick, value));
            fetched.flags.as_ref().is_none_or(|flags| *flags == state.flags)
                && fetched.modseq.is_none_or(modseq)
        };
        let Some(state) = known.been.iter().rev().find(|state| fits(state)) else {
            return Err(format!("UID {} never was {fetched:?}, but {:?}", known.uid, known.been));
        };
        if let (Some(value), Some(mailbox)) = (fetched.modseq, mailbox) {
            mailbox.modseqs.tell(known.uid, state.tick, value)?;
            self.heard.push(value);
        }
        if let Some(flags) = &fetched.flags {
            known.flags = Some(flags.clone());
        }
        Ok(())
    }

    /// VANISHED in place of EXPUNGE (RFC 7162 §3.2.10): only messages that the client knows.
    fn vanish(&mut self, set: &str, truth: &Truth) -> Result<(), String> {
        for uid in numbers(set) {
            let Some(at) = self.known.iter().position(|known| known.uid == uid) else {
                return Err(format!("VANISHED of UID {uid}, which the client does not know"));
            };
            self.known.remove(at);
            self.is_gone(uid, truth)?;
        }
        Ok(())
    }

    fn is_gone(&mut self, uid: u32, truth: &Truth) -> Result<(), String> {
        self.gone.push(uid);
        let there = truth.mailboxes.get(&self.id).is_some_and(|m| m.messages.contains_key(&uid));
        if there { Err(format!("UID {uid} is told to be gone, and is there")) } else { Ok(()) }
    }

    /// The client has just fetched everything.
    pub(super) fn knows_all(&mut self, messages: &BTreeMap<u32, Message>) {
        let known = messages.iter().map(|(uid, message)| Known {
            uid: *uid,
            flags: Some(message.flags.clone()),
            been: vec![message.state()],
        });
        let before = std::mem::replace(&mut self.known, known.collect());
        self.gone.extend(before.iter().map(|known| known.uid).filter(|uid| !messages.contains_key(uid)));
        self.top = self.top.max(messages.keys().last().copied().unwrap_or_default());
    }

    /// What must hold when the server has told everything.
    fn is_up_to_date(&mut self, truth: &Truth) -> Result<(), String> {
        let empty = BTreeMap::new();
        let messages = truth.mailboxes.get(&self.id).map_or(&empty, |mailbox| &mailbox.messages);
        let known: Vec<u32> = self.known.iter().map(|known| known.uid).collect();
        let there: Vec<u32> = messages.keys().copied().collect();
        if known != there {
            return Err(format!("the client believes in UIDs {known:?}, and there are {there:?}"));
        }
        for known in &mut self.known {
            let flags = &messages[&known.uid].flags;
            if known.flags.as_ref().is_some_and(|believed| believed != flags) {
                return Err(format!(
                    "the client believes that UID {} has {:?}, and it has {flags:?}",
                    known.uid, known.flags
                ));
            }
            known.been = vec![messages[&known.uid].state()];
        }
        Ok(())
    }
}

/// What decides how a session is told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Knows {
    pub(super) modseqs: Aware,
    pub(super) qresync: bool,
}

/// What a FETCH response tells.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) uid: Option<u32>,
    pub(super) flags: Option<Flags>,
    pub(super) size: Option<usize>,
    pub(super) modseq: Option<u64>,
    /// INTERNALDATE, with its quotes.
    pub(super) arrived: Option<String>,
    pub(super) saved: Option<String>,
    pub(super) body: Option<String>,
}

impl Fetched {
    pub(super) fn parse(items: &str) -> Self {
        let (head, body, tail) = match items.split_once("}\r\n") {
            Some((head, rest)) => {
                let (head, len) = head.rsplit_once('{').expect("a literal");
                let (body, tail) = rest.split_at(len.parse().expect("a length"));
                (head, Some(body.to_owned()), tail)
            }
            None => (items, None, ""),
        };
        let items = format!("{head} {tail}");
        let value = |name: &str| {
            let (_, rest) = items.split_once(name)?;
            rest.split([' ', ')']).next()?.parse().ok()
        };
        let date = |name: &str| Some(format!("\"{}\"", items.split_once(name)?.1.split('"').next()?));
        let flags = items.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')'));
        Self {
            uid: value("UID ").and_then(|uid: usize| u32::try_from(uid).ok()),
            flags: flags.map(|(flags, _)| flags.split_whitespace().map(str::to_ascii_lowercase).collect()),
            size: value("RFC822.SIZE "),
            modseq: value("MODSEQ (").and_then(|modseq: usize| u64::try_from(modseq).ok()),
            arrived: date("INTERNALDATE \""),
            saved: date("SAVEDATE \""),
            body,
        }
    }
}

/// Everything up to the tagged response; literals stand in their lines.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) untagged: Vec<String>,
    pub(super) tagged: String,
}

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        self.tagged.starts_with("OK")
    }

    /// The words of a response code, wherever it stands.
    pub(super) fn code(&self, name: &str) -> Option<Vec<String>> {
        let begin = format!("[{name} ");
        let lines = self.untagged.iter().filter(|line| line.starts_with("* OK [")).chain([&self.tagged]);
        let mut found = lines.filter_map(|line| line.split_once(&begin)?.1.split_once(']'));
        found.next().map(|(words, _)| words.split(' ').map(str::to_owned).collect())
    }

    /// The untagged response of a name, behind it.
    pub(super) fn rest(&self, name: &str) -> Option<&str> {
        let begin = format!("* {name}");
        self.untagged.iter().find_map(|line| line.strip_prefix(&begin))
    }
}

pub(super) struct Session {
    client: Client<TlsStream<TcpStream>>,
    /// Commands.
    sent: usize,
    answered: usize,
    /// BAD without an OK between them: a server ends a session that has too many.
    pub(super) faults: u32,
    pub(super) selected: Option<Selected>,
    pub(super) knows: Knows,
}

impl Session {
    pub(super) async fn new(server: &Server) -> Self {
        Self {
            client: server.session().await,
            sent: 0,
            answered: 0,
            faults: 0,
            selected: None,
            knows: Knows::default(),
        }
    }

    /// A command was sent that shows that the client knows MODSEQs.
    pub(super) fn speaks_of_modseqs(&mut self, answer: &Answer) {
        if answer.is_ok() {
            self.knows.modseqs = Aware::Yes;
        } else if self.knows.modseqs == Aware::No {
            self.knows.modseqs = Aware::Perhaps;
        }
    }

    /// A command and all that comes back.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Answer, String> {
        self.send(&[command]).await;
        self.answer(command).await
    }

    /// Sends commands at once; [`Session::answer`] is to be called for each.
    pub(super) async fn send(&mut self, commands: &[&str]) {
        let mut text = String::new();
        for command in commands {
            self.sent += 1;
            // Writing into a String cannot fail.
            let _ = write!(text, "c{} {command}\r\n", self.sent);
        }
        self.client.send(text).await;
    }

    /// The answer to the first command that has none.
    pub(super) async fn answer(&mut self, command: &str) -> Result<Answer, String> {
        self.answered += 1;
        let tag = format!("c{} ", self.answered);
        let mut untagged = Vec::new();
        loop {
            let mut line = self.client.line().await;
            while let Some(len) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) {
                let octets =
                    self.client.octets(len.1.parse().map_err(|_| format!("{line}: no literal"))?).await;
                line += "\r\n";
                line += &String::from_utf8_lossy(&octets);
                line += &self.client.line().await;
            }
            if line.is_empty() {
                return Err(format!("the connection ended in {command}: {untagged:?}"));
            }
            if let Some(tagged) = line.strip_prefix(&tag) {
                match tagged {
                    bad if bad.starts_with("BAD") => self.faults += 1,
                    ok if ok.starts_with("OK") => self.faults = 0,
                    _ => {}
                }
                return Ok(Answer { untagged, tagged: tagged.to_owned() });
            }
            if !line.starts_with("* ") {
                return Err(format!("neither tagged nor untagged: {line}"));
            }
            untagged.push(line);
        }
    }

    /// What FETCH responses say, which are taken in later.
    pub(super) fn overhear(&self, answer: &Answer) -> Vec<Fetched> {
        let known = self.selected.as_ref().map_or(&[][..], |selected| &selected.known);
        let lines = answer.untagged.iter().filter_map(|line| {
            let number = line.strip_prefix("* ")?.split_once(" FETCH (")?.0;
            let by_number = || Some(known.get(number.parse::<usize>().ok()?.checked_sub(1)?)?.uid);
            let fetched = Fetched::parse(line);
            Some(Fetched { uid: fetched.uid.or_else(by_number), ..fetched })
        });
        lines.collect()
    }

    /// Takes in what was told of messages, in its order; what FETCH responses said.
    pub(super) fn hear(
        &mut self,
        answer: &Answer,
        truth: &mut Truth,
        rules: Rules,
    ) -> Result<Vec<Fetched>, String> {
        let Some(selected) = &mut self.selected else { return Ok(Vec::new()) };
        let mut fetched = Vec::new();
        for line in &answer.untagged {
            fetched.extend(selected.hear(line, truth, rules, self.knows)?);
        }
        Ok(fetched)
    }

    pub(super) fn is_up_to_date(&mut self, truth: &Truth) -> Result<(), String> {
        self.selected.as_mut().map_or(Ok(()), |selected| selected.is_up_to_date(truth))
    }
}
