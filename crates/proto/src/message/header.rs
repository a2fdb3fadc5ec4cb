//! Header fields as octets (RFC 5322 §2.2): tolerant of odd mail, exact about what was there.

/// Longest header block read. Real ones stay below 64 KiB even after many relays; more is an attempt to tire us.
pub const MAX_HEADER_OCTETS: usize = 256 * 1024;

/// Most fields in one header block; real ones have fewer than 200.
pub const MAX_FIELDS: usize = 2_000;

/// Why a header block was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Over [`MAX_HEADER_OCTETS`].
    #[error("the message's header is longer than 256 KiB and is not read")]
    TooLong,
    /// Over [`MAX_FIELDS`].
    #[error("the message's header has more than 2,000 fields and is not read")]
    TooManyFields,
}

/// One header field, folding and line end included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    raw: Vec<u8>,
    /// Octets of the name; 0 for a line that is no field.
    name_end: usize,
    /// Where the value starts: behind the colon, or 0 for a line that is no field.
    value_start: usize,
}

impl Field {
    /// Takes one field with all its folded lines. RFC 5322 §4.5 lets white space stand before the colon.
    fn from_lines(raw: Vec<u8>) -> Self {
        let colon = raw.iter().position(|&b| b == b':');
        let (name_end, value_start) = colon
            .and_then(|colon| {
                let name = raw[..colon].trim_ascii_end();
                let valid = !name.is_empty() && name.iter().all(|b| (33..=126).contains(b));
                valid.then_some((name.len(), colon + 1))
            })
            .unwrap_or((0, 0));
        Self { raw, name_end, value_start }
    }

    /// All octets, line ends included.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The name as written; empty for a line that is no field (an mbox `From ` line, say).
    pub fn name(&self) -> &str {
        // The constructor took only printable ASCII for a name.
        std::str::from_utf8(&self.raw[..self.name_end]).unwrap_or_default()
    }

    /// Whether this is the field `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name_end > 0 && self.name().eq_ignore_ascii_case(name)
    }

    /// The octets behind the colon, folding included, without the last line end.
    pub fn value(&self) -> &[u8] {
        let value = &self.raw[self.value_start..];
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        value.strip_suffix(b"\r").unwrap_or(value)
    }

    /// The value unfolded (line ends taken out, RFC 5322 §2.2.3), white space at both ends cut.
    pub fn unfolded(&self) -> Vec<u8> {
        let value: Vec<u8> = self.value().iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        value.trim_ascii().to_vec()
    }

    /// DKIM "relaxed" form without the line end (RFC 6376 §3.4.2).
    pub fn relaxed(&self) -> Vec<u8> {
        relaxed(self.name(), self.value())
    }
}

/// `name:value` in relaxed form: name in lower case, value unfolded, each run of white space one space, none at the
/// ends (RFC 6376 §3.4.2). No line end.
pub fn relaxed(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 1 + value.len());
    out.extend(name.bytes().map(|b| b.to_ascii_lowercase()));
    out.push(b':');
    let start = out.len();
    let mut gap = false;
    for &b in value {
        match b {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => gap = true,
            _ => {
                if gap && out.len() > start {
                    out.push(b' ');
                }
                gap = false;
                out.push(b);
            }
        }
    }
    out
}

/// A header block: its fields in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    fields: Vec<Field>,
}

impl Header {
    /// Reads the header at the start of `octets` and says where the body starts. Lines end in CRLF or in LF alone;
    /// without an empty line all of `octets` is header. Give at least [`MAX_HEADER_OCTETS`] octets, or all there
    /// are, so that a header that is cut short shows as too long.
    pub fn read(octets: &[u8]) -> Result<(Self, usize), HeaderError> {
        let mut fields: Vec<Field> = Vec::new();
        let mut current: Vec<u8> = Vec::new();
        let mut at = 0;
        while at < octets.len() {
            if at > MAX_HEADER_OCTETS {
                return Err(HeaderError::TooLong);
            }
            let end = octets[at..].iter().position(|&b| b == b'\n').map_or(octets.len(), |i| at + i + 1);
            let line = &octets[at..end];
            at = end;
            if matches!(line, b"\r\n" | b"\n") {
                break;
            }
            if !current.is_empty() && !matches!(line[0], b' ' | b'\t') {
                fields.push(Field::from_lines(std::mem::take(&mut current)));
                if fields.len() >= MAX_FIELDS {
                    return Err(HeaderError::TooManyFields);
                }
            }
            current.extend_from_slice(line);
        }
        if at > MAX_HEADER_OCTETS {
            return Err(HeaderError::TooLong);
        }
        if !current.is_empty() {
            fields.push(Field::from_lines(current));
        }
        Ok((Self { fields }, at))
    }

    /// All fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The fields called `name`, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        self.fields.iter().filter(move |f| f.is(name))
    }

    /// The first field called `name`.
    pub fn first(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.is(name))
    }

    /// How often `name` occurs.
    pub fn count(&self, name: &str) -> usize {
        self.all(name).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(text: &str) -> Header {
        Header::read(text.as_bytes()).expect("test header").0
    }

    #[test]
    fn reads_fields_with_folding_and_finds_the_body() {
        let text = "From: a@x\r\nSubject: one\r\n two\r\n\tthree\r\n\r\nbody\r\n";
        let (h, body) = Header::read(text.as_bytes()).unwrap_or_default();
        assert_eq!(&text[body..], "body\r\n");
        assert_eq!(h.fields().len(), 2);
        assert_eq!(h.fields()[1].value(), b" one\r\n two\r\n\tthree");
        assert_eq!(h.fields()[1].unfolded(), b"one two\tthree");
        assert_eq!(h.fields()[1].raw(), b"Subject: one\r\n two\r\n\tthree\r\n");
    }

    #[test]
    fn relaxed_form_is_that_of_dkim() {
        // RFC 6376 §3.4.5's example, and more.
        let rows: [(&str, &str); 8] = [
            ("A: X\r\n", "a:X"),
            ("B : Y\t\r\n\tZ  \r\n", "b:Y Z"),
            ("Subject:\r\n", "subject:"),
            ("Subject: \r\n  \r\n", "subject:"),
            ("Subject: \r\n x\r\n", "subject:x"),
            ("SUBJect:a\r\n\r\n", "subject:a"),
            ("Subject: a: b\r\n", "subject:a: b"),
            ("Subject: ü \t ü", "subject:ü ü"),
        ];
        for (raw, want) in rows {
            assert_eq!(header(raw).fields()[0].relaxed(), want.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn odd_lines_stay_and_have_no_name() {
        let h = header("From someone Mon Nov 23\r\n x: y\r\nTo : a@x\r\nno colon\r\nb\u{fc}d: 1\r\nend: 2");
        let names: Vec<_> = h.fields().iter().map(Field::name).collect();
        assert_eq!(names, ["", "To", "", "", "end"]);
        assert_eq!(h.fields()[0].raw(), b"From someone Mon Nov 23\r\n x: y\r\n");
        assert!(h.first("to").is_some() && h.first("from").is_none());
    }

    #[test]
    fn bare_lf_ends_a_line_too() {
        let (h, body) = Header::read(b"a: 1\nb: 2\n\nbody").unwrap_or_default();
        assert_eq!((h.fields().len(), body), (2, 11));
        assert_eq!(h.fields()[0].value(), b" 1");
    }

    #[test]
    fn limits_hold_one_below_and_one_above() {
        let fits = format!("a: {}\r\n\r\n", "x".repeat(MAX_HEADER_OCTETS - 7));
        assert_eq!(Header::read(fits.as_bytes()).map(|(_, at)| at), Ok(MAX_HEADER_OCTETS));
        let over = format!("a: {}\r\n\r\n", "x".repeat(MAX_HEADER_OCTETS - 6));
        assert_eq!(Header::read(over.as_bytes()), Err(HeaderError::TooLong));
        assert!(Header::read("a:\r\n".repeat(MAX_FIELDS).as_bytes()).is_ok());
        assert_eq!(Header::read("a:\r\n".repeat(MAX_FIELDS + 1).as_bytes()), Err(HeaderError::TooManyFields));
    }

    proptest! {
        #[test]
        fn reading_loses_no_octet(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok((h, body)) = Header::read(&octets) {
                let mut joined: Vec<u8> = h.fields().iter().flat_map(|f| f.raw().to_vec()).collect();
                let rest = &octets[joined.len()..];
                let skipped = body - joined.len();
                prop_assert!(matches!(&rest[..skipped], b"" | b"\n" | b"\r\n"));
                joined.extend_from_slice(rest);
                prop_assert_eq!(joined, octets);
            }
        }

        #[test]
        fn fields_never_panic(text in "[ -~\r\n\t:]{0,200}") {
            if let Ok((h, _)) = Header::read(text.as_bytes()) {
                for f in h.fields() {
                    let relaxed = f.relaxed();
                    prop_assert!(!relaxed.contains(&b'\n'));
                    prop_assert!(f.unfolded().len() <= f.value().len());
                }
            }
        }
    }
}
