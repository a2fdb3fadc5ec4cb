//! Random numbers that a seed repeats exactly: a finding names its seed, and CI tries the same inputs every time.

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and any seed will do.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// From octets (FNV-1a), so that how an input is cut depends on the input alone and a finding repeats from its file.
    pub fn of(octets: &[u8]) -> Self {
        Self(octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.bits() % end).unwrap_or(0)
    }
    /// One octet.
    pub fn byte(&mut self) -> u8 {
        self.bits().to_le_bytes()[0]
    }
    /// One of `items`, if there are any.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
    /// `octets` in pieces of random sizes.
    pub fn pieces<'a>(&mut self, mut octets: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = [1, 3, 17, 200][self.below(4)];
        let mut pieces = Vec::new();
        while !octets.is_empty() {
            let (piece, rest) = octets.split_at((1 + self.below(longest)).min(octets.len()));
            pieces.push(piece);
            octets = rest;
        }
        pieces
    }
}
