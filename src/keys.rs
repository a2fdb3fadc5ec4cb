//! `key show|lookup|rotate|export`.

use crate::{
    cli::Key,
    context::{Context, block_on, is_dash, mailbox},
    exit::{Exit, Failure, Outcome},
    output::{Style, one_line},
};
use sealpost_client::{
    client::{ExportedKey, KeyReport, Published},
    compare::qr_text,
};
use serde_json::{Value, json};
use std::{
    fs::OpenOptions,
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// `sealpost key …`.
pub fn key(command: &Key, context: &Context) -> Outcome {
    match command {
        Key::Show { qr } => {
            let report = context.client.key_show()?;
            let shown = show(&report, "Your key", context)?;
            if *qr {
                context.output.qr(&qr_text(&report.address, &report.fingerprint))?;
            }
            Ok(shown)
        }
        Key::Lookup { address } => lookup(address, context),
        Key::Rotate { no_keyring } => {
            let password = context.password()?;
            let report = block_on(context.client.rotate(&password, *no_keyring))??;
            for note in &report.notes {
                context.output.untrusted(note)?;
            }
            show(&report.key, "Your new key", context)
        }
        Key::Export { file, all } => export(
            &context.client.key_export(*all)?,
            file.as_deref().filter(|f| !is_dash(f)),
            file.is_some(),
            context,
        ),
    }
}

fn show(report: &KeyReport, title: &str, context: &Context) -> Outcome {
    let out = context.output;
    out.line(out.paint(Style::Bold, &format!("{title} ({})", report.address)))?;
    out.line(format!("Key          {}", report.key.openssh()))?;
    for also in report.addresses.iter().filter(|also| **also != report.address) {
        out.line(format!("Also         {also}"))?;
    }
    out.line(format!("Fingerprint  {}", report.fingerprint))?;
    out.line(format!("In words     {}", report.words))?;
    out.line(format!("Created      {}", report.created.to_rfc3339()))?;
    out.line(format!("Expires      {}", report.expires.to_rfc3339()))?;
    for old in &report.retired {
        out.line(format!(
            "Retired      {} ({} to {})",
            old.fingerprint,
            old.from.to_rfc3339(),
            old.until.to_rfc3339()
        ))?;
    }
    let retired: Vec<Value> = report
        .retired
        .iter()
        .map(|old| {
            json!({
                "key": old.key.openssh(),
                "fingerprint": old.fingerprint,
                "from": old.from.to_rfc3339(),
                "until": old.until.to_rfc3339(),
            })
        })
        .collect();
    out.object(&json!({
        "address": report.address.as_str(),
        "key": report.key.openssh(),
        "fingerprint": report.fingerprint,
        "words": report.words,
        "created": report.created.to_rfc3339(),
        "expires": report.expires.to_rfc3339(),
        "addresses": report.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "retired": retired,
    }))?;
    Ok(ExitCode::SUCCESS)
}

fn lookup(address: &str, context: &Context) -> Outcome {
    let report = block_on(context.client.key_lookup(&mailbox(address)?))??;
    let out = context.output;
    out.line(format!("Server       {} ({})", one_line(&report.server), one_line(&report.binding)))?;
    if !report.authenticated {
        out.line(out.paint(Style::Warn, "Nothing proves that this server is the domain's own."))?;
    }
    let mut object = json!({
        "address": report.address.to_string(),
        "server": report.server,
        "authenticated": report.authenticated,
        "binding": report.binding,
        "pinned": report.pinned.as_ref().map(sealpost_proto::key::PublicKey::fingerprint),
        "notes": report.notes,
    });
    let exit = match &report.published {
        Published::Key { key, fingerprint, words, statement } => {
            out.line(format!("Key          {}", key.openssh()))?;
            out.line(format!("Fingerprint  {fingerprint}"))?;
            out.line(format!("In words     {words}"))?;
            object["key"] = key.openssh().into();
            object["fingerprint"] = fingerprint.as_str().into();
            object["words"] = words.as_str().into();
            if let Some((created, expires)) = statement {
                out.line(format!("Statement    {} to {}", created.to_rfc3339(), expires.to_rfc3339()))?;
                object["created"] = created.to_rfc3339().into();
                object["expires"] = expires.to_rfc3339().into();
            }
            ExitCode::SUCCESS
        }
        Published::NoKey => {
            out.line(format!("There is no key for {}", report.address))?;
            object["key"] = Value::Null;
            ExitCode::FAILURE
        }
        Published::Failed(why) => {
            out.line(format!("No definite answer: {}", one_line(why)))?;
            object["failed"] = why.as_str().into();
            ExitCode::from(Exit::Later as u8)
        }
    };
    for note in &report.notes {
        out.untrusted(note)?;
    }
    out.object(&object)?;
    Ok(exit)
}

/// Writes the keys: the current one to `file`, retired ones to `file.1`, `file.2` and so on, newest first.
fn export(keys: &[ExportedKey], file: Option<&Path>, explicit: bool, context: &Context) -> Outcome {
    let out = context.output;
    let Some(file) = file else {
        if out.is_json() {
            let list: Vec<Value> = keys
                .iter()
                .map(|k| json!({ "key": k.key.openssh(), "current": k.current, "private_key": k.pem.as_str() }))
                .collect();
            out.object(&json!({ "keys": list }))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !explicit && io::stdout().is_terminal() {
            return Err(Failure::usage(
                "this would print the private key on the screen; name a FILE, or - if you mean it",
            ));
        }
        let mut stdout = io::stdout().lock();
        for key in keys {
            stdout.write_all(key.pem.as_bytes())?;
        }
        stdout.flush()?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut written: Vec<PathBuf> = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let mut name = file.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        let path = PathBuf::from(name);
        let write = || -> io::Result<()> {
            let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            new.write_all(key.pem.as_bytes())?;
            new.sync_all()
        };
        write().map_err(|e| Failure::file("cannot write", &path, &e))?;
        written.push(path);
    }
    out.line(format!(
        "Wrote {}",
        written.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    ))?;
    out.line("Whoever has this file can read your mail and sign as you. `age -d -i FILE` opens sealed mail with it.")?;
    out.object(&json!({ "files": written, "key": keys.first().map(|k| k.key.openssh()) }))?;
    Ok(ExitCode::SUCCESS)
}
