//! What the bridge makes of the octets that a mail server says, for hostile input: `sealpost-fuzz` holds this against what
//! is promised of it. Nothing else uses it.

use super::{
    guard,
    listing::{self, Listed},
    wire::{self, Cutter, Next, items, response},
};
use crate::entry::Keywords;
use bytes::BytesMut;

/// A piece of what was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A response, or what is left of one behind a literal.
    Response {
        /// As it came.
        line: Vec<u8>,
        /// What it was taken for.
        kind: String,
        /// Of FETCH what passes to the mail program although nobody asked, within the parentheses.
        told: Vec<u8>,
    },
    /// The beginning of a response, and the octets of the long literal behind it, as far as they came.
    Literal(Vec<u8>, Vec<u8>),
    /// Nothing more is taken from this server.
    Refused(String),
}

/// Hears octets as they come in pieces. Message numbers and UIDs are gathered as if all of it answered a listing.
pub fn heard(pieces: &[&[u8]]) -> (Vec<Heard>, Vec<(u32, u32)>) {
    let mut cutter = Cutter::new(BytesMut::new());
    let (mut all, mut list): (Vec<Heard>, Vec<Listed>) = (Vec::new(), Vec::new());
    'pieces: for piece in pieces {
        cutter.input.extend_from_slice(piece);
        loop {
            if let Some(octets) = cutter.pass() {
                let n = octets.len();
                if n == 0 {
                    break;
                }
                if let Some(Heard::Literal(_, passed)) = all.last_mut() {
                    passed.extend_from_slice(octets);
                }
                cutter.passed(n);
                continue;
            }
            match cutter.next() {
                Ok(Next::More) => break,
                Ok(Next::Literal(line)) => all.push(Heard::Literal(line.to_vec(), Vec::new())),
                Ok(Next::Whole(line)) => {
                    listing::take(&mut list, &line);
                    all.push(of(&line));
                }
                Err(error) => {
                    all.push(Heard::Refused(error.to_string()));
                    break 'pieces;
                }
            }
        }
    }
    (all, list.iter().map(|listed| (listed.number, listed.uid)).collect())
}

fn of(line: &[u8]) -> Heard {
    let kind = response(line);
    let mut told = Vec::new();
    match &kind {
        wire::Response::Fetch(_, octets) => {
            told = guard::told(octets, |_| Keywords::default());
            for item in items(octets).unwrap_or_default() {
                let _ = wire::string(&octets[item.value]);
            }
        }
        wire::Response::Esearch(set) | wire::Response::Vanished(_, set) => {
            let _ = listing::ranges(set);
        }
        _ => {}
    }
    let text = format!("{kind:?}");
    let kind = text.split(['(', ' ']).next().unwrap_or_default().to_owned();
    Heard::Response { line: line.to_vec(), kind, told }
}
