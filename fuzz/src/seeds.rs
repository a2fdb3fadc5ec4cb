//! The people of the corpora, and the inputs that only their private keys can make. The keys are no secret: what they
//! sign and seal is known here, so that a target can say of everything else that it must not be taken.

use sealpost_client::compose::{Composition, Copy, Draft, Outgoing};
use sealpost_crypto::{key::SecretKey, keyring, seal};
use sealpost_proto::{
    address::{Address, Mailbox},
    statement::{LIFE_SECONDS, SignedStatement, Statement},
    time::Timestamp,
};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

/// The moment at which all of it plays.
pub const NOW: i64 = 1_800_000_000;
/// What the one signature of the target `sshsig` is over.
pub const SIGNED: &[u8] = b"hello\n";
/// Its namespace.
pub const SIGNED_NAMESPACE: &str = "sealpost-fuzz";
/// How every plain text of the target `age` begins.
pub const SEALED: &[u8] = b"sealed by the fuzzer\r\n";

/// Who writes.
pub fn alice() -> SecretKey {
    SecretKey::from_seed([1; 32])
}
/// Alice's key after a rotation.
pub fn alice_later() -> SecretKey {
    SecretKey::from_seed([11; 32])
}
/// Who reads.
pub fn bob() -> SecretKey {
    SecretKey::from_seed([2; 32])
}
/// Nobody's friend.
pub fn mallory() -> SecretKey {
    SecretKey::from_seed([3; 32])
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("an address written in this file")
}
fn address(text: &str) -> Address {
    Address::parse(text).expect("an address written in this file")
}

/// A text that was signed, by Message-ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Message-ID.
    pub id: String,
    /// Subject.
    pub subject: String,
    /// Text.
    pub text: String,
}

/// Everything that Alice ever signed, with how it goes out.
fn compositions() -> Vec<(&'static str, Draft, Composition)> {
    let texts = [
        ("short", "Hello", "Hello Bob,\n\nnothing new.\n"),
        (
            "folded",
            "A subject so long that it is folded, and with an ö and an \u{1f642} in it too, for good measure",
            "From here\n.\n..\n\u{1f642}\n",
        ),
        (
            "long",
            "Long",
            "A line of text that is repeated until the armour has several chunks of base64 in it.\n",
        ),
    ];
    let make = |(name, subject, text): (&'static str, &str, &str)| {
        let n = u8::try_from(name.len()).unwrap_or(0);
        let times = if name == "long" { 40 } else { 1 };
        let draft = Draft {
            from: mailbox("alice@example.net"),
            to: vec![mailbox("bob@example.org")],
            cc: if name == "folded" { vec![mailbox("carol@example.com")] } else { Vec::new() },
            bcc: Vec::new(),
            subject: subject.to_owned(),
            text: text.repeat(times),
            attachments: Vec::new(),
            carried: Vec::new(),
            in_reply_to: Some("<earlier@example.org>".to_owned()),
            references: vec!["<first@example.org>".to_owned(), "<earlier@example.org>".to_owned()],
        };
        let composition = Composition::new(draft.clone(), Timestamp(NOW - 100), [n; 16]);
        (name, draft, composition.expect("a draft written in this file"))
    };
    texts.into_iter().map(make).collect()
}

/// What Alice signed, as a reader shows it.
pub fn written() -> Vec<Written> {
    let all = compositions();
    all.iter()
        .map(|(_, draft, composition)| Written {
            id: composition.message_id().to_owned(),
            subject: draft.subject.clone(),
            text: draft.text.clone(),
        })
        .collect()
}

/// Signed statements: a first one, its renewal, a rotation.
fn statements() -> Vec<SignedStatement> {
    let statement = |key: &SecretKey, previous: Option<&SecretKey>, created: i64| Statement {
        addresses: vec![address("alice@example.net"), address("me@example.net")],
        key: key.public(),
        created: Timestamp(created),
        expires: Timestamp(created + LIFE_SECONDS),
        previous: previous.map(SecretKey::public),
    };
    let (old, new) = (alice(), alice_later());
    [(&old, None, NOW - 3_000), (&old, None, NOW - 2_000), (&new, Some(&old), NOW - 1_000)]
        .into_iter()
        .map(|(key, previous, at)| {
            key.sign_statement(&statement(key, previous, at), previous).expect("it names its own keys")
        })
        .collect()
}

/// All of them as they go on the wire.
pub(crate) fn wires() -> &'static [String] {
    static WIRES: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    WIRES.get_or_init(|| statements().iter().map(SignedStatement::to_wire).collect())
}

/// The first of Alice's statements.
pub(crate) fn first_statement() -> SignedStatement {
    statements().swap_remove(0)
}

/// The texts of all statements that were ever signed.
pub fn statement_texts() -> &'static [String] {
    static TEXTS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    TEXTS.get_or_init(|| statements().iter().map(|s| s.statement().to_text()).collect())
}

fn keyring_texts() -> [String; 4] {
    let head = "sealpost keyring v1\naddress: alice@example.net\nserial: ";
    let (old, pinned) = (alice_later(), bob().public().openssh());
    let seed = sealpost_proto::base64::encode(old.seed().as_slice());
    let (times, hash) =
        ("\"from\":\"2026-01-01T00:00:00Z\",\"until\":\"2026-11-23T21:36:00Z\"", "ab".repeat(32));
    [
        format!("{head}0\n\n{{}}\n"),
        format!(
            "{head}7\n\n{{\"retired\":[{{\"seed\":\"{seed}\",\"key\":\"{}\",{times},\"why\":1}}],\"pins\":{{\"bob@example.org\":{{\"key\":\"{pinned}\",\"since\":\"2026-01-01T00:00:00Z\",\"signs\":true}}}},\"domains\":{{\"example.org\":[\"ENCRYPTMESSAGE\",\"SIGNMESSAGE\"]}},\"replay\":{{\"bob@example.org <a@example.org>\":[\"{hash}\",\"2026-01-01T00:00:00Z\"]}},\"seen\":{{\"bob@example.org {hash}\":\"2026-01-01T00:00:00Z\"}},\"later\":{{\"x\":[null,1.5]}}}}\n",
            old.public().openssh()
        ),
        format!(
            "{head}18446744073709551615\n\n{{\"retired\":[],\"pins\":{{}},\"domains\":{{}},\"replay\":{{}}}}\n"
        ),
        format!(
            "{head}8\n\n{{\"recovery\":{{\"key\":\"{pinned}\",\"since\":\"2026-01-01T00:00:00Z\"}},\"current\":{{\"seed\":\"{seed}\",\"key\":\"{}\"}}}}\n",
            old.public().openssh()
        ),
    ]
}

/// A client's folder: Alice after a rotation, with one contact.
fn state_text() -> String {
    let encode = |octets: &[u8]| sealpost_proto::base64::encode(octets);
    let statements = statements();
    let newest = &statements[2];
    let (key, bob) = (newest.statement().key.openssh(), bob().public().openssh());
    let seed = |key: &SecretKey| encode(key.seed().as_slice());
    let (salt, hash, at) = (encode(&[9; 16]), encode(&[7; 32]), newest.statement().created.to_rfc3339());
    [
        "== account.json\n{\"address\":\"alice@example.net\",\"dns\":\"127.0.0.1:53\",\"ca_file\":null,\"mx_port\":25,\"confirmed_servers\":[\"x\"],\"no_keyring\":false}\n".to_owned(),
        format!("== secrets.json\n{{\"current\":{{\"login_hash\":\"{hash}\",\"login_salt\":\"{salt}\",\"cost\":{{\"m_kib\":65536,\"t\":3,\"p\":1}},\"key\":{{\"seed\":\"{}\",\"salt\":\"{salt}\"}}}},\n\"retired\":[{{\"seed\":\"{}\",\"from\":\"2026-01-01T00:00:00Z\",\"until\":\"{at}\"}}],\n\"pending\":null}}\n", seed(&alice_later()), seed(&alice())),
        format!("== trust.json\n{{\"pins\":{{\"bob@example.org\":{{\"key\":\"{bob}\",\"since\":\"{at}\",\"learnt\":{{\"by\":\"server\",\"server\":\"mail.example.org\"}},\"signs\":true}}}},\n\"observations\":{{}},\n\"domains\":{{\"example.org\":[\"ENCRYPTMESSAGE\"]}},\n\"own\":{{\"key\":\"{key}\",\"statement\":\"{}\",\"serial\":3,\"dirty\":false,\"checked\":\"{at}\"}}}}\n", newest.to_wire()),
    ]
    .concat()
}

fn octets(message: &Outgoing) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    message.open()?.read_to_end(&mut octets)?;
    Ok(octets)
}

/// Writes them to `fuzz/corpus`. Sealing is random: the files change, what is in them does not.
pub fn write() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, octets: &[u8]| {
        fs::create_dir_all(root.join(target))?;
        fs::write(root.join(target).join(name), octets)
    };
    put("sshsig", "genuine", alice().sshsig(SIGNED_NAMESPACE, SIGNED).as_bytes())?;
    put("sshsig", "another-signer", mallory().sshsig(SIGNED_NAMESPACE, SIGNED).as_bytes())?;
    let statements = statements();
    put("statement", "text", statement_texts()[2].as_bytes())?;
    put("statement", "bytes", statements[2].as_bytes())?;
    let chain: Vec<String> = statements.iter().rev().map(SignedStatement::to_wire).collect();
    put("statement", "chain", chain.join("\n").as_bytes())?;
    for (n, text) in keyring_texts().iter().enumerate() {
        put("keyring", &format!("text-{n}"), text.as_bytes())?;
        let signed = [text.as_str(), &alice().sshsig("sealpost-keyring", text.as_bytes())].concat();
        put("keyring", &format!("signed-{n}"), signed.as_bytes())?;
    }
    put("signed-statement", "first", statement_texts()[0].as_bytes())?;
    put("signed-statement", "rotation", statement_texts()[2].as_bytes())?;
    put("state", "alice", state_text().as_bytes())?;
    let keys = [bob().public(), alice().public()];
    for (name, times) in [("short", 0), ("chunks", 3_500)] {
        let plain = [SEALED, b"and more\r\n".repeat(times).as_slice()].concat();
        put("age", &format!("{name}.age"), &seal::seal_bytes(&keys, &plain).map_err(io::Error::other)?)?;
        if times == 0 {
            let mut sealer = seal::seal_armoured(&keys, Vec::new()).map_err(io::Error::other)?;
            sealer.write_all(&plain)?;
            put("age", &format!("{name}.txt"), &sealer.finish().map_err(io::Error::other)?)?;
        }
    }
    for (name, _, composition) in compositions() {
        let sealed = composition.sealed(&Copy::Visible, &keys, &alice()).map_err(io::Error::other)?;
        let sealed = octets(&sealed)?;
        put("open", &format!("sealed-{name}"), &sealed)?;
        put(
            "open",
            &format!("plain-{name}"),
            &octets(&composition.plain(&alice()).map_err(io::Error::other)?)?,
        )?;
        let forged = composition.sealed(&Copy::Visible, &keys, &mallory()).map_err(io::Error::other)?;
        put("open", &format!("forged-{name}"), &octets(&forged)?)?;
    }
    Ok(())
}

/// A sealed keyring with this text, signed by its owner or as it stands.
pub(crate) fn sealed_keyring(text: &str, sign: bool) -> Vec<u8> {
    let signature = if sign { alice().sshsig("sealpost-keyring", text.as_bytes()) } else { String::new() };
    let plain = [text, &signature].concat();
    seal::seal_bytes(&[alice().public()], plain.as_bytes()).expect("there is a recipient")
}

/// Opens a keyring as Alice.
pub(crate) fn open_keyring(sealed: &[u8]) -> Result<(keyring::Keyring, u64), keyring::KeyringError> {
    keyring::Keyring::open(&[alice()], sealed, &address("alice@example.net"), &[alice().public()], 0)
}

/// Whether these octets are a keyring, signature included, that was ever written.
pub(crate) fn is_known_keyring(text: &str) -> bool {
    keyring_texts().iter().any(|known| text.starts_with(known.as_str()))
}
