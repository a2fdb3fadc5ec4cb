//! Backups: recipes of the target `backup`, whole or with one thing about them wrong.

use super::{one, rarely};
use crate::Rng;

/// What does not belong into a backup.
const STRANGE: &[&str] = &[
    "entry 0 ../outside x",
    "entry 0 /outside x",
    "entry 0 objects/../../outside x",
    "entry 0 objects/aa/outside x",
    "entry 0 store.db x",
    "entry 0 SHA256SUMS x",
    "entry 1 store.db ../store.db",
    "entry 2 objects/aa ..",
    "entry 5 objects/aa ",
    "entry L name x",
    "entry x name 12 path=aa",
];

/// Somewhere in a file of up to `octets`, some bits.
fn bits(rng: &mut Rng, octets: usize) -> String {
    format!(" {} {}", rng.below(octets), 1 << rng.below(8))
}

/// A whole recipe.
pub(super) fn recipe(rng: &mut Rng) -> Vec<u8> {
    let mut steps = vec!["head".to_owned(), "db".to_owned(), "object 0".to_owned(), "object 1".to_owned()];
    // Damage that the sums vouch for: mostly to the first pages, which say what the others are.
    if rarely(rng, 3) {
        let octets = *rng.pick(&[100, 4_096, 1 << 20]).unwrap_or(&100);
        steps[1] += &bits(rng, octets);
    }
    if rarely(rng, 8) {
        steps[2] += &bits(rng, 1 << 17);
    }
    if rarely(rng, 4) {
        steps.remove(rng.below(4));
    }
    if rarely(rng, 4) {
        steps.insert(rng.below(steps.len() + 1), one(rng, STRANGE).to_owned());
    }
    if rarely(rng, 8) {
        let again = rng.below(steps.len());
        steps.push(steps[again].clone());
    }
    steps.push(match rng.below(8) {
        0 => format!("sums drop {}", rng.below(4)),
        1 => format!("sums twice {}", rng.below(4)),
        _ => "sums".to_owned(),
    });
    match rng.below(8) {
        0 => steps.push(format!("flip{}", bits(rng, 1 << 20))),
        1 => steps.push(format!("cut {}", rng.below(4_096))),
        2 => steps.push(one(rng, STRANGE).to_owned()),
        _ => {}
    }
    (steps.join("\n") + "\n").into_bytes()
}
