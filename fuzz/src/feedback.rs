//! Which inputs are worth keeping: those that made a target do something it had not done before.
//!
//! The stable compiler's own coverage (`-C instrument-coverage`) hands its counters out through a C interface, which
//! needs `unsafe`, and at the end of the process only. So the targets say themselves what happened, in words that do not
//! hold the input: events, reply codes, verdicts, kinds of errors. Runs of up to three of them are the map: a state
//! machine's new path is a new run of events.

use std::{cell::RefCell, collections::HashSet, hash::Hasher as _};

/// Longest run of things that happened after each other which counts as one.
const RUN: usize = 3;
/// Characters of a text that count.
const SHAPE_CHARS: usize = 40;
/// Places in the map; a target that fills it has said too much, and keeps nothing more.
const PLACES_MAX: usize = 1 << 18;

/// What has happened so far.
#[derive(Default)]
pub(crate) struct Map {
    known: HashSet<u64>,
    last: Vec<u64>,
    new: bool,
}

thread_local! {
    static MAP: RefCell<Map> = RefCell::default();
}

fn hash(words: &[u8]) -> u64 {
    // The same in every run of the program, so that a seed repeats.
    #[allow(deprecated, reason = "SipHash with fixed keys; its successor has random ones")]
    let mut hasher = std::hash::SipHasher::new();
    hasher.write(words);
    hasher.finish()
}

/// Something happened.
pub(crate) fn happened(what: &str) {
    MAP.with_borrow_mut(|map| {
        let Map { known, last, new } = map;
        last.push(hash(what.as_bytes()));
        if last.len() > RUN {
            last.remove(0);
        }
        for from in 0..last.len() {
            let run: Vec<u8> = last[from..].iter().flat_map(|n| n.to_le_bytes()).collect();
            *new |= known.len() < PLACES_MAX && known.insert(hash(&run));
        }
    });
}

/// The first words of a text, without digits: behind them there may be quoted input, which would make each one new.
pub(crate) fn shape(text: &str) -> String {
    let words =
        text.lines().next().unwrap_or_default().split(['"', '“', '<', '`']).next().unwrap_or_default();
    words.chars().filter(|c| !c.is_ascii_digit()).take(SHAPE_CHARS).collect()
}

/// Puts another target's map in the place of the present one.
pub(crate) fn swap(other: &mut Map) {
    MAP.with_borrow_mut(|map| std::mem::swap(map, other));
}

/// Whether there was anything new since this was asked the last time; begins a new run.
pub(crate) fn take() -> bool {
    MAP.with_borrow_mut(|map| {
        map.last.clear();
        std::mem::take(&mut map.new)
    })
}

/// Whether it ever happened.
#[cfg(test)]
pub(crate) fn has(what: &str) -> bool {
    let alone = hash(&hash(what.as_bytes()).to_le_bytes());
    MAP.with_borrow(|map| map.known.contains(&alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_is_what_did_not_happen_in_this_order() {
        swap(&mut Map::default());
        for (words, new) in [
            (["a", "b"], true),
            (["a", "b"], false),
            (["b", "a"], true),
            (["b", "a"], false),
            (["a", "c"], true),
        ] {
            for word in words {
                happened(word);
            }
            assert_eq!(take(), new, "{words:?}");
        }
        assert_eq!(shape("an error at 17: “x”\n17 | x"), "an error at : ");
    }
}
