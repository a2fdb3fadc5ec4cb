-- Schema version 6: annotations (annotations.rs). mailbox_id 0: of the account itself. Where value is NULL the annotation
-- was removed, and the row stays a while for those who ask what changed.
CREATE TABLE annotation (
    account_id INTEGER NOT NULL REFERENCES account (id),
    mailbox_id INTEGER NOT NULL,
    entry      TEXT NOT NULL,
    value      BLOB,
    changed    INTEGER NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, entry)
) STRICT;
CREATE INDEX annotation_changed ON annotation (account_id, changed);
CREATE INDEX annotation_removed ON annotation (account_id, changed) WHERE value IS NULL;

-- The number of the last change, of all accounts.
INSERT INTO counter (name, value) VALUES ('annotation', 0);

-- Octets of the names and values of an account's annotations.
ALTER TABLE account ADD COLUMN annotation_octets INTEGER NOT NULL DEFAULT 0;
