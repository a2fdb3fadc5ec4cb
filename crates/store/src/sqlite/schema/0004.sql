-- Schema version 4: what changed since a MODSEQ is found without a walk through the mailbox. Of messages that came since,
-- by their UIDs: the MODSEQ with which they came (born) ascends with them. Of those changed later, by an index that no
-- delivery has to write: it holds them alone (and those of stores from before, whose born nobody knows).
ALTER TABLE entry ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entry_changed ON entry (mailbox_id, modseq) WHERE modseq > born;
