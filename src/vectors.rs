//! `vectors FILE`: for implementers, and for checks from outside.

use crate::{
    cli::Vectors,
    exit::{Failure, Outcome},
    output::Output,
};
use serde_json::json;
use std::{fs, process::ExitCode};

/// Recomputes every field of every case.
pub fn vectors(args: &Vectors, output: Output) -> Outcome {
    let text = match fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => {
            output.line("0 passed, 1 failed")?;
            return Err(Failure::file("cannot read", &args.file, &error));
        }
    };
    let report = sealpost_crypto::vectors::check(&text);
    for line in &report.lines {
        output.untrusted(line)?;
    }
    output.line(format!("{} passed, {} failed", report.passed, report.failed))?;
    output.object(&json!({ "passed": report.passed, "failed": report.failed, "lines": report.lines }))?;
    Ok(if report.failed == 0 && report.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
