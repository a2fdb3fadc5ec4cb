//! Profile §4 in POP3: what is offered when, and each way in and each refusal.

use super::harness::Pop3;
use crate::{
    kit::{ALICE, Kit, TOKEN, auth, response},
    scram::Scram,
};
use sealpost_proto::base64;
use sealpost_server::admin::Request;

#[tokio::test]
async fn r02_before_tls_no_password_is_taken() {
    let kit = Kit::new().await;
    let mut client = Pop3::clear(&kit).await;
    let offered = client.lines("CAPA").await;
    assert!(offered.iter().any(|tag| tag == "STLS"), "{offered:?}");
    assert!(!offered.iter().any(|tag| tag.starts_with("SASL") || tag == "USER"), "{offered:?}");
    for command in [
        format!("USER {ALICE}"),
        format!("PASS {TOKEN}"),
        auth(ALICE, 1),
        format!("AUTH PLAIN {}", response(ALICE, TOKEN)),
        "AUTH PLAIN".to_owned(),
        "AUTH".to_owned(),
    ] {
        let refused = client.err(&command).await;
        assert!(refused.starts_with("begin TLS first"), "{command}: {refused}");
    }
    for command in ["STAT", "LIST", "RETR 1", "DELE 1", "UIDL", "TOP 1 1", "NOOP", "RSET"] {
        client.err(command).await;
    }
}

#[tokio::test]
async fn stls_throws_away_what_was_pipelined() {
    let kit = Kit::new().await;
    let mut client = Pop3::clear(&kit).await;
    client.0.send(format!("STLS\r\nUSER {ALICE}\r\nPASS {TOKEN}\r\nQUIT\r\n")).await;
    assert_eq!(client.line().await, "+OK begin TLS");
    let mut client = Pop3(client.0.start_tls().await);
    // No greeting follows, and neither name nor password of before count.
    assert!(client.err(&format!("PASS {TOKEN}")).await.starts_with("USER comes before PASS"));
    let offered = client.lines("CAPA").await;
    assert!(!offered.iter().any(|tag| tag == "STLS"), "{offered:?}");
    assert!(offered.iter().any(|tag| tag.starts_with("SASL HASHEDPASS ")), "{offered:?}");
    client.err("STLS").await;
    client.ok(&format!("USER {ALICE}")).await;
    client.ok(&format!("PASS {TOKEN}")).await;
    client.ok("STAT").await;
}

#[tokio::test]
async fn r15_hashedpass_in_one_step_and_nothing_follows_the_ok() {
    let kit = Kit::new().await;
    let mut client = Pop3::connect(&kit).await;
    assert_eq!(client.ok(&auth(ALICE, 1)).await, "0 messages (0 octets)");
    // A salt line would stand before the next reply.
    assert_eq!(client.ok("STAT").await, "0 0");
    client.err(&auth(ALICE, 1)).await;
}

#[tokio::test]
async fn r15_hashedpass_in_two_steps_without_initial_response() {
    let kit = Kit::new().await;
    let mut client = Pop3::connect(&kit).await;
    assert_eq!(client.cmd("AUTH HASHEDPASS").await, "+ ");
    let challenge = client.cmd(&response(ALICE, "")).await;
    let challenge = base64::decode(challenge.strip_prefix("+ ").unwrap()).unwrap();
    assert!(challenge.starts_with(b"$argon2id$v=19$m=65536,t=3,p=1$"));
    client.ok(&response(ALICE, &base64::encode([1; 32]))).await;
    client.ok("STAT").await;
}

#[tokio::test]
async fn plain_and_login_take_app_passwords() {
    let kit = Kit::new().await;
    let mut client = Pop3::connect(&kit).await;
    client.ok(&format!("AUTH PLAIN {}", response(ALICE, TOKEN))).await;
    let mut client = Pop3::connect(&kit).await;
    assert_eq!(client.cmd("AUTH LOGIN").await, format!("+ {}", base64::encode("Username:")));
    assert_eq!(client.cmd(&base64::encode(ALICE)).await, format!("+ {}", base64::encode("Password:")));
    client.ok(&base64::encode(TOKEN)).await;
    // Old programs ask for the mechanisms with AUTH alone.
    let mut client = Pop3::connect(&kit).await;
    let offered = client.lines("AUTH").await;
    assert!(offered.iter().any(|name| name == "HASHEDPASS") && offered.iter().any(|name| name == "PLAIN"));
}

#[tokio::test]
async fn wrong_logins_are_auth_and_malformed_ones_are_not() {
    let kit = Kit::new().await;
    let mut client = Pop3::connect(&kit).await;
    let main_hash = base64::encode([1; 32]);
    for (command, start) in [
        (auth(ALICE, 9), "[AUTH] "),
        (auth("nobody@example.net", 1), "[AUTH] "),
        // Never compared with the verifier of the main password (profile §4).
        (format!("AUTH PLAIN {}", response(ALICE, &main_hash)), "[AUTH] "),
        ("AUTH HASHEDPASS =".to_owned(), "Malformed base64"),
        ("AUTH HASHEDPASS AAA".to_owned(), "Malformed base64"),
        (auth("Alice@example.net", 1), "The user name must be"),
        ("AUTH CRAM-MD5".to_owned(), "this mechanism is not offered"),
        ("APOP alice c4c9334bac560ecc979e58001b3e22fb".to_owned(), "APOP is not offered"),
    ] {
        let refused = client.err(&command).await;
        assert!(refused.starts_with(start), "{command}: {refused}");
    }
    for (user, password) in [(ALICE, "wrong"), ("nobody@example.net", TOKEN), ("no address", TOKEN)] {
        assert_eq!(client.ok(&format!("USER {user}")).await, "now the password");
        let refused = client.err(&format!("PASS {password}")).await;
        assert_eq!(refused, "[AUTH] the address or the password is wrong");
    }
    assert_eq!(client.cmd("AUTH PLAIN").await, "+ ");
    assert_eq!(client.err("*").await, "Authentication cancelled");
    client.ok(&auth(ALICE, 1)).await;
}

#[tokio::test]
async fn too_many_failures_are_login_delay_and_the_end() {
    let kit = Kit::with("limits.failed_logins = 1").await;
    kit.people().await;
    let mut client = Pop3::connect(&kit).await;
    assert!(client.err(&auth(ALICE, 9)).await.starts_with("[AUTH] "));
    let refused = client.err(&auth(ALICE, 1)).await;
    assert!(refused.starts_with("[LOGIN-DELAY] "), "{refused}");
    assert!(client.is_closed().await);
    // Counted with those of IMAP and SMTP, and forgotten in time.
    let mut smtp = kit.submission().await;
    assert!(smtp.cmd(&auth(ALICE, 1)).await.starts_with("421 4.7.0"));
    kit.clock.forward(601);
    Pop3::connect(&kit).await.ok(&auth(ALICE, 1)).await;
}

#[tokio::test]
async fn a_session_ends_with_its_login() {
    let kit = Kit::new().await;
    let mut by_password = Pop3::alice(&kit).await;
    let mut by_hash = Pop3::connect(&kit).await;
    by_hash.ok(&auth(ALICE, 1)).await;
    let request = Request::AppPasswordRevoke { address: ALICE.to_owned(), name: "test".to_owned() };
    kit.admin(request).await;
    assert!(by_password.line().await.starts_with("-ERR the password or key of this account has changed"));
    assert!(by_password.is_closed().await);
    by_hash.ok("STAT").await;
}

#[tokio::test]
async fn there_is_room_for_so_many_sessions() {
    let kit = Kit::with("limits.sessions_per_address = 1").await;
    let mut one = Pop3::connect(&kit).await;
    let mut two = crate::kit::Client::connect(kit.server.addresses.pop3[0]).await;
    assert_eq!(two.line().await, "-ERR [SYS/TEMP] Too many sessions from your address\r\n");
    assert!(two.is_closed().await);
    one.ok("QUIT").await;
}

#[tokio::test]
async fn r15_scram_takes_app_passwords_and_proves_the_server() {
    let kit = Kit::new().await;
    kit.alice_by_app_password().await;
    let mut client = Pop3::connect(&kit).await;
    let mut scram = Scram::new("n,,", b"", ALICE, TOKEN);
    let challenge = client.cmd(&format!("AUTH SCRAM-SHA-256 {}", scram.first())).await;
    let proof = client.cmd(&scram.last(challenge.strip_prefix("+ ").unwrap())).await;
    assert!(scram.is_proved_by(proof.strip_prefix("+ ").unwrap()), "{proof}");
    client.ok("").await;
    client.ok("STAT").await;
    // Nobody is signed in who breaks off at the server's proof, or has another app password.
    for (token, end) in [(TOKEN, "*"), (TOKEN, "AA=="), ("wrong", "")] {
        let mut client = Pop3::connect(&kit).await;
        let mut scram = Scram::new("n,,", b"", ALICE, token);
        let challenge = client.cmd(&format!("AUTH SCRAM-SHA-256 {}", scram.first())).await;
        let said = client.cmd(&scram.last(challenge.strip_prefix("+ ").unwrap())).await;
        if token == TOKEN {
            client.err(end).await;
        } else {
            assert!(said.starts_with("-ERR [AUTH] "), "{said}");
        }
        client.err("STAT").await;
    }
    let mut client = Pop3::connect(&kit).await;
    let stripped = Scram::new("y,,", b"", ALICE, TOKEN);
    let refused = client.err(&format!("AUTH SCRAM-SHA-256 {}", stripped.first())).await;
    assert!(refused.contains("SCRAM-SHA-256-PLUS was offered"), "{refused}");
}
