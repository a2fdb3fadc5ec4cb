//! Sealing: any octets come out as they went in, and of a sealed file that was changed in one place nothing does.

use crate::{Rng, feedback, seeds};
use sealpost_crypto::seal::{open_armoured, open_bytes, seal_armoured, seal_bytes};
use std::io::{Read as _, Write as _};

/// The input is the plain text.
pub(crate) fn seal(input: &[u8]) {
    let mut rng = Rng::of(input);
    let keys = [seeds::alice().public(), seeds::bob().public()];
    let mut sealed = seal_bytes(&keys, input).expect("two recipients");
    for key in [seeds::alice(), seeds::bob()] {
        assert_eq!(open_bytes(&[key], &sealed).expect("sealed to it").as_slice(), input);
    }
    assert!(open_bytes(&[seeds::mallory()], &sealed).is_err(), "opened by whom it is not sealed to");

    let mut writer = seal_armoured(&keys, Vec::new()).expect("two recipients");
    for piece in rng.pieces(input) {
        writer.write_all(piece).expect("in memory");
    }
    let armour = writer.finish().expect("in memory");
    let lines: Vec<&[u8]> = armour.split_inclusive(|b| *b == b'\n').collect();
    assert!(armour.is_ascii() && lines.iter().all(|line| line.len() <= 66 && line.ends_with(b"\r\n")));
    let mut plain = Vec::new();
    let mut reader = open_armoured(&[seeds::bob()], armour.as_slice()).expect("sealed to it");
    reader.read_to_end(&mut plain).expect("whole");
    assert_eq!(plain, input);

    // One octet of it, or its end. The stanza of the other recipient is covered by the header's MAC as well.
    let at = rng.below(sealed.len());
    if rng.below(4) == 0 {
        sealed.truncate(at);
    } else {
        sealed[at] ^= 1 << rng.below(8);
    }
    let opened = open_bytes(&[seeds::bob()], &sealed);
    feedback::happened(
        opened.as_ref().err().map_or(String::new(), |error| feedback::shape(&error.to_string())).as_str(),
    );
    assert!(opened.is_err(), "changed at {at}, and it opens");
}
