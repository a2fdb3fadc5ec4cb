//! `contact list|show|compare|accept|forget`.

use crate::{
    cli::Contact,
    context::{Context, block_on, mailbox},
    exit::{Exit, Failure, Outcome},
    output::{Output, Style, one_line},
};
use sealpost_client::{
    client::{Comparison, ContactReport, Heard, Match},
    compare::{Side, qr_text},
};
use sealpost_proto::{key::PublicKey, statement::Statement};
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// `sealpost contact …`.
pub fn contact(command: &Contact, context: &Context) -> Outcome {
    let out = context.output;
    match command {
        Contact::List => {
            let contacts = context.client.contacts()?;
            for contact in &contacts {
                out.line(format!(
                    "{:<32} {}  since {}  ({})",
                    contact.address.as_str(),
                    contact.fingerprint,
                    contact.since.to_rfc3339(),
                    one_line(&contact.learnt.to_string())
                ))?;
                warn(out, contact)?;
            }
            if contacts.is_empty() {
                out.line("No contact's key is known yet; sending to somebody learns it.")?;
            }
            out.object(&json!({ "contacts": contacts.iter().map(object).collect::<Vec<_>>() }))?;
        }
        Contact::Show { address, qr } => {
            let contact = context.client.contact(&mailbox(address)?)?;
            show(out, &contact)?;
            if *qr {
                out.qr(&qr_text(&contact.address, &contact.fingerprint))?;
            }
            out.object(&object(&contact))?;
        }
        Contact::Compare { address, words, fingerprint } => {
            let comparison = context.client.contact_compare(&mailbox(address)?)?;
            let heard = match (words, fingerprint) {
                (Some(words), _) => Some(Heard::Words(words)),
                (None, Some(fingerprint)) => Some(Heard::Fingerprint(fingerprint)),
                (None, None) => None,
            };
            return compare(out, &comparison, heard);
        }
        Contact::Accept { address, fingerprint } => {
            let address = mailbox(address)?;
            let done = block_on(context.client.contact_accept(&address, fingerprint.as_deref()))??;
            out.line(out.paint(
                Style::Good,
                &format!("This key of {} is trusted from now on:", done.contact.address),
            ))?;
            show(out, &done.contact)?;
            for note in &done.notes {
                out.untrusted(note)?;
            }
            let mut object = object(&done.contact);
            object["replaced"] = done.replaced.as_ref().map(PublicKey::fingerprint).into();
            object["notes"] = json!(done.notes);
            out.object(&object)?;
        }
        Contact::Forget { address } => {
            let forgotten = block_on(context.client.contact_forget(&mailbox(address)?))??;
            match &forgotten {
                Some(contact) => {
                    out.line(format!(
                        "{} is forgotten; its key was {}",
                        contact.address, contact.fingerprint
                    ))?;
                }
                None => out.line(format!("What the domain of {address} offered before is forgotten"))?,
            }
            out.object(
                &forgotten.as_ref().map_or_else(|| json!({ "address": address, "key": null }), object),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn warn(out: Output, contact: &ContactReport) -> io::Result<()> {
    for warning in &contact.warnings {
        out.line(out.paint(Style::Warn, &format!("  warning: {}", one_line(warning))))?;
    }
    Ok(())
}

fn show(out: Output, contact: &ContactReport) -> io::Result<()> {
    out.line(format!("Contact      {}", contact.address))?;
    out.line(format!("Key          {}", contact.key.openssh()))?;
    out.line(format!("Fingerprint  {}", contact.fingerprint))?;
    out.line(format!("In words     {}", contact.words))?;
    out.line(format!(
        "Since        {} ({})",
        contact.since.to_rfc3339(),
        one_line(&contact.learnt.to_string())
    ))?;
    for earlier in &contact.earlier {
        out.line(format!(
            "Before       {} since {} ({})",
            earlier.key.fingerprint(),
            earlier.since.to_rfc3339(),
            one_line(&earlier.learnt.to_string())
        ))?;
    }
    out.line(format!("Signs        {}", if contact.signs { "yes" } else { "not seen yet" }))?;
    match &contact.looked_up {
        Some(looked_up) => {
            let who = if looked_up.authenticated { "its own server" } else { "another's word" };
            let said = match &looked_up.key {
                Some(key) if *key == contact.key => "this key".to_owned(),
                Some(key) => key.fingerprint(),
                None => "no key".to_owned(),
            };
            out.line(format!("Looked up    {} by {who}: {said}", looked_up.at.to_rfc3339()))?;
            for statement in &looked_up.statements {
                out.line(format!("Statement    {}", in_one_line(statement)))?;
            }
            if looked_up.statements.is_empty() {
                out.line("Statement    none, so a change of the key cannot be signed for")?;
            }
        }
        None => out.line("Looked up    not yet on this device")?,
    }
    warn(out, contact)
}

fn in_one_line(statement: &Statement) -> String {
    let previous = statement.previous.as_ref().map_or_else(
        || "the first of its chain".to_owned(),
        |key| format!("signed for by {} before it", key.fingerprint()),
    );
    format!(
        "{} created {} expires {}, {previous}",
        statement.key.fingerprint(),
        statement.created.to_rfc3339(),
        statement.expires.to_rfc3339()
    )
}

fn object(contact: &ContactReport) -> Value {
    let earlier: Vec<Value> = contact
        .earlier
        .iter()
        .map(|earlier| {
            json!({
                "fingerprint": earlier.key.fingerprint(),
                "since": earlier.since.to_rfc3339(),
                "learnt": earlier.learnt.to_string(),
                "learnt_by": earlier.learnt.name(),
            })
        })
        .collect();
    let statement = |s: &Statement| {
        json!({
            "fingerprint": s.key.fingerprint(),
            "created": s.created.to_rfc3339(),
            "expires": s.expires.to_rfc3339(),
            "previous": s.previous.as_ref().map(PublicKey::fingerprint),
        })
    };
    let looked_up = contact.looked_up.as_ref().map(|l| {
        json!({
            "at": l.at.to_rfc3339(),
            "authenticated": l.authenticated,
            "fingerprint": l.key.as_ref().map(PublicKey::fingerprint),
            "statements": l.statements.iter().map(statement).collect::<Vec<_>>(),
        })
    });
    json!({
        "address": contact.address.as_str(),
        "key": contact.key.openssh(),
        "fingerprint": contact.fingerprint,
        "words": contact.words,
        "since": contact.since.to_rfc3339(),
        "learnt": contact.learnt.to_string(),
        "learnt_by": contact.learnt.name(),
        "earlier": earlier,
        "signs": contact.signs,
        "looked_up": looked_up,
        "warnings": contact.warnings,
    })
}

/// Shows both keys, and says whether what was heard is the contact's; on a terminal it is asked for.
fn compare(out: Output, comparison: &Comparison, heard: Option<Heard<'_>>) -> Outcome {
    let contact = &comparison.theirs.address;
    let side = |title: &str, side: &Side| -> Result<(), Failure> {
        out.line(out.paint(Style::Bold, &format!("{title} ({})", side.address)))?;
        out.line(format!("Fingerprint  {}", side.fingerprint))?;
        out.line(format!("In words     {}", side.words))?;
        out.qr(&side.qr_text())
    };
    let mut typed = None;
    if heard.is_none() {
        side("Your key", &comparison.own)?;
        side("The key known here for your contact", &comparison.theirs)?;
        if let Some(published) = &comparison.published {
            side("The key that your contact's server gives now; it is not trusted", published)?;
        }
        warn(out, &comparison.contact)?;
        out.line(format!(
            "Meet {contact} or call a number that you know is right. Read your words aloud: on the other side they are \
             in `sealpost contact show {}`. Then have the other's words read to you (`sealpost key show`), or scan \
             the code.",
            comparison.own.address
        ))?;
        if !out.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal() {
            typed = ask(comparison)?;
        }
    }
    let result = match (heard, typed) {
        (Some(heard), _) => Some(comparison.hold_against(heard).map_err(Failure::usage)?),
        (None, typed) => typed,
    };
    let (exit, word) = match result {
        None => (ExitCode::SUCCESS, Value::Null),
        Some(Match::Same) => {
            out.line(
                out.paint(Style::Good, &format!("The same: this is the key known here for {contact}.")),
            )?;
            (ExitCode::SUCCESS, "same".into())
        }
        Some(Match::Published) => {
            out.line(out.paint(
                Style::Warn,
                &format!(
                    "This is the key that the server of {contact} gives now, not the one known here. If {contact} told \
                     you so, in person or on the telephone, `sealpost contact accept {contact}` trusts it."
                ),
            ))?;
            (ExitCode::from(Exit::Decide as u8), "published".into())
        }
        Some(Match::Other) => {
            out.line(out.paint(
                Style::Bad,
                &format!(
                    "Another key: this is not the one known here for {contact}. Either something was misheard, or \
                     somebody handed out a false key. Send nothing secret until you know; `sealpost contact forget \
                     {contact}` forgets the one known here."
                ),
            ))?;
            (ExitCode::from(Exit::Withheld as u8), "other".into())
        }
    };
    let object = |side: &Side| {
        json!({
            "address": side.address.as_str(),
            "key": side.key.openssh(),
            "fingerprint": side.fingerprint,
            "words": side.words,
            "qr": side.qr_text(),
        })
    };
    out.object(&json!({
        "own": object(&comparison.own),
        "contact": object(&comparison.theirs),
        "published": comparison.published.as_ref().map(object),
        "warnings": comparison.contact.warnings,
        "result": word,
    }))?;
    Ok(exit)
}

/// Until it can be compared, or nothing is typed.
fn ask(comparison: &Comparison) -> Result<Option<Match>, Failure> {
    loop {
        write!(io::stderr(), "What you hear or scan, words or fingerprint (empty: leave it): ")?;
        io::stderr().flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(None);
        }
        match comparison.hold_against(Heard::guess(&line)) {
            Ok(result) => return Ok(Some(result)),
            Err(error) => writeln!(io::stderr(), "{error}")?,
        }
    }
}
