//! What each target promises.

pub(crate) mod account;
pub(crate) mod backup;
pub(crate) mod bridge;
pub(crate) mod control;
pub(crate) mod imap;
pub(crate) mod keys;
pub(crate) mod lookup;
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod open;
pub(crate) mod person;
pub(crate) mod pop3;
pub(crate) mod seal;
pub(crate) mod smtp;
pub(crate) mod state;
pub(crate) mod transfer;

use sealpost_proto::sasl::{Parameters, Question};

/// What a server that knows every user says to one who begins SCRAM.
fn scram_parameters(question: &Question) -> Parameters {
    Parameters {
        salt: vec![9; 16],
        iterations: 4096,
        nonce: "s".to_owned(),
        binding: question.binding.map(|_| vec![7; 32]),
        plus_offered: true,
    }
}

/// The lines of an input that are UTF-8, without their ends.
fn lines(input: &[u8]) -> impl Iterator<Item = &str> {
    input
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(|l| l.trim_end_matches('\r'))
}
