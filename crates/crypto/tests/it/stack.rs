//! R18, profile §10: a derivation leaves nothing of the password on the stack that it ran on. The thread of a client
//! that derived stays, idle, for as long as the client works, and nothing else need write over its stack.

use sealpost_crypto::kdf::{self, Password};
use sealpost_proto::{
    address::Address,
    phc::{Cost, Salt},
};
use std::{fs::File, os::unix::fs::FileExt as _, thread};

/// Uncommon enough that no part of it is in the program, and short enough to fit into one block of BLAKE2b beside the
/// rest.
const PASSWORD: &str = "gusto scrimmage tubular obvious";
/// A piece of it that is worth something to whoever finds it: what lies beside it may be written over.
const PIECE_OCTETS: usize = 10;
/// How far down is looked: deeper than any derivation goes, and within a thread's stack.
const DEPTH_OCTETS: usize = 1024 * 1024;

/// How many octets below this frame pieces of the password are, read through the kernel: what this function's own calls
/// write over is far less than what hash functions use.
#[inline(never)]
fn left_below() -> Vec<usize> {
    let here = 0_u8;
    let top = std::ptr::from_ref(&here).addr();
    let mut octets = vec![0; DEPTH_OCTETS];
    let memory = File::open("/proc/self/mem").expect("a process may read its own memory");
    memory.read_exact_at(&mut octets, (top - DEPTH_OCTETS) as u64).expect("the stack is mapped");
    let pieces: Vec<&[u8]> = PASSWORD.as_bytes().windows(PIECE_OCTETS).collect();
    let found = octets.windows(PIECE_OCTETS).enumerate().filter(|(_, window)| pieces.contains(window));
    found.map(|(at, _)| DEPTH_OCTETS - at).collect()
}

/// Runs `derive` on a thread of its own, as a client does.
fn left_by(derive: impl FnOnce() + Send + 'static) -> Vec<usize> {
    let thread = thread::Builder::new().stack_size(2 * DEPTH_OCTETS).spawn(move || {
        derive();
        left_below()
    });
    thread.expect("a thread").join().expect("no panic")
}

/// The positive control: what a function leaves in its frame is found.
#[inline(never)]
fn leave() {
    let mut frame = [0_u8; 16 * 1024];
    frame[1024..][..PASSWORD.len()].copy_from_slice(PASSWORD.as_bytes());
    std::hint::black_box(&mut frame);
}

#[test]
fn r18_a_derivation_leaves_no_password_on_its_stack() {
    assert!(!left_by(leave).is_empty(), "what is on the stack is not found");
    let user = Address::parse("alice@example.net").expect("an address");
    for cost in [Cost { m_kib: 8, t: 1, p: 1 }, Cost { m_kib: 64, t: 2, p: 4 }, Cost::DEFAULT] {
        let password = || Password::new(PASSWORD).expect("short");
        let salt = || Salt::new([7; 16]).expect("16 octets");
        let (u, p, s) = (user.clone(), password(), salt());
        let left = left_by(move || drop(kdf::login_hash(&u, &p, &s, cost).expect("possible")));
        assert_eq!(left, [0_usize; 0], "by a login hash, {cost:?}");
        let (u, p, s) = (user.clone(), password(), salt());
        let left = left_by(move || drop(kdf::derive_key(&u, &p, &s, cost).expect("possible")));
        assert_eq!(left, [0_usize; 0], "by a key, {cost:?}");
    }
}
