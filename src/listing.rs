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
    local::{Found, LocalMail, MESSAGES_MAX},
};
use sealpost_client::{client::ListEntry, open::Verdict, query};
use serde_json::{Value, json};
use std::{io, process::ExitCode};

/// Deepest answers that are moved to the right; those below stand beside them.
const DEPTH_MAX: usize = 12;
/// Widest column of mailboxes; longer names push their own line to the right.
const MAILBOX_COLUMNS: usize = 24;

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
    let mailboxes = match &args.mailbox {
        Some(mailbox) => vec![mailbox.clone()],
        None => block_on(context.client.mailboxes())??,
    };
    let mut hits = opened("Searching", context, async |mail| {
        let mut hits = Hits::default();
        for mailbox in &mailboxes {
            hits.add(mailbox, mail.search(mailbox, key.clone()).await?);
        }
        Ok(hits)
    })?;
    hits.keep_newest(args.mailbox.is_none());
    let out = context.output;
    match &args.mailbox {
        Some(mailbox) => {
            let none = format!("nothing in {} matches", one_line(mailbox));
            show(out, hits.found.iter().map(|(_, entry)| (entry, 0)), &none)?;
        }
        None => hits.show(out)?,
    }
    more(out, hits.found.len(), hits.total)?;
    let messages = hits.found.iter().map(|(mailbox, entry)| {
        let mut object = object(entry);
        object["mailbox"] = (*mailbox).into();
        object
    });
    out.object(&json!({
        "mailbox": args.mailbox,
        "query": text,
        "messages": messages.collect::<Vec<_>>(),
        "total": hits.total,
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// What was found, each with its mailbox.
#[derive(Default)]
struct Hits<'a> {
    found: Vec<(&'a str, ListEntry)>,
    /// How many there are in all.
    total: usize,
}

impl<'a> Hits<'a> {
    fn add(&mut self, mailbox: &'a str, found: Found) {
        self.total += found.total;
        self.found.extend(found.messages.into_iter().map(|entry| (mailbox, entry)));
        // What is dropped now would be at the end.
        if self.found.len() > 2 * MESSAGES_MAX {
            self.keep_newest(true);
        }
    }

    /// The newest at the end. A mailbox by itself is in its order already; what lies in several is put into the order in
    /// which it arrived, which is the server's word: a sender could date a message to stand anywhere.
    fn keep_newest(&mut self, of_several: bool) {
        if of_several {
            self.found.sort_by_key(|(_, entry)| entry.arrived);
        }
        self.found.drain(..self.found.len().saturating_sub(MESSAGES_MAX));
    }

    /// For people, with the mailbox of each before its UID, which is a number in that mailbox.
    fn show(&self, out: Output) -> Result<(), Failure> {
        let width = self.found.iter().map(|(mailbox, _)| one_line(mailbox).chars().count()).max();
        let width = width.unwrap_or_default().min(MAILBOX_COLUMNS);
        Pager::show(out, || {
            if self.found.is_empty() {
                out.line("nothing in any mailbox matches")?;
            }
            for (mailbox, entry) in &self.found {
                row(out, &format!("{:<width$} ", one_line(mailbox)), entry, 0)?;
            }
            Ok(())
        })
    }
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
            row(out, "", entry, depth)?;
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

/// A message in a line; `depth` says how deep it stands below what it answers.
fn row(out: Output, begin: &str, entry: &ListEntry, depth: usize) -> io::Result<()> {
    let unseen = !entry.flags.iter().any(|f| f.eq_ignore_ascii_case("\\Seen"));
    let verdict = entry.verdict.map_or(String::new(), |v| format!("  [{}]", v.name()));
    let answers = match depth {
        0 => String::new(),
        depth => "  ".repeat(depth.min(DEPTH_MAX) - 1) + "└ ",
    };
    let line = format!(
        "{begin}{:>6} {} {:<31} {:<28} {answers}{}",
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

#[cfg(test)]
mod tests {
    use super::*;
    use sealpost_client::imap::Meta;
    use sealpost_proto::time::Timestamp;

    fn found(arrived: impl Iterator<Item = i64>, total: usize) -> Found {
        let entry = |arrived| {
            let meta = Meta { internal_date: Some(Timestamp(arrived)), ..Meta::default() };
            ListEntry::of(&meta, None)
        };
        Found { messages: arrived.map(entry).collect(), total }
    }

    #[test]
    fn of_several_mailboxes_the_newest_messages_are_kept() {
        let mut hits = Hits::default();
        hits.add("INBOX", found([10, 30, 20].into_iter(), 3));
        hits.keep_newest(false);
        let order = |hits: &Hits| {
            hits.found.iter().map(|(m, e)| (m.to_string(), e.arrived.unwrap().0)).collect::<Vec<_>>()
        };
        let of = |all: &[(&str, i64)]| all.iter().map(|(m, n)| ((*m).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(order(&hits), of(&[("INBOX", 10), ("INBOX", 30), ("INBOX", 20)]), "as the server has it");
        hits.add("Sent", found([5, 25].into_iter(), 2));
        hits.keep_newest(true);
        let all = [("Sent", 5), ("INBOX", 10), ("INBOX", 20), ("Sent", 25), ("INBOX", 30)];
        assert_eq!((order(&hits), hits.total), (of(&all), 5));
        // However many there are, no more are held than twice what is told.
        for n in 0..9 {
            hits.add("Archive", found(100..1_100, 5_000 + n));
            assert!(hits.found.len() <= 2 * MESSAGES_MAX);
        }
        hits.keep_newest(true);
        assert_eq!((hits.found.len(), hits.total), (MESSAGES_MAX, 45_041));
        assert!(hits.found.iter().all(|(mailbox, _)| *mailbox == "Archive"));
    }
}
