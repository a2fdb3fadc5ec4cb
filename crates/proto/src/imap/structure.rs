//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 §7.5.2) from a [`Structure`], and the header grammar they need.

use super::{
    mime::{Field, Kind, Node, Structure},
    response::{nstring, string},
};
use std::ops::Range;

/// Most addresses written of one field; a list of more is cut.
pub(crate) const ADDRESSES_MAX: usize = 20_000;
/// Most parameters taken of one field.
const PARAMETERS_MAX: usize = 100;

/// ENVELOPE of the message whose node this is; where in `out` From, Sender and Reply-To are.
pub fn envelope(out: &mut Vec<u8>, message: &Node) -> [Range<usize>; 3] {
    let mut places = [0..0, 0..0, 0..0];
    out.push(b'(');
    nstring(out, message.field(Field::Date));
    out.push(b' ');
    nstring(out, message.field(Field::Subject));
    let from = message.joined(Field::From);
    for field in [Field::From, Field::Sender, Field::ReplyTo, Field::To, Field::Cc, Field::Bcc] {
        out.push(b' ');
        let mut addresses = addresses(&message.joined(field).unwrap_or_default());
        if addresses.is_empty() && matches!(field, Field::Sender | Field::ReplyTo) {
            // RFC 9051 §7.5.2: they default to From.
            addresses = self::addresses(from.as_deref().unwrap_or_default());
        }
        let start = out.len();
        write_addresses(out, &addresses);
        match field {
            Field::From => places[0] = start..out.len(),
            Field::Sender => places[1] = start..out.len(),
            Field::ReplyTo => places[2] = start..out.len(),
            _ => {}
        }
    }
    for field in [Field::InReplyTo, Field::MessageId] {
        out.push(b' ');
        nstring(out, message.field(field));
    }
    out.push(b')');
    places
}

/// BODYSTRUCTURE, and where in `out` its extension data are, ascending: without them it is BODY.
pub fn body_structure(out: &mut Vec<u8>, structure: &Structure) -> Vec<Range<usize>> {
    let mut extensions = Vec::new();
    write_body(out, structure, 0, &mut extensions);
    extensions
}

/// Recursion is bounded by [`super::mime::DEPTH_MAX`].
/// BODY: a BODYSTRUCTURE without the ranges that [`body_structure`] gave.
pub fn body(body_structure: &[u8], extensions: &[Range<usize>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(body_structure.len());
    let mut at = 0;
    for extension in extensions {
        body.extend_from_slice(body_structure.get(at..extension.start).unwrap_or_default());
        at = extension.end;
    }
    body.extend_from_slice(body_structure.get(at..).unwrap_or_default());
    body
}

fn write_body(out: &mut Vec<u8>, structure: &Structure, at: usize, extensions: &mut Vec<Range<usize>>) {
    let node = &structure.nodes[at];
    out.push(b'(');
    if node.kind == Kind::Multipart {
        for child in &node.children {
            write_body(out, structure, *child, extensions);
        }
        if node.children.is_empty() {
            // `body-type-mpart = 1*body …`: a multipart without parts is shown with an empty one.
            out.extend_from_slice(b"(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)");
        }
        out.push(b' ');
        string(out, node.content_type.subtype.as_bytes());
        let start = out.len();
        out.push(b' ');
        write_parameters(out, &node.content_type.parameters);
        write_extension(out, node);
        extensions.push(start..out.len());
        out.push(b')');
        return;
    }
    string(out, node.content_type.media.as_bytes());
    out.push(b' ');
    string(out, node.content_type.subtype.as_bytes());
    out.push(b' ');
    write_parameters(out, &node.content_type.parameters);
    for field in [Field::ContentId, Field::Description] {
        out.push(b' ');
        nstring(out, node.field(field));
    }
    out.push(b' ');
    let encoding = node.field(Field::Encoding).map(strip_comments).unwrap_or_default();
    string(out, if encoding.is_empty() { b"7bit" } else { encoding.as_bytes() });
    out.extend_from_slice(format!(" {}", node.end.saturating_sub(node.body)).as_bytes());
    if let (Kind::Message, Some(child)) = (node.kind, node.children.first()) {
        out.push(b' ');
        envelope(out, &structure.nodes[*child]);
        out.push(b' ');
        write_body(out, structure, *child, extensions);
        out.extend_from_slice(format!(" {}", node.lines).as_bytes());
    } else if node.content_type.is("text", "*") {
        out.extend_from_slice(format!(" {}", node.lines).as_bytes());
    }
    let start = out.len();
    out.push(b' ');
    nstring(out, node.field(Field::Md5));
    write_extension(out, node);
    extensions.push(start..out.len());
    out.push(b')');
}

/// ` body-fld-dsp SP body-fld-lang SP body-fld-loc`
fn write_extension(out: &mut Vec<u8>, node: &Node) {
    out.push(b' ');
    match node.field(Field::Disposition).map(with_parameters) {
        Some((kind, parameters)) if !kind.is_empty() => {
            out.push(b'(');
            string(out, kind.as_bytes());
            out.push(b' ');
            write_parameters(out, &parameters);
            out.push(b')');
        }
        _ => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    let languages = node.field(Field::Language).map(strip_comments).unwrap_or_default();
    let languages: Vec<&str> =
        languages.split(',').map(str::trim).filter(|l| !l.is_empty()).take(PARAMETERS_MAX).collect();
    if languages.is_empty() {
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b'(');
        for (i, language) in languages.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            string(out, language.as_bytes());
        }
        out.push(b')');
    }
    out.push(b' ');
    nstring(out, node.field(Field::Location));
}

fn write_parameters(out: &mut Vec<u8>, parameters: &[(String, Vec<u8>)]) {
    if parameters.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (i, (name, value)) in parameters.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        string(out, name.as_bytes());
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}

/// One entry of an address list as ENVELOPE has it: name, mailbox, host. A group starts with a mailbox alone and
/// ends with none of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address {
    /// Display name, encoded words as they stand.
    pub name: Option<Vec<u8>>,
    /// Local part, or a group's name.
    pub mailbox: Option<Vec<u8>>,
    /// Domain.
    pub host: Option<Vec<u8>>,
}

fn write_addresses(out: &mut Vec<u8>, addresses: &[Address]) {
    if addresses.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in addresses {
        out.push(b'(');
        nstring(out, address.name.as_deref());
        // The source route is obsolete and always NIL.
        out.extend_from_slice(b" NIL ");
        nstring(out, address.mailbox.as_deref());
        out.push(b' ');
        nstring(out, address.host.as_deref());
        out.push(b')');
    }
    out.push(b')');
}

/// A token of structured header fields (RFC 5322 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Atom or dot-atom characters.
    Word(Vec<u8>),
    /// A quoted string, without quotes.
    Quoted(Vec<u8>),
    /// A comment, without parentheses.
    Comment(Vec<u8>),
    Special(u8),
}

/// Cuts a field into tokens; `specials` stand alone. Never fails: what is unterminated ends with the field.
fn tokens(value: &[u8], specials: &[u8]) -> Vec<Token> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        at += 1;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'"' => {
                let mut text = Vec::new();
                while let Some(&c) = value.get(at) {
                    at += 1;
                    match c {
                        b'"' => break,
                        b'\\' => {
                            text.extend(value.get(at));
                            at += 1;
                        }
                        c => text.push(c),
                    }
                }
                all.push(Token::Quoted(text));
            }
            b'(' => {
                let (mut text, mut depth) = (Vec::new(), 1);
                while let Some(&c) = value.get(at) {
                    at += 1;
                    match c {
                        b'(' => depth += 1,
                        b')' => depth -= 1,
                        b'\\' => {
                            text.extend(value.get(at));
                            at += 1;
                            continue;
                        }
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    text.push(c);
                }
                all.push(Token::Comment(text));
            }
            c if specials.contains(&c) => all.push(Token::Special(c)),
            _ => {
                let start = at - 1;
                while value.get(at).is_some_and(|c| !b" \t\r\n\"(".contains(c) && !specials.contains(c)) {
                    at += 1;
                }
                all.push(Token::Word(value[start..at].to_vec()));
            }
        }
    }
    all
}

/// Addresses of a field, tolerant of what people write.
pub fn addresses(value: &[u8]) -> Vec<Address> {
    let mut all = Vec::new();
    let mut phrase: Vec<Token> = Vec::new();
    let mut angle: Option<Vec<Token>> = None;
    let mut in_angle = false;
    let mut in_group = false;
    for token in tokens(value, b"<>,:;@") {
        if all.len() >= ADDRESSES_MAX {
            return all;
        }
        match token {
            Token::Special(b'<') if !in_angle => {
                in_angle = true;
                angle = Some(Vec::new());
            }
            Token::Special(b'>') => in_angle = false,
            // A source route `<@a,@b:x@y>` is dropped.
            Token::Special(b':') if in_angle => angle = Some(Vec::new()),
            Token::Special(b',') if in_angle => {}
            Token::Special(b':') if !in_group && angle.is_none() => {
                in_group = true;
                let name = words(&phrase);
                phrase.clear();
                all.push(Address { mailbox: Some(name), ..Address::default() });
            }
            Token::Special(end @ (b',' | b';')) => {
                all.extend(address(&phrase, angle.as_deref()));
                phrase.clear();
                angle = None;
                if end == b';' && in_group {
                    in_group = false;
                    all.push(Address::default());
                }
            }
            token => match &mut angle {
                Some(inner) if in_angle => inner.push(token),
                _ => phrase.push(token),
            },
        }
    }
    all.extend(address(&phrase, angle.as_deref()));
    if in_group {
        all.push(Address::default());
    }
    all
}

fn address(phrase: &[Token], angle: Option<&[Token]>) -> Option<Address> {
    let (spec, mut name) = match angle {
        Some(inner) => (inner, words(phrase)),
        None => (phrase, Vec::new()),
    };
    if angle.is_none() || name.is_empty() {
        // `alice@example.net (Alice)`: the comment is the name.
        let comment = phrase.iter().find_map(|t| match t {
            Token::Comment(text) => Some(text.clone()),
            _ => None,
        });
        name = comment.unwrap_or(name);
    }
    let at = spec.iter().rposition(|t| *t == Token::Special(b'@'));
    let (local, host) = match at {
        Some(at) => (glued(&spec[..at]), Some(glued(&spec[at + 1..]))),
        None if angle.is_some() => (glued(spec), None),
        None => (words(spec), None),
    };
    if local.is_empty() && host.is_none() && name.is_empty() {
        return None;
    }
    // A NIL host would start a group: an address without a domain has an empty one.
    Some(Address {
        name: Some(name).filter(|n| !n.is_empty()),
        mailbox: Some(local),
        host: Some(host.unwrap_or_default()),
    })
}

/// Words with single spaces between them.
fn words(tokens: &[Token]) -> Vec<u8> {
    let words: Vec<&[u8]> = tokens
        .iter()
        .filter_map(|t| match t {
            Token::Word(text) | Token::Quoted(text) => Some(text.as_slice()),
            Token::Special(_) | Token::Comment(_) => None,
        })
        .collect();
    words.join(&b' ')
}

/// Words without anything between them.
fn glued(tokens: &[Token]) -> Vec<u8> {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Word(text) | Token::Quoted(text) => out.extend_from_slice(text),
            Token::Special(byte) => out.push(*byte),
            Token::Comment(_) => {}
        }
    }
    out
}

/// A value and its `;name=value` parameters (RFC 2045 §5.1), names and values as they stand (RFC 2231 not decoded).
pub(crate) fn with_parameters(value: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let tokens: Vec<Token> =
        tokens(value, b";=").into_iter().filter(|t| !matches!(t, Token::Comment(_))).collect();
    let mut groups = tokens.split(|t| *t == Token::Special(b';'));
    let head = groups.next().map(glued).unwrap_or_default();
    let mut parameters = Vec::new();
    for group in groups.take(PARAMETERS_MAX) {
        let Some(equals) = group.iter().position(|t| *t == Token::Special(b'=')) else { continue };
        let name = glued(&group[..equals]);
        let value = match &group[equals + 1..] {
            [Token::Quoted(text), ..] => text.clone(),
            // `filename=two words.txt` is against the grammar and common.
            rest if rest.len() > 1 && rest.iter().all(|t| matches!(t, Token::Word(_))) => words(rest),
            rest => glued(rest),
        };
        if !name.is_empty() {
            parameters.push((String::from_utf8_lossy(&name).into_owned(), value));
        }
    }
    (String::from_utf8_lossy(&head).trim().to_owned(), parameters)
}

/// A field without comments, white space and quotes.
fn strip_comments(value: &[u8]) -> String {
    String::from_utf8_lossy(&glued(&tokens(value, b""))).into_owned()
}
