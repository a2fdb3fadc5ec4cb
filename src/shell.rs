//! Completions and manual pages, made from the definition of the command line.

use crate::{
    cli::{Cli, Completions, Man},
    exit::{Failure, Outcome},
    output::Output,
};
use clap::CommandFactory as _;
use std::{fs, io, process::ExitCode};

/// `sealpost completions SHELL`.
pub fn completions(args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sealpost", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost man DIR`.
pub fn man(args: &Man, output: Output) -> Outcome {
    let written = || -> io::Result<usize> {
        fs::create_dir_all(&args.dir)?;
        clap_mangen::generate_to(Cli::command(), &args.dir)?;
        Ok(fs::read_dir(&args.dir)?.count())
    };
    let pages = written().map_err(|e| Failure::file("cannot write the manual pages to", &args.dir, &e))?;
    output.line(format!("Wrote {pages} manual pages to {}", args.dir.display()))?;
    output.object(&serde_json::json!({ "dir": args.dir, "pages": pages }))?;
    Ok(ExitCode::SUCCESS)
}
