//! One attempt: several messages to one domain over one connection.

use super::{
    AGE_MAX, Claimed, DONE_WITHIN, START_WITHIN, record, route,
    session::{self, Session},
    settle::{self, Failure, Results},
};
use crate::context::Context;
use sealpost_proto::{
    address::{Domain, Mailbox},
    drive::{Envelope, Refusal, SmtpError},
    transcript::Tap,
};
use sealpost_store::queue::QueueEntry;
use std::{io::Read, sync::Arc};
use tokio::time::{Instant, timeout_at};

/// Recipients in one transaction: what every server must take (RFC 5321 §4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;
/// Octets of a header that are searched for UTF-8.
const HEADER_MAX: usize = 256 * 1_024;

/// An open conversation between two messages.
pub(super) struct Open {
    session: Session,
    host: String,
    since: Instant,
}

impl Open {
    /// Whether it still stands: asked before it is used again, when nothing can get lost or be doubled yet.
    async fn stands(&mut self) -> bool {
        self.since.elapsed() < AGE_MAX && self.session.reset().await.is_ok()
    }
    pub(super) async fn quit(self) {
        self.session.quit().await;
    }
}

/// Delivers `entries`, all of `domain`, over `open` if that still stands, and settles each. Gives back the connection
/// if it can be used again.
pub(super) async fn deliver(
    ctx: Context,
    domain: Domain,
    entries: Vec<Claimed>,
    open: Option<Open>,
) -> Option<Open> {
    let recorder = record::recorder(&ctx);
    let tap: Option<Arc<dyn Tap>> = recorder.clone().map(|recorder| recorder as Arc<dyn Tap>);
    let mut open = match open {
        Some(mut open) => open.stands().await.then_some(open),
        None => None,
    };
    // Why no server can be reached; the rest of the entries then fails with it at once.
    let mut unreachable: Option<Failure> = None;
    for claimed in entries {
        let entry = &claimed.entry;
        if claimed.since.elapsed() > START_WITHIN {
            settle::put_back(&ctx, entry).await;
            continue;
        }
        // Connects once, and again after a connection that broke.
        if open.is_none() && unreachable.is_none() {
            match connect(&ctx, &domain, tap.as_ref()).await {
                Ok((session, host)) => open = Some(Open { session, host, since: Instant::now() }),
                Err(failure) => unreachable = Some(failure),
            }
        }
        let results = match (&mut open, &unreachable) {
            (Some(Open { session, host, .. }), _) => {
                let (results, usable) = send(session, host, entry, claimed.since + DONE_WITHIN).await;
                if !usable {
                    open = None;
                }
                results
            }
            (None, Some(failure)) => Results::all(entry, failure),
            (None, None) => Results::all(entry, &Failure::transient("4.4.1", "no connection".into())),
        };
        settle::settle(&ctx, entry, results).await;
    }
    let Some(recorder) = recorder else { return open };
    // A record is of one delivery, and its connection with it.
    if let Some(open) = open {
        open.quit().await;
    }
    record::append(&ctx, &domain, &recorder).await;
    None
}

async fn connect(
    ctx: &Context,
    domain: &Domain,
    tap: Option<&Arc<dyn Tap>>,
) -> Result<(Session, String), Failure> {
    let hosts = route::hosts(ctx, domain).await?;
    session::open(ctx, domain, &hosts, tap).await
}

/// Sends one message by `deadline`; says whether the connection is good for another.
async fn send(session: &mut Session, host: &str, entry: &QueueEntry, deadline: Instant) -> (Results, bool) {
    let body = &entry.entry.body;
    let needs = entry.entry.needs;
    let header_utf8 = needs.smtputf8 && header_has_utf8(entry).await;
    let capabilities = session.capabilities();
    // What can never work is not tried: the message cannot be changed on the way, for its signature covers it.
    if capabilities.size_limit().is_some_and(|limit| body.len() > limit) {
        let reason =
            format!("{host} takes messages of at most {} octets", capabilities.size_limit().unwrap_or(0));
        return (Results::all(entry, &Failure::permanent("5.3.4", reason)), true);
    }
    if needs.eight_bit && !capabilities.has("8BITMIME") {
        let reason = format!("{host} takes messages in 7-bit form only, and this one is not");
        return (Results::all(entry, &Failure::permanent("5.6.3", reason)), true);
    }
    let smtputf8 = capabilities.has("SMTPUTF8");
    let reverse_path = entry.reverse_path.as_deref().map(on_the_wire);
    if !smtputf8 && (header_utf8 || reverse_path.as_ref().is_some_and(|path| !path.is_ascii())) {
        let reason = format!("{host} does not take addresses or headers in UTF-8");
        return (Results::all(entry, &Failure::permanent("5.6.7", reason)), true);
    }
    let mut results = Results::default();
    let mut sendable = Vec::new();
    for recipient in &entry.entry.recipients {
        let path = on_the_wire(recipient);
        if smtputf8 || path.is_ascii() {
            sendable.push((recipient.clone(), path));
        } else {
            let reason = format!("{host} does not take addresses in UTF-8");
            results.failed.push((recipient.clone(), Failure::permanent("5.6.7", reason)));
        }
    }
    for (at, group) in sendable.chunks(RECIPIENTS_MAX).enumerate() {
        let utf8_envelope = group.iter().any(|(_, path)| !path.is_ascii());
        let reverse_utf8 = reverse_path.as_ref().is_some_and(|path| !path.is_ascii());
        let envelope = Envelope {
            reverse_path: reverse_path.clone(),
            recipients: group.iter().map(|(_, path)| path.clone()).collect(),
            eight_bit: needs.eight_bit,
            smtputf8: smtputf8 && (header_utf8 || utf8_envelope || reverse_utf8),
            size: body.len(),
        };
        let sent = match body.reader() {
            Ok(reader) => timeout_at(deadline, session.send(&envelope, reader)).await,
            Err(error) => Ok(Err(SmtpError::Source(error))),
        };
        let sent = sent.unwrap_or(Err(SmtpError::Timeout("the message")));
        match sent {
            Ok(outcome) => {
                for ((recipient, _), result) in group.iter().zip(outcome.recipients) {
                    match result {
                        Ok(_) => results.delivered += 1,
                        Err(refusal) => {
                            results
                                .failed
                                .push((recipient.clone(), judge(&refusal).at(host, Some(&refusal.reply))));
                        }
                    }
                }
            }
            Err(error) => {
                let failure = broken(&error).at(host, error.reply());
                let rest = sendable[at * RECIPIENTS_MAX..].iter();
                results.failed.extend(rest.map(|(recipient, _)| (recipient.clone(), failure.clone())));
                return (results, false);
            }
        }
    }
    (results, true)
}

/// What a refusal means for the recipient.
fn judge(refusal: &Refusal) -> Failure {
    let reply = &refusal.reply;
    let enhanced = reply.enhanced().map(|code| code.to_string());
    // RFC 5321 §4.5.3.1.10: 552 to RCPT without more is "too many recipients", to be tried again.
    let too_many = refusal.verb == "RCPT" && reply.code() == 552 && enhanced.is_none();
    if reply.is_permanent() && !too_many {
        Failure::permanent(enhanced.as_deref().unwrap_or("5.0.0"), reply.to_string())
    } else {
        let enhanced = enhanced.filter(|code| code.starts_with('4'));
        Failure::transient(enhanced.as_deref().unwrap_or("4.0.0"), reply.to_string())
    }
}

/// What the end of a conversation means for the message.
fn broken(error: &SmtpError) -> Failure {
    match error {
        SmtpError::Body(_) => Failure::permanent("5.6.11", error.to_string()),
        SmtpError::Command(_) => Failure::permanent("5.1.3", error.to_string()),
        SmtpError::Timeout(_) => Failure::transient("4.4.7", error.to_string()),
        SmtpError::Source(_) => Failure::transient("4.3.0", error.to_string()),
        _ => Failure::transient("4.4.2", error.to_string()),
    }
}

/// As written, but with the domain in A-labels where the local part is ASCII: then no SMTPUTF8 is needed.
fn on_the_wire(path: &str) -> String {
    match Mailbox::parse(path) {
        Ok(mailbox) if mailbox.is_ascii() => format!("{}@{}", mailbox.local(), mailbox.domain()),
        _ => path.to_owned(),
    }
}

/// Whether the message's header holds UTF-8: a client that said SMTPUTF8 without need does not make mail undeliverable.
async fn header_has_utf8(entry: &QueueEntry) -> bool {
    let body = entry.entry.body.clone();
    let search = move || {
        let mut header = Vec::new();
        let read = body.reader().and_then(|reader| reader.take(HEADER_MAX as u64).read_to_end(&mut header));
        let end = header.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(header.len());
        read.is_err() || !header[..end].is_ascii()
    };
    tokio::task::spawn_blocking(search).await.unwrap_or(true)
}
