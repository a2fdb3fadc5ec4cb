//! HTML mail as text: tags go, nothing is loaded. For readers links show where they lead; for lists of messages there are
//! the words alone.

use mail_parser::decoders::html::add_html_token;

/// Longest link target shown.
const MAX_LINK_CHARS: usize = 500;

/// Longest character reference (`&CounterClockwiseContourIntegral;`).
const MAX_ENTITY_OCTETS: usize = 40;

/// Elements whose content is not text.
const HIDDEN: [&str; 6] = ["script", "style", "head", "title", "template", "noscript"];

/// Elements that begin and end a line.
const BLOCKS: [&str; 26] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "ul",
];

/// The text of `html` to be read, with its links and lists.
pub fn to_text(html: &str) -> String {
    read(html, true, true)
}

/// The words of `html` without links. Of a beginning (not `whole`) those of which nothing that may follow makes anything
/// else: what the whole gives begins with them.
pub fn words(html: &str, whole: bool) -> String {
    read(html, false, whole)
}

fn read(html: &str, layout: bool, whole: bool) -> String {
    let mut out = Text::default();
    let mut link: Option<(String, usize)> = None;
    let mut rest = html;
    // Whether quotes in tags are observed: after one that is never closed they are not, so that reading stays linear.
    let mut quotes = true;
    while let Some(open) = rest.find('<') {
        out.text(&rest[..open]);
        rest = &rest[open..];
        if !whole && "<!--".starts_with(rest) {
            return out.finish();
        }
        if let Some(comment) = rest.strip_prefix("<!--") {
            match comment.find("-->") {
                Some(end) => rest = &comment[end + 3..],
                None if whole => rest = "",
                None => return out.finish(),
            }
            continue;
        }
        // A `<` that begins no tag is text.
        if !rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            out.text("<");
            rest = &rest[1..];
            continue;
        }
        let observed = quotes;
        let (tag, behind) = split_tag(rest, &mut quotes);
        if !whole && (quotes != observed || behind.is_empty()) {
            return out.finish();
        }
        rest = behind;
        let (name, closing) = match tag.strip_prefix('/') {
            Some(tag) => (tag_name(tag), true),
            None => (tag_name(tag), false),
        };
        match name.as_str() {
            "br" => out.line_break(),
            "li" if !closing => {
                out.block();
                if layout {
                    out.text("- ");
                }
            }
            "hr" | "tr" | "li" => out.block(),
            "td" | "th" => out.text(" "),
            "a" if !closing && layout => {
                link = attribute(tag, "href").map(|target| (target, out.text.len()));
            }
            "a" => {
                if let Some((target, start)) = link.take()
                    && (target.starts_with("http:") || target.starts_with("https:"))
                    && !out.text.get(start..).is_some_and(|shown| shown.contains(target.as_str()))
                {
                    out.raw(&format!(" <{target}>"));
                }
            }
            name if HIDDEN.contains(&name) && !closing => {
                rest = behind_closing(rest, name);
                if !whole && rest.is_empty() {
                    return out.finish();
                }
            }
            name if BLOCKS.contains(&name) => {
                out.block();
                // Paragraphs and headings stand apart.
                if closing && (name == "p" || name.starts_with('h')) {
                    out.line_break();
                }
            }
            _ => {}
        }
    }
    if !whole {
        // A character reference may end in what follows.
        let last = rest.bytes().rev().take(MAX_ENTITY_OCTETS).position(|b| b == b'&');
        let open = last.map(|back| rest.len() - 1 - back).filter(|at| !rest[*at..].contains(';'));
        rest = &rest[..open.unwrap_or(rest.len())];
    }
    out.text(rest);
    out.finish()
}

/// Up to the `>` that ends the tag, quotes observed, and what is behind it.
fn split_tag<'a>(text: &'a str, quotes: &mut bool) -> (&'a str, &'a str) {
    let mut quote = None;
    for (i, c) in text.char_indices().skip(1).take_while(|_| *quotes) {
        match (quote, c) {
            (None, '>') => return (&text[1..i], &text[i + 1..]),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    *quotes = false;
    text.find('>').map_or((&text[1..], ""), |i| (&text[1..i], &text[i + 1..]))
}

fn tag_name(tag: &str) -> String {
    tag.chars().take_while(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let at = lower.find(&format!(" {name}="))? + name.len() + 2;
    let value = &tag[at..];
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(|c: char| c.is_ascii_whitespace()).next()?,
    };
    let mut out = Text::default();
    out.text(value.trim());
    Some(out.text.chars().take(MAX_LINK_CHARS).collect())
}

/// Behind `</name>`; nothing is left where it is missing.
fn behind_closing<'a>(text: &'a str, name: &str) -> &'a str {
    let mut from = 0;
    while let Some(i) = text[from..].find("</") {
        let at = from + i;
        if text[at + 2..].get(..name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name)) {
            return text[at..].find('>').map_or("", |end| &text[at + end + 1..]);
        }
        from = at + 2;
    }
    ""
}

/// Output with white space collapsed.
#[derive(Default)]
struct Text {
    text: String,
    space: bool,
}

impl Text {
    fn finish(self) -> String {
        self.text.trim().to_owned()
    }

    fn raw(&mut self, text: &str) {
        self.text.push_str(text);
        self.space = false;
    }

    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if c.is_ascii_whitespace() {
                self.space = true;
                rest = &rest[1..];
                continue;
            }
            if self.space && !self.text.is_empty() && !self.text.ends_with(['\n', ' ']) {
                self.text.push(' ');
            }
            self.space = false;
            let entity =
                (c == '&').then(|| rest.bytes().take(MAX_ENTITY_OCTETS).position(|b| b == b';')).flatten();
            match entity {
                Some(end) if rest[1..end].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#') => {
                    add_html_token(&mut self.text, &rest.as_bytes()[..=end], false);
                    rest = &rest[end + 1..];
                }
                _ => {
                    self.text.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
    }

    fn line_break(&mut self) {
        // At most one empty line.
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
        self.space = false;
    }

    fn block(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.space = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn html_becomes_text() {
        let rows = [
            ("plain", "plain"),
            ("<p>Hello  <b>there</b></p><p>You</p>", "Hello there\n\nYou"),
            ("a<br>b<br/>c", "a\nb\nc"),
            ("<div>a</div><div>b</div>", "a\nb"),
            ("<ul><li>x</li><li>y</li></ul>", "- x\n- y"),
            ("a &amp; b &#252; &#xFC; &nope; &", "a & b ü ü &nope; &"),
            ("<head><title>t</title></head><body>x</body>", "x"),
            ("a<script>alert('<b>')</script>b<style>p{}</style>", "ab"),
            ("a<!-- <p>hidden</p> -->b", "ab"),
            ("<a href=\"https://x.example/?a=1&amp;b\">click</a>", "click <https://x.example/?a=1&b>"),
            ("<a href='https://x.example'>https://x.example</a>", "https://x.example"),
            ("<a href=\"javascript:alert(1)\">x</a>", "x"),
            ("<img src=\"https://track.example/1.gif\">x", "x"),
            ("1 < 2 > 1", "1 < 2 > 1"),
            ("<p title=\"a>b\">x", "x"),
            ("<p title=\"open>x", "x"),
            ("a<script>no end", "a"),
            ("<", "<"),
        ];
        for (html, want) in rows {
            assert_eq!(to_text(html), want, "{html:?}");
        }
    }

    #[test]
    fn words_are_without_layout() {
        for (html, want) in [
            ("<ul><li>x</li><li><b>y</b>z</li></ul>", "x\nyz"),
            (
                "<a href=\"https://x.example/\">cl<i>ick</i></a> &uuml;&zwnj;&mdash;",
                "click \u{fc}\u{200c}\u{2014}",
            ),
        ] {
            assert_eq!(words(html, true), want, "{html:?}");
        }
        for (html, want) in [
            ("a<!-- b", "a"),
            ("a<!", "a"),
            ("a<p title=\"x>y", "a"),
            ("a<b", "a"),
            ("a<style>b", "a"),
            ("a &am", "a"),
            (
                "a & b and a long text behind it, without any end",
                "a & b and a long text behind it, without any end",
            ),
            ("a <", "a"),
        ] {
            assert_eq!(words(html, false), want, "{html:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(html in "(<|>|/|!--|-->|\"|'|&|;|#|x|1|é| |\n|a|p|script|style| href=){0,60}") {
            to_text(&html);
        }

        #[test]
        fn words_of_a_beginning_are_the_first(
            html in "(<|>|/|!--|-->|\"|'|&|;|#|x|1|é| |\n|a|<p>|</p>|<style|</style>|<br>| href=|&amp;|&uuml;){0,60}",
            cut in any::<prop::sample::Index>(),
        ) {
            let cuts: Vec<usize> = html.char_indices().map(|(at, _)| at).chain([html.len()]).collect();
            let beginning = words(&html[..cuts[cut.index(cuts.len())]], false);
            let whole = words(&html, true);
            prop_assert!(whole.starts_with(&beginning), "{beginning:?} {whole:?}");
        }
    }
}
