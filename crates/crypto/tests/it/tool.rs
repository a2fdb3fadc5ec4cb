//! Running another program on files in a folder of its own.

use sealpost_crypto::key::SecretKey;
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A temporary folder, removed at the end.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).expect("written");
        path
    }

    /// The exported key file, as `sealpost key export` writes it: readable for its owner alone.
    pub(crate) fn export(&self, name: &str, key: &SecretKey) -> PathBuf {
        let path = self.write(name, key.to_openssh_pem("alice@example.net").as_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        path
    }

    /// Runs `program` in this folder.
    pub(crate) fn run(&self, program: &str, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("this test needs the program {program}: {e}"));
        let mut input = child.stdin.take().expect("piped");
        let stdin = stdin.to_vec();
        // Apart, so that neither side waits for the other; a program that ends early closes its end.
        let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("no panic");
        output
    }

    /// Runs it and asks for success.
    pub(crate) fn succeed(&self, program: &str, args: &[&str], stdin: &[u8]) -> Vec<u8> {
        let output = self.run(program, args, stdin);
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}
