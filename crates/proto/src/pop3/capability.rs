//! What CAPA tells (RFC 2449), one row each. `docs/pop3.md` is made from this table.

/// When a capability holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every state.
    Always,
    /// Before TLS.
    Clear,
    /// In TLS.
    Tls,
}

/// One capability.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// What CAPA prints; SASL's mechanisms follow it.
    pub tag: &'static str,
    /// Where it is laid down.
    pub rfc: &'static str,
    /// When it holds.
    pub when: When,
    /// What a user has of it.
    pub gives: &'static str,
    /// Tests that read its effect back, in `crates/server/tests`.
    pub tests: &'static str,
}

/// The tag behind which the mechanisms stand.
pub const SASL: &str = "SASL";

/// In the order of CAPA.
pub const ALL: &[Capability] = &[
    Capability {
        tag: "STLS",
        rfc: "RFC 2595",
        when: When::Clear,
        gives: "TLS on the port of clear text; nobody signs in before it",
        tests: "it/pop3/login.rs",
    },
    Capability {
        tag: "USER",
        rfc: "RFC 1939",
        when: When::Tls,
        gives: "USER and PASS, with an app password",
        tests: "dialogues/pop3/session.txt",
    },
    Capability {
        tag: SASL,
        rfc: "RFC 5034",
        when: When::Tls,
        gives: "AUTH, with the mechanisms that IMAP has",
        tests: "it/pop3/login.rs",
    },
    Capability {
        tag: "TOP",
        rfc: "RFC 1939",
        when: When::Always,
        gives: "the header and some lines of a message",
        tests: "dialogues/pop3/top.txt",
    },
    Capability {
        tag: "UIDL",
        rfc: "RFC 1939",
        when: When::Always,
        gives: "unique ids, the same over restarts and never used again",
        tests: "it/pop3/restart.rs",
    },
    Capability {
        tag: "UTF8 USER",
        rfc: "RFC 6856",
        when: When::Tls,
        gives: "messages with UTF-8 in their header as they are; without UTF8 such a header comes in encoded words, and names \
                of users may be UTF-8 in any case",
        tests: "it/pop3/utf8.rs",
    },
    Capability {
        tag: "PIPELINING",
        rfc: "RFC 2449",
        when: When::Always,
        gives: "commands without waiting for replies",
        tests: "it/pop3/hostile.rs",
    },
    Capability {
        tag: "RESP-CODES",
        rfc: "RFC 2449",
        when: When::Always,
        gives: "reasons for programs: LOGIN-DELAY where too many logins failed (IN-USE never: nothing is locked)",
        tests: "it/pop3/login.rs",
    },
    Capability {
        tag: "AUTH-RESP-CODE",
        rfc: "RFC 3206",
        when: When::Always,
        gives: "AUTH where the password is wrong, SYS/TEMP where it was the server",
        tests: "it/pop3/login.rs",
    },
    Capability {
        tag: "EXPIRE NEVER",
        rfc: "RFC 2449",
        when: When::Always,
        gives: "mail stays until somebody removes it",
        tests: "it/pop3/maildrop.rs",
    },
    Capability {
        tag: "IMPLEMENTATION Sealpost",
        rfc: "RFC 2449",
        when: When::Always,
        gives: "the server's name, without its version",
        tests: "dialogues/pop3/session.txt",
    },
];
