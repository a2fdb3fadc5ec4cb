//! The table of profile §5: every verb, before TLS, in TLS, and after HASHEDPASS.

use super::kit::*;

const STARTTLS_FIRST: &str = "530 5.7.0 Must issue a STARTTLS command first\r\n";
const AUTH_REQUIRED: &str = "530 5.7.0 Authentication required\r\n";

/// Arguments do not matter where the state is wrong: good ones and nonsense get the same.
fn guarded() -> Vec<String> {
    let statement = statement(1, 0, 0);
    vec![
        "GETSALT".into(),
        "RSTSALT".into(),
        "RSTSALT nonsense".into(),
        format!("SETPUBKEY {}", key(1).wire()),
        format!("SETPUBKEY {} {statement}", key(1).wire()),
        "SETPUBKEY".into(),
        "SETPUBKEY !!!".into(),
        format!("XPASSWD {} {} {statement}", phc(&[9; 16], 9), key(1).wire()),
        "XPASSWD".into(),
        "XKEYRING".into(),
        "XKEYRING none 5\r\nhello".into(),
    ]
}

async fn send(client: &mut Client, line: &str) -> String {
    // Octets behind XKEYRING's line have no line end of their own.
    let line = if line.contains("\r\n") { line.to_owned() } else { format!("{line}\r\n") };
    client.send(line).await;
    client.reply().await
}

#[tokio::test]
async fn r02_before_tls_nothing_secret_is_taken() {
    let kit = Kit::new().await;
    for mut client in [kit.mx().await, kit.starttls_port().await] {
        for hello in [false, true] {
            if hello {
                client.cmd("EHLO client.example").await;
            }
            for line in guarded() {
                assert_eq!(send(&mut client, &line).await, STARTTLS_FIRST, "{line}");
            }
            for line in
                [auth(ALICE, 1), "AUTH HASHEDPASS".into(), "AUTH PLAIN AGEAYg==".into(), "AUTH LOGIN".into()]
            {
                assert_eq!(client.cmd(&line).await, STARTTLS_FIRST, "{line}");
            }
            assert_eq!(
                client.cmd(&format!("XENROL {ALICE} code {}", phc(&[9; 16], 9))).await,
                STARTTLS_FIRST
            );
        }
        assert_eq!(client.cmd("QUIT").await, "221 2.0.0 Bye\r\n");
    }
}

#[tokio::test]
async fn r12_r13_r14_unauthenticated_in_tls() {
    let kit = Kit::new().await;
    for mut client in
        [kit.submission().await, kit.mx().await.upgrade().await, kit.starttls_port().await.upgrade().await]
    {
        for line in guarded() {
            assert_eq!(send(&mut client, &line).await, AUTH_REQUIRED, "{line}");
        }
    }
}

#[tokio::test]
async fn app_password_sessions_are_nobody_to_the_keys() {
    let kit = Kit::new().await;
    let mut client = kit.alice_by_app_password().await;
    for line in guarded() {
        assert_eq!(send(&mut client, &line).await, AUTH_REQUIRED, "{line}");
    }
    // And XENROL is judged as in any session without HASHEDPASS.
    assert!(client.cmd(&format!("XENROL {ALICE} code {}", phc(&[9; 16], 9))).await.starts_with("535 5.7.8"));
}

#[tokio::test]
async fn xenrol_after_hashedpass_is_503() {
    let kit = Kit::new().await;
    let (mut alice, _) = kit.alice().await;
    for line in ["XENROL", "XENROL a@example.net b c"] {
        assert!(alice.cmd(line).await.starts_with("503 5.5.1"));
    }
}

#[tokio::test]
async fn r01_ehlo_before_and_in_tls_on_all_ports() {
    let kit = Kit::empty().await;
    for clear in [kit.mx().await, kit.starttls_port().await] {
        let mut client = clear;
        for hello in ["EHLO client.example", "EHLO [127.0.0.1]"] {
            let reply = client.cmd(hello).await;
            assert!(!reply.contains("AUTH"), "{reply}");
            for keyword in
                ["250-STARTTLS\r\n", "250-ENCRYPTMESSAGE\r\n", "250-SIGNMESSAGE\r\n", "XSEALPOST 1\r\n"]
            {
                assert!(reply.contains(keyword), "{reply}");
            }
        }
        in_tls(&mut client.upgrade().await).await;
    }
    in_tls(&mut kit.submission().await).await;
}

async fn in_tls(client: &mut Client) {
    let reply = client.cmd("EHLO client.example").await;
    for keyword in [
        "AUTH HASHEDPASS SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN",
        "ENCRYPTMESSAGE",
        "SIGNMESSAGE",
        "XSEALPOST 1",
        "PIPELINING",
        "SIZE 104857600",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
    ] {
        assert!(reply.lines().any(|l| &l[4..] == keyword), "{keyword}: {reply}");
    }
    assert!(!reply.contains("STARTTLS"), "{reply}");
    assert!(reply.starts_with("250-mail.example.net\r\n"));
    assert!(client.cmd("STARTTLS").await.starts_with("503 5.5.1"));
}

#[tokio::test]
async fn verbs_leave_a_transaction_as_it_is_and_may_be_pipelined() {
    let kit = Kit::new().await;
    let (mut alice, salt) = kit.alice().await;
    alice.cmd("EHLO client.example").await;
    assert_eq!(alice.cmd(&format!("MAIL FROM:<{ALICE}>")).await, "250 2.1.0 OK\r\n");
    assert_eq!(alice.cmd(&format!("RCPT TO:<{BOB}>")).await, "250 2.1.5 OK\r\n");
    alice.send(format!("GETSALT\r\nPUBKEY {BOB}\r\nXKEYINFO {BOB}\r\nXKEYRING\r\n")).await;
    assert_eq!(alice.reply().await, format!("220 SALT {salt}\r\n"));
    assert_eq!(alice.reply().await, format!("550 No public key available for {BOB}\r\n"));
    assert_eq!(alice.reply().await, format!("550 No public key available for {BOB}\r\n"));
    assert!(alice.reply().await.starts_with("550 "));
    assert!(alice.cmd(&auth(ALICE, 1)).await.starts_with("503 5.5.1"));
    assert_eq!(alice.cmd(&format!("SETPUBKEY {}", key(3).wire())).await, "250 OK\r\n");
    assert!(alice.cmd("DATA").await.starts_with("354"));
    assert!(alice.cmd("Subject: x\r\n\r\nhello\r\n.").await.starts_with("250 2.0.0 OK"));
    assert_eq!(kit.inbox(BOB).await.len(), 1);
}

#[tokio::test]
async fn auth_in_a_transaction_is_503() {
    let kit = Kit::new().await;
    let mut client = kit.mx().await.upgrade().await;
    client.cmd("EHLO client.example").await;
    client.cmd("MAIL FROM:<x@example.com>").await;
    assert!(client.cmd(&auth(ALICE, 1)).await.starts_with("503 5.5.1"));
    client.cmd("RSET").await;
    assert!(client.cmd(&auth(ALICE, 1)).await.starts_with("235 "));
}

#[tokio::test]
async fn r02_starttls_forgets_what_was_said_and_what_was_sent() {
    let kit = Kit::new().await;
    let mut client = kit.mx().await;
    client.cmd("EHLO client.example").await;
    client.cmd("MAIL FROM:<x@example.com>").await;
    // Pipelined behind STARTTLS in the clear: must not be executed in TLS.
    client.send("STARTTLS\r\nRSET\r\nNOOP\r\n").await;
    assert_eq!(client.reply().await, "220 2.0.0 Ready to start TLS\r\n");
    let mut client = client.start_tls().await;
    assert!(client.cmd("MAIL FROM:<x@example.com>").await.starts_with("503 5.5.1"), "EHLO is forgotten");
    assert_eq!(client.cmd("NOOP").await, "250 2.0.0 OK\r\n");
}
