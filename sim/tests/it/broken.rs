//! The simulation can fail: what is broken on purpose is found, and within few seeds.

use super::{Breakage, explore, shrink};
use sealpost_sim::disk::log::class;

/// Seeds within which each is found.
const WITHIN: u64 = 40;

fn is_found(breakage: Breakage) {
    let found = (1..=WITHIN).find_map(|seed| Some((seed, explore(seed, Some(breakage)).err()?)));
    let (seed, failure) = found.unwrap_or_else(|| panic!("{breakage:?} is not found"));
    println!("{breakage:?}, seed {seed}: {}", failure.what);
}

#[test]
fn an_answer_before_the_commit() {
    is_found(Breakage::ReplyBeforeCommit);
}

/// `synchronous=OFF`, or NORMAL.
#[test]
fn a_log_that_is_not_synced() {
    is_found(Breakage::NoSync(class::LOG));
    is_found(Breakage::NoSync(class::LOG | class::DATABASE));
}

/// A checkpoint that does not wait for the database.
#[test]
fn a_database_that_is_not_synced() {
    is_found(Breakage::NoSync(class::DATABASE));
}

#[test]
fn an_object_that_is_not_synced() {
    is_found(Breakage::NoSync(class::OBJECT));
}

#[test]
fn a_folder_that_is_not_synced() {
    is_found(Breakage::NoSync(class::FOLDER));
}

/// What is told is short enough to be read.
#[test]
fn a_failing_script_is_shrunk() {
    let seed = (1..=WITHIN)
        .find(|seed| explore(*seed, Some(Breakage::NoSync(class::LOG))).is_err())
        .expect("one is found");
    let told = shrink(seed, Some(Breakage::NoSync(class::LOG)));
    assert!(told.contains("CreateAccount") && told.lines().count() <= 8, "{told}");
}
