//! `verify`: each check of a message, its result, the reason, and then the verdict.

use crate::{
    cli::Verify,
    context::{Context, block_on, is_dash},
    exit::{Failure, Outcome},
    output::{Style, one_line},
    reading::{explain, style},
};
use sealpost_client::open::{Check, CheckResult};
use serde_json::{Value, json};
use std::{fs::File, io, os::fd::AsFd as _, process::ExitCode};

/// `sealpost verify FILE`.
pub fn verify(args: &Verify, context: &Context) -> Outcome {
    let file = if is_dash(&args.file) {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(&args.file).map_err(|e| Failure::file("cannot read", &args.file, &e))?
    };
    let report = block_on(context.client.verify(file))??;
    let out = context.output;
    let field = |name: &str, value: Option<String>| match value {
        Some(value) => out.line(format!("{name:<12} {}", one_line(&value))),
        None => Ok(()),
    };
    field("From", report.from.as_ref().map(ToString::to_string))?;
    field("Message-ID", report.message_id.clone())?;
    field("Checked for", report.account.as_ref().map(ToString::to_string))?;
    for check in &report.checks {
        let result = out.paint(colour(check.result), &format!("{:<8}", check.result.name()));
        out.line(format!("  {result} {:<18} {}", check.kind.name(), one_line(&check.why)))?;
    }
    let verdict = report.verdict;
    out.line(format!("{}: {}", out.paint(style(verdict), verdict.name()), explain(verdict)))?;
    for note in &report.notes {
        out.line(format!("  note: {}", one_line(note)))?;
    }
    let check = |check: &Check| json!({ "check": check.kind.name(), "result": check.result.name(), "why": check.why });
    out.object(&json!({
        "from": report.from.as_ref().map(ToString::to_string),
        "message_id": report.message_id,
        "account": report.account.as_ref().map(ToString::to_string),
        "sealed": report.sealed,
        "checks": report.checks.iter().map(check).collect::<Vec<Value>>(),
        "verdict": verdict.name(),
        "exit": verdict.exit_code(),
        "notes": report.notes,
    }))?;
    Ok(ExitCode::from(verdict.exit_code()))
}

fn colour(result: CheckResult) -> Style {
    match result {
        CheckResult::Passed => Style::Good,
        CheckResult::Failed => Style::Bad,
        CheckResult::Noted => Style::Warn,
        CheckResult::NotMade => Style::Dim,
    }
}
