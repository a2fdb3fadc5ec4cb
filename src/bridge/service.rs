//! `bridge install` and `uninstall`: the bridge as a service of the user's own, under systemd.

use crate::{
    cli::BridgeRun,
    context::Context,
    exit::{Failure, Outcome},
};
use serde_json::json;
use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const UNIT: &str = "sealpost-bridge.service";
/// First line of a unit that may be replaced and removed.
const MARK: &str = "# Written by `sealpost bridge install`; the next one replaces it, `sealpost bridge uninstall` removes it.";
/// What a unit of the user may give up without the help of namespaces, which not every machine lets users have
/// (systemd.exec(5)): the bridge starts no program, maps no code, and talks to the network and the desktop's bus alone.
const HARDENING: &str = "\
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0
";

/// Where units of the user are (systemd.unit(5), "Unit File Load Path").
fn path() -> Result<PathBuf, Failure> {
    let from = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let configuration = from("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| from("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| Failure::usage("neither XDG_CONFIG_HOME nor HOME says where your configuration is"))?;
    Ok(configuration.join("systemd/user").join(UNIT))
}

/// Text for a unit: `%` begins a specifier there.
fn plain(path: &OsStr) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.replace('%', "%%")),
        _ => Err(Failure::failed(format_args!(
            "{} cannot stand in a unit of systemd; use a name without odd characters",
            path.display()
        ))),
    }
}

/// A word of a command line (systemd.service(5), "Command Lines").
fn word(text: &OsStr) -> Result<String, Failure> {
    let text = plain(text)?.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    Ok(format!("\"{text}\""))
}

struct Unit<'a> {
    program: &'a Path,
    dir: &'a Path,
    address: &'a str,
    options: Vec<String>,
    password_file: Option<&'a Path>,
    no_key_store: bool,
}

impl Unit<'_> {
    fn text(&self) -> Result<String, Failure> {
        let mut command =
            vec![word(self.program.as_os_str())?, "--dir".to_owned(), word(self.dir.as_os_str())?];
        let mut more = String::new();
        if let Some(file) = self.password_file {
            // Given by systemd in a folder that only this service reads.
            let file = plain(file.as_os_str())?;
            more.extend(["LoadCredential=password:", &file, "\n"]);
            command.extend(["--password-file".to_owned(), "${CREDENTIALS_DIRECTORY}/password".to_owned()]);
        }
        if self.no_key_store {
            more += "Environment=SEALPOST_KEY_STORE=none\n";
        }
        command.push("bridge".to_owned());
        for option in &self.options {
            command.push(word(OsStr::new(option))?);
        }
        Ok(format!(
            "{MARK}\n[Unit]\nDescription=Sealpost bridge for {}\n\n[Service]\nType=notify\nExecStart={}\n{more}Restart=on-failure\n\
             RestartSec=5\n{HARDENING}\n[Install]\nWantedBy=default.target\n",
            plain(OsStr::new(self.address))?,
            command.join(" ")
        ))
    }
}

/// A unit that somebody else wrote is not ours to touch.
fn is_ours(path: &Path) -> Result<bool, Failure> {
    match fs::read_to_string(path) {
        Ok(text) if text.starts_with(MARK) => Ok(true),
        Ok(_) => Err(Failure::failed(format_args!(
            "{} was not written by `sealpost bridge install`; move it away first",
            path.display()
        ))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Failure::file("cannot read", path, &e)),
    }
}

/// Runs `systemctl --user`; what it complains of, in a line.
fn systemctl(words: &[&str]) -> Result<(), String> {
    let output = Command::new("systemctl")
        .args(["--user", "--quiet"])
        .args(words)
        .output()
        .map_err(|e| format!("systemctl cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.lines().next().unwrap_or("systemctl failed").to_owned())
}

/// `sealpost bridge install`.
pub(super) fn install(run: &BridgeRun, context: &Context) -> Outcome {
    let path = path()?;
    is_ours(&path)?;
    let program = env::current_exe()?;
    let dir = std::path::absolute(context.dir())?;
    let password_file = match &context.password_file {
        // Looked at now, so that a mistake shows here and not in the service's log.
        Some(file) => {
            crate::secrets::from_file(file)?;
            Some(std::path::absolute(file)?)
        }
        None => None,
    };
    let unit = Unit {
        program: &program,
        dir: &dir,
        address: context.client.address()?.as_str(),
        options: run.words()?,
        password_file: password_file.as_deref(),
        no_key_store: env::var_os("SEALPOST_KEY_STORE").is_some_and(|word| word == "none"),
    }
    .text()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut new, unit.as_bytes())?;
        new.persist(&path).map(drop).map_err(|e| e.error)
    };
    write().map_err(|e| Failure::file("cannot write", &path, &e))?;
    let started = systemctl(&["daemon-reload"])
        .and_then(|()| systemctl(&["enable", UNIT]))
        // What runs already takes the new options, too.
        .and_then(|()| systemctl(&["restart", UNIT]));
    let out = context.output;
    out.line(format!("Wrote {}", path.display()))?;
    match &started {
        Ok(()) => {
            out.line("The bridge runs, and starts with your session from now on. To have it run while you are not signed in:")?;
            out.line("  loginctl enable-linger")?;
            out.line("What to enter in a mail program: sealpost bridge info")?;
        }
        Err(why) => {
            out.line(format!("It was not started: {}", crate::output::one_line(why)))?;
            out.line("Where your systemd runs, start it with:")?;
            out.line(format!("  systemctl --user daemon-reload && systemctl --user enable --now {UNIT}"))?;
        }
    }
    out.object(&json!({ "unit": path, "started": started.is_ok(), "reason": started.err() }))?;
    Ok(ExitCode::SUCCESS)
}

/// `sealpost bridge uninstall`.
pub(super) fn uninstall(context: &Context) -> Outcome {
    let path = path()?;
    let there = is_ours(&path)?;
    let out = context.output;
    if there {
        let stopped = systemctl(&["disable", "--now", UNIT]);
        fs::remove_file(&path).map_err(|e| Failure::file("cannot remove", &path, &e))?;
        out.line(format!("Removed {}", path.display()))?;
        match stopped.and_then(|()| systemctl(&["daemon-reload"])) {
            Ok(()) => {
                out.line("The bridge no longer runs. Its folder, your mail and your keys are as they were.")?;
            }
            Err(why) => {
                out.line(format!(
                    "Whether it still runs is not known ({}). To stop it:",
                    crate::output::one_line(&why)
                ))?;
                out.line(format!("  systemctl --user stop {UNIT}"))?;
            }
        }
    } else {
        out.line("No bridge is installed.")?;
    }
    out.object(&json!({ "unit": path, "removed": there }))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn words_of_a_unit_come_out_as_they_were() {
        for (text, written) in [
            ("/usr/bin/sealpost", "\"/usr/bin/sealpost\""),
            ("/home/a b/100%/$x", "\"/home/a b/100%%/$$x\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ] {
            assert_eq!(word(OsStr::new(text)).expect("plain enough"), written);
        }
        for odd in ["a\nExecStartPre=/bin/x", "a\u{7f}"] {
            assert!(word(OsStr::new(odd)).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_service_gets_the_options_that_install_was_given() {
        let run = |words: &[&str]| {
            let cli =
                crate::cli::Cli::try_parse_from(["sealpost", "bridge"].iter().chain(words)).expect("parsed");
            let crate::cli::Command::Bridge(bridge) = cli.command else { panic!("not a bridge") };
            bridge.run
        };
        for words in [
            &[][..],
            &["--imap-port", "1143", "--submission-port", "1465", "--listen", "::1"],
            &["--name", "mail.lan", "--name", "other.lan", "--account", "/srv/a b", "--lock-after", "30"],
            &["--allow-plain", "--trust-first-use", "--no-background-index"],
            &["--sealed-only"],
        ] {
            let asked = run(words);
            let written = asked.words().expect("absolute");
            let again = run(&written.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(format!("{again:?}"), format!("{asked:?}"));
        }
        // An index made anew at each start would never be done.
        assert!(!run(&["--rebuild-index"]).words().expect("none").contains(&"--rebuild-index".to_owned()));
    }
}
