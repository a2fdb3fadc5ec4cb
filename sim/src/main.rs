//! Runs the simulation for as long as one likes: `cargo run --release -p sealpost-sim -- --seconds 3600 [--seed N]`. Each
//! seed is a script for the store, and one for the relay.

use sealpost_sim::{
    explore,
    relay::{self, Settled},
    shrink, world,
};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let mut seconds = 60;
    let mut seed = 1;
    let mut once = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().and_then(|value| value.parse::<u64>().ok());
        match (arg.as_str(), value) {
            ("--seconds", Some(value)) => seconds = value,
            ("--seed", Some(value)) => seed = value,
            ("--only", Some(value)) => (seed, once) = (value, true),
            _ => {
                eprintln!("usage: sealpost-sim [--seconds N] [--seed FIRST] [--only SEED]");
                return ExitCode::from(2);
            }
        }
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut counts, mut settled) = (world::Counts::default(), Settled::default());
    let (first, mut told) = (seed, Instant::now());
    while Instant::now() < until {
        match explore(seed, None) {
            Ok((more, _)) => counts.add(&more),
            Err(failure) => {
                println!("seed {seed}: {}", failure.what);
                println!("{}", shrink(seed, None));
                return ExitCode::FAILURE;
            }
        }
        match relay::run(seed, true) {
            Ok(more) => settled.add(&more),
            Err(what) => {
                println!("seed {seed}, the relay: {what}");
                return ExitCode::FAILURE;
            }
        }
        seed += 1;
        if once {
            break;
        }
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            println!("… {} seeds, {} crashes", seed - first, counts.crashes);
        }
    }
    println!("seeds {first} to {}: no failure\n{counts}\nthe relay: {settled}", seed - 1);
    ExitCode::SUCCESS
}
