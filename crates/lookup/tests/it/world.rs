//! What every test here needs.

use crate::fake::{Ca, Fake, Script, script};
use sealpost_lookup::{
    Lookup, LookupConfig, Settings,
    zone::{Zone, ZoneServer},
};
use sealpost_proto::{
    address::{Domain, Mailbox},
    key::PublicKey,
    time::{Clock, Timestamp},
};
use std::{net::Ipv4Addr, sync::Arc};

pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) dns: ZoneServer,
}

/// 2026-11-23, so that statements made in tests have their time.
pub(crate) const NOW: Timestamp = Timestamp(1_795_470_000);

struct Fixed;
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }
}

impl World {
    pub(crate) async fn new(zone: impl FnOnce(&mut Zone)) -> Self {
        let mut example = Zone::new("example.net");
        zone(&mut example);
        let dns = ZoneServer::start("127.0.0.1:0".parse().unwrap(), vec![example]).await.unwrap();
        Self { ca: Ca::new(), dns }
    }
    pub(crate) fn zone(&self, zone: impl FnOnce(&mut Zone)) {
        let mut example = Zone::new("example.net");
        zone(&mut example);
        self.dns.replace(vec![example]);
    }
    /// `mx_port` 25 where `None`; 465 and 443 are moved to `submissions_port` and `https_port`.
    pub(crate) fn lookup(&self, mx_port: Option<u16>, submissions_port: u16, https_port: u16) -> Lookup {
        let config = LookupConfig {
            dns: Some(self.dns.address()),
            ca_file: Some(self.ca.file()),
            mx_port,
            ehlo_name: Some("client.example".into()),
        };
        let settings = Settings { clock: Arc::new(Fixed), https_port, submissions_port };
        Lookup::with_settings(config, settings).unwrap()
    }
    pub(crate) async fn implicit(&self, name: &str, script: Script) -> Fake {
        Fake::start(Some(self.ca.acceptor(name)), true, script).await
    }
    pub(crate) async fn starttls(&self, name: &str, script: Script) -> Fake {
        Fake::start(Some(self.ca.acceptor(name)), false, script).await
    }
}

pub(crate) fn domain() -> Domain {
    Domain::parse("example.net").unwrap()
}

pub(crate) fn mailboxes(locals: &[&str]) -> Vec<Mailbox> {
    locals.iter().map(|local| Mailbox::parse(&format!("{local}@example.net")).unwrap()).collect()
}

pub(crate) fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// The base point of the curve: a key like any other.
pub(crate) fn key() -> PublicKey {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    PublicKey::from_ed25519(&point).unwrap()
}

pub(crate) const EHLO: &str = "250-mail\r\n250-PIPELINING\r\n250-AUTH HASHEDPASS SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n250-ENCRYPTMESSAGE\r\n250-SIGNMESSAGE\r\n250-STARTTLS\r\n250 XSEALPOST 1\r\n";
pub(crate) const EHLO_DRAFT: &str =
    "250-mail\r\n250-ENCRYPTMESSAGE\r\n250-SIGNMESSAGE\r\n250-STARTTLS\r\n250 AUTH HASHEDPASS\r\n";

/// A server of the draft alone, with a key for alice.
pub(crate) fn draft_server() -> Script {
    let key = format!("220 ed25519 {}\r\n", key().wire());
    script(&[
        ("EHLO", EHLO_DRAFT),
        ("STARTTLS", "220 go\r\n"),
        ("PUBKEY alice@example.net", &key),
        ("PUBKEY bob@example.net", "550 No public key available for bob@example.net\r\n"),
        ("PUBKEY carol@example.net", "450 4.7.1 Too many\r\n"),
        ("PUBKEY dave@example.net", "220 ed25519 QUJD\r\n"),
        ("PUBKEY erin@example.net", "551 5.7.1 Not a domain of this server\r\n"),
        ("PUBKEY", "502 5.5.1 What?\r\n"),
    ])
}
