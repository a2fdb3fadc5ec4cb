//! Messages as octets: header fields, the signature's input, what a writer makes.

use super::lines;
use sealpost_client::open::Summary;
use sealpost_proto::message::{
    Encrypted, Header, MAX_FIELDS, SignatureInput, fold_pubkey, fold_signature, parse_pubkey,
    parse_signature, relaxed, write,
};

/// No octet of a header is lost; the relaxed form is its own; fields that are read fold to the same.
pub(crate) fn header(input: &[u8]) {
    let _ = Summary::read(input);
    let Ok((header, body)) = Header::read(input) else { return };
    assert!(header.fields().len() <= MAX_FIELDS && body <= input.len());
    let raw: Vec<u8> = header.fields().iter().flat_map(|field| field.raw().to_vec()).collect();
    assert_eq!(raw, input[..raw.len()], "a field is not as it stands");
    assert!(matches!(&input[raw.len()..body], b"" | b"\n" | b"\r\n"), "something between header and body");
    for field in header.fields().iter().filter(|field| !field.name().is_empty()) {
        let once = field.relaxed();
        let colon = field.name().len();
        assert_eq!(once[colon], b':');
        assert!(!once.iter().any(|b| matches!(b, b'\r' | b'\n' | b'\t')), "not unfolded");
        assert_eq!(relaxed(field.name(), &once[colon + 1..]), once, "relaxed twice is another form");
        assert!(header.first(field.name()).is_some() && header.count(field.name()) > 0);
        if let Ok(signature) = parse_signature(field) {
            let folded = fold_signature(signature.algorithm, &signature.octets);
            let (again, _) = Header::read(folded.as_bytes()).expect("one field");
            assert_eq!(parse_signature(&again.fields()[0]), Ok(signature));
            assert!(folded.lines().all(|line| line.len() <= write::COLUMNS));
        }
        if let Ok(key) = parse_pubkey(field) {
            let folded = fold_pubkey(&key);
            let (again, _) = Header::read(folded.as_bytes()).expect("one field");
            assert_eq!(parse_pubkey(&again.fields()[0]), Ok(key));
        }
    }
    let _ = Encrypted::of(&header);
    if let Ok(signed) = SignatureInput::new(&header) {
        assert!(
            signed.head().starts_with(b"sealpost message v1\r\n") && signed.head().ends_with(b"\r\n\r\n")
        );
        // Nothing in a field can end its line, and so stand for another field.
        let named = header.fields().len() + 3;
        assert!(signed.head().split(|b| *b == b'\n').count() <= named + 1);
        assert!(SignatureInput::as_sealed(&header).is_ok());
        // A field twice, and no signature is valid.
        let twice = [header.first("From").expect("it is signed").raw(), b"\r\n".as_slice(), input].concat();
        let (header, _) = Header::read(&twice).expect("hardly longer");
        assert!(header.count("From") < 2 || SignatureInput::new(&header).is_err());
    }
}

/// Whatever text goes in, 7-bit lines of at most 76 columns come out, and nothing
/// ends a header early.
pub(crate) fn write(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let encoded = write::quoted_printable(&text);
    assert!(encoded.is_ascii() && encoded.ends_with("\r\n"));
    for line in encoded.split_terminator("\r\n") {
        assert!(line.len() <= write::COLUMNS && !line.contains(['\r', '\n']), "{line:?}");
        assert!(
            !line.starts_with('.') && !line.starts_with("From ") && !line.ends_with([' ', '\t']),
            "{line:?}"
        );
    }
    let base64 = write::base64_lines(input);
    assert!(base64.is_ascii() && base64.lines().all(|line| line.len() <= write::COLUMNS));
    for line in lines(input).filter(|line| write::is_header_text(line)).take(20) {
        let field = write::text_field("Subject", line);
        let (header, end) = Header::read(field.as_bytes()).expect("one field");
        assert!(header.fields().len() == 1 && end == field.len(), "{field:?}");
        assert!(
            field.is_ascii() && field.split("\r\n").all(|line| line.len() <= write::COLUMNS),
            "{field:?}"
        );
        // White space at the ends is for nobody's eyes.
        // Nor are the characters that turn the direction of what stands around them (UAX 9).
        let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let kept: String = line.chars().filter(|c| !turns(*c)).collect();
        assert_eq!(Summary::read(field.as_bytes()).subject.trim(), kept.trim(), "{field:?}");
        let parameter = write::parameter("filename", line);
        assert!(parameter.is_ascii() && !parameter.contains("\r\n\r\n"), "{parameter:?}");
    }
}
