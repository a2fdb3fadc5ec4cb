//! A message in 7-bit lines, so that no relay has cause to change it and break its signature (profile §6): what plain mail
//! of a mail program goes through before it is signed. Parts with 8-bit octets or overlong lines are encoded anew; all
//! others stay as they are.

use super::{ComposeError, address_field};
use crate::{
    spool::for_each_chunk,
    staged::{Staged, Staging},
};
use sealpost_proto::{
    imap::mime::{Field as Known, Kind, Node, Scanner},
    message::{Field, Header, MailboxList, write},
};
use std::io::{self, Read};

/// Longest line that every relay takes (RFC 5321 §4.5.3.1.6), without its line end.
const MAX_LINE_OCTETS: usize = 998;
/// Widest line of quoted-printable (RFC 2045 §6.7).
const COLUMNS: usize = 76;
/// Octets encoded at a time: whole lines of base64.
const CHUNK: usize = 57 * 1024;

/// How a part is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    QuotedPrintable,
    Base64,
}

/// The message in 7-bit lines; the message itself where it is that already.
pub(crate) fn seven_bit(message: &Staged) -> Result<Staged, ComposeError> {
    let mut scanner = Scanner::new();
    let mut judge = Judge::default();
    for_each_chunk(message.reader()?, |chunk| {
        scanner.push(chunk);
        judge.push(chunk);
        Ok(())
    })?;
    if judge.is_seven_bit() {
        return Ok(message.clone());
    }
    let structure = scanner.finish();
    let mut signed = vec![false; structure.nodes.len()];
    for (at, node) in structure.nodes.iter().enumerate() {
        // Children stand behind their parents.
        let within = signed[at] || node.content_type.is("multipart", "signed");
        for child in &node.children {
            signed[*child] = within;
        }
    }
    let mut writer = Writer { message, out: Staging::new(), at: 0 };
    for (at, (node, signed)) in structure.nodes.iter().zip(signed).enumerate() {
        writer.node(node, at == 0, signed)?;
    }
    writer.copy_up_to(message.size())?;
    Ok(writer.out.finish()?)
}

/// Writes the message anew, front to back.
struct Writer<'a> {
    message: &'a Staged,
    out: Staging,
    /// Octets of the message that are done with.
    at: u64,
}

impl Writer<'_> {
    fn copy_up_to(&mut self, end: u64) -> Result<(), ComposeError> {
        if end > self.at {
            let out = &mut self.out;
            for_each_chunk(self.message.reader_at(self.at)?.take(end - self.at), |chunk| out.push(chunk))?;
            self.at = end;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, root: bool, signed: bool) -> Result<(), ComposeError> {
        let encoding = match node.kind {
            Kind::Leaf => self.encoding(node)?,
            _ => None,
        };
        self.copy_up_to(node.header)?;
        let mut head = Vec::new();
        self.message.reader_at(node.header)?.take(node.body - node.header).read_to_end(&mut head)?;
        let (header, _) = Header::read(&head).map_err(|_| ComposeError::HeaderTooLong)?;
        let says_eight_bit = header.all("Content-Transfer-Encoding").any(|field| {
            let value = field.unfolded().to_ascii_lowercase();
            value == b"8bit" || value == b"binary"
        });
        let mut judge = Judge::default();
        judge.push(&head);
        if encoding.is_none() && !says_eight_bit && judge.is_seven_bit() {
            return Ok(());
        }
        if signed {
            return Err(ComposeError::SignedEightBit);
        }
        for field in header.fields() {
            if !field.is("Content-Transfer-Encoding") {
                self.out.push(&seven_bit_field(field, root)?)?;
            }
        }
        let name = match encoding {
            None => "7bit",
            Some(Encoding::QuotedPrintable) => "quoted-printable",
            Some(Encoding::Base64) => "base64",
        };
        self.out.push(format!("Content-Transfer-Encoding: {name}\r\n").as_bytes())?;
        if head.ends_with(b"\n\r\n") || head == b"\r\n" {
            self.out.push(b"\r\n")?;
        }
        self.at = node.body;
        match encoding {
            None => {}
            Some(encoding) => self.body(node, encoding)?,
        }
        Ok(())
    }

    /// How a leaf has to be encoded, if at all.
    fn encoding(&self, leaf: &Node) -> Result<Option<Encoding>, ComposeError> {
        let mut judge = Judge::default();
        for_each_chunk(self.message.reader_at(leaf.body)?.take(leaf.end - leaf.body), |chunk| {
            judge.push(chunk);
            Ok(())
        })?;
        let declared = leaf.field(Known::Encoding).unwrap_or_default().trim_ascii().to_ascii_lowercase();
        if matches!(declared.as_slice(), b"base64" | b"quoted-printable") {
            // Encoded already; a second time would hide it.
            return if judge.eight_bit { Err(ComposeError::NotSevenBit("body".into())) } else { Ok(None) };
        }
        Ok(match judge.is_seven_bit() {
            true => None,
            false if leaf.content_type.is("text", "*") && !judge.nul => Some(Encoding::QuotedPrintable),
            false => Some(Encoding::Base64),
        })
    }

    fn body(&mut self, leaf: &Node, encoding: Encoding) -> Result<(), ComposeError> {
        let mut reader = self.message.reader_at(leaf.body)?.take(leaf.end - leaf.body);
        let mut quoted = Quoted::default();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            (&mut reader).take(CHUNK as u64).read_to_end(&mut chunk)?;
            if chunk.is_empty() {
                break;
            }
            match encoding {
                Encoding::Base64 => self.out.push(write::base64_lines(&chunk).as_bytes())?,
                Encoding::QuotedPrintable => {
                    quoted.push(&chunk);
                    self.out.push(&std::mem::take(&mut quoted.out))?;
                }
            }
        }
        quoted.finish();
        self.out.push(&quoted.out)?;
        self.at = leaf.end;
        Ok(())
    }
}

/// A field of a header in ASCII. Of a part only what may say anything in encoded words.
fn seven_bit_field(field: &Field, root: bool) -> Result<Vec<u8>, ComposeError> {
    let mut judge = Judge::default();
    judge.push(field.raw());
    if judge.is_seven_bit() {
        let raw = field.raw();
        return Ok(if raw.ends_with(b"\n") { raw.to_vec() } else { [raw, b"\r\n"].concat() });
    }
    let structured = field.name().get(..8).is_some_and(|start| start.eq_ignore_ascii_case("Content-"));
    if field.name().is_empty() || structured && !field.is("Content-Description") {
        return Err(ComposeError::NotSevenBit(field.name().to_owned()));
    }
    let value = String::from_utf8_lossy(&field.unfolded()).into_owned();
    let addresses = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"].iter().any(|name| field.is(name));
    Ok(if root && addresses {
        let named = MailboxList::parse(field.value()).mailboxes;
        let mailboxes: Vec<_> = named.into_iter().map(|named| named.mailbox).collect();
        address_field(field.name(), &mailboxes).into_bytes()
    } else {
        let text: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write::text_field(field.name(), &text).into_bytes()
    })
}

/// Looks for what is no 7-bit line.
#[derive(Default)]
struct Judge {
    eight_bit: bool,
    nul: bool,
    /// Over the limit, or with CR or LF alone.
    odd_line: bool,
    column: usize,
    last: u8,
}

impl Judge {
    fn push(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.eight_bit |= octet >= 0x80;
            self.nul |= octet == 0;
            self.column = if octet == b'\n' { 0 } else { self.column + 1 };
            // CR counts for its line here.
            self.odd_line |= (octet == b'\n') != (self.last == b'\r') || self.column > MAX_LINE_OCTETS + 1;
            self.last = octet;
        }
    }

    fn is_seven_bit(&self) -> bool {
        !(self.eight_bit || self.nul || self.odd_line)
    }
}

/// Quoted-printable of any octets in lines (RFC 2045 §6.7), a leading `From ` and a lone `.` encoded too.
#[derive(Default)]
struct Quoted {
    out: Vec<u8>,
    /// The line so far, as it came.
    line: Vec<u8>,
}

impl Quoted {
    fn push(&mut self, octets: &[u8]) {
        for &octet in octets {
            self.line.push(octet);
            if self.line.ends_with(b"\r\n") {
                let line = std::mem::take(&mut self.line);
                self.write(&line[..line.len() - 2]);
                self.out.extend_from_slice(b"\r\n");
            } else if self.line.len() > CHUNK {
                // A line without an end goes in pieces, with a soft break between them.
                let line = std::mem::take(&mut self.line);
                let keep = usize::from(line.ends_with(b"\r"));
                self.write(&line[..line.len() - keep]);
                self.out.extend_from_slice(b"=\r\n");
                self.line.extend_from_slice(&line[line.len() - keep..]);
            }
        }
    }

    fn finish(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.write(&line);
    }

    fn write(&mut self, line: &[u8]) {
        let from = line.starts_with(b"From ");
        let mut column = 0;
        for (at, &octet) in line.iter().enumerate() {
            let last = at + 1 == line.len();
            let plain = match octet {
                b' ' | b'\t' => !last,
                b'=' => false,
                b'F' => !(from && at == 0),
                b'.' => line.len() > 1 || at > 0,
                octet => octet.is_ascii_graphic(),
            };
            let width = if plain { 1 } else { 3 };
            if column + width > COLUMNS - usize::from(!last) {
                self.out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if plain {
                self.out.push(octet);
            } else {
                self.out.extend_from_slice(format!("={octet:02X}").as_bytes());
            }
            column += width;
        }
    }
}

/// Reading fails as reading does.
impl From<ComposeError> for io::Error {
    fn from(e: ComposeError) -> Self {
        e.into_io()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sealpost_proto::message::transfer::Decoder;

    fn converted(message: &str) -> String {
        let mut out = String::new();
        let staged = seven_bit(&Staged::of(message.as_bytes()).unwrap()).unwrap();
        staged.reader().unwrap().read_to_string(&mut out).unwrap();
        assert!(out.is_ascii(), "{out}");
        out
    }

    #[test]
    fn what_is_7_bit_stays_and_parts_are_encoded_apart() {
        let ascii = "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nbody\r\n";
        assert_eq!(converted(ascii), ascii);
        assert_eq!(
            converted(
                "Subject: Grüße\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße = \r\nFrom x\r\n.\r\n"
            ),
            "Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D=20\r\n=46rom x\r\n=2E\r\n"
        );
        assert_eq!(
            converted(
                "From: Jörg <a@x.org>\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
                 --b\r\n\r\nplain\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nü\r\n--b\r\n\
                 Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\u{80}\r\n--b--\r\n"
            ),
            "From: a@x.org\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
             --b\r\n\r\nplain\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--b\r\n\
             Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nwoA=\r\n\r\n--b--\r\n"
        );
        let long = format!("X: y\r\n\r\n{}\r\n", "z".repeat(MAX_LINE_OCTETS + 1));
        assert!(converted(&long).lines().all(|line| line.len() <= COLUMNS));
        let not_long = format!("X: y\r\n\r\n{}\r\n", "z".repeat(MAX_LINE_OCTETS));
        assert_eq!(converted(&not_long), not_long);
    }

    #[test]
    fn what_would_break_is_refused() {
        for (message, words) in [
            (
                "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nü\r\n--b\r\nContent-Type: x/y\r\n\r\n--b--\r\n",
                "signature",
            ),
            ("Content-Type: text/plain; name=\"ü\"\r\n\r\nx\r\n", "Content-Type"),
        ] {
            let Err(refused) = seven_bit(&Staged::of(message.as_bytes()).unwrap()) else {
                panic!("{message}")
            };
            assert!(refused.to_string().contains(words), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(lines in proptest::collection::vec("\\PC{0,200}|From .|\\.| ", 0..8)) {
            let body = lines.join("\r\n");
            let mut quoted = Quoted::default();
            quoted.push(body.as_bytes());
            quoted.finish();
            for line in String::from_utf8(quoted.out.clone()).unwrap().split("\r\n") {
                prop_assert!(line.len() <= COLUMNS && line.is_ascii() && line != "." && !line.starts_with("From "));
            }
            let mut decoder = Decoder::new("quoted-printable");
            let mut back = Vec::new();
            decoder.feed(&quoted.out, &mut back);
            decoder.finish(&mut back);
            prop_assert_eq!(String::from_utf8(back).unwrap(), body);
        }
    }
}
