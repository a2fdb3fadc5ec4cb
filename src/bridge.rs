//! `bridge`: ordinary mail programs read and send sealed mail through it.

mod programs;
mod service;

use crate::{
    cli::{Bridge, BridgeAction, BridgeRun, Program},
    context::{Context, block_on},
    exit::{Failure, Outcome},
    lock::custody_word,
    mail::policy,
    output::Output,
    signals,
};
use sealpost_bridge::{BridgeError, Config, Info, Progress};
use sealpost_proto::address::Address;
use serde_json::{Value, json};
use std::{
    env,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::sync::watch::Receiver;
use zeroize::Zeroizing;

/// `sealpost bridge …`.
pub fn bridge(args: &Bridge, context: Context) -> Outcome {
    match &args.action {
        // After a lock nothing but its owner unlocks it.
        None if env::var_os(AGAIN).is_some() => run(&args.run, &context, true),
        None => run(&args.run, &context.unlocked()?, false),
        Some(BridgeAction::Info { program: None }) => {
            let info = known(&context)?;
            tell(&info, context.output)?;
            if let (Some(indexed), false) = (info.indexed, context.output.is_json()) {
                let done = indexed.messages - indexed.left.min(indexed.messages);
                context.output.line(format!("Index       {done} of {} messages", indexed.messages))?;
            }
            context.output.object(&object(&info))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(BridgeAction::Info { program: Some(program) }) => settings(*program, &context),
        Some(BridgeAction::Password) => password(&context.unlocked()?),
        Some(BridgeAction::Install(run)) => service::install(run, &context),
        Some(BridgeAction::Uninstall) => service::uninstall(&context),
    }
}

fn known(context: &Context) -> Result<Info, Failure> {
    sealpost_bridge::info(&context.client, context.dir())?
        .ok_or_else(|| Failure::failed("no bridge ever ran on this folder; start one with `sealpost bridge`"))
}

/// `bridge info --for PROGRAM`: the settings on standard output, so that they can go into a file; advice beside them.
fn settings(program: Program, context: &Context) -> Outcome {
    let info = known(context)?;
    let (address, _) = info.accounts.first().ok_or_else(|| Failure::failed("the bridge has no account"))?;
    let (sealpost, dir) = (env::current_exe()?, std::path::absolute(context.dir())?);
    let settings = programs::Settings { info: &info, address, sealpost: &sealpost, dir: &dir };
    let text = settings.text(program)?;
    let advice = programs::advice(program, address);
    if context.output.is_json() {
        context.output.object(&json!({ "settings": text, "advice": advice }))?;
    } else {
        io::stdout().write_all(text.as_bytes())?;
        writeln!(io::stderr(), "{advice}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `bridge password`.
fn password(context: &Context) -> Outcome {
    let secrets = context.client.known_bridge_secrets()?.ok_or_else(|| {
        Failure::failed("no bridge ever ran on this folder; start one with `sealpost bridge`")
    })?;
    if context.output.is_json() {
        context.output.object(&json!({ "password": secrets.password.as_str() }))?;
    } else {
        writeln!(io::stdout(), "{}", secrets.password.as_str())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run(args: &BridgeRun, context: &Context, again: bool) -> Outcome {
    let mut accounts = vec![(context.client.clone(), context.dir().to_owned())];
    accounts.extend(args.account.iter().map(|dir| (context.client_of(dir), PathBuf::from(dir))));
    let config = Config {
        accounts,
        listen: args.listen,
        imap_port: args.imap_port,
        submission_port: args.submission_port,
        names: args.name.clone(),
        policy: policy(args.policy),
        background: !args.no_background_index,
        rebuild: args.rebuild_index,
        lock_after: args.lock_after.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
    };
    let output = context.output;
    crate::serve::log("warn")?;
    block_on(async move {
        let ended = signals::asked_to_end()?;
        let bridge = sealpost_bridge::Bridge::start(config).await?;
        if !again {
            tell(bridge.info(), output)?;
            output.line("The bridge runs until Ctrl-C.")?;
            output.object(&object(bridge.info()))?;
        }
        sealpost_server::notify::ready();
        let mut told = tokio::task::JoinSet::new();
        for (address, progress) in bridge.progress() {
            told.spawn(tell_progress(address.to_string(), progress.clone()));
        }
        let locked = tokio::select! {
            () = ended => false,
            () = bridge.locked() => true,
        };
        if locked {
            bridge.stop().await;
            return Err(begin_anew());
        }
        sealpost_server::notify::stopping();
        bridge.stop().await;
        Ok(ExitCode::SUCCESS)
    })?
}

/// Set for a bridge that was locked and has begun anew.
const AGAIN: &str = "SEALPOST_BRIDGE_AGAIN";

/// Runs this program in the place of itself: same process, same ports, and nothing of what its memory held. It is locked
/// then, and waits. Returns where that failed; a service manager starts it again.
fn begin_anew() -> Failure {
    let work = || -> io::Result<std::convert::Infallible> {
        let mut command = std::process::Command::new(env::current_exe()?);
        Err(command.args(env::args_os().skip(1)).env(AGAIN, "1").exec())
    };
    let Err(error) = work();
    Failure::failed(format_args!(
        "the device is locked, and the bridge ended, since it could not begin anew: {error}"
    ))
}

/// What the index is at, for whoever watches.
async fn tell_progress(address: String, mut progress: Receiver<Progress>) {
    let mut bar = None;
    while progress.changed().await.is_ok() {
        let Progress { mailbox, done, total } = progress.borrow_and_update().clone();
        if mailbox.is_empty() {
            bar = None;
            continue;
        }
        let bar = bar.get_or_insert_with(|| crate::progress::messages("", Some(0)));
        bar.set_message(format!("Index of {address}: {mailbox}"));
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }
}

/// For the person who sets up a mail program; programs get it as JSON, and their logs no password.
fn tell(info: &Info, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(());
    }
    output.line(format!("IMAP        {} (TLS from the start)", info.imap))?;
    output.line(format!("Submission  {} (TLS from the start)", info.submission))?;
    output.line(format!("Trust       {}", info.ca_file.display()))?;
    for (address, password) in &info.accounts {
        output.line(format!("User        {address}"))?;
        match password {
            Some(password) => output.line(format!("Password    {}", password.as_str()))?,
            None => output.line("Password    locked; `sealpost unlock` first")?,
        }
    }
    output.line(format!("Secrets     {}", info.custody))?;
    Ok(())
}

fn object(info: &Info) -> Value {
    let account = |(address, password): &(Address, Option<Zeroizing<String>>)| json!({ "address": address.as_str(), "password": password.as_ref().map(|p| p.as_str()) });
    json!({
        "imap": info.imap.to_string(),
        "submission": info.submission.to_string(),
        "ca_file": info.ca_file,
        "index": info.indexed.map(|indexed| json!({ "messages": indexed.messages, "left": indexed.left })),
        "secrets": custody_word(info.custody),
        "accounts": info.accounts.iter().map(account).collect::<Vec<_>>(),
    })
}

impl From<BridgeError> for Failure {
    fn from(error: BridgeError) -> Self {
        match error {
            BridgeError::Client(error) => error.into(),
            other => Self::failed(other),
        }
    }
}
