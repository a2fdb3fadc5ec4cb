//! The attacks of a mail server, each a small named value.

use crate::mail::announced;

/// What a mail server that turned hostile does to what it would have to say over IMAP.
#[derive(Debug, Clone)]
pub enum MailAttack {
    /// FLAGS of every message has these words too.
    Flags(&'static str),
    /// Behind FLAGS stands FLAGS once more, with these words.
    FlagsTwice(&'static str),
    /// Every FETCH response has these items too.
    Items(String),
    /// Asked for header fields, it tells of these.
    Fields(&'static str),
    /// Under this UID lies this message: its octets, header fields and size are told so.
    Message(u32, Vec<u8>),
    /// Of every message only so many octets are given, as if that were all.
    Cut(usize),
    /// These octets are said before the answer to a command that begins so.
    Say(&'static str, String),
    /// UIDVALIDITY of every mailbox.
    UidValidity(u32),
    /// What it tells of one UID is about the other, and the other way round.
    Swap(u32, u32),
    /// Every message is announced with so many octets, and octets come without end.
    Announce(u64),
    /// There is no message in any mailbox.
    Withhold,
    /// SEARCH finds these.
    Found(&'static str),
    /// A capability is missing.
    Strip(&'static str),
    /// A command that begins so is not heard: it hangs up.
    HangUp(&'static str),
}

/// A response on its way.
pub(crate) struct Said {
    /// Of a tagged response, the command that it answers, in capitals.
    pub(crate) command: Option<String>,
    /// The octets of the response and of those around it.
    pub(crate) octets: Vec<Vec<u8>>,
    /// Octets follow without end.
    pub(crate) endless: bool,
}

impl MailAttack {
    pub(crate) fn change(&self, said: &mut Said) {
        match self {
            Self::Say(verb, text) if said.answers(verb) => said.octets.insert(0, text.clone().into_bytes()),
            Self::UidValidity(now) => said.each(|response| {
                if let Some(at) = find(response, b"[UIDVALIDITY ") {
                    let end = at + response[at..].iter().position(|b| *b == b']').unwrap();
                    response.splice(at..end, format!("[UIDVALIDITY {now}").into_bytes());
                }
            }),
            Self::Found(numbers) => said.each(|response| {
                if response.starts_with(b"* SEARCH") {
                    *response = format!("* SEARCH {numbers}\r\n").into_bytes();
                }
            }),
            Self::Strip(capability) => said.each(|response| {
                if let Some(at) = find(response, format!(" {capability}").as_bytes()) {
                    response.drain(at..=at + capability.len());
                }
            }),
            Self::Withhold => {
                said.octets.retain(|response| Fetch::read(response).is_none());
                said.each(|response| {
                    if response.starts_with(b"* ") && response.ends_with(b" EXISTS\r\n") {
                        *response = b"* 0 EXISTS\r\n".to_vec();
                    }
                    if response.starts_with(b"* SEARCH") {
                        *response = b"* SEARCH\r\n".to_vec();
                    }
                });
            }
            Self::Announce(octets) => {
                let mut announced = false;
                said.each(|response| {
                    if let Some(at) = find(response, b"BODY[] {") {
                        response.truncate(at);
                        response.extend(format!("BODY[] {{{octets}}}\r\n").into_bytes());
                        announced = true;
                    }
                });
                said.endless |= announced;
            }
            _ => said.each(|response| {
                if let Some(mut fetch) = Fetch::read(response) {
                    self.change_fetch(&mut fetch);
                    *response = fetch.write();
                }
            }),
        }
    }

    fn change_fetch(&self, fetch: &mut Fetch) {
        let uid = fetch.get("UID").and_then(|value| String::from_utf8_lossy(value).parse::<u32>().ok());
        match self {
            Self::Flags(words) => {
                if let Some(flags) = fetch.get("FLAGS") {
                    flags.pop();
                    flags.extend(format!(" {words})").into_bytes());
                }
            }
            Self::FlagsTwice(words) if fetch.get("FLAGS").is_some() => {
                fetch.items.push((b"FLAGS".to_vec(), format!("({words})").into_bytes()));
            }
            Self::Items(items) => {
                let (name, value) = items.split_once(' ').unwrap();
                fetch.items.push((name.as_bytes().to_vec(), value.as_bytes().to_vec()));
            }
            Self::Fields(fields) => {
                for (name, value) in &mut fetch.items {
                    if name.starts_with(b"BODY[HEADER.FIELDS") {
                        *value = literal(format!("{fields}\r\n").as_bytes());
                    }
                }
            }
            Self::Message(of, octets) if uid == Some(*of) => {
                for (name, value) in &mut fetch.items {
                    if name == b"BODY[]" {
                        *value = literal(octets);
                    } else if name == b"BODY[HEADER]" || name == b"RFC822.HEADER" {
                        let end = find(octets, b"\r\n\r\n").map_or(octets.len(), |at| at + 4);
                        *value = literal(&octets[..end]);
                    } else if name.starts_with(b"BODY[HEADER.FIELDS") {
                        *value = literal(&fields(octets, name));
                    } else if name == b"RFC822.SIZE" {
                        *value = octets.len().to_string().into_bytes();
                    }
                }
            }
            Self::Cut(octets) => {
                if let Some(value) = fetch.get("BODY[]") {
                    let start = find(value, b"\r\n").unwrap() + 2;
                    *value = literal(&value[start..value.len().min(start + octets)]);
                }
            }
            Self::Swap(one, other) => {
                let now = match uid {
                    Some(uid) if uid == *one => other,
                    Some(uid) if uid == *other => one,
                    _ => return,
                };
                if let Some(value) = fetch.get("UID") {
                    *value = now.to_string().into_bytes();
                }
            }
            _ => {}
        }
    }
}

impl Said {
    fn answers(&self, verb: &str) -> bool {
        self.command.as_ref().is_some_and(|command| command.starts_with(verb))
    }

    fn each(&mut self, change: impl FnMut(&mut Vec<u8>)) {
        self.octets.iter_mut().for_each(change);
    }
}

/// A FETCH response in pieces.
struct Fetch {
    start: Vec<u8>,
    items: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Fetch {
    fn read(response: &[u8]) -> Option<Self> {
        let at = find(response, b" FETCH (").filter(|_| response.starts_with(b"* "))? + b" FETCH (".len();
        let end = response.strip_suffix(b")\r\n")?;
        let (mut at, start) = (at, response[..at].to_vec());
        let mut items = Vec::new();
        while at < end.len() {
            let name = at..value_end(end, at, b' ')?;
            let value = name.end + 1..value_end(end, name.end + 1, b' ')?;
            items.push((end[name].to_vec(), end[value.clone()].to_vec()));
            at = value.end + 1;
        }
        Some(Self { start, items })
    }

    fn get(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.items.iter_mut().find(|(is, _)| is == name.as_bytes()).map(|(_, value)| value)
    }

    fn write(&self) -> Vec<u8> {
        let items: Vec<Vec<u8>> =
            self.items.iter().map(|(name, value)| [name, &b" "[..], value].concat()).collect();
        [&self.start[..], &items.join(&b' '), b")\r\n"].concat()
    }
}

/// Where what begins at `at` ends: at `end` outside brackets, strings and literals, or at the end of all.
fn value_end(octets: &[u8], mut at: usize, end: u8) -> Option<usize> {
    let mut depth = 0;
    while at < octets.len() {
        match octets[at] {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'"' => {
                at += 1;
                while octets.get(at)? != &b'"' {
                    at += if octets[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => {
                let line = at + find(&octets[at..], b"\r\n")? + 2;
                at = line + usize::try_from(announced(&octets[at..line])?).ok()? - 1;
            }
            octet if octet == end && depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    Some(octets.len())
}

fn literal(octets: &[u8]) -> Vec<u8> {
    [format!("{{{}}}\r\n", octets.len()).as_bytes(), octets].concat()
}

/// The fields of a message that `BODY[HEADER.FIELDS (…)]` names, and an empty line.
fn fields(message: &[u8], name: &[u8]) -> Vec<u8> {
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let names: Vec<&str> = name.split(['(', ')', ' ', '"']).collect();
    let mut out = Vec::new();
    let mut taken = false;
    for line in message.split_inclusive(|b| *b == b'\n') {
        if line.trim_ascii().is_empty() {
            break;
        }
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let field = line.split(|b| *b == b':').next().unwrap_or_default();
            taken = names.contains(&&*String::from_utf8_lossy(field.trim_ascii_end()).to_ascii_uppercase());
        }
        if taken {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn find(octets: &[u8], needle: &[u8]) -> Option<usize> {
    octets.windows(needle.len()).position(|window| window == needle)
}
