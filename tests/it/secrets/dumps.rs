//! Core dumps: an ordinary process leaves its secrets in one, ours leave none.

use super::search::Searcher;
use crate::{
    server::{ALL_PORTS, Setup},
    support::{eventually, sealpost, succeed},
};
use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

const SECRET: &str = "walnut harbour ticket emerald sunday";

/// A command whose limit on core dumps is lifted, in `folder`, holding the secret in its environment.
fn unlimited(command: &Command, folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(folder).env("HELD", SECRET).stdin(Stdio::piped());
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

fn killed(child: &mut Child, signal: &str) -> ExitStatus {
    // Again and again: Rust's handler of SIGSEGV looks for a stack that overflowed, and only the second one kills.
    eventually("its end", || {
        let status = child.try_wait().expect("a child");
        if status.is_none() {
            succeed(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]));
        }
        status
    })
}

/// What a process that was killed by a signal left in its folder.
fn dumps(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    let cores =
        entries.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("core")));
    cores.map(|path| fs::read(path).expect("readable")).collect()
}

/// Where the kernel writes dumps beside the process: only there can they be read again.
fn dumps_lie_in_the_folder() -> bool {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    pattern.starts_with("core")
}

fn limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
    line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" ")
}

/// What an ordinary process leaves behind: without that, that ours leave nothing shows nothing.
fn an_ordinary_process_leaves_its_secret(searcher: &Searcher, signal: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sleep = Command::new("sleep");
    sleep.arg("100");
    let mut child = unlimited(&sleep, folder.path()).spawn().expect("it starts");
    eventually("exec", || (limit(child.id()) == "unlimited unlimited").then_some(()));
    eventually("sleep", || {
        let name = fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap_or_default();
        (name.trim() == "sleep").then_some(())
    });
    let status = killed(&mut child, signal);
    if dumps_lie_in_the_folder() {
        assert!(
            status.core_dumped(),
            "an ordinary process leaves none, so this test shows nothing: {status}"
        );
        let cores = dumps(folder.path());
        assert!(cores.iter().any(|core| !searcher.octets(core).is_empty()), "the secret is not in it");
    }
}

#[test]
fn r18_servers_and_clients_leave_no_core_dump() {
    let searcher = Searcher::new([SECRET.as_bytes()]);
    // Not where the machine forbids dumps to all, as some containers do.
    let limits_can_be_lifted =
        Command::new("sh").args(["-c", "ulimit -c unlimited"]).status().expect("sh runs").success();
    for signal in ["SEGV", "ABRT", "TRAP"] {
        if limits_can_be_lifted {
            an_ordinary_process_leaves_its_secret(&searcher, signal);
        }

        // The server.
        let setup = Setup::new("", ALL_PORTS);
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = setup.start_as(unlimited(&setup.command(), folder.path()));
        assert_eq!(limit(server.pid()), "0 0");
        let status = killed(&mut server.process, signal);
        assert!(status.signal().is_some() && !status.core_dumped(), "{status}");
        assert!(dumps(folder.path()).is_empty());

        // A client that has a password and waits for a code.
        let folder = tempfile::tempdir().expect("a folder");
        let mut enrol = sealpost();
        enrol.args(["--dir", "client", "--password-file", "password", "enrol", "alice@example.net"]);
        fs::write(folder.path().join("password"), SECRET).expect("written");
        let mut child = unlimited(&enrol, folder.path()).spawn().expect("it starts");
        eventually("the client", || (limit(child.id()) == "0 0").then_some(()));
        let status = killed(&mut child, signal);
        assert!(status.signal().is_some() && !status.core_dumped(), "{status}");
        assert!(dumps(folder.path()).is_empty());
    }
}
