//! The maildrop of a session: what INBOX held when it began, and which of it shall go (RFC 1939 §5). Nothing that others
//! do meanwhile changes it, so numbers stay, and there is nothing that a lock would have to protect.

use super::reply::Reply;
use std::fmt::Write as _;

/// A message: 16 octets, for a mailbox may have hundreds of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    octets: u64,
    uid: u32,
    deleted: bool,
}

/// Where a message that exists and is not marked stands in the order in which it was given, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(usize);

impl Position {
    /// The index.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maildrop {
    uid_validity: u32,
    messages: Vec<Message>,
}

/// What LIST and UIDL tell of all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Octets,
    UniqueId,
}

impl Maildrop {
    /// Messages as `(UID, octets that RETR sends)`, in the order of their numbers.
    pub fn new(uid_validity: u32, messages: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let messages =
            messages.into_iter().map(|(uid, octets)| Message { octets, uid, deleted: false }).collect();
        Self { uid_validity, messages }
    }

    /// Messages that are not marked, and their octets (STAT).
    pub fn stat(&self) -> (usize, u64) {
        let left = self.messages.iter().filter(|message| !message.deleted);
        left.fold((0, 0), |(count, octets), message| (count + 1, octets.saturating_add(message.octets)))
    }

    /// UIDs that shall go.
    pub fn deleted(&self) -> Vec<u32> {
        self.messages.iter().filter(|message| message.deleted).map(|message| message.uid).collect()
    }

    /// A message by its number.
    pub(super) fn find(&self, number: u64) -> Result<Position, Reply> {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let found = index.and_then(|index| Some((index, self.messages.get(index)?)));
        match found {
            Some((index, message)) if !message.deleted => Ok(Position(index)),
            Some(_) => Err(Reply::err(format!("message {number} is marked as deleted"))),
            None => Err(Reply::err(format!("no such message, there are {}", self.messages.len()))),
        }
    }

    pub(super) fn octets(&self, at: Position) -> u64 {
        self.messages[at.0].octets
    }

    /// DELE
    pub(super) fn delete(&mut self, at: Position) {
        self.messages[at.0].deleted = true;
    }

    /// RSET
    pub(super) fn reset(&mut self) {
        self.messages.iter_mut().for_each(|message| message.deleted = false);
    }

    /// `number value`, as LIST and UIDL print a message. The unique id is UIDVALIDITY and UID: neither changes over a
    /// restart, and together they are never used again (RFC 1939 §7 asks for 1 to 70 characters from `!` to `~`).
    pub(super) fn line(&self, at: Position, column: Column) -> String {
        let mut line = String::with_capacity(32);
        self.write_line(at.0, column, &mut line);
        line
    }

    fn write_line(&self, index: usize, column: Column, out: &mut String) {
        let (number, message) = (index + 1, &self.messages[index]);
        // Writing to a string does not fail.
        let _ = match column {
            Column::Octets => write!(out, "{number} {}", message.octets),
            Column::UniqueId => write!(out, "{number} {}.{}", self.uid_validity, message.uid),
        };
    }

    /// Lines of messages from `next` on, about `room` octets of them; where to go on, `None` at the end.
    pub(super) fn lines(&self, column: Column, next: usize, room: usize) -> (String, Option<usize>) {
        let mut out = String::with_capacity(room.min(self.messages.len().saturating_mul(16)) + 32);
        for index in next..self.messages.len() {
            if self.messages[index].deleted {
                continue;
            }
            if out.len() >= room.max(1) {
                return (out, Some(index));
            }
            self.write_line(index, column, &mut out);
            out.push_str("\r\n");
        }
        (out, None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_stay_when_messages_are_marked() {
        let mut drop = Maildrop::new(7, [(3, 120), (9, 200), (10, u64::MAX)]);
        assert_eq!(drop.stat(), (3, u64::MAX));
        let second = drop.find(2).unwrap();
        assert_eq!(drop.line(second, Column::Octets), "2 200");
        assert_eq!(drop.line(second, Column::UniqueId), "2 7.9");
        drop.delete(second);
        assert_eq!(drop.find(2).unwrap_err().to_string(), "-ERR message 2 is marked as deleted");
        assert_eq!(drop.lines(Column::UniqueId, 0, 100).0, "1 7.3\r\n3 7.10\r\n");
        assert_eq!(drop.deleted(), [9]);
        drop.reset();
        assert_eq!((drop.deleted(), drop.stat().0), (vec![], 3));
        for wrong in [0, 4, u64::MAX] {
            assert_eq!(drop.find(wrong).unwrap_err().to_string(), "-ERR no such message, there are 3");
        }
    }

    #[test]
    fn the_longest_unique_id_fits() {
        let drop = Maildrop::new(u32::MAX, [(u32::MAX, u64::MAX)]);
        let line = drop.line(drop.find(1).unwrap(), Column::UniqueId);
        let id = line.split_once(' ').unwrap().1;
        assert!((1..=70).contains(&id.len()) && id.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{id}");
    }

    proptest! {
        #[test]
        fn a_listing_in_pieces_is_the_listing(
            messages in proptest::collection::vec((any::<u32>(), any::<u64>(), any::<bool>()), 0..60),
            room in 1usize..200,
        ) {
            let mut drop = Maildrop::new(1, messages.iter().map(|(uid, octets, _)| (*uid, *octets)));
            for (index, _) in messages.iter().enumerate().filter(|(_, (_, _, deleted))| *deleted) {
                drop.delete(Position(index));
            }
            let (whole, end) = drop.lines(Column::Octets, 0, usize::MAX);
            prop_assert_eq!(end, None);
            prop_assert_eq!(whole.lines().count(), drop.stat().0);
            let (mut pieces, mut next) = (String::new(), Some(0));
            while let Some(from) = next {
                let (piece, then) = drop.lines(Column::Octets, from, room);
                prop_assert!(piece.len() < room + 64);
                pieces += &piece;
                next = then;
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
