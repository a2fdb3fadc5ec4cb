//! SMTP (RFC 5321) with the draft's verbs: grammar, server and client state machines.

pub mod client;
