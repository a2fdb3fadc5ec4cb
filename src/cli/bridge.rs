//! Options of `sealpost bridge`.

use super::SendPolicy;
use clap::{Args, Subcommand};
use std::{net::IpAddr, path::PathBuf};

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
    Info,
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
    #[command(flatten)]
    pub policy: SendPolicy,
}
