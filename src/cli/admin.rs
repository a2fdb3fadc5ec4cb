//! Options of the commands for administrators.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `sealpost serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the configuration and the certificates, then end
    #[arg(long)]
    pub check: bool,
    /// End when standard input does: a leash for programs that start a server
    #[arg(long, hide = true)]
    pub until_stdin_closes: bool,
}

/// The server's configuration file, for commands of the administrator.
#[derive(Debug, Args)]
pub struct ServerConfig {
    /// The server's configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// `sealpost user`.
#[derive(Debug, Args)]
pub struct User {
    #[command(flatten)]
    pub server: ServerConfig,
    #[command(subcommand)]
    pub action: UserAction,
}

/// `sealpost user …`.
#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// Make an account and print its one-time enrolment code
    Add {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
    },
    /// All accounts
    List,
    /// Print a new enrolment code for a user who forgot the password; contacts will see an unsigned key change
    Reset {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
    },
    /// What an account holds and may hold; with a value, sets that
    Quota {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
        /// Octets (K, M, G, T for 1024 and its powers: 5G), `none`, or `default` for what the configuration says
        #[arg(value_name = "QUOTA")]
        quota: Option<String>,
        /// How many messages: a number, `none`, or `default` for what the configuration says
        #[arg(long, value_name = "NUMBER")]
        messages: Option<String>,
    },
    /// Remove an account with all its mail
    Remove {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
    },
}

/// `sealpost app-password`.
#[derive(Debug, Args)]
pub struct AppPassword {
    #[command(flatten)]
    pub server: ServerConfig,
    #[command(subcommand)]
    pub action: AppPasswordAction,
}

/// `sealpost app-password …`.
#[derive(Debug, Subcommand)]
pub enum AppPasswordAction {
    /// Make a password for an ordinary mail program; it is shown once
    Add {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
        /// A name to know it by
        #[arg(value_name = "NAME")]
        name: String,
        /// Take the password in FILE (20 characters or more) instead of a random one
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// The names of an account's app passwords
    List {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
    },
    /// Revoke one
    Revoke {
        /// Address
        #[arg(value_name = "ADDR")]
        address: String,
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `sealpost queue`.
#[derive(Debug, Args)]
pub struct Queue {
    #[command(flatten)]
    pub server: ServerConfig,
    #[command(subcommand)]
    pub action: QueueAction,
}

/// `sealpost queue …`.
#[derive(Debug, Subcommand)]
pub enum QueueAction {
    /// Messages that wait, where to, and the last error
    List,
}

/// `sealpost backup`.
#[derive(Debug, Args)]
pub struct Backup {
    #[command(flatten)]
    pub server: ServerConfig,
    /// File to write (a tar archive, for its owner alone); one of that name is replaced once the new one is whole
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `sealpost restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// What `sealpost backup` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration file of the server that is to serve it; its data_dir must be empty or not there
    #[arg(long, value_name = "FILE", required_unless_present = "data_dir")]
    pub config: Option<PathBuf>,
    /// The folder to restore into, instead of the configuration's
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub data_dir: Option<PathBuf>,
}
