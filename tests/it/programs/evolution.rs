//! Camel, the mail library of Evolution, which uses NOTIFY: `tests/interop/evolution.py`.

use super::{Home, Login, World};
use crate::support::tools;
use std::process::Command;

/// A script that uses it.
pub fn camel(home: &Home, login: &Login, script: &str) -> Command {
    let mut python = home.script(script, login, &[login.imap]);
    python
        .env(
            "EDS_CAMEL_PROVIDER_DIR",
            tools().join("evolution/usr/lib/evolution-data-server/camel-providers"),
        )
        // Its settings are those of nobody.
        .env("GSETTINGS_BACKEND", "memory");
    python
}

/// What another session does, also where removals are told by UID (QRESYNC).
#[test]
fn evolution_hears_of_events_without_asking() {
    for qresync in [false, true] {
        let world = World::new();
        let mut python = camel(&world.home, &world.login(), "evolution.py");
        python.env("CAMEL_DEBUG", "imapx:io").args(qresync.then_some("qresync"));
        assert_eq!(World::succeed(&mut python), "ok\n");
    }
}
