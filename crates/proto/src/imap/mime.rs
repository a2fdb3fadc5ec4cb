//! Where the parts of a message are: a push parser over its octets that holds headers only, in bounded memory.
//!
//! Boundaries are looked for in every open multipart at once (RFC 2046 §5.1.2: an outer boundary ends unterminated
//! inner parts). Line ends are CRLF or a lone LF, since APPEND keeps what it gets.

use super::section;
use std::ops::Range;

/// Deepest nesting followed; what is deeper is one opaque part. Mail of people nests about five deep.
pub const DEPTH_MAX: usize = 64;
/// Most parts told apart; further boundary lines are content.
pub const PARTS_MAX: usize = 1000;
/// Octets of one header field that are looked at: a To field of 10,000 addresses fits.
const FIELD_MAX: usize = 512 * 1024;
/// Memory that parts, header fields and parameters of one message may take, reckoned by the costs below: messages
/// arrive in many sessions at once, and hostile ones make much of few octets.
const KEPT_MAX: usize = 640 * 1024;
/// What a part costs, ...
const NODE_COST: usize = 400;
/// ... a field, ...
const FIELD_COST: usize = 80;
/// ... and a parameter, beside their octets.
const PARAMETER_COST: usize = 128;
/// Octets of a body line that are looked at: RFC 2046 boundaries have 70.
const BODY_LINE_MAX: usize = 256;
/// Longest boundary taken: longer than RFC 2046's 70, as real programs overdo it.
const BOUNDARY_MAX: usize = 200;

/// Header fields that ENVELOPE, BODYSTRUCTURE, THREAD and date searches need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Date
    Date,
    /// Subject
    Subject,
    /// From
    From,
    /// Sender
    Sender,
    /// Reply-To
    ReplyTo,
    /// To
    To,
    /// Cc
    Cc,
    /// Bcc
    Bcc,
    /// In-Reply-To
    InReplyTo,
    /// References
    References,
    /// Message-ID
    MessageId,
    /// Content-Type
    ContentType,
    /// Content-Transfer-Encoding
    Encoding,
    /// Content-ID
    ContentId,
    /// Content-Description
    Description,
    /// Content-Disposition
    Disposition,
    /// Content-Language
    Language,
    /// Content-Location
    Location,
    /// Content-MD5
    Md5,
}

const FIELDS: [(&str, Field); 19] = [
    ("date", Field::Date),
    ("subject", Field::Subject),
    ("from", Field::From),
    ("sender", Field::Sender),
    ("reply-to", Field::ReplyTo),
    ("to", Field::To),
    ("cc", Field::Cc),
    ("bcc", Field::Bcc),
    ("in-reply-to", Field::InReplyTo),
    ("references", Field::References),
    ("message-id", Field::MessageId),
    ("content-type", Field::ContentType),
    ("content-transfer-encoding", Field::Encoding),
    ("content-id", Field::ContentId),
    ("content-description", Field::Description),
    ("content-disposition", Field::Disposition),
    ("content-language", Field::Language),
    ("content-location", Field::Location),
    ("content-md5", Field::Md5),
];

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Content.
    Leaf,
    /// Parts; see [`Node::children`].
    Multipart,
    /// A message: its only child.
    Message,
}

/// A part, or a message inside one.
#[derive(Debug, Clone)]
pub struct Node {
    /// Offset of its header.
    pub header: u64,
    /// Offset of its body.
    pub body: u64,
    /// Offset behind its body.
    pub end: u64,
    /// Line ends in its body.
    pub lines: u64,
    /// What it holds.
    pub kind: Kind,
    /// Media type and parameters.
    pub content_type: ContentType,
    /// Children, by their place in [`Structure::nodes`].
    pub children: Vec<usize>,
    fields: Vec<(Field, Vec<u8>)>,
}

impl Node {
    /// The first field of a name, unfolded, white space trimmed.
    pub fn field(&self, field: Field) -> Option<&[u8]> {
        self.fields.iter().find(|(f, _)| *f == field).map(|(_, v)| v.as_slice())
    }
    /// All fields of a name as one list (addresses).
    pub fn joined(&self, field: Field) -> Option<Vec<u8>> {
        let all: Vec<&[u8]> =
            self.fields.iter().filter(|(f, _)| *f == field).map(|(_, v)| v.as_slice()).collect();
        (!all.is_empty()).then(|| all.join(&b", "[..]))
    }
}

/// `type "/" subtype *(";" parameter)`, or what stands in for one that is missing or broken (RFC 2045 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// In the spelling of the message.
    pub media: String,
    /// In the spelling of the message.
    pub subtype: String,
    /// In order.
    pub parameters: Vec<(String, Vec<u8>)>,
}

impl ContentType {
    fn text_plain() -> Self {
        let parameters = vec![("charset".to_owned(), b"us-ascii".to_vec())];
        Self { media: "text".into(), subtype: "plain".into(), parameters }
    }
    fn rfc822() -> Self {
        Self { media: "message".into(), subtype: "rfc822".into(), parameters: Vec::new() }
    }
    fn opaque() -> Self {
        Self { media: "application".into(), subtype: "octet-stream".into(), parameters: Vec::new() }
    }
    /// Compares media type and subtype (`*` for any) without regard to case.
    pub fn is(&self, media: &str, subtype: &str) -> bool {
        self.media.eq_ignore_ascii_case(media)
            && (subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
    }
    /// Memory of the parameters.
    fn cost(&self) -> usize {
        self.parameters.iter().map(|(name, value)| PARAMETER_COST + name.len() + value.len()).sum()
    }
    fn parse(value: &[u8]) -> Option<Self> {
        let (head, parameters) = super::structure::with_parameters(value);
        let (media, subtype) = head.split_once('/')?;
        let (media, subtype) = (media.trim(), subtype.trim());
        let token = |t: &str| {
            !t.is_empty()
                && t.len() <= 127
                && t.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
        };
        (token(media) && token(subtype)).then(|| Self {
            media: media.to_owned(),
            subtype: subtype.to_owned(),
            parameters,
        })
    }
}

/// The parts of a message; `nodes[0]` is the message.
#[derive(Debug, Clone)]
pub struct Structure {
    /// All nodes, parents before children.
    pub nodes: Vec<Node>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Header,
    Body,
}

struct Open {
    node: usize,
    boundary: Option<Vec<u8>>,
    lines_start: u64,
}

/// Takes the octets of a message and gives its [`Structure`].
pub struct Scanner {
    nodes: Vec<Node>,
    stack: Vec<Open>,
    mode: Mode,
    /// Offset of the current line.
    at: u64,
    /// Its beginning.
    line: Vec<u8>,
    /// Its length so far.
    line_len: u64,
    /// Whether its last octet so far is CR; `line` may hold its beginning only.
    after_cr: bool,
    newlines: u64,
    /// Length of the line end before the current line.
    last_eol: u64,
    /// Whether continuation lines belong to a kept field.
    keeping: bool,
    /// Memory taken so far.
    kept: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Starts at the message's first octet.
    pub fn new() -> Self {
        let mut scanner = Self {
            nodes: Vec::new(),
            stack: Vec::new(),
            mode: Mode::Header,
            at: 0,
            line: Vec::new(),
            line_len: 0,
            after_cr: false,
            newlines: 0,
            last_eol: 0,
            keeping: false,
            kept: 0,
        };
        scanner.open(0);
        scanner
    }

    /// The next octets.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            // The CR may have come with an earlier push.
            let crlf = if end == 0 { self.after_cr } else { bytes[end - 1] == b'\r' };
            self.keep(&bytes[..=end]);
            self.newlines += 1;
            let eol = if crlf { 2 } else { 1 };
            self.end_line(eol);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// The end of the message.
    pub fn finish(mut self) -> Structure {
        if self.line_len > 0 {
            self.end_line(0);
        }
        while self.mode == Mode::Header {
            self.end_header();
        }
        while let Some(open) = self.stack.pop() {
            let node = &mut self.nodes[open.node];
            node.end = self.at;
            node.lines = self.newlines.saturating_sub(open.lines_start);
        }
        Structure { nodes: self.nodes }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let max = match self.mode {
            Mode::Header => KEPT_MAX.saturating_sub(self.kept).clamp(BODY_LINE_MAX, FIELD_MAX),
            Mode::Body => BODY_LINE_MAX,
        };
        let room = max.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.line_len += bytes.len() as u64;
        self.after_cr = bytes.last().map_or(self.after_cr, |b| *b == b'\r');
    }

    fn end_line(&mut self, eol: u64) {
        let mut line = std::mem::take(&mut self.line);
        let start = self.at;
        let whole = line.len() as u64 == self.line_len;
        self.at += self.line_len;
        self.line_len = 0;
        let mut content: &[u8] = &line;
        if whole {
            content = content.strip_suffix(b"\n").unwrap_or(content);
            content = content.strip_suffix(b"\r").unwrap_or(content);
        }
        let boundary = if content.starts_with(b"--") { self.boundary(content) } else { None };
        match (boundary, self.mode) {
            (Some((place, close)), _) => self.cross_boundary(place, close, start),
            (None, Mode::Header) if content.is_empty() => self.end_header(),
            (None, Mode::Header) => self.header_line(content),
            (None, Mode::Body) => {}
        }
        self.last_eol = eol;
        line.clear();
        // A long line leaves no room behind that the message would hold on to.
        line.shrink_to(4096);
        self.line = line;
    }

    /// Whether another part may be told apart.
    fn has_room(&self) -> bool {
        self.nodes.len() < PARTS_MAX && self.kept + NODE_COST <= KEPT_MAX
    }

    /// The innermost open multipart whose delimiter this is, and whether it is the closing one.
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let line = line[2..].trim_ascii_end();
        for (place, open) in self.stack.iter().enumerate().rev() {
            let Some(boundary) = &open.boundary else { continue };
            match line.strip_prefix(boundary.as_slice()) {
                Some(b"") if self.has_room() => return Some((place, false)),
                Some(b"--") => return Some((place, true)),
                _ => {}
            }
        }
        None
    }

    fn cross_boundary(&mut self, place: usize, close: bool, start: u64) {
        if self.mode == Mode::Header {
            // A part of a header alone: its body starts, and ends, at the delimiter.
            let at = std::mem::replace(&mut self.at, start);
            while self.mode == Mode::Header {
                self.end_header();
            }
            self.at = at;
        }
        // The line end before a delimiter belongs to it (RFC 2046 §5.1.1).
        let end = start - self.last_eol.min(start);
        // The delimiter's own line end has been counted, and the one before it.
        let newlines = self.newlines.saturating_sub(1 + u64::from(self.last_eol > 0));
        while self.stack.len() > place + 1 {
            let Some(open) = self.stack.pop() else { break };
            let node = &mut self.nodes[open.node];
            node.end = end.max(node.body);
            node.lines = newlines.saturating_sub(open.lines_start);
        }
        if close {
            self.stack[place].boundary = None;
            self.mode = Mode::Body;
        } else {
            let parent = self.stack[place].node;
            let child = self.open(self.at);
            self.nodes[parent].children.push(child);
        }
    }

    /// A new node whose header starts at `at`.
    fn open(&mut self, at: u64) -> usize {
        let node = self.nodes.len();
        self.kept += NODE_COST;
        self.nodes.push(Node {
            header: at,
            body: at,
            end: at,
            lines: 0,
            kind: Kind::Leaf,
            content_type: ContentType::text_plain(),
            children: Vec::new(),
            fields: Vec::new(),
        });
        self.stack.push(Open { node, boundary: None, lines_start: self.newlines });
        self.mode = Mode::Header;
        self.keeping = false;
        node
    }

    fn header_line(&mut self, line: &[u8]) {
        let Some(open) = self.stack.last() else { return };
        let node = &mut self.nodes[open.node];
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let (true, Some((_, value))) = (self.keeping, node.fields.last_mut()) {
                let room = FIELD_MAX.saturating_sub(value.len()).min(KEPT_MAX.saturating_sub(self.kept));
                // Unfolding takes the line end out and leaves the white space (RFC 5322 §2.2.3).
                let more = &line.trim_ascii_end()[..line.trim_ascii_end().len().min(room)];
                value.extend_from_slice(more);
                self.kept += more.len();
            }
            return;
        }
        self.keeping = false;
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let name = line[..colon].trim_ascii();
        let field = FIELDS.iter().find(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name));
        if let Some((_, field)) = field {
            let value = line[colon + 1..].trim_ascii();
            if self.kept + value.len() + FIELD_COST <= KEPT_MAX {
                self.kept += value.len() + FIELD_COST;
                node.fields.push((*field, value.to_vec()));
                self.keeping = true;
            }
        }
    }

    /// The body of the innermost node starts at `self.at`.
    fn end_header(&mut self) {
        self.mode = Mode::Body;
        let depth = self.stack.len();
        let parent = depth.checked_sub(2).map(|p| self.stack[p].node);
        let digest = parent.is_some_and(|p| {
            self.nodes[p].kind == Kind::Multipart && self.nodes[p].content_type.is("multipart", "digest")
        });
        let (at, newlines, full) = (self.at, self.newlines, !self.has_room() || depth >= DEPTH_MAX);
        let Some(open) = self.stack.last_mut() else { return };
        open.lines_start = newlines;
        let node = &mut self.nodes[open.node];
        node.body = at;
        node.end = at;
        let written = node.fields.iter().find(|(f, _)| *f == Field::ContentType);
        let parsed = written.and_then(|(_, value)| ContentType::parse(value));
        let missing =
            if digest && written.is_none() { ContentType::rfc822() } else { ContentType::text_plain() };
        node.content_type = parsed.unwrap_or(missing);
        let boundary = node.content_type.parameter("boundary").map(|b| b.trim_ascii_end().to_vec());
        let cost = node.content_type.cost();
        if self.kept + cost <= KEPT_MAX {
            self.kept += cost;
        } else {
            node.content_type.parameters = Vec::new();
        }
        if node.content_type.is("multipart", "*") {
            match boundary {
                Some(b) if !b.is_empty() && b.len() <= BOUNDARY_MAX && !full => {
                    open.boundary = Some(b);
                    node.kind = Kind::Multipart;
                }
                _ => node.content_type = ContentType::opaque(),
            }
        } else if node.content_type.is("message", "rfc822") || node.content_type.is("message", "global") {
            if full {
                node.content_type = ContentType::opaque();
            } else {
                node.kind = Kind::Message;
                let parent = open.node;
                let child = self.open(at);
                self.nodes[parent].children.push(child);
            }
        }
    }
}

impl section::Part for Node {
    fn kind(&self) -> Kind {
        self.kind
    }
    fn place(&self) -> (Range<u64>, Range<u64>) {
        (self.header..self.body, self.body..self.end)
    }
    fn children(&self) -> &[usize] {
        &self.children
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the fuzzer: behind a long line, a CRLF before a delimiter that came in two pieces counted as one octet,
    /// so that the part was one octet too long.
    fn scanned(message: &str) -> (usize, Structure) {
        let mut scanner = Scanner::new();
        scanner.push(message.as_bytes());
        (scanner.kept, scanner.finish())
    }

    /// What a structure takes, allocations not counted.
    fn octets(structure: &Structure) -> usize {
        let of = |node: &Node| {
            let fields: usize = node.fields.iter().map(|(_, value)| value.len() + 32).sum();
            let parameters = &node.content_type.parameters;
            let parameters: usize =
                parameters.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
            size_of::<Node>() + fields + parameters
        };
        structure.nodes.iter().map(of).sum()
    }

    #[test]
    fn hostile_structures_stay_within_their_memory() {
        let multipart = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        let part = |header: &str| format!("--b\r\n{header}\r\n\r\n");
        let parameters: String =
            (0..100).map(|n| format!(";{n}=1")).fold(String::new(), |all, one| all + &one);
        for message in [
            format!("{multipart}{}", part(&format!("Content-Type: a/b{parameters}")).repeat(2000)),
            format!("{multipart}{}", part(&format!("Content-Id: {}", "x".repeat(5000))).repeat(2000)),
            format!("{multipart}{}", part("").repeat(2000)),
            "To:\r\n".repeat(100_000),
            format!("Subject: {}\r\n", "x".repeat(2 * KEPT_MAX)).repeat(3),
            format!("Subject: x\r\n{}", format!(" {}\r\n", "x".repeat(900)).repeat(2000)),
            "Content-Type: message/rfc822\r\n\r\n".repeat(2000),
        ] {
            let (kept, structure) = scanned(&message);
            assert!(kept <= KEPT_MAX, "{message:.50}: {kept}");
            assert!(octets(&structure) <= KEPT_MAX, "{message:.50}: {}", octets(&structure));
        }
    }

    #[test]
    fn large_honest_structures_are_seen_whole() {
        // A letter to ten thousand, and a folder of photographs.
        let to = (0..10_000)
            .map(|n| format!("somebody{n}@example.com,\r\n "))
            .fold(String::new(), |all, one| all + &one);
        let (_, structure) = scanned(&format!("Subject: x\r\nTo: {to}z@example.com\r\n\r\n"));
        assert!(structure.nodes[0].field(Field::To).unwrap().ends_with(b"z@example.com"));
        let photograph = "--b\r\nContent-Type: image/jpeg; name=\"IMG_20261125_221500.jpg\"\r\n\
                          Content-Disposition: attachment; filename=\"IMG_20261125_221500.jpg\"\r\n\
                          Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n";
        let photographs = photograph.repeat(600);
        let (_, structure) =
            scanned(&format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{photographs}--b--\r\n"));
        assert_eq!(structure.nodes.len(), 601);
        assert!(structure.nodes[600].content_type.parameter("name").is_some());
    }

    #[test]
    fn a_line_end_cut_in_two_behind_a_long_line() {
        let long = "x".repeat(BODY_LINE_MAX + 1);
        let message =
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{long}\r\n--b--\r\n");
        let (before, after) = message.split_at(message.rfind("\n--b--").expect("it is there"));
        let mut scanner = Scanner::new();
        scanner.push(before.as_bytes());
        scanner.push(after.as_bytes());
        let structure = scanner.finish();
        let part = section::part(&structure.nodes, &[std::num::NonZeroU32::MIN]).expect("it has one part");
        assert_eq!(part.end - part.body, long.len() as u64);
    }
}
