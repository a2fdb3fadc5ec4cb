//! `cargo run -p sealpost-fuzz -- [TARGET|all] [--seconds N | --runs N] [--seed S]`; `-- list` names the targets,
//! `-- try TARGET FILE` runs one input, `-- seeds` makes the part of the corpora that needs private keys anew.

use sealpost_fuzz::{Budget, TARGETS, Target, run, seeds};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

const USAGE: &str = "usage: sealpost-fuzz [TARGET|all] [--seconds N | --runs N] [--seed S]
       sealpost-fuzz list | seeds | try TARGET FILE";
/// Without `--seconds` and `--runs`.
const DEFAULT_SECONDS: u64 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn command(arguments: &[String]) -> Result<bool, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => {
            for (name, _) in TARGETS {
                println!("{name}");
            }
            Ok(true)
        }
        ["seeds"] => seeds::write().map(|()| true).map_err(|e| format!("the corpora cannot be written: {e}")),
        ["try", name, file] => {
            let (_, target) = find(name)?;
            target(&fs::read(file).map_err(|e| format!("{file}: {e}"))?);
            println!("{name}: {file} is stood");
            Ok(true)
        }
        _ => fuzz(&words),
    }
}

fn find(name: &str) -> Result<Target, String> {
    let found = TARGETS.iter().find(|(target, _)| *target == name).copied();
    found.ok_or_else(|| format!("{name:?} is no target; `list` names them\n{USAGE}"))
}

fn fuzz(words: &[&str]) -> Result<bool, String> {
    let (mut targets, mut budget, mut seed) =
        (TARGETS.to_vec(), Budget::Time(Duration::from_secs(DEFAULT_SECONDS)), 1);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            words.next().and_then(|n| n.parse().ok()).ok_or_else(|| format!("{word} needs a number\n{USAGE}"))
        };
        match *word {
            "--seconds" => budget = Budget::Time(Duration::from_secs(number()?)),
            "--runs" => budget = Budget::Runs(number()?),
            "--seed" => seed = number()?,
            "all" => {}
            option if option.starts_with('-') => return Err(format!("{option:?} is no option\n{USAGE}")),
            name => targets = vec![find(name)?],
        }
    }
    std::panic::set_hook(Box::new(|_| {}));
    let mut good = true;
    for target in targets {
        match run(target, budget, seed) {
            Ok(done) => {
                // Runs a second; precision does not matter.
                #[allow(clippy::cast_precision_loss, reason = "shown to people")]
                let rate = done.runs as f64 / done.took.as_secs_f64().max(0.001);
                println!(
                    "{:<16} {:>9} runs {:>9.0}/s, slowest {:>4} ms",
                    target.0,
                    done.runs,
                    rate,
                    done.slowest.as_millis()
                );
            }
            Err(finding) => {
                good = false;
                println!("{:<16} FOUND {}", finding.target, finding.message);
                match save(finding.target, &finding.input) {
                    Ok(path) => println!("{:<16} input: {}", "", path.display()),
                    Err(e) => println!("{:<16} the input cannot be saved: {e}: {:?}", "", finding.input),
                }
            }
        }
    }
    Ok(good)
}

fn save(target: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{target}-{:016x}", sealpost_fuzz::Rng::of(input).bits()));
    fs::write(&path, input)?;
    Ok(path)
}
