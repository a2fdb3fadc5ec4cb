//! LIST with its extensions (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154) and LSUB (RFC 3501 §6.3.9).

use super::{
    folders::use_attribute,
    session::{Done, OUTPUT_MAX, Refusal, Session, ok},
};
use sealpost_proto::imap::{List, ListReturn, ListSelect, MailboxName, quote_mailbox, response};
use sealpost_store::mailbox::{MailboxId, MailboxInfo};
use std::collections::{BTreeMap, BTreeSet};

/// A name that LIST may tell: a mailbox, a subscription to none, or a level above one.
#[derive(Clone, Copy, Default)]
pub(super) struct Name<'a> {
    pub(super) mailbox: Option<&'a MailboxInfo>,
    pub(super) subscribed: bool,
    children: bool,
    /// Something subscribed lies below.
    subscribed_below: bool,
}

impl Name<'_> {
    /// What stands between the parentheses (RFC 9051 §7.3.1, RFC 5258 §3.4).
    pub(super) fn attributes(&self, extended: bool, tells_subscribed: bool) -> String {
        let absent = if extended { "\\NonExistent" } else { "\\Noselect" };
        let mut all: Vec<&str> = self.mailbox.is_none().then_some(absent).into_iter().collect();
        if tells_subscribed && self.subscribed {
            all.push("\\Subscribed");
        }
        all.push(if self.children { "\\HasChildren" } else { "\\HasNoChildren" });
        all.extend(self.mailbox.and_then(|mailbox| mailbox.special_use).map(use_attribute));
        all.join(" ")
    }
}

impl Session {
    pub(super) async fn list(&mut self, list: List) -> Result<Done, Refusal> {
        let account = self.account()?;
        if !list.extended && list.patterns.iter().all(String::is_empty) {
            // An empty pattern asks for the delimiter (RFC 9051 §6.3.9).
            response::line(&mut self.out, format_args!("* LIST (\\Noselect) \"/\" \"\""));
            return ok("LIST done");
        }
        let mailboxes = self.ctx.store.mailboxes(account).await?;
        let subscriptions = self.ctx.store.subscriptions(account).await?;
        let names = names(&mailboxes, &subscriptions);
        let patterns: Vec<String> = list.patterns.iter().map(|p| joined(&list.reference, p)).collect();
        let subscribed_only = list.select.contains(&ListSelect::Subscribed);
        let special_only = list.select.contains(&ListSelect::SpecialUse);
        let recursive = list.select.contains(&ListSelect::RecursiveMatch);
        let status = list.returns.iter().find_map(|r| match r {
            ListReturn::Status(items) => Some(items),
            _ => None,
        });
        // Of all of them in one read.
        let mut statuses = BTreeMap::new();
        if let Some(items) = status {
            self.enable_by(items);
            let ids: Vec<MailboxId> = mailboxes.iter().map(|mailbox| mailbox.id).collect();
            let all = self.ctx.store.statuses(&ids).await?;
            statuses.extend(ids.into_iter().zip(all).filter_map(|(id, status)| Some((id, status?))));
        }
        let annotations = self.list_annotations(account, &list.returns).await?;
        let tells_subscribed = subscribed_only || list.returns.contains(&ListReturn::Subscribed);
        for (text, name) in &names {
            if !patterns.iter().any(|p| matches(p, text)) {
                continue;
            }
            let special = name.mailbox.and_then(|mailbox| mailbox.special_use).map(use_attribute);
            let fits = (!subscribed_only || name.subscribed) && (!special_only || special.is_some());
            // CHILDINFO: shown for what lies below, where that does not show itself (RFC 5258 §3.5).
            let childinfo = recursive && subscribed_only && name.subscribed_below;
            let plain = !subscribed_only && !special_only;
            if !fits && !childinfo || plain && name.mailbox.is_none() && !name.children {
                continue;
            }
            // Older clients know \Noselect.
            let extended = list.extended || self.enabled.rev2;
            let attributes = name.attributes(extended, tells_subscribed);
            let Some(mailbox_name) = MailboxName::new(*text) else { continue };
            let quoted = quote_mailbox(&mailbox_name, self.enabled.names());
            let childinfo = if childinfo { " (\"CHILDINFO\" (\"SUBSCRIBED\"))" } else { "" };
            response::line(&mut self.out, format_args!("* LIST ({attributes}) \"/\" {quoted}{childinfo}"));
            if let (Some(items), Some(mailbox)) = (status, name.mailbox)
                && let Some(status) = statuses.get(&mailbox.id)
            {
                self.write_status(&mailbox_name, mailbox.id, status, items).await?;
            }
            if let (Some(annotations), Some(mailbox)) = (&annotations, name.mailbox) {
                annotations.write(&mut self.out, mailbox, &mailbox_name, self.enabled.names());
            }
            if self.out.len() > OUTPUT_MAX {
                self.flush().await?;
            }
        }
        ok("LIST done")
    }

    pub(super) async fn lsub(
        &mut self,
        reference: &MailboxName,
        pattern: &MailboxName,
    ) -> Result<Done, Refusal> {
        let account = self.account()?;
        let subscriptions = self.ctx.store.subscriptions(account).await?;
        let pattern = joined(reference.as_str(), pattern.as_str());
        let names = names(&[], &subscriptions)
            .into_iter()
            .filter(|(text, _)| matches(&pattern, text))
            // A level that is not subscribed itself is told where `%` hides what is below it (RFC 3501 §6.3.9).
            .filter(|(text, name)| {
                name.subscribed
                    || pattern.ends_with('%')
                        && subscriptions.iter().any(|s| below(s, text) && !matches(&pattern, s))
            })
            .map(|(text, name)| (text.to_owned(), name.subscribed))
            .collect::<Vec<_>>();
        for (text, subscribed) in names {
            let Some(name) = MailboxName::new(text) else { continue };
            let quoted = quote_mailbox(&name, self.enabled.names());
            let attribute = if subscribed { "" } else { "\\Noselect" };
            response::line(&mut self.out, format_args!("* LSUB ({attribute}) \"/\" {quoted}"));
        }
        ok("LSUB done")
    }
}

pub(super) fn below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

/// All names in order, with the levels above them.
pub(super) fn names<'a>(
    mailboxes: &'a [MailboxInfo],
    subscriptions: &'a [String],
) -> BTreeMap<&'a str, Name<'a>> {
    let mut names: BTreeMap<&str, Name<'_>> = BTreeMap::new();
    let subscribed: BTreeSet<&str> = subscriptions.iter().map(String::as_str).collect();
    for mailbox in mailboxes {
        names.entry(&mailbox.name).or_default().mailbox = Some(mailbox);
        for parent in parents(&mailbox.name) {
            names.entry(parent).or_default().children = true;
        }
    }
    for name in subscribed {
        names.entry(name).or_default().subscribed = true;
        for parent in parents(name) {
            names.entry(parent).or_default().subscribed_below = true;
        }
    }
    names
}

pub(super) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// A name as the store has it.
pub(super) fn canonical(name: &MailboxName) -> MailboxName {
    MailboxName::new(joined("", name.as_str())).unwrap_or_else(|| name.clone())
}

/// The reference is a prefix (RFC 9051 §6.3.9 leaves it to servers).
fn joined(reference: &str, pattern: &str) -> String {
    let whole = format!("{reference}{pattern}");
    // INBOX in any case, also as the first level of a pattern.
    match whole.get(..5) {
        Some(start)
            if start.eq_ignore_ascii_case("INBOX")
                && matches!(whole.as_bytes().get(5), None | Some(b'/')) =>
        {
            format!("INBOX{}", &whole[5..])
        }
        _ => whole,
    }
}

/// `*` matches anything, `%` anything without `/`. Linear in `pattern × name`, however many wildcards there are.
fn matches(pattern: &str, name: &str) -> bool {
    let name = name.as_bytes();
    // Which prefixes of the name the pattern so far matches.
    let mut reach = vec![false; name.len() + 1];
    reach[0] = true;
    for &p in pattern.as_bytes() {
        match p {
            b'*' | b'%' => {
                for i in 1..=name.len() {
                    reach[i] |= reach[i - 1] && (p == b'*' || name[i - 1] != b'/');
                }
            }
            _ => {
                for i in (1..=name.len()).rev() {
                    reach[i] = reach[i - 1] && name[i - 1] == p;
                }
                reach[0] = false;
            }
        }
    }
    reach[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("%/%", "a/b", true),
            ("a*", "a", true),
            ("a/%", "a/b/c", false),
            ("*c", "a/b/c", true),
            ("", "", true),
            ("", "a", false),
            ("%%%%%%%%%%%%%%%%%%%%%%%%%%%%b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("Entw*", "Entwürfe", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(joined("", "inbox"), "INBOX");
        assert_eq!(joined("inbox/", "%"), "INBOX/%");
        assert_eq!(joined("", "inboxes"), "inboxes");
    }

    proptest! {
        #[test]
        fn star_matches_everything(name in "[a-z/ü]{0,20}") {
            prop_assert!(matches("*", &name));
            prop_assert_eq!(matches("%", &name), !name.contains('/'));
            prop_assert!(matches(&name, &name));
        }
    }
}
