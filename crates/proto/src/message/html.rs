//! HTML mail as text: tags go, nothing is loaded. For readers links show where they lead; for lists of messages there are
//! the words alone.

use mail_parser::decoders::html::add_html_token;

/// Longest link target shown.
const MAX_LINK_CHARS: usize = 500;

/// Longest character reference (`&CounterClockwiseContourIntegral;`).
const MAX_ENTITY_OCTETS: usize = 40;

/// Elements whose content is not text.
const HIDDEN: [&str; 6] = ["script", "style", "head", "title", "template", "noscript"];

/// Deepest quotations and lists that show; replies to replies of years are deeper, and hostile mail has no end.
const MAX_DEPTH: usize = 20;

/// Longest text in the place of a picture, in characters.
const MAX_ALT_CHARS: usize = 200;

/// Elements that begin and end a line.
const BLOCKS: [&str; 23] = [
    "address", "article", "aside", "body", "center", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "main", "p", "pre", "section", "table",
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
    // Lists that are open: the number of the next item where they are numbered.
    let mut lists: Vec<Option<u32>> = Vec::new();
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
                    item(&mut out, &mut lists);
                }
            }
            "hr" if layout => {
                out.block();
                out.text("----------");
                out.block();
            }
            "blockquote" if layout => out.quote(closing),
            "blockquote" | "hr" | "tr" | "li" => out.block(),
            "td" | "th" => out.text(" "),
            "ul" | "ol" => {
                out.block();
                if closing {
                    lists.pop();
                } else if lists.len() < MAX_DEPTH {
                    lists.push((name == "ol").then_some(1));
                }
            }
            "pre" if layout => {
                out.block();
                out.kept = !closing;
            }
            "img" if layout => {
                if let Some(text) = attribute(tag, "alt", MAX_ALT_CHARS).filter(|text| !text.is_empty()) {
                    out.text("[");
                    out.raw(&text);
                    out.text("]");
                }
            }
            "a" if !closing && layout => {
                link = attribute(tag, "href", MAX_LINK_CHARS).map(|target| (target, out.out.len()));
            }
            "a" => {
                if let Some((target, start)) = link.take()
                    && let Some(target) = shown_target(&target)
                    && !out.out.get(start..).is_some_and(|shown| shown.contains(target))
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

/// What begins an item of the innermost list.
fn item(out: &mut Text, lists: &mut [Option<u32>]) {
    out.raw(&"  ".repeat(lists.len().saturating_sub(1)));
    match lists.last_mut() {
        Some(Some(number)) => {
            out.raw(&format!("{number}. "));
            *number = number.saturating_add(1);
        }
        _ => out.raw("- "),
    }
}

/// Of a link's target what is shown: where it leads on the web, or whom it writes to.
fn shown_target(target: &str) -> Option<&str> {
    let has =
        |scheme: &str| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if has("http:") || has("https:") {
        return Some(target);
    }
    has("mailto:").then(|| target["mailto:".len()..].split('?').next().unwrap_or_default())
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

/// The value of an attribute, its first `limit` characters, without white space at the ends and line breaks.
fn attribute(tag: &str, name: &str, limit: usize) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let mut from = 0;
    let value = loop {
        let at = from + lower[from..].find(name)?;
        let behind = tag[at + name.len()..].trim_ascii_start();
        let stands_alone = tag[..at].ends_with(|c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\''));
        match behind.strip_prefix('=') {
            Some(value) if stands_alone => break value.trim_ascii_start(),
            _ => from = at + name.len(),
        }
    };
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(|c: char| c.is_ascii_whitespace()).next()?,
    };
    let mut out = Text::default();
    out.text(value.trim());
    Some(out.out.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect())
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
    out: String,
    space: bool,
    /// In `pre`: white space stays as it is.
    kept: bool,
    /// Where open quotations begin.
    quotes: Vec<usize>,
    /// Quotations that were too deep to be opened.
    deeper: usize,
}

impl Text {
    fn finish(mut self) -> String {
        while !self.quotes.is_empty() {
            self.quote(true);
        }
        self.out.trim().to_owned()
    }

    /// A quotation begins or ends. Its lines get their marks at the end, and each line is marked [`MAX_DEPTH`] times at
    /// most: the work is bounded by that.
    fn quote(&mut self, closing: bool) {
        self.block();
        if !closing {
            if self.quotes.len() < MAX_DEPTH {
                self.quotes.push(self.out.len());
            } else {
                self.deeper += 1;
            }
            return;
        }
        if self.deeper > 0 {
            self.deeper -= 1;
            return;
        }
        let Some(start) = self.quotes.pop() else { return };
        let quoted = self.out.split_off(start);
        for line in quoted.trim_matches('\n').lines() {
            self.out.push_str(if line.is_empty() || line.starts_with('>') { ">" } else { "> " });
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
        self.space = false;
    }

    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if c.is_ascii_whitespace() && self.kept {
                self.out.push_str(if c == '\r' { "" } else { &rest[..1] });
                rest = &rest[1..];
                continue;
            }
            if c.is_ascii_whitespace() {
                self.space = true;
                rest = &rest[1..];
                continue;
            }
            if self.space && !self.out.is_empty() && !self.out.ends_with(['\n', ' ']) {
                self.out.push(' ');
            }
            self.space = false;
            let entity =
                (c == '&').then(|| rest.bytes().take(MAX_ENTITY_OCTETS).position(|b| b == b';')).flatten();
            match entity {
                Some(end) if rest[1..end].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#') => {
                    add_html_token(&mut self.out, &rest.as_bytes()[..=end], false);
                    rest = &rest[end + 1..];
                }
                _ => {
                    self.out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
    }

    fn line_break(&mut self) {
        // At most one empty line.
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        self.space = false;
    }

    fn block(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
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
            ("<ol><li>x<ul><li>a<li>b</ul><li>y</ol>z", "1. x\n  - a\n  - b\n2. y\nz"),
            ("a<blockquote>b<p>c</p><blockquote>d</blockquote></blockquote>e", "a\n> b\n> c\n>\n>> d\ne"),
            ("<blockquote>a<br>b", "> a\n> b"),
            ("a</blockquote>b", "a\nb"),
            ("<pre>a  b\n  c</pre>d  e", "a  b\n  c\nd e"),
            ("a<hr>b", "a\n----------\nb"),
            ("<img src=x alt=\"A cat\"><img alt=''>", "[A cat]"),
            ("<a\nclass=\"x\"href = 'HTTPS://x.example/'>y</a>", "y <HTTPS://x.example/>"),
            (
                "<a data-href=\"https://a.example/\" href=\"https://b.example/\">y</a>",
                "y <https://b.example/>",
            ),
            ("<a href=\"mailto:a@x.example?subject=s\">me</a>", "me <a@x.example>"),
            (
                "<a href=\"https://x.example/&#10;&#10;good: fake\">y</a>",
                "y <https://x.example/  good: fake>",
            ),
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
        fn never_panics(html in "(<|>|/|!--|-->|\"|'|&|;|#|x|1|é| |\n|a|p|script|style| href=|<ol>|<li>|</ul>|<pre>|<blockquote>|</blockquote>|<img alt=){0,60}") {
            to_text(&html);
        }

        #[test]
        fn nothing_of_a_script_is_text(
            before in "(<p>|a|<b>|<blockquote>|<pre>| ){0,9}",
            script in "[ -;=?-~\n]{0,40}",
            name in "(script|STYLE|title|Template)",
        ) {
            let html = format!("{before}<{name}>{script}SECRET{script}</{name}>behind");
            let text = to_text(&html);
            prop_assert!(!text.contains("SECRET") && text.contains("behind"), "{text:?}");
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
