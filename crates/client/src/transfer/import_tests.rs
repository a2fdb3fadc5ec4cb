//! The target as other servers are: without extensions, refusing single messages, full, or gone between storing and
//! answering.

use super::*;
use crate::{
    client::{Environment, Settings},
    imap::Imap,
    transfer::{journal::key, stage::Stage},
    ui::Unattended,
};
use std::{io::Write as _, path::Path, sync::Mutex};
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

/// One run of an import of `texts`, as often as a server lets it.
async fn import(
    dir: &Path,
    server: Server,
    mailbox: &Mailbox,
    texts: &[&str],
) -> Result<TransferReport, ClientError> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(serve(far, server, Arc::clone(mailbox)));
    let stream: sealpost_proto::drive::BoxStream = Box::new(near);
    let mail = Imap::start(stream).await.unwrap();
    let settings = Settings { dir: dir.to_owned(), ..Settings::default() };
    let client = Client::new(settings, Environment::system(Arc::new(Unattended)));
    let journal = Journal::open(&dir.join("journal"), "from", "to", false, false).unwrap();
    let mut upload = Upload::new(&client, mail, journal, false).await?;
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
    let result = upload.take(&mut coming).await.map(|()| upload.report);
    drop(upload);
    drop(serving.await);
    result
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
#[tokio::test]
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
            tokio::time::pause();
            let server = Server { capabilities, fault: None };
            let report = import(dir.path(), server, &mailbox, &TEXTS).await.unwrap();
            tokio::time::resume();
            assert_eq!(report.skipped, 0);
            let mut there = texts(&mailbox);
            there.sort();
            assert_eq!(there, ["odd", "one", "three", "two", "two", "two"], "{capabilities}");
        }
    }
}

/// A source like Gmail, whose last folder shows all messages: those of other folders come once, and are fetched once.
#[tokio::test]
async fn a_folder_of_all_messages_brings_what_is_in_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let there: Mailbox = Arc::new(Mutex::new(vec![b"one".to_vec(), b"two".to_vec(), b"one".to_vec()]));
    let mut contents = std::collections::HashSet::new();
    let Found::Message(one) = found(dir.path(), "one", 0) else { unreachable!() };
    contents.insert(one.staged.hash);
    let (near, far) = tokio::io::duplex(1 << 16);
    let serving = tokio::spawn(serve(far, Server { capabilities: PLAIN, fault: None }, there));
    let stream: sealpost_proto::drive::BoxStream = Box::new(near);
    let mut pull = Pull::find(Imap::start(stream).await.unwrap()).await.unwrap();
    pull.folders[0].is_all = true;
    let (sender, mut coming) = mpsc::channel(AHEAD);
    let pulling = Pulling {
        found: sender,
        done: Arc::default(),
        contents: Arc::new(contents),
        dir: dir.path().to_owned(),
        limit: 100,
    };
    pull.read(&pulling, vec![Selected { at: 0, to: "Archive".into() }]).await.unwrap();
    drop(pulling);
    let (mut came, mut elsewhere) = (Vec::new(), 0);
    while let Some(found) = coming.recv().await {
        match found {
            Found::Message(message) => came.push(message.what),
            Found::Elsewhere(_) => elsewhere += 1,
            _ => {}
        }
    }
    assert_eq!((came, elsewhere), (vec!["UID 2".to_owned()], 2));
    drop(serving.await);
}

#[test]
fn codes_that_end_an_import() {
    for (code, ends) in
        [(Some("OVERQUOTA"), true), (Some("TOOBIG"), false), (Some("LIMIT"), false), (None, false)]
    {
        assert_eq!(is_final(code), ends, "{code:?}");
    }
}
