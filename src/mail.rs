//! `send`, `list`, `read`.

use crate::{
    cli::{List, Read, Send},
    context::{Context, block_on, is_dash, mailbox},
    exit::{Failure, Outcome},
    output::{Output, Style, one_line},
};
use sealpost_client::{
    client::{Policy, ReadReport, ReadRequest, ReplyTo, SendReport, SendRequest, Which},
    open::{Content, Verdict},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    process::ExitCode,
};

/// Longest text of a message in octets; what is longer is an attachment.
const MAX_TEXT_OCTETS: u64 = 16 << 20;

/// `INBOX`, where `--reply` looks.
const INBOX: &str = "INBOX";

fn which(text: &str) -> Result<Which, Failure> {
    if text == "last" {
        return Ok(Which::Last);
    }
    match text.parse() {
        Ok(uid) if uid > 0 => Ok(Which::Uid(uid)),
        _ => {
            Err(Failure::usage(format_args!("{text:?} is no UID; take one from `sealpost list`, or `last`")))
        }
    }
}

fn text(path: &Path) -> Result<String, Failure> {
    let read = || -> io::Result<String> {
        let mut octets = Vec::new();
        if is_dash(path) {
            io::stdin().lock().take(MAX_TEXT_OCTETS + 1).read_to_end(&mut octets)?;
        } else {
            File::open(path)?.take(MAX_TEXT_OCTETS + 1).read_to_end(&mut octets)?;
        }
        if octets.len() as u64 > MAX_TEXT_OCTETS {
            return Err(io::Error::other(
                "the text is longer than 16 MiB; attach it as a file with --attach",
            ));
        }
        String::from_utf8(octets)
            .map_err(|_| io::Error::other("the text is not UTF-8; attach it with --attach"))
    };
    read().map_err(|e| Failure::file("cannot read", path, &e))
}

/// What was done for each recipient, as JSON.
pub fn recipients(report: &SendReport) -> Value {
    let one = |r: &sealpost_client::client::RecipientReport| json!({ "address": r.address.to_string(), "done": r.outcome.as_str(), "why": r.why });
    report.recipients.iter().map(one).collect()
}

/// What may be done for new contacts.
pub fn policy(options: crate::cli::SendPolicy) -> Policy {
    Policy {
        allow_plain: options.allow_plain,
        sealed_only: options.sealed_only,
        trust_first_use: options.trust_first_use,
    }
}

/// `sealpost send`.
pub fn send(args: &Send, context: &Context) -> Outcome {
    let parse = |list: &[String]| list.iter().map(|a| mailbox(a)).collect::<Result<Vec<_>, _>>();
    let reply = args.reply.as_deref().map(which).transpose()?;
    let request = SendRequest {
        to: parse(&args.to)?,
        cc: parse(&args.cc)?,
        bcc: parse(&args.bcc)?,
        subject: args.subject.clone(),
        text: text(&args.text)?,
        attachments: args.attach.clone(),
        reply: reply.map(|which| ReplyTo { mailbox: INBOX.to_owned(), which }),
        policy: policy(args.policy),
    };
    let report = block_on(context.client.send(request))??;
    let out = context.output;
    for recipient in &report.recipients {
        let style = match recipient.outcome {
            sealpost_client::client::Outcome::Sealed => Style::Good,
            sealpost_client::client::Outcome::Rejected => Style::Bad,
            _ => Style::Warn,
        };
        let done = out.paint(style, recipient.outcome.as_str());
        out.line(format!("{}: {done} ({})", recipient.address, one_line(&recipient.why)))?;
    }
    for note in &report.notes {
        out.untrusted(note)?;
    }
    out.object(&json!({
        "message_id": report.message_id,
        "recipients": recipients(&report),
        "notes": report.notes,
    }))?;
    // Others got it, so that doing it again would send it to them twice: for good or for now, it failed.
    let failed = report.recipients.iter().any(|r| {
        use sealpost_client::client::Outcome::{Rejected, TryLater};
        matches!(r.outcome, Rejected | TryLater)
    });
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// `sealpost list`.
pub fn list(args: &List, context: &Context) -> Outcome {
    let entries = block_on(context.client.list(&args.mailbox))??;
    let out = context.output;
    for entry in &entries {
        let unseen = !entry.flags.iter().any(|f| f.eq_ignore_ascii_case("\\Seen"));
        let verdict = entry.verdict.map_or(String::new(), |v| format!("  [{}]", v.name()));
        let line = format!(
            "{:>6} {} {:<31} {:<28} {}",
            entry.uid,
            if unseen { '*' } else { ' ' },
            one_line(&entry.date),
            one_line(&entry.from),
            one_line(&entry.subject),
        );
        out.line(format!("{}{}", if unseen { out.paint(Style::Bold, &line) } else { line }, verdict))?;
    }
    if entries.is_empty() {
        out.line(format!("{} is empty", one_line(&args.mailbox)))?;
    }
    let object = |entry: &sealpost_client::client::ListEntry| {
        json!({
            "uid": entry.uid,
            "date": entry.date,
            "from": entry.from,
            "subject": entry.subject,
            "flags": entry.flags,
            "size": entry.size,
            "verdict": entry.verdict.map(Verdict::name),
        })
    };
    let messages: Vec<Value> = entries.iter().map(object).collect();
    out.object(&json!({ "mailbox": args.mailbox, "messages": messages }))?;
    Ok(ExitCode::SUCCESS)
}

/// One sentence on each verdict, for people; the name alone is the contract.
pub fn explain(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::CannotBeOpened => "it is not sealed to any of your keys, or it is damaged",
        Verdict::SignatureBad => "it was changed on the way, or the sender did not write it",
        Verdict::SealedButNotSigned => "anybody could have written it",
        Verdict::NotTheSendersKey => "it is signed, but not with a key known to be the sender's",
        Verdict::RetiredKey => "it is signed with a key that the sender gave up before it came",
        Verdict::WrappedByAnother => "the sender inside is not the one outside",
        Verdict::NotWrittenToYou => "the sender wrote it to somebody else, and another sent it on to you",
        Verdict::Replay => "a message that came before was used again with other content",
        Verdict::SenderNotYetConfirmed => {
            "signed, but only your own server vouches for the sender's key; answering confirms it"
        }
        Verdict::GoodAltered => "from the sender; a relay changed its form, not its content",
        Verdict::Good => "from the sender, unchanged",
        Verdict::PlainThoughSigns => "not signed, though this contact's mail is; it may be somebody else's",
        Verdict::Plain => "neither sealed nor signed: every server on its way could read and change it",
        _ => "see docs/protocol.md, section 6",
    }
}

pub fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Good | Verdict::GoodAltered => Style::Good,
        v if v.is_withheld() => Style::Bad,
        _ => Style::Warn,
    }
}

/// The verdict in words, before anything else.
pub fn show_verdict(out: Output, report: &ReadReport) -> io::Result<()> {
    let verdict = report.verdict;
    out.line(format!("{}: {}", out.paint(style(verdict), verdict.name()), explain(verdict)))?;
    for note in &report.notes {
        out.line(format!("  note: {}", one_line(note)))?;
    }
    Ok(())
}

/// The content, below a line that no message can fake: every line of a message is behind it.
pub fn show_content(out: Output, content: &Content) -> io::Result<()> {
    out.line(out.paint(Style::Dim, "────"))?;
    let field = |name: &str, value: &str| {
        if value.is_empty() { Ok(()) } else { out.line(format!("{name:<8} {}", one_line(value))) }
    };
    field("From", &content.from)?;
    field("To", &content.to.join(", "))?;
    field("Cc", &content.cc.join(", "))?;
    field("Date", &content.date)?;
    field("Subject", &content.subject)?;
    out.line("")?;
    out.untrusted(&content.text)?;
    for (name, size) in &content.attachments {
        out.line(out.paint(Style::Dim, &format!("[attachment {}, {size} octets]", one_line(name))))?;
    }
    Ok(())
}

/// `sealpost read`.
pub fn read(args: &Read, context: &Context) -> Outcome {
    let request = ReadRequest {
        mailbox: args.mailbox.clone(),
        which: which(&args.uid)?,
        force: args.force,
        save: args.save.clone(),
    };
    let report = block_on(context.client.read(request))??;
    let out = context.output;
    show_verdict(out, &report)?;
    match &report.content {
        Some(shown) => show_content(out, shown)?,
        None if args.force => out.line("There is nothing that could be shown.")?,
        None => out.line("Its content is withheld; --force shows what can be shown.")?,
    }
    let saved = report.content.as_ref().map_or(0, |c| c.attachments.len());
    if let Some(dir) = args.save.as_ref().filter(|_| saved > 0) {
        out.line(format!("Saved {saved} attachment(s) in {}", dir.display()))?;
    }
    out.object(&object(&report))?;
    Ok(ExitCode::from(report.verdict.exit_code()))
}

/// The contract of `read --json`.
fn object(report: &ReadReport) -> Value {
    let mut object = json!({
        "uid": report.uid,
        "verdict": report.verdict.name(),
        "exit": report.verdict.exit_code(),
        "notes": report.notes,
        "sealed": report.sealed,
    });
    if let Some(content) = &report.content {
        let attachments: Vec<Value> =
            content.attachments.iter().map(|(name, size)| json!({ "name": name, "size": size })).collect();
        for (key, value) in [
            ("from", json!(content.from)),
            ("to", json!(content.to)),
            ("cc", json!(content.cc)),
            ("date", json!(content.date)),
            ("subject", json!(content.subject)),
            ("message_id", json!(content.message_id)),
            ("text", json!(content.text)),
            ("attachments", json!(attachments)),
        ] {
            object[key] = value;
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids() {
        assert_eq!(which("last").ok(), Some(Which::Last));
        assert_eq!(which("17").ok(), Some(Which::Uid(17)));
        for wrong in ["0", "-1", "first", "", "1:2", "4294967296", "Last"] {
            assert!(which(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn withheld_content_is_not_in_the_object() {
        let mut report = ReadReport {
            uid: 3,
            verdict: Verdict::SignatureBad,
            notes: Vec::new(),
            sealed: true,
            content: None,
        };
        let withheld = object(&report);
        assert_eq!(
            (withheld["exit"].clone(), withheld.get("text"), withheld.get("subject")),
            (json!(4), None, None)
        );
        report.verdict = Verdict::Good;
        report.content = Some(Content {
            text: "hello".into(),
            attachments: vec![("a.pdf".into(), 7)],
            ..Content::default()
        });
        let shown = object(&report);
        assert_eq!(shown["text"], "hello");
        assert_eq!(shown["attachments"], json!([{ "name": "a.pdf", "size": 7 }]));
        assert_eq!(shown["exit"], 0);
    }
}
