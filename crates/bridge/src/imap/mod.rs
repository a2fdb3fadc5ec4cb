//! IMAP for mail programs: a session signs in with the bridge's own password, and from then on each of its commands goes
//! to the home server over a connection of its own. Message numbers, UIDs, flags and mailboxes are the server's; what
//! speaks of the content of sealed or signed messages is answered here (see [`fetch`], [`search`], [`append`]).

mod answer;
mod append;
pub(crate) mod background;
mod binary;
mod ends;
mod fate;
mod fetch;
mod guard;
mod handing;
pub(crate) mod heard;
mod idle;
mod inquiry;
mod known;
mod listing;
mod login;
mod notify;
mod opening;
mod parts;
mod pipeline;
mod plain;
mod results;
mod resume;
mod search;
mod sort;
mod status;
mod view;
mod wire;

use crate::{
    account::{Account, BridgeError},
    entry::{Entry, Keywords},
    gate::{Gate, LOCKED},
    index::Place,
};
pub(crate) use ends::AHEAD_MAX;
use ends::{Came, Lost, Program, Server};
use resume::Numbers;
pub(crate) use resume::PATIENCE;
use sealpost_proto::imap::{
    Atom, Body, Command, FetchItem, Names, Received, Tag, parse, receive::LiteralHead,
};
use std::{collections::HashMap, io, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use view::{Opened, View};
use wire::{Response, response};
use zeroize::Zeroizing;

/// What is told to mail programs of what the server can do. What is missing here either speaks of content in a way that
/// is not answered yet, or is between server and bridge alone.
const PASSED: [&str; 44] = [
    "IMAP4rev1",
    "IMAP4rev2",
    "LITERAL+",
    "LITERAL-",
    "ID",
    "ENABLE",
    "IDLE",
    "NOTIFY",
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "MULTIAPPEND",
    "REPLACE",
    "BINARY",
    "MOVE",
    "CHILDREN",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "I18NLEVEL=1",
    "CONDSTORE",
    "QRESYNC",
    "SAVEDATE",
    "OBJECTID",
    "PREVIEW",
    "UTF8=ACCEPT",
    "METADATA",
    "LIST-METADATA",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "QUOTASET",
    "APPENDLIMIT",
    "SASL-IR",
    "STATUS=SIZE",
];

/// Why a session ends.
enum End {
    /// The mail program or the server went away, or said goodbye.
    Over,
    /// The server's connection broke: another may take its place.
    Lost(io::Error),
    /// It broke.
    Io(io::Error),
}

impl From<Lost> for End {
    fn from(Lost(e): Lost) -> Self {
        // Who breaks the protocol does so another time too.
        if e.kind() == io::ErrorKind::InvalidData { Self::Io(e) } else { Self::Lost(e) }
    }
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

type Result<T> = std::result::Result<T, End>;

/// The mailbox that is open.
struct Selected {
    place: Place,
    view: View,
}

/// The message whose octets were asked for last: mail programs fetch large ones in pieces.
struct Held {
    uid: u32,
    content: opening::Content,
}

/// A session that is signed in.
struct Session<S> {
    program: Program<S>,
    server: Server,
    account: Arc<Account>,
    capabilities: String,
    names: Names,
    /// IMAP4rev2 is enabled.
    rev2: bool,
    /// What the program has switched on.
    enabled: Vec<Atom>,
    /// What the server holds as saved for this session.
    saved: results::Saved,
    /// Whether a response to the program is half written.
    amid: bool,
    selected: Option<Selected>,
    held: Option<Held>,
    /// Messages that FETCH comes to next.
    ahead: Option<fetch::Ahead>,
    /// A FETCH has asked for a part whose transfer encoding is not known: how it is to end.
    undecoded: Option<Vec<u8>>,
    notified: notify::Notified,
    /// Messages opened while a look-up failed: true for this session, asked again by the next.
    provisional: HashMap<u32, Entry>,
    /// Octets of them.
    provisional_octets: usize,
    /// Verdicts of the open mailbox, once a flag was told.
    verdicts: Option<HashMap<u32, Keywords>>,
}

/// Serves one connection of a mail program.
pub(crate) async fn serve<S>(stream: S, gate: &Gate)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut program = Program::new(stream);
    let result = async {
        let Some((account, server, capabilities)) = login::login(&mut program, gate).await? else {
            return Ok(());
        };
        let mut session = Session::new(program, server, account, capabilities);
        let account = session.account.clone();
        let ended = tokio::select! {
            ended = session.run() => ended,
            () = account.cut() => return Err(End::Over),
        };
        if let Err(End::Lost(error) | End::Io(error)) = &ended {
            // A mail program that is the one who left does not hear it.
            session.program.bye(&match error.kind() {
                io::ErrorKind::InvalidData => format!("The mail server broke the protocol: {error}"),
                _ => format!("The connection to the mail server was lost; sign in again ({error})"),
            });
        }
        // The last words, where there is still somebody to hear them.
        let _ = session.program.flush().await;
        ended
    };
    match result.await {
        Ok(()) | Err(End::Over) => {}
        Err(End::Lost(error) | End::Io(error)) => tracing::debug!("an IMAP session ended: {error}"),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    fn new(program: Program<S>, server: Server, account: Arc<Account>, capabilities: String) -> Self {
        Self {
            program,
            server,
            account,
            capabilities,
            names: Names::Utf7,
            rev2: false,
            enabled: Vec::new(),
            saved: results::Saved::Nothing,
            amid: false,
            selected: None,
            held: None,
            ahead: None,
            undecoded: None,
            notified: notify::Notified::default(),
            provisional: HashMap::new(),
            provisional_octets: 0,
            verdicts: None,
        }
    }

    async fn run(&mut self) -> Result<()> {
        loop {
            self.program.flush().await?;
            match self.program.receiver.receive(&mut self.program.input) {
                Received::More => self.wait().await?,
                Received::Literal(head) => self.literal(head).await?,
                Received::Whole => {
                    let octets = self.program.receiver.take();
                    self.carry_out(&octets).await?;
                }
                Received::TooLong => {
                    let octets = self.program.receiver.take();
                    let tag =
                        parse::tag_of(&octets).map_or_else(|| "*".to_owned(), |t| t.as_str().to_owned());
                    self.program.line(&format!("{tag} BAD The command is too long"));
                }
                Received::Endless => {
                    self.program.bye("The command has no end");
                    return Err(End::Over);
                }
            }
        }
    }

    /// Waits for the mail program; what the server says meanwhile is heard, so that a lost connection is noticed at once.
    async fn wait(&mut self) -> Result<()> {
        loop {
            match self.wait_here().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(End::Lost(error)) => Box::pin(self.resume(&error, false, Numbers::Same)).await?,
                Err(end) => return Err(end),
            }
            if !self.program.input.is_empty() {
                return Ok(());
            }
        }
    }

    /// Until one of both has said something: whether it was the mail program.
    async fn wait_here(&mut self) -> Result<bool> {
        // News may have come with the last answer.
        self.hear()?;
        self.tell_arrivals().await?;
        if self.rest_in_idle().await? {
            return Ok(true);
        }
        tokio::select! {
            read = self.program.fill() => Ok(read.map(|()| true)?),
            read = self.server.fill() => Ok(read.map(|()| false)?),
            () = self.account.locked() => Err(self.locked()),
        }
    }

    /// The device is locked: the session ends.
    fn locked(&mut self) -> End {
        self.program.bye(&format!("[UNAVAILABLE] {LOCKED}"));
        End::Over
    }

    /// Passes on what the server said without being asked.
    fn hear(&mut self) -> Result<()> {
        loop {
            match self.server.cutter.next()? {
                wire::Next::More => return Ok(()),
                wire::Next::Whole(line) if response(&line) == Response::Bye => {
                    return Err(Lost(io::ErrorKind::ConnectionAborted.into()).into());
                }
                wire::Next::Whole(line) => self.pass(&line),
                wire::Next::Literal(..) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a literal that nobody asked for",
                    )
                    .into());
                }
            }
        }
    }

    /// A response for the mail program, or the beginning of one whose literal follows. Of FETCH passes only what is no
    /// content, and keywords that tell verdicts are the bridge's own, whatever the server says of them.
    fn pass(&mut self, line: &[u8]) {
        if self.notified.take(line) {
            return;
        }
        let told = response(line);
        if let Some(selected) = &mut self.selected {
            selected.view.hear(&told);
        }
        match told {
            // What can be done is told by the bridge; that the server goes away is for it to make good.
            Response::Capability | Response::Bye => {}
            Response::Fetch(number, octets) => {
                let told =
                    guard::told(octets, |uid| uid.map_or_else(Keywords::default, |uid| self.verdict(uid)));
                if !told.is_empty() {
                    self.program.say(format!("* {number} FETCH (").as_bytes());
                    self.program.say(&told);
                    self.program.say(b")\r\n");
                }
            }
            Response::Other | Response::Tagged(..) if guard::looks_like_fetch(line) => {
                tracing::debug!("a response that is none was kept from the mail program");
            }
            _ => self.program.say(line),
        }
    }

    /// The same amid a command of the bridge's own, which names messages by their numbers: those must not change (RFC 9051
    /// §7.5.1), else what is true of one message would be told of another.
    fn aside(&mut self, line: &[u8]) -> Result<()> {
        if matches!(response(line), Response::Expunge(_) | Response::Vanished(false, _)) {
            let error = "messages that go away while others are fetched";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error).into());
        }
        self.pass(line);
        Ok(())
    }

    /// What is known of a message of the open mailbox.
    fn verdict(&mut self, uid: u32) -> Keywords {
        let Some(place) = self.selected.as_ref().map(|selected| selected.place) else {
            return Keywords::default();
        };
        // Another session may have opened it since.
        let index = &self.account.index;
        let read = |from| index.keywords(&place, from).unwrap_or_default();
        let verdicts = self.verdicts.get_or_insert_with(|| read(1));
        let known = verdicts.get(&uid).copied();
        known.or_else(|| self.provisional.get(&uid).map(|entry| entry.keywords)).unwrap_or_default()
    }

    /// A literal in a command: of APPEND it goes to the server sealed, others are short.
    async fn literal(&mut self, head: LiteralHead) -> Result<()> {
        let so_far = self.program.receiver.so_far().to_vec();
        if parse::is_append(&so_far) {
            match parse::append_start(&so_far, self.names) {
                Ok(Some(start)) => return self.append(start, head).await,
                Ok(None) => {}
                Err(bad) => {
                    let tag = bad.tag.as_ref().map_or("*", Tag::as_str).to_owned();
                    return self.refuse_message(head, &format!("{tag} BAD {}", bad.error)).await;
                }
            }
        }
        if !self.program.receiver.accept_literal(head) {
            let tag = parse::tag_of(&so_far).map_or_else(|| "*".to_owned(), |t| t.as_str().to_owned());
            return self.refuse_literal(head, &format!("{tag} BAD [TOOBIG] The literal is too long"));
        }
        if head.sync {
            self.program.line("+ Go on");
        }
        Ok(())
    }

    fn refuse_literal(&mut self, head: LiteralHead, reply: &str) -> Result<()> {
        if !head.sync {
            // Its octets are on the way.
            self.program.bye(reply.split_once(' ').map_or("", |(_, text)| text));
            return Err(End::Over);
        }
        let _ = self.program.receiver.refuse_literal();
        self.program.line(reply);
        Ok(())
    }

    async fn command(&mut self, command: Command) -> Result<()> {
        let tag = command.tag.clone();
        match command.body {
            Body::Capability => {
                self.program.line(&format!("* CAPABILITY {}", self.capabilities));
                self.program.done(&tag, "OK CAPABILITY completed");
            }
            Body::StartTls | Body::Login { .. } | Body::Authenticate { .. } => {
                self.program.done(&tag, "BAD You are signed in already");
            }
            Body::Compress(_) | Body::Unauthenticate => {
                self.program.done(&tag, "NO [CANNOT] The bridge does not offer this");
            }
            Body::Idle => self.idle(&tag).await?,
            Body::Notify(notify) => self.notify(&tag, notify).await?,
            Body::Select { .. } => self.select(&command).await?,
            Body::Enable(ref words) => {
                let words = words.clone();
                self.forward(&command).await?;
                self.enabled.extend(words);
            }
            Body::Fetch { uid, set, items, changed_since }
                if self.selected.is_some() && items.iter().any(parts::is_content) =>
            {
                self.account.touch();
                let asked = fetch::Asked { tag: &tag, by_uid: uid, items: &items };
                self.fetch(&asked, set, changed_since).await?;
            }
            // With its UID, so that what is told of its flags can be checked.
            Body::Fetch { uid, set, mut items, changed_since } if self.selected.is_some() => {
                if !items.contains(&FetchItem::Uid) {
                    items.push(FetchItem::Uid);
                }
                let body = Body::Fetch { uid, set, items, changed_since };
                self.forward(&Command { tag, body }).await?;
            }
            Body::Search { uid, returns, charset, key }
                if self.selected.is_some() && search::speaks_of_content(&key) =>
            {
                self.account.touch();
                self.search(&tag, &search::Asked { uid, returns, charset, key }).await?;
            }
            Body::Sort { .. } | Body::Thread { .. } if self.selected.is_some() => {
                self.account.touch();
                self.arrange(&command).await?;
            }
            Body::Status { .. } | Body::List(_) if status::asks_size(&command.body) => {
                self.with_sizes(command).await?;
            }
            Body::Logout => {
                self.forward(&command).await?;
                return Err(End::Over);
            }
            Body::Close => {
                // Until it is done the mailbox may have to be opened again for it.
                let rest = self.forward(&command).await?;
                if rest.starts_with(b"OK") {
                    self.leave();
                }
            }
            _ => {
                if command.body == Body::Unselect {
                    self.leave();
                }
                self.forward(&command).await?;
            }
        }
        Ok(())
    }

    /// Whether the server can do something.
    fn can(&self, capability: &str) -> bool {
        self.capabilities.split(' ').any(|known| known.eq_ignore_ascii_case(capability))
    }

    fn leave(&mut self) {
        self.selected = None;
        self.held = None;
        self.ahead = None;
        self.saved = results::Saved::Nothing;
        self.notified.forget();
        self.provisional.clear();
        self.provisional_octets = 0;
        self.verdicts = None;
    }

    /// Sends a command as it is and passes on what comes back; the tagged response without its tag.
    async fn forward(&mut self, command: &Command) -> Result<Zeroizing<Vec<u8>>> {
        self.forward_looking(command, |_| {}).await
    }

    async fn forward_looking(
        &mut self,
        command: &Command,
        mut look: impl FnMut(&[u8]) + Send,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut before = Vec::new();
        let goes_on = self.server.command(command, self.names, &mut before).await?;
        for line in &before {
            self.pass(line);
        }
        if !goes_on {
            return Ok(before.pop().unwrap_or_default());
        }
        loop {
            let came = self.server.next().await?;
            if let Came::Line(line) = &came {
                if let Response::Tagged(tag, rest) = response(line)
                    && tag == command.tag.as_str()
                {
                    look(line);
                    let rest = Zeroizing::new(rest.to_vec());
                    self.program.say(line);
                    return Ok(rest);
                }
                look(line);
                if line.len() > 12 && line[2..].starts_with(b"ENABLED ") {
                    self.enabled(line);
                }
                if response(line) == Response::Bye {
                    if command.body == Body::Logout {
                        self.program.say(line);
                        continue;
                    }
                    return Err(Lost(io::ErrorKind::ConnectionAborted.into()).into());
                }
            }
            match came {
                Came::Line(line) => self.pass(&line),
                Came::Literal(line) => self.pass_response(&line).await?,
            }
            self.program.relieve().await?;
        }
    }

    /// A response with literals that go past, up to the line that ends it. Of messages nobody asked for any.
    async fn pass_response(&mut self, start: &[u8]) -> Result<()> {
        if response(start) != Response::Other {
            self.pass(start);
            return self.skip_response().await;
        }
        self.amid = true;
        self.pass(start);
        self.pass_literal().await?;
        loop {
            match self.server.next().await? {
                Came::Line(line) => {
                    self.program.say(&line);
                    self.amid = false;
                    return Ok(());
                }
                Came::Literal(line) => {
                    self.program.say(&line);
                    self.pass_literal().await?;
                }
            }
        }
    }

    /// The rest of a response whose literal is about to pass; nobody hears of it.
    async fn skip_response(&mut self) -> Result<()> {
        loop {
            self.skip_literal().await?;
            if let Came::Line(_) = self.server.next().await? {
                return Ok(());
            }
        }
    }

    async fn skip_literal(&mut self) -> Result<()> {
        while let Some(n) = self.server.literal().await? {
            self.server.cutter.passed(n);
        }
        Ok(())
    }

    /// The octets of a literal, as they come.
    async fn pass_literal(&mut self) -> Result<()> {
        while let Some(n) = self.server.literal().await? {
            let octets = &self.server.cutter.input[..n];
            self.program.out.extend_from_slice(octets);
            self.server.cutter.passed(n);
            self.program.relieve().await?;
        }
        Ok(())
    }

    fn enabled(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line).to_ascii_uppercase();
        let enabled = |name: &str| text.split_ascii_whitespace().any(|word| word == name);
        self.rev2 |= enabled("IMAP4REV2");
        if self.rev2 || enabled("UTF8=ACCEPT") {
            self.names = Names::Utf8;
        }
    }

    async fn select(&mut self, command: &Command) -> Result<()> {
        self.leave();
        let mut opened = Opened::default();
        let rest = self.forward_looking(command, |line| opened.hear(line)).await?;
        if rest.starts_with(b"OK")
            && let Some(uid_validity) = opened.uid_validity
            && let Body::Select { mailbox, read_only, .. } = &command.body
        {
            let Opened { exists, modseq, .. } = opened;
            let (mailbox, read_only) = (mailbox.clone(), *read_only);
            match self.account.place(mailbox.as_str(), uid_validity) {
                Ok(place) => {
                    let view = View { mailbox, read_only, uid_validity, exists, gone: 0, modseq, uids: None };
                    self.selected = Some(Selected { place, view });
                }
                Err(error) => return self.broken(&error),
            }
        }
        Ok(())
    }

    /// What keeps the whole session from going on, in words.
    fn broken(&mut self, error: &BridgeError) -> Result<()> {
        tracing::warn!("{error}");
        self.program.bye(&one_line(&error.to_string()));
        Err(End::Over)
    }
}

/// Text as it may stand in a response.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || !c.is_ascii() { ' ' } else { c }).collect()
}
