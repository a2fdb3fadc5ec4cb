//! The table of profile §6: one verdict, the first row that applies.

use super::{
    CheckKind as Kind, Checks, Facts, Held, Message, OpenError, Opened, Verdict,
    armour::{self, Block},
    payload::{Payload, PayloadError},
    verify::{self, Fit, Signed, Whose},
};
use sealpost_crypto::seal::{self, FileKey, Identities, SealError};
use sealpost_proto::{
    address::Mailbox,
    key::PublicKey,
    message::{Encrypted, PUBKEY_FIELD, SIGNATURE_FIELD, SignatureInput, parse_pubkey, parse_signature},
};
use std::sync::Arc;

/// How long after its retirement mail signed with a key may still arrive for the first time (profile §6).
const RETIRED_KEY_GRACE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// What became of the signature.
enum Signature {
    None,
    /// Fits nothing, with the reason where it is known.
    Bad(Option<String>),
    /// There is no key to try it with.
    NoKey,
    Fits(Fit),
}

pub(super) fn judge(message: &Message, identities: &Identities, facts: &Facts) -> Result<Opened, OpenError> {
    let mut opened = Opened {
        verdict: Verdict::CannotBeOpened,
        notes: Vec::new(),
        payload_sha256: None,
        sealed: false,
        signer: None,
        checks: Vec::new(),
        outer: None,
        held: Held::Closed,
    };
    let mut checks = Checks::default();
    let judged = look(message, identities, facts, &mut opened, &mut checks);
    opened.checks = checks.finish();
    judged.map(|()| opened)
}

/// What only sealed mail has.
const OF_SEALED: [Kind; 6] =
    [Kind::Armour, Kind::Recipients, Kind::Opens, Kind::Outer, Kind::Inside, Kind::WrittenTo];

fn look(
    message: &Message,
    identities: &Identities,
    facts: &Facts,
    opened: &mut Opened,
    checks: &mut Checks,
) -> Result<(), OpenError> {
    if let Some(fault) = message.fault {
        checks.failed(Kind::Header, fault.to_string());
        opened.notes.push(fault.to_string());
        return Ok(());
    }
    checks.passed(Kind::Header, "it can be read");
    opened.outer = Some(message.header.clone());
    let encrypted = Encrypted::of(&message.header);
    opened.sealed = encrypted == Encrypted::Yes;
    match &encrypted {
        Encrypted::Odd(value) => {
            let odd = format!("X-Sender-Encrypted says “{value}”, which counts as no");
            checks.noted(Kind::Marked, odd.clone());
            opened.notes.push(odd);
        }
        Encrypted::Yes => checks.passed(Kind::Marked, "it says that it is sealed"),
        Encrypted::No => checks.noted(Kind::Marked, "it does not say that it is sealed, so it is plain mail"),
    }
    let sealed = if opened.sealed {
        match open(message, identities, checks)? {
            Ok((payload, block, key)) => {
                opened.held = Held::Sealed(block.clone(), key, payload.clone());
                Some((payload, block))
            }
            Err(why) => {
                opened.notes.push(why);
                return Ok(());
            }
        }
    } else {
        opened.held = Held::Plain(message.source.clone(), message.header.clone(), message.body);
        if armour::is_there(&message.source, message.body)? {
            let there =
                "it holds something sealed, but does not say X-Sender-Encrypted: yes; that was not opened";
            checks.noted(Kind::Armour, there);
            checks.not_made(&OF_SEALED[1..], "it was not opened");
            opened.notes.push(there.into());
        } else {
            checks.not_made(&OF_SEALED, "it is not sealed");
        }
        None
    };
    let block = sealed.as_ref().map(|(_, block)| block);
    let signature = check_signature(message, block, facts, &mut opened.notes, checks)?;
    let mut source = facts.source.clone();
    if let Some(why) = &facts.lookup_failed {
        let failed = format!("the look-up of the sender's key failed: {why}");
        source = if source.is_empty() { failed.clone() } else { format!("{source}; {failed}") };
        opened.notes.push(failed);
    }
    if let Some(key) = &facts.published_otherwise {
        let who = message.from.as_ref().map(Mailbox::canonical);
        opened.notes.push(format!(
            "the sender's server now publishes a key that does not follow from the one you know ({}{}); it was ignored. \
             Ask the sender in another way{}",
            key.fingerprint(),
            facts.looked_up.map_or(String::new(), |at| format!(", when asked on {}", at.to_rfc3339())),
            who.map_or(String::new(), |who| format!("; `sealpost contact compare {who}` shows how")),
        ));
    }
    if facts.keys.is_empty() && facts.retired.is_empty() {
        checks.noted(Kind::Source, if source.is_empty() { "none is known" } else { &*source });
    } else {
        let keys: Vec<String> = facts.keys.iter().map(PublicKey::fingerprint).collect();
        let source =
            if source.is_empty() { keys.join(", ") } else { format!("{}: {source}", keys.join(", ")) };
        if facts.confirmed && facts.published_otherwise.is_none() && facts.lookup_failed.is_none() {
            checks.passed(Kind::Source, source);
        } else {
            checks.noted(Kind::Source, source);
        }
    }
    let payload = sealed.as_ref().map(|(payload, _)| &**payload);
    let rows = rows(message, payload, &signature, facts, checks);
    let mut rows = rows.into_iter();
    if let Some((verdict, words)) = rows.next() {
        opened.verdict = verdict;
        opened.notes.insert(0, words);
    }
    if !opened.verdict.is_withheld() {
        opened.notes.extend(rows.map(|(verdict, words)| format!("{}: {words}", verdict.name())));
    }
    if let Signature::Fits(fit) = signature {
        opened.signer = Some(fit.key);
        if !opened.verdict.is_withheld() {
            opened.payload_sha256 = Some(payload.map_or(fit.input_sha256, |p| p.sha256));
        }
    }
    Ok(())
}

type Sealed = (Arc<Payload>, Block, FileKey);

/// Finds the armour and authenticates the payload; the inner error is why it cannot be opened.
fn open(
    message: &Message,
    identities: &Identities,
    checks: &mut Checks,
) -> Result<Result<Sealed, String>, OpenError> {
    let missing = match armour::find(&message.source, &message.header, message.body)? {
        armour::Found::Block(block) => Ok(block),
        armour::Found::Damaged => Err("the sealed message is damaged"),
        armour::Found::Nothing => Err("it says X-Sender-Encrypted: yes, but holds nothing sealed"),
    };
    let block = match missing {
        Ok(block) => block,
        Err(why) => {
            checks.failed(Kind::Armour, why);
            return Ok(Err(why.into()));
        }
    };
    checks.passed(Kind::Armour, "a whole block is there");
    let fitting = recipients(&block, identities, checks);
    match Payload::read(&block, identities) {
        Ok((payload, key)) => {
            let fitting = fitting.ok().flatten();
            checks.passed(Kind::Opens, fitting.unwrap_or_else(|| "with one of your keys".to_owned()));
            Ok(Ok((Arc::new(payload), block, key)))
        }
        Err(PayloadError::Closed(why)) => {
            if fitting.is_ok() {
                let no_key = identities.keys().is_empty();
                checks
                    .failed(Kind::Opens, if no_key { "there is no key here to open it with" } else { &*why });
            }
            Ok(Err(why))
        }
        Err(PayloadError::Io(e)) => Err(e.into()),
    }
}

/// Tells whom it is sealed to, and which of one's own keys that is; an error where the stanzas are not to be opened.
fn recipients(
    block: &Block,
    identities: &Identities,
    checks: &mut Checks,
) -> Result<Option<String>, SealError> {
    let stanzas = match seal::stanzas(block.reader()) {
        Ok(stanzas) => stanzas,
        Err(why) => {
            checks.failed(Kind::Recipients, why.to_string());
            return Err(why);
        }
    };
    let ours = identities.keys().iter().position(|key| stanzas.iter().any(|s| s.is_for(&key.public())));
    let count = |kind: &str| stanzas.iter().filter(|s| s.kind == kind).count();
    let mut kinds: Vec<String> = ["ssh-ed25519", "ssh-rsa"]
        .into_iter()
        .filter(|kind| count(kind) > 0)
        .map(|kind| format!("{} {kind}", count(kind)))
        .collect();
    kinds.push(if ours.is_some() { "one of them yours" } else { "none of them yours" }.to_owned());
    let sealed_to = format!("{} key(s): {}", stanzas.len(), kinds.join(", "));
    let Some(ours) = ours else {
        checks.noted(Kind::Recipients, sealed_to);
        return Ok(None);
    };
    checks.passed(Kind::Recipients, sealed_to);
    let which = if ours == 0 { "your present key" } else { "a retired key of yours" };
    Ok(Some(format!(
        "with {which}, {}, and all of it is authentic",
        identities.keys()[ours].public().fingerprint()
    )))
}

fn check_signature(
    message: &Message,
    block: Option<&Block>,
    facts: &Facts,
    notes: &mut Vec<String>,
    checks: &mut Checks,
) -> Result<Signature, OpenError> {
    let header = &message.header;
    let courtesy = match header.first(PUBKEY_FIELD).map(parse_pubkey) {
        Some(Ok(key)) => {
            if facts.keys.is_empty() || facts.keys.contains(&key) {
                let which = if facts.keys.is_empty() { "it proves nothing" } else { "the sender's" };
                checks.noted(Kind::Courtesy, format!("{}, {which}", key.fingerprint()));
            } else {
                let other = "X-Sender-Pubkey names another key than the sender's; it was ignored";
                checks.noted(Kind::Courtesy, format!("{other}: {}", key.fingerprint()));
                notes.push(other.into());
            }
            Some(key)
        }
        Some(Err(e)) => {
            let wrong = format!("X-Sender-Pubkey {e}; it was ignored");
            checks.noted(Kind::Courtesy, wrong.clone());
            notes.push(wrong);
            None
        }
        None => {
            checks.noted(Kind::Courtesy, "there is none");
            None
        }
    };
    let Some(field) = header.first(SIGNATURE_FIELD) else {
        let nothing = "there is none, so anybody may have written it";
        if block.is_some() {
            checks.failed(Kind::Signature, nothing);
        } else {
            checks.noted(Kind::Signature, nothing);
        }
        return Ok(Signature::None);
    };
    let head = match SignatureInput::new(header) {
        Ok(head) => head,
        Err(fault) => {
            checks.failed(Kind::Signature, fault.to_string());
            return Ok(Signature::Bad(Some(fault.to_string())));
        }
    };
    let signature = match parse_signature(field) {
        Ok(signature) => signature,
        Err(e) => {
            let wrong = format!("X-Sender-Signature {e}");
            checks.failed(Kind::Signature, wrong.clone());
            return Ok(Signature::Bad(Some(wrong)));
        }
    };
    checks.passed(
        Kind::Signature,
        format!(
            "{} is there, over a header with one sender and each field once",
            signature.algorithm.token()
        ),
    );
    if facts.keys.is_empty() && facts.retired.is_empty() && courtesy.is_none() {
        checks.failed(Kind::Fits, "there is no key to try it with");
        return Ok(Signature::NoKey);
    }
    let exact = message.signed(head);
    let second = || match block {
        None => exact.with_one_line_end(),
        Some(block) => Ok(SignatureInput::as_sealed(header).ok().map(|head| Signed {
            head,
            source: block.spool.clone(),
            start: block.range.start,
            end: block.range.end,
            tail: b"",
        })),
    };
    let found = verify::find_key(&signature, courtesy.as_ref(), facts, &exact, message.input_sha256, second)?;
    let Some(fit) = found else {
        checks.failed(Kind::Fits, "neither the exact octets nor the second try fit any key");
        return Ok(Signature::Bad(None));
    };
    if fit.altered {
        checks.noted(
            Kind::Fits,
            "on the second try: its form was changed on the way or when it was saved, its content was not",
        );
    } else {
        checks.passed(Kind::Fits, "on the exact octets");
    }
    Ok(Signature::Fits(fit))
}

/// All rows that apply, in the table's order, with what they mean here. Behind a withheld row nothing more is said.
fn rows(
    message: &Message,
    payload: Option<&Payload>,
    signature: &Signature,
    facts: &Facts,
    checks: &mut Checks,
) -> Vec<(Verdict, String)> {
    let withheld = |verdict, words: &str| vec![(verdict, words.to_owned())];
    let failed = |checks: &mut Checks, kind, verdict, words: &str| {
        checks.failed(kind, words);
        withheld(verdict, words)
    };
    let who = message.from.as_ref().map_or_else(|| "the sender".to_owned(), |m| m.canonical().to_string());
    let fit = match signature {
        Signature::Bad(why) => {
            let why = why.as_deref().unwrap_or("it was changed on the way, or is not from this sender");
            return withheld(Verdict::SignatureBad, why);
        }
        Signature::NoKey => {
            return withheld(
                Verdict::NotTheSendersKey,
                "no key of the sender is known to check the signature with",
            );
        }
        Signature::None if payload.is_some() => {
            return withheld(Verdict::SealedButNotSigned, "anybody who knows your key may have written it");
        }
        Signature::None => {
            let mut rows = Vec::new();
            if facts.signs {
                let words = format!(
                    "mail of this contact was signed before; this one anybody may have written. Ask {who} in another \
                     way before you act on it"
                );
                rows.push((Verdict::PlainThoughSigns, words));
            }
            rows.push((Verdict::Plain, "neither sealed nor signed".into()));
            return rows;
        }
        Signature::Fits(fit) => fit,
    };
    let mut retired = None;
    match fit.whose {
        Whose::Courtesy => {
            let words = if facts.keys.is_empty() && facts.retired.is_empty() {
                "no key of the sender is known; the one in the message proves nothing".to_owned()
            } else {
                format!(
                    "it is signed with a key that is not the sender's, {}. Ask {who} in another way whether it is; \
                     `sealpost contact compare {who}` shows how",
                    fit.key.fingerprint()
                )
            };
            return failed(checks, Kind::Signer, Verdict::NotTheSendersKey, &words);
        }
        Whose::Retired(at) => {
            let first_seen = facts.first_seen.unwrap_or(facts.now);
            if first_seen > at.plus(RETIRED_KEY_GRACE_SECONDS) {
                let words = format!(
                    "it is signed with a key retired on {} and was first seen over 7 days later",
                    at.to_rfc3339()
                );
                checks.passed(Kind::Signer, format!("{}, once the sender's", fit.key.fingerprint()));
                return failed(checks, Kind::Retirement, Verdict::RetiredKey, &words);
            }
            checks.passed(Kind::Signer, format!("{}, once the sender's", fit.key.fingerprint()));
            checks.noted(
                Kind::Retirement,
                format!(
                    "retired on {}; the message was first seen no later than 7 days after that",
                    at.to_rfc3339()
                ),
            );
            retired = Some(at);
        }
        Whose::Senders => {
            checks.passed(Kind::Signer, format!("{}, the sender's", fit.key.fingerprint()));
            checks.passed(Kind::Retirement, "the key is in force");
        }
    }
    if let Some(payload) = payload {
        if !payload.hp_outer_matches(&message.header) {
            return failed(
                checks,
                Kind::Outer,
                Verdict::WrappedByAnother,
                "the outer header is not the one the sealed message names",
            );
        }
        checks.passed(Kind::Outer, "it is the one that the sealed message names (HP-Outer)");
        if payload.from().is_none() || payload.from() != message.from.as_ref().map(Mailbox::canonical) {
            return failed(
                checks,
                Kind::Inside,
                Verdict::WrappedByAnother,
                "the sealed message is from another than the one who signed",
            );
        }
        checks.passed(Kind::Inside, format!("{who}, who signed"));
        if !facts.from_self && !payload.is_written_to(&facts.own_addresses) {
            return failed(
                checks,
                Kind::WrittenTo,
                Verdict::NotWrittenToYou,
                "none of your addresses is among its recipients",
            );
        }
        let written =
            if facts.from_self { "it is your own" } else { "one of your addresses is among its recipients" };
        checks.passed(Kind::WrittenTo, written);
    }
    let sha256 = payload.map_or(fit.input_sha256, |p| p.sha256);
    if facts.payloads_seen.is_empty() {
        checks.passed(Kind::Replay, "the Message-ID was not seen before");
    } else if facts.payloads_seen.contains(&sha256) {
        checks.passed(Kind::Replay, "the Message-ID was seen before, with the same content");
    } else {
        let words = "the sender's Message-ID was seen before with another content";
        return failed(checks, Kind::Replay, Verdict::Replay, words);
    }
    let mut rows = Vec::new();
    if !facts.confirmed {
        let words = "the signature fits, but the sender's key is known only through your own server";
        rows.push((Verdict::SenderNotYetConfirmed, words.to_owned()));
    }
    if fit.altered {
        let words = "a relay changed the form of the message; the content is as it was signed";
        rows.push((Verdict::GoodAltered, words.to_owned()));
    }
    let mut words =
        if payload.is_some() { "sealed and signed" } else { "signed by the sender, but not encrypted" }
            .to_owned();
    if let Some(at) = retired {
        words = format!("{words}; signed with a key retired on {}", at.to_rfc3339());
    }
    rows.push((Verdict::Good, words));
    rows
}
