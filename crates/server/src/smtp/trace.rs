//! Trace information (RFC 5321 §4.4): put before the message, whose own octets are never touched.

use super::Session;
use rand_core::{OsRng, RngCore as _};
use std::fmt::Write as _;

/// Octets of a domain in the trace field; EHLO names are bounded by the grammar, this keeps lines short.
const NAME_MAX: usize = 100;

/// A random name for a transaction: in the trace field, the reply and the log.
pub(super) fn transaction_id() -> String {
    format!("{:016x}", OsRng.next_u64())
}

/// `Return-Path:` for final delivery.
pub(super) fn return_path(reverse_path: Option<&str>) -> String {
    format!("Return-Path: <{}>\r\n", reverse_path.unwrap_or_default())
}

impl Session {
    /// `Received:`. What a signed-in user's machine calls itself and where it is stays out of it.
    pub(super) fn received(&self, id: &str, smtputf8: bool) -> String {
        let mut field = String::from("Received: ");
        let signed_in = self.who.signed_in().is_some();
        let (name, extended) = self.server.hello().unwrap_or(("unknown", false));
        if !signed_in {
            let tagged = match self.peer.to_canonical() {
                std::net::IpAddr::V4(v4) => format!("[{v4}]"),
                std::net::IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
            };
            let _ = write!(field, "from {} ({tagged})\r\n\t", sober(name));
        }
        let _ =
            write!(field, "by {} with {}", self.context.config.hostname, self.protocol(extended, smtputf8));
        if let Some(tls) = &self.tls {
            let _ = write!(field, " ({tls})");
        }
        let _ = write!(field, "\r\n\tid {id}; {}\r\n", self.context.clock.now().to_rfc5322());
        field
    }

    /// RFC 3848, RFC 6531 §4.3.
    fn protocol(&self, extended: bool, smtputf8: bool) -> String {
        let s = if self.tls.is_some() { "S" } else { "" };
        let a = if self.who.signed_in().is_some() { "A" } else { "" };
        match (smtputf8, extended) {
            (true, _) => format!("UTF8SMTP{s}{a}"),
            (false, true) => format!("ESMTP{s}{a}"),
            (false, false) => "SMTP".to_owned(),
        }
    }
}

/// A name from the network as one harmless atom.
fn sober(name: &str) -> String {
    name.chars()
        .take(NAME_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || ".-_:[]".contains(c) { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_fields() {
        assert_eq!(sober("a.example"), "a.example");
        assert_eq!(sober("[IPv6:::1]"), "[IPv6:::1]");
        assert_eq!(sober("a\r\nBcc:(x"), "a??Bcc:?x");
        assert_eq!(return_path(None), "Return-Path: <>\r\n");
    }
}
