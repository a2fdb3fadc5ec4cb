//! SASL messages: HASHEDPASS (profile §4), PLAIN (RFC 4616), LOGIN; parse, build, and the server's exchange as a
//! state machine shared by SMTP, IMAP and POP3.
