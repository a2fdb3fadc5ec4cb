//! Random sessions, several at once on one account, against the server and against a small model of RFC 9051 and
//! RFC 7162.
//!
//! A script is drawn: who does what, in which order, with restarts of the server in between. Each step is done on the
//! server and on the model (`truth.rs`). What must hold at every step: the tagged response is the one that the model
//! gives; what each session was told (EXISTS, EXPUNGE, FETCH) makes sense, and is the truth at each NOOP; no EXPUNGE
//! comes while FETCH, STORE or SEARCH is answered; UIDs ascend and never come again; UIDVALIDITY stays; MODSEQs are in
//! the order of the changes (`modseq.rs`), and a client that comes back is told all that it missed (`resync.rs`);
//! commands in flight at the same time come to what one order of them gives (`together.rs`);
//! messages come with their meaning (`content.rs`), which SEARCH, SORT and THREAD (`thread.rs`) have to find in their
//! octets; a restore from a backup (`backup.rs`) goes back to what was, under other UIDVALIDITYs. At each restart and at
//! the end another session reads everything.
//!
//! What fails shrinks to a short script, which is shown as the commands and answers that it came to. `MODEL_SECONDS`
//! and `MODEL_SEED` of the environment make it longer, and other.

mod arrivals;
mod backup;
mod content;
mod fetch;
mod folders;
mod messages;
mod modseq;
mod order;
mod resync;
mod script;
mod search;
mod session;
mod store;
mod thread;
mod together;
mod truth;
mod world;

use super::harness::Server;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use script::{Act, Step, script};
use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};
use truth::Truth;
use world::{Checked, Tally, World};

/// How long scripts are drawn, by default.
const SECONDS: u64 = 10;
/// Scripts that are tried to shrink one that failed, and how long.
const SHRINKS: u32 = 2_000;
const SHRINK_MS: u32 = 60_000;

/// Memory where there is some: what a disk does is not asked here.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Runs a script from the beginning of a server's life. What it came to is in `said`.
fn run(script: &[Step], said: &mut String, tally: &mut Tally) -> Checked {
    let dir = folder();
    let mut truth = Truth::new();
    let ends = |step: &Step| matches!(step.act, Act::Restart | Act::Restore);
    let ending = script.iter().filter(|step| ends(step)).map(Some).chain([None]);
    for (steps, ending) in script.split(ends).zip(ending) {
        // All of a server ends with its runtime.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start_in(dir.path(), "").await;
            said.push_str("the server starts\n");
            let mut world = World::new(&server, &mut truth, said).await;
            world.observe().await?;
            for step in steps {
                world.step(step).await?;
            }
            for who in 0..world.sessions.len() {
                world.noop(who).await?;
            }
            world.observe().await?;
            *tally += world.tally;
            Checked::Ok(())
        })?;
        drop(runtime);
        if let Some(Act::Restore) = ending.map(|step| &step.act) {
            tally.restores += u64::from(truth.kept.is_some());
            backup::restore(dir.path(), &mut truth, said)?;
        }
    }
    Ok(())
}

#[test]
fn random_sessions_do_what_the_model_does() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let limit = Duration::from_secs(number("MODEL_SECONDS").unwrap_or(SECONDS));
    let (first, begin) = (number("MODEL_SEED").unwrap_or(1), Instant::now());
    let (mut seed, tally) = (first, Cell::new(Tally::default()));
    while seed == first || begin.elapsed() < limit {
        let octets: Vec<u8> = (0..4).flat_map(|_| seed.to_le_bytes()).collect();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
        let config = Config {
            cases: 1,
            max_shrink_iters: SHRINKS,
            max_shrink_time: SHRINK_MS,
            failure_persistence: None,
            ..Config::default()
        };
        let result = TestRunner::new_with_rng(config, rng).run(&script(), |steps| {
            let mut said = String::new();
            let mut all = tally.get();
            let done = run(&steps, &mut said, &mut all);
            tally.set(all);
            done.map_err(|fault| TestCaseError::fail(format!("{fault}, in:\n{said}")))
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(fault, _)) => panic!("MODEL_SEED={seed}: {fault}"),
            Err(error) => panic!("MODEL_SEED={seed}: {error}"),
        }
        seed += 1;
    }
    println!("{} scripts in {:.1?}, {:?}", seed - first, begin.elapsed(), tally.get());
}
