//! `read` and `save`.

use crate::{
    cli::{Read, Save},
    context::{Context, block_on, is_dash},
    exit::{Exit, Failure, Outcome},
    mail::which,
    output::{Output, Style, one_line},
    pager::Pager,
};
use sealpost_client::{
    client::{ReadReport, ReadRequest},
    open::{Content, PartInfo, Take, Verdict},
    quote,
};
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

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

/// How a verdict looks.
pub fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Good | Verdict::GoodAltered => Style::Good,
        v if v.is_withheld() => Style::Bad,
        _ => Style::Warn,
    }
}

/// A verdict in words, before anything else.
pub fn show_verdict(out: Output, verdict: Verdict, notes: &[String]) -> io::Result<()> {
    out.line(format!("{}: {}", out.paint(style(verdict), verdict.name()), explain(verdict)))?;
    for note in notes {
        out.line(format!("  note: {}", one_line(note)))?;
    }
    Ok(())
}

/// An attachment in a line.
pub fn attachment(part: &PartInfo) -> String {
    let media_type = if part.media_type.is_empty() { "no type" } else { part.media_type.as_str() };
    format!(
        "[part {}: {}, {}, {} octets]",
        part.number,
        one_line(&part.name),
        one_line(media_type),
        part.size
    )
}

/// The content, below a line that no message can fake: every line of a message is behind it.
fn show_content(out: Output, content: &Content, columns: Option<usize>) -> io::Result<()> {
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
    match columns {
        // A terminal would break lines amid words.
        Some(columns) => out.untrusted(&quote::wrapped(&content.text, columns))?,
        None => out.untrusted(&content.text)?,
    }
    for part in content.attachments() {
        out.line(out.paint(Style::Dim, &attachment(part)))?;
    }
    for note in &content.notes {
        out.line(format!("  note: {}", one_line(note)))?;
    }
    Ok(())
}

/// `sealpost read`.
pub fn read(args: &Read, context: &Context) -> Outcome {
    let request = ReadRequest {
        mailbox: args.mailbox.clone(),
        which: which(&args.uid)?,
        force: args.force,
        take: args.save.clone().map_or(Take::Nothing, Take::Attachments),
    };
    let report = block_on(context.client.read(request))??;
    let out = context.output;
    let columns = out.columns();
    Pager::show(out, || {
        show_verdict(out, report.verdict, &report.notes)?;
        match &report.content {
            Some(shown) => show_content(out, shown, columns),
            None if args.force => out.line("There is nothing that could be shown."),
            None => out.line("Its content is withheld; --force shows what can be shown."),
        }
    })?;
    let saved = report.content.as_ref().map_or(0, |content| content.saved.len());
    if let Some(dir) = args.save.as_ref().filter(|_| saved > 0) {
        out.line(format!("Saved {saved} attachment(s) in {}", dir.display()))?;
    }
    out.object(&object(&report))?;
    Ok(ExitCode::from(report.verdict.exit_code()))
}

/// `sealpost save`.
pub fn save(args: &Save, context: &Context) -> Outcome {
    let folder = args.to.clone();
    let piped = is_dash(&folder);
    if piped && (args.part.is_none() || context.output.is_json()) {
        return Err(Failure::usage("one part goes to standard output: with --part, and without --json"));
    }
    if piped && io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is a terminal, which a part could steer; name a folder"));
    }
    let request = ReadRequest {
        mailbox: args.mailbox.clone(),
        which: which(&args.uid)?,
        force: args.force,
        take: match args.part {
            Some(part) if piped => Take::PartAside(part),
            Some(part) => Take::Part(part, folder),
            None => Take::Attachments(folder),
        },
    };
    let report = block_on(context.client.read(request))??;
    // What stands on standard output stands there alone.
    let out = if piped { Output::new(true) } else { context.output };
    show_verdict(out, report.verdict, &report.notes)?;
    let Some(shown) = &report.content else {
        return Err(Failure::new(
            Exit::Withheld,
            "its content is withheld, and nothing was saved; --force saves what can be opened",
        ));
    };
    if let Some((_, octets)) = shown.aside.first() {
        let mut stdout = io::stdout().lock();
        io::copy(&mut octets.reader()?, &mut stdout)?;
        stdout.flush()?;
        return Ok(ExitCode::from(report.verdict.exit_code()));
    }
    let chosen = |part: &&PartInfo| args.part.map_or(part.attachment, |number| part.number == number);
    let saved: Vec<(&PartInfo, &PathBuf)> = shown.parts.iter().filter(chosen).zip(&shown.saved).collect();
    if saved.is_empty() {
        return Err(Failure::failed(
            "the message has no attachment; --part saves its text, `sealpost read` shows what is in it",
        ));
    }
    for (part, path) in &saved {
        out.line(format!("Saved {} ({} octets)", path_line(path), part.size))?;
    }
    let one = |(part, path): &(&PartInfo, &PathBuf)| {
        let mut object = part_object(part);
        object["path"] = json!(path);
        object
    };
    out.object(&json!({
        "uid": report.uid,
        "verdict": report.verdict.name(),
        "exit": report.verdict.exit_code(),
        "saved": saved.iter().map(one).collect::<Vec<_>>(),
    }))?;
    Ok(ExitCode::from(report.verdict.exit_code()))
}

fn path_line(path: &Path) -> String {
    one_line(&path.display().to_string())
}

fn part_object(part: &PartInfo) -> Value {
    json!({
        "part": part.number,
        "name": part.name,
        "type": part.media_type,
        "size": part.size,
        "attachment": part.attachment,
    })
}

/// The contract of `read --json`.
fn object(report: &ReadReport) -> Value {
    let notes: Vec<&String> =
        report.notes.iter().chain(report.content.iter().flat_map(|content| &content.notes)).collect();
    let mut object = json!({
        "uid": report.uid,
        "verdict": report.verdict.name(),
        "exit": report.verdict.exit_code(),
        "notes": notes,
        "sealed": report.sealed,
    });
    if let Some(content) = &report.content {
        let attachments: Vec<Value> =
            content.attachments().map(|part| json!({ "name": part.name, "size": part.size })).collect();
        let parts: Vec<Value> = content.parts.iter().map(part_object).collect();
        for (key, value) in [
            ("from", json!(content.from)),
            ("to", json!(content.to)),
            ("cc", json!(content.cc)),
            ("date", json!(content.date)),
            ("subject", json!(content.subject)),
            ("message_id", json!(content.message_id)),
            ("references", json!(content.references)),
            ("text", json!(content.text)),
            ("attachments", json!(attachments)),
            ("parts", json!(parts)),
            ("saved", json!(content.saved)),
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
        let part = PartInfo {
            number: 2,
            name: "a.pdf".into(),
            media_type: "application/pdf".into(),
            size: 7,
            attachment: true,
            ..PartInfo::default()
        };
        report.content = Some(Content {
            text: "hello".into(),
            parts: vec![PartInfo { number: 1, ..PartInfo::default() }, part],
            ..Content::default()
        });
        let shown = object(&report);
        assert_eq!(shown["text"], "hello");
        assert_eq!(shown["attachments"], json!([{ "name": "a.pdf", "size": 7 }]));
        let part =
            json!({ "part": 2, "name": "a.pdf", "type": "application/pdf", "size": 7, "attachment": true });
        assert_eq!(shown["parts"][1], part);
        assert_eq!(shown["exit"], 0);
    }

    #[test]
    fn what_a_part_says_of_itself_cannot_steer_the_terminal() {
        let part = PartInfo {
            number: 1,
            name: "a\u{1b}[2J\n.txt".into(),
            media_type: "x/\u{9b}y".into(),
            ..PartInfo::default()
        };
        assert_eq!(attachment(&part), "[part 1: a\u{fffd}[2J .txt, x/\u{fffd}y, 0 octets]");
    }
}
