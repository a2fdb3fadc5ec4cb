//! PUBKEY, SETPUBKEY, GETSALT, RSTSALT, XPASSWD, XKEYINFO (profile §5, §9).

use super::kit::*;
use sealpost_lookup::zone::{Zone, ZoneServer};
use sealpost_proto::base64;
use std::net::Ipv4Addr;

const START_AGAIN: &str = "554 5.5.1 Key salt or key changed, start again\r\n";
const OK: &str = "250 OK\r\n";

fn set(n: u8) -> String {
    format!("SETPUBKEY {}", key(n).wire())
}

fn set_with(n: u8, previous: u8, seconds: i64) -> String {
    format!("{} {}", set(n), statement(n, previous, seconds))
}

async fn pubkey(kit: &Kit) -> String {
    kit.submission().await.cmd(&format!("PUBKEY {ALICE}")).await
}

async fn reset_salt(client: &mut Client) -> String {
    let reply = client.cmd("RSTSALT").await;
    reply.strip_prefix("220 SALT ").unwrap().trim_end().to_owned()
}

async fn salt(client: &mut Client) -> String {
    let reply = client.cmd("GETSALT").await;
    reply.strip_prefix("220 SALT ").unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn r10_r29_pubkey_is_answered_to_everybody_in_every_state() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    assert_eq!(alice.cmd(&set(1)).await, OK);
    let want = format!("220 ed25519 {}\r\n", key(1).wire());
    let mut clear = kit.mx().await;
    assert_eq!(clear.cmd(&format!("PUBKEY {ALICE}")).await, want, "before EHLO, before TLS");
    for spelling in
        ["<alice@example.net>", "Alice@EXAMPLE.net", "alice+list@example.net", "\"alice\"@example.net"]
    {
        assert_eq!(clear.cmd(&format!("pubkey {spelling}")).await, want, "{spelling}");
    }
    assert_eq!(kit.submission().await.cmd(&format!("PUBKEY {ALICE}")).await, want);
    assert_eq!(alice.cmd(&format!("PUBKEY {ALICE}")).await, want);
    assert_eq!(kit.alice_by_app_password().await.cmd(&format!("PUBKEY {ALICE}")).await, want);
}

#[tokio::test]
async fn r11_unknown_user_and_no_key_are_alike() {
    let kit = Kit::new().await;
    let mut client = kit.submission().await;
    for address in [BOB, "nobody@example.net", "ALICE@Example.net", "zoë@example.net"] {
        let want = format!("550 No public key available for {address}\r\n");
        assert_eq!(client.cmd(&format!("PUBKEY {address}")).await, want);
        assert_eq!(client.cmd(&format!("PUBKEY <{address}>")).await, want);
        assert_eq!(client.cmd(&format!("XKEYINFO <{address}>")).await, want);
    }
}

#[tokio::test]
async fn r10_syntax_comes_first_and_foreign_domains_need_a_login() {
    let kit = Kit::new().await;
    let mut client = kit.submission().await;
    let long = format!("{}@example.net", "x".repeat(65));
    let wide = format!("a@{}.example", "x.".repeat(130));
    for bad in ["", "alice", "alice@", "@example.net", "a b@example.net", "<alice@example.net", &long, &wide]
    {
        assert!(client.cmd(&format!("PUBKEY {bad}")).await.starts_with("501 5.1.3"), "{bad}");
        assert!(client.cmd(&format!("XKEYINFO {bad}")).await.starts_with("501 5.1.3"), "{bad}");
    }
    client.send(b"PUBKEY \xff\xfe@example.net\r\n").await;
    assert!(client.reply().await.starts_with("501 5.1.3"));
    assert_eq!(client.cmd("PUBKEY a@elsewhere.example").await, "551 5.7.1 Not a domain of this server\r\n");
    assert_eq!(client.cmd("XKEYINFO a@elsewhere.example").await, "551 5.7.1 Not a domain of this server\r\n");
}

/// Profile §8 step 4: another server, home to home.example, asks ours for its signed-in user.
#[tokio::test]
async fn r10_r11_the_home_server_asks_other_domains_for_its_users() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    assert_eq!(alice.cmd(&set_with(1, 0, 0)).await, OK);
    let port = kit.server.addresses.submissions[0].port();
    let mut ours = Zone::new("example.net");
    ours.srv("_submissions._tcp.example.net", 0, 0, port, "mail.example.net");
    ours.a("mail.example.net", Ipv4Addr::LOCALHOST);
    // The same server for a domain that its name is not bound to, and a name that leads nowhere.
    let mut unbound = Zone::new("example.org");
    unbound.srv("_submissions._tcp.example.org", 0, 0, port, "mail.example.net");
    let mut silent = Zone::new("silent.example");
    silent.srv("_submissions._tcp.silent.example", 0, 0, 1, "mail.silent.example");
    silent.a("mail.silent.example", Ipv4Addr::LOCALHOST);
    let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![ours, unbound, silent]).await.unwrap();
    let more = format!("dns = \"{}\"\nca_file = \"{}\"", dns.address(), kit.certificate().display());
    let home = Kit::with_domains("home.example", &more).await;
    let code = home.code("dora@home.example").await;
    let mut dora = home.submission().await;
    dora.cmd(&format!("XENROL dora@home.example {code} {}", phc(&[6; 16], 6))).await;
    assert!(dora.cmd(&auth("dora@home.example", 6)).await.starts_with("235 "));
    dora.reply().await;
    let failed = "451 4.4.1 Key lookup failed\r\n";
    for (command, want) in [
        (format!("PUBKEY <{ALICE}>"), format!("220 ed25519 {}\r\n", key(1).wire())),
        (format!("XKEYINFO {ALICE}"), format!("220 {}\r\n", statement(1, 0, 0))),
        (format!("PUBKEY {BOB}"), format!("550 No public key available for {BOB}\r\n")),
        (format!("XKEYINFO {BOB}"), format!("550 No public key available for {BOB}\r\n")),
        // No key, says a server that is not provably the domain's: not definite.
        ("PUBKEY nobody@example.org".into(), failed.into()),
        ("PUBKEY a@silent.example".into(), failed.into()),
        ("PUBKEY a@nowhere.example".into(), failed.into()),
    ] {
        assert_eq!(dora.cmd(&command).await, want, "{command}");
    }
}

#[tokio::test]
async fn r12_setpubkey_refuses_bad_keys() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    let blob = |name: &str, point: &[u8]| {
        let mut blob = Vec::new();
        for part in [name.as_bytes(), point] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        base64::encode(base64::encode(blob))
    };
    let mut trailing = key(1).blob().to_vec();
    trailing.push(0);
    let identity = {
        let mut p = [0; 32];
        p[0] = 1;
        p
    };
    for (argument, want) in [
        (String::new(), "501 5.5.4"),
        ("!!!".into(), "501 5.5.4"),
        (key(1).key_string(), "501 5.5.4"), // encoded once only
        (base64::encode("AAAA"), "501 5.5.4"),
        (base64::encode(base64::encode(trailing)), "501 5.5.4"),
        (blob("ssh-ed25519", &identity), "501 5.5.4"), // small order
        (blob("ssh-ed25519", &[0xff; 32]), "501 5.5.4"), // not canonical
        (
            blob("ssh-ed25519", &{
                let mut p = [0; 32];
                p[0] = 2;
                p
            }),
            "501 5.5.4",
        ), // off the curve
        (blob("ssh-ed25519", &[1; 31]), "501 5.5.4"),
        (blob("ssh-dss", &[1; 32]), "504 5.5.4"),
        (format!("{} {}", key(1).wire(), "nonsense"), "501 5.5.4"),
        (format!("{} {}", key(1).wire(), statement(2, 0, 0)), "501 5.5.4"), // for another key
        (format!("{} {}", key(1).wire(), statement_for(BOB, 1, 0, 0).to_wire()), "501 5.5.4"),
        (format!("{} {} x", key(1).wire(), statement(1, 0, 0)), "501 5.5.4"),
        (format!("{} {}", key(1).wire(), statement(1, 0, 86_401)), "501 5.5.4"), // over a day ahead
        (format!("{} {}", key(1).wire(), statement(1, 2, 0)), "554 5.5.1"), // after a key never published
    ] {
        let reply = alice.cmd(&format!("SETPUBKEY {argument}")).await;
        assert!(reply.starts_with(want), "{argument}: {reply}");
    }
    assert!(pubkey(&kit).await.starts_with("550 "));
    assert_eq!(alice.cmd(&set_with(1, 0, 86_400)).await, OK);
}

#[tokio::test]
async fn r13_getsalt_answers_the_committed_salt_and_takes_no_argument() {
    let kit = Kit::new().await;
    let (mut alice, told) = kit.alice().await;
    assert_eq!(salt(&mut alice).await, told);
    assert!(alice.cmd("GETSALT x").await.starts_with("501 5.5.4"));
    assert_eq!(kit.alice().await.1, told, "steady");
}

#[tokio::test]
async fn r14_without_a_key_the_new_salt_is_in_effect_at_once() {
    let kit = Kit::new().await;
    let (mut alice, old) = kit.alice().await;
    let (mut other, _) = kit.alice().await;
    let new = reset_salt(&mut alice).await;
    assert_ne!(new, old);
    assert_eq!(base64::decode(&new).unwrap().len(), 16);
    assert_eq!(kit.alice().await.1, new);
    // The other session was told the old salt: what it derived from it must not be published.
    assert_eq!(other.cmd(&set(5)).await, START_AGAIN);
    assert_eq!(salt(&mut other).await, new);
    assert_eq!(other.cmd(&set(5)).await, OK);
}

#[tokio::test]
async fn r14_with_a_key_the_new_salt_waits_for_the_new_key() {
    let kit = Kit::new().await;
    let (mut alice, old) = kit.alice().await;
    assert_eq!(alice.cmd(&set_with(1, 0, 0)).await, OK);
    let new = reset_salt(&mut alice).await;
    assert_eq!(salt(&mut alice).await, new, "pending here");
    let (mut other, elsewhere) = kit.alice().await;
    assert_eq!(elsewhere, old, "committed everywhere else");
    // It dies with its session.
    drop(alice);
    assert_eq!(salt(&mut other).await, old);
    assert_eq!(pubkey(&kit).await, format!("220 ed25519 {}\r\n", key(1).wire()));
    // And goes into effect with the key, in one transaction.
    let newer = reset_salt(&mut other).await;
    let newest = reset_salt(&mut other).await;
    assert_ne!(newer, newest);
    assert_eq!(other.cmd(&set_with(2, 1, 10)).await, OK);
    assert_eq!(salt(&mut other).await, newest);
    assert_eq!(kit.alice().await.1, newest);
    assert_eq!(pubkey(&kit).await, format!("220 ed25519 {}\r\n", key(2).wire()));
}

#[tokio::test]
async fn r05_rotation_is_refused_when_somebody_was_faster() {
    let kit = Kit::new().await;
    let (mut first, _) = kit.alice().await;
    assert_eq!(first.cmd(&set_with(1, 0, 0)).await, OK);
    let (mut second, _) = kit.alice().await;
    reset_salt(&mut first).await;
    reset_salt(&mut second).await;
    assert_eq!(first.cmd(&set_with(2, 1, 10)).await, OK);
    assert_eq!(second.cmd(&set_with(3, 1, 10)).await, START_AGAIN);
    assert_eq!(second.cmd(&set(3)).await, START_AGAIN, "without a statement too");
    assert_eq!(pubkey(&kit).await, format!("220 ed25519 {}\r\n", key(2).wire()));
    // Told anew, it may.
    reset_salt(&mut second).await;
    assert_eq!(second.cmd(&set_with(3, 2, 20)).await, OK);
}

#[tokio::test]
async fn r05_statements_must_follow_and_not_go_back() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    assert_eq!(alice.cmd(&set_with(1, 0, 100)).await, OK);
    assert_eq!(alice.cmd(&set_with(2, 0, 200)).await, START_AGAIN, "previous none over a published key");
    assert_eq!(alice.cmd(&set_with(2, 3, 200)).await, START_AGAIN, "previous is not the published key");
    assert!(alice.cmd(&set_with(2, 1, 99)).await.starts_with("501 5.5.4"), "older than the newest");
    assert_eq!(alice.cmd(&set_with(2, 1, 100)).await, OK, "as old as the newest");
    let chain = alice.cmd(&format!("XKEYINFO {ALICE}")).await;
    assert_eq!(chain, format!("220-{}\r\n220 {}\r\n", statement(2, 1, 100), statement(1, 0, 100)));
    // Without a statement the chain is kept and no longer leads to the key.
    assert_eq!(alice.cmd(&set(4)).await, OK);
    assert_eq!(alice.cmd(&format!("XKEYINFO {ALICE}")).await, chain);
}

#[tokio::test]
async fn r05_the_same_key_takes_only_a_renewal() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    assert_eq!(alice.cmd(&set_with(1, 0, 0)).await, OK);
    assert_eq!(alice.cmd(&set_with(2, 1, 10)).await, OK);
    let pending = reset_salt(&mut alice).await;
    for bad in [set(2), set_with(2, 1, 10), set_with(2, 1, 9), set_with(2, 0, 20), set_with(2, 3, 20)] {
        assert!(alice.cmd(&bad).await.starts_with("501 5.5.4"), "{bad}");
    }
    assert_eq!(alice.cmd(&set_with(2, 1, 20)).await, OK);
    assert_eq!(salt(&mut alice).await, pending, "still pending");
    assert_ne!(kit.alice().await.1, pending);
    // A key set without a statement has nothing to renew.
    let mut bob = kit.submission().await;
    bob.cmd(&auth(BOB, 2)).await;
    bob.reply().await;
    assert_eq!(bob.cmd(&set(7)).await, OK);
    let renewal = statement_for(BOB, 7, 0, 30).to_wire();
    assert!(bob.cmd(&format!("{} {renewal}", set(7))).await.starts_with("501 5.5.4"));
    assert!(bob.cmd(&format!("XKEYINFO {BOB}")).await.starts_with("550 "), "no chain");
}

#[tokio::test]
async fn r28_xpasswd_changes_everything_at_once() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    let (mut other, _) = kit.alice().await;
    let mut app = kit.alice_by_app_password().await;
    assert_eq!(alice.cmd(&set_with(1, 0, 0)).await, OK);
    let change = |salt: u8, n: u8, previous: u8, seconds: i64| {
        format!("XPASSWD {} {} {}", phc(&[salt; 16], 8), key(n).wire(), statement(n, previous, seconds))
    };
    assert!(alice.cmd(&change(8, 2, 1, 10)).await.starts_with("503 5.5.1"), "no pending salt");
    assert!(alice.cmd("XPASSWD nonsense").await.starts_with("503 5.5.1"), "whatever the arguments");
    let new = reset_salt(&mut alice).await;
    for bad in [
        "XPASSWD".to_owned(),
        "XPASSWD a b c".to_owned(),
        change(8, 1, 0, 10),  // the same key
        change(1, 2, 1, 10),  // a login salt in use
        change(8, 2, 1, -10), // an old statement
        format!("XPASSWD {} {} {}", phc(&[8; 16], 8), key(2).wire(), statement(3, 1, 10)),
    ] {
        assert!(alice.cmd(&bad).await.starts_with("501 5.5.4"), "{bad}");
    }
    assert_eq!(alice.cmd(&change(8, 2, 3, 10)).await, START_AGAIN, "not after the published key");
    assert_eq!(alice.cmd(&change(8, 2, 1, 10)).await, OK);
    for client in [&mut other, &mut app] {
        assert!(client.reply().await.starts_with("421 "));
        assert!(client.is_closed().await);
    }
    assert_eq!(salt(&mut alice).await, new, "this session goes on");
    let mut device = kit.submission().await;
    assert!(device.cmd(&auth(ALICE, 1)).await.starts_with("535 "));
    assert!(device.cmd(&auth(ALICE, 8)).await.starts_with("235 "));
    assert_eq!(device.reply().await, format!("250 SALT {new}\r\n"));
    assert_eq!(pubkey(&kit).await, format!("220 ed25519 {}\r\n", key(2).wire()));
}
