//! AUTH HASHEDPASS, SCRAM, PLAIN, LOGIN and XENROL (profile §4, §5).

use super::kit::*;
use crate::scram::Scram;
use sealpost_proto::{base64, phc::Challenge};
use sealpost_server::admin::{Request, Response};
use std::time::Instant;

const INVALID: &str = "535 5.7.8 Authentication credentials invalid\r\n";

#[tokio::test]
async fn r15_r16_one_step_on_every_port_with_the_salt_in_the_same_write() {
    let kit = Kit::new().await;
    for mut client in
        [kit.submission().await, kit.mx().await.upgrade().await, kit.starttls_port().await.upgrade().await]
    {
        client.send(format!("{}\r\n", auth(ALICE, 1))).await;
        let got = client.one_read().await;
        let (ok, salt) = got.split_once("\r\n").unwrap();
        assert_eq!(ok, "235 2.7.0 Authentication successful");
        let salt = salt.strip_prefix("250 SALT ").unwrap().strip_suffix("\r\n").unwrap();
        assert_eq!(base64::decode(salt).unwrap().len(), 16);
        assert_eq!(client.cmd("GETSALT").await, format!("220 SALT {salt}\r\n"));
        assert!(client.cmd(&auth(ALICE, 1)).await.starts_with("503 5.5.1"), "already signed in");
    }
}

#[tokio::test]
async fn r15_two_steps_with_and_without_initial_response() {
    let kit = Kit::new().await;
    for initial in [true, false] {
        let mut client = kit.submission().await;
        let ask = response(ALICE, "");
        let reply = if initial {
            client.cmd(&format!("AUTH HASHEDPASS {ask}")).await
        } else {
            assert_eq!(client.cmd("AUTH HASHEDPASS").await, "334 \r\n");
            client.cmd(&ask).await
        };
        let text = base64::decode(reply.strip_prefix("334 ").unwrap().trim_end()).unwrap();
        let salt = base64::encode_unpadded([1; 16]);
        assert_eq!(String::from_utf8(text).unwrap(), format!("$argon2id$v=19$m=65536,t=3,p=1${salt}"));
        assert!(client.cmd(&response(ALICE, &base64::encode([1; 32]))).await.starts_with("235 "));
        assert!(client.reply().await.starts_with("250 SALT "));
    }
}

#[tokio::test]
async fn r15_malformed_is_501_and_no_failure() {
    let kit = Kit::new().await;
    let mut client = kit.submission().await;
    let hash = base64::encode([1; 32]);
    let rows = [
        "=".to_owned(),
        "!".to_owned(),
        response("", &hash),
        response("Alice@example.net", &hash),
        response("alice", &hash),
        base64::encode(format!("x\0{ALICE}\0{hash}")),
        response(ALICE, &base64::encode([1; 31])),
        response(ALICE, &hash[..43]),
        response(ALICE, "short"),
        base64::encode(format!("\0{ALICE}")),
    ];
    for row in &rows {
        assert!(client.cmd(&format!("AUTH HASHEDPASS {row}")).await.starts_with("501 5.5.2"), "{row}");
        assert_eq!(client.cmd("AUTH HASHEDPASS").await, "334 \r\n");
        assert!(client.cmd(row).await.starts_with("501 5.5.2"), "{row}");
    }
    for second in [response(BOB, &hash), response(ALICE, ""), "*".to_owned()] {
        assert!(client.cmd(&format!("AUTH HASHEDPASS {}", response(ALICE, ""))).await.starts_with("334 "));
        assert!(client.cmd(&second).await.starts_with("501 5.5.2"), "{second}");
    }
    assert!(client.cmd("AUTH FOO").await.starts_with("504 5.5.4"));
    // 23 faults later the account is not locked, since none was a failed login.
    assert!(client.cmd(&auth(ALICE, 1)).await.starts_with("235 "));
}

#[tokio::test]
async fn r15_wrong_hash_unknown_user_and_used_code_look_and_last_alike() {
    let kit = Kit::new().await;
    let code = kit.code("carol@example.net").await;
    let enrol = format!("XENROL carol@example.net {code} {}", phc(&[3; 16], 3));
    assert_eq!(kit.submission().await.cmd(&enrol).await, "250 2.0.0 OK\r\n");
    let again = format!("XENROL carol@example.net {code} {}", phc(&[4; 16], 4));
    let nobody = format!("XENROL nobody@example.net {code} {}", phc(&[4; 16], 4));
    let plain = format!("AUTH PLAIN {}", response(ALICE, "wrong"));
    let rows = [auth(ALICE, 9), auth("nobody@example.net", 1), again, nobody, plain];
    let mut times = Vec::new();
    for row in rows {
        let mut client = kit.submission().await;
        let start = Instant::now();
        assert_eq!(client.cmd(&row).await, INVALID, "{row}");
        times.push(start.elapsed().as_millis());
    }
    // One delay for all, far above what any of the checks takes.
    assert!(times.iter().all(|t| (495..990).contains(t)), "{times:?}");
}

#[tokio::test]
async fn unknown_and_not_enrolled_users_get_a_steady_challenge() {
    let kit = Kit::new().await;
    kit.code("carol@example.net").await;
    let mut seen = Vec::new();
    for user in ["nobody@example.net", "nobody@example.net", "carol@example.net", "nobody@elsewhere.example"]
    {
        let mut client = kit.submission().await;
        let reply = client.cmd(&format!("AUTH HASHEDPASS {}", response(user, ""))).await;
        let text = String::from_utf8(base64::decode(reply[4..].trim_end()).unwrap()).unwrap();
        let challenge = Challenge::from_phc(&text).unwrap();
        assert_eq!(challenge.salt.as_bytes().len(), 16);
        assert!(text.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"));
        seen.push(text);
        assert_eq!(client.cmd(&response(user, &base64::encode([1; 32]))).await, INVALID);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[2] != seen[0] && seen[3] != seen[0]);
}

#[tokio::test]
async fn plain_and_login_take_app_passwords_only() {
    let kit = Kit::new().await;
    kit.alice_by_app_password().await;
    let mut client = kit.submission().await;
    assert_eq!(client.cmd("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.cmd(&base64::encode("Alice@Example.NET")).await, "334 UGFzc3dvcmQ6\r\n");
    assert_eq!(client.cmd(&base64::encode(TOKEN)).await, "235 2.7.0 Authentication successful\r\n");
    assert_eq!(client.cmd("NOOP").await, "250 2.0.0 OK\r\n", "no salt follows");
    // The login hash is no app password, in any spelling, and an app password is no login hash.
    let raw = String::from_utf8(vec![1; 32]).unwrap();
    for token in [base64::encode([1; 32]), raw, "password".to_owned()] {
        let reply = kit.submission().await.cmd(&format!("AUTH PLAIN {}", response(ALICE, &token))).await;
        assert_eq!(reply, INVALID);
    }
    // Another account's app password is not mine.
    assert_eq!(kit.submission().await.cmd(&format!("AUTH PLAIN {}", response(BOB, TOKEN))).await, INVALID);
}

#[tokio::test]
async fn r15_scram_takes_app_passwords_and_proves_the_server() {
    let kit = Kit::new().await;
    kit.alice_by_app_password().await;
    let mut client = kit.submission().await;
    let mut scram = Scram::new("n,,", b"", "Alice@Example.NET", TOKEN);
    let challenge = client.cmd(&format!("AUTH SCRAM-SHA-256 {}", scram.first())).await;
    let proof = client.cmd(&scram.last(challenge[4..].trim_end())).await;
    assert!(scram.is_proved_by(proof[4..].trim_end()), "{proof}");
    assert_eq!(client.cmd("").await, "235 2.7.0 Authentication successful\r\n");
    assert_eq!(client.cmd("GETSALT").await, "530 5.7.0 Authentication required\r\n");
    client.cmd("EHLO client.example").await;
    client.mail(ALICE, &[BOB], "Subject: by SCRAM\r\n\r\nhello\r\n").await;
    assert!(kit.inbox(BOB).await.concat().contains("Subject: by SCRAM"));
    // The right token, and the client breaks off when it sees the proof: nobody is signed in.
    for end in ["*", "AA=="] {
        let mut client = kit.submission().await;
        let challenge = client.cmd(&format!("AUTH SCRAM-SHA-256 {}", scram.first())).await;
        client.cmd(&scram.last(challenge[4..].trim_end())).await;
        assert!(client.cmd(end).await.starts_with("501 5.5.2"));
        assert!(client.cmd(&format!("MAIL FROM:<{ALICE}>")).await.starts_with("50"));
        client.cmd("EHLO client.example").await;
        assert_eq!(
            client.cmd(&format!("MAIL FROM:<{ALICE}>")).await,
            "530 5.7.0 Authentication required\r\n"
        );
    }
    // Offered with -PLUS, so that "y" means that somebody took it out.
    let mut client = kit.submission().await;
    let mut stripped = Scram::new("y,,", b"", ALICE, TOKEN);
    let reply = client.cmd(&format!("AUTH SCRAM-SHA-256 {}", stripped.first())).await;
    assert!(reply.starts_with("501 5.5.2 SCRAM-SHA-256-PLUS was offered"), "{reply}");
    stripped = Scram::new("p=tls-unique,,", b"", ALICE, TOKEN);
    let reply = client.cmd(&format!("AUTH SCRAM-SHA-256-PLUS {}", stripped.first())).await;
    assert!(reply.starts_with("501 5.5.2 This channel binding is not supported"), "{reply}");
    // A wrong one, and nobody's.
    for (user, token) in [(ALICE, "wrong"), ("nobody@example.net", TOKEN)] {
        let mut scram = Scram::new("n,,", b"", user, token);
        let challenge = client.cmd(&format!("AUTH SCRAM-SHA-256 {}", scram.first())).await;
        assert_eq!(client.cmd(&scram.last(challenge[4..].trim_end())).await, INVALID);
    }
}

#[tokio::test]
async fn chosen_tokens_are_printable_ascii_of_some_length() {
    let kit = Kit::new().await;
    let add = |name: &str, token: String| Request::AppPasswordAdd {
        address: ALICE.into(),
        name: name.into(),
        token: Some(token),
    };
    for (name, token, taken) in [
        ("a", "x".repeat(19), false),
        ("b", "x".repeat(20), true),
        ("c", "x".repeat(1024), true),
        ("d", "x".repeat(1025), false),
        ("e", format!("{}\u{e9}", "x".repeat(30)), false),
        ("f", format!("{}\t", "x".repeat(30)), false),
        ("g", format!("{} ~!", "x".repeat(30)), true),
    ] {
        let answer = kit.admin(add(name, token)).await;
        assert_eq!(matches!(answer, Response::AppPassword { .. }), taken, "{name}");
    }
}

#[tokio::test]
async fn app_passwords_work_before_enrolment_and_end_with_revocation() {
    let kit = Kit::empty().await;
    kit.code(ALICE).await;
    kit.app_password(ALICE, "phone").await;
    let mut client = kit.alice_by_app_password().await;
    let revoke = Request::AppPasswordRevoke { address: ALICE.into(), name: "phone".into() };
    assert!(matches!(kit.admin(revoke).await, Response::Done));
    assert!(client.reply().await.starts_with("421 "));
    assert!(client.is_closed().await);
    let reply = kit.submission().await.cmd(&format!("AUTH PLAIN {}", response(ALICE, TOKEN))).await;
    assert_eq!(reply, INVALID);
}

#[tokio::test]
async fn r07_login_salts_are_unique_and_long_enough() {
    let kit = Kit::new().await;
    let code = kit.code("carol@example.net").await;
    let mut client = kit.submission().await;
    let short = base64::encode(format!(
        "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAA${}",
        base64::encode_unpadded([1; 32])
    ));
    let weak = base64::encode(format!(
        "$argon2id$v=19$m=19455,t=2,p=1${}${}",
        base64::encode_unpadded([7; 16]),
        base64::encode_unpadded([1; 32])
    ));
    for login in [phc(&[1; 16], 3), short, weak, "!!!!".into(), base64::encode("$argon2i$x")] {
        // A wrong code is always 535, whatever stands behind it; the right one says what is wrong.
        let wrong = client.cmd(&format!("XENROL carol@example.net wrong {login}")).await;
        assert_eq!(wrong, INVALID);
        let right = client.cmd(&format!("XENROL carol@example.net {code} {login}")).await;
        assert!(right.starts_with("501 5.5.4"), "{right}");
    }
    assert!(client.cmd("XENROL carol@example.net").await.starts_with("501 5.5.4"));
    let good = client.cmd(&format!("XENROL carol@example.net {code} {}", phc(&[3; 16], 3))).await;
    assert_eq!(good, "250 2.0.0 OK\r\n");
    assert_eq!(client.cmd("GETSALT").await, "530 5.7.0 Authentication required\r\n", "not signed in by it");
}

#[tokio::test]
async fn r07_key_salts_are_random_and_of_128_bits() {
    let kit = Kit::new().await;
    let (_, alice) = kit.alice().await;
    let mut bob = kit.submission().await;
    bob.cmd(&auth(BOB, 2)).await;
    let bob = bob.reply().await;
    assert_ne!(bob.trim_end(), format!("250 SALT {alice}"));
    assert_eq!(base64::decode(&alice).unwrap().len(), 16);
}

#[tokio::test]
async fn codes_expire() {
    let kit = Kit::empty().await;
    let code = kit.code(ALICE).await;
    kit.clock.forward(7 * 86_400);
    let reply = kit.submission().await.cmd(&format!("XENROL {ALICE} {code} {}", phc(&[1; 16], 1))).await;
    assert_eq!(reply, INVALID);
}

#[tokio::test]
async fn enrolling_again_withdraws_the_key_and_closes_sessions() {
    let kit = Kit::new().await;
    let (mut alice, salt) = kit.alice().await;
    assert_eq!(alice.cmd(&format!("SETPUBKEY {} {}", key(1).wire(), statement(1, 0, 0))).await, "250 OK\r\n");
    let mut app = kit.alice_by_app_password().await;
    let reset = kit.admin(Request::UserReset { address: ALICE.into() }).await;
    let Response::Code { code, .. } = reset else { panic!("no code") };
    assert_eq!(alice.cmd("NOOP").await, "250 2.0.0 OK\r\n", "the reset alone changes nothing");
    let mut device = kit.submission().await;
    assert_eq!(device.cmd(&format!("XENROL {ALICE} {code} {}", phc(&[5; 16], 5))).await, "250 2.0.0 OK\r\n");
    for client in [&mut alice, &mut app] {
        assert!(client.reply().await.starts_with("421 "));
    }
    assert_eq!(device.cmd(&auth(ALICE, 1)).await, INVALID);
    assert!(device.cmd(&auth(ALICE, 5)).await.starts_with("235 "));
    assert_ne!(device.reply().await, format!("250 SALT {salt}\r\n"));
    assert_eq!(
        device.cmd(&format!("PUBKEY {ALICE}")).await,
        format!("550 No public key available for {ALICE}\r\n")
    );
    assert!(device.cmd(&format!("XKEYINFO {ALICE}")).await.starts_with("220 "), "the chain is kept");
    let reply = kit.submission().await.cmd(&format!("AUTH PLAIN {}", response(ALICE, TOKEN))).await;
    assert_eq!(reply, INVALID, "app passwords are revoked");
}

#[tokio::test]
async fn r17_r18_neither_hash_nor_code_nor_token_lies_on_disk_or_in_the_log() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let kit = Kit::new().await;
    let code = kit.code("carol@example.net").await;
    let (mut alice, _) = kit.alice().await;
    kit.alice_by_app_password().await;
    let mut wrong = kit.submission().await;
    wrong.cmd(&auth(ALICE, 0x77)).await;
    wrong.cmd(&format!("AUTH PLAIN {}", response(ALICE, "a-wrong-token-of-somebody"))).await;
    alice.cmd("EHLO client.example").await;
    alice.mail(ALICE, &[BOB], "Subject: hello\r\n\r\nthe text of the mail\r\n").await;
    drop(guard);
    let (disk, log) = (kit.disk(), log.text());
    assert!(log.contains("message accepted"), "the log was really taken: {log}");
    let secrets = [
        vec![1; 32],
        base64::encode([1; 32]).into_bytes(),
        base64::encode([0x77; 32]).into_bytes(),
        code.into_bytes(),
        TOKEN.as_bytes().to_vec(),
        b"a-wrong-token-of-somebody".to_vec(),
        response(ALICE, TOKEN).into_bytes(),
    ];
    for secret in secrets {
        assert!(!contains(&disk, &secret), "{}", String::from_utf8_lossy(&secret));
        assert!(!contains(log.as_bytes(), &secret), "{}", String::from_utf8_lossy(&secret));
    }
    assert!(!log.contains("the text of the mail"));
}

#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
