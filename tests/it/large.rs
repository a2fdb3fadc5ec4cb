//! A mail of 50 MB goes through, with bounded memory everywhere.

use crate::support::{Demo, children, eventually, peak_memory_kib, stderr, stdout};
use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
    time::Duration,
};

/// Size of the attachment.
const OCTETS: usize = 50_000_000;

/// Most memory that the client and each server may have held at any time, in KiB: less than twice the attachment
/// would take if it were held once and encoded once.
const LIMIT_KIB: u64 = 100 * 1024;

/// Octets that do not compress and do not repeat, the same in every run (xorshift64*).
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
    };
    let mut octets = Vec::with_capacity(OCTETS + 8);
    while octets.len() < OCTETS {
        octets.extend_from_slice(&next());
    }
    octets.truncate(OCTETS);
    octets
}

/// Runs to the end and says how much memory the process held at most.
pub fn measured(command: &mut Command) -> (Output, u64) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let pid = child.id();
    // The figure only grows while the process lives, so the last look is close to its end.
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(kib) = peak_memory_kib(pid) {
            peak = kib;
            std::thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let output = child.wait_with_output().expect("it ran");
    (output, watch.join().expect("it does not panic"))
}

#[test]
fn fifty_megabytes_go_through_with_bounded_memory() {
    let demo = Demo::start(&[]);
    let noise = noise();
    let attachment = demo.scratch().join("noise.bin");
    fs::File::create(&attachment).and_then(|mut f| f.write_all(&noise)).expect("written");
    let mut send = demo.client(0);
    send.args(["--json", "send", "--to", "bob@example.com", "--subject", "large", "--attach"])
        .arg(&attachment)
        .arg("/dev/null");
    let (output, sender) = measured(&mut send);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    eventually("the large message", || {
        let (_, list) = demo.json(1, &["list"]);
        list["messages"].as_array().is_some_and(|m| !m.is_empty()).then_some(())
    });
    let saved = demo.scratch().join("saved");
    let (output, reader) = measured(demo.client(1).args(["--json", "save", "last", "--to"]).arg(&saved));
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(fs::read(saved.join("noise.bin")).expect("saved") == noise, "the attachment came out otherwise");
    // Sent on, it is set aside meanwhile, sealed.
    let mut forward = demo.client(1);
    let (output, forwarder) =
        measured(forward.args(["--json", "forward", "last", "--to", "alice@example.net", "/dev/null"]));
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    eventually("the forwarded message", || {
        let (_, list) = demo.json(0, &["list"]);
        list["messages"].as_array().is_some_and(|m| !m.is_empty()).then_some(())
    });
    let servers: Vec<u64> = children(demo.pid()).into_iter().filter_map(peak_memory_kib).collect();
    assert_eq!(servers.len(), 2, "both servers are alive");
    let report = format!(
        "sender {sender} KiB, reader {reader} KiB, forwarder {forwarder} KiB, servers {servers:?} KiB"
    );
    println!("{report}");
    assert!(
        servers.iter().chain([&sender, &reader, &forwarder]).all(|kib| *kib > 0 && *kib < LIMIT_KIB),
        "{report}"
    );
}
