//! A session, and what its client believes from the untagged responses that it got (RFC 9051 §5.2, §7.5.1).

use super::{
    super::harness::{Client, Server},
    script::Set,
    truth::{Flags, Truth},
};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A message as the client knows it; its number is its place.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) uid: u32,
    /// As told; `None` before anything was.
    pub(super) flags: Option<Flags>,
    /// What its flags have been in truth since this session was last up to date: the server may answer from any.
    pub(super) been: Vec<Flags>,
}

/// A selected mailbox.
#[derive(Debug, Clone)]
pub(super) struct Selected {
    pub(super) id: u64,
    pub(super) read_only: bool,
    pub(super) known: Vec<Known>,
    /// The highest UID ever known.
    pub(super) top: u32,
}

impl Selected {
    /// A set as it is written, and the UIDs it means. Empty for a mailbox without messages: nothing fits it.
    pub(super) fn resolve(&self, set: Set, uid: bool) -> (String, Vec<u32>) {
        let count = self.known.len();
        if count == 0 {
            return (if uid { "4294967295" } else { "1" }.to_owned(), Vec::new());
        }
        let at = |n: u8| usize::from(n) % count;
        let write = |at: usize| if uid { self.known[at].uid.to_string() } else { (at + 1).to_string() };
        let (text, places): (String, Vec<usize>) = match set {
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

    /// One untagged response about messages. `numbers_stay`: no EXPUNGE may come now.
    fn hear(&mut self, line: &str, truth: &Truth, numbers_stay: bool) -> Result<Option<Fetched>, String> {
        let mut words = line.splitn(4, ' ').skip(1);
        let (number, verb) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match verb {
            "EXPUNGE" if numbers_stay => Err("EXPUNGE while message numbers must stay".to_owned()),
            "EXPUNGE" => {
                let gone = self.known.remove(self.place(number)?);
                let there = truth.mailboxes.get(&self.id).is_some_and(|m| m.messages.contains_key(&gone.uid));
                if there { Err(format!("EXPUNGE of UID {}, which is there", gone.uid)) } else { Ok(None) }
            }
            "EXISTS" => {
                let top = self.top;
                let mailbox = truth.mailboxes.get(&self.id);
                let new = mailbox.into_iter().flat_map(|mailbox| mailbox.messages.range(top + 1..));
                for (uid, message) in new {
                    self.top = *uid;
                    self.known.push(Known { uid: *uid, flags: None, been: vec![message.flags.clone()] });
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
                let known = &mut self.known[at];
                if fetched.uid.is_some_and(|uid| uid != known.uid) {
                    return Err(format!(
                        "{number} is UID {}, and was told to be {:?}",
                        known.uid, fetched.uid
                    ));
                }
                if let Some(flags) = &fetched.flags {
                    if !known.been.contains(flags) {
                        return Err(format!(
                            "UID {} never had the flags {flags:?}, but {:?}",
                            known.uid, known.been
                        ));
                    }
                    known.flags = Some(flags.clone());
                }
                Ok(Some(Fetched { uid: Some(known.uid), ..fetched }))
            }
            _ => Ok(None),
        }
    }

    /// What must hold when the server has told everything.
    fn is_up_to_date(&mut self, truth: &Truth) -> Result<(), String> {
        let empty = std::collections::BTreeMap::new();
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
            known.been = vec![flags.clone()];
        }
        Ok(())
    }
}

/// What a FETCH response tells.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) uid: Option<u32>,
    pub(super) flags: Option<Flags>,
    pub(super) size: Option<usize>,
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
        let flags = items.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')'));
        Self {
            uid: value("UID ").and_then(|uid: usize| u32::try_from(uid).ok()),
            flags: flags.map(|(flags, _)| flags.split_whitespace().map(str::to_ascii_lowercase).collect()),
            size: value("RFC822.SIZE "),
            body,
        }
    }
}

/// Everything up to the tagged response; literals stand in their lines.
#[derive(Debug)]
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
    commands: usize,
    pub(super) selected: Option<Selected>,
}

impl Session {
    pub(super) async fn new(server: &Server) -> Self {
        Self { client: server.session().await, commands: 0, selected: None }
    }

    /// A command and all that comes back.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Answer, String> {
        self.commands += 1;
        let tag = format!("c{} ", self.commands);
        self.client.send(format!("{tag}{command}\r\n")).await;
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
                return Ok(Answer { untagged, tagged: tagged.to_owned() });
            }
            if !line.starts_with("* ") {
                return Err(format!("neither tagged nor untagged: {line}"));
            }
            untagged.push(line);
        }
    }

    /// Takes in what was told of messages, in its order; what FETCH responses said.
    pub(super) fn hear(
        &mut self,
        answer: &Answer,
        truth: &Truth,
        numbers_stay: bool,
    ) -> Result<Vec<Fetched>, String> {
        let Some(selected) = &mut self.selected else { return Ok(Vec::new()) };
        let mut fetched = Vec::new();
        for line in &answer.untagged {
            fetched.extend(selected.hear(line, truth, numbers_stay)?);
        }
        Ok(fetched)
    }

    pub(super) fn is_up_to_date(&mut self, truth: &Truth) -> Result<(), String> {
        self.selected.as_mut().map_or(Ok(()), |selected| selected.is_up_to_date(truth))
    }
}
