//! Camel, the mail library of Evolution, which uses NOTIFY: `tests/interop/evolution.py`.

use super::{ALICE, HOST, TOKEN, World};
use crate::{support::tools, tree::root};

/// What another session does, also where removals are told by UID (QRESYNC).
#[test]
fn evolution_hears_of_events_without_asking() {
    for qresync in [false, true] {
        let world = World::new();
        let mut python = world.program("/usr/bin/python3");
        python
            .env("PASSWORD", TOKEN)
            .env("CAMEL_DEBUG", "imapx:io")
            .env(
                "EDS_CAMEL_PROVIDER_DIR",
                tools().join("evolution/usr/lib/evolution-data-server/camel-providers"),
            )
            // Its settings are those of nobody.
            .env("GSETTINGS_BACKEND", "memory")
            .arg(root().join("tests/interop/evolution.py"))
            .args([HOST, &world.port("imaps").to_string()])
            .arg(world.ca())
            .arg(ALICE)
            .args(qresync.then_some("qresync"));
        assert_eq!(World::succeed(&mut python), "ok\n");
    }
}
