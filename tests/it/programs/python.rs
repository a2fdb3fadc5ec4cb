//! IMAPClient, which Python programs use: `tests/interop/client.py`.

use super::{Home, Login, World};
use crate::support::tools;
use std::process::Command;

/// A script that uses it.
pub fn imapclient(home: &Home, login: &Login, script: &str) -> Command {
    let mut python = home.script(script, login, &[login.imap]);
    python.env("PYTHONPATH", tools().join("python"));
    python
}

#[test]
fn imapclient_idles_moves_and_searches() {
    let world = World::new();
    let mut python = imapclient(&world.home, &world.login(), "client.py");
    assert!(World::succeed(&mut python).ends_with("ok\n"));
}
