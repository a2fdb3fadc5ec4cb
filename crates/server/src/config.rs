//! The configuration file: TOML, every key documented in `docs/config.md`, unknown keys refused with line and column.

use sealpost_proto::address::{Address, Domain};
use sealpost_store::account::Quota;
use serde::{Deserialize, Deserializer, de};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// RFC 5321 §4.5.3.1.8: at least 100 recipients must be taken.
const RECIPIENTS_MIN: usize = 100;
/// RFC 5321 §4.5.3.1.7: at least 64K octets must be taken.
const MESSAGE_SIZE_MIN: u64 = 64 * 1024;
/// Largest message size that can be configured: RFC 1870 gives SIZE 20 digits, and one message of more than this
/// would be a mistake in the file.
const MESSAGE_SIZE_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Octets of what is told to every program that asks; one reads it in one glance.
const COMMENT_MAX: usize = 1024;

/// Settled configuration of `sealpost serve`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This server's name: greeting, EHLO, trace headers; must be in the certificate.
    #[serde(deserialize_with = "host_name")]
    pub hostname: String,
    /// Mail domains this server is home to.
    #[serde(deserialize_with = "one_or_more_domains")]
    pub domains: Vec<Domain>,
    /// Folder of the store, the control socket and the lock.
    pub data_dir: PathBuf,
    /// User that the server becomes once ports and key are open; started as root only.
    #[serde(default)]
    pub user: Option<String>,
    /// Certificate and key.
    pub tls: Tls,
    /// Where to listen.
    #[serde(default)]
    pub listen: Listen,
    /// Port of other domains' MX servers.
    #[serde(default = "default_mx_port")]
    pub mx_port: u16,
    /// A resolver of one's own; the system's where absent.
    #[serde(default)]
    pub dns: Option<SocketAddr>,
    /// PEM file of the roots that certify other servers; the system's where absent.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Domains to which mail is relayed over verified TLS or not at all.
    #[serde(default, deserialize_with = "domains")]
    pub require_tls: Vec<Domain>,
    /// Account that gets mail for `postmaster`.
    #[serde(default, deserialize_with = "address")]
    pub postmaster: Option<Address>,
    /// What programs may show of this server (METADATA's /shared/comment).
    #[serde(default, deserialize_with = "comment")]
    pub comment: Option<String>,
    /// URI at which users reach the administrator (METADATA's /shared/admin); see [`Config::admin`].
    #[serde(default, deserialize_with = "uri")]
    admin: Option<String>,
    /// Control socket; `data_dir/control.sock` where absent (see [`Config::control_socket`]).
    #[serde(default)]
    control_socket: Option<PathBuf>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Outbound queue.
    #[serde(default)]
    pub queue: Queue,
    /// Accounts.
    #[serde(default)]
    pub accounts: Accounts,
    /// For demonstrations and fault finding.
    #[serde(default)]
    pub debug: Debug,
}

/// `[tls]`: certificate and key of [`Config::hostname`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM certificate chain, the server's own first.
    pub cert: PathBuf,
    /// PEM private key of the certificate.
    pub key: PathBuf,
}

/// `[listen]`: addresses with port, one or a list each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// MX, STARTTLS (25).
    #[serde(deserialize_with = "addresses")]
    pub smtp: Vec<SocketAddr>,
    /// Submission, STARTTLS (587).
    #[serde(deserialize_with = "addresses")]
    pub submission: Vec<SocketAddr>,
    /// Submission, implicit TLS (465).
    #[serde(deserialize_with = "addresses")]
    pub submissions: Vec<SocketAddr>,
    /// IMAP, STARTTLS (143).
    #[serde(deserialize_with = "addresses")]
    pub imap: Vec<SocketAddr>,
    /// IMAP, implicit TLS (993).
    #[serde(deserialize_with = "addresses")]
    pub imaps: Vec<SocketAddr>,
    /// POP3, STLS (110).
    #[serde(deserialize_with = "addresses")]
    pub pop3: Vec<SocketAddr>,
    /// POP3, implicit TLS (995).
    #[serde(deserialize_with = "addresses")]
    pub pop3s: Vec<SocketAddr>,
}

impl Listen {
    /// The addresses of each key, in the order above.
    pub fn all(&self) -> [&Vec<SocketAddr>; 7] {
        let Self { smtp, submission, submissions, imap, imaps, pop3, pop3s } = self;
        [smtp, submission, submissions, imap, imaps, pop3, pop3s]
    }
}

/// `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest message, in octets.
    #[serde(deserialize_with = "message_size")]
    pub message_size: u64,
    /// Recipients of one message.
    #[serde(deserialize_with = "recipients")]
    pub recipients: usize,
    /// Open sessions in all; 0: as many as descriptors and memory allow.
    pub sessions: usize,
    /// Open sessions for one network address.
    pub sessions_per_address: u32,
    /// Failed logins for one account from one network in ten minutes.
    pub failed_logins: u32,
    /// Failed logins from one network in ten minutes.
    pub failed_logins_per_network: u32,
    /// PUBKEY and XKEYINFO from one network in a minute.
    pub lookups_per_minute: u32,
    /// Lifts the limits per network, address and account (load tests); those per session and message stay.
    pub no_limits: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_size: 104_857_600,
            recipients: 1000,
            sessions: 0,
            sessions_per_address: 100,
            failed_logins: 10,
            failed_logins_per_network: 100,
            lookups_per_minute: 600,
            no_limits: false,
        }
    }
}

/// `[queue]`: when to try again. Times are written `90s`, `15m`, `4h`, `5d`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Waits after the first, second, … failed attempt; the last one repeats.
    #[serde(deserialize_with = "durations")]
    pub retry: Vec<Duration>,
    /// How long a message is tried before it is returned.
    #[serde(deserialize_with = "duration")]
    pub lifetime: Duration,
}

impl Default for Queue {
    /// RFC 5321 §4.5.4.1: at least 30 minutes between attempts after the first few, give up after 4–5 days.
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            retry: [1, 5, 15, 30, 60, 120, 240].map(minutes).to_vec(),
            lifetime: Duration::from_secs(5 * 86_400),
        }
    }
}

/// `[accounts]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// How long a one-time code is valid.
    #[serde(deserialize_with = "duration")]
    pub code_lifetime: Duration,
    /// What accounts may hold that have no quota of their own.
    #[serde(deserialize_with = "quota")]
    pub default_quota: Quota,
    /// How many messages.
    #[serde(deserialize_with = "message_quota")]
    pub default_message_quota: Quota,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            code_lifetime: Duration::from_secs(7 * 86_400),
            default_quota: Quota::Unlimited,
            default_message_quota: Quota::Unlimited,
        }
    }
}

/// `[debug]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Debug {
    /// Appends the relay's conversations, secrets redacted.
    pub transcript: Option<PathBuf>,
}

/// Why a configuration was refused; the message names file, line and column where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("the configuration {path} could not be read: {source}")]
    Read {
        /// File.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value that cannot be.
    #[error("the configuration {path} is wrong: {message}")]
    Toml {
        /// File.
        path: PathBuf,
        /// Line, column, and what is wrong there.
        message: String,
    },
    /// Each key is well-formed, but they do not fit together or to the machine.
    #[error("the configuration does not work: {0}")]
    Check(String),
}

impl Config {
    /// Reads a file. Relative paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses the text of the file at `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|e| ConfigError::Toml { path: path.to_owned(), message: e.to_string() })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let settle = |p: &mut PathBuf| *p = folder.join(&*p);
        settle(&mut config.data_dir);
        settle(&mut config.tls.cert);
        settle(&mut config.tls.key);
        [&mut config.ca_file, &mut config.control_socket, &mut config.debug.transcript]
            .into_iter()
            .flatten()
            .for_each(settle);
        Ok(config)
    }

    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket.clone().unwrap_or_else(|| self.data_dir.join("control.sock"))
    }

    /// URI at which users reach the administrator: where absent, the postmaster of the first domain, who is always there
    /// (RFC 5321 §4.5.1).
    pub fn admin(&self) -> String {
        let postmaster = || format!("mailto:postmaster@{}", self.domains.first().map_or("", Domain::as_str));
        self.admin.clone().unwrap_or_else(postmaster)
    }

    /// Whether `domain` is one of ours.
    pub fn is_local(&self, domain: &Domain) -> bool {
        self.domains.contains(domain)
    }

    /// `serve --check`: certificate and key fit together and name the host, the roots can be read, something is
    /// listened on. Opens no store and binds no port.
    pub fn check(&self) -> Result<(), ConfigError> {
        let check = |what: &str, e: &dyn fmt::Display| ConfigError::Check(format!("{what}: {e}"));
        crate::tls::check(&self.tls, &self.hostname).map_err(|e| check("[tls]", &e))?;
        if let Some(ca) = &self.ca_file {
            crate::tls::check_roots(ca).map_err(|e| check("ca_file", &e))?;
        }
        if self.listen.all().iter().all(|addresses| addresses.is_empty()) {
            return Err(ConfigError::Check("[listen] names no address; set at least `smtp`".into()));
        }
        if let Some(postmaster) = &self.postmaster
            && !self.is_local(&postmaster.domain())
        {
            return Err(ConfigError::Check(format!("postmaster {postmaster} is in none of `domains`")));
        }
        Ok(())
    }
}

fn default_mx_port() -> u16 {
    25
}

/// One value or a list of values, each parsed from its text by `parse`.
struct Values<T, E> {
    parse: fn(&str) -> Result<T, E>,
    expecting: &'static str,
}

impl<'de, T, E: fmt::Display> de::Visitor<'de> for Values<T, E> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} or a list of them", self.expecting)
    }
    fn visit_str<D: de::Error>(self, text: &str) -> Result<Vec<T>, D> {
        (self.parse)(text).map(|v| vec![v]).map_err(|e| D::custom(format!("`{text}`: {e}")))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(text) = seq.next_element::<String>()? {
            values.push(
                (self.parse)(&text).map_err(|e| <A::Error as de::Error>::custom(format!("`{text}`: {e}")))?,
            );
        }
        Ok(values)
    }
}

fn addresses<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<SocketAddr>, D::Error> {
    d.deserialize_any(Values {
        parse: str::parse::<SocketAddr>,
        expecting: "an address such as \"0.0.0.0:25\"",
    })
}

fn domains<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Domain>, D::Error> {
    d.deserialize_any(Values { parse: Domain::parse, expecting: "a domain such as \"example.net\"" })
}

fn one_or_more_domains<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Domain>, D::Error> {
    let list = domains(d)?;
    if list.is_empty() { Err(de::Error::custom("name at least one domain")) } else { Ok(list) }
}

fn durations<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Duration>, D::Error> {
    let list = d.deserialize_any(Values { parse: parse_duration, expecting: "a time such as \"15m\"" })?;
    if list.is_empty() { Err(de::Error::custom("name at least one time")) } else { Ok(list) }
}

fn duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    parse_duration(&text).map_err(|e| de::Error::custom(format!("`{text}`: {e}")))
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const WHAT: &str = "write a time as a number and s, m, h or d, such as 90s or 5d";
    let (number, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or(WHAT)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(WHAT),
    };
    let number: u32 = number.parse().map_err(|_| WHAT)?;
    if number == 0 {
        return Err("a time must be above zero");
    }
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

fn address<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Address>, D::Error> {
    let text = String::deserialize(d)?;
    Address::parse(&text).map(Some).map_err(|e| de::Error::custom(format!("`{text}`: {e}")))
}

fn comment<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(d)?;
    if text.len() <= COMMENT_MAX && !text.contains(char::is_control) {
        Ok(Some(text))
    } else {
        Err(de::Error::custom(format!("a comment is one line of at most {COMMENT_MAX} octets")))
    }
}

/// RFC 3986 §3, as far as the scheme goes.
fn uri<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(d)?;
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let fits = text.len() <= COMMENT_MAX
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(Some(text))
    } else {
        Err(de::Error::custom(format!("`{text}` is no URI such as mailto:a@example.net")))
    }
}

fn host_name<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let text = String::deserialize(d)?;
    Domain::parse(&text)
        .map(|domain| domain.as_str().to_owned())
        .map_err(|e| de::Error::custom(format!("`{text}`: {e}")))
}

fn quota<'de, D: Deserializer<'de>>(d: D) -> Result<Quota, D::Error> {
    let text = String::deserialize(d)?;
    crate::quota::parse(&text).map_err(|what| de::Error::custom(format!("`{text}`: {what}")))
}

fn message_quota<'de, D: Deserializer<'de>>(d: D) -> Result<Quota, D::Error> {
    let text = String::deserialize(d)?;
    crate::quota::parse_messages(&text).map_err(|what| de::Error::custom(format!("`{text}`: {what}")))
}

fn message_size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(d)?;
    if (MESSAGE_SIZE_MIN..=MESSAGE_SIZE_MAX).contains(&size) {
        Ok(size)
    } else {
        Err(de::Error::custom(format!(
            "{size} is not between {MESSAGE_SIZE_MIN} and {MESSAGE_SIZE_MAX} octets"
        )))
    }
}

fn recipients<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    let count = usize::deserialize(d)?;
    if count >= RECIPIENTS_MIN {
        Ok(count)
    } else {
        Err(de::Error::custom(format!("RFC 5321 asks for {RECIPIENTS_MIN} recipients or more, not {count}")))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const MINIMAL: &str = "hostname = \"mail.example.net\"\ndomains = [\"example.net\"]\ndata_dir = \"data\"\n\
                           [tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/etc/sealpost/sealpost.toml"))
    }

    #[test]
    fn defaults_and_paths() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!(config.limits.message_size, 104_857_600);
        assert_eq!(config.mx_port, 25);
        assert_eq!(config.admin(), "mailto:postmaster@example.net");
        assert_eq!(config.control_socket(), Path::new("/etc/sealpost/data/control.sock"));
        assert_eq!(config.tls.cert, Path::new("/etc/sealpost/cert.pem"));
    }

    #[test]
    fn lists_or_single_values() {
        let config = parse(&format!(
            "{MINIMAL}[listen]\nsmtp = \"127.0.0.1:25\"\nimaps = [\"127.0.0.1:993\", \"[::1]:993\"]\n"
        ));
        let listen = config.unwrap().listen;
        assert_eq!((listen.smtp.len(), listen.imaps.len(), listen.submission.len()), (1, 2, 0));
    }

    #[test]
    fn errors_name_line_and_column() {
        for (bad, line, word) in [
            ("hostnam = \"x\"", "line 1, column 1", "hostnam"),
            ("hostname = \"bad host\"", "line 1, column 12", "bad host"),
            ("domains = []", "line 1, column 11", "domain"),
            ("domains = [\"a b\"]", "line 1", "a b"),
            ("[limits]\nrecipients = 5", "line 2, column 14", "100"),
            ("[limits]\nmessage_size = 5", "line 2, column 16", "octets"),
            ("[limits]\nfoo = 5", "line 2, column 1", "foo"),
            ("[queue]\nlifetime = \"5 days\"", "line 2, column 12", "number"),
            ("[queue]\nretry = [\"0s\"]", "line 2", "zero"),
            ("[listen]\nsmtp = \"25\"", "line 2, column 8", "25"),
            ("postmaster = \"nobody\"", "line 1, column 14", "nobody"),
            ("admin = \"nobody\"", "line 1, column 9", "nobody"),
            ("admin = \"mailto:a b\"", "line 1, column 9", "URI"),
            ("comment = \"a\\nb\"", "line 1, column 11", "line"),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(word), "{bad}: {error}");
        }
    }

    /// Every key of `docs/config.md` is taken, and every key that is taken stands there.
    #[test]
    fn the_documented_example_is_complete() {
        let doc = include_str!("../../../docs/config.md");
        let example: String = doc.split("```toml\n").skip(1).filter_map(|s| s.split("```").next()).collect();
        parse(&example).unwrap();
        let source = include_str!("config.rs");
        let fields =
            source.lines().take_while(|l| !l.starts_with("/// Why a configuration")).filter_map(|l| {
                let l = l.strip_prefix("    ")?;
                let name = l.strip_prefix("pub ").unwrap_or(l).split_once(": ")?.0;
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(name)
            });
        let fields: Vec<_> =
            fields.filter(|f| *f != "message_size" || example.contains("message_size")).collect();
        assert!(fields.len() > 30, "{fields:?}");
        for field in fields {
            let key = |l: &str| l.trim_start_matches("# ").split([' ', '=']).next() == Some(field);
            let table = format!("[{field}]");
            assert!(example.lines().any(|l| key(l) || l.trim() == table), "docs/config.md lacks `{field}`");
        }
    }
}
