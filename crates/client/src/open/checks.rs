//! What the judge looked at, one line each: the account that `verify` gives of a verdict. The judge itself writes it,
//! so that it cannot tell another story than the verdict does.

/// What is checked, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CheckKind {
    /// The header can be read.
    Header,
    /// `X-Sender-Encrypted`.
    Marked,
    /// The armour block.
    Armour,
    /// Whom it is sealed to.
    Recipients,
    /// One of one's own keys opens it, and all of it is authentic.
    Opens,
    /// `X-Sender-Signature` is there and is what it should be, over a header with one From.
    Signature,
    /// Where the sender's keys are from.
    Source,
    /// `X-Sender-Pubkey`, the courtesy.
    Courtesy,
    /// The signature fits a key, on the exact octets or on the second try.
    Fits,
    /// Whose key that is.
    Signer,
    /// Whether the key was retired.
    Retirement,
    /// `HP-Outer` inside against the header outside.
    Outer,
    /// `From` inside is the one who signed.
    Inside,
    /// Written to one of one's own addresses.
    WrittenTo,
    /// The Message-ID was not seen with another content.
    Replay,
}

impl CheckKind {
    /// All, in order.
    pub const ALL: [Self; 15] = [
        Self::Header,
        Self::Marked,
        Self::Armour,
        Self::Recipients,
        Self::Opens,
        Self::Signature,
        Self::Source,
        Self::Courtesy,
        Self::Fits,
        Self::Signer,
        Self::Retirement,
        Self::Outer,
        Self::Inside,
        Self::WrittenTo,
        Self::Replay,
    ];

    /// What is shown and what programs find it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Marked => "marked as sealed",
            Self::Armour => "armour",
            Self::Recipients => "sealed to",
            Self::Opens => "opens",
            Self::Signature => "signature",
            Self::Source => "sender's keys",
            Self::Courtesy => "key in the message",
            Self::Fits => "signature fits",
            Self::Signer => "whose key",
            Self::Retirement => "retirement",
            Self::Outer => "header outside",
            Self::Inside => "sender inside",
            Self::WrittenTo => "written to you",
            Self::Replay => "replay",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// As it should be.
    Passed,
    /// It decides the verdict.
    Failed,
    /// Worth knowing; decides nothing by itself.
    Noted,
    /// Not looked at.
    NotMade,
}

impl CheckResult {
    /// What is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Noted => "noted",
            Self::NotMade => "not made",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub kind: CheckKind,
    /// How it ended.
    pub result: CheckResult,
    /// Why, in words.
    pub why: String,
}

/// The checks so far.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    fn push(&mut self, kind: CheckKind, result: CheckResult, why: impl Into<String>) {
        self.0.push(Check { kind, result, why: why.into() });
    }
    pub(super) fn passed(&mut self, kind: CheckKind, why: impl Into<String>) {
        self.push(kind, CheckResult::Passed, why);
    }
    pub(super) fn failed(&mut self, kind: CheckKind, why: impl Into<String>) {
        self.push(kind, CheckResult::Failed, why);
    }
    pub(super) fn noted(&mut self, kind: CheckKind, why: impl Into<String>) {
        self.push(kind, CheckResult::Noted, why);
    }
    pub(super) fn not_made(&mut self, kinds: &[CheckKind], why: &str) {
        for kind in kinds {
            self.push(*kind, CheckResult::NotMade, why);
        }
    }

    /// All of them in order; what was not reached names what stopped it.
    pub(super) fn finish(mut self) -> Vec<Check> {
        let stopped = self.0.iter().find(|check| check.result == CheckResult::Failed).map_or_else(
            || "there was nothing to look at".to_owned(),
            |check| format!("“{}” had decided already", check.kind.name()),
        );
        for kind in CheckKind::ALL {
            if !self.0.iter().any(|check| check.kind == kind) {
                self.push(kind, CheckResult::NotMade, stopped.clone());
            }
        }
        self.0.sort_by_key(|check| check.kind);
        self.0
    }
}
