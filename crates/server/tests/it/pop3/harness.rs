//! Sessions of POP3 and IMAP with one server.

use crate::kit::{ALICE, Client, Kit, TOKEN};

/// A POP3 session.
pub(super) struct Pop3(pub(super) Client);

impl Pop3 {
    /// In TLS, greeting read.
    pub(super) async fn connect(kit: &Kit) -> Self {
        Self::greeted(Client::connect(kit.server.addresses.pop3s[0]).await.start_tls().await).await
    }
    /// In clear text, greeting read.
    pub(super) async fn clear(kit: &Kit) -> Self {
        Self::greeted(Client::connect(kit.server.addresses.pop3[0]).await).await
    }
    pub(super) async fn greeted(mut client: Client) -> Self {
        assert_eq!(client.line().await, "+OK mail.example.net Sealpost is ready\r\n");
        Self(client)
    }
    /// Alice by app password.
    pub(super) async fn alice(kit: &Kit) -> Self {
        let mut session = Self::connect(kit).await;
        session.ok(&format!("USER {ALICE}")).await;
        session.ok(&format!("PASS {TOKEN}")).await;
        session
    }
    /// One line without its end; empty at the end of the connection.
    pub(super) async fn line(&mut self) -> String {
        self.0.line().await.trim_end_matches("\r\n").to_owned()
    }
    pub(super) async fn cmd(&mut self, command: &str) -> String {
        self.0.send(format!("{command}\r\n")).await;
        self.line().await
    }
    /// A command that must succeed; its words.
    pub(super) async fn ok(&mut self, command: &str) -> String {
        let line = self.cmd(command).await;
        let text = line.strip_prefix("+OK").unwrap_or_else(|| panic!("{command}: {line}"));
        text.trim_start().to_owned()
    }
    /// A command that must not; its words.
    pub(super) async fn err(&mut self, command: &str) -> String {
        let line = self.cmd(command).await;
        line.strip_prefix("-ERR ").unwrap_or_else(|| panic!("{command}: {line}")).to_owned()
    }
    /// A command whose reply has lines: those.
    pub(super) async fn lines(&mut self, command: &str) -> Vec<String> {
        self.ok(command).await;
        self.rest().await
    }
    /// The lines behind the first one of a reply, dots taken off.
    pub(super) async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.0.line().await;
            assert!(line.ends_with("\r\n"), "the connection ended");
            match line.strip_prefix('.') {
                Some("\r\n") => return lines,
                stuffed => lines.push(stuffed.unwrap_or(&line).trim_end_matches("\r\n").to_owned()),
            }
        }
    }
    /// RETR: the octets of a message.
    pub(super) async fn retr(&mut self, number: u32) -> String {
        self.lines(&format!("RETR {number}"))
            .await
            .iter()
            .fold(String::new(), |all, line| all + line + "\r\n")
    }
    pub(super) async fn is_closed(&mut self) -> bool {
        self.0.is_closed().await
    }
}

/// An IMAP session: what POP3 cannot bring in or see.
pub(super) struct Imap {
    pub(super) client: Client,
    tags: u32,
}

impl Imap {
    /// Alice, INBOX selected.
    pub(super) async fn alice(kit: &Kit) -> Self {
        let client = Client::connect(kit.server.addresses.imaps[0]).await.start_tls().await;
        let mut session = Self { client, tags: 0 };
        session.client.line().await;
        session.ok(&format!("LOGIN {ALICE} {TOKEN}")).await;
        session.ok("SELECT INBOX").await;
        session
    }
    /// A command that must succeed; its untagged lines.
    pub(super) async fn ok(&mut self, command: &str) -> Vec<String> {
        self.tags += 1;
        let tag = format!("t{} ", self.tags);
        self.client.send(format!("{tag}{command}\r\n")).await;
        let mut untagged = Vec::new();
        loop {
            let line = self.client.line().await;
            assert!(!line.is_empty(), "the connection ended");
            match line.strip_prefix(&tag) {
                Some(status) => {
                    assert!(status.starts_with("OK"), "{command}: {status}");
                    return untagged;
                }
                None => untagged.push(line.trim_end().to_owned()),
            }
        }
    }
    /// Puts a message into INBOX.
    pub(super) async fn append(&mut self, message: &str) {
        self.ok(&format!("APPEND INBOX {{{}+}}\r\n{message}", message.len())).await;
    }
    /// UIDs of INBOX.
    pub(super) async fn uids(&mut self) -> String {
        let lines = self.ok("UID SEARCH ALL").await;
        lines.iter().find_map(|line| line.strip_prefix("* SEARCH")).unwrap_or_default().trim().to_owned()
    }
}

/// A server with alice and these messages.
pub(super) async fn with_messages(messages: &[&str]) -> Kit {
    let kit = Kit::new().await;
    let mut imap = Imap::alice(&kit).await;
    for message in messages {
        imap.append(message).await;
    }
    kit
}
