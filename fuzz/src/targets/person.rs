//! What a person writes and reads at a terminal: messages in an editor, queries, HTML as text, quotations.

use super::imap;
use sealpost_client::{edit::Edited, query, quote};
use sealpost_proto::{
    imap::{Body, Command, Tag},
    message::{html, write},
};

/// Text has an end in proportion to its HTML, and the words of a beginning are the first.
pub(crate) fn html(input: &[u8]) {
    let page = String::from_utf8_lossy(input);
    let text = html::to_text(&page);
    // A quotation adds a mark to each of its lines, a list an indent to each item, twenty deep at most.
    assert!(text.len() <= 40 * page.len() + 64, "{} octets made of {}", text.len(), page.len());
    assert_eq!(text.trim(), text);
    let words = html::words(&page, true);
    let mut cut = page.len() / 2;
    while !page.is_char_boundary(cut) {
        cut -= 1;
    }
    assert!(words.starts_with(&html::words(&page[..cut], false)), "the words of a beginning are others");
}

/// A message that was edited is one or is refused, and comes back as it was; nothing of a header line ends it early.
pub(crate) fn edited(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(edited) = Edited::parse(&text) {
        assert!(
            write::is_header_text(&edited.subject)
                && edited.attachments.iter().all(|name| Edited::takes_file(name))
        );
        assert_eq!(Edited::parse(&edited.to_text()).as_ref(), Ok(&edited), "it came back otherwise");
    }
    for line in quote::quoted(&text).lines() {
        assert!(line.starts_with('>'), "{line:?} is not marked");
    }
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    assert_eq!(letters(&quote::wrapped(&text, 40)), letters(&text), "words are lost");
}

/// A query becomes one command, whatever stands in it.
pub(crate) fn query(input: &[u8]) {
    let Ok(key) = query::parse(&String::from_utf8_lossy(input)) else { return };
    let Some(tag) = Tag::new("a".to_owned()) else { return };
    let charset = Some("UTF-8".to_owned());
    imap::goes_as_one(&Command { tag, body: Body::Search { uid: true, returns: None, charset, key } });
}
