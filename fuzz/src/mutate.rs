//! From good inputs to nearly good ones: changes that know of lines, numbers and words get deeper than random bits.

use crate::{grammar, rng::Rng};

/// Longest input made; above it lie only more of the same, slower. Limits of lines and counts are all below.
pub const MAX_OCTETS: usize = 64 * 1024;
/// Most inputs kept beside the corpus.
const KEPT_MAX: usize = 2_000;
/// Most changes at once.
const MAX_STEPS: usize = 6;
/// Numbers at which programs go wrong.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "00",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
];
/// Octets at which grammars turn.
const OCTETS: &[u8] = b"\r\n\0 \t.<>()[]{}\"\\:;,@+-=*%&\x7f\x80\xff\xc3";

/// Makes inputs out of a corpus and a dictionary.
#[derive(Debug)]
pub struct Mutator<'a> {
    rng: Rng,
    corpus: &'a [Vec<u8>],
    words: &'a [&'a str],
    /// Inputs that did something new.
    kept: Vec<Vec<u8>>,
    grammar: Option<fn(&mut Rng) -> Vec<u8>>,
}

impl<'a> Mutator<'a> {
    /// The same seed, corpus and words give the same inputs.
    pub fn new(seed: u64, corpus: &'a [Vec<u8>], words: &'a [&'a str]) -> Self {
        Self { rng: Rng::new(seed), corpus, words, kept: Vec::new(), grammar: None }
    }

    /// With the grammar of a target, where it has one.
    #[must_use]
    pub fn for_target(mut self, target: &str) -> Self {
        self.grammar = grammar::of(target);
        self
    }

    /// An input to make others out of. Where there are too many, a random one goes.
    pub fn keep(&mut self, input: Vec<u8>) {
        if self.kept.len() < KEPT_MAX {
            self.kept.push(input);
        } else {
            let at = self.rng.below(KEPT_MAX);
            self.kept[at] = input;
        }
    }

    /// How many are kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = match (self.grammar, self.rng.below(3)) {
            (Some(rule), 0) => {
                let by_rule = rule(&mut self.rng);
                // As the rules made it, or changed like any other.
                if self.rng.below(2) == 0 {
                    return by_rule;
                }
                by_rule
            }
            (_, 1) if !self.kept.is_empty() => self.rng.pick(&self.kept).cloned().unwrap_or_default(),
            _ => self.rng.pick(self.corpus).cloned().unwrap_or_default(),
        };
        for _ in 0..=self.rng.below(MAX_STEPS) {
            self.step(&mut input);
            input.truncate(MAX_OCTETS);
        }
        input
    }

    fn step(&mut self, input: &mut Vec<u8>) {
        let at = self.rng.below(input.len() + 1);
        match self.rng.below(16) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.rng.below(8);
                }
            }
            1 => {
                let new = self.octet();
                if let Some(byte) = input.get_mut(at) {
                    *byte = new;
                }
            }
            2 => {
                let new = self.octet();
                input.insert(at, new);
            }
            3 | 4 => {
                let word = self.rng.pick(self.words).copied().unwrap_or("");
                input.splice(at..at, word.bytes());
            }
            5 => {
                let word = self.rng.pick(self.words).copied().unwrap_or("");
                let end = (at + word.len()).min(input.len());
                input.splice(at..end, word.bytes());
            }
            6 => {
                let end = self.end(input, at);
                input.drain(at..end);
            }
            7 => {
                let end = self.end(input, at);
                let piece = input[at..end].to_vec();
                let to = self.rng.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            8 => {
                // Many times the same: nesting, counts, long lines.
                let end = (at + 1 + self.rng.below(12)).min(input.len());
                let piece = input[at.min(end)..end].to_vec();
                let times = [2, 10, 100, 1_100][self.rng.below(4)];
                input.splice(end..end, piece.repeat(times));
            }
            9 => input.truncate(at),
            10 => self.number(input),
            11 => {
                let other = self.rng.pick(self.corpus).map(Vec::as_slice).unwrap_or_default();
                let from = self.rng.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            12 => {
                let other = self.rng.pick(self.corpus).map(Vec::as_slice).unwrap_or_default();
                let from = self.rng.below(other.len() + 1);
                let to = (from + self.rng.below(200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => self.lines(input),
        }
    }

    fn octet(&mut self) -> u8 {
        if self.rng.below(2) == 0 { self.rng.byte() } else { self.rng.pick(OCTETS).copied().unwrap_or(0) }
    }

    fn end(&mut self, input: &[u8], at: usize) -> usize {
        let longest = [4, 40, 400][self.rng.below(3)];
        (at + self.rng.below(longest)).min(input.len())
    }

    /// Puts another number in the place of one.
    fn number(&mut self, input: &mut Vec<u8>) {
        let digit = |i: &usize| input[*i].is_ascii_digit();
        let starts: Vec<usize> =
            (0..input.len()).filter(|i| digit(i) && (*i == 0 || !digit(&(i - 1)))).collect();
        let Some(&start) = self.rng.pick(&starts) else { return };
        let length = input[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = if self.rng.below(3) == 0 {
            let old: u64 = String::from_utf8_lossy(&input[start..start + length]).parse().unwrap_or(0);
            if self.rng.below(2) == 0 { old.saturating_add(1) } else { old.saturating_sub(1) }.to_string()
        } else {
            self.rng.pick(NUMBERS).copied().unwrap_or("0").to_owned()
        };
        input.splice(start..start + length, number.bytes());
    }

    /// Removes, doubles, swaps or moves whole lines.
    fn lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = input.split_inclusive(|b| *b == b'\n').collect();
        if lines.is_empty() {
            return;
        }
        let (a, b) = (self.rng.below(lines.len()), self.rng.below(lines.len()));
        match self.rng.below(4) {
            0 => {
                lines.remove(a);
            }
            1 => lines.insert(b, lines[a]),
            2 => lines.swap(a, b),
            _ => {
                let other = self.rng.pick(self.corpus).map(Vec::as_slice).unwrap_or_default();
                let theirs: Vec<&[u8]> = other.split_inclusive(|b| *b == b'\n').collect();
                lines.insert(a, self.rng.pick(&theirs).copied().unwrap_or_default());
            }
        }
        *input = lines.concat();
    }
}
