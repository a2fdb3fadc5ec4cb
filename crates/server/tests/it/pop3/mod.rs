//! POP3 over real sockets and TLS, against a store in a temporary folder; what a session did is read back by another one,
//! of IMAP where POP3 could not see it.

mod capability;
mod deadlines;
mod dialogues;
mod harness;
mod hostile;
mod login;
mod maildrop;
mod restart;
mod utf8;
