//! Options of `sealpost bridge`.

use super::SendPolicy;
use clap::{Args, Subcommand};
use std::{net::IpAddr, path::PathBuf};

/// Longest rest before a lock, in minutes: a week. Who wants longer wants none.
const LOCK_AFTER_MAX: i64 = 7 * 24 * 60;

/// `sealpost bridge`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bridge {
    #[command(subcommand)]
    pub action: Option<BridgeAction>,
    #[command(flatten)]
    pub run: BridgeRun,
}

/// `sealpost bridge …`.
#[derive(Debug, Subcommand)]
pub enum BridgeAction {
    /// What to enter in a mail program: servers, ports, user name, password
    Info {
        /// Write the settings as this program takes them, instead
        #[arg(long = "for", value_name = "PROGRAM")]
        program: Option<Program>,
    },
    /// Print the password for mail programs alone, for settings that ask a command for it
    Password,
    /// Have the bridge start by itself, as a systemd service of yours
    ///
    /// Takes the options of `sealpost bridge`. With --password-file systemd hands the file to the service, which unlocks
    /// the device with it when it starts: for machines where nobody could type the password.
    Install(BridgeRun),
    /// Undo what `install` did
    Uninstall,
}

/// Programs whose settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Program {
    /// Autoconfiguration (config-v1.1.xml), for the folder `isp` beside Thunderbird's program
    Thunderbird,
    /// A configuration profile (.mobileconfig) with account and certificate, for Apple Mail
    Apple,
    /// Lines for the configuration of NeoMutt or Mutt
    Neomutt,
    /// A section for ~/.mbsyncrc
    Mbsync,
    /// A section for ~/.msmtprc
    Msmtp,
}

/// `sealpost bridge` by itself.
#[derive(Debug, Args)]
pub struct BridgeRun {
    /// The client folder of another account to serve; may be repeated
    #[arg(long, value_name = "DIR")]
    pub account: Vec<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Port for IMAP [default: a free one at the first run, then the same]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub imap_port: Option<u16>,
    /// Port for submission [default: a free one at the first run, then the same]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub submission_port: Option<u16>,
    /// Another name of this machine under which mail programs connect; may be repeated
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Index a message when a mail program asks for it, not in the background
    #[arg(long)]
    pub no_background_index: bool,
    /// Make the index of all messages anew
    #[arg(long)]
    pub rebuild_index: bool,
    /// Lock the device, as `sealpost lock` does, when for so many minutes no mail was read, searched, stored or sent
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=LOCK_AFTER_MAX))]
    pub lock_after: Option<u32>,
    #[command(flatten)]
    pub policy: SendPolicy,
}

impl BridgeRun {
    /// The options as they are written, so that a service runs with them. Paths become absolute: it starts elsewhere.
    pub fn words(&self) -> std::io::Result<Vec<String>> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        for account in &self.account {
            let path = std::path::absolute(account)?;
            let path = path.into_os_string().into_string();
            option("--account", path.map_err(|_| std::io::Error::other("--account: the name is not UTF-8"))?);
        }
        option("--listen", self.listen.to_string());
        if let Some(port) = self.imap_port {
            option("--imap-port", port.to_string());
        }
        if let Some(port) = self.submission_port {
            option("--submission-port", port.to_string());
        }
        for name in &self.name {
            option("--name", name.clone());
        }
        if let Some(minutes) = self.lock_after {
            option("--lock-after", minutes.to_string());
        }
        let SendPolicy { allow_plain, sealed_only, trust_first_use } = self.policy;
        let flags = [
            ("--no-background-index", self.no_background_index),
            ("--allow-plain", allow_plain),
            ("--sealed-only", sealed_only),
            ("--trust-first-use", trust_first_use),
        ];
        words.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned()));
        Ok(words)
    }
}
