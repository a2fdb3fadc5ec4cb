//! `bridge`: ordinary mail programs read and send sealed mail through it.

use crate::{
    cli::{Bridge, BridgeAction, BridgeRun},
    context::{Context, block_on},
    exit::{Failure, Outcome},
    mail::policy,
    output::Output,
    signals,
};
use sealpost_bridge::{BridgeError, Config, Info, Progress};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};
use tokio::sync::watch::Receiver;

/// `sealpost bridge …`.
pub fn bridge(args: &Bridge, context: &Context) -> Outcome {
    match args.action {
        None => run(&args.run, context),
        Some(BridgeAction::Info) => {
            let info = sealpost_bridge::info(&context.client, context.dir())?;
            let info = info.ok_or_else(|| {
                Failure::failed("no bridge ever ran on this folder; start one with `sealpost bridge`")
            })?;
            tell(&info, context.output)?;
            if let (Some(indexed), false) = (info.indexed, context.output.is_json()) {
                let done = indexed.messages - indexed.left.min(indexed.messages);
                context.output.line(format!("Index       {done} of {} messages", indexed.messages))?;
            }
            context.output.object(&object(&info))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run(args: &BridgeRun, context: &Context) -> Outcome {
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
    };
    let output = context.output;
    block_on(async move {
        let ended = signals::asked_to_end()?;
        let bridge = sealpost_bridge::Bridge::start(config).await?;
        tell(bridge.info(), output)?;
        output.line("The bridge runs until Ctrl-C.")?;
        output.object(&object(bridge.info()))?;
        let mut told = tokio::task::JoinSet::new();
        for (address, progress) in bridge.progress() {
            told.spawn(tell_progress(address.to_string(), progress.clone()));
        }
        ended.await;
        bridge.stop().await;
        Ok(ExitCode::SUCCESS)
    })?
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
        output.line(format!("Password    {}", password.as_str()))?;
    }
    Ok(())
}

fn object(info: &Info) -> Value {
    let account = |(address, password): &(_, zeroize::Zeroizing<String>)| {
        let address: &sealpost_proto::address::Address = address;
        json!({ "address": address.as_str(), "password": password.as_str() })
    };
    json!({
        "imap": info.imap.to_string(),
        "submission": info.submission.to_string(),
        "ca_file": info.ca_file,
        "index": info.indexed.map(|indexed| json!({ "messages": indexed.messages, "left": indexed.left })),
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
