//! The first words of a message (RFC 8970), from the beginning of its text.

use super::html;

/// Characters of a preview (RFC 8970 §3.2 asks for no more than 200).
pub const CHARACTERS_MAX: usize = 200;
/// Octets of all parts together that are looked at.
pub const LOOKED_AT_MAX: u64 = 64 * 1024;
/// Text parts that are looked at: some programs send an empty one before that with the words.
pub const PARTS_MAX: usize = 4;
/// Text that begins like this is sealed: it has no words for people.
const SEALED: [&str; 2] = ["-----BEGIN AGE ENCRYPTED FILE-----", "-----BEGIN PGP MESSAGE-----"];

/// Whether a text is sealed.
pub fn is_sealed(text: &str) -> bool {
    SEALED.iter().any(|start| text.trim_start().starts_with(start))
}

/// Of HTML, or of its beginning (not `whole`).
pub fn of_html(text: &str, whole: bool) -> String {
    shortened(html::words(text, whole).chars())
}

/// Of plain text, or of its beginning; `last`: no more of it will be looked at.
pub fn of_text(text: &str, last: bool) -> String {
    // What the sender wrote says more than what he quotes.
    let own = text.lines().filter(|line| !line.starts_with('>'));
    let own = shortened(own.flat_map(|line| line.chars().chain([' '])));
    if own.is_empty() && last { shortened(text.chars()) } else { own }
}

/// As many words as fit, single spaces between them; control characters are spaces. Characters that nobody sees are left
/// out: senders fill up what follows a short preview with them. Joiners stay where they join.
fn shortened(text: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    let (mut count, mut space, mut joiner) = (0, false, None);
    for c in text {
        match c {
            '\u{ad}'
            | '\u{34f}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => continue,
            '\u{200c}' | '\u{200d}' => {
                joiner = Some(c).filter(|_| count > 0 && !space);
                continue;
            }
            _ if c.is_whitespace() || c.is_control() => {
                (space, joiner) = (count > 0, None);
                continue;
            }
            _ => {}
        }
        if count + usize::from(space || joiner.is_some()) >= CHARACTERS_MAX {
            break;
        }
        if let Some(between) = joiner.take().or_else(|| std::mem::take(&mut space).then_some(' ')) {
            out.push(between);
            count += 1;
        }
        out.push(c);
        count += 1;
    }
    out
}
