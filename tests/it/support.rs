//! What every process-level test needs: the program, a running demo, patience with a limit.

use serde_json::Value;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long anything may take on a slow machine that also builds something else.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The program under test.
pub fn sealpost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealpost"));
    command
        .stdin(Stdio::null())
        .env_remove("SEALPOST_DIR")
        .env_remove("SEALPOST_LOG")
        .env("NO_COLOR", "1")
        // Nobody's own.
        .env("SEALPOST_KEY_STORE", "none");
    command
}

/// What a finished program said.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it complained of.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; `make tools` installs what tests need"))
}

/// The end of a child whose output is piped; it is killed where that does not come in time.
pub fn finish(command: &Command, child: Child) -> Output {
    let pid = child.id();
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || drop(ended.send(child.wait_with_output())));
    let Ok(output) = end.recv_timeout(PATIENCE) else {
        drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
        panic!("{command:?} did not end within {PATIENCE:?}");
    };
    output.expect("it ran")
}

/// Runs to the end, gives standard input, expects this exit status.
pub fn run_with(command: &mut Command, input: &[u8], status: i32) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; `make tools` installs what tests need"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = finish(command, child);
    writer.join().expect("the writer does not panic");
    expect(command, &output, status);
    output
}

/// Runs to the end and expects success.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    expect(command, &output, 0);
    stdout(&output)
}

fn expect(command: &Command, output: &Output, status: i32) {
    assert_eq!(
        output.status.code(),
        Some(status),
        "{command:?}\nstandard output:\n{}\nstandard error:\n{}",
        stdout(output),
        stderr(output)
    );
}

/// Waits until `get` has something.
pub fn eventually<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(POLL);
    }
}

/// The signal that asks a process to end. The standard library cannot send it, `kill` can.
pub fn terminate(pid: u32) {
    assert!(
        Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().expect("sh runs").success()
    );
}

/// Where `scripts/tools` unpacks what is not installed.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools")
}

/// Debian's Python, for which `scripts/tools` installs the modules that tests need.
pub fn python() -> Command {
    Command::new("/usr/bin/python3")
}

/// `sealpost demo --keep`, ended when dropped.
pub struct Demo {
    process: Child,
    dir: TempDir,
    /// demo.json.
    pub json: Value,
}

impl Demo {
    /// Starts it and waits until it is ready.
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// The same with these environment variables.
    pub fn start_with(options: &[&str], environment: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("temp dir");
        let log = fs::File::create(dir.path().join("log")).expect("log");
        let home = dir.path().join("demo");
        let mut process = sealpost()
            .args(["demo", "--keep", "--dir"])
            .arg(&home)
            .args(options)
            .envs(environment.iter().copied())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .expect("the demo starts");
        let file = home.join("demo.json");
        let text = eventually("demo.json", || {
            if let Some(status) = process.try_wait().expect("a child") {
                let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                panic!("the demo ended ({status}): {log}");
            }
            fs::read_to_string(&file).ok()
        });
        let json = serde_json::from_str(&text).expect("demo.json is there whole or not at all");
        Self { process, dir, json }
    }

    /// The demo's folder.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("demo")
    }

    /// A scratch folder that goes with the demo.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The demo's own process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A member of a server's description; 0 is example.net.
    pub fn server(&self, number: usize, member: &str) -> String {
        self.json["servers"][number][member].as_str().expect("a string").to_owned()
    }

    /// A member of a user's description; 0 is Alice.
    pub fn user(&self, number: usize, member: &str) -> String {
        self.json["users"][number][member].as_str().expect("a string").to_owned()
    }

    /// `sealpost` as Alice (0) or Bob (1).
    pub fn client(&self, number: usize) -> Command {
        let mut command = sealpost();
        let password = self.dir.path().join(format!("password-{number}"));
        fs::write(&password, self.user(number, "password")).expect("written");
        command.arg("--dir").arg(self.user(number, "client_dir")).arg("--password-file").arg(password);
        command
    }

    /// Runs `sealpost --json …` as a user and gives its status and object.
    pub fn json(&self, number: usize, args: &[&str]) -> (i32, Value) {
        let output = run(self.client(number).arg("--json").args(args));
        let object = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!(
                "{args:?}: standard output is no JSON object ({e}): {} {}",
                stdout(&output),
                stderr(&output)
            )
        });
        (output.status.code().unwrap_or(-1), object)
    }

    /// Waits until a message with this Message-ID is in the user's INBOX, and reads it.
    pub fn read_when_there(&self, number: usize, message_id: &str) -> (i32, Value) {
        eventually(message_id, || {
            let (status, read) = self.json(number, &["read", "last"]);
            (read["message_id"] == message_id).then_some((status, read))
        })
    }

    /// Ends it, and gives its exit status.
    pub fn end(mut self) -> Option<i32> {
        terminate(self.process.id());
        self.process.wait().expect("a child").code()
    }

    /// Ends it as SIGKILL does, with no chance to tidy up.
    pub fn kill(mut self) {
        self.process.kill().expect("a child");
        self.process.wait().expect("a child");
    }

    /// Ends it and leaves its folder.
    pub fn keep_folder(mut self) -> TempDir {
        terminate(self.process.id());
        self.process.wait().expect("a child");
        std::mem::replace(&mut self.dir, TempDir::new().expect("temp dir"))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            terminate(self.process.id());
            drop(self.process.wait());
        }
    }
}

/// The child processes of a process, by /proc.
pub fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(path).into_iter().flatten().flatten();
    tasks
        .flat_map(|task| {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
        })
        .collect()
}

/// The most memory a process ever held, in KiB.
pub fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
