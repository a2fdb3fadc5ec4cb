//! Another IMAP server: how it is named and reached, and its folders as a source.

use super::{
    BATCH_MESSAGES, BATCH_OCTETS,
    import::{Found, Message, Selected},
    journal::{Key, key},
    names::{shown, special_use},
    stage::{Hash, Stage},
};
use crate::{
    client::Client,
    error::ClientError,
    imap::{Folder, Imap, Meta},
    mailbox::{Mail, connect_tls, imap_error, tcp},
};
use sealpost_lookup::{Lookup, LookupConfig};
use sealpost_proto::{drive::BoxStream, imap::SequenceSet};
use std::{
    collections::HashSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use zeroize::Zeroizing;

const IMAPS_PORT: u16 = 993;
const IMAP_PORT: u16 = 143;
/// Finding the addresses of a name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages asked about at once.
const METAS: usize = 500;
/// What a server may send above the sizes it told, in octets: some reckon lines with one octet.
const SLACK: u64 = 64 << 20;

/// `imaps://user@host[:port]`, or `imap://…`, which is STARTTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// TLS from the first octet; else STARTTLS, never clear text.
    pub implicit_tls: bool,
    /// Who signs in.
    pub user: String,
    /// The server's name, which its certificate must bear.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither imaps:// nor imap://.
    #[error("write it as imaps://user@host (or imap://user@host, for STARTTLS)")]
    Scheme,
    /// A password in it would be seen by all on this machine.
    #[error("leave the password out of it; it is asked for, or read from a file")]
    Password,
    /// No user.
    #[error("say who signs in there: imaps://user@host; an @ in the name may stay as it is")]
    User,
    /// No host or no port.
    #[error("it names no server, or no port that there could be")]
    Host,
}

impl ServerUrl {
    /// Reads `imap[s]://user@host[:port][/]`. The last `@` counts; `%40` may be written for others.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let implicit_tls = match scheme.to_ascii_lowercase().as_str() {
            "imaps" => true,
            "imap" => false,
            _ => return Err(UrlError::Scheme),
        };
        let (user, place) = rest.rsplit_once('@').ok_or(UrlError::User)?;
        let user = percent_decoded(user).filter(|u| !u.is_empty()).ok_or(UrlError::User)?;
        // No mail address and no usual login name has a colon; a password behind one is the likelier reading.
        if user.contains(':') {
            return Err(UrlError::Password);
        }
        if user.contains(char::is_control) {
            return Err(UrlError::User);
        }
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((literal, rest)) => (literal, rest.strip_prefix(':')),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let default = if implicit_tls { IMAPS_PORT } else { IMAP_PORT };
        let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port > 0));
        let plausible = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plausible) {
            return Err(UrlError::Host);
        }
        Ok(Self { implicit_tls, user, host: host.to_lowercase(), port: port.ok_or(UrlError::Host)? })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let hex = [rest.next()?, rest.next()?];
            octets.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

/// A server and how to sign in there.
#[derive(Clone)]
pub struct Remote {
    /// Where.
    pub url: ServerUrl,
    /// With what.
    pub password: Zeroizing<String>,
    /// Roots to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Remote {
    /// Signs in, inside TLS verified for the host's name and nothing less. `dns` is asked where the user named one.
    pub(super) async fn sign_in(
        &self,
        client: &Client,
        dns: Option<SocketAddr>,
    ) -> Result<Mail, ClientError> {
        let host = &self.url.host;
        let ca_file = self.ca_file.clone().or_else(|| client.settings.ca_file.clone());
        let config = LookupConfig { dns, ca_file, ..LookupConfig::default() };
        let lookup = Lookup::new(config).map_err(|e| ClientError::Refused(e.to_string()))?;
        let later = |reason: &dyn fmt::Display| {
            ClientError::Later(format!("{host} could not be reached securely: {reason}; try again later"))
        };
        let addresses = self.addresses(&lookup, dns.is_some()).await.map_err(|e| later(&e))?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let mut opened = None;
        for address in addresses {
            match self.open(&lookup, address).await? {
                Ok(mail) => {
                    opened = Some(mail);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let mut mail = opened.ok_or_else(|| later(&last))?;
        mail.sign_in(&self.url.user, &self.password).await.map_err(|error| match imap_error(error) {
            ClientError::SignIn(text) => ClientError::SignIn(format!(
                "{}: {text}. Many providers want an app password here instead of one's own",
                self.url
            )),
            other => other,
        })?;
        Ok(mail)
    }

    async fn addresses(&self, lookup: &Lookup, asked: bool) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (self.url.host.as_str(), self.url.port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if asked && let Ok(found) = timeout(RESOLVE_TIMEOUT, lookup.addresses(host, port)).await? {
            return Ok(found);
        }
        Ok(timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await??.collect())
    }

    /// The inner error is one of the network: the next address may do.
    async fn open(&self, lookup: &Lookup, address: SocketAddr) -> Result<io::Result<Mail>, ClientError> {
        let host = &self.url.host;
        let stream = match tcp(address).await {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        if self.url.implicit_tls {
            return match connect_tls(lookup, host, Box::new(stream)).await {
                Ok(stream) => Ok(Ok(Imap::start(stream).await.map_err(imap_error)?)),
                Err(error) => Ok(Err(error)),
            };
        }
        let stream: BoxStream = Box::new(stream);
        let mail = Imap::start(stream).await.map_err(imap_error)?;
        if !mail.has("STARTTLS") {
            return Err(ClientError::Refused(format!(
                "{host} offers no STARTTLS on port {}; nothing was sent to it. Use imaps://",
                self.url.port
            )));
        }
        let stream = mail.start_tls().await.map_err(imap_error)?;
        match connect_tls(lookup, host, stream).await {
            Ok(stream) => Ok(Ok(Imap::resume(stream).await.map_err(imap_error)?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

/// A folder of the server.
pub(super) struct RemoteFolder {
    /// As the server calls it.
    pub name: String,
    /// By levels, without what stands before all of them.
    pub levels: Vec<String>,
    /// `\Sent` and its like.
    pub special: Option<&'static str>,
    /// It shows messages of other folders, too (`\All`): only what was in no other is taken.
    pub is_all: bool,
    /// A mere view of others (`\Flagged`, `\Important`): only where it is asked for by name.
    pub is_view: bool,
}

/// A server as a source.
pub(super) struct Pull {
    pub mail: Mail,
    pub folders: Vec<RemoteFolder>,
}

impl Pull {
    /// Its folders, those that show others last.
    pub(super) async fn find(mut mail: Mail) -> Result<Self, ClientError> {
        let listed = mail.list().await.map_err(imap_error)?;
        Ok(Self { mail, folders: folders(listed) })
    }

    /// Reads the selected folders. Ends early where nobody listens any more.
    pub(super) async fn read(
        mut self,
        pulling: &Pulling,
        selected: Vec<Selected>,
    ) -> Result<(), ClientError> {
        let mut contents = pulling.contents.as_ref().clone();
        for Selected { at, to } in selected {
            let from = shown(&self.folders[at].levels);
            match self.folder(pulling, at, &from, to, &mut contents).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The server is still there, only the folder cannot be had.
                Err(ClientError::Refused(why)) => {
                    let found = Found::Skipped { folder: from, what: "the folder".into(), why };
                    if pulling.found.send(found).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let _ = self.mail.logout().await;
        Ok(())
    }

    async fn folder(
        &mut self,
        pulling: &Pulling,
        at: usize,
        from: &str,
        to: String,
        contents: &mut HashSet<Hash>,
    ) -> Result<bool, ClientError> {
        let RemoteFolder { name, is_all, .. } = &self.folders[at];
        let is_all = *is_all;
        let selected = self.mail.examine(name).await.map_err(imap_error)?;
        let uids =
            if selected.exists == 0 { Vec::new() } else { self.mail.uids().await.map_err(imap_error)? };
        let key_of = |uid: u32| {
            let id = [selected.uid_validity.to_be_bytes(), uid.to_be_bytes()].concat();
            key(name, &id)
        };
        let known = uids.len();
        let new: Vec<u32> = uids.into_iter().filter(|uid| !pulling.done.contains(&key_of(*uid))).collect();
        let begun = Found::Folder { from: from.to_owned(), to, messages: Some(known as u64) };
        let already = Found::Already((known - new.len()) as u64);
        if pulling.found.send(begun).await.is_err() || pulling.found.send(already).await.is_err() {
            return Ok(false);
        }
        for uids in new.chunks(METAS) {
            let Some(set) = SequenceSet::from_numbers(uids) else { continue };
            let mut metas = self.mail.fetch_meta(set, &[]).await.map_err(imap_error)?;
            metas.retain(|meta| uids.contains(&meta.uid));
            for group in groups(&metas) {
                if let [meta] = group
                    && meta.size > pulling.limit
                {
                    let why = too_large(meta.size, pulling.limit);
                    let what = format!("UID {}", meta.uid);
                    let found = Found::Skipped { folder: from.to_owned(), what, why };
                    if pulling.found.send(found).await.is_err() {
                        return Ok(false);
                    }
                    continue;
                }
                let uids: Vec<u32> = group.iter().map(|meta| meta.uid).collect();
                let most = group.iter().map(|meta| meta.size).sum::<u64>().saturating_add(SLACK);
                let stage = || Stage::new(&pulling.dir, pulling.limit);
                let got = self.mail.fetch_messages(&uids, most, stage).await.map_err(imap_error)?;
                for (uid, stage) in got {
                    let Some(meta) = group.iter().find(|meta| meta.uid == uid) else { continue };
                    let staged = stage.finish().map_err(local)?;
                    if !contents.insert(staged.hash) && is_all {
                        if pulling.found.send(Found::Already(1)).await.is_err() {
                            return Ok(false);
                        }
                        continue;
                    }
                    let message = Message {
                        folder: from.to_owned(),
                        what: format!("UID {uid}"),
                        key: key_of(uid),
                        staged,
                        flags: meta.flags.clone(),
                        date: meta.internal_date,
                    };
                    if pulling.found.send(Found::Message(Box::new(message))).await.is_err() {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

pub(super) fn too_large(size: u64, limit: u64) -> String {
    format!("it has {size} octets, and the server takes {limit} at most")
}

pub(super) fn local(error: io::Error) -> ClientError {
    imap_error(crate::imap::ImapError::Local(error))
}

/// Messages to be fetched by one command; a large one by itself.
pub(super) fn groups(metas: &[Meta]) -> Vec<&[Meta]> {
    let (mut all, mut start, mut octets) = (Vec::new(), 0, 0_u64);
    for (at, meta) in metas.iter().enumerate() {
        let full = octets.saturating_add(meta.size) > BATCH_OCTETS || at - start == BATCH_MESSAGES;
        if at > start && full {
            all.push(&metas[start..at]);
            (start, octets) = (at, 0);
        }
        octets = octets.saturating_add(meta.size);
    }
    if start < metas.len() {
        all.push(&metas[start..]);
    }
    all
}

/// What LIST gave as folders with messages, in the order in which they are read.
fn folders(listed: Vec<Folder>) -> Vec<RemoteFolder> {
    let levels = |folder: &Folder| -> Vec<String> {
        match folder.delimiter {
            Some(delimiter) => folder.name.split(delimiter).map(str::to_owned).collect(),
            None => vec![folder.name.clone()],
        }
    };
    let is_inbox = |levels: &[String]| matches!(levels, [one] if one.eq_ignore_ascii_case("INBOX"));
    // Courier and others keep all folders below INBOX (RFC 2342's personal namespace "INBOX.").
    let others: Vec<Vec<String>> = listed.iter().map(levels).filter(|l| !is_inbox(l)).collect();
    let below_inbox = others.iter().all(|l| l.len() > 1 && l[0].eq_ignore_ascii_case("INBOX"));
    let mut all: Vec<RemoteFolder> = listed
        .into_iter()
        .filter(|folder| !folder.has("\\Noselect") && !folder.has("\\NonExistent"))
        .map(|folder| {
            let mut levels = levels(&folder);
            if is_inbox(&levels) || (below_inbox && !levels.is_empty()) {
                levels.remove(0);
            }
            RemoteFolder {
                special: special_use(&folder.attributes, &levels).filter(|_| !levels.is_empty()),
                is_all: folder.has("\\All"),
                is_view: folder.has("\\Flagged") || folder.has("\\Important"),
                name: folder.name,
                levels,
            }
        })
        .collect();
    for folder in &mut all {
        // What is in no other folder was archived.
        if folder.is_all {
            folder.special = Some("\\Archive");
        }
    }
    all.sort_by(|a, b| (a.is_all, &a.levels).cmp(&(b.is_all, &b.levels)));
    all
}

/// What reading a server needs.
pub(super) struct Pulling {
    pub found: mpsc::Sender<Found>,
    pub done: Arc<HashSet<Key>>,
    /// The contents of what is there already.
    pub contents: Arc<HashSet<Hash>>,
    pub dir: PathBuf,
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_url() {
        for (text, user, host, port, implicit_tls) in [
            ("imaps://alice@example.net", "alice", "example.net", 993, true),
            ("imap://alice@example.net/", "alice", "example.net", 143, false),
            (
                "imaps://alice@example.net@Mail.example.org:1993",
                "alice@example.net",
                "mail.example.org",
                1993,
                true,
            ),
            ("IMAPS://alice%40example.net@h", "alice@example.net", "h", 993, true),
            ("imaps://a@[2001:db8::1]:99", "a", "2001:db8::1", 99, true),
            ("imaps://a@[2001:db8::1]", "a", "2001:db8::1", 993, true),
        ] {
            let url = ServerUrl::parse(text);
            let expected = ServerUrl { implicit_tls, user: user.into(), host: host.into(), port };
            assert_eq!(url, Ok(expected), "{text}");
        }
        for (text, error) in [
            ("https://a@b", UrlError::Scheme),
            ("alice@example.net", UrlError::Scheme),
            ("imaps://example.net", UrlError::User),
            ("imaps://@example.net", UrlError::User),
            ("imaps://a%0d@b", UrlError::User),
            ("imaps://a%4@b", UrlError::User),
            ("imaps://a:secret@b", UrlError::Password),
            ("imaps://a@", UrlError::Host),
            ("imaps://a@b:0", UrlError::Host),
            ("imaps://a@b:65536", UrlError::Host),
            ("imaps://a@b/INBOX", UrlError::Host),
            ("imaps://a@b c", UrlError::Host),
        ] {
            assert_eq!(ServerUrl::parse(text), Err(error), "{text}");
        }
    }

    fn folder(name: &str, delimiter: char, attributes: &[&str]) -> Folder {
        let attributes = attributes.iter().map(|a| (*a).to_owned()).collect();
        Folder { name: name.into(), attributes, delimiter: Some(delimiter) }
    }

    #[test]
    fn folders_of_different_servers() {
        let shape = |listed: Vec<Folder>| -> Vec<(String, Option<&'static str>)> {
            folders(listed).iter().map(|f| (shown(&f.levels), f.special)).collect()
        };
        // Dovecot, Courier, Gmail.
        assert_eq!(
            shape(vec![
                folder("Work.2024", '.', &[]),
                folder("INBOX", '.', &[]),
                folder("Work", '.', &["\\NoSelect"]),
                folder("Sent Items", '.', &["\\Sent"]),
            ]),
            [("INBOX".into(), None), ("Sent Items".into(), Some("\\Sent")), ("Work/2024".into(), None)]
        );
        assert_eq!(
            shape(vec![
                folder("INBOX", '.', &[]),
                folder("INBOX.Trash", '.', &[]),
                folder("INBOX.a.b", '.', &[])
            ]),
            [("INBOX".into(), None), ("Trash".into(), Some("\\Trash")), ("a/b".into(), None)]
        );
        assert_eq!(
            shape(vec![
                folder("[Gmail]/All Mail", '/', &["\\All"]),
                folder("[Gmail]/Starred", '/', &["\\Flagged"]),
                folder("INBOX", '/', &[]),
            ]),
            [
                ("INBOX".into(), None),
                ("[Gmail]/Starred".into(), None),
                ("[Gmail]/All Mail".into(), Some("\\Archive"))
            ]
        );
    }

    #[test]
    fn groups_are_bounded_by_count_and_octets() {
        let metas = |sizes: &[u64]| -> Vec<Meta> {
            sizes.iter().zip(1..).map(|(size, uid)| Meta { uid, size: *size, ..Meta::default() }).collect()
        };
        let lens = |sizes: &[u64]| -> Vec<usize> { groups(&metas(sizes)).iter().map(|g| g.len()).collect() };
        assert_eq!(lens(&[]), [0; 0]);
        assert_eq!(lens(&[BATCH_OCTETS, 1, 2, u64::MAX, u64::MAX]), [1, 2, 1, 1]);
        assert_eq!(lens(&[BATCH_OCTETS - 1, 1, 1]), [2, 1]);
        assert_eq!(lens(&vec![0; 2 * BATCH_MESSAGES + 1]), [BATCH_MESSAGES, BATCH_MESSAGES, 1]);
    }
}
