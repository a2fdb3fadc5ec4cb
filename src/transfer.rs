//! `import` and `export`.

use crate::{
    cli::{Export, ExportFormat, Import, ImportFormat, TransferAccount},
    context::{Context, block_on},
    exit::{Failure, Outcome},
    output::{Output, one_line, printable},
    person::Person,
    progress, secrets,
};
use indicatif::{HumanBytes, ProgressBar};
use sealpost_client::{
    transfer::{
        ExportRequest, FolderRule, Format, ImportRequest, Remote, ServerUrl, Source, TransferEvent,
        TransferReport,
    },
    ui::{Progress, Question, Ui},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

/// Shows how far it is: a bar on terminals, lines of JSON for programs, and what is left out to everybody.
struct Shown {
    out: Output,
    person: Person,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    /// What was done when the present folder began.
    before: TransferReport,
    now: TransferReport,
}

impl Shown {
    fn new(out: Output) -> Self {
        Self { out, person: Person::default(), state: Mutex::new(State::default()) }
    }
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn clear(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }
    /// Above the bar, if there is one.
    fn line(&self, text: &str) {
        let tell = || eprintln!("{}", printable(text));
        match &self.state().bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }
    fn object(&self, object: &Value) {
        // A reader that went away ends nothing here: the transfer is worth more than its report.
        let _ = self.out.object(object);
    }
}

impl Ui for Shown {
    fn confirm(&self, question: &Question) -> bool {
        self.clear();
        self.person.confirm(question)
    }
    fn progress(&self, event: Progress) {
        self.person.progress(event);
    }
    fn say(&self, line: &str) {
        self.line(line);
    }
    fn transfer(&self, event: &TransferEvent) {
        match event {
            TransferEvent::Folder { from, to, messages } => {
                self.object(&json!({ "event": "folder", "from": from, "to": to, "messages": messages }));
                self.clear();
                let what = if from == to { one_line(to) } else { one_line(&format!("{from} → {to}")) };
                let mut state = self.state();
                state.before = state.now;
                state.bar = Some(progress::messages(&what, *messages));
            }
            TransferEvent::Progress(report) => {
                self.object(&object("progress", report));
                let mut state = self.state();
                state.now = *report;
                if let Some(bar) = &state.bar {
                    bar.set_position(
                        report.messages + report.already - state.before.messages - state.before.already,
                    );
                    bar.set_prefix(HumanBytes(report.octets).to_string());
                }
            }
            TransferEvent::Skipped { folder, what, why } => {
                self.object(&json!({ "event": "skipped", "folder": folder, "what": what, "why": why }));
                let place = if folder.is_empty() { String::new() } else { format!("{folder}: ") };
                self.line(&one_line(&format!("left out: {place}{what}: {why}")));
            }
            TransferEvent::Note(text) => {
                self.object(&json!({ "event": "note", "text": text }));
                self.line(&one_line(text));
            }
            _ => {}
        }
    }
}

fn object(event: &str, report: &TransferReport) -> Value {
    json!({
        "event": event,
        "folders": report.folders,
        "messages": report.messages,
        "octets": report.octets,
        "already": report.already,
        "skipped": report.skipped,
        "removed": report.removed,
    })
}

fn remote(
    url: &str,
    password: Option<&Path>,
    option: &str,
    ca_file: Option<PathBuf>,
) -> Result<Remote, Failure> {
    let url =
        ServerUrl::parse(url).map_err(|e| Failure::usage(format_args!("{}: {e}", without_password(url))))?;
    let password = secrets::obtain(password, &format!("Password of {url}"), option)?;
    Ok(Remote { url, password, ca_file })
}

/// A URL for an error message: what may be a password in it is not repeated.
fn without_password(url: &str) -> &str {
    url.split_once("://")
        .map_or("the URL", |(_, rest)| rest.rsplit_once('@').map_or(rest, |(_, place)| place))
}

fn account(account: &TransferAccount) -> Result<Option<Remote>, Failure> {
    let Some(url) = &account.account else { return Ok(None) };
    remote(url, account.account_password_file.as_deref(), "--account-password-file", None).map(Some)
}

/// What is said at the end, and whether all went well.
fn finish(out: Output, report: &TransferReport, dry_run: bool, done: &str) -> Outcome {
    let TransferReport { folders, messages, already, skipped, removed, .. } = *report;
    let done = if dry_run { format!("would be {done}") } else { done.to_owned() };
    let mut line = format!("{messages} messages ({}) of {folders} folders {done}", HumanBytes(report.octets));
    for (count, what) in [
        (already, "were there already"),
        (removed, "had been removed by their mail program"),
        (skipped, "could not be"),
    ] {
        if count > 0 {
            let _ = write!(line, "; {count} {what}");
        }
    }
    out.line(line)?;
    let status = u8::from(skipped > 0);
    let mut object = object("summary", report);
    object["dry_run"] = dry_run.into();
    object["exit"] = status.into();
    out.object(&object)?;
    Ok(ExitCode::from(status))
}

/// `sealpost import`.
pub fn import(args: &Import, context: &Context) -> Outcome {
    let source = match (&args.from, &args.path) {
        (Some(url), _) => {
            let password = args.from_password_file.as_deref();
            Source::Server(remote(url, password, "--from-password-file", args.from_ca_file.clone())?)
        }
        (None, Some(path)) => {
            let format = args.format.map(|format| match format {
                ImportFormat::Mbox => Format::Mbox,
                ImportFormat::Mboxo => Format::Mboxo,
                ImportFormat::Maildir => Format::Maildir,
            });
            Source::Path { path: path.clone(), format }
        }
        (None, None) => return Err(Failure::usage("name a file or folder, or a server with --from")),
    };
    let request = ImportRequest {
        source,
        to: account(&args.account)?,
        folders: args.folder.iter().map(|text| FolderRule::parse(text)).collect(),
        into: args.into.clone(),
        dry_run: args.dry_run,
        anew: args.anew,
        received_dates: args.received_dates,
    };
    let shown = Arc::new(Shown::new(context.output));
    let client = context.client_for(Arc::clone(&shown) as Arc<dyn Ui>);
    let report = block_on(client.import(request))?;
    shown.clear();
    finish(context.output, &report?, args.dry_run, "imported")
}

/// `sealpost export`.
pub fn export(args: &Export, context: &Context) -> Outcome {
    let request = ExportRequest {
        dir: args.target.clone(),
        format: match args.format {
            ExportFormat::Maildir => Format::Maildir,
            ExportFormat::Mbox => Format::Mbox,
        },
        from: account(&args.account)?,
        folders: args.folder.clone(),
        dry_run: args.dry_run,
    };
    let shown = Arc::new(Shown::new(context.output));
    let client = context.client_for(Arc::clone(&shown) as Arc<dyn Ui>);
    let report = block_on(client.export(request))?;
    shown.clear();
    finish(context.output, &report?, args.dry_run, "exported")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_a_password() {
        for (url, said) in [
            ("imaps://alice:secret@example.net", "example.net"),
            ("imaps://a:secret@b@example.net", "example.net"),
            ("alice:secret@example.net", "the URL"),
            ("imaps://example.net", "example.net"),
        ] {
            assert_eq!(without_password(url), said);
        }
    }
}
