//! `enrol`, `login`, `passwd`: the life of an account on this device.

use crate::{
    cli::{Enrol, Login, Passwd},
    context::{Context, address, block_on},
    exit::{Exit, Failure, Outcome},
    output::Style,
    recovery,
    secrets::{self, Secret},
};
use sealpost_client::client::{AccountReport, EnrolRequest};
use sealpost_crypto::{kdf::Password, passphrase};
use serde_json::json;
use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

/// Where a generated passphrase goes, decided before anything happens: losing it would lose the account.
enum Chosen {
    /// The user's own.
    Own(Password),
    /// Generated, to be shown on the terminal.
    Shown(Secret),
    /// Generated, and already in its file.
    Written(Secret),
}

impl Chosen {
    /// Takes it out, so that there is one of it.
    fn password(self) -> Result<Password, Failure> {
        match self {
            Self::Own(password) => Ok(password),
            Self::Shown(text) | Self::Written(text) => Password::new(&text).map_err(Failure::failed),
        }
    }

    /// The file into which it was generated.
    fn written<'a>(&self, file: Option<&'a Path>) -> Option<&'a Path> {
        file.filter(|_| matches!(self, Self::Written(_)))
    }
}

/// A new password: from `file`, generated into `file` where there is none yet, typed, or generated and shown.
fn choose(file: Option<&Path>, option: &str, question: &str) -> Result<Chosen, Failure> {
    if let Some(path) = file {
        if path.try_exists().map_err(|e| Failure::file("cannot read", path, &e))? {
            let text = secrets::from_file(path)?;
            return Ok(Chosen::Own(Password::new(&text).map_err(Failure::failed)?));
        }
        let generated = passphrase::generate();
        secrets::to_new_file(path, &generated)?;
        return Ok(Chosen::Written(generated));
    }
    let typed = secrets::ask_new(question)?.filter(|text| !text.is_empty());
    if let Some(text) = typed {
        return Ok(Chosen::Own(Password::new(&text).map_err(Failure::failed)?));
    }
    if !io::stderr().is_terminal() {
        return Err(Failure::usage(format_args!(
            "there is no terminal to show a generated passphrase on; give {option} FILE, where FILE holds your own \
             password or does not exist yet and then takes a generated one"
        )));
    }
    Ok(Chosen::Shown(passphrase::generate()))
}

/// The passphrase, once, on the terminal alone: never where it could be recorded by a pipe.
fn show_generated(passphrase: &str) -> Result<(), Failure> {
    writeln!(
        io::stderr(),
        "\nYour password is these six words. Write them down now: nobody else has them, and without them\n\
         your mail cannot be read.\n\n    {passphrase}\n"
    )?;
    Ok(())
}

fn report(context: &Context, what: &str, report: &AccountReport) -> Outcome {
    let out = context.output;
    out.line(out.paint(Style::Good, &format!("{what} {}", report.key.address)))?;
    out.line(format!("Server       {}", report.server))?;
    out.line(format!("Fingerprint  {}", report.key.fingerprint))?;
    out.line(format!("In words     {}", report.key.words))?;
    out.line(format!("Expires      {}", report.key.expires.to_rfc3339()))?;
    if report.retired_keys > 0 {
        out.line(format!("Retired keys {} (old mail stays readable)", report.retired_keys))?;
    }
    if report.contacts > 0 {
        out.line(format!("Contacts     {} with a known key", report.contacts))?;
    }
    for note in &report.notes {
        out.untrusted(note)?;
    }
    out.object(&json!({
        "address": report.key.address.as_str(),
        "server": report.server,
        "key": report.key.key.openssh(),
        "fingerprint": report.key.fingerprint,
        "words": report.key.words,
        "created": report.key.created.to_rfc3339(),
        "expires": report.key.expires.to_rfc3339(),
        "retired_keys": report.retired_keys,
        "contacts": report.contacts,
        "notes": report.notes,
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost enrol ADDR`.
pub fn enrol(args: &Enrol, context: &Context) -> Outcome {
    let address = address(&args.address)?;
    let code =
        secrets::obtain(args.code_file.as_deref(), "One-time code from your administrator", "--code-file")?;
    let question = "Choose a password (leave empty to be given six random words)";
    let chosen = choose(context.password_file.as_deref(), "--password-file", question)?;
    if let Chosen::Shown(passphrase) = &chosen {
        show_generated(passphrase)?;
    }
    let written = chosen.written(context.password_file.as_deref());
    let request =
        EnrolRequest { address, code, password: chosen.password()?, cost: None, no_keyring: args.no_keyring };
    let done = block_on(context.client.enrol(request))?.map_err(Failure::from);
    let done = done.map_err(|failure| with_written(failure, written))?;
    let status = report(context, "Enrolled", &done)?;
    // Where an old keyring waits for its kit, a new one would have nothing to open.
    if !args.no_keyring && !done.waits_for_kit {
        recovery::offer(args.recovery_kit.as_deref(), context)?;
    } else if args.recovery_kit.is_some() {
        return Err(Failure::failed(
            "you are enrolled; no recovery kit was made, since the old keyring waits for the old one: `sealpost recovery \
             use` first",
        ));
    }
    Ok(status)
}

/// Says that a generated passphrase lies in its file, since enrolment may be repeated with it.
fn with_written(mut failure: Failure, file: Option<&Path>) -> Failure {
    if let Some(path) = file {
        if failure.exit == Exit::SignIn {
            // Nothing was taken by the server, so the next attempt may make another one.
            drop(std::fs::remove_file(path));
        } else {
            failure.message = format!(
                "{}\nThe generated passphrase is in {}; the same command takes it up again.",
                failure.message,
                path.display()
            );
        }
    }
    failure
}

/// `sealpost login ADDR`.
pub fn login(args: &Login, context: &Context) -> Outcome {
    let address = address(&args.address)?;
    let password = context.password()?;
    let done = block_on(context.client.login(&address, &password))??;
    report(context, "This device is set up for", &done)
}

/// `sealpost passwd`.
pub fn passwd(args: &Passwd, context: &Context) -> Outcome {
    let current = context.password()?;
    let question = "New password (leave empty to be given six random words)";
    let chosen = choose(args.new_password_file.as_deref(), "--new-password-file", question)?;
    if let Chosen::Shown(passphrase) = &chosen {
        show_generated(passphrase)?;
    }
    let written = chosen.written(args.new_password_file.as_deref());
    let done = block_on(context.client.passwd(&current, &chosen.password()?))?.map_err(Failure::from);
    let done = done.map_err(|failure| with_written(failure, written))?;
    report(context, "Changed the password of", &done)
}
