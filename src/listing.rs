//! `list` and `search`.

use crate::{
    cli::{List, Search},
    context::{Context, block_on},
    exit::{Failure, Outcome},
    output::{Output, Style, one_line},
    pager::Pager,
    progress,
};
use sealpost_bridge::{
    BridgeError,
    local::{LocalMail, MESSAGES_MAX},
};
use sealpost_client::{client::ListEntry, open::Verdict, query};
use serde_json::{Value, json};
use std::{io, process::ExitCode};

/// Deepest answers that are moved to the right; those below stand beside them.
const DEPTH_MAX: usize = 12;

/// `sealpost list`.
pub fn list(args: &List, context: &Context) -> Outcome {
    if args.threads {
        return threads(&args.mailbox, context);
    }
    let entries = block_on(context.client.list(&args.mailbox))??;
    let out = context.output;
    show(out, entries.iter().map(|entry| (entry, 0)), &is_empty(&args.mailbox))?;
    let messages: Vec<Value> = entries.iter().map(object).collect();
    out.object(&json!({ "mailbox": args.mailbox, "messages": messages }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost list --threads`.
fn threads(mailbox: &str, context: &Context) -> Outcome {
    let (lines, total) = opened("Reading", context, async |mail| mail.threads(mailbox).await)?;
    let out = context.output;
    show(out, lines.iter().map(|line| (&line.entry, line.depth)), &is_empty(mailbox))?;
    more(out, lines.len(), total)?;
    let messages = lines.iter().map(|line| {
        let mut object = object(&line.entry);
        object["thread"] = line.thread.into();
        object["depth"] = line.depth.into();
        object
    });
    out.object(&json!({ "mailbox": mailbox, "messages": messages.collect::<Vec<_>>(), "total": total }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost search`.
pub fn search(args: &Search, context: &Context) -> Outcome {
    let text = args.query.join(" ");
    let key = query::parse(&text).map_err(Failure::usage)?;
    let found = opened("Searching", context, async |mail| mail.search(&args.mailbox, key).await)?;
    let out = context.output;
    let none = format!("nothing in {} matches", one_line(&args.mailbox));
    show(out, found.messages.iter().map(|entry| (entry, 0)), &none)?;
    more(out, found.messages.len(), found.total)?;
    let messages: Vec<Value> = found.messages.iter().map(object).collect();
    out.object(&json!({
        "mailbox": args.mailbox,
        "query": text,
        "messages": messages,
        "total": found.total,
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the local index.
fn opened<T>(
    what: &str,
    context: &Context,
    ask: impl AsyncFnOnce(&mut LocalMail) -> Result<T, BridgeError>,
) -> Result<T, Failure> {
    let bar = progress::spinner(what);
    let done = block_on(async {
        let mut mail = LocalMail::open(context.client.clone(), context.dir()).await?;
        let answer = ask(&mut mail).await;
        mail.close().await;
        answer
    });
    bar.finish_and_clear();
    Ok(done??)
}

/// Messages with how deep they stand; or that there are none.
fn show<'a>(
    out: Output,
    rows: impl ExactSizeIterator<Item = (&'a ListEntry, usize)>,
    none: &str,
) -> Result<(), Failure> {
    Pager::show(out, || {
        if rows.len() == 0 {
            out.line(none)?;
        }
        for (entry, depth) in rows {
            row(out, entry, depth)?;
        }
        Ok(())
    })
}

fn is_empty(mailbox: &str) -> String {
    format!("{} is empty", one_line(mailbox))
}

fn more(out: Output, shown: usize, total: usize) -> io::Result<()> {
    if shown < total {
        out.line(format!("The newest {MESSAGES_MAX} of {total} are shown."))?;
    }
    Ok(())
}

/// A message in a line.
fn row(out: Output, entry: &ListEntry, depth: usize) -> io::Result<()> {
    let unseen = !entry.flags.iter().any(|f| f.eq_ignore_ascii_case("\\Seen"));
    let verdict = entry.verdict.map_or(String::new(), |v| format!("  [{}]", v.name()));
    let answers = match depth {
        0 => String::new(),
        depth => "  ".repeat(depth.min(DEPTH_MAX) - 1) + "└ ",
    };
    let line = format!(
        "{:>6} {} {:<31} {:<28} {answers}{}",
        entry.uid,
        if unseen { '*' } else { ' ' },
        one_line(&entry.date),
        one_line(&entry.from),
        one_line(&entry.subject),
    );
    out.line(format!("{}{}", if unseen { out.paint(Style::Bold, &line) } else { line }, verdict))
}

/// A message of `list --json` and `search --json`.
fn object(entry: &ListEntry) -> Value {
    json!({
        "uid": entry.uid,
        "date": entry.date,
        "from": entry.from,
        "subject": entry.subject,
        "flags": entry.flags,
        "size": entry.size,
        "verdict": entry.verdict.map(Verdict::name),
    })
}
