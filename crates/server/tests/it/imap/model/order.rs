//! SORT and THREAD (RFC 5256). Which messages are in the answer is as for SEARCH; their order is asked here.

use super::{
    content::Look,
    messages::refused,
    script::{Key, Order, Sorted},
    session::{Rules, Selected},
    thread,
    truth::Mailbox,
    world::{Checked, World, must},
};

/// What is compared of a message, which has a number for a tie.
fn key(order: Order, look: &Look, size: usize) -> (String, u64) {
    match order {
        // Older is less.
        Order::Arrival => (String::new(), u64::MAX - look.age),
        Order::Date => (String::new(), look.sent),
        Order::From => (look.sender_key().to_owned(), 0),
        Order::Size => (String::new(), size as u64),
        Order::Subject => (look.subject_key(), 0),
        // There is none.
        Order::Cc => (String::new(), 0),
    }
}

fn words(order: Order) -> &'static str {
    match order {
        Order::Arrival => "ARRIVAL",
        Order::Date => "DATE",
        Order::From => "FROM",
        Order::Size => "SIZE",
        Order::Subject => "SUBJECT",
        Order::Cc => "CC",
    }
}

/// The numbers in an answer, and the messages that they mean.
fn known(numbers: &[u32], uid: bool, selected: &Selected) -> Result<Vec<u32>, String> {
    let uid_of = |number: &u32| {
        if uid {
            return selected.known.iter().any(|known| known.uid == *number).then_some(*number);
        }
        Some(selected.known.get(number.checked_sub(1)? as usize)?.uid)
    };
    numbers.iter().map(uid_of).collect::<Option<_>>().ok_or_else(|| format!("{numbers:?} are not known"))
}

impl World<'_> {
    pub(super) async fn sort(&mut self, who: usize, uid: bool, order: &[Sorted], key: &Key) -> Checked {
        let selected = self.sessions[who].selected.clone();
        let wanted: Vec<String> = order
            .iter()
            .map(|sorted| format!("{}{}", if sorted.reverse { "REVERSE " } else { "" }, words(sorted.order)))
            .collect();
        let key_words = super::search::written(key, selected.as_ref());
        let verb = if uid { "UID SORT" } else { "SORT" };
        let answer = self.ask(who, &format!("{verb} ({}) UTF-8 {key_words}", wanted.join(" "))).await?;
        self.asked_modseq(who, key, &answer);
        let Some(selected) = selected else { return refused(&answer) };
        if answer.is_ok() {
            let (numbers, highest) = super::search::plain(&answer, "SORT")?;
            let mut found = numbers.clone();
            found.sort_unstable();
            self.is_found(&selected, uid, key, (&found, highest))?;
            let uids = known(&numbers, uid, &selected)?;
            if let Some(mailbox) = self.truth.mailboxes.get(&selected.id) {
                is_sorted(mailbox, &uids, order)?;
            }
        } else {
            self.may_fail(&selected)?;
        }
        self.hear(who, &answer, Rules::of(uid)).map(drop)
    }

    pub(super) async fn thread(&mut self, who: usize, uid: bool, references: bool, key: &Key) -> Checked {
        let selected = self.sessions[who].selected.clone();
        let key_words = super::search::written(key, selected.as_ref());
        let verb = if uid { "UID THREAD" } else { "THREAD" };
        let algorithm = if references { "REFERENCES" } else { "ORDEREDSUBJECT" };
        let answer = self.ask(who, &format!("{verb} {algorithm} UTF-8 {key_words}")).await?;
        self.asked_modseq(who, key, &answer);
        let Some(selected) = selected else { return refused(&answer) };
        if answer.is_ok() {
            let told = answer.rest("THREAD").ok_or("no THREAD")?.trim_start();
            let numbers = told.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
            let mut numbers: Vec<u32> = numbers.map(|word| word.parse().expect("digits")).collect();
            numbers.sort_unstable();
            let uids = known(&numbers, uid, &selected)?;
            self.is_found(&selected, uid, key, (&numbers, None))?;
            let messages = self.truth.mailboxes.get(&selected.id).map(|mailbox| &mailbox.messages);
            let looks = uids.iter().map(|uid| Some(&messages?.get(uid)?.look)).collect::<Option<Vec<_>>>();
            // Of what is gone nothing is known any more.
            if let Some(looks) = looks {
                let all: Vec<(u32, &Look)> = numbers.into_iter().zip(looks).collect();
                let should = if references { thread::references(&all) } else { thread::ordered(&all) };
                must(told == should, || format!("the threads are {told}, and should be {should}"))?;
            }
        } else {
            self.may_fail(&selected)?;
        }
        self.hear(who, &answer, Rules::of(uid)).map(drop)
    }
}

fn is_sorted(mailbox: &Mailbox, uids: &[u32], order: &[Sorted]) -> Checked {
    let there: Vec<u32> = uids.iter().copied().filter(|uid| mailbox.messages.contains_key(uid)).collect();
    let compare = |a: &u32, b: &u32| {
        let (one, other) = (&mailbox.messages[a], &mailbox.messages[b]);
        let by_keys = order.iter().map(|sorted| {
            let of = |m: &super::truth::Message| key(sorted.order, &m.look, m.text.len());
            let by_key = of(one).cmp(&of(other));
            if sorted.reverse { by_key.reverse() } else { by_key }
        });
        // UIDs ascend as numbers do.
        by_keys.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then(a.cmp(b))
    };
    let mut should = there.clone();
    should.sort_by(compare);
    must(there == should, || format!("UIDs {there:?} should come as {should:?}"))
}
