//! What a client has turned on: ENABLE (RFC 5161), and the commands that show that a client knows MODSEQs
//! (RFC 7162 §3.1).

use super::session::{Done, Refusal, Session, ok};
use sealpost_proto::imap::{
    Atom, Condition, Names,
    response::{self, Code},
};

/// Extensions that change what is sent unasked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one name of ENABLE")]
pub(super) struct Enabled {
    /// MODSEQs go with flags.
    pub(super) condstore: bool,
    /// VANISHED instead of EXPUNGE.
    pub(super) qresync: bool,
    /// IMAP4rev2's replies (RFC 9051, Appendix E): names of mailboxes in UTF-8, ESEARCH for every SEARCH, LIST with
    /// SELECT, nothing of \Recent.
    pub(super) rev2: bool,
    /// Names are in UTF-8, and SEARCH names no charset (RFC 6855 §3).
    pub(super) utf8: bool,
    /// Changes of annotations are told.
    metadata: bool,
}

impl Enabled {
    /// How names of mailboxes are written.
    pub(super) fn names(self) -> Names {
        if self.rev2 || self.utf8 { Names::Utf8 } else { Names::Utf7 }
    }
}

impl Session {
    /// ENABLE: names that are not known are ignored.
    pub(super) fn enable(&mut self, names: &[Atom]) -> Result<Done, Refusal> {
        let account = self.account()?;
        let mut enabled = String::new();
        let first = |on: &mut bool| !std::mem::replace(on, true);
        for name in names {
            if name.is("IMAP4rev2") && first(&mut self.enabled.rev2) {
                enabled.push_str(" IMAP4rev2");
            } else if name.is("UTF8=ACCEPT") && first(&mut self.enabled.utf8) {
                enabled.push_str(" UTF8=ACCEPT");
            } else if name.is("QRESYNC") && first(&mut self.enabled.qresync) {
                enabled.push_str(" QRESYNC");
                self.enable_condstore();
            } else if name.is("CONDSTORE") && !self.enabled.condstore {
                enabled.push_str(" CONDSTORE");
                self.enable_condstore();
            } else if name.is("METADATA") && first(&mut self.enabled.metadata) {
                enabled.push_str(" METADATA");
                self.hear_of_metadata(account);
            }
        }
        response::line(&mut self.out, format_args!("* ENABLED{enabled}"));
        ok("ENABLE done")
    }

    /// From now on MODSEQs are told. Where a mailbox is open already the client hears where it stands.
    pub(super) fn enable_condstore(&mut self) {
        if std::mem::replace(&mut self.enabled.condstore, true) {
            return;
        }
        if let Some(view) = &self.selected {
            let code = Code::HighestModSeq(view.modseq());
            response::status(&mut self.out, None, Condition::Ok, Some(&code), "MODSEQs are told from now on");
        }
    }
}
