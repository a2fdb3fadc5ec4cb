//! The table of profile §6: one verdict, the first row that applies.

use super::{
    Facts, Held, Message, OpenError, Opened, Verdict, armour,
    payload::{Payload, PayloadError},
    verify::{self, Fit, Signed, Whose},
};
use sealpost_crypto::key::SecretKey;
use sealpost_proto::{
    address::Mailbox,
    message::{Encrypted, PUBKEY_FIELD, SIGNATURE_FIELD, SignatureInput, parse_pubkey, parse_signature},
};

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

pub(super) fn judge(message: &Message, identities: &[SecretKey], facts: &Facts) -> Result<Opened, OpenError> {
    let mut opened = Opened {
        verdict: Verdict::CannotBeOpened,
        notes: Vec::new(),
        payload_sha256: None,
        sealed: false,
        signer: None,
        held: Held::Closed,
    };
    if let Some(fault) = message.fault {
        opened.notes.push(fault.to_string());
        return Ok(opened);
    }
    let encrypted = Encrypted::of(&message.header);
    opened.sealed = encrypted == Encrypted::Yes;
    if let Encrypted::Odd(value) = &encrypted {
        opened.notes.push(format!("X-Sender-Encrypted says “{value}”, which counts as no"));
    }
    let sealed = if opened.sealed {
        match open(message, identities)? {
            Ok((payload, block)) => {
                opened.held = Held::Sealed(block.clone(), identities.to_vec());
                Some((payload, block))
            }
            Err(why) => {
                opened.notes.push(why);
                return Ok(opened);
            }
        }
    } else {
        opened.held = Held::Plain(message.source.clone());
        if armour::is_there(&message.source, message.body)? {
            opened.notes.push(
                "it holds something sealed, but does not say X-Sender-Encrypted: yes; that was not opened"
                    .into(),
            );
        }
        None
    };
    let block = sealed.as_ref().map(|(_, block)| block);
    let signature = check_signature(message, block, facts, &mut opened.notes)?;
    if let Some(why) = &facts.lookup_failed {
        opened.notes.push(format!("the look-up of the sender's key failed: {why}"));
    }
    if facts.published_otherwise.is_some() {
        opened.notes.push(
            "the sender's server now publishes a key that does not follow from the one you know; it was ignored"
                .into(),
        );
    }
    let payload = sealed.as_ref().map(|(payload, _)| payload);
    let rows = rows(message, payload, &signature, facts);
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
    Ok(opened)
}

type Sealed = (Payload, std::sync::Arc<crate::spool::Spool>);

/// Finds the armour and authenticates the payload; the inner error is why it cannot be opened.
fn open(message: &Message, identities: &[SecretKey]) -> Result<Result<Sealed, String>, OpenError> {
    let block = match armour::find(&message.source, &message.header, message.body)? {
        armour::Found::Block(block) => block,
        armour::Found::Damaged => return Ok(Err("the sealed message is damaged".into())),
        armour::Found::Nothing => {
            return Ok(Err("it says X-Sender-Encrypted: yes, but holds nothing sealed".into()));
        }
    };
    match Payload::read(&block, identities) {
        Ok(payload) => Ok(Ok((payload, block))),
        Err(PayloadError::Closed(why)) => Ok(Err(why)),
        Err(PayloadError::Io(e)) => Err(e.into()),
    }
}

fn check_signature(
    message: &Message,
    block: Option<&std::sync::Arc<crate::spool::Spool>>,
    facts: &Facts,
    notes: &mut Vec<String>,
) -> Result<Signature, OpenError> {
    let header = &message.header;
    let courtesy = match header.first(PUBKEY_FIELD).map(parse_pubkey) {
        Some(Ok(key)) => Some(key),
        Some(Err(e)) => {
            notes.push(format!("X-Sender-Pubkey {e}; it was ignored"));
            None
        }
        None => None,
    };
    if let Some(key) = &courtesy
        && !facts.keys.is_empty()
        && !facts.keys.contains(key)
    {
        notes.push("X-Sender-Pubkey names another key than the sender's; it was ignored".into());
    }
    let Some(field) = header.first(SIGNATURE_FIELD) else { return Ok(Signature::None) };
    let head = match SignatureInput::new(header) {
        Ok(head) => head,
        Err(fault) => return Ok(Signature::Bad(Some(fault.to_string()))),
    };
    let signature = match parse_signature(field) {
        Ok(signature) => signature,
        Err(e) => return Ok(Signature::Bad(Some(format!("X-Sender-Signature {e}")))),
    };
    if facts.keys.is_empty() && facts.retired.is_empty() && courtesy.is_none() {
        return Ok(Signature::NoKey);
    }
    let exact = message.signed(head);
    let second = || match block {
        None => exact.with_one_line_end(),
        Some(block) => Ok(SignatureInput::as_sealed(header).ok().map(|head| Signed {
            head,
            source: block.clone(),
            start: 0,
            end: u64::MAX,
            tail: b"",
        })),
    };
    Ok(match verify::find_key(&signature, courtesy.as_ref(), facts, &exact, message.input_sha256, second)? {
        Some(fit) => Signature::Fits(fit),
        None => Signature::Bad(None),
    })
}

/// All rows that apply, in the table's order, with what they mean here. Behind a withheld row nothing more is said.
fn rows(
    message: &Message,
    payload: Option<&Payload>,
    signature: &Signature,
    facts: &Facts,
) -> Vec<(Verdict, String)> {
    let withheld = |verdict, words: &str| vec![(verdict, words.to_owned())];
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
                let words = "mail of this contact was signed before; this one anybody may have written";
                rows.push((Verdict::PlainThoughSigns, words.into()));
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
                "no key of the sender is known; the one in the message proves nothing"
            } else {
                "it is signed with a key that is not the sender's"
            };
            return withheld(Verdict::NotTheSendersKey, words);
        }
        Whose::Retired(at) => {
            let first_seen = facts.first_seen.unwrap_or(facts.now);
            if first_seen > at.plus(RETIRED_KEY_GRACE_SECONDS) {
                let words = format!(
                    "it is signed with a key retired on {} and was first seen over 7 days later",
                    at.to_rfc3339()
                );
                return vec![(Verdict::RetiredKey, words)];
            }
            retired = Some(at);
        }
        Whose::Senders => {}
    }
    if let Some(payload) = payload {
        if !payload.hp_outer_matches(&message.header) {
            return withheld(
                Verdict::WrappedByAnother,
                "the outer header is not the one the sealed message names",
            );
        }
        if payload.from().is_none() || payload.from() != message.from.as_ref().map(Mailbox::canonical) {
            return withheld(
                Verdict::WrappedByAnother,
                "the sealed message is from another than the one who signed",
            );
        }
        if !facts.from_self && !payload.is_written_to(&facts.own_addresses) {
            return withheld(Verdict::NotWrittenToYou, "none of your addresses is among its recipients");
        }
    }
    let sha256 = payload.map_or(fit.input_sha256, |p| p.sha256);
    if !facts.payloads_seen.is_empty() && !facts.payloads_seen.contains(&sha256) {
        return withheld(Verdict::Replay, "the sender's Message-ID was seen before with another content");
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
