//! NOTIFY (RFC 5465 §8): which events of which mailboxes a client wants to hear of, whatever it is doing.

use super::{
    command::FetchItem,
    encode::Encoder,
    lex::{Cursor, Result, expected},
    parse::{ITEMS_MAX, fetch_item},
    types::{Atom, MailboxName, Names},
};

/// What NOTIFY asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notify {
    /// NONE: nothing any more.
    None,
    /// SET, in place of what was asked for before.
    Set {
        /// STATUS: counters come first.
        status: bool,
        /// At least one; all that apply to a mailbox count.
        groups: Vec<EventGroup>,
    },
}

/// `event-group`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    /// Of which mailboxes.
    pub filter: MailboxFilter,
    /// What of them; empty is NONE.
    pub events: Vec<Event>,
}

/// `filter-mailboxes` (§6)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxFilter {
    /// selected: whichever mailbox is selected when something happens in it.
    Selected,
    /// selected-delayed: the same, and message numbers stay until a command lets them shift.
    SelectedDelayed,
    /// inboxes: those that mail is delivered to.
    Inboxes,
    /// personal
    Personal,
    /// subscribed
    Subscribed,
    /// subtree: these and what lies below them.
    Subtree(Vec<MailboxName>),
    /// mailboxes: these alone.
    Mailboxes(Vec<MailboxName>),
}

impl MailboxFilter {
    /// Whether it is the selected mailbox that is meant.
    pub fn is_selected(&self) -> bool {
        matches!(self, Self::Selected | Self::SelectedDelayed)
    }

    /// The names that were written out.
    pub fn names(&self) -> &[MailboxName] {
        match self {
            Self::Subtree(names) | Self::Mailboxes(names) => names,
            _ => &[],
        }
    }
}

/// `event` (§5)
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// MessageNew; of the selected mailbox, what is to be told of each message.
    MessageNew(Vec<FetchItem>),
    /// MessageExpunge
    MessageExpunge,
    /// FlagChange
    FlagChange,
    /// AnnotationChange
    AnnotationChange,
    /// MailboxName
    MailboxName,
    /// SubscriptionChange
    SubscriptionChange,
    /// MailboxMetadataChange
    MailboxMetadataChange,
    /// ServerMetadataChange
    ServerMetadataChange,
    /// Of some later standard.
    Other(Atom),
}

impl Event {
    /// As it is written.
    pub fn name(&self) -> &str {
        match self {
            Self::MessageNew(_) => "MessageNew",
            Self::MessageExpunge => "MessageExpunge",
            Self::FlagChange => "FlagChange",
            Self::AnnotationChange => "AnnotationChange",
            Self::MailboxName => "MailboxName",
            Self::SubscriptionChange => "SubscriptionChange",
            Self::MailboxMetadataChange => "MailboxMetadataChange",
            Self::ServerMetadataChange => "ServerMetadataChange",
            Self::Other(name) => name.as_str(),
        }
    }

    fn from_name(name: Atom) -> Self {
        let known = [
            Self::MessageNew(Vec::new()),
            Self::MessageExpunge,
            Self::FlagChange,
            Self::AnnotationChange,
            Self::MailboxName,
            Self::SubscriptionChange,
            Self::MailboxMetadataChange,
            Self::ServerMetadataChange,
        ];
        let found = known.into_iter().find(|event| name.is(event.name()));
        found.unwrap_or(Self::Other(name))
    }

    /// `message-event`
    fn is_of_messages(&self) -> bool {
        matches!(self, Self::MessageNew(_) | Self::MessageExpunge | Self::FlagChange | Self::AnnotationChange)
    }
}

/// `notify = "NOTIFY" SP ("NONE" / "SET" [SP "STATUS"] SP event-groups)`
pub(super) fn notify(c: &mut Cursor<'_>, names: Names) -> Result<Notify> {
    c.space()?;
    if c.word("NONE") {
        return Ok(Notify::None);
    }
    if !c.word("SET") {
        return expected("SET or NONE");
    }
    c.space()?;
    let status = c.word("STATUS");
    if status {
        c.space()?;
    }
    let mut groups: Vec<EventGroup> = Vec::new();
    loop {
        if groups.len() >= ITEMS_MAX {
            return expected("fewer event groups");
        }
        let group = event_group(c, names)?;
        // §6.1
        if group.filter.is_selected() && groups.iter().any(|other| other.filter.is_selected()) {
            return expected("one of selected and selected-delayed, once");
        }
        groups.push(group);
        if !c.take(b' ') {
            return Ok(Notify::Set { status, groups });
        }
    }
}

/// `event-group = "(" filter-mailboxes SP events ")"`
fn event_group(c: &mut Cursor<'_>, names: Names) -> Result<EventGroup> {
    c.need(b'(', "an event group")?;
    let filter = filter(c, names)?;
    c.space()?;
    let events = if c.word("NONE") { Vec::new() } else { events(c, filter.is_selected())? };
    c.need(b')', "a closing parenthesis")?;
    Ok(EventGroup { filter, events })
}

/// `filter-mailboxes = "selected" / "selected-delayed" / "inboxes" / "personal" / "subscribed" /
/// "subtree" SP one-or-more-mailbox / "mailboxes" SP one-or-more-mailbox`
fn filter(c: &mut Cursor<'_>, names: Names) -> Result<MailboxFilter> {
    Ok(match c.atom()?.as_str().to_ascii_lowercase().as_str() {
        "selected" => MailboxFilter::Selected,
        "selected-delayed" => MailboxFilter::SelectedDelayed,
        "inboxes" => MailboxFilter::Inboxes,
        "personal" => MailboxFilter::Personal,
        "subscribed" => MailboxFilter::Subscribed,
        "subtree" => MailboxFilter::Subtree(mailboxes(c, names)?),
        "mailboxes" => MailboxFilter::Mailboxes(mailboxes(c, names)?),
        _ => {
            return expected(
                "selected, selected-delayed, inboxes, personal, subscribed, subtree or mailboxes",
            );
        }
    })
}

/// `one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"`
fn mailboxes(c: &mut Cursor<'_>, names: Names) -> Result<Vec<MailboxName>> {
    c.space()?;
    if c.peek() != Some(b'(') {
        return Ok(vec![c.mailbox(names)?]);
    }
    let all = c.list(ITEMS_MAX, |c| c.mailbox(names))?;
    if all.is_empty() { expected("a mailbox") } else { Ok(all) }
}

/// `"(" event *(SP event) ")"`, and which of them need each other (§5).
fn events(c: &mut Cursor<'_>, selected: bool) -> Result<Vec<Event>> {
    let all = c.list(ITEMS_MAX, |c| {
        let event = Event::from_name(c.atom()?);
        match event {
            Event::MessageNew(_) if c.rest().starts_with(b" (") => {
                if !selected {
                    return expected("FETCH items with selected or selected-delayed alone");
                }
                c.space()?;
                let items = c.list(ITEMS_MAX, fetch_item)?;
                if items.is_empty() { expected("a FETCH item") } else { Ok(Event::MessageNew(items)) }
            }
            Event::Other(_) => Ok(event),
            event if selected && !event.is_of_messages() => {
                expected("events of messages alone with selected and selected-delayed")
            }
            event => Ok(event),
        }
    })?;
    let has = |wanted: fn(&Event) -> bool| all.iter().any(wanted);
    let (new, expunge) = (has(|e| matches!(e, Event::MessageNew(_))), has(|e| *e == Event::MessageExpunge));
    if all.is_empty() {
        expected("an event or NONE")
    } else if new != expunge {
        expected("both of MessageNew and MessageExpunge")
    } else if !new && has(Event::is_of_messages) {
        expected("MessageNew and MessageExpunge with FlagChange and AnnotationChange")
    } else {
        Ok(all)
    }
}

impl Encoder {
    pub(super) fn notify(&mut self, notify: &Notify) {
        self.text("NOTIFY ");
        let Notify::Set { status, groups } = notify else { return self.text("NONE") };
        self.text(if *status { "SET STATUS" } else { "SET" });
        for group in groups {
            self.text(" (");
            let (word, names) = match &group.filter {
                MailboxFilter::Selected => ("selected", None),
                MailboxFilter::SelectedDelayed => ("selected-delayed", None),
                MailboxFilter::Inboxes => ("inboxes", None),
                MailboxFilter::Personal => ("personal", None),
                MailboxFilter::Subscribed => ("subscribed", None),
                MailboxFilter::Subtree(names) => ("subtree ", Some(names)),
                MailboxFilter::Mailboxes(names) => ("mailboxes ", Some(names)),
            };
            self.text(word);
            if let Some(names) = names {
                self.list(names, |e, name| e.mailbox(name.as_str()));
            }
            self.text(" ");
            if group.events.is_empty() {
                self.text("NONE");
            } else {
                self.list(&group.events, |e, event| {
                    e.text(event.name());
                    match event {
                        Event::MessageNew(items) if !items.is_empty() => {
                            e.text(" ");
                            e.list(items, Self::fetch_item);
                        }
                        _ => {}
                    }
                });
            }
            self.text(")");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{Body, parse};
    use super::*;

    fn body(text: &str) -> std::result::Result<Notify, String> {
        match parse::command(format!("a NOTIFY {text}\r\n").as_bytes(), Names::Utf7) {
            Ok(command) => match command.body {
                Body::Notify(notify) => Ok(notify),
                other => Err(format!("{other:?}")),
            },
            Err(bad) => Err(bad.to_string()),
        }
    }

    #[test]
    fn groups_of_every_kind() {
        assert_eq!(body("none"), Ok(Notify::None));
        let Ok(Notify::Set { status, groups }) = body(
            "set status (selected-delayed (MessageNew (uid body.peek[header.fields (from to subject)]) \
             messageexpunge FlagChange)) (subtree (Lists inbox) (messagenew MessageExpunge MailboxName)) \
             (mailboxes Entw&APw-rfe (SubscriptionChange X-Later)) (personal NONE)",
        ) else {
            panic!("it is a SET")
        };
        assert!(status);
        assert_eq!(groups.len(), 4);
        assert_eq!(groups[0].filter, MailboxFilter::SelectedDelayed);
        let Event::MessageNew(items) = &groups[0].events[0] else { panic!("{:?}", groups[0]) };
        assert_eq!(items.len(), 2);
        let names: Vec<&str> = groups[1].filter.names().iter().map(MailboxName::as_str).collect();
        assert_eq!(names, ["Lists", "INBOX"]);
        assert_eq!(groups[1].events[0], Event::MessageNew(Vec::new()));
        assert_eq!(groups[2].filter.names()[0].as_str(), "Entwürfe");
        assert_eq!(groups[2].events[1], Event::Other(Atom::new("X-Later").unwrap()));
        assert_eq!(groups[3], EventGroup { filter: MailboxFilter::Personal, events: Vec::new() });
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for (bad, why) in [
            ("", "SET or NONE"),
            ("NONE x", "the end of the line"),
            ("SET", "a space"),
            ("SET STATUS", "a space"),
            ("SET ()", "an atom"),
            ("SET (personal ())", "an event or NONE"),
            ("SET (personal)", "a space"),
            ("SET (odd (MailboxName))", "selected"),
            ("SET (subtree () (MailboxName))", "a mailbox"),
            ("SET (mailboxes (MailboxName))", "a space"),
            ("SET (personal (MailboxName)) ", "an event group"),
            ("SET (personal (MessageNew))", "both of"),
            ("SET (personal (MessageExpunge MailboxName))", "both of"),
            ("SET (personal (FlagChange))", "MessageNew and"),
            ("SET (selected (AnnotationChange))", "MessageNew and"),
            ("SET (selected (MailboxName))", "events of messages"),
            ("SET (personal (MessageNew (UID) MessageExpunge))", "FETCH items"),
            ("SET (selected (MessageNew () MessageExpunge))", "a FETCH item"),
            ("SET (selected (MessageNew (ALL) MessageExpunge))", "a FETCH item"),
            ("SET (selected NONE) (selected-delayed NONE)", "once"),
        ] {
            let said = body(bad).unwrap_err();
            assert!(said.contains(why), "{bad}: {said}");
        }
    }
}
