//! The target as other servers are: without extensions, refusing single messages, full, or gone between storing and
//! answering.

use super::*;
use crate::{
    client::{Environment, Settings},
    imap::Imap,
    transfer::{
        import::{AHEAD, Selected},
        journal::key,
        pull::{Pull, Pulling},
        stage::{Hash, Stage},
    },
};
use std::{collections::HashSet, io::Write as _, path::Path, sync::Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

/// What a server does with a message whose octets hold this word.
#[derive(Clone, Copy)]
enum Fault {
    /// NO with this code.
    No(&'static str),
    /// BAD.
    Bad,
    /// Stores it, and all before it, and closes without a word.
    Gone,
}

#[derive(Clone, Copy)]
struct Server {
    capabilities: &'static str,
    fault: Option<(&'static str, Fault)>,
}

type Mailbox = Arc<Mutex<Vec<Vec<u8>>>>;

/// One session with a server that has one mailbox besides INBOX, once that is made.
async fn serve(stream: DuplexStream, server: Server, mailbox: Mailbox) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"* OK hello\r\n").await.ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let tag = words[0];
        let stored = mailbox.lock().unwrap().clone();
        let mut end = "OK done".to_owned();
        let mut answer: Vec<String> = Vec::new();
        match words[1..] {
            ["CAPABILITY"] => answer.push(format!("* CAPABILITY IMAP4rev1 {}\r\n", server.capabilities)),
            ["LIST", ..] => answer.push("* LIST () \"/\" INBOX\r\n".to_owned()),
            ["EXAMINE", ..] => {
                answer.push(format!("* {} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n", stored.len()));
                if server.capabilities.contains("UIDPLUS") {
                    answer.push(format!("* OK [UIDNEXT {}] x\r\n", stored.len() + 1));
                }
            }
            ["UID", "FETCH", set, ..] => {
                for (octets, uid) in stored.iter().zip(1..) {
                    let asked = set == "1:*"
                        || set.split(',').any(|part| {
                            let (low, high) = part.split_once(':').unwrap_or((part, part));
                            (low.parse::<u32>().unwrap()..=high.parse().unwrap()).contains(&uid)
                        });
                    if asked && line.contains("BODY") {
                        let text = String::from_utf8_lossy(octets);
                        answer.push(format!(
                            "* {uid} FETCH (UID {uid} BODY[] {{{}}}\r\n{text})\r\n",
                            octets.len()
                        ));
                    } else if asked {
                        answer.push(format!(
                            "* {uid} FETCH (UID {uid} FLAGS () RFC822.SIZE {})\r\n",
                            octets.len()
                        ));
                    }
                }
            }
            ["APPEND", ..] => {
                let (mut came, mut fault) = (Vec::new(), None);
                let mut rest = line.trim_end().to_owned();
                while rest.ends_with('}') {
                    let (_, count) = rest.rsplit_once('{').unwrap();
                    if !count.ends_with("+}") {
                        stream.write_all(b"+ go\r\n").await.ok()?;
                    }
                    let mut octets = vec![0; count.trim_end_matches(['+', '}']).parse().unwrap()];
                    stream.read_exact(&mut octets).await.ok()?;
                    let text = String::from_utf8_lossy(&octets).into_owned();
                    fault = fault.or(server.fault.filter(|(word, _)| text.contains(word)).map(|(_, f)| f));
                    came.push(octets);
                    rest.clear();
                    stream.read_line(&mut rest).await.ok()?;
                    rest = rest.trim_end().to_owned();
                }
                assert!(came.len() == 1 || server.capabilities.contains("MULTIAPPEND"));
                match fault {
                    Some(Fault::No(code)) => end = format!("NO [{code}] not this one"),
                    Some(Fault::Bad) => end = "BAD not this one".to_owned(),
                    fault => {
                        mailbox.lock().unwrap().extend(came);
                        if fault.is_some() {
                            return None;
                        }
                        if server.capabilities.contains("UIDPLUS") {
                            let last = mailbox.lock().unwrap().len();
                            end = format!("OK [APPENDUID 7 {last}] done");
                        }
                    }
                }
            }
            _ => {}
        }
        stream.write_all(format!("{}{tag} {end}\r\n", answer.concat()).as_bytes()).await.ok()?;
    }
}

/// A message that takes `text` as its octets.
fn found(dir: &Path, text: &str, nth: usize) -> Found {
    let mut stage = Stage::new(dir, u64::MAX);
    stage.write_all(text.as_bytes()).unwrap();
    Found::Message(Box::new(Message {
        folder: "Work".into(),
        what: text.into(),
        key: key("Work", format!("{text} {nth}").as_bytes()),
        staged: stage.finish().unwrap(),
        flags: vec![Flag::Seen],
        date: None,
    }))
}

/// What was said.
#[derive(Default)]
pub(super) struct Notes(Mutex<Vec<String>>);

impl Ui for Notes {
    fn confirm(&self, _: &crate::ui::Question) -> bool {
        false
    }
    fn transfer(&self, event: &TransferEvent) {
        if let TransferEvent::Note(text) = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

impl Notes {
    /// How often a connection was made anew, as it was told.
    fn tries(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|note| note.contains("trying once more in")).count()
    }
}

/// A session with a server that closes without a word once it has said `octets`.
async fn connect(server: Server, mailbox: &Mailbox, octets: u64) -> Result<Mail, ClientError> {
    let ((near, mut far), (mut end, behind)) = (tokio::io::duplex(1 << 16), tokio::io::duplex(1 << 16));
    tokio::spawn(serve(behind, server, Arc::clone(mailbox)));
    tokio::spawn(async move {
        let ((mut from, mut to), (mut asked, mut said)) =
            (tokio::io::split(&mut end), tokio::io::split(&mut far));
        let mut from = (&mut from).take(octets);
        tokio::select! {
            _ = tokio::io::copy(&mut from, &mut said) => {}
            _ = tokio::io::copy(&mut asked, &mut to) => {}
        }
    });
    let stream: sealpost_proto::drive::BoxStream = Box::new(near);
    Imap::start(stream).await.map_err(imap_error)
}

/// Gives these sessions, one after the other, and then none.
fn again(ui: &Arc<Notes>, mailbox: &Mailbox, sessions: &[(Server, u64)]) -> Again {
    let sessions: Vec<_> = sessions.to_vec();
    let (mailbox, sessions) = (Arc::clone(mailbox), Mutex::new(sessions.into_iter()));
    let ui: Arc<dyn Ui> = Arc::<Notes>::clone(ui);
    Again::new("there".into(), ui, move || {
        let (mailbox, next) = (Arc::clone(&mailbox), sessions.lock().unwrap().next());
        Box::pin(async move {
            match next {
                Some((server, octets)) => connect(server, &mailbox, octets).await,
                None => Err(ClientError::Later("nobody listens".into())),
            }
        })
    })
}

/// One run of an import of `texts`, over one session.
async fn import(
    dir: &Path,
    server: Server,
    mailbox: &Mailbox,
    texts: &[&str],
) -> Result<TransferReport, ClientError> {
    import_over(dir, &[(server, u64::MAX)], mailbox, texts).await.map(|(report, _)| report)
}

/// One run of an import of `texts`, over as many sessions as there are. How many connections were tried.
async fn import_over(
    dir: &Path,
    sessions: &[(Server, u64)],
    mailbox: &Mailbox,
    texts: &[&str],
) -> Result<(TransferReport, usize), ClientError> {
    let (first, octets) = sessions[0];
    let mail = connect(first, mailbox, octets).await.unwrap();
    let settings = Settings { dir: dir.to_owned(), ..Settings::default() };
    let ui = Arc::new(Notes::default());
    let client = Client::new(settings, Environment::system(Arc::<Notes>::clone(&ui)));
    let journal = Journal::open(&dir.join("journal"), "from", "to", false, false).unwrap();
    let again = again(&ui, mailbox, &sessions[1..]);
    let mut upload = Upload::new(&client, mail, again, journal, false).await?;
    upload.look_for_pending().await?;
    let (sender, mut coming) = mpsc::channel(AHEAD);
    let done = upload.journal.done().clone();
    sender.send(Found::Folder { from: "Work".into(), to: "Work".into(), messages: None }).await.ok();
    for (nth, text) in texts.iter().enumerate() {
        let found = found(dir, text, nth);
        let Found::Message(message) = &found else { unreachable!() };
        let known = done.contains(&message.key);
        sender.send(if known { Found::Already(1) } else { found }).await.ok();
    }
    drop(sender);
    upload.take(&mut coming).await.map(|()| (upload.report, ui.tries()))
}

fn texts(mailbox: &Mailbox) -> Vec<String> {
    mailbox.lock().unwrap().iter().map(|octets| String::from_utf8_lossy(octets).into_owned()).collect()
}

const PLAIN: &str = "";
const FULL: &str = "LITERAL+ MULTIAPPEND UIDPLUS UNSELECT";
const TEXTS: [&str; 5] = ["one", "two", "odd", "two", "three"];

#[tokio::test]
async fn a_server_without_any_extension_and_one_with_all() {
    for capabilities in [PLAIN, "UIDPLUS", "MULTIAPPEND", "LITERAL-", FULL] {
        let (dir, mailbox) = (tempfile::tempdir().unwrap(), Mailbox::default());
        let server = Server { capabilities, fault: None };
        let report = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap();
        assert_eq!((report.messages, report.already, report.skipped), (5, 0, 0), "{capabilities}");
        let report = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap();
        assert_eq!((report.messages, report.already), (0, 5), "{capabilities}");
        assert_eq!(texts(&mailbox), TEXTS, "{capabilities}");
    }
}

#[tokio::test]
async fn one_message_refused_holds_up_no_other() {
    for capabilities in [PLAIN, FULL] {
        for fault in [Fault::No("TOOBIG"), Fault::Bad] {
            let (dir, mailbox) = (tempfile::tempdir().unwrap(), Mailbox::default());
            let server = Server { capabilities, fault: Some(("odd", fault)) };
            let report = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap();
            assert_eq!((report.messages, report.skipped), (4, 1));
            assert_eq!(texts(&mailbox), ["one", "two", "two", "three"]);
            // Once the server takes it, it comes, and nothing else does.
            let server = Server { capabilities, fault: None };
            let report = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap();
            assert_eq!((report.messages, report.already, report.skipped), (1, 4, 0));
            assert_eq!(texts(&mailbox).last().map(String::as_str), Some("odd"));
        }
    }
}

/// The end of the import, not of a message; what came before stays, and comes once.
#[tokio::test(start_paused = true)]
async fn a_full_or_vanished_server_ends_it_and_the_next_run_goes_on() {
    for capabilities in [PLAIN, "MULTIAPPEND", FULL] {
        for (fault, status) in [(Fault::No("OVERQUOTA"), 1), (Fault::Gone, 5)] {
            let (dir, mailbox) = (tempfile::tempdir().unwrap(), Mailbox::default());
            // An equal message from elsewhere, before: it is not one of these.
            mailbox.lock().unwrap().push(b"two".to_vec());
            let server = Server { capabilities, fault: Some(("odd", fault)) };
            let error = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap_err();
            assert_eq!(error.exit_code(), status, "{error}");
            assert!(error.to_string().contains("run the same command again"), "{error}");
            let server = Server { capabilities, fault: None };
            let report = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap();
            assert_eq!(report.skipped, 0);
            let mut there = texts(&mailbox);
            there.sort();
            assert_eq!(there, ["odd", "one", "three", "two", "two", "two"], "{capabilities}");
        }
    }
}

/// The target goes away at any octet of what it says, having stored what it was sent or not, and comes back.
#[tokio::test(start_paused = true)]
async fn a_target_that_comes_back_gets_each_message_once() {
    for capabilities in [PLAIN, FULL] {
        let whole = Server { capabilities, fault: None };
        let gone = Server { capabilities, fault: Some(("odd", Fault::Gone)) };
        let (dir, mailbox) = (tempfile::tempdir().unwrap(), Mailbox::default());
        let sessions = [(gone, u64::MAX), (whole, u64::MAX)];
        let (report, tries) = import_over(dir.path(), &sessions, &mailbox, &TEXTS).await.unwrap();
        assert_eq!((report.messages, report.already, report.skipped, tries), (5, 0, 0, 1), "{capabilities}");
        assert_eq!(report.octets, TEXTS.concat().len() as u64);
        assert_eq!(texts(&mailbox), TEXTS, "{capabilities}");
        // It gets as far as this before anything goes to it.
        for octets in (150..700).step_by(9) {
            let (dir, mailbox) = (tempfile::tempdir().unwrap(), Mailbox::default());
            let sessions = [(whole, octets), (whole, octets + 7), (whole, u64::MAX)];
            let (report, _) = import_over(dir.path(), &sessions, &mailbox, &TEXTS).await.unwrap();
            assert_eq!((report.messages, report.skipped), (5, 0), "{capabilities} {octets}");
            let mut there = texts(&mailbox);
            there.sort();
            assert_eq!(there, ["odd", "one", "three", "two", "two"], "{capabilities} {octets}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_tried_so_often_and_no_longer() {
    let (dir, mailbox) = (tempfile::tempdir().unwrap(), Mailbox::default());
    let ui = Arc::new(Notes::default());
    let began = tokio::time::Instant::now();
    let error = again(&ui, &mailbox, &[]).connect("it broke".into()).await.err().unwrap();
    assert_eq!((error.exit_code(), ui.tries()), (5, 9), "{error}");
    assert_eq!(began.elapsed().as_secs(), 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + 60);
    assert!(error.to_string().contains("nobody listens; 9 tries"), "{error}");
    // One session fewer than would be too many in a row, and one more.
    let whole = Server { capabilities: FULL, fault: None };
    for (broken, ends_well) in [(8, true), (9, false)] {
        let mut sessions = vec![(whole, 150)];
        sessions.extend(std::iter::repeat_n((whole, 20), broken));
        sessions.push((whole, u64::MAX));
        let result = import_over(dir.path(), &sessions, &mailbox, &TEXTS).await;
        assert_eq!(result.is_ok(), ends_well, "{broken}");
        drop(std::fs::remove_file(dir.path().join("journal")));
    }
}

/// Messages by UID, those whose content came by another folder, how often the folder and its messages were told of.
#[derive(Debug, Default, PartialEq)]
struct Came {
    messages: Vec<String>,
    elsewhere: usize,
    folders: usize,
    already: Vec<u64>,
}

async fn pulled(
    sessions: &[(Server, u64)],
    there: &Mailbox,
    is_all: bool,
    contents: HashSet<Hash>,
) -> (Result<Came, ClientError>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let ui = Arc::new(Notes::default());
    let (first, octets) = sessions[0];
    let mut pull = Pull::find(connect(first, there, octets).await.unwrap()).await.unwrap();
    pull.folders[0].is_all = is_all;
    let (sender, mut coming) = mpsc::channel(AHEAD);
    let pulling = Pulling {
        found: sender,
        done: Arc::default(),
        contents: Arc::new(contents),
        dir: dir.path().to_owned(),
        limit: 100,
    };
    let again = again(&ui, there, &sessions[1..]);
    let read = pull.read(&pulling, again, vec![Selected { at: 0, to: "Archive".into() }]).await;
    drop(pulling);
    let mut came = Came::default();
    while let Some(found) = coming.recv().await {
        match found {
            Found::Message(message) => came.messages.push(message.what),
            Found::Elsewhere(_) => came.elsewhere += 1,
            Found::Folder { .. } => came.folders += 1,
            Found::Already(messages) => came.already.push(messages),
            Found::Removed | Found::Skipped { .. } => panic!("{there:?}"),
        }
    }
    (read.map(|()| came), ui.tries())
}

fn uids(uids: impl Iterator<Item = u32>) -> Vec<String> {
    uids.map(|uid| format!("UID {uid}")).collect()
}

/// A source like Gmail, whose last folder shows all messages: those of other folders come once, and are fetched once.
#[tokio::test]
async fn a_folder_of_all_messages_brings_what_is_in_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let there: Mailbox = Arc::new(Mutex::new(vec![b"one".to_vec(), b"two".to_vec(), b"one".to_vec()]));
    let Found::Message(one) = found(dir.path(), "one", 0) else { unreachable!() };
    let contents = HashSet::from([one.staged.hash]);
    let plain = Server { capabilities: PLAIN, fault: None };
    let (came, _) = pulled(&[(plain, u64::MAX)], &there, true, contents).await;
    assert_eq!(came.unwrap(), Came { messages: uids(2..3), elsewhere: 2, folders: 1, already: vec![0] });
}

/// The source goes away at any octet of what it says, and comes back.
#[tokio::test(start_paused = true)]
async fn a_source_that_comes_back_brings_each_message_once() {
    let there: Mailbox = Arc::new(Mutex::new(TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect()));
    let plain = Server { capabilities: PLAIN, fault: None };
    let whole = Came { messages: uids(1..6), elsewhere: 0, folders: 1, already: vec![0] };
    for octets in 100..700 {
        let sessions = [(plain, octets), (plain, octets + 11), (plain, u64::MAX)];
        let (came, tries) = pulled(&sessions, &there, false, HashSet::new()).await;
        assert_eq!(came.unwrap(), whole, "cut after {octets}");
        assert!(tries <= 2);
    }
    // A line that never carries more than one or two of them: each brings something new, so that it never is too often.
    let many: Mailbox = Arc::new(Mutex::new((0..30).map(|n| format!("message {n}").into_bytes()).collect()));
    let mut sessions = vec![(plain, 200)];
    sessions.extend(std::iter::repeat_n((plain, 3_100), 40));
    let (came, tries) = pulled(&sessions, &many, false, HashSet::new()).await;
    assert_eq!(came.unwrap().messages, uids(1..31));
    assert!((10..40).contains(&tries), "{tries}");
    // It never gets as far as a message.
    let sessions = vec![(plain, 200); 20];
    let (came, tries) = pulled(&sessions, &many, false, HashSet::new()).await;
    let error = came.unwrap_err();
    assert_eq!((error.exit_code(), tries), (5, 9), "{error}");
}

#[test]
fn codes_that_end_an_import() {
    for (code, ends) in
        [(Some("OVERQUOTA"), true), (Some("TOOBIG"), false), (Some("LIMIT"), false), (None, false)]
    {
        assert_eq!(is_final(code), ends, "{code:?}");
    }
}
