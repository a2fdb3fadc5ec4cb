//! The conversation with the home server: what is refused before a word is said, and an account's whole life against a
//! real server.

use crate::fake::{Ca, Fake, script};
use sealpost_client::submit::{Found, HomeError};
use sealpost_crypto::key::SecretKey;
use sealpost_lookup::{
    Lookup, LookupConfig,
    zone::{Zone, ZoneServer},
};
use sealpost_proto::{
    address::{Address, Domain, Mailbox},
    base64,
    drive::{ChainAnswer, Envelope, PubkeyAnswer, SmtpError},
    phc::{Challenge, Cost, LoginHash, LoginPhc, Salt},
    statement::{LIFE_SECONDS, SignedStatement, Statement},
    time::{SystemClock, Timestamp},
    transcript::Recorder,
};
use sealpost_server::{config::Config, run_with};
use sealpost_store::{Store, sqlite::SqliteStore};
use sha2::{Digest, Sha256};
use std::{io::Cursor, net::SocketAddr, sync::Arc};

const EHLO: &str = "250-mail\r\n250-ENCRYPTMESSAGE\r\n250 AUTH HASHEDPASS\r\n";

async fn world(ca: &Ca, port: u16, host: &str) -> (ZoneServer, Lookup) {
    let mut zone = Zone::new("example.net");
    zone.srv("_submissions._tcp.example.net", 0, 0, port, host).a(host, [127, 0, 0, 1].into());
    let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![zone]).await.unwrap();
    let config = LookupConfig {
        dns: Some(dns.address()),
        ca_file: Some(ca.file()),
        mx_port: Some(1),
        ehlo_name: None,
    };
    let lookup = Lookup::new(config).unwrap();
    (dns, lookup)
}

fn domain() -> Domain {
    Domain::parse("example.net").unwrap()
}

#[tokio::test]
async fn r03_no_login_hash_for_a_server_whose_name_nothing_ties_to_the_domain() {
    let ca = Ca::new();
    for (host, bound) in [("mail.example.net", true), ("mail.deep.example.net", false)] {
        let server = Fake::start(Some(ca.acceptor(host)), true, script(&[("EHLO", EHLO)])).await;
        let (_dns, lookup) = world(&ca, server.address.port(), host).await;
        let found = Found::connect(&lookup, &domain()).await.unwrap();
        assert_eq!(found.host().name, host);
        match found.if_bound() {
            Ok(home) => {
                assert!(bound, "{host}");
                home.quit().await;
            }
            Err(found) => {
                assert!(!bound, "{host}");
                // Confirmed by the user, once.
                found.confirmed().quit().await;
            }
        }
        assert!(!server.heard_line("AUTH"));
    }
}

#[tokio::test]
async fn r03_never_clear_text_to_the_home_server() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let answers = || script(&[("EHLO", EHLO), ("AUTH", "235 ok\r\n")]);
    for (what, server) in [
        ("no TLS", Fake::start(None, false, answers()).await),
        ("STARTTLS only", Fake::start(Some(ca.acceptor("mail.example.net")), false, answers()).await),
        ("another name", Fake::start(Some(ca.acceptor("mail.example.com")), true, answers()).await),
        (
            "another authority",
            Fake::start(Some(stranger.acceptor("mail.example.net")), true, answers()).await,
        ),
    ] {
        let (_dns, lookup) = world(&ca, server.address.port(), "mail.example.net").await;
        let found = Found::connect(&lookup, &domain()).await;
        assert!(matches!(found, Err(HomeError::Smtp { error: SmtpError::Tls(_), .. })), "{what}");
        assert!(!server.heard_line("EHLO"), "{what}");
    }
}

fn login(hash: u8, salt: u8) -> LoginPhc {
    let challenge = Challenge { cost: Cost::DEFAULT, salt: Salt::new([salt; 16]).unwrap() };
    LoginPhc { challenge, hash: LoginHash::from_bytes([hash; 32]) }
}

fn statement(key: &SecretKey, previous: Option<&SecretKey>, created: Timestamp) -> SignedStatement {
    let statement = Statement {
        addresses: vec![Address::parse("alice@example.net").unwrap()],
        key: key.public(),
        created,
        expires: created.plus(LIFE_SECONDS),
        previous: previous.map(SecretKey::public),
    };
    key.sign_statement(&statement, previous).unwrap()
}

#[tokio::test]
async fn r23_an_account_from_its_code_to_its_second_password() {
    let ca = Ca::new();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = ca.issue("mail.example.net");
    std::fs::write(dir.path().join("cert.pem"), certificate).unwrap();
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    let config = "hostname = \"mail.example.net\"\ndomains = [\"example.net\"]\ndata_dir = \"data\"\n\
                  [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[listen]\nsubmissions = \"127.0.0.1:0\"\n";
    let config = Config::parse(config, &dir.path().join("sealpost.toml")).unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(&dir.path().join("data")).unwrap();
    let server = run_with(config, Arc::clone(&store), Arc::new(SystemClock)).await.unwrap();
    let now = sealpost_proto::time::Clock::now(&SystemClock);
    let alice = Address::parse("alice@example.net").unwrap();
    let code = "a-code-made-for-this-test";
    let hash: [u8; 32] = Sha256::digest(code).into();
    store.create_account(&alice, hash, now.plus(3_600), now).await.unwrap();

    let submissions: SocketAddr = server.addresses.submissions[0];
    let (_dns, lookup) = world(&ca, submissions.port(), "mail.example.net").await;
    let tap = Arc::new(Recorder::default());
    let lookup = lookup.with_tap(tap.clone());
    let connect = async || Found::connect(&lookup, &domain()).await.unwrap().if_bound().ok().unwrap();
    let code_of = |result: Result<_, SmtpError>| result.err().and_then(|error| error.code());

    // Enrolment: a wrong code first.
    let mut home = connect().await;
    assert_eq!(code_of(home.session().enrol(&alice, "another-code", &login(1, 11)).await), Some(535));
    home.session().enrol(&alice, code, &login(1, 11)).await.unwrap();
    assert_eq!(code_of(home.session().enrol(&alice, code, &login(1, 12)).await), Some(535), "used up");
    assert_eq!(code_of(home.session().salt().await.map(|_| ())), Some(530));

    // A new device: the challenge, then the hash.
    let pending = home.session().login_challenge(&alice).await.unwrap();
    assert_eq!(*pending.challenge(), login(1, 11).challenge);
    pending.cancel().await.unwrap();
    let pending = home.session().login_challenge(&alice).await.unwrap();
    assert_eq!(code_of(pending.finish(&login(9, 11).hash).await.map(|_| ())), Some(535));
    let pending = home.session().login_challenge(&alice).await.unwrap();
    let salt = pending.finish(&login(1, 11).hash).await.unwrap();
    assert_eq!(home.session().salt().await.unwrap(), salt);

    // The first key and its statement.
    let (one, two) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
    let mailbox = [Mailbox::parse("alice@example.net").unwrap()];
    assert_eq!(home.session().pubkeys(&mailbox).await.unwrap(), [PubkeyAnswer::NoKey]);
    let first = statement(&one, None, now);
    home.session().set_key(&one.public(), Some(&first)).await.unwrap();
    assert_eq!(home.session().pubkeys(&mailbox).await.unwrap(), [PubkeyAnswer::Key(one.public())]);
    let chain = home.session().key_infos(&mailbox).await.unwrap();
    assert_eq!(chain, [ChainAnswer::Statements(vec![first.clone()])]);

    // Mail to oneself, over the same session.
    let message =
        b"From: alice@example.net\r\nTo: alice@example.net\r\nSubject: [...]\r\n\r\n.hidden words\r\n";
    let envelope = Envelope {
        reverse_path: Some("alice@example.net".into()),
        recipients: vec!["alice@example.net".into(), "nobody@example.net".into()],
        eight_bit: false,
        smtputf8: false,
        size: message.len() as u64,
    };
    let results = home.submit(&envelope, Box::new(Cursor::new(message)), |_| {}).await.unwrap();
    assert!(results[0].1.is_ok(), "{results:?}");
    assert_eq!(results[1].1.as_ref().unwrap_err().reply.code(), 550);

    // The keyring; a large one, so that its answer has many lines.
    assert_eq!(home.session().keyring().await.unwrap(), None);
    let ring = vec![7; 300_000];
    home.session().put_keyring(None, &ring).await.unwrap();
    assert_eq!(home.session().keyring().await.unwrap(), Some(ring.clone()));
    assert_eq!(code_of(home.session().put_keyring(None, b"x").await), Some(554));

    // A second password: pending salt, staged keyring, new login, in one transaction.
    let mut other = connect().await;
    other.sign_in(&alice, &login(1, 11).hash).await.unwrap();
    let pending = home.session().reset_salt().await.unwrap();
    assert_ne!(pending, salt);
    assert_eq!(other.session().salt().await.unwrap(), salt, "pending salts are their session's own");
    let replaces: [u8; 32] = Sha256::digest(&ring).into();
    home.session().put_keyring(Some(replaces), b"second").await.unwrap();
    let second = statement(&two, Some(&one), now.plus(1));
    home.session().change_password(&login(2, 22), &two.public(), &second).await.unwrap();
    assert_eq!(home.session().keyring().await.unwrap().as_deref(), Some(&b"second"[..]));
    let closed = other.session().salt().await.unwrap_err();
    assert!(closed.code() == Some(421) || closed.code().is_none(), "{closed}");
    home.quit().await;

    let mut home = connect().await;
    assert!(home.sign_in(&alice, &login(1, 11).hash).await.is_err(), "the old password");
    assert_eq!(home.sign_in(&alice, &login(2, 22).hash).await.unwrap(), pending);
    home.quit().await;

    // R18: nothing secret in what was recorded of all this.
    let shown = tap.to_text();
    for part in ["C: AUTH HASHEDPASS base64(\\0alice@example.net\\0", "S: 250 OK", "C: Subject: [...]"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let mut secrets = vec![code.to_owned(), "hidden words".to_owned(), "another-code".to_owned()];
    for n in [1u8, 2, 9] {
        secrets.push(base64::encode([n; 32]));
        secrets.push(base64::encode_unpadded([n; 32]));
        let payload = format!("\0alice@example.net\0{}", base64::encode([n; 32]));
        secrets.push(base64::encode(payload));
    }
    for phc in [login(1, 11), login(2, 22)] {
        secrets.push(base64::encode(phc.to_phc().as_bytes()));
    }
    for salt in [&salt, &pending] {
        secrets.push(base64::encode(salt.as_bytes()));
    }
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} in {shown}");
    }
    server.shutdown().await;
}
