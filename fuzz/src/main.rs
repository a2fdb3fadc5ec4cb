//! `cargo run -p sealpost-fuzz -- [TARGET|all] [--seconds N | --runs N | --total N] [--seed S] [--out FOLDER]`; `-- list` names the targets,
//! `-- try TARGET FILE` runs one input, `-- seeds` makes the part of the corpora that needs private keys anew.

use sealpost_fuzz::{Budget, Finding, Session, TARGETS, Target, corpus, seeds};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str =
    "usage: sealpost-fuzz [TARGET|all] [--seconds N | --runs N | --total N] [--seed S] [--out FOLDER]
       sealpost-fuzz list | seeds | try TARGET FILE";
/// Without `--seconds` and `--runs`.
const DEFAULT_SECONDS: u64 = 10;
/// Characters of a finding's words that are shown; `try` shows all of them.
const SHOWN_MAX: usize = 400;
/// A turn of a target where all share one time: many turns, so that each has its share whenever the run is ended.
const TURN: Duration = Duration::from_secs(10);

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
    let (mut targets, mut seed, mut total) = (TARGETS.to_vec(), 1, None);
    let mut budget = Budget::Time(Duration::from_secs(DEFAULT_SECONDS));
    let mut out = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut argument =
            || words.next().copied().ok_or_else(|| format!("{word} needs an argument\n{USAGE}"));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number\n{USAGE}"));
        match *word {
            "--seconds" => budget = Budget::Time(Duration::from_secs(number(argument()?)?)),
            "--runs" => budget = Budget::Runs(number(argument()?)?),
            "--total" => total = Some(Duration::from_secs(number(argument()?)?)),
            "--seed" => seed = number(argument()?)?,
            "--out" => out = PathBuf::from(argument()?),
            "all" => {}
            option if option.starts_with('-') => return Err(format!("{option:?} is no option\n{USAGE}")),
            name => targets = vec![find(name)?],
        }
    }
    std::panic::set_hook(Box::new(|_| {}));
    let corpora: Vec<_> = targets.iter().map(|(name, _)| corpus(name)).collect();
    let mut sessions: Vec<_> =
        targets.iter().zip(&corpora).map(|(target, corpus)| Session::new(*target, corpus, seed)).collect();
    let mut good = true;
    let mut turn = |session: &mut Session<'_>, budget| {
        let outcome = session.go(budget);
        for input in session.news() {
            // Beside the findings, for whoever wants them in the corpus; the run itself keeps them in memory.
            if let Err(e) = save(&out.join("kept").join(session.name()), session.name(), &input) {
                eprintln!("{}: an input cannot be kept: {e}", session.name());
            }
        }
        if let Err(finding) = outcome {
            good = false;
            report(&out, &finding);
        }
    };
    let Some(total) = total else {
        for session in &mut sessions {
            turn(session, budget);
            line(session);
        }
        return Ok(good);
    };
    let start = Instant::now();
    'rounds: loop {
        // Even shares: a turn is no longer than what is left for each.
        let left = total.saturating_sub(start.elapsed());
        let share = TURN
            .min(left / u32::try_from(sessions.len()).unwrap_or(u32::MAX))
            .max(Duration::from_millis(200));
        for session in &mut sessions {
            if start.elapsed() >= total {
                break 'rounds;
            }
            turn(session, Budget::Time(share));
        }
    }
    sessions.iter().for_each(line);
    let runs: u64 = sessions.iter().map(|session| session.done.runs).sum();
    println!("{runs} runs of {} targets in {} s", sessions.len(), start.elapsed().as_secs());
    Ok(good)
}

fn line(session: &Session<'_>) {
    let done = session.done;
    // Runs a second; precision does not matter.
    #[allow(clippy::cast_precision_loss, reason = "shown to people")]
    let rate = done.runs as f64 / done.took.as_secs_f64().max(0.001);
    println!(
        "{:<16} {:>9} runs {rate:>9.0}/s, slowest {:>4} ms, {:>4} kept",
        session.name(),
        done.runs,
        done.slowest.as_millis(),
        done.kept
    );
}

fn report(out: &Path, finding: &Finding) {
    let words: String = finding.message.chars().take(SHOWN_MAX).collect();
    println!("{:<16} FOUND {words}", finding.target);
    match save(out, finding.target, &finding.input) {
        Ok(path) => {
            println!(
                "{:<16} again: cargo run -p sealpost-fuzz -- try {} {}",
                "",
                finding.target,
                path.display()
            );
        }
        Err(e) => println!("{:<16} the input cannot be saved: {e}: {:?}", "", finding.input),
    }
}

fn save(folder: &Path, target: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{target}-{:016x}", sealpost_fuzz::Rng::of(input).bits()));
    fs::write(&path, input)?;
    Ok(path)
}
