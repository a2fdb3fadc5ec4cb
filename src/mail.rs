//! `send`, and what commands that write mail share.

use crate::{
    cli::Send,
    context::{Context, block_on, is_dash, mailbox},
    exit::{Failure, Outcome},
    output::{Output, Style, one_line},
};
use sealpost_client::client::{MessageAt, Policy, SendReport, SendRequest, Which};
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

/// A message by its UID, or the last one.
pub fn which(text: &str) -> Result<Which, Failure> {
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

/// A text from a file or standard input.
pub fn text(path: &Path) -> Result<String, Failure> {
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
        from: args.from.as_deref().map(mailbox).transpose()?,
        to: parse(&args.to)?,
        cc: parse(&args.cc)?,
        bcc: parse(&args.bcc)?,
        subject: args.subject.clone(),
        text: text(&args.text)?,
        attachments: args.attach.clone(),
        reply: reply.map(|which| MessageAt { mailbox: INBOX.to_owned(), which }),
        policy: policy(args.policy),
        ..SendRequest::default()
    };
    let sent = block_on(context.client.send(request))??;
    report(&sent, None, context.output)
}

/// What became of a message, for each recipient; and where it is kept, as nothing else is.
pub fn report(report: &SendReport, kept: Option<&Path>, out: Output) -> Outcome {
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
    let mut object = json!({
        "message_id": report.message_id,
        "recipients": recipients(report),
        "notes": report.notes,
    });
    if let Some(path) = kept {
        out.line(format!("What you wrote is in {}", one_line(&path.display().to_string())))?;
        object["kept"] = json!(path);
    }
    out.object(&object)?;
    // Others got it, so that doing it again would send it to them twice: for good or for now, it failed.
    let failed = report.recipients.iter().any(|r| {
        use sealpost_client::client::Outcome::{Rejected, TryLater};
        matches!(r.outcome, Rejected | TryLater)
    });
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
}
