//! SIZE in STATUS (RFC 8438) and in LIST with STATUS (RFC 5819): what the mailbox takes at the server, and what its
//! messages have more as the bridge shows them. So it is never less than the sum of their RFC822.SIZE (RFC 9051 §6.3.11),
//! once they were opened; sealed messages, which are smaller as shown, count as the server counts them.

use super::{
    Names, Result, Session,
    wire::{self, items},
};
use crate::account::Account;
use sealpost_proto::imap::{Body, Command, ListReturn, MailboxName, StatusItem, utf7};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Whether SIZE is asked for.
pub(super) fn asks_size(body: &Body) -> bool {
    let asks = |items: &[StatusItem]| items.contains(&StatusItem::Size);
    match body {
        Body::Status { items, .. } => asks(items),
        Body::List(list) => {
            list.returns.iter().any(|option| matches!(option, ListReturn::Status(items) if asks(items)))
        }
        _ => false,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// A command that [`asks_size`].
    pub(super) async fn with_sizes(&mut self, mut command: Command) -> Result<()> {
        let verb = if matches!(command.body, Body::List(_)) { "LIST" } else { "STATUS" };
        let mut added = false;
        let mut add = |items: &mut Vec<StatusItem>| {
            // By it the index knows the mailbox.
            added = !items.contains(&StatusItem::UidValidity);
            items.extend(added.then_some(StatusItem::UidValidity));
        };
        match &mut command.body {
            Body::Status { items, .. } => add(items),
            Body::List(list) => {
                for option in &mut list.returns {
                    if let ListReturn::Status(items) = option {
                        add(items);
                    }
                }
            }
            _ => {}
        }
        let (account, names) = (self.account.clone(), self.names);
        let mut told = Vec::new();
        let done = self
            .request(command.body, |line| {
                let Some(changed) = with_growth(line, names, added, &account) else { return false };
                told.extend(changed);
                true
            })
            .await;
        self.program.say(&told);
        match done {
            Ok(()) => self.program.done(&command.tag, &format!("OK {verb} completed")),
            Err(_) => self.searched(&command.tag, None, done).await?,
        }
        Ok(())
    }
}

/// A STATUS response with its SIZE as the bridge tells it, without UIDVALIDITY where that was `added`; `None` for other
/// responses.
fn with_growth(line: &[u8], names: Names, added: bool, account: &Arc<Account>) -> Option<Vec<u8>> {
    let (name, list) = split(line)?;
    let all = items(list)?;
    let mailbox = mailbox(name, names)?;
    let number = |name: &str| super::listing::value(list, &all, name).and_then(super::listing::long_number);
    let growth =
        number("UIDVALIDITY").and_then(|validity| u32::try_from(validity).ok()).map_or(0, |validity| {
            let index = &account.index;
            let growth = index.place(&mailbox, validity).and_then(|place| index.growth(&place));
            growth.unwrap_or_else(|error| {
                tracing::warn!("{error}");
                0
            })
        });
    let mut out = Vec::new();
    for item in &all {
        let (item, value) = (&list[item.name.clone()], &list[item.value.clone()]);
        if added && item.eq_ignore_ascii_case(b"UIDVALIDITY") {
            continue;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(item);
        out.push(b' ');
        match super::listing::long_number(value).filter(|_| item.eq_ignore_ascii_case(b"SIZE")) {
            // RFC 8438 §3: sizes have 63 bits.
            Some(size) => out.extend(size.saturating_add(growth).min(i64::MAX as u64).to_string().bytes()),
            None => out.extend_from_slice(value),
        }
    }
    Some([b"* STATUS ", name, b" (", &out, b")\r\n"].concat())
}

/// Name and items of a STATUS response, as written.
pub(super) fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const START: usize = b"* STATUS ".len();
    line.get(..START).filter(|start| start.eq_ignore_ascii_case(b"* STATUS "))?;
    let rest = line[START..].strip_suffix(b"\r\n")?;
    let end = wire::end_of_value(rest, 0)?;
    let items = rest.get(end..)?.strip_prefix(b" (")?.strip_suffix(b")")?;
    Some((&rest[..end], items))
}

/// A mailbox by its name as written.
pub(super) fn mailbox(name: &[u8], names: Names) -> Option<String> {
    let octets = wire::string(name).unwrap_or_else(|| name.to_vec());
    let text = String::from_utf8(octets).ok()?;
    let text = match names {
        Names::Utf7 => utf7::decode(&text)?,
        Names::Utf8 => text,
    };
    Some(MailboxName::new(text)?.as_str().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_items_are_told_apart() {
        for (line, name, items) in [
            ("* STATUS inbox (SIZE 5)\r\n", "INBOX", "SIZE 5"),
            ("* STATUS \"a (b\" (MAILBOXID (F1) SIZE 5)\r\n", "a (b", "MAILBOXID (F1) SIZE 5"),
            ("* status {4}\r\na\"b) (SIZE 5)\r\n", "a\"b)", "SIZE 5"),
            ("* STATUS Entw&APw-rfe ()\r\n", "Entwürfe", ""),
        ] {
            let (written, found) = split(line.as_bytes()).unwrap();
            assert_eq!(mailbox(written, Names::Utf7).unwrap(), name, "{line}");
            assert_eq!(found, items.as_bytes(), "{line}");
        }
        for other in [
            "* STATUS x\r\n",
            "* STATUS",
            "* LIST () \"/\" x\r\n",
            "a OK (x)\r\n",
            "* STATUS \"x (SIZE 5)\r\n",
        ] {
            assert!(split(other.as_bytes()).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\* STATUS )?[A-Z \\[\\](){}\"\\\\0-9+\r\n&]{0,40}") {
            if let Some((name, _)) = split(text.as_bytes()) {
                let _ = (mailbox(name, Names::Utf7), mailbox(name, Names::Utf8));
            }
        }
    }
}
