//! `sealpost`: end-to-end encrypted mail in one program. This file only leads from the command line to the commands
//! and from their outcome to an exit status.

#![allow(unreachable_pub, reason = "nothing is outside of a binary; pub marks what its other modules use")]

mod account;
mod admin;
mod bridge;
mod cli;
mod contacts;
mod context;
mod demo;
mod editor;
mod exit;
mod front;
mod keys;
mod listing;
mod lock;
mod mail;
mod output;
mod pager;
mod person;
mod progress;
mod reading;
mod recovery;
mod secrets;
mod serve;
mod shell;
mod signals;
mod transfer;
mod vectors;
mod verify;
mod writing;

use clap::Parser as _;
use cli::{Cli, Command};
use context::Context;
use exit::{Failure, Outcome};
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    sealpost_server::forbid_core_dumps();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let output = Output::new(cli.global.json);
    match run(&cli, output) {
        Ok(status) => status,
        Err(failure) => output.failure(&failure),
    }
}

/// Help and version on standard output, a wrong command line on standard error; with `--json` an object too, for which
/// the option has to be found by hand, since nothing was parsed.
fn not_understood(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json");
    if json && error.use_stderr() {
        let message = error.render().to_string();
        let message = message.trim_end().trim_start_matches("error: ");
        return Output::new(true).failure(&Failure::usage(message));
    }
    error.exit()
}

fn run(cli: &Cli, output: Output) -> Outcome {
    let context = || Context::new(&cli.global, output);
    // What opens mail: where the device is locked, the password is asked for first.
    let unlocked = || context().and_then(Context::unlocked);
    match &cli.command {
        Command::Demo(args) => demo::demo(args, &cli.global, output),
        Command::Enrol(args) => account::enrol(args, &context()?),
        Command::Login(args) => account::login(args, &context()?),
        Command::Send(args) => mail::send(args, &unlocked()?),
        Command::Compose(args) => writing::compose(args, &unlocked()?),
        Command::Reply(args) => writing::reply(args, &unlocked()?),
        Command::Forward(args) => writing::forward(args, &unlocked()?),
        Command::List(args) => listing::list(args, &unlocked()?),
        Command::Read(args) => reading::read(args, &unlocked()?),
        Command::Search(args) => listing::search(args, &unlocked()?),
        Command::Save(args) => reading::save(args, &unlocked()?),
        Command::Verify(args) => verify::verify(args, &unlocked()?),
        Command::Import(args) => transfer::import(args, &unlocked()?),
        Command::Export(args) => transfer::export(args, &unlocked()?),
        Command::Bridge(args) => bridge::bridge(args, context()?),
        Command::Key(command) => keys::key(command, &unlocked()?),
        Command::Passwd(args) => account::passwd(args, &unlocked()?),
        Command::Recovery(command) => recovery::recovery(command, &unlocked()?),
        Command::Contact(command) => contacts::contact(command, &unlocked()?),
        Command::Lock => lock::lock(&context()?),
        Command::Unlock => lock::unlock(&context()?),
        Command::Serve(args) => serve::serve(args, output),
        Command::User(args) => admin::user(args, output),
        Command::AppPassword(args) => admin::app_password(args, output),
        Command::Queue(args) => admin::queue(args, output),
        Command::Backup(args) => admin::backup(args, output),
        Command::Restore(args) => admin::restore(args, output),
        Command::Vectors(args) => vectors::vectors(args, output),
        Command::Completions(args) => shell::completions(args),
        Command::Man(args) => shell::man(args, output),
    }
}
