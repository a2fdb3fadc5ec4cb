//! XKEYRING (profile §9).

use super::kit::*;
use sealpost_proto::base64;
use sha2::{Digest as _, Sha256};

fn hex(data: &[u8]) -> String {
    format!("{:x}", Sha256::digest(data))
}

async fn store(client: &mut Client, replaces: &str, data: &[u8]) -> String {
    client.send([format!("XKEYRING {replaces} {}\r\n", data.len()).as_bytes(), data].concat()).await;
    client.reply().await
}

async fn fetch(client: &mut Client) -> Vec<u8> {
    let reply = client.cmd("XKEYRING").await;
    assert!(reply.lines().all(|l| l.len() <= 510), "lines of at most 510 octets");
    base64::decode(reply.lines().map(|l| &l[4..]).collect::<String>()).unwrap()
}

#[tokio::test]
async fn stores_by_compare_and_swap() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    assert!(alice.cmd("XKEYRING").await.starts_with("550 "));
    let (one, two): (Vec<u8>, Vec<u8>) = ((0..=255).cycle().take(5000).collect(), b"two\r\n.\r\n".to_vec());
    assert!(store(&mut alice, &hex(&two), &one).await.starts_with("554 5.5.1"));
    assert_eq!(store(&mut alice, "none", &one).await, "250 OK\r\n");
    assert_eq!(fetch(&mut alice).await, one);
    assert!(store(&mut alice, "none", &two).await.starts_with("554 5.5.1"));
    assert_eq!(store(&mut alice, &hex(&one).to_uppercase(), &two).await, "250 OK\r\n");
    assert_eq!(fetch(&mut kit.alice().await.0).await, two);
}

#[tokio::test]
async fn largest_and_one_more() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    let largest = vec![0x5a; 1_048_576];
    assert_eq!(store(&mut alice, "none", &largest).await, "250 OK\r\n");
    assert_eq!(fetch(&mut alice).await, largest);
    assert!(alice.cmd("XKEYRING none 1048577").await.starts_with("552 5.3.4"));
    assert!(alice.is_closed().await);
}

#[tokio::test]
async fn malformed_closes() {
    let kit = Kit::new().await;
    for bad in ["x", "none", "none x", "none 1 1", "abc 1", "none -1"] {
        let (mut alice, _) = kit.alice().await;
        assert!(alice.cmd(&format!("XKEYRING {bad}")).await.starts_with("501 "), "{bad}");
        assert!(alice.is_closed().await, "{bad}");
    }
}

#[tokio::test]
async fn octets_are_read_and_dropped_where_it_is_refused() {
    let kit = Kit::new().await;
    let mut client = kit.submission().await;
    let reply = store(&mut client, "none", b"QUIT\r\nQUIT\r\n").await;
    assert_eq!(reply, "530 5.7.0 Authentication required\r\n");
    assert_eq!(client.cmd("NOOP").await, "250 2.0.0 OK\r\n");
}

#[tokio::test]
async fn r28_staged_with_a_pending_salt_and_current_with_the_key() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    let set = |n: u8, p: u8, s: i64| format!("SETPUBKEY {} {}", key(n).wire(), statement(n, p, s));
    assert_eq!(store(&mut alice, "none", b"old").await, "250 OK\r\n");
    assert_eq!(alice.cmd(&set(1, 0, 0)).await, "250 OK\r\n");
    alice.cmd("RSTSALT").await;
    assert!(store(&mut alice, "none", b"new").await.starts_with("554 5.5.1"), "compared when staged");
    assert_eq!(store(&mut alice, &hex(b"old"), b"dropped").await, "250 OK\r\n");
    assert_eq!(fetch(&mut alice).await, b"old", "only staged");
    // A second RSTSALT drops it.
    alice.cmd("RSTSALT").await;
    assert_eq!(alice.cmd(&set(2, 1, 10)).await, "250 OK\r\n");
    assert_eq!(fetch(&mut alice).await, b"old");
    // A renewal leaves it staged.
    alice.cmd("RSTSALT").await;
    assert_eq!(store(&mut alice, &hex(b"old"), b"new").await, "250 OK\r\n");
    assert_eq!(alice.cmd(&set(2, 1, 20)).await, "250 OK\r\n");
    assert_eq!(fetch(&mut alice).await, b"old");
    assert_eq!(alice.cmd(&set(3, 2, 30)).await, "250 OK\r\n");
    assert_eq!(fetch(&mut alice).await, b"new");
}

#[tokio::test]
async fn r28_compared_again_when_committed() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    let (mut other, _) = kit.alice().await;
    let set = |n: u8, p: u8, s: i64| format!("SETPUBKEY {} {}", key(n).wire(), statement(n, p, s));
    assert_eq!(alice.cmd(&set(1, 0, 0)).await, "250 OK\r\n");
    alice.cmd("RSTSALT").await;
    assert_eq!(store(&mut alice, "none", b"mine").await, "250 OK\r\n");
    assert_eq!(store(&mut other, "none", b"theirs").await, "250 OK\r\n");
    assert!(alice.cmd(&set(2, 1, 10)).await.starts_with("554 5.5.1"));
    assert_eq!(fetch(&mut alice).await, b"theirs", "nothing changed");
    let key_now = alice.cmd(&format!("PUBKEY {ALICE}")).await;
    assert_eq!(key_now, format!("220 ed25519 {}\r\n", key(1).wire()));
}
