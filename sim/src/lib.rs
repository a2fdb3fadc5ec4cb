//! A simulation of Sealpost's store and queue over a disk that fails, against a small model: seeded, and the same seed
//! does the same again. `docs/decisions/0006-simulation.md` says how it is built and what it promises.

pub mod act;
pub mod body;
pub mod disk;
pub mod inspect;
pub mod look;
pub mod model;
pub mod peer;
pub mod relay;
pub mod rng;
pub mod script;
pub mod store;
pub mod world;

use script::{Plan, Step};
use world::{Breakage, Crashes, Outcome};

/// The script of a seed, and how its crashes are looked for.
pub fn plan(seed: u64) -> (Vec<Step>, Crashes) {
    let mut rng = rng::Rng::new(seed);
    let plan = Plan::of(&mut rng);
    // Now and then a short one with a crash at every access.
    if rng.one_in(10) {
        let plan = Plan { steps: 3 + rng.below(3), ..plan };
        return (script::script(plan, &mut rng), Crashes::Every);
    }
    (script::script(plan, &mut rng), Crashes::Some(2))
}

/// Runs the script of a seed.
pub fn explore(seed: u64, broken: Option<Breakage>) -> Outcome {
    let (script, crashes) = plan(seed);
    world::run(&script, seed, crashes, broken)
}

/// Leaves out of a failing script what it fails without, and tells the rest.
pub fn shrink(seed: u64, broken: Option<Breakage>) -> String {
    let (mut script, crashes) = plan(seed);
    let fails = |script: &[Step]| world::run(script, seed, crashes, broken).err();
    let Some(mut failure) = fails(&script) else { return "it does not fail again".into() };
    script.truncate(failure.step + 1);
    let mut size = script.len() / 2;
    while size > 0 {
        let mut at = 1;
        while at < script.len() {
            let mut shorter = script.clone();
            shorter.drain(at..(at + size).min(script.len()));
            match fails(&shorter) {
                Some(still) => (script, failure) = (shorter, still),
                None => at += size,
            }
        }
        size /= 2;
    }
    for at in 1..script.len() {
        while let Step::Round(ops) = &script[at] {
            let fewer = (0..ops.len()).find_map(|out| {
                let mut shorter = script.clone();
                if let Step::Round(ops) = &mut shorter[at] {
                    ops.remove(out);
                }
                fails(&shorter).map(|failure| (shorter, failure))
            });
            let Some(found) = fewer else { break };
            (script, failure) = found;
        }
    }
    format!("  {}\n{} (in step {})", failure.story.join("\n  "), failure.what, failure.step)
}
