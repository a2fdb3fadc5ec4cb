//! A device of its owner's: where its secrets lie, whether it is locked, how its bridge starts by itself and what mail
//! programs are told of it.

mod guide;
mod keystore;
mod lock;
mod programs;
mod service;

use crate::support::{Demo, eventually, sealpost, succeed};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

/// A new device of Alice's: its folder and what it is given to find the servers of the demo.
pub struct Device<'a> {
    demo: &'a Demo,
    pub dir: PathBuf,
    password: PathBuf,
    desktop: Option<&'a Desktop>,
}

impl<'a> Device<'a> {
    /// Signed in, with the key store of a desktop or without any.
    pub fn new(demo: &'a Demo, name: &str, desktop: Option<&'a Desktop>) -> Self {
        let (dir, password) = (demo.scratch().join(name), demo.scratch().join("alice.password"));
        fs::write(&password, demo.user(0, "password")).expect("written");
        let device = Self { demo, dir, password, desktop };
        succeed(
            device
                .knowing(&["login", "alice@example.net"])
                .args(["--dns", demo.json["dns"].as_str().expect("an address"), "--ca-file"])
                .arg(demo.home().join(demo.json["ca_file"].as_str().expect("a path")))
                .args(["--mx-port", demo.server(0, "smtp").rsplit(':').next().expect("a port")]),
        );
        device
    }

    /// `sealpost` on it, without the password.
    pub fn sealpost(&self, args: &[&str]) -> Command {
        let mut command = sealpost();
        // What the session of whoever runs the tests has is not for them.
        command
            .env_remove("SEALPOST_KEY_STORE")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        if let Some(desktop) = self.desktop {
            command.envs(desktop.environment());
        }
        command.arg("--dir").arg(&self.dir).args(args);
        command
    }

    /// The same with `--password-file`.
    pub fn knowing(&self, args: &[&str]) -> Command {
        let mut command = self.sealpost(args);
        command.arg("--password-file").arg(&self.password);
        command
    }

    /// Its `secrets.json`.
    pub fn secrets(&self) -> Value {
        let text = fs::read(self.dir.join("secrets.json")).expect("the secrets");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// What `bridge info` and others call the place of the secrets.
    pub fn custody(&self) -> &'static str {
        let secrets = self.secrets();
        match secrets.get("sealed") {
            None => {
                assert!(secrets["current"]["key"]["seed"].is_string(), "neither sealed nor open");
                "file"
            }
            Some(sealed) => {
                assert!(secrets.get("current").is_none(), "sealed and open");
                if sealed["entry"].is_string() { "key-store" } else { "locked" }
            }
        }
    }
}

/// A desktop session: a bus with a key store on it (gnome-keyring), in a home of its own.
pub struct Desktop {
    home: TempDir,
    address: String,
    bus: Child,
    keyring: Child,
}

impl Desktop {
    /// With its key store unlocked, as after a login.
    pub fn start() -> Self {
        let home = TempDir::new().expect("temp dir");
        let configuration = home.path().join("bus.conf");
        // Nothing is started by name: what the machine has installed is not for the tests.
        let text = format!(
            "<busconfig><type>session</type><listen>unix:dir={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            home.path().display()
        );
        fs::write(&configuration, text).expect("written");
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .args(["--nofork", "--nopidfile", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon starts; `make tools` installs it");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().expect("piped")).read_line(&mut address).expect("an address");
        let address = address.trim_end().to_owned();
        let mut keyring = Command::new("gnome-keyring-daemon")
            .args(["--foreground", "--unlock", "--components=secrets"])
            .env_clear()
            .envs(environment(home.path(), &address))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon starts; `make tools` installs it");
        keyring.stdin.take().expect("piped").write_all(b"the desktop's password").expect("taken");
        let desktop = Self { home, address, bus, keyring };
        eventually("a key store", || {
            desktop.call("ReadAlias", &["string:default"]).status.success().then_some(())
        });
        desktop
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        environment(self.home.path(), &self.address)
    }

    /// Calls a method of the Secret Service.
    fn call(&self, method: &str, arguments: &[&str]) -> Output {
        Command::new("dbus-send")
            .envs(self.environment())
            .args([
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
            ])
            .arg(format!("org.freedesktop.Secret.Service.{method}"))
            .args(arguments)
            .output()
            .expect("dbus-send runs; `make tools` installs it")
    }

    /// How many keys of devices it keeps.
    pub fn entries(&self) -> usize {
        let found = self.call("SearchItems", &["dict:string:string:xdg:schema,org.sealpost.DeviceKey"]);
        assert!(found.status.success(), "{found:?}");
        String::from_utf8_lossy(&found.stdout).matches("object path").count()
    }

    /// As when the screen was locked.
    pub fn lock(&self) {
        let locked = self.call("Lock", &["array:objpath:/org/freedesktop/secrets/collection/login"]);
        assert!(locked.status.success(), "{locked:?}");
    }

    /// Its key store is gone.
    pub fn end_key_store(&mut self) {
        drop(self.keyring.kill());
        drop(self.keyring.wait());
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.end_key_store();
        drop(self.bus.kill());
        drop(self.bus.wait());
    }
}

fn environment(home: &Path, address: &str) -> Vec<(&'static str, String)> {
    let home = home.display().to_string();
    vec![
        ("HOME", home.clone()),
        ("XDG_RUNTIME_DIR", home.clone()),
        ("XDG_DATA_HOME", format!("{home}/data")),
        ("DBUS_SESSION_BUS_ADDRESS", address.to_owned()),
    ]
}
