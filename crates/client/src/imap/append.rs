//! Filing messages: APPEND of one or of several (MULTIAPPEND, RFC 3502), all or none of them.

use super::{CHUNK, Imap, ImapError, Progress, Result, done, name};
use sealpost_proto::{
    imap::{Condition, Flag, Names, Reply, Tag, date_time, quote_mailbox},
    time::Timestamp,
};
use std::io::Read;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest message sent without waiting for the server to agree (RFC 7888), in octets: a refusal that comes too late
/// costs no more than this.
const UNASKED_MAX: u64 = 1 << 20;
/// The same for servers with LITERAL- (RFC 7888 §5).
const UNASKED_SHORT_MAX: u64 = 4_096;

/// A message to file.
pub struct Outgoing<'a> {
    /// Its flags.
    pub flags: &'a [Flag],
    /// INTERNALDATE; now where `None`.
    pub date: Option<Timestamp>,
    /// Octets.
    pub size: u64,
    /// It holds NUL: sent as a literal8, which needs BINARY (RFC 3516 §4.4).
    pub binary: bool,
    /// Gives exactly `size` octets.
    pub reader: &'a mut (dyn Read + Send),
}

/// What the server says of what it filed (UIDPLUS, RFC 4315).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filed {
    /// The mailbox's UIDVALIDITY.
    pub uid_validity: u32,
    /// The highest UID given.
    pub last_uid: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Imap<S> {
    /// APPEND of exactly `size` octets from `reader`. Returns the UID, where the server says it (UIDPLUS).
    pub async fn append(
        &mut self,
        mailbox: &str,
        flags: &[Flag],
        date: Option<Timestamp>,
        size: u64,
        reader: &mut (dyn Read + Send),
        progress: Progress<'_>,
    ) -> Result<Option<u32>> {
        let mut one = [Outgoing { flags, date, size, binary: false, reader }];
        let filed = self.append_all(mailbox, &mut one, progress).await?;
        Ok(filed.map(|filed| filed.last_uid))
    }

    /// APPEND of all `messages` by one command; more than one needs MULTIAPPEND. The server files all or none.
    pub async fn append_all(
        &mut self,
        mailbox: &str,
        messages: &mut [Outgoing<'_>],
        progress: Progress<'_>,
    ) -> Result<Option<Filed>> {
        let tag = self.next_tag();
        let total = messages.iter().map(|m| m.size).sum();
        let mut sent = 0;
        let mut out = format!("{tag} APPEND {}", quote_mailbox(&name(mailbox)?, Names::Utf7)).into_bytes();
        for message in messages {
            let flags: Vec<String> = message.flags.iter().map(ToString::to_string).collect();
            let date = message.date.map(|d| format!("\"{}\" ", date_time(d))).unwrap_or_default();
            let unasked = if self.has("LITERAL+") {
                UNASKED_MAX
            } else if self.has("LITERAL-") {
                UNASKED_SHORT_MAX
            } else {
                0
            };
            let waits = message.size > unasked;
            let (tilde, plus) = (if message.binary { "~" } else { "" }, if waits { "" } else { "+" });
            let head = format!(" ({}) {date}{tilde}{{{}{plus}}}\r\n", flags.join(" "), message.size);
            out.extend_from_slice(head.as_bytes());
            if waits {
                self.send(&out).await?;
                out.clear();
                self.go_ahead(&tag).await?;
            }
            let mut left = message.size;
            while left > 0 {
                let at = out.len();
                let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                out.resize(at + want, 0);
                let n = message.reader.read(&mut out[at..]).map_err(ImapError::Local)?;
                out.truncate(at + n);
                if n == 0 {
                    return Err(ImapError::Local(std::io::ErrorKind::UnexpectedEof.into()));
                }
                if out.len() >= CHUNK {
                    self.write(&out).await?;
                    out.clear();
                }
                left -= n as u64;
                sent += n as u64;
                progress(sent, total);
            }
        }
        out.extend_from_slice(b"\r\n");
        self.send(&out).await?;
        let answer = self.finish(&tag, None).await?;
        let text = answer.text.filter(|t| t.code.as_deref() == Some("APPENDUID"));
        Ok(text.and_then(|t| appended(&t.arguments)))
    }

    /// Waits for `+`, or for the refusal that comes instead.
    async fn go_ahead(&mut self, tag: &Tag) -> Result<()> {
        loop {
            match self.next_reply(None).await? {
                Reply::Continue(_) => return Ok(()),
                Reply::Tagged(t, condition, text) if t == *tag => {
                    done(condition, text)?;
                    return Err(ImapError::Protocol("it took a message before it came".into()));
                }
                Reply::Untagged(Condition::Bye, text) => return Err(ImapError::Closed(text.text)),
                _ => {}
            }
        }
    }
}

/// `uidvalidity SP uid-set` (RFC 4315 §3); of the set only its highest number is of use.
fn appended(arguments: &str) -> Option<Filed> {
    let (uid_validity, uids) = arguments.split_once(' ')?;
    let last_uid = uids.split([',', ':']).map(|uid| uid.parse().ok()).collect::<Option<Vec<u32>>>()?;
    Some(Filed { uid_validity: uid_validity.parse().ok()?, last_uid: last_uid.into_iter().max()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_of_one_and_of_many() {
        for (arguments, expected) in [
            ("38505 3955", Some((38505, 3955))),
            ("1 304,319:320,7", Some((1, 320))),
            ("1 ", None),
            ("1", None),
            ("x 2", None),
            ("1 2,*", None),
            ("1 4294967296", None),
        ] {
            let filed = appended(arguments).map(|f| (f.uid_validity, f.last_uid));
            assert_eq!(filed, expected, "{arguments}");
        }
    }
}
