//! `contact list|show|accept|forget`.

use crate::{
    cli::Contact,
    context::{Context, block_on, mailbox},
    exit::Outcome,
    output::{Output, Style, one_line},
};
use sealpost_client::client::ContactReport;
use serde_json::{Value, json};
use std::{io, process::ExitCode};

/// `sealpost contact …`.
pub fn contact(command: &Contact, context: &Context) -> Outcome {
    let out = context.output;
    match command {
        Contact::List => {
            let contacts = context.client.contacts()?;
            for contact in &contacts {
                out.line(format!(
                    "{:<32} {}  since {}",
                    contact.address.as_str(),
                    contact.fingerprint,
                    contact.since.to_rfc3339()
                ))?;
            }
            if contacts.is_empty() {
                out.line("No contact's key is known yet; sending to somebody learns it.")?;
            }
            out.object(&json!({ "contacts": contacts.iter().map(object).collect::<Vec<_>>() }))?;
        }
        Contact::Show { address } => {
            let contact = context.client.contact(&mailbox(address)?)?;
            show(out, &contact)?;
            out.object(&object(&contact))?;
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
            object["replaced"] =
                done.replaced.as_ref().map(sealpost_proto::key::PublicKey::fingerprint).into();
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

fn show(out: Output, contact: &ContactReport) -> io::Result<()> {
    out.line(format!("Contact      {}", contact.address))?;
    out.line(format!("Key          {}", contact.key.openssh()))?;
    out.line(format!("Fingerprint  {}", contact.fingerprint))?;
    out.line(format!("In words     {}", contact.words))?;
    out.line(format!("Since        {} ({})", contact.since.to_rfc3339(), one_line(&contact.learnt)))?;
    out.line(format!("Signs        {}", if contact.signs { "yes" } else { "not seen yet" }))
}

fn object(contact: &ContactReport) -> Value {
    json!({
        "address": contact.address.as_str(),
        "key": contact.key.openssh(),
        "fingerprint": contact.fingerprint,
        "words": contact.words,
        "since": contact.since.to_rfc3339(),
        "learnt": contact.learnt,
        "signs": contact.signs,
    })
}
