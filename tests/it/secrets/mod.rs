//! R17, R18, profile §10: no secret is anywhere but where it must be. All that servers and clients write, say or show is
//! searched for every secret in every encoding (`encodings`), against a table of what may be where (`rules`). In each
//! place something harmless is planted and must be found, so that finding nothing means something.

mod dumps;
mod encodings;
pub mod memory;
mod rules;
mod search;
mod story;
mod wire;
mod world;

use memory::Stretch;
use rules::{Judge, Kind, PLACES, Place};
use std::{fs, path::Path};
use story::{BOB, Story};
use world::{PLANTED_VARIABLE, Speaker, World, copy};

fn place_in_client(path: &Path) -> Place {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("secrets.json") => Place::ClientSecrets,
        Some("seen.json") => Place::ClientSeen,
        _ => Place::ClientFolder,
    }
}

fn place_in_server(path: &Path) -> Place {
    let is = |part: &str| path.components().any(|c| c.as_os_str() == part);
    match path.file_name().and_then(|name| name.to_str()) {
        _ if is("data") => Place::ServerData,
        Some("log" | "log-of-the-killed" | "stdout") => Place::ServerLog,
        _ => Place::ServerFiles,
    }
}

/// Everything that can be looked at now.
fn judge(world: &World, judge: &mut Judge) {
    for reel in world.taps.outside.reels() {
        judge.octets(Place::Wire, &reel.label, &reel.octets);
    }
    for reel in world.taps.inside.reels() {
        let up = reel.label.ends_with("to the server");
        judge.octets(if up { Place::TlsUp } else { Place::TlsDown }, &reel.label, &reel.octets);
    }
    for reel in world.taps.control.reels() {
        judge.octets(Place::Control, &reel.label, &reel.octets);
    }
    for (speaker, what, octets) in &world.outputs {
        let place = match speaker {
            Speaker::Reader => Place::ReadOutput,
            Speaker::Lister => Place::ListOutput,
            Speaker::Administrator => Place::AdminOutput,
            Speaker::Other => Place::Output,
        };
        judge.octets(place, what, octets);
    }
    for (place, what, image) in &world.memories {
        judge.memory(*place, what, image);
    }
    let seen = world.seen();
    for line in &seen.command_lines {
        judge.octets(Place::CommandLine, "a command line", line);
    }
    for environment in &seen.environments {
        judge.octets(Place::Environment, "an environment", environment);
    }
}

#[test]
fn r17_r18_no_secret_is_out_of_place() {
    let mut story = Story::new();
    story.tell();
    let Story { mut world, .. } = story;
    world.taps.settle();
    // The disk three times: as it is now, with its write-ahead log; after kill -9; and after an orderly end.
    let copies = world.path("copies");
    for n in 0..2 {
        copy(&world.setups[n].path("."), &copies.join(format!("running-{n}")));
    }
    world.servers[0].signal("KILL");
    world.servers[0].wait();
    copy(&world.setups[0].path("."), &copies.join("killed"));
    fs::rename(world.setups[0].path("log"), world.setups[0].path("log-of-the-killed")).expect("renamed");
    // The clients' taps lead to where it was; nobody asks any more.
    world.servers[0] = world.serve(0);
    for server in world.servers.drain(..) {
        assert!(server.end().success());
    }
    for n in 0..2 {
        copy(&world.setups[n].path("data"), &copies.join(format!("store-{n}")));
        let secret = world.taps.runtime.block_on(async {
            use sealpost_store::account::Accounts as _;
            let opened = sealpost_store::sqlite::SqliteStore::open(&copies.join(format!("store-{n}")));
            opened.expect("the store opens").server_secret().await.expect("a secret")
        });
        world.know(Kind::ServerSecret, "the secret behind false salts", secret);
        fs::remove_dir_all(copies.join(format!("store-{n}"))).expect("removed");
    }

    // What is planted: bob's address stands almost everywhere, in `secrets.json` and `seen.json` what they are for; the
    // rest is put there.
    world.know(Kind::Planted, "bob's address", BOB);
    world.know(Kind::Planted, "a variable", PLANTED_VARIABLE);
    fs::write(world.temporary().join("planted"), BOB).expect("written");
    fs::write(world.setups[1].path("planted"), BOB).expect("written");

    let mut verdict = Judge::new(&world.secrets());
    judge(&world, &mut verdict);
    let mut files = verdict.folder(&copies, place_in_server);
    for n in 0..2 {
        files += verdict.folder(&world.setups[n].path("."), place_in_server);
    }
    files += verdict.folder(&world.path("clients"), place_in_client);
    files += verdict.folder(&world.temporary(), |_| Place::Temporary);
    verdict.file(Place::Backup, &world.path("backup.tar"));

    assert!(verdict.leaks.is_empty(), "{} leaks:\n{}", verdict.leaks.len(), verdict.leaks.join("\n"));
    let memory = [Place::ServerMemory, Place::ClientMemory, Place::ChooserMemory];
    for place in PLACES.iter().filter(|place| world.reads_memory || !memory.contains(place)) {
        assert!(
            verdict.seen.iter().any(|(_, seen)| seen == place),
            "nothing was found in {place:?}, as if nobody looked"
        );
    }
    // Where secrets may be they are: the searcher knows them.
    for found in [
        (Kind::Seed, Place::ClientSecrets),
        (Kind::LoginHash, Place::ClientSecrets),
        (Kind::LoginHash, Place::TlsUp),
        (Kind::Code, Place::TlsUp),
        (Kind::Code, Place::Control),
        (Kind::Code, Place::AdminOutput),
        (Kind::AppPassword, Place::TlsUp),
        (Kind::AppPassword, Place::AdminOutput),
        (Kind::Text, Place::ReadOutput),
        (Kind::Subject, Place::ListOutput),
        (Kind::TlsKey, Place::ServerFiles),
        (Kind::ServerSecret, Place::ServerData),
        (Kind::ServerSecret, Place::Backup),
    ] {
        assert!(verdict.seen.contains(&found), "{found:?} was not found");
    }
    for kind in [Kind::Password, Kind::Seed] {
        assert!(!world.reads_memory || verdict.seen.contains(&(kind, Place::ClientMemory)), "{kind:?}");
    }
    let traced = fs::read_to_string(world.setups[0].path("log-of-the-killed")).expect("a log");
    assert!(traced.contains("TRACE"), "the log is not at trace level");
    assert!(files > 40 && verdict.octets > 4_000_000, "{files} files, {} octets", verdict.octets);
}

/// The searcher and the table notice each kind of secret in each place where it must not be.
#[test]
fn a_planted_secret_is_found_in_every_place() {
    let password = "orchid tunnel velvet captain drizzle mosaic";
    // Of a kind that may be nowhere.
    let secrets = [(Kind::KeyHash, "the secret".to_owned(), password.as_bytes().to_vec())];
    let folder = tempfile::tempdir().expect("a folder");
    for place in PLACES {
        let mut judge = Judge::new(&secrets);
        judge.octets(place, "octets", format!("AUTH HASHEDPASS {password}").as_bytes());
        assert_eq!(judge.leaks.len(), 1, "{place:?}");
        let stretch = Stretch { begin: 0, name: "[heap]".to_owned(), octets: password.as_bytes().to_vec() };
        judge.memory(place, "the memory", &[stretch]);
        assert_eq!(judge.leaks.len(), 2, "{place:?}: {:?}", judge.leaks);
        let path = folder.path().join("file");
        fs::write(&path, format!("a log line\npassword={:?}\n", password.as_bytes())).expect("written");
        judge.file(place, &path);
        assert!(
            judge.leaks.len() > 2 && judge.leaks[2].contains("decimal list at octet 21"),
            "{:?}",
            judge.leaks
        );
    }
    let mut judge = Judge::new(&secrets);
    judge.folder(folder.path(), |_| Place::ServerData);
    assert!(!judge.leaks.is_empty());
}
