//! IMAPClient, which Python programs use: `tests/interop/client.py`.

use super::{ALICE, HOST, TOKEN, World};
use crate::{support::tools, tree::root};

#[test]
fn imapclient_idles_moves_and_searches() {
    let world = World::new();
    let mut python = world.program("/usr/bin/python3");
    python
        .env("PYTHONPATH", tools().join("python"))
        .env("PASSWORD", TOKEN)
        .arg(root().join("tests/interop/client.py"))
        .args([HOST, &world.port("imaps").to_string()])
        .arg(world.ca())
        .arg(ALICE);
    assert!(World::succeed(&mut python).ends_with("ok\n"));
}
