//! `compose`, `reply`, `forward`: what is written in the person's editor or comes from a file or pipe, and goes out as
//! `send` has it. What was written is never lost: until it is sent, it lies in a file.

use crate::{
    cli::{Compose, Forward, Reply, Writing},
    context::{Context, block_on, is_dash, mailbox},
    editor::{self, DraftFile},
    exit::{Exit, Failure, Outcome},
    mail::{policy, report, text, which},
    output::{Output, Style, one_line},
    reading::show_verdict,
};
use sealpost_client::{
    client::{Carry, Link, MessageAt, Original, SendRequest, Thread},
    compose::Carried,
    edit::Edited,
    open::Verdict,
    quote,
};
use serde_json::json;
use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

/// A message to be written.
struct Plan<'a> {
    writing: &'a Writing,
    /// How it begins.
    start: Edited,
    /// The subject where nobody has named one; there may be none.
    subject: Option<String>,
    /// What the text of the other message becomes here.
    quote: String,
    carried: Vec<Carried>,
    thread: Thread,
    link: Option<Link>,
    /// It may go out without a word of one's own.
    speaks_for_itself: bool,
    /// The command that goes on with it.
    again: String,
}

/// `sealpost compose`.
pub fn compose(args: &Compose, context: &Context) -> Outcome {
    Plan::new(&args.writing, "sealpost compose".to_owned())?.carry_out(context)
}

/// `sealpost reply`.
pub fn reply(args: &Reply, context: &Context) -> Outcome {
    let at = MessageAt { mailbox: args.mailbox.clone(), which: which(&args.uid)? };
    let mut plan = Plan::new(&args.writing, String::new())?;
    let original = block_on(context.client.original(&at, Carry::Nothing))??;
    tell(context.output, &original)?;
    plan.again = again("reply", &at.mailbox, &original, &[]);
    plan.comes_from(&original, context.output)?;
    if plan.start.to.is_empty() {
        let (to, cc) = original.recipients(args.all);
        plan.start.to = to;
        if plan.start.cc.is_empty() {
            plan.start.cc = cc;
        }
    }
    plan.subject = plan.subject.or_else(|| original.reply_subject());
    if let Some(content) = original.content.as_ref().filter(|_| !args.no_quote) {
        plan.quote = quote::reply(content);
    }
    plan.thread = original.thread;
    plan.link = Some(original.link);
    plan.carry_out(context)
}

/// `sealpost forward`.
pub fn forward(args: &Forward, context: &Context) -> Outcome {
    let at = MessageAt { mailbox: args.mailbox.clone(), which: which(&args.uid)? };
    let mut plan = Plan::new(&args.writing, String::new())?;
    let carry = match (args.as_attachment, args.no_attachments) {
        (true, _) => Carry::Message,
        (false, true) => Carry::Nothing,
        (false, false) => Carry::Attachments,
    };
    let original = block_on(context.client.original(&at, carry))??;
    tell(context.output, &original)?;
    let options: Vec<&str> =
        [(args.as_attachment, "--as-attachment"), (args.no_attachments, "--no-attachments")]
            .into_iter()
            .filter_map(|(given, option)| given.then_some(option))
            .collect();
    plan.again = again("forward", &at.mailbox, &original, &options);
    plan.comes_from(&original, context.output)?;
    plan.subject = plan.subject.or_else(|| original.forward_subject());
    let Some(theirs) = &original.content else {
        return Err(Failure::new(Exit::Withheld, "its content is withheld, and it is not forwarded"));
    };
    if !args.as_attachment {
        plan.quote = quote::forward(theirs);
    }
    for carried in &original.carried {
        context.output.line(format!("It takes along: {}", one_line(carried.name())))?;
    }
    plan.carried = original.carried;
    plan.link = Some(original.link.forwarded());
    plan.speaks_for_itself = true;
    plan.carry_out(context)
}

/// What there is to know of the message that is answered or forwarded, where that is more than that it is good.
fn tell(out: Output, original: &Original) -> io::Result<()> {
    let notes: Vec<String> = original
        .notes
        .iter()
        .chain(original.content.iter().flat_map(|content| &content.notes))
        .cloned()
        .collect();
    if matches!(original.verdict, Verdict::Good | Verdict::GoodAltered) && notes.is_empty() {
        return Ok(());
    }
    show_verdict(out, original.verdict, &notes)?;
    if original.content.is_none() {
        out.line("Nothing of it is taken over.")?;
    }
    Ok(())
}

/// The command that goes on with a message that was kept.
fn again(command: &str, mailbox: &str, original: &Original, options: &[&str]) -> String {
    let mut all = vec!["sealpost".to_owned(), command.to_owned(), original.link.uid.to_string()];
    if mailbox != "INBOX" {
        all.extend(["--mailbox".to_owned(), quoted(mailbox)]);
    }
    all.extend(options.iter().map(|option| (*option).to_owned()));
    all.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

impl<'a> Plan<'a> {
    fn new(writing: &'a Writing, again: String) -> Result<Self, Failure> {
        let parse = |list: &[String]| list.iter().map(|a| mailbox(a)).collect::<Result<Vec<_>, _>>();
        let attachments = writing.attach.iter().map(|path| {
            let name = path.to_str().filter(|name| Edited::takes_file(name));
            name.map(str::to_owned).ok_or_else(|| {
                Failure::usage(format_args!(
                    "{} has a name that cannot be attached; rename it",
                    path.display()
                ))
            })
        });
        Ok(Self {
            writing,
            start: Edited {
                from: writing.from.as_deref().map(mailbox).transpose()?,
                to: parse(&writing.to)?,
                cc: parse(&writing.cc)?,
                bcc: parse(&writing.bcc)?,
                attachments: attachments.collect::<Result<_, _>>()?,
                ..Edited::default()
            },
            subject: writing.subject.clone(),
            quote: String::new(),
            carried: Vec::new(),
            thread: Thread::default(),
            link: None,
            speaks_for_itself: false,
            again,
        })
    }

    /// The address that was written to, unless another one was chosen; said, since it is not the usual one.
    fn comes_from(&mut self, original: &Original, out: Output) -> io::Result<()> {
        if self.start.from.is_none()
            && self.writing.resume.is_none()
            && let Some(from) = original.from()
        {
            out.line(format!("From {}, which it was written to", one_line(&from.to_string())))?;
            self.start.from = Some(from);
        }
        Ok(())
    }

    fn carry_out(mut self, context: &Context) -> Outcome {
        let edits = self.writing.edit || (self.writing.text.is_none() && io::stdin().is_terminal());
        if edits {
            return self.edit(context);
        }
        if let Some(path) = &self.writing.resume {
            let draft = DraftFile::of(context.dir(), path)?;
            return match Edited::parse(&draft.read()?) {
                Ok(edited) => self.send(&edited, Some(edited.subject.clone()), Some(draft), context),
                Err(error) => Err(self.kept(draft, Failure::failed(error))),
            };
        }
        let path = self.writing.text.clone().unwrap_or_else(|| "-".into());
        let own = text(&path)?;
        if own.trim().is_empty() && self.start.attachments.is_empty() && !self.speaks_for_itself {
            return Err(nothing_written());
        }
        self.start.text = with_quote(&own, &self.quote);
        let edited = std::mem::take(&mut self.start);
        // What is in a file of the person's is not lost.
        if !is_dash(&path) {
            return self.send(&edited, self.subject.clone(), None, context);
        }
        let written = Edited { subject: self.subject.clone().unwrap_or_default(), ..edited.clone() };
        let draft = DraftFile::new(context.dir(), &written.to_text())?;
        self.send(&edited, self.subject.clone(), Some(draft), context)
    }

    /// What the editor begins with.
    fn begin(&mut self, asks: bool, context: &Context) -> Result<DraftFile, Failure> {
        if let Some(path) = &self.writing.resume {
            return DraftFile::of(context.dir(), path);
        }
        let (count, folder) = editor::kept(context.dir());
        if asks && count > 0 {
            let folder = one_line(&folder.display().to_string());
            context.output.line(format!("Unsent messages in {folder}: {count}"))?;
        }
        let given = self.writing.text.as_deref().map(text).transpose()?;
        self.start.subject = self.subject.clone().unwrap_or_default();
        self.start.text = match given {
            Some(given) => with_quote(&given, &self.quote),
            // One writes below what one answers, and may cut it down; above what one forwards.
            None if self.speaks_for_itself => with_quote("", &self.quote),
            None if self.quote.is_empty() => String::new(),
            None => format!("{}\n", self.quote),
        };
        DraftFile::new(context.dir(), &self.start.to_text())
    }

    /// In the person's editor, until it is a message that is to be sent.
    fn edit(mut self, context: &Context) -> Outcome {
        let out = context.output;
        let asks = io::stdin().is_terminal() && io::stderr().is_terminal() && !out.is_json();
        let draft = self.begin(asks, context)?;
        let resumed = self.writing.resume.is_some();
        let begin = if resumed { String::new() } else { self.start.to_text() };
        loop {
            let edited = draft.edit();
            let text = draft.read();
            let unchanged = text.as_ref().is_ok_and(|text| is_same(text, &begin));
            let text = match (edited, text) {
                (Err(failure), _) if unchanged || draft.is_gone() => {
                    draft.remove()?;
                    return Err(failure);
                }
                (Ok(()), Err(_)) if draft.is_gone() => {
                    draft.remove()?;
                    return Err(nothing_written());
                }
                (Err(failure), _) | (Ok(()), Err(failure)) => return Err(self.kept(draft, failure)),
                (Ok(()), Ok(text)) => text,
            };
            let edited = match Edited::parse(&text) {
                Ok(edited) => edited,
                Err(error) if asks => {
                    out.line(out.paint(Style::Warn, &one_line(&error.to_string())))?;
                    match ask("Type edit or no: ", &["edit", "no"])? {
                        "edit" => continue,
                        _ => return Err(self.kept(draft, Failure::failed("it was not sent"))),
                    }
                }
                Err(error) => return Err(self.kept(draft, Failure::failed(error))),
            };
            let says_nothing = edited.is_empty() && self.carried.is_empty();
            if says_nothing || unchanged && !self.speaks_for_itself {
                // An empty file tells that it is given up; what was kept before is only given up by its owner.
                if resumed {
                    return Err(self.kept(draft, nothing_written()));
                }
                draft.remove()?;
                return Err(nothing_written());
            }
            if asks {
                summary(out, &edited)?;
                match ask("Send it? Type yes, edit or no: ", &["yes", "edit", "no"])? {
                    "yes" => {}
                    "edit" => continue,
                    _ => return Err(self.kept(draft, Failure::failed("it was not sent"))),
                }
            }
            return self.send(&edited, Some(edited.subject.clone()), Some(draft), context);
        }
    }

    fn send(
        &self,
        edited: &Edited,
        subject: Option<String>,
        draft: Option<DraftFile>,
        context: &Context,
    ) -> Outcome {
        let request = SendRequest {
            from: edited.from.clone(),
            to: edited.to.clone(),
            cc: edited.cc.clone(),
            bcc: edited.bcc.clone(),
            subject,
            text: edited.text.clone(),
            attachments: edited
                .files()
                .map(|path| at_home(path, env::var_os("HOME").as_deref().map(Path::new)))
                .collect(),
            carried: self.carried.clone(),
            reply: None,
            thread: self.thread.clone(),
            link: self.link.clone(),
            policy: policy(self.writing.policy),
        };
        let sent = block_on(context.client.send(request)).and_then(|sent| Ok(sent?));
        match (sent, draft) {
            (Ok(sent), Some(draft)) if sent.copy_kept => {
                draft.remove()?;
                report(&sent, None, context.output)
            }
            (Ok(sent), draft) => report(&sent, draft.map(DraftFile::keep).as_deref(), context.output),
            (Err(failure), Some(draft)) => Err(self.kept(draft, failure)),
            (Err(failure), None) => Err(failure),
        }
    }

    /// The failure, with where the message is and what goes on with it.
    fn kept(&self, draft: DraftFile, mut failure: Failure) -> Failure {
        let path = draft.keep();
        let resume = format!("{} --resume {}", self.again, quoted(&path.to_string_lossy()));
        let told = format!("\nWhat you wrote is kept in {}; `{resume}` goes on with it.", path.display());
        failure.message.push_str(&told);
        let details = failure.details.get_or_insert_with(|| json!({}));
        details["kept"] = json!(path);
        failure
    }
}

/// Whether nothing was written: some editors write other line ends, or one more, without being asked.
fn is_same(text: &str, begin: &str) -> bool {
    text.replace("\r\n", "\n").trim_end() == begin.trim_end()
}

fn nothing_written() -> Failure {
    Failure::failed("nothing was written, and nothing was sent")
}

/// One's own text, and below it the other's.
fn with_quote(text: &str, quote: &str) -> String {
    if quote.is_empty() { text.to_owned() } else { format!("{}\n\n{quote}", text.trim_end()) }
}

/// A file named as shells name those in the person's own folder.
fn at_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// Whom it goes to, once more before it goes.
fn summary(out: Output, edited: &Edited) -> io::Result<()> {
    if let Some(from) = &edited.from {
        out.line(format!("From     {}", one_line(&from.to_string())))?;
    }
    for (name, list) in [("To", &edited.to), ("Cc", &edited.cc), ("Bcc", &edited.bcc)] {
        if !list.is_empty() {
            let list: Vec<String> = list.iter().map(|mailbox| one_line(&mailbox.to_string())).collect();
            out.line(format!("{name:<8} {}", list.join(", ")))?;
        }
    }
    out.line(format!("Subject  {}", one_line(&edited.subject)))?;
    for file in &edited.attachments {
        out.line(format!("Attach   {}", one_line(file)))?;
    }
    Ok(())
}

/// One of the answers; the last one at the end of input.
fn ask(question: &str, answers: &[&'static str]) -> Result<&'static str, Failure> {
    loop {
        write!(io::stderr(), "{question}")?;
        io::stderr().flush()?;
        let mut line = String::new();
        let last = answers.last().copied().unwrap_or_default();
        if io::stdin().read_line(&mut line)? == 0 {
            return Ok(last);
        }
        // Whole words: nothing is sent by leaning on a key.
        if let Some(answer) = answers.iter().find(|answer| answer.eq_ignore_ascii_case(line.trim())) {
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, want) in [
            ("INBOX", "INBOX"),
            ("/a b/c", "'/a b/c'"),
            ("it's", "'it'\\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
            ("ü", "ü"),
        ] {
            assert_eq!(quoted(word), want);
        }
    }

    #[test]
    fn files_at_home() {
        let home = Some(Path::new("/home/me"));
        for (path, want) in
            [("~/a", "/home/me/a"), ("~", "/home/me"), ("a/~", "a/~"), ("~other/a", "~other/a"), ("/a", "/a")]
        {
            assert_eq!(at_home(path.into(), home), PathBuf::from(want), "{path}");
        }
        assert_eq!(at_home("~/a".into(), None), PathBuf::from("~/a"));
    }

    #[test]
    fn the_others_words_stand_below() {
        assert_eq!(with_quote("mine\n\n", "theirs\n"), "mine\n\ntheirs\n");
        assert_eq!(with_quote("mine\n", ""), "mine\n");
    }
}
