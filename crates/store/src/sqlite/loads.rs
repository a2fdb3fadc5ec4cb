//! Messages of a mailbox with what FETCH wants of each, many in one read: what lies apart in the tables comes together
//! here, in one snapshot and on one thread.

use super::{
    Shared,
    convert::number,
    listing,
    readers::{Heads, READ_WHOLE_MAX, WholeReader, lazy},
};
use crate::{
    error::Result,
    mailbox::{Batch, Extent, Load, Loaded, MailboxId, UidRange},
};

/// See [`crate::mailbox::Mailboxes::load`].
pub(super) fn load(shared: &Shared, mailbox: MailboxId, ranges: &[UidRange], load: Load) -> Result<Batch> {
    shared.pool.with(|conn| {
        let snapshot = conn.unchecked_transaction()?;
        let entries = listing::entries_in(&snapshot, mailbox, ranges, load.messages)?;
        let mut batch = Batch { messages: Vec::with_capacity(entries.len()), more: entries.len() >= load.messages };
        let mut content = snapshot.prepare_cached(match load.extent {
            Extent::Nothing | Extent::Header(_) => "SELECT size, object_key, idx FROM content WHERE id = ?1",
            Extent::Whole => {
                "SELECT size, object_key, idx, data FROM content LEFT JOIN body ON content_id = id WHERE id = ?1"
            }
        })?;
        let mut heads = Heads::new(shared, &snapshot);
        let mut room = load.octets;
        for entry in entries {
            if room == 0 {
                batch.more = true;
                break;
            }
            let mut loaded = Loaded { entry, index: Vec::new(), octets: None };
            let id = loaded.entry.content;
            if let Some(row) = content.query([id.0])?.next()? {
                let size = number(row.get(0)?, "message")?;
                let object = row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)?;
                let index = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
                loaded.octets = match load.extent {
                    Extent::Nothing => None,
                    Extent::Header(octets) => Some(Box::new(heads.open((id, size), object, octets(index))?)),
                    Extent::Whole if object.is_some() || size > READ_WHOLE_MAX => Some(lazy(shared, id, size)),
                    Extent::Whole => {
                        row.get::<_, Option<Vec<u8>>>(3)?.map(|octets| Box::new(WholeReader(octets)) as Box<_>)
                    }
                };
                if load.index {
                    loaded.index = index.to_vec();
                }
            }
            let octets = loaded.octets.as_ref().map_or(0, |octets| octets.in_memory(0).len());
            room = room.saturating_sub(octets + loaded.index.len());
            batch.messages.push(loaded);
        }
        Ok(batch)
    })
}
