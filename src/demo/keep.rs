//! `sealpost demo --keep --dir DIR`: the same two servers for other programs, described by `DIR/demo.json`. The
//! shape of that file is a contract; tests and checks from outside are written against it.

use super::{
    actor::Actor,
    world::{Plan, Server, World},
};
use crate::{
    admin,
    exit::{Failure, Outcome},
    output::{Output, Style},
    secrets, signals,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::ExitCode,
};
use zeroize::Zeroizing;

/// The name under which the demo's app passwords are made.
const APP_PASSWORD_NAME: &str = "demo";

/// What a user of the demo may know.
struct User {
    actor: Actor,
    app_password: Zeroizing<String>,
    password_file: PathBuf,
}

/// Sets up, writes demo.json, waits to be ended.
pub async fn keep(dir: &Path, no_limits: bool, output: Output) -> Outcome {
    let interrupted = signals::asked_to_end()?;
    tokio::pin!(interrupted);
    let dir = empty_folder(dir)?;
    let (world, users) = tokio::select! {
        made = set_up(&dir, no_limits, output) => made?,
        () = &mut interrupted => return Ok(signals::interrupted()),
    };
    let demo = description(&world, &users);
    publish(&dir.join("demo.json"), &demo)?;
    output.object(&demo)?;
    invite(output, &world, &users)?;
    interrupted.await;
    output.line("Ending both servers.")?;
    world.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Makes the folder, private since passwords lie in it; takes one that is there if it is empty.
fn empty_folder(dir: &Path) -> Result<PathBuf, Failure> {
    let made = || -> io::Result<PathBuf> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        if fs::read_dir(dir)?.next().is_some() {
            return Err(io::Error::other("it is not empty; give an empty folder or a new one"));
        }
        dir.canonicalize()
    };
    made().map_err(|e| Failure::file("cannot use", dir, &e))
}

async fn set_up(dir: &Path, no_limits: bool, output: Output) -> Result<(World, Vec<User>), Failure> {
    output.line("Starting two mail servers …")?;
    let world = World::start(dir, Plan { no_limits, ..Plan::default() }).await?;
    let mut users = Vec::new();
    for (name, server) in ["alice", "bob"].into_iter().zip(&world.servers) {
        output.line(format!("Enrolling {name}@{} …", server.domain))?;
        let mut actor = Actor::new(name, server, &world, dir)?;
        actor.enrol(&server.config).await?;
        let app_password = admin::app_password_add(&server.config, &actor.address, APP_PASSWORD_NAME).await?;
        let password_file = dir.join(format!("{name}.password"));
        secrets::to_new_file(&password_file, &actor.passphrase)?;
        users.push(User { actor, app_password, password_file });
    }
    Ok((world, users))
}

/// The contract.
fn description(world: &World, users: &[User]) -> Value {
    let server = |server: &Server| {
        let at = |port| server.at(port).to_string();
        json!({
            "domain": server.domain,
            "host": server.host,
            "smtp": at(server.ports.smtp),
            "submission": at(server.ports.submission),
            "submissions": at(server.ports.submissions),
            "imap": at(server.ports.imap),
            "imaps": at(server.ports.imaps),
            "pop3": at(server.ports.pop3),
            "pop3s": at(server.ports.pop3s),
            "config": server.config,
        })
    };
    let user = |user: &User| {
        json!({
            "address": user.actor.address.as_str(),
            "password": user.actor.passphrase.as_str(),
            "app_password": user.app_password.as_str(),
            "client_dir": user.actor.dir,
        })
    };
    json!({
        "ca_file": world.ca_file,
        "dns": world.dns.to_string(),
        "servers": world.servers.iter().map(server).collect::<Vec<_>>(),
        "users": users.iter().map(user).collect::<Vec<_>>(),
    })
}

/// Whole or not at all: whoever waits for the file never sees half of it.
fn publish(path: &Path, demo: &Value) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let new = path.with_extension("json.new");
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        serde_json::to_writer_pretty(&mut file, demo)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|e| Failure::file("cannot write", path, &e))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Three commands to paste.
fn invite(output: Output, world: &World, users: &[User]) -> Result<(), Failure> {
    let program = std::env::current_exe().map_or_else(|_| "sealpost".to_owned(), |path| quoted(&path));
    let [alice, bob] = users else { return Err(Failure::failed("the demo has two users")) };
    output.line("")?;
    output.line(output.paint(Style::Good, "Both servers are up. They end with Ctrl-C."))?;
    output.line("In another terminal, as Alice, as Bob, and as Bob's ordinary mail program:")?;
    output.line("")?;
    output.line(format!(
        "  echo 'Nobody but you can read this.' | {program} --dir {} send --to {} --subject Hello",
        quoted(&alice.actor.dir),
        bob.actor.address
    ))?;
    output.line(format!("  {program} --dir {} read last", quoted(&bob.actor.dir)))?;
    let com = &world.servers[1];
    output.line(format!(
        "  curl --silent --show-error --cacert {} --resolve {host}:{port}:{} --user {}:{} 'imaps://{host}:{port}/INBOX;MAILINDEX=1'",
        quoted(&world.ca_file),
        com.address,
        bob.actor.address,
        bob.app_password.as_str(),
        host = com.host,
        port = com.ports.imaps,
    ))?;
    output.line("")?;
    output.line(format!(
        "For programs: {}/demo.json",
        world.ca_file.parent().unwrap_or(Path::new(".")).display()
    ))?;
    output.line(format!(
        "Passwords are in {} and {}.",
        quoted(&alice.password_file),
        quoted(&bob.password_file)
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_shell() {
        for (path, expected) in
            [("/tmp/a-b", "/tmp/a-b"), ("/tmp/a b", "'/tmp/a b'"), ("/it's", "'/it'\\''s'")]
        {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(empty_folder(dir.path()).is_ok());
        assert!(empty_folder(&dir.path().join("new/deep")).is_ok());
        assert!(empty_folder(dir.path()).is_err());
    }
}
