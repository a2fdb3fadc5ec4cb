//! Tests of the program as a process, of its interplay with programs written elsewhere, and of the project's files.
#![allow(unreachable_pub, reason = "the helpers' modules are private to this test")]

mod backup;
mod bridge;
mod cli;
mod conformance;
mod crash;
mod demo;
mod desk;
mod disk;
mod docs;
mod full;
mod hostile;
mod interop;
mod ipv6;
mod large;
mod licences;
mod load;
mod malformed;
mod mutants;
mod mx;
mod postfix;
mod programs;
mod secrets;
mod security;
mod serve;
mod server;
mod stop;
mod support;
mod terminal;
mod transfer;
mod tree;
mod trust;
