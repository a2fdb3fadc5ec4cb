//! The bridge, which hears a mail server that nobody believes.

use crate::{Rng, feedback};
use sealpost_bridge::{Heard, heard};

/// Items that a server may tell of unasked.
const UNASKED: [&str; 7] = ["UID", "FLAGS", "INTERNALDATE", "MODSEQ", "SAVEDATE", "EMAILID", "THREADID"];
/// Keywords that only the bridge gives.
const VERDICTS: [&str; 6] =
    ["$sealed", "$signed", "$keychanged", "$withheld", "$unconfirmed", "$signaturemissing"];

/// How the octets are cut does not matter. What passes unasked says nothing of the content and nothing of a verdict, is
/// one response for every reader, and passes again as it is.
pub(crate) fn server(input: &[u8]) {
    let (all, list) = heard(&[input]);
    let pieces = Rng::of(input).pieces(input);
    assert_eq!(heard(&pieces), (all.clone(), list.clone()), "it matters how the input is cut");
    let mut whole = Vec::new();
    for piece in &all {
        match piece {
            Heard::Response { line, kind, told } => {
                feedback::happened(kind);
                whole.extend_from_slice(line);
                assert!(line.ends_with(b"\r\n"), "a response without its end");
                if !told.is_empty() {
                    passes(told);
                }
            }
            Heard::Literal(line, octets) => {
                feedback::happened("Literal");
                whole.extend_from_slice(line);
                whole.extend_from_slice(octets);
            }
            Heard::Refused(why) => feedback::happened(why),
        }
    }
    assert!(input.starts_with(&whole), "something was lost or made up");
    feedback::happened(&format!("{} listed", list.len().min(3)));
}

/// What is told of a message unasked.
fn passes(told: &[u8]) {
    let line = [b"* 1 FETCH (", told, b")\r\n"].concat();
    let (again, _) = heard(&[&line]);
    let [Heard::Response { told: again, .. }] = again.as_slice() else {
        panic!("it passes as {again:?}");
    };
    assert_eq!(again, told, "it passes otherwise the second time");
    let text = String::from_utf8_lossy(told).to_ascii_lowercase();
    let mut words = text.split(|c: char| !c.is_ascii_graphic() || matches!(c, '(' | ')'));
    assert!(!words.any(|word| VERDICTS.contains(&word)), "a verdict of the server's: {text}");
    let first = text.split(' ').next().unwrap_or_default();
    assert!(
        UNASKED.iter().any(|name| name.eq_ignore_ascii_case(first)),
        "content that nobody asked for: {text}"
    );
}
