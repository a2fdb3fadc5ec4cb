//! Every dependency's licence is one that deny.toml allows, and no cryptographic crate is linked in twice. Offline:
//! reads `cargo metadata` of the lock file.

use crate::tree::root;
use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

/// Primitives of which two versions would mean two generations of cryptography in one program.
const CRYPTOGRAPHY: [&str; 14] = [
    "age",
    "argon2",
    "aws-lc-rs",
    "chacha20poly1305",
    "curve25519-dalek",
    "ed25519-dalek",
    "hkdf",
    "hmac",
    "pbkdf2",
    "rsa",
    "rustls",
    "scrypt",
    "ssh-key",
    "x25519-dalek",
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let deny: toml::Table = text.parse().expect("deny.toml is TOML");
    let list = deny["licenses"]["allow"].as_array().expect("a list").clone();
    list.iter().map(|l| l.as_str().expect("a string").to_owned()).collect()
}

/// Evaluates an SPDX expression (SPDX 2.3 annex D); `/` is Cargo's old way to write OR.
struct Expression<'a> {
    tokens: Vec<String>,
    at: usize,
    allowed: &'a [String],
}

impl<'a> Expression<'a> {
    fn is_allowed(text: &str, allowed: &'a [String]) -> bool {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let tokens = spaced.split_whitespace().map(str::to_owned).collect();
        let mut this = Self { tokens, at: 0, allowed };
        let value = this.any();
        assert_eq!(this.at, this.tokens.len(), "cannot read the licence {text:?}");
        value
    }
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }
    fn take(&mut self, word: &str) -> bool {
        let there = self.peek() == Some(word);
        self.at += usize::from(there);
        there
    }
    fn any(&mut self) -> bool {
        let mut value = self.all();
        while self.take("OR") {
            value |= self.all();
        }
        value
    }
    fn all(&mut self) -> bool {
        let mut value = self.one();
        while self.take("AND") {
            value &= self.one();
        }
        value
    }
    fn one(&mut self) -> bool {
        if self.take("(") {
            let value = self.any();
            assert!(self.take(")"), "unbalanced licence");
            return value;
        }
        let mut name = self.peek().expect("a licence name").to_owned();
        self.at += 1;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.peek().expect("an exception"));
            self.at += 1;
        }
        self.allowed.contains(&name)
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let (metadata, allowed) = (metadata(), allowed());
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 50, "metadata lists only {} packages", packages.len());
    let wrong: Vec<String> = packages
        .iter()
        .filter(|p| !p["license"].as_str().is_some_and(|l| Expression::is_allowed(l, &allowed)))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(wrong.is_empty(), "licences that deny.toml does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn copyleft_and_unknown_licences_are_refused() {
    let allowed = allowed();
    for (expression, expected) in [
        ("MIT", true),
        ("MIT OR GPL-3.0-only", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-3.0-or-later", false),
        ("AGPL-3.0-only", false),
        ("MIT AND GPL-2.0-only", false),
        ("(MIT OR Apache-2.0) AND LGPL-2.1-or-later", false),
        ("LicenseRef-Unknown", false),
    ] {
        assert_eq!(Expression::is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn no_cryptographic_crate_is_linked_in_twice() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("a list") {
        let name = package["name"].as_str().expect("a name");
        if CRYPTOGRAPHY.contains(&name) {
            versions.entry(name).or_default().push(package["version"].as_str().expect("a version"));
        }
    }
    for (name, versions) in versions {
        assert_eq!(versions.len(), 1, "{name} is there in the versions {versions:?}");
    }
}
