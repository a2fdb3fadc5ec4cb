//! Commands, each with the form that may be shown: the writer of a command that carries a secret writes both, so that
//! no transcript and no error can hold what it should not (R18, profile §10).

use super::{Reply, ReplyLimits};
use crate::{
    address::{Address, Mailbox},
    base64,
    key::PublicKey,
    phc::{LoginHash, LoginPhc},
    statement::SignedStatement,
};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Octets of a command line of the draft's verbs and of AUTH, CRLF included (RFC 4954 §4.6, profile §5).
pub const COMMAND_MAX: usize = 12_288;
/// Octets of a keyring (profile §9).
pub const KEYRING_MAX: usize = 1_024 * 1_024;

/// What in the replies to a command may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    /// All of it.
    All,
    /// `SALT …`
    Salt,
    /// `334 …`
    Challenge,
    /// The count of lines.
    Count,
}

/// One command: the octets for the wire and what may be shown of them. No `Debug`: the octets may be secret.
pub struct Command {
    verb: &'static str,
    wire: Zeroizing<Vec<u8>>,
    shown: String,
    /// Texts that must not be shown if the server echoes them.
    secrets: Vec<Zeroizing<String>>,
    show: Show,
    limits: ReplyLimits,
}

/// Parameters of MAIL FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// `SIZE=` (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
}

impl Command {
    fn new(verb: &'static str, line: String, limits: ReplyLimits) -> Result<Self, CommandError> {
        let shown = line.clone();
        Self::with_shown(verb, &Zeroizing::new(line), shown, Vec::new(), Show::All, limits)
    }
    fn with_shown(
        verb: &'static str,
        line: &Zeroizing<String>,
        shown: String,
        secrets: Vec<Zeroizing<String>>,
        show: Show,
        limits: ReplyLimits,
    ) -> Result<Self, CommandError> {
        // Nothing that came from a user, a message or a server can end a line early.
        if line.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err(CommandError::Control);
        }
        if line.len() + 2 > COMMAND_MAX {
            return Err(CommandError::TooLong);
        }
        let mut wire = Zeroizing::new(Vec::with_capacity(line.len() + 2));
        wire.extend_from_slice(line.as_bytes());
        wire.extend_from_slice(b"\r\n");
        Ok(Self { verb, wire, shown, secrets, show, limits })
    }

    /// `EHLO name`
    pub fn ehlo(name: &str) -> Result<Self, CommandError> {
        Self::new("EHLO", format!("EHLO {}", word(name)?), ReplyLimits::STANDARD)
    }
    /// `HELO name`
    pub fn helo(name: &str) -> Result<Self, CommandError> {
        Self::new("HELO", format!("HELO {}", word(name)?), ReplyLimits::STANDARD)
    }
    fn fixed(verb: &'static str) -> Self {
        Self {
            verb,
            wire: Zeroizing::new(format!("{verb}\r\n").into_bytes()),
            shown: verb.to_owned(),
            secrets: Vec::new(),
            show: Show::All,
            limits: ReplyLimits::STANDARD,
        }
    }
    /// `STARTTLS`
    pub fn starttls() -> Self {
        Self::fixed("STARTTLS")
    }
    /// `RSET`
    pub fn rset() -> Self {
        Self::fixed("RSET")
    }
    /// `NOOP`
    pub fn noop() -> Self {
        Self::fixed("NOOP")
    }
    /// `QUIT`
    pub fn quit() -> Self {
        Self::fixed("QUIT")
    }
    /// `DATA`
    pub fn data() -> Self {
        Self::fixed("DATA")
    }
    /// `BDAT octets [LAST]` (RFC 3030); the octets follow.
    pub fn bdat(octets: u64, last: bool) -> Self {
        let line = format!("BDAT {octets}{}", if last { " LAST" } else { "" });
        Self { wire: Zeroizing::new(format!("{line}\r\n").into_bytes()), shown: line, ..Self::fixed("BDAT") }
    }
    /// `MAIL FROM:<path> …`; `None` is the null reverse-path.
    pub fn mail(path: Option<&str>, parameters: MailParameters) -> Result<Self, CommandError> {
        let mut line = format!("MAIL FROM:<{}>", path.map_or(Ok(""), in_brackets)?);
        if let Some(size) = parameters.size {
            let _ = write!(line, " SIZE={size}");
        }
        if parameters.eight_bit {
            line.push_str(" BODY=8BITMIME");
        }
        if parameters.smtputf8 {
            line.push_str(" SMTPUTF8");
        }
        Self::new("MAIL", line, ReplyLimits::STANDARD)
    }
    /// `RCPT TO:<path>`
    pub fn rcpt(path: &str) -> Result<Self, CommandError> {
        Self::new("RCPT", format!("RCPT TO:<{}>", in_brackets(path)?), ReplyLimits::STANDARD)
    }
    /// `PUBKEY addr` (R10): the local part as written, the domain in A-labels (profile §3).
    pub fn pubkey(mailbox: &Mailbox) -> Result<Self, CommandError> {
        Self::new("PUBKEY", format!("PUBKEY {}", on_the_wire(mailbox)), ReplyLimits::LONG_LINES)
    }
    /// `XKEYINFO addr`
    pub fn key_info(mailbox: &Mailbox) -> Result<Self, CommandError> {
        Self::new("XKEYINFO", format!("XKEYINFO {}", on_the_wire(mailbox)), ReplyLimits::CHAIN)
    }
    fn salt_verb(verb: &'static str) -> Self {
        Self { show: Show::Salt, limits: ReplyLimits::LONG_LINES, ..Self::fixed(verb) }
    }
    /// `GETSALT` (R13)
    pub fn getsalt() -> Self {
        Self::salt_verb("GETSALT")
    }
    /// `RSTSALT` (R14)
    pub fn rstsalt() -> Self {
        Self::salt_verb("RSTSALT")
    }
    /// `SETPUBKEY key [statement]` (R12)
    pub fn setpubkey(key: &PublicKey, statement: Option<&SignedStatement>) -> Result<Self, CommandError> {
        let mut line = format!("SETPUBKEY {}", key.wire());
        if let Some(statement) = statement {
            line.push(' ');
            line.push_str(&statement.to_wire());
        }
        Self::new("SETPUBKEY", line, ReplyLimits::LONG_LINES)
    }
    /// `AUTH HASHEDPASS base64(NUL user NUL hash)` (R15); without a hash: asks for the challenge.
    pub fn auth_hashed_pass(user: &Address, hash: Option<&LoginHash>) -> Result<Self, CommandError> {
        let mut command = Self::hashed_pass_message(user, hash)?;
        command.prefix("AUTH HASHEDPASS ");
        if hash.is_none() {
            command.show = Show::Challenge;
        }
        Ok(command)
    }
    /// The client's message in the exchange: the second step of AUTH HASHEDPASS.
    pub fn hashed_pass_message(user: &Address, hash: Option<&LoginHash>) -> Result<Self, CommandError> {
        let hash = Zeroizing::new(hash.map(|hash| base64::encode(hash.expose())).unwrap_or_default());
        let message = together(&["\0", user.as_str(), "\0", &hash]);
        let line = Zeroizing::new(base64::encode(message.as_bytes()));
        let (shown, secrets) = if hash.is_empty() {
            (format!("base64(\\0{user}\\0)"), Vec::new())
        } else {
            (format!("base64(\\0{user}\\0…)"), vec![line.clone(), hash])
        };
        Self::with_shown("AUTH", &line, shown, secrets, Show::All, ReplyLimits::LONG_LINES)
    }
    fn prefix(&mut self, prefix: &str) {
        self.shown.insert_str(0, prefix);
        let mut wire = Zeroizing::new(Vec::with_capacity(prefix.len() + self.wire.len()));
        wire.extend_from_slice(prefix.as_bytes());
        wire.extend_from_slice(&self.wire);
        self.wire = wire;
    }
    /// `AUTH PLAIN base64(NUL user NUL token)`, for app passwords only.
    pub fn auth_plain(user: &str, token: &str) -> Result<Self, CommandError> {
        if user.contains('\0') || token.contains('\0') {
            return Err(CommandError::Control);
        }
        let message = together(&["\0", user, "\0", token]);
        let payload = Zeroizing::new(base64::encode(message.as_bytes()));
        let secrets = vec![payload.clone(), Zeroizing::new(token.to_owned())];
        let mut command = Self::with_shown(
            "AUTH",
            &payload,
            "base64(\\0…\\0…)".into(),
            secrets,
            Show::All,
            ReplyLimits::LONG_LINES,
        )?;
        command.prefix("AUTH PLAIN ");
        Ok(command)
    }
    /// `*`, which cancels an AUTH exchange (RFC 4954 §4).
    pub fn auth_cancel() -> Self {
        Self {
            verb: "AUTH",
            wire: Zeroizing::new(b"*\r\n".to_vec()),
            shown: "*".into(),
            limits: ReplyLimits::LONG_LINES,
            ..Self::fixed("AUTH")
        }
    }
    /// `XENROL addr code base64(PHC)`
    pub fn enrol(address: &Address, code: &str, login: &LoginPhc) -> Result<Self, CommandError> {
        let (phc, encoded) = encode_phc(login);
        let line = together(&["XENROL ", address.as_str(), " ", word(code)?, " ", &encoded]);
        let secrets = vec![Zeroizing::new(code.to_owned()), encoded, phc];
        let shown = format!("XENROL {address} … …");
        Self::with_shown("XENROL", &line, shown, secrets, Show::All, ReplyLimits::LONG_LINES)
    }
    /// `XPASSWD base64(PHC) key statement`
    pub fn passwd(
        login: &LoginPhc,
        key: &PublicKey,
        statement: &SignedStatement,
    ) -> Result<Self, CommandError> {
        let (phc, encoded) = encode_phc(login);
        let rest = format!("{} {}", key.wire(), statement.to_wire());
        let line = together(&["XPASSWD ", &encoded, " ", &rest]);
        let shown = format!("XPASSWD … {rest}");
        Self::with_shown("XPASSWD", &line, shown, vec![encoded, phc], Show::All, ReplyLimits::LONG_LINES)
    }
    /// `XKEYRING`, which fetches.
    pub fn keyring() -> Self {
        Self { show: Show::Count, limits: ReplyLimits::KEYRING, ..Self::fixed("XKEYRING") }
    }
    /// `XKEYRING <sha256 hex of the one it replaces, or none> <length>`, and the octets of the sealed keyring.
    pub fn put_keyring(replaces: Option<[u8; 32]>, keyring: &[u8]) -> Result<Self, CommandError> {
        if keyring.len() > KEYRING_MAX {
            return Err(CommandError::TooLong);
        }
        let replaces = replaces.map_or_else(
            || "none".to_owned(),
            |hash| {
                hash.iter().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                })
            },
        );
        let mut command =
            Self::new("XKEYRING", format!("XKEYRING {replaces} {}", keyring.len()), ReplyLimits::LONG_LINES)?;
        command.wire.extend_from_slice(keyring);
        Ok(command)
    }

    /// The same, with what is secret in `other` hidden in the replies to this one too: a server may say back what it
    /// was told a command earlier.
    #[must_use]
    pub fn hiding(mut self, other: &Self) -> Self {
        self.secrets.extend(other.secrets.iter().cloned());
        self
    }

    /// The verb, for errors.
    pub fn verb(&self) -> &'static str {
        self.verb
    }
    /// The octets to send. Keep them out of logs.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }
    /// What may be shown of them.
    pub fn shown(&self) -> &str {
        &self.shown
    }
    /// How long its reply may be.
    pub fn limits(&self) -> ReplyLimits {
        self.limits
    }
    /// The reply with everything secret in it replaced by `…`: the only form for transcripts and errors.
    pub fn shown_reply(&self, reply: &Reply) -> Reply {
        let hidden = |text: &str| match (self.show, reply.code()) {
            (Show::Salt, 220 | 250) => "SALT …".to_owned(),
            (Show::Challenge, 334) => "…".to_owned(),
            _ if self.secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret.as_str())) => {
                "…".to_owned()
            }
            _ => text.to_owned(),
        };
        if self.show == Show::Count && reply.is_positive() {
            return Reply::new(reply.code(), vec![format!("… ({} lines)", reply.lines().len())]);
        }
        Reply::new(reply.code(), reply.lines().iter().map(|line| hidden(line)).collect())
    }
}

fn encode_phc(login: &LoginPhc) -> (Zeroizing<String>, Zeroizing<String>) {
    let phc = login.to_phc();
    let encoded = Zeroizing::new(base64::encode(phc.as_bytes()));
    (phc, encoded)
}

/// Texts in a row, sized beforehand: one that grew as it was written would leave uncleared copies behind.
fn together(texts: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(texts.concat())
}

/// One word of a command line.
fn word(text: &str) -> Result<&str, CommandError> {
    if text.is_empty() || text.contains(' ') { Err(CommandError::Control) } else { Ok(text) }
}

/// What stands between `<` and `>`: a `>` is only good inside quotes.
fn in_brackets(path: &str) -> Result<&str, CommandError> {
    let (mut quoted, mut escaped) = (false, false);
    for c in path.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' | '>' | ' ' if !quoted => return Err(CommandError::Control),
            _ => {}
        }
    }
    if path.is_empty() || quoted { Err(CommandError::Control) } else { Ok(path) }
}

/// The local part as its owner wrote it, the domain in A-labels; in brackets where the bare form would be ambiguous.
fn on_the_wire(mailbox: &Mailbox) -> String {
    let address = format!("{}@{}", mailbox.local(), mailbox.domain());
    if address.contains([' ', '"', '<', '>']) { format!("<{address}>") } else { address }
}

/// Why a command could not be written. Never holds its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A control character, or a space or bracket where none may be.
    #[error("the address, name or code holds a character that cannot be sent")]
    Control,
    /// Over 12,288 octets, or a keyring over 1 MiB.
    #[error("the value is too long to be sent in one command")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phc::{Challenge, Cost, Salt};

    fn user() -> Address {
        Address::parse("alice@example.net").unwrap()
    }
    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }
    fn login() -> LoginPhc {
        let challenge = Challenge { cost: Cost::DEFAULT, salt: Salt::new([3; 16]).unwrap() };
        LoginPhc { challenge, hash: LoginHash::from_bytes([7; 32]) }
    }
    fn wire(command: &Command) -> String {
        String::from_utf8(command.wire().to_vec()).unwrap()
    }

    #[test]
    fn commands_read_as_the_drafts() {
        let plain = MailParameters::default();
        let all = MailParameters { size: Some(9), eight_bit: true, smtputf8: true };
        for (command, expected) in [
            (Command::ehlo("[127.0.0.1]"), "EHLO [127.0.0.1]"),
            (Command::helo("a.example"), "HELO a.example"),
            (Command::mail(None, plain), "MAIL FROM:<>"),
            (Command::mail(Some("a@b"), all), "MAIL FROM:<a@b> SIZE=9 BODY=8BITMIME SMTPUTF8"),
            (Command::rcpt("\"a b>\"@c"), "RCPT TO:<\"a b>\"@c>"),
            (Command::pubkey(&mailbox("Alice@EXAMPLE.com")), "PUBKEY Alice@example.com"),
            (Command::pubkey(&mailbox("\"a b\"@example.com")), "PUBKEY <\"a b\"@example.com>"),
            (Command::pubkey(&mailbox("ü@müller.example")), "PUBKEY ü@xn--mller-kva.example"),
            (Command::key_info(&mailbox("bob@example.com")), "XKEYINFO bob@example.com"),
            (Ok(Command::getsalt()), "GETSALT"),
            (Ok(Command::rstsalt()), "RSTSALT"),
            (Ok(Command::starttls()), "STARTTLS"),
            (Ok(Command::keyring()), "XKEYRING"),
            (Ok(Command::bdat(7, false)), "BDAT 7"),
            (Ok(Command::bdat(0, true)), "BDAT 0 LAST"),
            (Ok(Command::auth_cancel()), "*"),
        ] {
            let command = command.unwrap();
            assert_eq!(wire(&command), format!("{expected}\r\n"));
            assert_eq!(command.shown(), expected);
        }
        let put = Command::put_keyring(None, b"\0\r\n").unwrap();
        assert_eq!((wire(&put).as_str(), put.shown()), ("XKEYRING none 3\r\n\0\r\n", "XKEYRING none 3"));
        let hash = format!("XKEYRING {} 0\r\n", "0a".repeat(32));
        assert_eq!(wire(&Command::put_keyring(Some([10; 32]), b"").unwrap()), hash);
    }

    #[test]
    fn nothing_ends_a_line_early() {
        for text in ["a\r\nRSET", "a\nb", "a\0b", "", "a b", "a\x7fb", "<a", "a>"] {
            assert!(Command::rcpt(text).is_err(), "{text:?}");
            assert!(Command::mail(Some(text), MailParameters::default()).is_err(), "{text:?}");
        }
        for text in ["a\r\nRSET", "", "a b"] {
            assert!(Command::ehlo(text).is_err());
            assert!(Command::enrol(&user(), text, &login()).is_err());
        }
        assert!(Command::rcpt("\"open@x").is_err() && Command::rcpt("\"a\\\"@x").is_err());
        assert!(Command::auth_plain("a\0b", "c").is_err() && Command::auth_plain("a", "b\0c").is_err());
        assert!(Command::rcpt(&"a".repeat(COMMAND_MAX)).is_err());
        assert!(Command::put_keyring(None, &vec![0; KEYRING_MAX + 1]).is_err());
    }

    #[test]
    fn r15_r18_secret_commands_show_no_secret() {
        let hash = LoginHash::from_bytes([7; 32]);
        let text = base64::encode([7; 32]);
        let payload = base64::encode(format!("\0alice@example.net\0{text}"));
        let phc = base64::encode(login().to_phc().as_bytes());
        let token = "an-app-password-token";
        let one = Command::auth_hashed_pass(&user(), Some(&hash)).unwrap();
        assert_eq!(wire(&one), format!("AUTH HASHEDPASS {payload}\r\n"));
        let two = Command::hashed_pass_message(&user(), Some(&hash)).unwrap();
        assert_eq!(wire(&two), format!("{payload}\r\n"));
        let ask = Command::auth_hashed_pass(&user(), None).unwrap();
        assert_eq!(wire(&ask), format!("AUTH HASHEDPASS {}\r\n", base64::encode("\0alice@example.net\0")));
        let plain = Command::auth_plain("alice@example.net", token).unwrap();
        let enrol = Command::enrol(&user(), "the-one-time-code", &login()).unwrap();
        assert_eq!(wire(&enrol), format!("XENROL alice@example.net the-one-time-code {phc}\r\n"));
        let plain_payload = base64::encode(format!("\0alice@example.net\0{token}"));
        let secrets = [&text, &payload, &phc, &plain_payload, token, "the-one-time-code"];
        for command in [one, two, ask, plain, enrol] {
            // Not in what is shown of the command, nor of a reply that echoes it.
            let echo = Reply::new(535, vec![wire(&command).trim_end().to_owned(), "5.7.8 no".into()]);
            let shown = format!("{} {:?}", command.shown(), command.shown_reply(&echo));
            for secret in secrets {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(shown.contains("5.7.8 no"), "the rest of a reply is shown");
        }
        for command in [Command::getsalt(), Command::rstsalt()] {
            for code in [220, 250] {
                let reply = Reply::new(code, vec!["SALT AAECAwQFBgcICQoLDA0ODw==".into()]);
                assert_eq!(command.shown_reply(&reply).lines(), ["SALT …"]);
            }
        }
        let ask = Command::auth_hashed_pass(&user(), None).unwrap();
        let challenge = Reply::new(334, vec!["JGFyZ29uMmlk".into()]);
        assert_eq!(ask.shown_reply(&challenge).lines(), ["…"]);
    }
}
