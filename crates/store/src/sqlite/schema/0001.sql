-- Schema version 1. Times are seconds since 1970-01-01T00:00:00Z; numbers are 64-bit and signed. Nothing here is
-- peculiar to SQLite but WITHOUT ROWID and STRICT; docs/decisions/0003-store.md has the PostgreSQL counterpart.

-- The server's own secret (profile §4).
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Numbers that only grow: the last UIDVALIDITY given out.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('uid_validity', 0);

-- AUTOINCREMENT: an id is never given out twice, not even after a removal.
CREATE TABLE account (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    address        TEXT NOT NULL UNIQUE,
    domain         TEXT NOT NULL,
    created        INTEGER NOT NULL,
    code_sha256    BLOB,
    code_expires   INTEGER,
    login_salt     BLOB UNIQUE,
    login_m_kib    INTEGER,
    login_t        INTEGER,
    login_p        INTEGER,
    login_verifier BLOB,
    key_salt       BLOB,
    key_blob       BLOB,
    generation     INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE alias (
    address    TEXT PRIMARY KEY,
    account_id INTEGER NOT NULL REFERENCES account (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_account ON alias (account_id);

-- Statements as they came over the wire, the newest with the highest serial.
CREATE TABLE statement (
    account_id INTEGER NOT NULL REFERENCES account (id),
    serial     INTEGER NOT NULL,
    wire       BLOB NOT NULL,
    PRIMARY KEY (account_id, serial)
) STRICT, WITHOUT ROWID;

-- Sealed keyrings; the highest serial is the current one. No WITHOUT ROWID: rows are up to 1 MiB.
CREATE TABLE keyring (
    account_id INTEGER NOT NULL REFERENCES account (id),
    serial     INTEGER NOT NULL,
    sha256     BLOB NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (account_id, serial)
) STRICT;

CREATE TABLE app_password (
    account_id INTEGER NOT NULL REFERENCES account (id),
    name       TEXT NOT NULL,
    salt       BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    created    INTEGER NOT NULL,
    PRIMARY KEY (account_id, name)
) STRICT, WITHOUT ROWID;

-- account_id is NULL once a mailbox is removed: its name is free, its entries go bit by bit (sqlite/garbage.rs).
CREATE TABLE mailbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   INTEGER REFERENCES account (id),
    name         TEXT NOT NULL,
    special_use  INTEGER,
    uid_validity INTEGER NOT NULL UNIQUE,
    uid_next     INTEGER NOT NULL DEFAULT 1,
    modseq       INTEGER NOT NULL DEFAULT 1,
    messages     INTEGER NOT NULL DEFAULT 0,
    unseen       INTEGER NOT NULL DEFAULT 0,
    deleted      INTEGER NOT NULL DEFAULT 0,
    size         INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, name)
) STRICT;
CREATE INDEX mailbox_removed ON mailbox (id) WHERE account_id IS NULL;

CREATE TABLE subscription (
    account_id INTEGER NOT NULL REFERENCES account (id),
    name       TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) STRICT, WITHOUT ROWID;

-- Narrow on purpose: this is what SELECT, STORE and SEARCH by flags walk through. No index by modseq: a walk through
-- 8,000 entries takes half a millisecond, an index costs a fifth of the delivery rate.
CREATE TABLE entry (
    mailbox_id    INTEGER NOT NULL,
    uid           INTEGER NOT NULL,
    modseq        INTEGER NOT NULL,
    flags         INTEGER NOT NULL,
    internal_date INTEGER NOT NULL,
    save_date     INTEGER NOT NULL,
    size          INTEGER NOT NULL,
    content_id    INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, uid)
) STRICT, WITHOUT ROWID;

-- Keywords that a mailbox has seen, with the spelling seen first; folded is in ASCII lower case.
CREATE TABLE keyword (
    mailbox_id INTEGER NOT NULL,
    folded     TEXT NOT NULL,
    spelling   TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, folded)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry_keyword (
    mailbox_id INTEGER NOT NULL,
    uid        INTEGER NOT NULL,
    folded     TEXT NOT NULL,
    PRIMARY KEY (mailbox_id, uid, folded)
) STRICT, WITHOUT ROWID;

-- UIDs that are gone, in ranges, by the MODSEQ of their going (QRESYNC).
CREATE TABLE vanished (
    mailbox_id INTEGER NOT NULL,
    modseq     INTEGER NOT NULL,
    uid_lo     INTEGER NOT NULL,
    uid_hi     INTEGER NOT NULL,
    PRIMARY KEY (mailbox_id, modseq, uid_lo)
) STRICT, WITHOUT ROWID;

-- One row for each distinct message; refs counts the entries and queue entries that share it. Octets are in body, or
-- in an object where object_key is set.
CREATE TABLE content (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    refs       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    object_key TEXT,
    idx        BLOB NOT NULL
) STRICT;
-- Partial: most contents have none, and opening the store reads it alone.
CREATE UNIQUE INDEX content_object ON content (object_key) WHERE object_key IS NOT NULL;

CREATE TABLE body (
    content_id INTEGER PRIMARY KEY,
    data       BLOB NOT NULL
) STRICT;

CREATE TABLE queue (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    reverse_path TEXT,
    content_id   INTEGER NOT NULL,
    domain       TEXT NOT NULL,
    recipients   TEXT NOT NULL,
    eight_bit    INTEGER NOT NULL,
    smtputf8     INTEGER NOT NULL,
    received     INTEGER NOT NULL,
    due          INTEGER NOT NULL,
    -- When it may be claimed: due, or the end of the lease of whoever claimed it.
    claimable    INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT
) STRICT;
CREATE INDEX queue_claimable ON queue (claimable);

-- Content that nothing refers to, and when it may go: sessions that have not yet heard of the expunge still read it.
CREATE TABLE gc (
    content_id INTEGER PRIMARY KEY,
    not_before INTEGER NOT NULL
) STRICT;
CREATE INDEX gc_not_before ON gc (not_before);

-- Objects whose rows are gone and whose files are still to be unlinked.
CREATE TABLE gc_object (
    object_key TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
