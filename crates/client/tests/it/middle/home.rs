//! A hostile home server (profile §3, §4, §9): it lies about salts, costs and keys to devices old and new, offers less,
//! breaks off at every point, and asks for logins that are another server's.

use super::*;
use crate::world::{address, mailbox, secret};
use sealpost_client::client::Published;
use sealpost_hostile::{Attack, Certificate, Middle, mallory};
use sealpost_proto::phc::{Challenge, Cost, Salt};

struct Home {
    world: World,
    middle: Middle,
    alice: Client,
}

impl Home {
    async fn start() -> Self {
        let world = World::start().await;
        let middle = world.between("example.net").await;
        let alice = world.enrolled(ALICE, FIRST).await;
        Self { world, middle, alice }
    }

    /// A new device logs in.
    async fn login(&self, folder: &str) -> Result<(), ClientError> {
        let _ = std::fs::remove_dir_all(self.world.folder(folder));
        self.world.client(folder).login(&address(ALICE), &secret(FIRST)).await.map(|_| ())
    }

    fn only(&self, attack: &Attack) {
        self.middle.honest();
        self.middle.forget();
        self.middle.attack(attack.clone());
    }
}

fn salt(n: u8) -> Salt {
    Salt::new([n; 16]).unwrap()
}

fn challenge(m_kib: u32, t: u32, p: u32) -> Attack {
    Attack::Challenge(Challenge { cost: Cost { m_kib, t, p }, salt: salt(5) })
}

/// What the user of a device that was never here is told, and that nothing was published.
#[tokio::test(flavor = "multi_thread")]
async fn r22_a_new_device_stops_at_what_its_password_does_not_make() {
    let home = Home::start().await;
    let published = home.alice.key_show().unwrap().key;
    home.login("honest").await.unwrap();
    let not_ours = "this device published and sent nothing";
    for (attack, exit, words) in [
        (Attack::Salt(salt(7)), 1, not_ours),
        (Attack::SwapKey(mallory().public()), 1, not_ours),
        (Attack::CourtesySalt(salt(7)), 1, "salt"),
        (Attack::DenyKey, 3, "nothing was published now"),
        (challenge(8, 1, 1), 1, "nothing was sent"),
        (challenge(19_455, 2, 1), 1, "nothing was sent"),
        (challenge(4_194_304, 2, 1), 1, "nothing was sent"),
        (challenge(65_536, 17, 1), 1, "nothing was sent"),
        (challenge(65_536, 3, 9), 1, "nothing was sent"),
        // Within the policy, and not the account's: the hash fits nothing.
        (challenge(19_456, 3, 1), 6, "did not take the login"),
        (challenge(19_456, 2, 1), 6, "did not take the login"),
        (Attack::Answer("AUTH", "334 QUJD"), 1, "malformed"),
        (Attack::Answer("AUTH", "535 5.7.8 Authentication credentials invalid"), 6, "535"),
        (Attack::Strip("HASHEDPASS"), 1, "does not offer AUTH HASHEDPASS"),
        (Attack::Answer("XKEYINFO", "220 !!"), 1, "are wrong"),
        (Attack::ForgeStatement, 1, "are wrong"),
        (Attack::Answer("PUBKEY", "220 ed25519 QUJD"), 1, "unusable key"),
        (Attack::Answer("PUBKEY", "450 4.7.1 later"), 5, "did not tell the key"),
    ] {
        home.only(&attack);
        let error = home.login("phone").await.expect_err(&format!("{attack:?}"));
        assert_eq!(error.exit_code(), exit, "{attack:?}: {error}");
        assert!(error.to_string().contains(words), "{attack:?}: {words:?} in {error}");
        assert!(!home.middle.heard_line("SETPUBKEY") && !home.middle.heard_line("RSTSALT"), "{attack:?}");
        assert!(
            matches!(home.world.client("phone").key_show(), Err(ClientError::NoAccount(_))),
            "{attack:?}"
        );
        if words == "nothing was sent" || exit == 1 && words.contains("offer") {
            // The second step, which holds the hash, never came.
            assert!(!home.middle.heard().iter().any(|line| line.len() > 100), "{:?}", home.middle.heard());
        }
    }
    home.middle.honest();
    home.login("phone").await.unwrap();
    let there = home.world.net.context.store.public_key(&address(ALICE)).await.unwrap();
    assert_eq!(there, Some(published));
}

/// A device that knows its account takes what differs for an attack, and does not send, rotate or publish.
#[tokio::test(flavor = "multi_thread")]
async fn r22_a_known_device_takes_what_differs_for_an_attack() {
    let home = Home::start().await;
    let before = home.alice.key_show().unwrap();
    expect("honest", &home.alice, ALICE, NONE, Outcome::Sealed, &[]).await;
    for (attack, exit, words) in [
        (Attack::Salt(salt(7)), 3, "tells another key salt than before"),
        (Attack::SwapKey(mallory().public()), 3, "which no statement of yours explains"),
        (Attack::DenyKey, 3, "publishes no key for it any more"),
        (Attack::CourtesySalt(salt(7)), 1, "salt"),
        (Attack::Strip("HASHEDPASS"), 1, "does not offer AUTH HASHEDPASS"),
        (Attack::ForgeStatement, 1, "are wrong"),
        (Attack::Answer("AUTH", "535 5.7.8 no"), 6, "sealpost login alice@example.net"),
        // Were the hash asked for a second time, it would be said a second time.
        (Attack::Answer("AUTH", "334 "), 1, "AUTH"),
    ] {
        home.only(&attack);
        let sent = home.alice.send(crate::world::message(&[ALICE], "s", "t")).await.map(|_| ());
        let rotated = home.alice.rotate(&secret(FIRST), false).await.map(|_| ());
        let changed = home.alice.passwd(&secret(FIRST), &secret(SECOND)).await.map(|_| ());
        for error in [sent, rotated, changed].map(|result| result.expect_err(&format!("{attack:?}"))) {
            assert_eq!(error.exit_code(), exit, "{attack:?}: {error}");
            assert!(error.to_string().contains(words), "{attack:?}: {words:?} in {error}");
        }
        for verb in ["MAIL", "SETPUBKEY", "XPASSWD", "RSTSALT"] {
            assert!(!home.middle.heard_line(verb), "{attack:?}: {verb}");
        }
        assert_eq!(home.alice.key_show().unwrap(), before);
    }
    home.middle.honest();
    expect("honest again", &home.alice, ALICE, NONE, Outcome::Sealed, &[]).await;
    assert_eq!(home.alice.list("Sent").await.unwrap().len(), 2);
}

/// Hanging up at every point of a login, a rotation and a password change: afterwards everything is as before or as
/// after, and the user can always log in and read.
#[tokio::test(flavor = "multi_thread")]
async fn r28_hanging_up_at_every_point_leaves_no_account_halfway() {
    let home = Home::start().await;
    home.alice.send(crate::world::message(&[ALICE], "s", "old mail")).await.unwrap();
    home.world.arrived(&home.alice, 1).await;
    let verbs =
        ["GREETING", "EHLO", "AUTH", "GETSALT", "XKEYINFO", "PUBKEY", "XKEYRING", "RSTSALT", "SETPUBKEY"];
    let cuts = verbs.into_iter().flat_map(|verb| [Attack::HangUp(verb), Attack::LoseAnswer(verb)]);
    for attack in cuts {
        home.only(&attack);
        let before = home.alice.key_show().unwrap().key;
        // The key was taken, and only the answer got lost: the client signs in again and finds that out by itself.
        let took_effect = matches!(attack, Attack::LoseAnswer("SETPUBKEY"));
        match home.alice.rotate(&secret(FIRST), false).await {
            Ok(_) => assert!(took_effect, "{attack:?}"),
            Err(error) => assert_eq!((error.exit_code(), took_effect), (5, false), "{attack:?}: {error}"),
        }
        home.middle.honest();
        // The next command finds out what is in force.
        expect(&format!("{attack:?}"), &home.alice, ALICE, NONE, Outcome::Sealed, &[]).await;
        let after = home.alice.key_show().unwrap().key;
        assert_eq!(after != before, took_effect, "{attack:?}");
        home.login("phone").await.unwrap();
        let phone = home.world.client("phone");
        assert_eq!(phone.key_show().unwrap().key, after, "{attack:?}");
        let read = crate::world::read(&phone, "INBOX", sealpost_client::client::Which::Uid(1)).await;
        assert_eq!(read.content.unwrap().text.trim(), "old mail", "{attack:?}");
    }
    for verb in ["GREETING", "EHLO", "AUTH", "GETSALT", "XKEYINFO", "PUBKEY", "XKEYRING"] {
        home.only(&Attack::HangUp(verb));
        let error = home.login("phone").await.expect_err(verb);
        assert_eq!(error.exit_code(), 5, "{verb}: {error}");
    }
    // The password: its answer lost, and the command before it.
    home.only(&Attack::LoseAnswer("XPASSWD"));
    home.alice.passwd(&secret(FIRST), &secret(SECOND)).await.unwrap();
    home.middle.honest();
    expect("after it", &home.alice, ALICE, NONE, Outcome::Sealed, &[]).await;
    home.world.device("tablet", ALICE, SECOND).await;
    let old = home.world.client("watch").login(&address(ALICE), &secret(FIRST)).await.unwrap_err();
    assert_eq!(old.exit_code(), 6);
}

/// The code is used up by the first part of an enrolment, so the same command must go on from wherever it was cut off,
/// also when it is cut off a second time.
#[tokio::test(flavor = "multi_thread")]
async fn enrolment_goes_on_wherever_the_connection_broke() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    let verbs = ["XENROL", "AUTH", "GETSALT", "XKEYINFO", "PUBKEY", "SETPUBKEY", "XKEYRING"];
    let cuts = verbs.into_iter().flat_map(|verb| [Attack::HangUp(verb), Attack::LoseAnswer(verb)]);
    for (at, first) in cuts.enumerate() {
        for (again, second) in
            [Attack::HangUp("AUTH"), Attack::LoseAnswer("XKEYRING")].into_iter().enumerate()
        {
            let who = format!("user{at}.{again}@example.net");
            let (client, code) = (world.client(&who), world.add(&who).await);
            for attack in [&first, &second] {
                middle.honest();
                middle.attack(attack.clone());
                let error = crate::world::enrol(&client, &who, FIRST, code.clone()).await.unwrap_err();
                assert_eq!(error.exit_code(), 5, "{first:?}, {attack:?}: {error}");
            }
            middle.honest();
            let done = crate::world::enrol(&client, &who, FIRST, code).await;
            let done = done.unwrap_or_else(|error| panic!("{first:?}, {second:?}: {error}"));
            let device = world.device(&format!("second-{who}"), &who, FIRST).await;
            assert_eq!(device.key_show().unwrap().key, done.key.key, "{first:?}, {second:?}");
        }
    }
}

/// The server takes a key and publishes another one.
#[tokio::test(flavor = "multi_thread")]
async fn r04_enrolment_believes_what_is_published_and_not_what_was_said() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    let enrol = async |folder: &str, who: &str| {
        let code = world.add(who).await;
        crate::world::enrol(&world.client(folder), who, FIRST, code).await
    };
    enrol("honest", "honest@example.net").await.unwrap();
    middle.attack(Attack::SwapKey(mallory().public()));
    let error = enrol("alice", ALICE).await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("publishes the key"), "{error}");
    middle.honest();
    middle.attack(Attack::Strip("XSEALPOST"));
    let error = enrol("dave", "dave@example.net").await.unwrap_err();
    assert!(error.to_string().contains("does not offer XSEALPOST"), "{error}");
    middle.honest();
    middle.attack(Attack::Answer("XENROL", "535 5.7.8 Authentication credentials invalid"));
    assert_eq!(enrol("erin", "erin@example.net").await.unwrap_err().exit_code(), 6);
}

/// A server with a look-alike name asks Alice's server for her challenge and passes it on: what her password makes for
/// the look-alike opens nothing at her own server, for the name is in it.
#[tokio::test(flavor = "multi_thread")]
async fn r15_a_login_at_a_look_alike_is_worth_nothing_at_the_true_server() {
    let world = World::start().await;
    let alice = world.enrolled(ALICE, FIRST).await;
    let look_alike = "alice@examp1e.com";
    // He has a good certificate for his own name, bound to his own domain.
    let lair =
        world.between_as("example.com", "mail.examp1e.com", Certificate::For("mail.examp1e.com")).await;
    world.point("examp1e.com", "mail.examp1e.com", lair.address);
    let settings = world.net.context.store.login(&address(ALICE)).await.unwrap().unwrap().1;
    let true_challenge = Challenge { cost: settings.cost, salt: settings.salt };
    lair.attack(Attack::Challenge(true_challenge));
    let error = world.client("misled").login(&address(look_alike), &secret(FIRST)).await.unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    let said = lair.heard();
    let message = said.iter().find(|line| line.len() > 60 && !line.contains(' ')).expect("the hash was said");
    let message = String::from_utf8(sealpost_proto::base64::decode(message).unwrap()).unwrap();
    let hash = message.rsplit('\0').next().unwrap();

    // He tries it at once where the challenge came from.
    let lookup = sealpost_lookup::Lookup::new(sealpost_lookup::LookupConfig {
        dns: Some(world.dns.address()),
        ca_file: world.settings("x").ca_file,
        mx_port: world.settings("x").mx_port,
        ehlo_name: None,
    })
    .unwrap();
    let connect = async || {
        let found = sealpost_client::submit::Found::connect(&lookup, &address(ALICE).domain()).await.unwrap();
        found.if_bound().ok().unwrap()
    };
    let octets: [u8; 32] = sealpost_proto::base64::decode(hash).unwrap().try_into().unwrap();
    let stolen = sealpost_proto::phc::LoginHash::from_bytes(octets);
    let refused = connect().await.sign_in(&address(ALICE), &stolen).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("535")));
    // Alice's own, made from the same password, salt and cost, is taken.
    let kdf = sealpost_crypto::kdf::login_hash(
        &address(ALICE),
        &secret(FIRST),
        &world.net.context.store.login(&address(ALICE)).await.unwrap().unwrap().1.salt,
        crate::world::CHEAP,
    );
    connect().await.sign_in(&address(ALICE), &kdf.unwrap()).await.unwrap();
    let there = alice.key_lookup(&mailbox(ALICE)).await.unwrap().published;
    assert!(matches!(there, Published::Key { .. }));
}

/// A device that knows the account's salt and cost does not make another hash of the password because the server asks
/// for it: cheap ones, and those that a table was made for, are what a hostile one would ask for.
#[tokio::test(flavor = "multi_thread")]
async fn r06_a_known_device_makes_no_other_hash_than_the_one_it_remembers() {
    let home = Home::start().await;
    let login = async || home.alice.login(&address(ALICE), &secret(FIRST)).await.map(|_| ());
    login().await.unwrap();
    for attack in [challenge(19_456, 2, 1), challenge(65_536, 3, 1)] {
        home.only(&attack);
        let error = login().await.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{attack:?}: {error}");
        assert!(error.to_string().contains("asks for another hash of the password"), "{attack:?}: {error}");
        assert!(!home.middle.heard().iter().any(|line| line.len() > 100), "{:?}", home.middle.heard());
    }
    // The user says that it is right, and is taken at his word: it is not.
    let agreeable = std::sync::Arc::new(crate::world::Agreeable::default());
    let error =
        home.world.client_with("alice", agreeable).login(&address(ALICE), &secret(FIRST)).await.unwrap_err();
    assert_eq!(error.exit_code(), 6, "{error}");
    home.middle.honest();
    login().await.unwrap();
    // A password changed elsewhere is told of by a statement, and nobody is asked.
    let phone = home.world.device("phone", ALICE, FIRST).await;
    phone.passwd(&secret(FIRST), &secret(SECOND)).await.unwrap();
    home.alice.login(&address(ALICE), &secret(SECOND)).await.unwrap();
}

/// The IMAP server is found in the DNS too, under the same rule: no login for a name that nothing ties to the domain,
/// and none without TLS that proves the name.
#[tokio::test(flavor = "multi_thread")]
async fn r04_no_login_for_an_imap_server_of_another_name() {
    let home = Home::start().await;
    home.alice.list("INBOX").await.unwrap();
    let evil = "imap.evil.example";
    for (host, certificate, exit, words) in [
        (evil, Certificate::For(evil), 3, "nothing ties that name to example.net"),
        ("imap.example.net", Certificate::For(evil), 5, "could be reached securely"),
        ("imap.example.net", Certificate::SelfSigned("imap.example.net"), 5, "could be reached securely"),
        ("imap.example.net", Certificate::Expired("imap.example.net"), 5, "could be reached securely"),
    ] {
        let acceptor = home.world.authority.acceptor(certificate);
        let pit = sealpost_hostile::Tarpit::start(Some(acceptor), "* OK hello\r\n", None).await.unwrap();
        home.world.point_imap("example.net", host, pit.address);
        let error = home.alice.list("INBOX").await.unwrap_err();
        assert_eq!(error.exit_code(), exit, "{certificate:?}: {error}");
        assert!(error.to_string().contains(words), "{certificate:?}: {error}");
        assert!(pit.connections() > 0 && pit.heard() == 0, "{certificate:?}: {} octets", pit.heard());
    }
}

/// Hanging up while a message is handed over: it is not called sent, and is sent once at most each time the user says
/// so.
#[tokio::test(flavor = "multi_thread")]
async fn r23_a_message_whose_submission_breaks_off_is_not_called_sent() {
    let home = Home::start().await;
    let send = async || home.alice.send(crate::world::message(&[ALICE], "s", "t")).await.map(|_| ());
    send().await.unwrap();
    home.world.arrived(&home.alice, 1).await;
    for attack in [
        Attack::HangUp("MAIL"),
        Attack::LoseAnswer("RCPT"),
        Attack::HangUp("BDAT"),
        Attack::Answer("MAIL", "451 4.3.2 later"),
        Attack::Answer("RCPT", "550 5.1.1 nobody"),
        Attack::Answer("BDAT", "452 4.3.1 disk full"),
    ] {
        home.only(&attack);
        let error = send().await.expect_err(&format!("{attack:?}"));
        let permanent = matches!(attack, Attack::Answer("RCPT", _));
        assert_eq!(error.exit_code() == 5, !permanent, "{attack:?}: {error}");
        assert_eq!(home.alice.list("Sent").await.unwrap().len(), 1, "{attack:?}");
    }
    // The server took it, and the answer got lost: nobody on this side can know, and the user is told that.
    home.only(&Attack::LoseAnswer("BDAT"));
    let error = send().await.unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    for words in ["it is not certain that anything was sent", "may have taken the message all the same"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    home.middle.honest();
    send().await.unwrap();
}
