//! What the server must not have in reach (docs/decisions/0001-layout.md).

use std::process::Command;

/// R17: no crate that seals, signs, holds a private key or derives one from a password.
#[test]
fn r17_no_private_key_and_no_password_derivation_in_reach() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", "sealpost-server"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: Vec<_> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(crates.contains(&"sealpost-store"), "{tree}");
    for forbidden in ["sealpost-crypto", "sealpost-client", "age", "age-core", "argon2", "hkdf", "zxcvbn"] {
        assert!(!crates.contains(&forbidden), "{forbidden} is in reach of the server");
    }
}
