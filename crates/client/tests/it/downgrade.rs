//! A foreign domain whose server offers more, then less, as a stripping proxy would have it (profile §7, §8).

use crate::world::{World, mailbox, message};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use sealpost_client::{
    client::{Client, Outcome, Policy, RecipientReport},
    error::ClientError,
};
use sealpost_crypto::key::SecretKey;
use sealpost_hostile::Certificate;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const ALICE: &str = "alice@example.net";
const BOB: &str = "bob@example.org";
const FIRST: &str = "purple walrus juggles forty lanterns";

/// What the scripted server says.
#[derive(Clone)]
struct Script {
    keywords: Vec<&'static str>,
    pubkey: String,
}

/// A server that knows EHLO, PUBKEY and QUIT, behind TLS.
struct Scripted(Arc<Mutex<Script>>);

impl Scripted {
    async fn start(world: &World, domain: &str, host: &str, script: Script) -> Self {
        let (certificate, key) = world.authority.der(Certificate::For(host));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(certificate)], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.add_domain(domain, host, listener.local_addr().unwrap().port());
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, script) = (acceptor.clone(), shared.lock().unwrap().clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        let _ = converse(stream, &script).await;
                    }
                });
            }
        });
        Self(script)
    }

    fn now(&self, keywords: &[&'static str], pubkey: &str) {
        *self.0.lock().unwrap() = Script { keywords: keywords.to_vec(), pubkey: pubkey.to_owned() };
    }
}

async fn converse(
    stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    script: &Script,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.org ESMTP\r\n").await?;
    stream.flush().await?;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let verb = line.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => {
                let offered = [&["mail.example.org"], script.keywords.as_slice()].concat();
                format!("250-{}\r\n250 PIPELINING\r\n", offered.join("\r\n250-"))
            }
            "PUBKEY" => format!("{}\r\n", script.pubkey),
            "QUIT" => "221 bye\r\n".to_owned(),
            _ => "502 5.5.1 not implemented\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await?;
        stream.flush().await?;
        line.clear();
    }
    Ok(())
}

const ALL: [&str; 3] = ["ENCRYPTMESSAGE", "SIGNMESSAGE", "AUTH HASHEDPASS PLAIN"];

fn key(n: u8) -> String {
    format!("220 ed25519 {}", SecretKey::from_seed([n; 32]).public().wire())
}

/// The report for one recipient, and whether the message left.
async fn send(client: &Client, to: &str, policy: Policy) -> (bool, RecipientReport) {
    let mut request = message(&[to], "s", "t");
    request.policy = policy;
    match client.send(request).await {
        Ok(mut report) => (true, report.recipients.remove(0)),
        Err(ClientError::NotSent(mut report)) => (false, report.recipients.remove(0)),
        Err(error) => panic!("{error}"),
    }
}

const NONE: Policy = Policy { allow_plain: false, sealed_only: false, trust_first_use: false };
const PLAIN: Policy = Policy { allow_plain: true, ..NONE };
const TRUST: Policy = Policy { trust_first_use: true, ..NONE };
const BOTH: Policy = Policy { allow_plain: true, trust_first_use: true, ..NONE };

#[tokio::test(flavor = "multi_thread")]
async fn r03_each_of_the_three_keywords_is_missed_by_name() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let there = Script { keywords: ALL.to_vec(), pubkey: key(1) };
    let server = Scripted::start(&world, "example.org", "mail.example.org", there).await;
    assert_eq!(send(&alice, BOB, NONE).await.1.outcome, Outcome::Sealed);
    for (gone, name) in [(0, "ENCRYPTMESSAGE"), (1, "SIGNMESSAGE"), (2, "HASHEDPASS")] {
        let left: Vec<&str> = ALL.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, k)| *k).collect();
        server.now(&left, &key(1));
        // A contact with a pin, and a new one of the same domain; no option helps.
        for to in [BOB, "carol@example.org"] {
            let (sent, report) = send(&alice, to, BOTH).await;
            assert!(!sent && report.outcome == Outcome::Refused, "{to} without {name}: {report:?}");
            assert!(report.why.contains(name), "{}", report.why);
        }
    }
    server.now(&ALL, "550 No public key available for bob@example.org");
    assert!(!send(&alice, BOB, BOTH).await.0, "a key that vanishes");
    server.now(&ALL, "450 4.7.1 later");
    let (sent, report) = send(&alice, BOB, BOTH).await;
    assert!(!sent && report.outcome == Outcome::TryLater, "{report:?}");
    server.now(&ALL, &key(2));
    assert!(!send(&alice, BOB, BOTH).await.0, "another key");
    server.now(&ALL, &key(1));
    assert_eq!(send(&alice, BOB, NONE).await.1.outcome, Outcome::Sealed, "all is as it was");

    // The domain gives SIGNMESSAGE up, and the user says that this is right.
    server.now(&["ENCRYPTMESSAGE", "AUTH HASHEDPASS"], &key(1));
    assert!(!send(&alice, BOB, BOTH).await.0);
    let fingerprint = SecretKey::from_seed([1; 32]).public().fingerprint();
    alice.contact_accept(&mailbox(BOB), Some(&fingerprint)).await.unwrap();
    assert_eq!(send(&alice, BOB, NONE).await.1.outcome, Outcome::Sealed);
    // And all of it: the contact is forgotten first, then the policy for new ones counts.
    server.now(&[], "502 5.5.1 not implemented");
    assert!(!send(&alice, BOB, BOTH).await.0);
    alice.contact_forget(&mailbox(BOB)).await.unwrap();
    assert!(!send(&alice, BOB, NONE).await.0);
    assert_eq!(send(&alice, BOB, PLAIN).await.1.outcome, Outcome::Plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn r04_a_key_from_a_server_of_another_name_needs_trust_first_use() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let there = Script { keywords: ALL.to_vec(), pubkey: key(1) };
    let server = Scripted::start(&world, "example.org", "mx.provider.example", there).await;
    let (sent, report) = send(&alice, BOB, PLAIN).await;
    assert!(!sent && report.why.contains("--trust-first-use"), "{report:?}");
    let (sent, report) = send(&alice, BOB, TRUST).await;
    assert!(sent && report.outcome == Outcome::Sealed, "{report:?}");
    assert!(alice.contact(&mailbox(BOB)).unwrap().learnt.to_string().contains("first use"));
    assert_eq!(send(&alice, BOB, NONE).await.1.outcome, Outcome::Sealed, "the pin proves it now");
    // A negative of such a server is not definite.
    server.now(&ALL, "550 No public key available for carol@example.org");
    let (sent, report) = send(&alice, "carol@example.org", PLAIN).await;
    assert!(!sent && report.outcome == Outcome::TryLater, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r24_an_ordinary_server_gets_plain_mail_where_the_user_says_so() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let ordinary = Script { keywords: vec!["8BITMIME"], pubkey: "502 5.5.1 not implemented".to_owned() };
    Scripted::start(&world, "example.org", "mail.example.org", ordinary).await;
    let (sent, report) = send(&alice, BOB, NONE).await;
    assert!(
        !sent && report.why.contains("--allow-plain") && report.why.contains("ENCRYPTMESSAGE"),
        "{report:?}"
    );
    assert_eq!(send(&alice, BOB, PLAIN).await.1.outcome, Outcome::Plain);
    assert!(alice.contacts().unwrap().is_empty());
}
