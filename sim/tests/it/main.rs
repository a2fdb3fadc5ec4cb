//! The simulation itself, in bounds: so many seeds, not so many seconds, so that it is the same everywhere.

use sealpost_sim::{
    disk::{BROKEN, Fault, log},
    explore,
    script::{Op, Step},
    shrink,
    world::{self, Breakage, Counts, Crashes},
};

mod broken;
mod found;
mod relay;

/// Seeds in CI; `SEEDS=100000` for a night.
fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150)
}

/// Explores some of the seeds: the tests run beside each other, one for each core.
fn part(nth: u64) -> Counts {
    let mut counts = Counts::default();
    for seed in (1..=seeds()).filter(|seed| seed % 2 == nth) {
        match explore(seed, None) {
            Ok((more, _)) => counts.add(&more),
            Err(failure) => panic!("seed {seed}: {}\n{}", failure.what, shrink(seed, None)),
        }
    }
    counts
}

/// What a run of many seeds must have met, or it has not looked.
fn has_met(counts: &Counts) {
    use log::{Call, Kind};
    println!("{counts}");
    let met = |call, kind| counts.faults.iter().any(|((c, k, _), _)| (*c, *k) == (call, kind));
    for (call, kind) in [
        (Call::Sync, Kind::Fails),
        (Call::Sync, Kind::Lies),
        (Call::Write, Kind::Short),
        (Call::Write, Kind::Fails),
        (Call::Read, Kind::Fails),
        (Call::Create, Kind::Fails),
    ] {
        assert!(met(call, kind), "{call:?} {kind:?} was never met");
    }
    assert!(counts.crashes > 1000 && counts.kills > 20 && counts.failed > 50, "{counts}");
}

#[test]
fn no_crash_and_no_fault_breaks_a_promise_odd_seeds() {
    has_met(&part(1));
}

#[test]
fn no_crash_and_no_fault_breaks_a_promise_even_seeds() {
    has_met(&part(0));
}

#[test]
fn the_same_seed_does_the_same_again() {
    for seed in [3, 24, 40] {
        let [first, second] = [(); 2].map(|()| explore(seed, None).expect("no failure").1);
        assert!(first.len() > 100);
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(
            (first.len(), differs.map(|at| (&first[at], &second[at]))),
            (second.len(), None),
            "seed {seed}"
        );
    }
    let [one, other] = [3, 4].map(|seed| explore(seed, None).expect("no failure").1);
    assert_ne!(one, other);
}
