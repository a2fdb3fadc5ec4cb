//! What people, administrators, broken programs and impatient ones do, in a few minutes of their lives.

use super::{
    rules::{Kind, Place},
    world::{Speaker, World, spawn},
};
use crate::{
    server::Client,
    support::{PATIENCE, eventually, finish, stdout},
};
use sealpost_proto::base64;
use serde_json::Value;
use std::{
    fs::File,
    io::Write as _,
    os::unix::net::UnixStream,
    process::{Output, Stdio},
    time::Duration,
};

pub const ALICE: &str = "alice@example.net";
/// Stands in logs, stores, command lines and states, and is no secret.
pub const BOB: &str = "bob.planted.7f3a91@example.com";

const FIRST: &str = "purple walrus juggles forty lanterns";
const SECOND: &str = "quiet marble engine borrows thunder";
const THIRD: &str = "seven ferries polish hollow granite";
const BOBS: &str = "copper violins migrate beyond tuesday";
/// One letter is wrong: whoever reads it knows the rest.
const MISTYPED: &str = "seven ferries polish hollow granitf";
const SUBJECT: &str = "The merger is signed on Thursday 9c1f";
const TEXT: &str = "Nobody may know before the bell rings; burn this. 40d2";
const ATTACHMENT: &str = "account 4417-1234; the vault opens with 73-19-55. a8b0";
const TOKEN: &str = "a-token-of-ones-own-choice-66d0";
const WRONG_TOKEN: &str = "a-token-that-was-never-given-3e";
const WRONG_CODE: &str = "wrong-codes-areno-codes-5tgb";

pub struct Story {
    pub world: World,
    /// An app password that the server made.
    phone: String,
}

impl Story {
    pub fn new() -> Self {
        let mut world = World::start();
        for (kind, name, text) in [
            (Kind::Password, "alice's first password", FIRST),
            (Kind::Password, "alice's second password", SECOND),
            (Kind::Password, "alice's third password", THIRD),
            (Kind::Password, "bob's password", BOBS),
            (Kind::Password, "a mistyped password", MISTYPED),
            (Kind::Subject, "the subject", SUBJECT),
            (Kind::Text, "the text", TEXT),
            (Kind::Text, "the attachment", ATTACHMENT),
            (Kind::AppPassword, "an app password of one's own", TOKEN),
            (Kind::AppPassword, "a wrong app password", WRONG_TOKEN),
            (Kind::Code, "a wrong code", WRONG_CODE),
        ] {
            world.know(kind, name, text);
        }
        Self { world, phone: String::new() }
    }

    pub fn tell(&mut self) {
        self.enrol();
        self.write_and_read(1);
        self.new_device();
        self.change_key_and_password();
        self.write_and_read(2);
        self.app_passwords();
        self.fail();
        // What honest programs leave there; the next ones tell a server what it must not know.
        for n in 0..2 {
            let pid = self.world.servers[n].pid();
            self.world.remember(Place::ServerMemory, &format!("the memory of server {n}"), pid);
        }
        self.malformed();
        self.interrupted();
        self.forgotten();
        let backup = self.world.path("backup.tar");
        self.world.admin(0, &["backup", backup.to_str().expect("UTF-8")]);
    }

    /// A client's command with the password in a file.
    fn client(&mut self, folder: &str, password: &str, args: &[&str], status: i32) -> Output {
        let file = self.world.file("password", password);
        let mut command = self.world.client(folder);
        command.arg("--password-file").arg(file).args(args);
        let speaker = match args.iter().find(|word| !word.starts_with('-')) {
            Some(&"read") => Speaker::Reader,
            Some(&"list") => Speaker::Lister,
            _ => Speaker::Other,
        };
        let output = self.world.run(speaker, &mut command, status);
        self.learn(folder);
        output
    }

    /// The same, whose memory is looked at when it says good-bye.
    fn held(&mut self, folder: &str, password: &str, args: &[&str]) {
        let new = args.iter().any(|word| ["enrol", "passwd"].contains(word));
        let place = if new { Place::ChooserMemory } else { Place::ClientMemory };
        let file = self.world.file("password", password);
        let mut command = self.world.client(folder);
        command.arg("--password-file").arg(file).args(args);
        self.world.held(place, &mut command);
        self.learn(folder);
    }

    fn learn(&mut self, folder: &str) {
        if self.world.folder(folder).join("secrets.json").exists() {
            let who = if folder == "bob" { BOB } else { ALICE };
            self.world.learn(who, folder, &[FIRST, SECOND, THIRD, BOBS]);
        }
    }

    fn code(&mut self, server: usize, action: &str, address: &str) -> String {
        let answer = self.world.admin(server, &["user", action, address]);
        let code = answer["code"].as_str().expect("a code").to_owned();
        self.world.know(Kind::Code, "a code", &code);
        code
    }

    fn enrol(&mut self) {
        for (server, address, folder, password) in [(0, ALICE, "alice", FIRST), (1, BOB, "bob", BOBS)] {
            let code = self.code(server, "add", address);
            let file = self.world.file("code", &code);
            let code_file = file.to_str().expect("UTF-8").to_owned();
            self.held(folder, password, &["enrol", address, "--code-file", &code_file]);
            // The same again: used up.
            self.client(
                &format!("{folder}-late"),
                password,
                &["enrol", address, "--code-file", &code_file],
                6,
            );
        }
    }

    fn write_and_read(&mut self, count: usize) {
        let (text, attachment) = (self.world.file("text", TEXT), self.world.file("plan.txt", ATTACHMENT));
        let (text, attachment) = (text.to_str().expect("UTF-8"), attachment.to_str().expect("UTF-8"));
        let subject = format!("{SUBJECT} no. {count}");
        let mut command = self.world.client("alice");
        command.args([
            "send",
            "--to",
            BOB,
            "--bcc",
            ALICE,
            "--subject",
            &subject,
            "--attach",
            attachment,
            text,
        ]);
        self.world.run(Speaker::Other, &mut command, 0);
        let saved = self.world.path(&format!("saved-{count}"));
        let saved = saved.to_str().expect("UTF-8").to_owned();
        let mut last = Value::Null;
        eventually("the message", || {
            let output = self.client("bob", BOBS, &["--json", "list"], 0);
            last = serde_json::from_slice(&output.stdout).expect("JSON");
            (last["messages"].as_array().is_some_and(|all| all.len() >= count)).then_some(())
        });
        let output = self.client("bob", BOBS, &["read", "last", "--save", &saved], 0);
        assert!(stdout(&output).contains(SUBJECT) && stdout(&output).contains(TEXT), "{}", stdout(&output));
        let text = self.world.file("answer", TEXT);
        self.client("bob", BOBS, &["send", "--reply", "last", text.to_str().expect("UTF-8")], 0);
    }

    /// The password comes on standard input.
    fn login(&mut self, folder: &str, password: &str, status: i32) {
        let mut command = self.world.client(folder);
        // A file, so that nobody need write to it.
        let file = self.world.file("typed", format!("{password}\n"));
        command.args(["login", ALICE]).stdin(File::open(file).expect("a file"));
        if status == 0 {
            self.world.held(Place::ClientMemory, &mut command);
            self.learn(folder);
        } else {
            self.world.run(Speaker::Other, &mut command, status);
        }
    }

    fn new_device(&mut self) {
        self.login("alice-2", FIRST, 0);
        self.client("alice-2", FIRST, &["read", "last"], 0);
    }

    fn change_key_and_password(&mut self) {
        self.held("alice", FIRST, &["key", "rotate"]);
        let new = self.world.file("new-password", SECOND);
        self.held("alice", FIRST, &["passwd", "--new-password-file", new.to_str().expect("UTF-8")]);
        self.login("alice-3", SECOND, 0);
        // Old mail, with the keyring.
        self.client("alice-3", SECOND, &["read", "1"], 0);
        // The other device finds out; its old password no longer counts.
        self.client("alice-2", FIRST, &["list"], 6);
    }

    fn app_passwords(&mut self) {
        let answer = self.world.admin(0, &["app-password", "add", ALICE, "phone"]);
        let token = answer["token"].as_str().or(answer["app_password"].as_str()).expect("a token");
        token.clone_into(&mut self.phone);
        self.world.know(Kind::AppPassword, "an app password", &self.phone);
        let file = self.world.file("token", TOKEN);
        let file = file.to_str().expect("UTF-8").to_owned();
        self.world.admin(0, &["app-password", "add", ALICE, "script", "--token-file", &file]);
        for (token, good) in
            [(self.phone.clone(), true), (TOKEN.to_owned(), true), (WRONG_TOKEN.to_owned(), false)]
        {
            let code = if good { "235 " } else { "535 " };
            let plain = base64::encode(format!("\0{ALICE}\0{token}"));
            assert!(self.smtp().smtp(&format!("AUTH PLAIN {plain}")).starts_with(code));
            let mut client = self.smtp();
            assert!(client.smtp("AUTH LOGIN").starts_with("334"));
            assert!(client.smtp(&base64::encode(ALICE)).starts_with("334"));
            assert!(client.smtp(&base64::encode(&token)).starts_with(code));
            let word = if good { "a OK " } else { "a NO " };
            for command in [
                format!("LOGIN {ALICE} {token}"),
                format!("LOGIN {ALICE} \"{token}\""),
                format!("AUTHENTICATE PLAIN {plain}"),
                format!("LOGIN {ALICE} {{{}+}}\r\n{token}", token.len()),
            ] {
                let answer = self.imap().imap(&command);
                assert!(answer.contains(word), "{answer}");
            }
            let word = if good { "+OK " } else { "-ERR [AUTH] " };
            let mut client = self.pop3();
            client.send(format!("USER {ALICE}\r\nPASS {token}\r\n"));
            assert!(client.line().starts_with("+OK ") && client.line().starts_with(word));
            let mut client = self.pop3();
            client.send(format!("AUTH PLAIN {plain}\r\n"));
            assert!(client.line().starts_with(word));
            // An ordinary mail program's session, to its end.
            if good {
                let mut client = self.smtp();
                client.smtp(&format!("AUTH PLAIN {plain}"));
                assert!(client.smtp("GETSALT").starts_with("530"));
                assert!(client.smtp(&format!("MAIL FROM:<{ALICE}>")).starts_with("250"));
                assert!(client.smtp(&format!("RCPT TO:<{BOB}>")).starts_with("250"));
                assert!(client.smtp("DATA").starts_with("354"));
                client
                    .send(format!("From: {ALICE}\r\nTo: {BOB}\r\nSubject: plain\r\n\r\nnothing secret\r\n"));
                assert!(client.smtp(".").starts_with("250"));
            }
        }
        self.world.admin(0, &["app-password", "revoke", ALICE, "script"]);
        assert!(self.imap().imap(&format!("LOGIN {ALICE} {TOKEN}")).contains("a NO "));
        // Through all listeners, as a program that finds the server by its name would.
        let mut client = self.world.through("submissions");
        let plain = base64::encode(format!("\0{ALICE}\0{}", self.phone));
        client.smtp("EHLO phone");
        assert!(client.smtp(&format!("AUTH PLAIN {plain}")).starts_with("235"));
        // In the clear, to the listener on the network alone: his positive control.
        self.world.through("smtp").smtp(&format!("EHLO {BOB}"));
    }

    fn smtp(&self) -> Client {
        let mut client = self.world.direct("submissions");
        assert!(client.smtp("EHLO client.example").starts_with("250"));
        client
    }

    fn imap(&self) -> Client {
        self.world.direct("imaps")
    }

    fn pop3(&self) -> Client {
        self.world.direct("pop3s")
    }

    fn fail(&mut self) {
        self.login("alice-4", MISTYPED, 6);
        self.client("ghost", FIRST, &["login", "ghost@example.net"], 6);
        let code = self.world.file("code", WRONG_CODE);
        self.client("alice-guess", FIRST, &["enrol", ALICE, "--code-file", code.to_str().expect("UTF-8")], 6);
        self.client("alice-4", THIRD, &["key", "rotate"], 1);
        self.client("alice", MISTYPED, &["key", "rotate"], 6);
        let new = self.world.file("new-password", THIRD);
        let new = new.to_str().expect("UTF-8");
        self.client("alice", MISTYPED, &["passwd", "--new-password-file", new], 6);
        // Errors of the machine, while a secret is at hand.
        let text = self.world.file("text", TEXT);
        let text = text.to_str().expect("UTF-8").to_owned();
        for (to, attach) in
            [("nobody@example.com", "/dev/null"), (BOB, "/nonexistent"), ("x@unknown.invalid", &*text)]
        {
            let file = self.world.file("password", SECOND);
            let mut command = self.world.client("alice");
            command.arg("--password-file").arg(file);
            command.args(["send", "--to", to, "--subject", "x", "--attach", attach, &text]);
            let child = spawn(&mut command);
            let output = finish(&command, child);
            assert_ne!(output.status.code(), Some(0), "{to}");
            self.world.note(Speaker::Other, &command, &output);
        }
        self.world.file("password", [SECOND.as_bytes(), b"\0\xff"].concat());
    }

    /// Programs that put secrets where they do not belong, and are refused; past all listeners, since there they are
    /// the programs' own fault.
    fn malformed(&mut self) {
        let secrets: Vec<String> = self
            .world
            .secrets()
            .into_iter()
            .filter(|(kind, ..)| {
                matches!(kind, Kind::LoginHash | Kind::AppPassword | Kind::Code | Kind::Password)
            })
            .map(|(kind, _, octets)| match kind {
                Kind::LoginHash => base64::encode(octets),
                _ => String::from_utf8(octets).expect("text"),
            })
            .collect();
        // At once: most of the time passes in the delays that follow a failed login.
        std::thread::scope(|scope| {
            for secret in &secrets {
                scope.spawn(|| self.misplace(secret));
            }
        });
    }

    fn misplace(&self, secret: &str) {
        let sasl = base64::encode(format!("\0{ALICE}\0{secret}"));
        let mut client = self.smtp();
        for line in [
            format!("AUTH HASHEDPASS {secret}"),
            format!("AUTH PLAIN {secret}"),
            format!("AUTH PLAIN {}", &sasl[..sasl.len() - 3]),
            format!("AUTH {sasl}"),
            format!("AUTHENTICATE PLAIN {sasl}"),
            format!("auth plain  {sasl}"),
            format!("AUTH SCRAM-SHA-256 {sasl}"),
            format!("AUTH PLAIN {} ", base64::encode(format!("{ALICE}\0{ALICE}\0{secret}"))),
            secret.to_owned(),
            sasl.clone(),
            format!("PASS {secret}"),
            format!("XENROL {ALICE} {secret}"),
            format!("XENROL {secret} {ALICE} {sasl}"),
            format!("XPASSWD {sasl} {secret} x"),
            format!("SETPUBKEY {secret}"),
            format!("XKEYRING {secret} 10"),
            format!("NOOP {secret}\0"),
            format!("MAIL FROM:<{ALICE}> AUTH={secret}"),
        ] {
            client.send(format!("{line}\r\n"));
            let reply = client.reply();
            assert!(!reply.contains(secret), "echoed");
            if reply.is_empty()
                || reply.starts_with("421")
                || reply.starts_with("552")
                || line.starts_with("XKEYRING")
            {
                client = self.smtp();
            }
        }
        let mut client = self.smtp();
        assert!(client.smtp("AUTH LOGIN").starts_with("334"));
        client.smtp(secret);
        let mut client = self.smtp();
        client.smtp("AUTH PLAIN");
        client.smtp(&format!("{sasl}x"));
        // Cut off in the middle of it.
        let mut client = self.smtp();
        client.send(format!("AUTH PLAIN {sasl}"));
        drop(client);
        for line in [
            format!("LOGIN {ALICE} \"{secret}"),
            format!("LOGIN {ALICE} {secret} {secret}"),
            format!("LOGIN \"{secret}\" {ALICE}"),
            format!("AUTHENTICATE PLAIN ={sasl}"),
            format!("AUTHENTICATE HASHEDPASS {secret}"),
            format!("PASS {secret}"),
            format!("SELECT {secret}"),
            format!("LOGIN {ALICE} {{3+}}\r\n{secret}"),
        ] {
            let mut client = self.imap();
            client.send(format!("a {line}\r\n"));
            assert!(!client.line().contains(secret), "echoed");
        }
        let mut client = self.imap();
        client.send("a AUTHENTICATE PLAIN\r\n");
        client.line();
        client.send(format!("{sasl}!\r\n"));
        client.line();
        for line in [
            format!("PASS {secret}"),
            format!("USER {secret}"),
            format!("APOP {ALICE} {secret}"),
            format!("AUTH PLAIN {}", &sasl[..sasl.len() - 3]),
            format!("AUTH {sasl}"),
            format!("RETR {secret}"),
            secret.to_owned(),
        ] {
            let mut client = self.pop3();
            client.send(format!("{line}\r\n"));
            assert!(!client.line().contains(secret), "echoed");
        }
        // Requests that administrators' scripts get wrong.
        let socket = self.world.setups[0].path("data/control.sock");
        for line in [
            format!("{{\"request\":\"app-password-add\",\"address\":\"{ALICE}\",\"token\":\"{secret}\"}}"),
            secret.to_owned(),
            format!("[\"{secret}\"]"),
        ] {
            let mut stream = UnixStream::connect(&socket).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            stream.write_all(format!("{line}\n").as_bytes()).expect("sent");
            let answer = std::io::read_to_string(&mut stream).expect("answered");
            assert!(!answer.contains(secret), "echoed");
        }
    }

    /// Clients that are killed while they work.
    fn interrupted(&mut self) {
        let mut large = Vec::new();
        while large.len() < 6 << 20 {
            large.extend_from_slice(ATTACHMENT.as_bytes());
        }
        let (large, text) = (self.world.file("large.txt", large), self.world.file("text", TEXT));
        for (signal, milliseconds) in [("KILL", 300), ("TERM", 500), ("INT", 700), ("KILL", 900)] {
            let mut command = self.world.client("alice");
            command.args(["send", "--to", BOB, "--subject", "x", "--attach"]).arg(&large).arg(&text);
            let child = spawn(&mut command);
            // Wherever it is by then; nothing waits for this moment.
            std::thread::sleep(Duration::from_millis(milliseconds));
            let kill = std::process::Command::new("kill")
                .arg(format!("-{signal}"))
                .arg(child.id().to_string())
                .status();
            drop(kill);
            let output = finish(&command, child);
            self.world.note(Speaker::Other, &command, &output);
        }
        // Mid-way through a change of the key.
        let file = self.world.file("password", SECOND);
        let mut command = self.world.client("alice-3");
        command.arg("--password-file").arg(file).args(["key", "rotate"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(600));
        drop(child.kill());
        child.wait().expect("a child");
        self.world.learn(ALICE, "alice-3", &[FIRST, SECOND, THIRD]);
    }

    /// The password is forgotten: a new code, a new key.
    fn forgotten(&mut self) {
        let code = self.code(0, "reset", ALICE);
        let file = self.world.file("code", &code);
        self.client("alice-4", THIRD, &["enrol", ALICE, "--code-file", file.to_str().expect("UTF-8")], 0);
        self.client("alice-4", THIRD, &["list"], 0);
    }
}
