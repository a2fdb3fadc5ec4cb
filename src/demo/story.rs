//! The story that `sealpost demo` tells, step by step; each step checks what it claims.

use super::{
    actor::Actor,
    disk,
    narrate::{Line, Narrator},
    pop3,
    world::World,
};
use crate::{admin, cli::Tamper, exit::Failure};
use sealpost_client::{
    client::{Outcome, ReadReport, SendReport},
    error::ClientError,
    open::{Content, Verdict},
};
use sealpost_proto::transcript::Side;
use std::{fs, path::Path};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

const SUBJECT: &str = "Grüße aus dem Grünen ☘ – the picnic";
const TEXT: &str = "Dear Bob,\n\nthe picnic is on Saturday at noon, under the big oak.\nNobody but you and me knows.\n\nAlice\n";
const ATTACHMENT_NAME: &str = "way to the oak.txt";
const ATTACHMENT: &str =
    "Past the mill, over the little bridge, then left along the brook for half a mile.\n";
const ANSWER: &str = "Dear Alice,\n\nI shall be there, and I bring the strawberries.\n\nBob\n";
const AFTER_ROTATION: &str =
    "Your new key is signed with the one I knew, so I need not ask you on the telephone.\n";

/// A step's result: what to say when it failed.
type Step = Result<(), Failure>;

/// Fails a step.
fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Step {
    if holds { Ok(()) } else { Err(Failure::failed(otherwise())) }
}

/// The people and the places.
pub struct Story<'a> {
    world: &'a World,
    folder: &'a Path,
    tell: Narrator,
    alice: Actor,
    bob: Actor,
}

impl<'a> Story<'a> {
    /// Before anything happened.
    pub fn new(world: &'a World, folder: &'a Path, tell: Narrator) -> Result<Self, Failure> {
        let alice = Actor::new("alice", &world.servers[0], world, folder)?;
        let bob = Actor::new("bob", &world.servers[1], world, folder)?;
        Ok(Self { world, folder, tell, alice, bob })
    }

    /// Tells all of it; ends at the first step that fails.
    pub async fn tell(mut self) -> Step {
        let result = self.steps().await;
        if let Err(failure) = &result {
            self.tell.failed(&failure.message)?;
        }
        self.tell.summary()?;
        result
    }

    async fn steps(&mut self) -> Step {
        self.servers()?;
        self.enrol().await?;
        self.send().await?;
        self.disk().await?;
        self.new_device().await?;
        self.answer().await?;
        self.rotate().await?;
        self.password().await?;
        self.plain().await?;
        self.old_program().await?;
        self.swapped().await
    }

    fn arm(&self, what: Tamper) {
        if let Some(proxy) = &self.world.proxy {
            proxy.arm(what);
        }
    }

    /// Shows what an actor's client said and heard since the last time.
    fn conversation(&self, actor: &Actor, about: &str) -> Step {
        let lines = actor.recorder.take();
        if lines.is_empty() { Ok(()) } else { Ok(self.tell.dialogue(about, &lines)?) }
    }

    fn servers(&mut self) -> Step {
        let [net, com] = &self.world.servers;
        self.tell.step("Two mail servers that know nothing of each other")?;
        self.tell.explain(
            "Each is a process of its own with its own store. A name server for the two zones and a certificate \
             authority, both made for this demo, stand in for the Internet's.",
        )?;
        self.tell.quote(&[
            format!("{:<12} {} at {}", net.domain, net.host, net.address),
            format!("{:<12} {} at {}", com.domain, com.host, com.address),
        ])?;
        self.tell.done("Both answer on SMTP, submission, IMAP and POP3, with TLS.")?;
        Ok(())
    }

    async fn enrol(&mut self) -> Step {
        self.tell.step("Alice and Bob get their accounts")?;
        self.tell.explain(
            "Their administrators make one-time codes (`sealpost user add`). Each client makes a passphrase of six \
             words, and from it two secrets that tell nothing of each other: a login hash, which the server may see, \
             and a private key, which never leaves the device. What is secret is shown as … here.",
        )?;
        for actor in [&mut self.alice, &mut self.bob] {
            let server = self.world.servers.iter().find(|s| actor.address.as_str().ends_with(s.domain));
            let config = &server.ok_or_else(|| Failure::failed("an actor without a server"))?.config;
            actor.enrol(config).await?;
        }
        self.conversation(
            &self.alice,
            "Alice's client enrols (XENROL), signs in with the hash (AUTH HASHEDPASS), is told the salt for her key, \
             derives the key and publishes its public half (SETPUBKEY):",
        )?;
        self.bob.recorder.take();
        let key = self.alice.client.key_show()?;
        self.tell
            .quote(&[format!("Alice's key  {}", key.fingerprint), format!("in words     {}", key.words)])?;
        self.tell
            .done("Both have a key that only their password makes, and nothing to keep but that password.")?;
        Ok(())
    }

    async fn send(&mut self) -> Step {
        self.tell.step("Alice writes to Bob")?;
        self.arm(Tamper::Pubkey);
        self.arm(Tamper::Body);
        let file = self.folder.join(ATTACHMENT_NAME);
        fs::write(&file, ATTACHMENT)?;
        let bob = self.bob.address.to_string();
        let report = self.alice.send(&bob, SUBJECT, TEXT, &[file]).await?;
        self.conversation(
            &self.alice,
            "Her client asks Bob's server, found in DNS and proven by its certificate, for Bob's key (PUBKEY). Then it \
             seals the message to that key, Subject and attachment included, signs it, and hands it to her own server:",
        )?;
        sealed(&report)?;
        self.bob.wait_for(1).await?;
        self.relay(0, "Her server relays it to Bob's over verified TLS, without understanding a word:")?;
        self.tell.done(&format!("Sent as {}; Bob's server has taken it.", report.message_id))?;
        Ok(())
    }

    fn relay(&self, server: usize, about: &str) -> Step {
        let text = fs::read_to_string(&self.world.servers[server].transcript).unwrap_or_default();
        let lines: Vec<Line> = text
            .lines()
            .filter_map(|line| {
                let (mark, rest) = line.split_at_checked(3).unwrap_or((line, ""));
                match mark.trim_end() {
                    "C:" => Some((Side::Client, rest.to_owned())),
                    "S:" => Some((Side::Server, rest.to_owned())),
                    "--" => Some((Side::Note, rest.to_owned())),
                    _ => None,
                }
            })
            .collect();
        check(!lines.is_empty(), || "the relay's conversation was not recorded".to_owned())?;
        Ok(self.tell.dialogue(about, &lines)?)
    }

    async fn disk(&mut self) -> Step {
        self.tell.step("What lies on the servers' disks")?;
        let [net, com] = &self.world.servers;
        let folders = [net.data.clone(), com.data.clone()];
        let passphrases = [self.alice.passphrase.clone(), self.bob.passphrase.clone()];
        let (scan, excerpt) = tokio::task::spawn_blocking(move || {
            let needles: [(&str, &[u8]); 5] = [
                ("the Subject", "dem Grünen ☘ – the picnic".as_bytes()),
                ("the text", b"under the big oak"),
                ("the attachment", b"left along the brook for half a mile"),
                ("Alice's passphrase", passphrases[0].as_bytes()),
                ("Bob's passphrase", passphrases[1].as_bytes()),
            ];
            let scan = disk::scan(&[&folders[0], &folders[1]], &needles)?;
            let excerpt = disk::excerpt(&folders[1], b"X-Sender-Encrypted: yes", 768)?;
            Ok::<_, std::io::Error>((scan, excerpt))
        })
        .await
        .map_err(Failure::failed)??;
        let (path, octets) =
            excerpt.ok_or_else(|| Failure::failed("the message is in none of the server's files"))?;
        let name = path.strip_prefix(self.folder).unwrap_or(&path).display().to_string();
        self.tell.explain(&format!("From {name}, where Bob's server keeps the message:"))?;
        self.tell.quote(&disk::hexdump(&octets[..octets.len().min(512)]))?;
        check(scan.found.is_empty(), || {
            let found: Vec<String> =
                scan.found.iter().map(|(what, at)| format!("{what} in {}", at.display())).collect();
            format!("a server's disk holds {}", found.join(", "))
        })?;
        self.tell.done(&format!(
            "{} files ({} octets) of both servers were searched, also for base64, hexadecimal and UTF-16: neither the \
             Subject nor the text, the attachment or a passphrase is in any of them.",
            scan.files, scan.octets
        ))?;
        Ok(())
    }

    async fn new_device(&mut self) -> Step {
        self.tell.step("Bob reads it on a new device, with nothing but his password")?;
        self.arm(Tamper::Salt);
        self.bob.new_device(self.world, self.folder).await?;
        self.conversation(
            &self.bob,
            "The new device signs in (the server tells it the login salt), is told the key salt, derives the key anew, \
             and compares it with the one published for Bob:",
        )?;
        let first = self.bob.read_last().await?;
        self.bob.recorder.take();
        check(first.verdict == Verdict::SenderNotYetConfirmed, || {
            format!("the verdict is \"{}\" ({})", first.verdict.name(), first.notes.join("; "))
        })?;
        self.tell.explain(
            "It fetches the message by IMAP and opens it. Alice is a stranger to Bob, and so that her server does not \
             learn when he reads, his own server was asked for her key. The verdict says so:",
        )?;
        self.tell.quote(&[format!("verdict: {}", first.verdict.name())])?;
        let fingerprint = self.bob.look_up(&self.alice.address).await?;
        self.conversation(
            &self.bob,
            "Bob wants to be sure, so his client asks Alice's own server, found in DNS and proven by its certificate:",
        )?;
        self.bob.accept(&self.alice.address, &fingerprint).await?;
        let report = self.bob.read_last().await?;
        self.bob.recorder.take();
        self.show(&report)?;
        good(&report, SUBJECT, TEXT)?;
        let attachments: Vec<(&str, u64)> = report
            .content
            .iter()
            .flat_map(Content::attachments)
            .map(|attachment| (attachment.name.as_str(), attachment.size))
            .collect();
        check(attachments == [(ATTACHMENT_NAME, ATTACHMENT.len() as u64)], || {
            format!("the attachments came out as {attachments:?}")
        })?;
        self.tell.done("Opened with a key that was in no file of the device: the password made it.")?;
        Ok(())
    }

    /// The verdict and the beginning of a message, as `sealpost read` shows them.
    fn show(&self, report: &ReadReport) -> Step {
        let mut lines = vec![format!("verdict: {}", report.verdict.name())];
        lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
        if let Some(content) = &report.content {
            lines.push(format!("From:    {}", content.from));
            lines.push(format!("Subject: {}", content.subject));
            lines.push(String::new());
            lines.extend(content.text.lines().map(str::to_owned));
            lines.extend(content.attachments().map(crate::reading::attachment));
        }
        self.tell.explain("")?;
        Ok(self.tell.quote(&lines)?)
    }

    async fn answer(&mut self) -> Step {
        self.tell.step("Bob answers, Alice reads")?;
        let report = self.bob.reply_last(ANSWER).await?;
        sealed(&report)?;
        self.bob.recorder.take();
        self.alice.wait_for(1).await?;
        self.alice.recorder.take();
        let read = self.alice.read_last().await?;
        self.alice.recorder.take();
        self.show(&read)?;
        good(&read, &format!("Re: {SUBJECT}"), ANSWER)?;
        self.tell.done("Sealed to Alice's key, signed with Bob's. Nobody was asked about keys.")?;
        Ok(())
    }

    async fn rotate(&mut self) -> Step {
        self.tell.step("Alice changes her key")?;
        let before = self.alice.client.key_show()?;
        self.alice.rotate().await?;
        self.conversation(
            &self.alice,
            "A new salt (RSTSALT) makes a new key from the same password. The server commits both together (SETPUBKEY), \
             with a statement about the new key that the old one has signed; the old key is kept, sealed to the new \
             one (XKEYRING):",
        )?;
        let after = self.alice.client.key_show()?;
        check(before.key != after.key, || "the key is the old one".to_owned())?;
        let alice = self.alice.address.to_string();
        let report = self.bob.send(&alice, "About your new key", AFTER_ROTATION, &[]).await?;
        self.bob.recorder.take();
        sealed(&report)?;
        self.alice.wait_for(2).await?;
        let read = self.alice.read_last().await?;
        self.alice.recorder.take();
        good(&read, "About your new key", AFTER_ROTATION)?;
        self.tell.quote(&[
            format!("before {}", before.fingerprint),
            format!("now    {}", after.fingerprint),
            format!("Bob's client: {}", report.recipients.first().map_or("", |r| &r.why)),
        ])?;
        self.tell.done("Bob's client followed the signed statement from the key it knew to the new one.")?;
        Ok(())
    }

    async fn password(&mut self) -> Step {
        self.tell.step("Alice changes her password, and reads her old mail on a new device")?;
        self.alice.change_password().await?;
        self.conversation(
            &self.alice,
            "Login, key and keyring change in one transaction (XPASSWD); a crash in between changes nothing:",
        )?;
        self.alice.new_device(self.world, self.folder).await?;
        self.alice.recorder.take();
        let first = self.alice.read_first().await?;
        self.alice.recorder.take();
        self.show(&first)?;
        good(&first, &format!("Re: {SUBJECT}"), ANSWER)?;
        self.tell.done(
            "That message is sealed to the first of her three keys. The new device had her new password and nothing else.",
        )?;
        Ok(())
    }

    async fn plain(&mut self) -> Step {
        self.tell.step("Ordinary mail still arrives, and is called what it is")?;
        let expected = self.bob.count().await? + 1;
        let lines = plain_message(self.world, self.bob.address.as_str()).await?;
        self.tell.dialogue("Carol's mail program has never heard of any of this:", &lines)?;
        self.bob.wait_for(expected).await?;
        let read = self.bob.read_last().await?;
        self.bob.recorder.take();
        self.show(&read)?;
        check(read.verdict == Verdict::Plain, || format!("the verdict is {:?}", read.verdict.name()))?;
        self.tell.done("Shown, and said to be readable by every server on its way.")?;
        Ok(())
    }

    async fn old_program(&mut self) -> Step {
        self.tell.step("Bob's old mail program fetches it, too, over POP3")?;
        self.tell.explain(
            "It gets a password of its own (`sealpost app-password add`), which can be revoked alone: with it mail can \
             be fetched and sent, but neither sealed mail opened nor the key touched.",
        )?;
        let server = &self.world.servers[1];
        let (address, name) = (&self.bob.address, "old mail program");
        let password = admin::app_password_add(&server.config, address, name).await?;
        let fetched = pop3::fetch_newest(server, &self.world.ca_file, address.as_str(), &password).await?;
        self.tell.dialogue("It signs in, asks how much there is, and fetches the newest:", &fetched.lines)?;
        let message = String::from_utf8_lossy(&fetched.message);
        check(message.ends_with("\r\n\r\nWish you were here.\r\n"), || {
            format!("the message came out as {message:?}")
        })?;
        self.tell.done("Carol's postcard, octet for octet; it stays on the server.")?;
        Ok(())
    }

    async fn swapped(&mut self) -> Step {
        self.tell.step("A server that turns hostile is noticed")?;
        self.tell.explain(
            "Bob's administrator wants to read along: he resets Bob's account and publishes a key of his own in Bob's \
             name. No statement leads from Bob's key to it, since only Bob could sign one.",
        )?;
        let known = self.alice.contact_fingerprint(&self.bob.address)?;
        let mut attacker = Actor::impostor(&self.bob, self.world, self.folder);
        attacker.take_over(&self.world.servers[1].config).await?;
        let swapped = attacker.client.key_show()?;
        let bob = self.bob.address.to_string();
        let result = self.alice.send(&bob, "The picnic again", "Shall I bring the blanket?\n", &[]).await;
        self.conversation(&self.alice, "Alice writes again, and her client asks for Bob's key as always:")?;
        let refusal = match result {
            Err(refusal @ ClientError::NotSent(_)) => refusal.to_string(),
            Err(other) => return Err(other.into()),
            Ok(_) => return Err(Failure::failed("Alice's client sealed a message to the swapped key")),
        };
        self.tell.quote(&[
            format!("the key Alice's client knows  {known}"),
            format!("the key the server hands out  {}", swapped.fingerprint),
        ])?;
        self.tell.quote(&refusal.lines().map(str::to_owned).collect::<Vec<_>>())?;
        check(known != swapped.fingerprint, || "the keys do not differ".to_owned())?;
        check(refusal.contains("contact accept"), || {
            "the refusal does not say what would overrule it".to_owned()
        })?;
        self.tell
            .done("Nothing was sent. Alice compares fingerprints with Bob before she accepts any new key.")?;
        Ok(())
    }
}

/// All recipients got it sealed.
fn sealed(report: &SendReport) -> Step {
    match report.recipients.iter().find(|r| r.outcome != Outcome::Sealed) {
        None => check(!report.recipients.is_empty(), || "nobody got it".to_owned()),
        Some(r) => Err(Failure::failed(format_args!("{}: {} ({})", r.address, r.outcome.as_str(), r.why))),
    }
}

/// Sealed, signed, and what was written.
fn good(report: &ReadReport, subject: &str, text: &str) -> Step {
    check(report.verdict == Verdict::Good && report.sealed, || {
        format!("the verdict is \"{}\" ({})", report.verdict.name(), report.notes.join("; "))
    })?;
    let content = report.content.as_ref().ok_or_else(|| Failure::failed("there is no content"))?;
    check(content.subject == subject, || format!("the Subject came out as {:?}", content.subject))?;
    check(content.text.trim_end() == text.trim_end(), || format!("the text came out as {:?}", content.text))
}

/// Sends a message as a program does that knows RFC 5321 alone.
async fn plain_message(world: &World, to: &str) -> Result<Vec<Line>, Failure> {
    let server = &world.servers[1];
    let stream = TcpStream::connect(server.at(server.ports.smtp)).await?;
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    let message = format!(
        "From: Carol <carol@example.org>\r\nTo: {to}\r\nSubject: Postcard\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n\
         Message-ID: <postcard@example.org>\r\n\r\nWish you were here.\r\n.\r\n"
    );
    let (mail, rcpt) = ("MAIL FROM:<carol@example.org>", format!("RCPT TO:<{to}>"));
    let script = ["", "HELO carol.example.org", mail, &rcpt, "DATA", &message, "QUIT"].map(str::to_owned);
    for command in script {
        if !command.is_empty() {
            let shown = command.trim_end().lines().map(|l| (Side::Client, l.to_owned()));
            lines.extend(shown);
            let end = if command.ends_with("\r\n") { "" } else { "\r\n" };
            stream.write_all(format!("{command}{end}").as_bytes()).await?;
        }
        let mut reply = String::new();
        stream.read_line(&mut reply).await?;
        lines.push((Side::Server, reply.trim_end().to_owned()));
        check(reply.starts_with(['2', '3']), || format!("the server said {:?}", reply.trim_end()))?;
    }
    Ok(lines)
}
