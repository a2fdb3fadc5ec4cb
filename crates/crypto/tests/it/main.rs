//! Sealpost's cryptography against programs written elsewhere (`age`, `ssh-keygen`) and against vector files.
//!
//! Needs the programs `age` and `ssh-keygen` (Debian: age, openssh-client); without them these tests fail.

mod age;
mod secrets;
mod ssh;
mod stack;
mod tool;
mod vectors;
