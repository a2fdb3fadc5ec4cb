//! What the simulation has found, each as the script that shows it.

use super::{BROKEN, Crashes, Fault, Op, Step, log, world};
use sealpost_sim::script::LARGE;

/// Two accounts, then these steps, with a crash at every access.
fn holds(steps: &[Step]) {
    let first = Step::Round(vec![Op { what: 0, seed: 0 }, Op { what: 0, seed: 1 }]);
    let script: Vec<Step> = [first].into_iter().chain(steps.iter().cloned()).collect();
    for seed in 0..4 {
        if let Err(failure) = world::run(&script, seed, Crashes::Every, None) {
            panic!("{}\n{}", failure.story.join("\n"), failure.what);
        }
    }
}

fn failing_sync(class: u32, nth: u32) -> Step {
    let calls = log::Call::Sync.bit();
    Step::Fault(Fault { calls, classes: class, nth, kind: log::Kind::Fails, error: BROKEN, count: 1 })
}

/// SETPUBKEY and the like; the model says what comes of it.
fn round(what: u8, seed: u64) -> Step {
    Step::Round(vec![Op { what, seed }])
}

/// The kernel takes the pages of a log whose sync failed for clean. What a later start recovers from it must be written
/// again before it is copied into the database: otherwise a crash in the copying leaves a database of two halves.
#[test]
fn a_log_whose_sync_failed_is_written_again_at_the_next_start() {
    for nth in [1, 2] {
        holds(&[
            failing_sync(log::class::LOG, nth),
            round(31, 5),
            Step::Restart,
            round(31, 6),
            Step::Restart,
        ]);
        holds(&[
            Step::Kill { at: None },
            failing_sync(log::class::LOG, nth),
            round(31, 5),
            Step::Kill { at: None },
            round(31, 6),
            Step::Restart,
        ]);
    }
}

/// What was written and not yet synced when the process was killed is seen by everybody after the next start; a failing
/// power supply must not take it away again.
#[test]
fn what_a_start_shows_after_a_kill_stays() {
    for seed in 0..6 {
        holds(&[round(18, seed), Step::Kill { at: None }, Step::Crash { seed }, round(31, seed)]);
    }
}

/// A folder of objects that could not be synced when it was made is synced before anything in it is relied upon.
#[test]
fn a_folder_whose_sync_failed_is_synced_before_it_is_used() {
    let large = |tag| Step::Round(vec![Op { what: LARGE, seed: tag }]);
    for nth in [1, 2] {
        holds(&[failing_sync(log::class::FOLDER, nth), large(1), large(2), large(3), large(4)]);
    }
}

/// The folder of a store that was made, and whose process was killed before it had synced the folder above, is synced
/// by the next start.
#[test]
fn a_store_whose_making_was_cut_short_is_synced_by_the_next_start() {
    let made = Step::Round(vec![Op { what: 0, seed: 0 }, Op { what: 0, seed: 1 }]);
    for at in 0..6 {
        let script = [Step::Kill { at: Some(at) }, made.clone()];
        if let Err(failure) = world::run(&script, 1, Crashes::Every, None) {
            panic!("killed at access {at}: {}\n{}", failure.story.join("\n"), failure.what);
        }
    }
}
