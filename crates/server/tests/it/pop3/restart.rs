//! Unique ids over a restart of the server, and what a server that stops says.

use super::harness::{Imap, Pop3};
use crate::kit::{ALICE, Client, Kit, TOKEN, config};
use sealpost_server::run;
use sealpost_store::{account::Accounts as _, mailbox::Mailboxes as _};

#[tokio::test]
async fn unique_ids_are_the_same_after_a_restart_and_never_used_again() {
    let kit = Kit::new().await;
    let mut imap = Imap::alice(&kit).await;
    for n in 0..3 {
        imap.append(&format!("A: {n}\r\n")).await;
    }
    let mut session = Pop3::alice(&kit).await;
    let before = session.lines("UIDL").await;
    session.ok("DELE 3").await;
    session.ok("QUIT").await;
    let Kit { server, store, folder, clock } = kit;
    server.shutdown().await;
    drop((store, clock));
    let mut again = config(folder.path(), "");
    again.listen.pop3s = vec!["127.0.0.1:0".parse().unwrap()];
    let server = run(again).await.unwrap();
    let mut client = Client::connect(server.addresses.pop3s[0]).await.start_tls().await;
    client.line().await;
    let mut session = Pop3(client);
    session.ok(&format!("USER {ALICE}")).await;
    session.ok(&format!("PASS {TOKEN}")).await;
    assert_eq!(session.lines("UIDL").await, before[..2]);
    for id in before.iter().map(|line| line.split_once(' ').unwrap().1) {
        assert!((1..=70).contains(&id.len()) && id.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{id}");
    }
    let mut client = Client::connect(server.addresses.imaps[0]).await.start_tls().await;
    client.line().await;
    client.send(format!("a LOGIN {ALICE} {TOKEN}\r\nb APPEND INBOX {{6+}}\r\nA: n\r\n\r\n")).await;
    while !client.line().await.starts_with("b OK") {}
    let mut client = Client::connect(server.addresses.pop3s[0]).await.start_tls().await;
    client.line().await;
    let mut session = Pop3(client);
    session.ok(&format!("USER {ALICE}")).await;
    session.ok(&format!("PASS {TOKEN}")).await;
    let after = session.lines("UIDL").await;
    assert_eq!((after.len(), &after[..2]), (3, &before[..2]));
    assert_ne!(after[2], before[2], "the id of a message that was removed came again");
    server.shutdown().await;
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_removes_nothing() {
    let kit = Kit::new().await;
    let mut imap = Imap::alice(&kit).await;
    imap.append("A: 1\r\n").await;
    let mut marked = Pop3::alice(&kit).await;
    marked.ok("DELE 1").await;
    let mut waiting = Pop3::connect(&kit).await;
    let Kit { server, store, .. } = kit;
    server.shutdown().await;
    for session in [&mut marked, &mut waiting] {
        assert_eq!(
            session.line().await,
            "-ERR [SYS/TEMP] the server is shutting down; connect again in a moment"
        );
        assert!(session.is_closed().await);
    }
    let alice = sealpost_proto::address::Address::parse(ALICE).unwrap();
    let account = store.account(&alice).await.unwrap().unwrap().id;
    let all = store.mailboxes(account).await.unwrap();
    let inbox = all.iter().find(|mailbox| mailbox.name == "INBOX").unwrap();
    assert_eq!(store.status(inbox.id).await.unwrap().messages, 1);
}
