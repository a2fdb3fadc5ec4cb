-- Schema version 2: contents whose last line has no CRLF, of which POP3 counts two octets more (RFC 1939 §11). A table of
-- its own, since nearly all mail ends in CRLF. Of messages stored before, those in files count as ending in it.
CREATE TABLE unended (
    content_id INTEGER PRIMARY KEY
) STRICT;
INSERT INTO unended (content_id)
    SELECT content_id FROM body WHERE length(data) > 0 AND substr(data, -2) <> x'0D0A';
