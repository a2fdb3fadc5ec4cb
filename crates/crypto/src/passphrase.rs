//! Generated passphrases: six words of the EFF large list, 77 bits (profile §3).

/// Six words, separated by single spaces, drawn from the operating system's randomness.
pub fn generate() -> zeroize::Zeroizing<String> {
    todo!()
}
