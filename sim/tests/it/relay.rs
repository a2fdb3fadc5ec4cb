//! The relay between a store on a simulated disk and servers that fail.

use sealpost_sim::relay::{self, Settled};

/// Seeds in CI; `RELAY_SEEDS=10000` for a night.
fn seeds() -> u64 {
    std::env::var("RELAY_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60)
}

#[test]
fn every_message_is_delivered_or_returned_and_none_twice_without_need() {
    let mut all = Settled::default();
    for seed in 1..=seeds() {
        match relay::run(seed, true) {
            Ok(settled) => all.add(&settled),
            Err(what) => panic!("seed {seed}: {what}"),
        }
    }
    println!("{all:?}");
    assert!(all.delivered > 200 && all.returned > 20 && all.twice > 0 && all.crashes > 20, "{all:?}");
    assert!(all.tls > 50 && all.chunked > 50, "{all:?}");
}

/// What was settled comes back, or what was accepted is gone, if commits are not synced.
#[test]
fn a_log_that_is_not_synced_is_found() {
    let found = (1..=40).find_map(|seed| relay::run(seed, false).err());
    println!("{}", found.expect("one of the seeds shows it"));
}
