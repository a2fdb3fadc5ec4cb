//! Rows of profile §9, and of §8 for one's own servers: the home server lies to devices that know it, to new ones, and
//! while it takes a message.

use super::{
    ALICE, FIRST,
    both::{Row, bridge, cli, submit},
    words,
};
use sealpost_crypto::keyring::Keyring;
use sealpost_hostile::{Attack, Certificate, Flood, Tarpit, mallory, world};
use sealpost_proto::phc::{Challenge, Salt};
use world::World;

/// What stands in the way.
pub enum Way {
    /// This is done to the submission service.
    Attack(Attack),
    /// The keyring is one that Mallory made in Alice's name, with a later number.
    Planted,
    /// The keyring is the one of before.
    Older,
    /// The IMAP service is at this name and shows this certificate.
    Imap(&'static str, Certificate<'static>),
}
use Way::{Imap, Older, Planted};

/// A row with what is done for it.
pub struct Lie {
    pub row: Row,
    way: Way,
    /// What the command line does, in which folder.
    args: (&'static str, &'static [&'static str]),
    status: i32,
    does: Does,
}

/// What the bridge does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// A program sends a message.
    Sends,
    /// A program signs in to read.
    Reads,
    /// It is started where the command line stopped.
    Starts,
}

const SEND: (&str, &[&str]) = ("alice", &["send", "--to", ALICE, "--subject", "x", "/dev/null"]);
const ROTATE: (&str, &[&str]) = ("alice", &["key", "rotate"]);
const LOGIN: (&str, &[&str]) = ("alice", &["login", ALICE]);
const NEW_DEVICE: (&str, &[&str]) = ("phone", &["login", ALICE]);
const LIST: (&str, &[&str]) = ("alice", &["list"]);

pub fn rows() -> Vec<Lie> {
    let lie = |attack, way, args, (status, cli), (does, bridge)| Lie {
        row: Row { attack, cli, bridge },
        way,
        args,
        status,
        does,
    };
    // Both say the same while Alice writes.
    let same =
        |attack, way, status, said| lie(attack, Way::Attack(way), SEND, (status, said), (Does::Sends, said));
    let salt = || Salt::new([7; 16]).unwrap();
    // What the bridge does needs no keyring, and no password.
    let goes_on = (Does::Sends, "Handed to your mail server");
    let no_account = (Does::Starts, "there is no account in");
    let stops = "this device published and sent nothing";
    let unreached = "no IMAP server of example.net could be reached securely";
    vec![
        same(
            "Tells a known device another key salt",
            Attack::Salt(salt()),
            3,
            "tells another key salt than before",
        ),
        same(
            "Publishes another key for one's own address",
            Attack::SwapKey(mallory().public()),
            3,
            "which no statement of yours explains",
        ),
        same("Publishes no key for it any more", Attack::DenyKey, 3, "publishes no key for it any more"),
        same("Tells two salts in one login", Attack::CourtesySalt(salt()), 1, "salt"),
        same(
            "Offers no HASHEDPASS at home",
            Attack::Strip("HASHEDPASS"),
            1,
            "the server does not offer AUTH HASHEDPASS",
        ),
        same(
            "Takes the login no more",
            Attack::Answer("AUTH", "535 5.7.8 no"),
            6,
            "did not take this device's login",
        ),
        same("Never comes to the end of a line", Attack::Endless("EHLO", Flood::Line), 1, "too long"),
        same(
            "Takes a message and hangs up instead of saying so",
            Attack::LoseAnswer("BDAT"),
            5,
            "it is not certain that anything was sent",
        ),
        same(
            "Refuses a message for a while",
            Attack::Answer("BDAT", "452 4.3.1 disk full"),
            5,
            "452 4.3.1 disk full",
        ),
        lie(
            "Asks a known device for another hash of the password",
            Way::Attack(Attack::Challenge(Challenge { cost: world::CHEAP, salt: salt() })),
            LOGIN,
            (3, "asks for another hash of the password of alice@example.net than this device remembers"),
            goes_on,
        ),
        lie(
            "Asks a new device for a hash that costs nothing",
            Way::Attack(Attack::Challenge(Challenge {
                cost: sealpost_proto::phc::Cost { m_kib: 8, t: 1, p: 1 },
                salt: salt(),
            })),
            NEW_DEVICE,
            (1, "nothing was sent"),
            no_account,
        ),
        lie(
            "Tells a new device another key salt",
            Way::Attack(Attack::Salt(salt())),
            NEW_DEVICE,
            (1, stops),
            no_account,
        ),
        lie(
            "Tells a new device another key",
            Way::Attack(Attack::SwapKey(mallory().public())),
            NEW_DEVICE,
            (1, stops),
            no_account,
        ),
        lie(
            "Shows no keyring any more",
            Way::Attack(Attack::DenyKeyring),
            ROTATE,
            (1, "the server shows no keyring any more"),
            goes_on,
        ),
        lie(
            "Cuts the keyring",
            Way::Attack(Attack::CutKeyring(9)),
            ROTATE,
            (1, "the keyring on the server cannot be opened"),
            goes_on,
        ),
        lie(
            "Plants a keyring of another's",
            Planted,
            ROTATE,
            (1, "so the key is not changed: a new device could no longer read your old mail"),
            goes_on,
        ),
        lie(
            "Replays an old keyring",
            Older,
            ROTATE,
            (1, "so the key is not changed: a new device could no longer read your old mail"),
            goes_on,
        ),
        lie(
            "Hangs up whenever a key is about to be changed",
            Way::Attack(Attack::HangUp("SETPUBKEY")),
            ROTATE,
            (5, "the connection broke each time the key was about to be changed"),
            goes_on,
        ),
        lie(
            "Shows for IMAP a valid certificate of another domain",
            Imap("imap.example.net", Certificate::For("mail.example.com")),
            LIST,
            (5, "could be reached securely"),
            (Does::Reads, "could be reached securely"),
        ),
        lie(
            "Shows for IMAP a certificate of its own",
            Imap("imap.example.net", Certificate::SelfSigned("imap.example.net")),
            LIST,
            (5, unreached),
            (Does::Reads, unreached),
        ),
        lie(
            "Is another IMAP server, by a lie in the DNS",
            Imap("imap.evil.example", Certificate::For("imap.evil.example")),
            LIST,
            (3, "nothing ties that name to example.net"),
            (Does::Reads, "nothing ties the IMAP server imap.evil.example to example.net"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ones_own_server_can_do() {
    let world = World::start().await;
    let middle = world.between("example.net").await;
    let alice = world.enrolled(ALICE, FIRST).await;
    std::fs::write(world.folder("password-alice"), FIRST).unwrap();
    let store = &world.net.context.store;
    let (account, _) = store.login(&world::address(ALICE)).await.unwrap().unwrap();
    let older = store.keyring(account).await.unwrap().unwrap();
    cli(&world, "alice", "alice", &["key", "rotate"], 0).await;
    let present = alice.key_show().unwrap().key;
    let planted = Keyring::default()
        .seal(&world::address(ALICE), 1_000_000, &mallory(), std::slice::from_ref(&present))
        .unwrap();
    let bridge = bridge(&world, "alice", "alice");
    for Lie { row, way, args: (folder, args), status, does } in rows() {
        println!("{}", row.attack);
        let mut pit = None;
        match way {
            Way::Attack(attack) => middle.attack(attack),
            Planted => middle.attack(Attack::Keyring(planted.clone())),
            Older => middle.attack(Attack::Keyring(older.clone())),
            Imap(host, certificate) => {
                let acceptor = world.authority.acceptor(certificate);
                let liar = Tarpit::start(Some(acceptor), "* OK hello\r\n", None).await.unwrap();
                world.point_imap("example.net", host, liar.address);
                pit = Some(liar);
            }
        }
        let said = cli(&world, "alice", folder, args, status).await;
        assert!(said.contains(row.cli), "{}: {:?} in {said}", row.attack, row.cli);
        let heard = match does {
            Does::Sends => submit(&bridge, ALICE, ALICE),
            Does::Reads => words(&bridge.imap_login().1),
            Does::Starts => cli(&world, "alice", folder, &["bridge"], 1).await,
        };
        assert!(heard.contains(row.bridge), "{}: {:?} in {heard}", row.attack, row.bridge);
        if does == Does::Sends {
            assert_eq!(
                heard.starts_with("250 "),
                row.bridge.starts_with("Handed"),
                "{}: {heard}",
                row.attack
            );
        }
        // Without it both do as they did.
        middle.honest();
        if let Some(pit) = pit {
            assert_eq!(pit.heard(), 0, "{}: no login for him", row.attack);
            world.point_imap("example.net", "mail.example.net", world.net.addresses.imaps[0]);
        }
        cli(&world, "alice", SEND.0, SEND.1, 0).await;
        let reply = submit(&bridge, ALICE, ALICE);
        assert!(reply.starts_with("250 "), "{}, without it: {reply}", row.attack);
    }
    let imap = bridge.imap_login().1;
    assert!(imap.contains("a OK "), "{imap}");
    assert_eq!(alice.key_show().unwrap().key, present, "no key was changed");
}
