//! Sealing and opening beside the stock `age` program (docs/performance.md).
//!
//! ```text
//! bench/run sealing
//! ```
//!
//! Every figure is that of a whole process: start, read a file, write a file, end. Runs of the two programs are
//! interleaved in changing order, so that a machine that slows down slows both. What either opens is compared
//! with what was sealed before anything is measured.
//!
//! The program calls itself for the single steps: `seal`, `open` (the sealing core, armoured, as mail has it),
//! `seal-binary`, `open-binary` (as keyrings have it), `send` and `read` (everything between a draft with an
//! attachment and the octets handed to SMTP, and back: MIME, header protection, signature, verdict).
#![allow(clippy::unwrap_used, reason = "a benchmark that panics says where")]

use sealpost_client::{
    compose::{Composition, Copy, Draft},
    open::{Facts, Message, Verdict},
};
use sealpost_crypto::{
    key::SecretKey,
    seal::{open_armoured, open_bytes, seal_armoured, seal_bytes},
};
use sealpost_proto::{address::Mailbox, time::Timestamp};
use std::{
    env, fs,
    fs::File,
    io::{self, Write as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const SEED: [u8; 32] = [7; 32];
const ADDRESS: &str = "alice@example.net";
/// Some octets, unlike each other so that nothing is helped by repetition.
const PATTERN: u32 = 2_654_435_761;

fn key() -> SecretKey {
    SecretKey::from_seed(SEED)
}

/// From file to file in pieces of this size.
fn pass(mut from: impl io::Read, to: &mut impl io::Write) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return,
            n => to.write_all(&buffer[..n]).unwrap(),
        }
    }
}

fn step(name: &str, input: &Path, output: &Path) {
    let source = || File::open(input).unwrap();
    let mut target = File::create(output).unwrap();
    match name {
        "seal" => {
            let mut sealer = seal_armoured(&[key().public()], target).unwrap();
            pass(source(), &mut sealer);
            sealer.finish().unwrap();
        }
        "open" => pass(open_armoured(&[key()], source()).unwrap(), &mut target),
        "seal-binary" => {
            target.write_all(&seal_bytes(&[key().public()], &fs::read(input).unwrap()).unwrap()).unwrap();
        }
        "open-binary" => target.write_all(&open_bytes(&[key()], &fs::read(input).unwrap()).unwrap()).unwrap(),
        "send" => {
            let mailbox = Mailbox::parse(ADDRESS).unwrap();
            let draft = Draft {
                from: mailbox.clone(),
                to: vec![mailbox],
                cc: Vec::new(),
                bcc: Vec::new(),
                subject: "The plans".to_owned(),
                text: "They are attached.\n".to_owned(),
                attachments: vec![input.to_owned()],
                carried: Vec::new(),
                in_reply_to: None,
                references: Vec::new(),
            };
            let composition = Composition::new(draft, Timestamp(1_790_000_000), [9; 16]).unwrap();
            let outgoing = composition.sealed(&Copy::Visible, &[key().public()], &key()).unwrap();
            pass(outgoing.open().unwrap(), &mut target);
        }
        "read" => {
            let facts = Facts {
                keys: vec![key().public()],
                confirmed: true,
                own_addresses: vec![Mailbox::parse(ADDRESS).unwrap().canonical()],
                now: Timestamp(1_790_000_001),
                ..Facts::default()
            };
            let mut opened = Message::read(source()).unwrap().judge(&[key()], &facts).unwrap();
            assert_eq!(opened.verdict, Verdict::Good, "{:?}", opened.notes);
            let folder = tempfile::tempdir().unwrap();
            opened.content(false, Some(folder.path())).unwrap().unwrap();
            let saved = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
            fs::copy(saved, output).unwrap();
        }
        other => panic!("no step {other}"),
    }
}

/// One command, measured.
fn measure(command: &mut Command) -> Duration {
    let begin = Instant::now();
    let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}; `make tools` installs age"));
    let spent = begin.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    spent
}

fn median(mut runs: Vec<Duration>) -> Duration {
    runs.sort_unstable();
    runs[runs.len() / 2]
}

struct Bench<'a> {
    folder: &'a Path,
    runs: usize,
}

impl Bench<'_> {
    fn ours(&self, step: &str, input: &str, output: &str) -> Command {
        let mut command = Command::new(env::current_exe().unwrap());
        command.current_dir(self.folder).args(["step", step, input, output]);
        command
    }

    fn age(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("age");
        command.current_dir(self.folder).args(arguments);
        command
    }

    /// Medians of interleaved runs.
    fn medians(&self, commands: &mut [Command]) -> Vec<Duration> {
        let mut spent = vec![Vec::new(); commands.len()];
        for run in 0..self.runs {
            // Another one begins each time.
            for turn in 0..commands.len() {
                let i = (turn + run) % commands.len();
                spent[i].push(measure(&mut commands[i]));
            }
        }
        spent.into_iter().map(median).collect()
    }

    fn compare(&self, what: &str, ours: Command, age: Command) {
        let mut commands = [ours, age];
        for command in &mut commands {
            measure(command);
        }
        let opened = what.starts_with("open") || what.starts_with("read");
        if opened {
            let plain = fs::read(self.folder.join("plain")).unwrap();
            for name in ["ours", "theirs"] {
                assert!(
                    fs::read(self.folder.join(name)).unwrap() == plain,
                    "{what}: {name} is not the input"
                );
            }
        }
        let medians = self.medians(&mut commands);
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        println!(
            "| {what} | {:.1} ms | {:.1} ms | {:.2} |",
            ms(medians[0]),
            ms(medians[1]),
            ms(medians[0]) / ms(medians[1])
        );
    }
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [first, name, input, output] = &words[..]
        && first == "step"
    {
        return step(name, Path::new(input), Path::new(output));
    }
    let number = |n: usize, default: usize| words.get(n).map_or(default, |w| w.parse().unwrap());
    let (mib, runs) = (number(0, 10), number(1, 21));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let plain: Vec<u8> = (0..u32::try_from(mib << 18).unwrap())
        .flat_map(|i| (i.wrapping_mul(PATTERN) ^ (i << 7)).to_le_bytes())
        .collect();
    fs::write(path.join("plain"), plain).unwrap();
    fs::write(path.join("key"), key().to_openssh_pem("").as_bytes()).unwrap();
    let recipient = key().public().openssh();
    let bench = Bench { folder: path, runs };
    measure(&mut bench.ours("seal", "plain", "armoured"));
    measure(&mut bench.ours("seal-binary", "plain", "binary"));
    measure(&mut bench.ours("send", "plain", "mail"));

    println!("{mib} MiB, ssh-ed25519, medians of {runs} interleaved runs of whole processes\n");
    println!("| work | ours | age | ours ÷ age |\n|---|---|---|---|");
    let seal = |armour: bool| {
        let mut all = vec!["-e", "-r", &recipient, "-o", "theirs"];
        all.extend(armour.then_some("-a"));
        all.push("plain");
        bench.age(&all)
    };
    let open = |file: &str| bench.age(&["-d", "-i", "key", "-o", "theirs", file]);
    bench.compare("seal, armoured", bench.ours("seal", "plain", "ours"), seal(true));
    bench.compare("open, armoured", bench.ours("open", "armoured", "ours"), open("armoured"));
    bench.compare("seal, binary", bench.ours("seal-binary", "plain", "ours"), seal(false));
    bench.compare("open, binary", bench.ours("open-binary", "binary", "ours"), open("binary"));
    bench.compare("send (all but the network)", bench.ours("send", "plain", "ours"), seal(true));
    bench.compare("read (all but the network)", bench.ours("read", "mail", "ours"), open("armoured"));
}
