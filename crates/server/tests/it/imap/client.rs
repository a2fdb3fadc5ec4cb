//! Our own client against our own server, and against hostile ones.

use super::harness::{ALICE, HASH, NOW, Server, TOKEN};
use sealpost_client::imap::{Imap, ImapError};
use sealpost_proto::{
    base64,
    imap::{Atom, Flag, SearchKey, SequenceSet, StoreHow},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_whole_session() {
    let server = Server::start().await;
    let mut imap = Imap::start(server.tls().await).await.unwrap();
    assert!(imap.has("AUTH=HASHEDPASS"));
    let message = format!("\0{ALICE}\0{}", base64::encode(HASH));
    imap.authenticate_hashed_pass(message.as_bytes()).await.unwrap();
    let sent = imap.list().await.unwrap().into_iter().find(|f| f.has("\\Sent")).unwrap();
    assert_eq!(sent.name, "Sent");
    imap.create("Entwürfe & mehr").await.unwrap();
    let mail = [b"Subject: x\r\nMessage-ID: <1@x>\r\n\r\n".as_slice(), &[b'y'; 200_000]].concat();
    let mut steps = Vec::new();
    let flags = [Flag::Seen, Flag::Keyword(Atom::new("$Mine").unwrap())];
    let uid = imap
        .append(
            "Entwürfe & mehr",
            &flags,
            Some(NOW),
            mail.len() as u64,
            &mut mail.as_slice(),
            &mut |done, _| steps.push(done),
        )
        .await
        .unwrap();
    assert_eq!(uid, Some(1));
    assert_eq!(steps.last(), Some(&(mail.len() as u64)));
    let selected = imap.select("Entwürfe & mehr").await.unwrap();
    assert_eq!((selected.exists, selected.uid_next), (1, Some(2)));
    let key = SearchKey::Header { field: "Message-ID".into(), value: "<1@x>".into() };
    assert_eq!(imap.search(key).await.unwrap(), [1]);
    let meta = imap.fetch_meta(SequenceSet::all(), &["Subject", "From"]).await.unwrap();
    assert_eq!(meta.len(), 1);
    assert_eq!(meta[0].header, b"Subject: x\r\n\r\n");
    assert_eq!(
        (meta[0].size, meta[0].internal_date, meta[0].flags.as_slice()),
        (mail.len() as u64, Some(NOW), &flags[..])
    );
    let mut got = Vec::new();
    let n = imap.fetch_message(1, 1 << 30, &mut got, &mut |_, _| {}).await.unwrap();
    assert!(n == mail.len() as u64 && got == mail);
    let few = imap.fetch_message(9, 1 << 30, &mut Vec::new(), &mut |_, _| {}).await;
    assert!(matches!(few, Err(ImapError::NoSuchMessage(9))));
    let set = || SequenceSet::from_numbers(&[1]).unwrap();
    imap.copy(set(), "Archive").await.unwrap();
    imap.store_flags(set(), StoreHow::Add, vec![Flag::Deleted]).await.unwrap();
    imap.expunge(Some(set())).await.unwrap();
    assert!(matches!(imap.copy(SequenceSet::all(), "Nowhere").await, Err(ImapError::Refused { .. })));
    assert_eq!(imap.examine("Archive").await.unwrap().exists, 1);
    assert!(imap.fetch_message(1, 10, &mut Vec::new(), &mut |_, _| {}).await.is_err());
}

#[tokio::test]
async fn logins_that_fail_say_so() {
    let server = Server::start().await;
    let mut imap = Imap::start(server.tls().await).await.unwrap();
    assert!(matches!(imap.login(ALICE, "wrong").await, Err(ImapError::Login(_))));
    imap.login(ALICE, TOKEN).await.unwrap();
    imap.logout().await.unwrap();
}

/// A server that says what it is told, whatever it is asked.
async fn hostile(answers: Vec<u8>) -> Result<(), ImapError> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let task = tokio::spawn(async move {
        let mut buffer = [0; 1024];
        far.write_all(b"* OK hi\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        far.write_all(b"* CAPABILITY IMAP4rev1\r\ns1 OK\r\n").await.unwrap();
        let _ = far.read(&mut buffer).await;
        let _ = far.write_all(&answers).await;
    });
    let mut imap = Imap::start(near).await?;
    let result = imap.fetch_message(1, 1000, &mut Vec::new(), &mut |_, _| {}).await;
    drop(imap);
    let _ = task.await;
    result.map(drop)
}

#[tokio::test]
async fn hostile_servers_are_errors_not_memory() {
    for answers in [
        b"* 1 FETCH (BODY[] {99999999999}\r\n".to_vec(),
        b"* 1 FETCH (BODY[TEXT] {99999999999}\r\n".to_vec(),
        b"* 1 FETCH (BODY[] NIL)\r\ns2 OK\r\n".to_vec(),
        b"* BYE\r\n".to_vec(),
        b"s9 OK\r\n".to_vec(),
        b"\xff\xff\r\n".to_vec(),
        [b"* OK ".as_slice(), &vec![b'x'; 2 << 20]].concat(),
        [b"* 1 FETCH (X ".as_slice(), &[b'('; 5000], b"\r\n"].concat(),
        b"".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&answers[..answers.len().min(40)]).into_owned();
        assert!(hostile(answers).await.is_err(), "{shown}");
    }
    hostile(b"* 1 FETCH (UID 1 BODY[] {3}\r\nabc FLAGS ())\r\ns2 OK\r\n".to_vec()).await.unwrap();
}
