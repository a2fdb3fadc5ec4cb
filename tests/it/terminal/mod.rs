//! Writing and reading at the terminal and in pipes: `compose`, `reply`, `forward`, `read`, `save`, `search`.

mod finding;
mod pty;
mod reading;
mod senders;
mod writing;

use crate::support::{Demo, run_with};
use std::fs;

pub const ALICE: &str = "alice@example.net";
pub const BOB: &str = "bob@example.com";

/// Puts messages into a user's INBOX as they are; they get the UIDs 1, 2, ….
pub fn import(demo: &Demo, user: usize, messages: &[&[u8]]) {
    let maildir = demo.scratch().join("import");
    let _ = fs::remove_dir_all(&maildir);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(sub)).expect("made");
    }
    for (n, message) in messages.iter().enumerate() {
        fs::write(maildir.join(format!("cur/{n:06}.x:2,")), message).expect("written");
    }
    run_with(demo.client(user).arg("import").arg(&maildir), b"", 0);
}
