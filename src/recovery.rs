//! `recovery show|make|use|revoke`.

use crate::{
    cli::Recovery,
    context::{Context, block_on, is_dash},
    exit::{Failure, Outcome},
    output::{Style, printable},
    secrets,
};
use sealpost_client::{
    client::{RecoveredReport, RecoveryReport},
    qr::Qr,
    recovery::page::Page,
};
use sealpost_crypto::recovery::RecoveryKey;
use sealpost_proto::time::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};
use zeroize::Zeroizing;

/// `sealpost recovery …`.
pub fn recovery(command: &Recovery, context: &Context) -> Outcome {
    match command {
        Recovery::Show => show(&context.client.recovery()?, context)?,
        Recovery::Make { file } => make(file.as_deref(), context)?,
        Recovery::Use { kit_file } => {
            let typed = secrets::obtain(
                kit_file.as_deref(),
                "The twelve words of the kit, or its text",
                "--kit-file",
            )?;
            let kit = RecoveryKey::parse(&typed).map_err(Failure::usage)?;
            used(&block_on(context.client.recovery_use(&kit))??, context)?;
        }
        Recovery::Revoke { lost } => {
            let report = block_on(context.client.recovery_revoke(*lost))??;
            let out = context.output;
            out.line(
                out.paint(Style::Good, &format!("{} has no recovery kit from now on.", report.address)),
            )?;
            out.line(
                "Who has the page and a copy of the keyring of before can still read mail up to now. `sealpost key \
                 rotate` makes sure of what comes.",
            )?;
            out.object(&object(&report))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn object(report: &RecoveryReport) -> Value {
    json!({
        "address": report.address.as_str(),
        "kit": report.kit.as_ref().map(|(fingerprint, _)| fingerprint),
        "since": report.kit.as_ref().map(|(_, since)| since.to_rfc3339()),
        "revoked": report.revoked.map(Timestamp::to_rfc3339),
        "waits": report.waits,
    })
}

fn show(report: &RecoveryReport, context: &Context) -> Result<(), Failure> {
    let out = context.output;
    match (&report.kit, report.revoked) {
        (Some((fingerprint, since)), _) => {
            out.line(format!("Kit          {fingerprint} (it stands on the page)"))?;
            out.line(format!("Since        {}", since.to_rfc3339()))?;
        }
        (None, Some(at)) => out.line(format!("There is no recovery kit since {}.", at.to_rfc3339()))?,
        (None, None) => {
            out.line("There is no recovery kit; `sealpost recovery make` makes one.")?;
        }
    }
    if report.waits {
        out.line(out.paint(
            Style::Warn,
            "The keyring of a forgotten password waits for its kit: `sealpost recovery use`.",
        ))?;
    }
    Ok(out.object(&object(report))?)
}

/// After enrolment: into `file`, or on the terminal if the person wants it.
pub fn offer(file: Option<&Path>, context: &Context) -> Result<(), Failure> {
    let kit = if let Some(file) = file {
        put_in_force(Some(file), context)
    } else {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() || context.output.is_json() {
            return Ok(());
        }
        write!(
            io::stderr(),
            "\nA recovery kit is a page to print or copy by hand. Without one, a forgotten password loses all mail.\n\
             Make one now? Type yes or no: "
        )?;
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !answer.trim().eq_ignore_ascii_case("yes") {
            writeln!(io::stderr(), "`sealpost recovery make` makes one later.")?;
            return Ok(());
        }
        put_in_force(None, context)
    };
    kit.map(drop).map_err(|failure| {
        Failure::new(failure.exit, format_args!("you are enrolled, but without a recovery kit: {failure}"))
    })
}

fn make(file: Option<&Path>, context: &Context) -> Result<(), Failure> {
    let (report, kit) = put_in_force(file, context)?;
    let mut object = object(&report);
    match file {
        // Asked for on standard output, which with --json is this object.
        Some(file) if is_dash(file) => {
            object["words"] = kit.words().as_str().into();
            object["text"] = kit.text().as_str().into();
        }
        Some(file) => object["file"] = json!(file),
        None => {}
    }
    Ok(context.output.object(&object)?)
}

/// Shows or writes the page first: a kit in force of which nobody has the page would be worse than none.
fn put_in_force(file: Option<&Path>, context: &Context) -> Result<(RecoveryReport, RecoveryKey), Failure> {
    let out = context.output;
    let address = context.client.key_show()?.address;
    let kit = context.client.recovery_key();
    let page = Page { address: &address, kit: &kit, made: SystemClock.now() };
    match file {
        None if io::stderr().is_terminal() => {
            let qr = Zeroizing::new(Qr::new(&kit.text(), true)?.terminal(true));
            write!(io::stderr(), "\n{}\n{}\n", page.text().as_str(), qr.as_str())?;
        }
        None => {
            return Err(Failure::usage(
                "there is no terminal to show the page on; name a FILE for it, or - for standard output",
            ));
        }
        // With --json the object holds the key.
        Some(file) if is_dash(file) && out.is_json() => {}
        Some(file) if is_dash(file) => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(page.text().as_bytes())?;
            stdout.flush()?;
        }
        Some(file) => {
            let html = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("html"));
            secrets::to_new_file(file, if html { page.html()? } else { page.text() }.trim_end())?;
        }
    }
    let report = block_on(context.client.recovery_make(&kit))?.map_err(|error| {
        let mut failure = Failure::from(error);
        match file.filter(|file| !is_dash(file)) {
            // Nobody may rely on a page that opens nothing.
            Some(file) => drop(fs::remove_file(file)),
            None => failure.message.push_str("\nThe page just shown opens nothing; throw it away."),
        }
        failure
    })?;
    let done = match file.filter(|file| !is_dash(file)) {
        Some(file) => format!("The recovery kit is in force. Print {} and delete it.", file.display()),
        None => {
            "The recovery kit is in force. Write the words down now; they are not shown again.".to_owned()
        }
    };
    // What goes to a printer has only the page on it.
    if file.is_some_and(is_dash) {
        writeln!(io::stderr(), "{}", printable(&done))?;
    } else {
        out.line(out.paint(Style::Good, &done))?;
    }
    Ok((report, kit))
}

fn used(report: &RecoveredReport, context: &Context) -> Result<(), Failure> {
    let out = context.output;
    if report.keys.is_empty() {
        out.line("The kit fits, and there is nothing to recover: this device has every key in it.")?;
    } else {
        out.line(out.paint(Style::Good, &format!("Old mail of {} can be read again.", report.address)))?;
        for (key, from, until) in &report.keys {
            out.line(format!(
                "Key          {} ({} to {})",
                key.fingerprint(),
                from.to_rfc3339(),
                until.to_rfc3339()
            ))?;
        }
        out.line(
            "Your contacts see a changed key that nothing signs for: tell them your words (`sealpost key show`).",
        )?;
    }
    out.line(format!("Contacts     {} with a known key", report.contacts))?;
    for note in &report.notes {
        out.line(out.paint(Style::Warn, &printable(note)))?;
    }
    let keys: Vec<Value> = report
        .keys
        .iter()
        .map(|(key, from, until)| {
            json!({
                "fingerprint": key.fingerprint(),
                "from": from.to_rfc3339(),
                "until": until.to_rfc3339(),
            })
        })
        .collect();
    Ok(out.object(&json!({
        "address": report.address.as_str(),
        "keys": keys,
        "contacts": report.contacts,
        "notes": report.notes,
    }))?)
}
