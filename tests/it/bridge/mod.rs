//! The bridge as a process between mail programs and two real servers: what is composed on one side comes out on the
//! other, octet for octet, and lies sealed in between.

mod alike;
mod append;
mod away;
mod extensions;
mod imap;
mod index;
mod lost;
mod notify;
mod reconnect;
mod standing;
mod submission;

use crate::{
    server::Client,
    support::{Demo, eventually, sealpost, terminate},
};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// `sealpost bridge` on the folder of a user of the demo, ended when dropped.
pub struct Bridge {
    process: Child,
    /// Its first line.
    pub json: Value,
}

impl Bridge {
    pub fn start(demo: &Demo, user: usize, options: &[&str]) -> Self {
        let mut command = sealpost();
        command.arg("--dir").arg(demo.user(user, "client_dir"));
        Self::start_as(command, options)
    }

    /// By a command that names folder and servers.
    pub fn start_as(mut command: Command, options: &[&str]) -> Self {
        let mut process = command
            // The name that the tests' TLS client asks for.
            .args(["--json", "bridge", "--name", "mail.example.net"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bridge starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"));
        Self { process, json }
    }

    /// For `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A connection to one of its ports, in TLS.
    pub fn connect(&self, port: &str) -> Client {
        Client::connect(self.address(port)).tls(&self.ca())
    }

    /// The same, where it may not listen yet.
    pub fn try_connect(&self, port: &str) -> Option<Client> {
        Client::try_connect(self.address(port)).ok().map(|client| client.tls(&self.ca()))
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        self.json[name].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    pub fn text(&self, pointer: &str) -> String {
        self.json.pointer(pointer).and_then(Value::as_str).expect("a string").to_owned()
    }

    pub fn ca(&self) -> PathBuf {
        self.text("/ca_file").into()
    }

    /// Signed in.
    pub fn imap(&self) -> Client {
        let (client, answer) = self.imap_login();
        assert!(answer.contains("a OK "), "{answer}");
        client
    }

    /// With the answer to its login.
    pub fn imap_login(&self) -> (Client, String) {
        let mut client = self.connect("imap");
        assert!(client.line().starts_with("* OK "));
        let (user, password) = (self.text("/accounts/0/address"), self.text("/accounts/0/password"));
        let answer = client.imap(&format!("LOGIN {user} {password}"));
        (client, answer)
    }

    /// Signed in.
    pub fn submission(&self) -> Client {
        let mut client = self.connect("submission");
        assert!(client.line().starts_with("220 "));
        let (user, password) = (self.text("/accounts/0/address"), self.text("/accounts/0/password"));
        let message = sealpost_proto::base64::encode(format!("\0{user}\0{password}").as_bytes());
        assert!(client.smtp("EHLO program").starts_with("250-"));
        let answer = client.smtp(&format!("AUTH PLAIN {message}"));
        assert!(answer.starts_with("235 "), "{answer}");
        client
    }

    /// Sends a message; the reply to its end.
    pub fn send(&self, from: &str, to: &[&str], message: &str) -> String {
        let mut client = self.submission();
        assert!(client.smtp(&format!("MAIL FROM:<{from}>")).starts_with("250 "));
        for to in to {
            let answer = client.smtp(&format!("RCPT TO:<{to}>"));
            assert!(answer.starts_with("250 "), "{answer}");
        }
        assert!(client.smtp("DATA").starts_with("354 "));
        client.send(message.replace("\r\n.", "\r\n.."));
        client.smtp(".")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            terminate(self.process.id());
            drop(self.process.wait());
        }
    }
}

/// A user's mailbox as the mail server shows it to a program that does not go through the bridge.
pub fn straight(demo: &Demo, user: usize) -> Client {
    let address = demo.server(user, "imaps").parse().expect("an address");
    let ca = demo.json["ca_file"].as_str().expect("a path").to_owned();
    let mut client = Client::connect(address).tls_named(ca.as_ref(), &demo.server(user, "host"));
    assert!(client.line().starts_with("* OK "));
    let (name, password) = (demo.user(user, "address"), demo.user(user, "app_password"));
    assert!(client.imap(&format!("LOGIN {name} {password}")).contains("a OK "));
    client
}

/// Without the verdict on top, which is the bridge's own.
pub fn without_verdict(message: &str) -> String {
    let rest = message.strip_prefix("Sealpost-Verdict: ").expect("a verdict on top");
    let mut at = rest.find("\r\n").expect("a line") + 2;
    while rest[at..].starts_with(' ') {
        at += rest[at..].find("\r\n").expect("a line") + 2;
    }
    rest[at..].to_owned()
}

/// Waits until a mailbox has so many messages.
pub fn wait_for(client: &mut Client, count: u32) {
    eventually("mail", || client.imap("SELECT INBOX").contains(&format!("* {count} EXISTS")).then_some(()));
}

/// The octets of a literal in an answer: what stands behind `name {n}`.
pub fn literal(answer: &str, name: &str) -> String {
    let start = answer.find(&format!("{name} {{")).unwrap_or_else(|| panic!("{name} in {answer}"));
    let rest = &answer[start + name.len() + 2..];
    let (length, rest) = rest.split_once("}\r\n").expect("a literal");
    let length: usize = length.parse().expect("a number");
    rest[..length].to_owned()
}

/// A message as Alice's mail program composes it: 8-bit text, an attachment, an odd header.
pub fn composed(subject: &str, body: &str) -> String {
    composed_by("Alice <alice@example.net>", "Bob <bob@example.com>", subject, body)
}

/// The same of anybody.
pub fn composed_by(from: &str, to: &str, subject: &str, body: &str) -> String {
    format!(
        "From: {from}\r\nTo: {to}\r\nDate: Mon, 23 Nov 2026 21:36:00 +0000\r\n\
         Message-ID: <{}@example.net>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b;1\"\r\n\r\n--b;1\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n.\r\nFrom here\r\n--b;1\r\n\
         Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.bin\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b;1--\r\n",
        // Stands outside too: it must tell nothing.
        subject.bytes().fold(7_u64, |hash, octet| hash.wrapping_mul(31).wrapping_add(octet.into()))
    )
}
