-- Schema version 3: sketches, which tell searchers what need not be opened (sqlite/sketches.rs). Messages stored before
-- have none, and are opened.
ALTER TABLE content ADD COLUMN sketch BLOB;

CREATE TABLE text_sketch (
    content_id INTEGER PRIMARY KEY,
    sketch     BLOB NOT NULL
) STRICT;
