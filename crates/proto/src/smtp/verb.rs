//! What a client may ask of a server: the verbs, what each needs, and their arguments as types.

use crate::{
    address::{Address, Mailbox},
    key::PublicKey,
    phc::LoginPhc,
    smtp::reply::Reply,
    statement::SignedStatement,
};
use zeroize::Zeroizing;

/// Command lines of RFC 5321 §4.5.3.1.4, CRLF included.
const LINE_MAX: usize = 512;
/// MAIL: SIZE adds 26 (RFC 1870), BODY 17 (RFC 6152), SMTPUTF8 10 (RFC 6531), AUTH 500 (RFC 4954).
const MAIL_LINE_MAX: usize = LINE_MAX + 26 + 17 + 10 + 500;
/// RCPT, VRFY: SMTPUTF8 adds 10 (RFC 6531 §3.4).
const UTF8_LINE_MAX: usize = LINE_MAX + 10;
/// The draft's verbs and AUTH (profile §5; RFC 4954 §4), CRLF included.
pub const LONG_LINE_MAX: usize = 12_288;
/// Largest keyring (profile §9).
pub const KEYRING_MAX: u64 = 1024 * 1024;

/// A verb, without its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the verbs")]
pub enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Auth,
    PubKey,
    SetPubKey,
    GetSalt,
    RstSalt,
    XEnrol,
    XPasswd,
    XKeyring,
    XKeyInfo,
}

/// What a verb needs before its arguments are looked at (profile §4, §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing of the channel.
    Nothing,
    /// TLS.
    Tls,
    /// A session signed in by HASHEDPASS, hence TLS.
    HashedPass,
}

impl Verb {
    /// All verbs.
    pub const ALL: [(Self, &'static str); 22] = [
        (Self::Helo, "HELO"),
        (Self::Ehlo, "EHLO"),
        (Self::Mail, "MAIL"),
        (Self::Rcpt, "RCPT"),
        (Self::Data, "DATA"),
        (Self::Bdat, "BDAT"),
        (Self::Rset, "RSET"),
        (Self::Noop, "NOOP"),
        (Self::Quit, "QUIT"),
        (Self::Vrfy, "VRFY"),
        (Self::Expn, "EXPN"),
        (Self::Help, "HELP"),
        (Self::StartTls, "STARTTLS"),
        (Self::Auth, "AUTH"),
        (Self::PubKey, "PUBKEY"),
        (Self::SetPubKey, "SETPUBKEY"),
        (Self::GetSalt, "GETSALT"),
        (Self::RstSalt, "RSTSALT"),
        (Self::XEnrol, "XENROL"),
        (Self::XPasswd, "XPASSWD"),
        (Self::XKeyring, "XKEYRING"),
        (Self::XKeyInfo, "XKEYINFO"),
    ];

    /// By keyword, in any case.
    pub fn from_keyword(keyword: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, k)| k.as_bytes().eq_ignore_ascii_case(keyword)).map(|(v, _)| v)
    }

    /// What it needs of the channel.
    pub fn needs(self) -> Needs {
        match self {
            Self::Auth | Self::XEnrol => Needs::Tls,
            Self::SetPubKey | Self::GetSalt | Self::RstSalt | Self::XPasswd | Self::XKeyring => {
                Needs::HashedPass
            }
            _ => Needs::Nothing,
        }
    }

    /// Whether it speaks of keys and passwords: the draft's verbs and those that profile §5 adds.
    pub fn is_of_the_draft(self) -> bool {
        matches!(
            self,
            Self::PubKey
                | Self::SetPubKey
                | Self::GetSalt
                | Self::RstSalt
                | Self::XEnrol
                | Self::XPasswd
                | Self::XKeyring
                | Self::XKeyInfo
        )
    }

    /// Whether octets that are no commands may follow its line.
    pub fn brings_octets(self) -> bool {
        matches!(self, Self::Bdat | Self::XKeyring)
    }

    /// Longest line, CRLF included.
    pub fn line_max(self) -> usize {
        match self {
            Self::Mail => MAIL_LINE_MAX,
            Self::Rcpt | Self::Vrfy => UTF8_LINE_MAX,
            Self::Auth => LONG_LINE_MAX,
            verb if verb.is_of_the_draft() => LONG_LINE_MAX,
            _ => LINE_MAX,
        }
    }
}

/// Longest line that begins as `line` does; lines of unknown verbs keep RFC 5321's limit.
pub fn line_max(line: &[u8]) -> usize {
    at_start(line).map_or(LINE_MAX, Verb::line_max)
}

/// The verb that `line` begins with.
pub fn at_start(line: &[u8]) -> Option<Verb> {
    Verb::from_keyword(line.split(|b| *b == b' ' || *b == b'\r').next().unwrap_or_default())
}

/// MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Reverse-path; `None` is the null reverse-path.
    pub reverse_path: Option<Mailbox>,
    /// Declared size.
    pub size: Option<u64>,
    /// BODY=8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
}

/// RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rcpt {
    /// A mailbox.
    Mailbox(Mailbox),
    /// `<postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
}

/// PUBKEY and XKEYINFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is asked for.
    pub what: AskedFor,
    /// The address.
    pub mailbox: Mailbox,
    /// The address as sent, without `<>`, for the 550.
    pub as_sent: String,
}

/// What is asked for about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedFor {
    /// PUBKEY: the key.
    Key,
    /// XKEYINFO: the statement chain.
    Chain,
}

/// What is done in a session signed in by HASHEDPASS only.
pub enum KeyCommand {
    /// GETSALT.
    GetSalt,
    /// RSTSALT.
    RstSalt,
    /// SETPUBKEY.
    SetPubKey {
        /// Key.
        key: PublicKey,
        /// Statement.
        statement: Option<Box<SignedStatement>>,
    },
    /// XPASSWD: the arguments, or the reply to them, which stands behind the 503 for a missing pending salt.
    XPasswd(Result<Box<ChangePassword>, Reply>),
    /// XKEYRING alone.
    FetchKeyring,
    /// XKEYRING with a keyring.
    StoreKeyring {
        /// SHA-256 of the one it replaces.
        replaces: Option<[u8; 32]>,
        /// The sealed keyring.
        data: Vec<u8>,
    },
}

/// XPASSWD.
pub struct ChangePassword {
    /// New login.
    pub login: LoginPhc,
    /// New key.
    pub key: PublicKey,
    /// Its statement.
    pub statement: SignedStatement,
}

/// XENROL. The code is judged before everything else (profile §5), so faults of the rest are carried along.
pub struct Enrol {
    /// Address; `None` if it is none, which is answered as an unknown one.
    pub address: Option<Address>,
    /// One-time code.
    pub code: Zeroizing<String>,
    /// Login, or the reply to it.
    pub login: Result<LoginPhc, Reply>,
}

/// BDAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow.
    pub len: u64,
    /// The last one.
    pub last: bool,
}

/// XKEYRING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringCommand {
    /// Alone.
    Fetch,
    /// With a keyring of `len` octets behind the line.
    Store {
        /// SHA-256 of the one it replaces.
        replaces: Option<[u8; 32]>,
        /// Octets that follow.
        len: usize,
    },
}
