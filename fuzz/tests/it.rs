//! Every target stands its corpus and the same thousand changed inputs each time.

use sealpost_fuzz::{Budget, Mutator, Rng, TARGETS, corpus, dictionary, run};
use std::{collections::HashSet, fs, path::Path};

/// Changed inputs for each target: all together take a few seconds.
const RUNS: u64 = 300;

#[test]
fn every_target_stands_its_corpus_and_the_same_changes() {
    for target in TARGETS {
        if let Err(finding) = run(*target, Budget::Runs(RUNS), 1) {
            panic!(
                "{}: {}\ninput: {:?}",
                finding.target,
                finding.message,
                String::from_utf8_lossy(&finding.input)
            );
        }
    }
}

#[test]
fn every_target_has_a_name_of_its_own_a_corpus_and_words() {
    let names: HashSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), TARGETS.len());
    for name in &names {
        assert!(!corpus(name).is_empty(), "{name} has no corpus");
        assert!(!dictionary(name).is_empty(), "{name} has no words");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in fs::read_dir(folder).expect("the corpora") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        assert!(names.contains(name.as_str()), "the corpus {name} is of no target");
    }
}

#[test]
fn a_seed_repeats_its_inputs() {
    let corpus = corpus("smtp-server");
    let words = dictionary("smtp-server");
    let inputs = |seed| {
        let mut mutator = Mutator::new(seed, &corpus, words);
        (0..100).map(|_| mutator.input()).collect::<Vec<_>>()
    };
    assert_eq!(inputs(7), inputs(7));
    assert_ne!(inputs(7), inputs(8));
    assert_eq!(Rng::of(b"x").bits(), Rng::of(b"x").bits());
}

#[test]
fn a_panic_is_found_and_its_input_made_small() {
    fn target(input: &[u8]) {
        assert!(!input.windows(4).any(|w| w == b"DATA"), "there it is");
    }
    std::panic::set_hook(Box::new(|_| {}));
    let found = run(("smtp-server", target), Budget::Runs(100), 1);
    let _ = std::panic::take_hook();
    let finding = found.expect_err("the corpus holds it");
    assert_eq!((finding.message.as_str(), finding.input.as_slice()), ("there it is", b"DATA".as_slice()));
}
