//! The forms in which a secret can lie about: whatever a log, a protocol or a file format makes of octets.

use sealpost_proto::base64;
use std::fmt::Write as _;

/// What allocators write into memory that was freed: two pointers.
pub const OVERWRITTEN: usize = 16;

/// Shorter ones would be found in innocent text.
const SHORTEST: usize = 10;

/// A form of a secret.
pub struct Form {
    /// What was done to the secret.
    pub encoding: String,
    /// What is looked for.
    pub octets: Vec<u8>,
}

fn joined(octets: &[u8], separator: &str, each: impl Fn(u8) -> String) -> Vec<u8> {
    octets.iter().map(|octet| each(*octet)).collect::<Vec<_>>().join(separator).into_bytes()
}

fn escaped(octets: &[u8], plain: impl Fn(u8) -> bool, escape: impl Fn(u8) -> String) -> Vec<u8> {
    let mut text = Vec::new();
    for &octet in octets {
        if plain(octet) {
            text.push(octet);
        } else {
            text.extend_from_slice(escape(octet).as_bytes());
        }
    }
    text
}

/// Octets in groups, each turned round: what a machine of the other byte order stores.
fn swapped(octets: &[u8], group: usize) -> Vec<u8> {
    octets.chunks(group).flat_map(|chunk| chunk.iter().rev().copied()).collect()
}

/// Base64 at each of the three alignments, without the letters at its ends that depend on the neighbours.
fn base64_forms(octets: &[u8]) -> impl Iterator<Item = (usize, String)> {
    (0..3).map(|shift| {
        let shifted = [&vec![0; shift][..], octets].concat();
        let whole = shifted.len() / 3 * 3;
        let text = base64::encode(&shifted[..whole]);
        (shift, text[[0, 2, 3][shift]..].to_owned())
    })
}

/// Five bits a letter at each of the five alignments, without the letters at its ends that depend on the neighbours.
fn base32_forms(octets: &[u8], alphabet: &[u8; 32]) -> Vec<(usize, String)> {
    let forms = (0..5).map(|shift| {
        let (mut text, mut bits, mut count) = (String::new(), 0_u32, 0);
        for octet in vec![0; shift].iter().chain(octets) {
            bits = bits << 8 | u32::from(*octet);
            count += 8;
            while count >= 5 {
                count -= 5;
                text.push(char::from(alphabet[(bits >> count & 31) as usize]));
            }
            bits &= 0xff;
        }
        (shift, text[(shift * 8).div_ceil(5)..].to_owned())
    });
    forms.collect()
}

fn utf16(text: &str, to_bytes: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(to_bytes).collect()
}

/// Every form of a secret. What is itself text in base64 or hexadecimal is a secret of its own: `base64(base64(x))`
/// is how SASL carries a login hash.
pub fn forms(secret: &[u8]) -> Vec<Form> {
    let mut all = Vec::new();
    one_layer("", secret, &mut all);
    for (what, text) in [
        ("base64 in ", base64::encode(secret)),
        ("unpadded base64 in ", base64::encode_unpadded(secret)),
        ("hexadecimal in ", String::from_utf8(joined(secret, "", |o| format!("{o:02x}"))).expect("ASCII")),
    ] {
        one_layer(what, text.as_bytes(), &mut all);
    }
    all.sort_by(|a, b| a.octets.cmp(&b.octets));
    all.dedup_by(|a, b| a.octets == b.octets);
    all
}

/// What is left of a secret whose memory was freed.
pub fn tail(secret: &[u8]) -> Option<Form> {
    let octets = secret.get(OVERWRITTEN..).filter(|rest| rest.len() >= SHORTEST)?.to_vec();
    Some(Form { encoding: TAIL.to_owned(), octets })
}

/// How [`tail`] is called.
pub const TAIL: &str = "its end, freed and not cleared";

fn one_layer(of: &str, secret: &[u8], all: &mut Vec<Form>) {
    let mut add = |encoding: &str, octets: Vec<u8>| {
        if octets.len() >= SHORTEST {
            all.push(Form { encoding: format!("{of}{encoding}"), octets });
        }
    };
    add("raw", secret.to_vec());
    add("reversed", secret.iter().rev().copied().collect());
    for group in [2, 4, 8] {
        add("byte-swapped", swapped(secret, group));
    }
    for separator in ["", " ", ":", "-", ", "] {
        add("hexadecimal", joined(secret, separator, |o| format!("{o:02x}")));
        add("upper-case hexadecimal", joined(secret, separator, |o| format!("{o:02X}")));
    }
    // `{:?}` of a Vec<u8>, on one line and on many.
    add("decimal list", joined(secret, ", ", |o| o.to_string()));
    add("decimal list", joined(secret, ",", |o| o.to_string()));
    add("decimal list", joined(secret, ",\n    ", |o| o.to_string()));
    for (shift, text) in base64_forms(secret) {
        let url = text.replace('+', "-").replace('/', "_");
        add(&format!("base64, {shift} octets before it"), text.into_bytes());
        add(&format!("base64url, {shift} octets before it"), url.into_bytes());
    }
    for (name, alphabet) in [
        ("base32", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        ("base32hex", b"0123456789ABCDEFGHIJKLMNOPQRSTUV"),
        // Keys of age.
        ("bech32", b"qpzry9x8gf2tvdw0s3jn54khce6mua7l"),
    ] {
        for (shift, text) in base32_forms(secret, alphabet) {
            add(&format!("{name}, {shift} octets before it"), text.to_lowercase().into_bytes());
            add(&format!("{name}, {shift} octets before it"), text.to_uppercase().into_bytes());
        }
    }
    let unreserved = |o: u8| o.is_ascii_alphanumeric() || b"-._~".contains(&o);
    add("percent", escaped(secret, unreserved, |o| format!("%{o:02X}")));
    add("percent", escaped(secret, unreserved, |o| format!("%{o:02x}")));
    add("percent, all of it", joined(secret, "", |o| format!("%{o:02X}")));
    add("form", escaped(secret, unreserved, |o| if o == b' ' { "+".into() } else { format!("%{o:02X}") }));
    let literal = |o: u8| (0x20..0x7f).contains(&o) && o != b'=';
    add("quoted-printable", escaped(secret, literal, |o| format!("={o:02X}")));
    add(
        "word of RFC 2047",
        escaped(
            secret,
            |o| o.is_ascii_alphanumeric(),
            |o| {
                if o == b' ' { "_".into() } else { format!("={o:02X}") }
            },
        ),
    );
    // `{:?}` of a byte string, and what several loggers make of octets.
    let printable = |o: u8| (0x20..0x7f).contains(&o) && o != b'\\' && o != b'"';
    add("backslash x", escaped(secret, printable, |o| format!("\\x{o:02x}")));
    add("octal", escaped(secret, printable, |o| format!("\\{o:03o}")));
    add("ASCII escaped", secret.escape_ascii().to_string().into_bytes());
    let latin: String = secret.iter().map(|o| char::from(*o)).collect();
    let text = std::str::from_utf8(secret).map_or(latin.clone(), str::to_owned);
    for (encoding, text) in [("", &text), (" of Latin-1", &latin)] {
        add(&format!("UTF-16LE{encoding}"), utf16(text, u16::to_le_bytes));
        add(&format!("UTF-16BE{encoding}"), utf16(text, u16::to_be_bytes));
        add(&format!("UTF-8{encoding}"), text.clone().into_bytes());
        let json = serde_json::to_string(text).expect("a string");
        add(&format!("JSON{encoding}"), json.trim_matches('"').as_bytes().to_vec());
        let mut units = String::new();
        for unit in text.encode_utf16() {
            if (0x20..0x7f).contains(&unit) {
                units.push(char::from(u8::try_from(unit).unwrap_or(b'?')));
            } else {
                let _ = write!(units, "\\u{unit:04x}");
            }
        }
        add(&format!("JSON in ASCII{encoding}"), units.into_bytes());
        add(&format!("Debug{encoding}"), format!("{text:?}").trim_matches('"').as_bytes().to_vec());
    }
}
