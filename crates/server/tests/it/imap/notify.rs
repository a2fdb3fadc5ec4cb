//! NOTIFY (RFC 5465): what one session does, another hears of without asking.

use super::{
    compress,
    harness::{Client, Server},
};
use sealpost_store::events::EVENTS_MAX;
use tokio::io::{AsyncRead, AsyncWrite};

const MESSAGES: &str = "(MessageNew MessageExpunge)";
const MESSAGE: &[u8] = b"Subject: x\r\n\r\ny";

/// So many lines that came without being asked for.
async fn lines<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(client.line().await);
    }
    all
}

#[tokio::test]
async fn every_filter_covers_what_it_says() {
    let server = Server::start().await;
    let mut one = server.session().await;
    for name in ["Lists", "Lists/a", "Lists/a/b", "Listsx", "Unsubscribed"] {
        one.ok(&format!("CREATE {name}")).await;
    }
    one.ok("SUBSCRIBE Lists/a").await;
    let all = ["INBOX", "Sent", "Lists", "Lists/a", "Lists/a/b", "Listsx", "Unsubscribed"];
    for (filter, heard) in [
        ("inboxes", &["INBOX"][..]),
        ("personal", &all),
        ("subscribed", &["INBOX", "Sent", "Lists/a"]),
        ("subtree Lists", &["Lists", "Lists/a", "Lists/a/b"]),
        ("subtree (inbox Lists/a)", &["INBOX", "Lists/a", "Lists/a/b"]),
        ("mailboxes (Lists/a Sent none \"*\")", &["Sent", "Lists/a"]),
        ("mailboxes inbox", &["INBOX"]),
    ] {
        let mut two = server.session().await;
        two.ok(&format!("NOTIFY SET ({filter} {MESSAGES})")).await;
        for name in all {
            one.append(name, MESSAGE).await;
        }
        // What has happened by then comes before what NOOP has to say.
        let told = two.ok("NOOP").await;
        let names: Vec<&str> = told.iter().filter_map(|line| line.split(' ').nth(2)).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let mut heard = heard.to_vec();
        heard.sort_unstable();
        assert_eq!(sorted, heard, "{filter}: {told:?}");
    }
    // The list of subscriptions is the one of the moment (§6.4).
    let mut two = server.session().await;
    two.ok(&format!("NOTIFY SET (subscribed {MESSAGES})")).await;
    one.ok("SUBSCRIBE Listsx").await;
    one.ok("UNSUBSCRIBE Sent").await;
    one.append("Sent", MESSAGE).await;
    one.append("Listsx", MESSAGE).await;
    let told = two.line().await;
    assert!(told.starts_with("* STATUS Listsx ("), "{told}");
    assert!(two.ok("NOOP").await.is_empty());
}

/// Several groups may fit one mailbox: all of them count, and `NONE` takes nothing away (§6).
#[tokio::test]
async fn groups_add_up() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.session().await);
    two.ok(&format!("NOTIFY SET (mailboxes Sent NONE) (personal {MESSAGES}) (mailboxes Sent (MailboxName))"))
        .await;
    one.append("Sent", MESSAGE).await;
    assert!(two.line().await.starts_with("* STATUS Sent (MESSAGES 1 UIDNEXT 2)"));
    one.ok("DELETE Sent").await;
    assert_eq!(two.line().await, "* LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" Sent");
    one.ok("DELETE Junk").await;
    assert!(two.ok("NOOP").await.is_empty());
}

#[tokio::test]
async fn limits_and_refusals() {
    let server = Server::start().await;
    let mut client = server.session().await;
    let groups = |n: usize| format!("NOTIFY SET{}", " (personal (MailboxName))".repeat(n));
    client.ok(&groups(64)).await;
    assert!(
        client
            .refused(&groups(65))
            .await
            .starts_with("NO [LIMIT] a NOTIFY has up to 64 groups and 1000 names")
    );
    let names =
        |n: usize| format!("NOTIFY SET (mailboxes ({}) NONE) (subtree a NONE)", vec!["x"; n].join(" "));
    client.ok(&names(999)).await;
    assert!(client.refused(&names(1000)).await.starts_with("NO [LIMIT] "));
    for event in ["AnnotationChange", "X-Later"] {
        let said =
            client.refused(&format!("NOTIFY SET (personal (MessageNew MessageExpunge {event}))")).await;
        assert!(
            said.starts_with(
                "NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange \
                 MailboxMetadataChange ServerMetadataChange)] "
            ),
            "{said}"
        );
    }
    for bad in ["NOTIFY", "NOTIFY SET (personal (MessageNew))", "NOTIFY SET (selected (MailboxName))"] {
        assert!(client.refused(bad).await.starts_with("BAD "), "{bad}");
    }
    // What was refused leaves what was asked for before as it was.
    client.ok("NOTIFY SET (personal (MailboxName))").await;
    client.refused("NOTIFY SET (personal (X-Later))").await;
    server.session().await.ok("CREATE x").await;
    assert_eq!(client.line().await, "* LIST (\\HasNoChildren) \"/\" x");
}

/// A client that does not come to be told hears that it missed something, and then nothing: as after NOTIFY NONE (§5.8).
#[tokio::test]
async fn who_is_far_behind_is_told_so_and_no_more() {
    let server = Server::start().await;
    let mut two = server.inbox().await;
    for (most, overflow) in [(EVENTS_MAX, false), (EVENTS_MAX + 1, true)] {
        two.ok(&format!("NOTIFY SET (selected {MESSAGES}) (personal (SubscriptionChange))")).await;
        // While a message comes in nothing is told.
        two.send("a APPEND Sent {3}\r\n").await;
        assert!(two.line().await.starts_with('+'));
        // All at once, so that few commits do.
        let mut changes = tokio::task::JoinSet::new();
        for n in 0..most {
            let (store, account) = (server.ctx.store.clone(), server.account);
            let on = !overflow || n == EVENTS_MAX;
            changes.spawn(async move { store.subscribe(account, &format!("{n}"), on).await });
        }
        for done in changes.join_all().await {
            done.unwrap();
        }
        two.send("abc\r\n").await;
        assert!(two.line().await.starts_with("a OK "));
        if overflow {
            let told = two.line().await;
            assert!(told.starts_with("* OK [NOTIFICATIONOVERFLOW] "), "{told}");
        } else {
            assert!(
                lines(&mut two, most)
                    .await
                    .iter()
                    .all(|line| line.starts_with("* LIST (\\NonExistent \\Subscribed "))
            );
        }
    }
    let mut one = server.session().await;
    one.append("INBOX", MESSAGE).await;
    one.ok("CREATE x").await;
    assert!(two.ok("NOOP").await.is_empty());
    two.ok(&format!("NOTIFY SET (selected {MESSAGES})")).await;
    assert!(two.ok("FETCH 1 UID").await.len() == 1, "what gathered meanwhile was told");
}

/// §6.1: with `selected` numbers may shift at any time but while a command that names numbers is answered, with
/// `selected-delayed` only where they always may.
#[tokio::test]
async fn expunges_come_at_once_or_with_a_command() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for _ in 0..4 {
        one.append("INBOX", MESSAGE).await;
    }
    let (mut at_once, mut delayed) = (server.inbox().await, server.inbox().await);
    at_once.ok(&format!("NOTIFY SET (selected {MESSAGES})")).await;
    delayed.ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))").await;
    one.ok("STORE 2 +FLAGS (\\Deleted)").await;
    assert_eq!(delayed.line().await, "* 2 FETCH (UID 2 FLAGS (\\Deleted))");
    one.ok("EXPUNGE").await;
    one.append("INBOX", MESSAGE).await;
    assert_eq!(lines(&mut at_once, 2).await, ["* 2 EXPUNGE", "* 4 EXISTS"]);
    // The number of the one that is gone is still in use.
    assert_eq!(delayed.line().await, "* 5 EXISTS");
    assert_eq!(delayed.ok("FETCH 3 UID").await, ["* 3 FETCH (UID 3)"]);
    assert_eq!(delayed.ok("UID FETCH 3 FLAGS").await, ["* 3 FETCH (UID 3 FLAGS ())", "* 2 EXPUNGE"]);
    assert!(delayed.ok("NOOP").await.is_empty());
    // IDLE is a command that lets numbers shift, however long it takes.
    delayed.send("i IDLE\r\n").await;
    assert!(delayed.line().await.starts_with('+'));
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(delayed.line().await, "* 1 FETCH (UID 1 FLAGS (\\Deleted))");
    one.ok("EXPUNGE").await;
    assert_eq!(delayed.line().await, "* 1 EXPUNGE");
    delayed.send("DONE\r\n").await;
    assert!(delayed.line().await.starts_with("i OK"));
    assert_eq!(at_once.line().await, "* 1 EXPUNGE");
    // Amid pipelined commands that name numbers nothing shifts; behind them it does.
    one.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let before = server.ctx.store.mailboxes(server.account).await.unwrap();
    let inbox = before.iter().find(|mailbox| mailbox.name == "INBOX").unwrap().id;
    at_once.send("p1 FETCH 1:3 UID\r\np2 APPEND Sent {3}\r\n").await;
    assert_eq!(
        lines(&mut at_once, 4).await[..3],
        ["* 1 FETCH (UID 3)", "* 2 FETCH (UID 4)", "* 3 FETCH (UID 5)"]
    );
    assert!(at_once.line().await.starts_with('+'));
    server.ctx.store.expunge(inbox, None).await.unwrap();
    at_once.send("abc\r\np3 FETCH 2 UID\r\n").await;
    let (told, status) = at_once.until("p2").await;
    assert!(told == ["* 1 EXPUNGE"] && status.starts_with("OK"), "{told:?} {status}");
    let (told, _) = at_once.until("p3").await;
    assert_eq!(told, ["* 2 FETCH (UID 5)"]);
}

/// Nothing is wanted of the selected mailbox: it stays as it is to the client, which is told the rest when it asks again
/// (§3.1).
#[tokio::test]
async fn a_mailbox_at_which_nothing_is_wanted_stays_as_it_is() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    one.append("INBOX", MESSAGE).await;
    one.append("INBOX", MESSAGE).await;
    let mut two = server.inbox().await;
    for none in [
        "NOTIFY NONE",
        "NOTIFY SET (selected NONE)",
        "NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))",
    ] {
        two.ok(none).await;
        one.ok("STORE 1 FLAGS (\\Flagged)").await;
        one.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
        one.ok("EXPUNGE").await;
        one.append("INBOX", MESSAGE).await;
        for command in ["NOOP", "CHECK"] {
            assert!(two.ok(command).await.is_empty(), "{none}");
        }
        two.send("i IDLE\r\n").await;
        assert!(two.line().await.starts_with('+'));
        two.send("DONE\r\n").await;
        assert!(two.line().await.starts_with("i OK"), "{none}");
        assert!(two.refused("FETCH 2 FLAGS").await.starts_with("NO [EXPUNGEISSUED]"));
        assert!(two.refused("FETCH 3 FLAGS").await.starts_with("BAD"));
        let told = two.ok(&format!("NOTIFY SET (selected {MESSAGES})")).await;
        assert_eq!(told, ["* 2 EXPUNGE", "* 2 EXISTS"], "{none}");
        // Changes of flags have waited too; what came meanwhile counts as changed.
        let told = two.ok("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))").await;
        assert_eq!(told[0], "* 1 FETCH (UID 1 FLAGS (\\Flagged))", "{none}");
        assert!(told.len() == 2 && told[1].ends_with(" FLAGS ())"), "{none}: {told:?}");
        one.ok("STORE 1 FLAGS ()").await;
        assert_eq!(two.line().await, "* 1 FETCH (UID 1 FLAGS ())");
    }
}

/// MessageNew with FETCH items: of what others put there, not of what the session did itself (§5.2).
#[tokio::test]
async fn new_messages_are_told_as_was_asked() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.inbox().await);
    two.ok("NOTIFY SET (selected (MessageNew (UID RFC822.SIZE ENVELOPE BODY.PEEK[TEXT]) MessageExpunge))")
        .await;
    let envelope = "ENVELOPE (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL)";
    for n in 1..=3 {
        one.append("INBOX", MESSAGE).await;
        let told = format!("* {n} FETCH (UID {n} RFC822.SIZE 15 {envelope} BODY[TEXT] {{1}}");
        assert_eq!(lines(&mut two, 3).await, [format!("* {n} EXISTS"), told, "y)".to_owned()]);
    }
    two.ok("APPEND INBOX {3+}\r\nabc").await;
    assert_eq!(two.ok("COPY 1 INBOX").await, ["* 5 EXISTS"]);
    // Flags and MODSEQs, once they are known; nothing was marked as read.
    two.ok("ENABLE QRESYNC").await;
    two.ok("NOTIFY SET (selected-delayed (MessageNew (FLAGS) MessageExpunge))").await;
    one.append("INBOX (\\Flagged)", MESSAGE).await;
    let told = lines(&mut two, 2).await;
    assert!(
        told[0] == "* 6 EXISTS" && told[1].starts_with("* 6 FETCH (FLAGS (\\Flagged) MODSEQ ("),
        "{told:?}"
    );
    assert!(told[1].ends_with(") UID 6)"), "{told:?}");
    // Those that came in one step are told in one.
    one.ok("SELECT INBOX").await;
    one.ok("COPY 1:3 INBOX").await;
    let told = lines(&mut two, 4).await;
    assert_eq!(told[0], "* 9 EXISTS");
    assert!(told[3].starts_with("* 9 FETCH (FLAGS () MODSEQ ("), "{told:?}");
    assert_eq!(two.ok("SEARCH UNSEEN").await.len(), 1);
}

#[tokio::test]
async fn vanished_takes_the_place_of_expunge() {
    let server = Server::start().await;
    let mut one = server.inbox().await;
    for _ in 0..3 {
        one.append("INBOX", MESSAGE).await;
    }
    let mut two = server.session().await;
    two.ok("ENABLE QRESYNC").await;
    two.ok("SELECT INBOX").await;
    two.ok(&format!("NOTIFY SET (selected {MESSAGES}) (personal (MessageNew MessageExpunge FlagChange))"))
        .await;
    one.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    one.ok("EXPUNGE").await;
    assert_eq!(two.line().await, "* VANISHED 1:2");
    // Other mailboxes: HIGHESTMODSEQ goes with everything (§5.1 to §5.3).
    one.append("Sent", MESSAGE).await;
    let told = two.line().await;
    assert!(told.starts_with("* STATUS Sent (MESSAGES 1 UIDNEXT 2 UNSEEN 1 HIGHESTMODSEQ "), "{told}");
    one.ok("SELECT Sent").await;
    one.ok("STORE 1 +FLAGS (\\Flagged)").await;
    let told = two.line().await;
    assert!(told.starts_with("* STATUS Sent (UIDVALIDITY "), "{told}");
    assert!(told.contains(" HIGHESTMODSEQ ") && !told.contains("UNSEEN"), "{told}");
    // The mailbox itself goes.
    one.ok("CREATE x").await;
    one.append("x", MESSAGE).await;
    two.ok("SELECT x").await;
    two.ok("FETCH 1 UID").await;
    one.ok("DELETE x").await;
    assert_eq!(two.line().await, "* VANISHED 1");
    // Where nobody knows any more which UIDs they had, the session ends.
    one.ok("CREATE x").await;
    one.append("x", MESSAGE).await;
    two.ok("SELECT x").await;
    one.ok("DELETE x").await;
    let told = [two.line().await, two.line().await];
    assert!(told[0].starts_with("* BYE the selected mailbox was removed") && told[1].is_empty(), "{told:?}");
}

/// What a session does itself it is not told as news (§5), in whatever mailbox.
#[tokio::test]
async fn nobody_hears_of_his_own_doings() {
    let server = Server::start().await;
    let mut two = server.inbox().await;
    two.ok("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))")
        .await;
    two.ok("CREATE a/b").await;
    two.ok("SUBSCRIBE a").await;
    two.append("a", MESSAGE).await;
    two.ok("RENAME a c").await;
    two.ok("DELETE c/b").await;
    assert!(two.ok("NOOP").await.is_empty());
    // Another one's, in the same mailbox, it is.
    server.session().await.append("c", MESSAGE).await;
    assert_eq!(two.line().await, "* STATUS c (MESSAGES 2 UIDNEXT 3 UNSEEN 2)");
}

/// Both of TLS and COMPRESS lie between; and the next user of a connection hears nothing of what the last one asked for.
#[tokio::test]
async fn through_compression_and_until_the_user_leaves() {
    let server = Server::start().await;
    let mut one = server.session().await;
    let mut two = compress::compressed(&server).await;
    two.ok("SELECT INBOX").await;
    two.ok(&format!("NOTIFY SET STATUS (selected {MESSAGES}) (mailboxes Sent {MESSAGES})")).await;
    for n in 1..=3 {
        one.append("INBOX", MESSAGE).await;
        assert_eq!(two.line().await, format!("* {n} EXISTS"));
        one.append("Sent", MESSAGE).await;
        assert_eq!(two.line().await, format!("* STATUS Sent (MESSAGES {n} UIDNEXT {})", n + 1));
    }
    two.ok("UNAUTHENTICATE").await;
    two.ok(&format!("LOGIN {} {}", super::harness::ALICE, super::harness::TOKEN)).await;
    two.ok("SELECT INBOX").await;
    one.append("Sent", MESSAGE).await;
    one.append("INBOX", MESSAGE).await;
    assert_eq!(two.ok("NOOP").await, ["* 4 EXISTS"]);
}

/// Commands go on while events come, and each is answered.
#[tokio::test]
async fn commands_are_pipelined_while_events_arrive() {
    const COMMANDS: usize = 200;
    let server = Server::start().await;
    let mut two = server.inbox().await;
    two.ok(&format!("NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (mailboxes Sent {MESSAGES})"))
        .await;
    let (mut one, mut three) = (server.session().await, server.session().await);
    let writes = async {
        for _ in 0..20 {
            one.append("INBOX", MESSAGE).await;
        }
    };
    let others = async {
        for _ in 0..20 {
            three.append("Sent", MESSAGE).await;
        }
    };
    let reads = async {
        let (mut exists, mut uids, mut sent) = (0, Vec::new(), 0);
        for n in 0..COMMANDS {
            two.send(format!("c{n} UID SEARCH ALL\r\nd{n} NOOP\r\n")).await;
        }
        let mut last = String::new();
        // All commands are answered, in their order, and all that was put is told.
        let mut answered = Vec::new();
        while answered.len() < 2 * COMMANDS || uids.len() < 20 || !last.contains("MESSAGES 20 ") {
            let line = two.line().await;
            if let Some((tag, _)) = line.split_once(" OK") {
                answered.push(tag.to_owned());
            } else if let Some(n) = line.strip_suffix(" EXISTS") {
                exists = n[2..].parse().unwrap();
            } else if line.contains(" FETCH (UID ") {
                uids.push(line);
            } else if line.starts_with("* STATUS Sent (") {
                sent += 1;
                last = line;
            } else {
                assert!(line.starts_with("* SEARCH"), "{line}");
            }
        }
        let expected: Vec<String> = (0..COMMANDS).flat_map(|n| [format!("c{n}"), format!("d{n}")]).collect();
        assert_eq!(answered, expected);
        assert!(exists == 20 && sent <= 20);
        assert_eq!(uids, (1..=20).map(|n| format!("* {n} FETCH (UID {n})")).collect::<Vec<_>>());
    };
    tokio::join!(writes, others, reads);
}

/// One that happens while another is being told is told as well.
#[tokio::test]
async fn annotations_set_in_a_row_are_all_told() {
    let server = Server::start().await;
    let (mut one, mut two) = (server.session().await, server.session().await);
    two.ok("NOTIFY SET (personal (ServerMetadataChange))").await;
    for n in 0..200 {
        for name in ["a", "b"] {
            one.send(format!("{name} SETMETADATA \"\" (/private/{name} \"{n}\")\r\n")).await;
        }
        let mut told = String::new();
        while !(told.contains("/private/a") && told.contains("/private/b")) {
            told += &two.line().await;
        }
        one.until("b").await;
    }
}
