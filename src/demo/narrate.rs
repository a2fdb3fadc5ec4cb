//! How the demo speaks: a heading and a few lines for each step, conversations as the draft prints them.

use crate::output::{Output, Style, one_line, printable};
use sealpost_proto::transcript::Side;
use std::{io, time::Instant};

/// Columns of running text.
const WIDTH: usize = 96;

/// Lines of one conversation that are shown; the rest is counted.
const MAX_LINES: usize = 90;

/// Characters of a word that are shown: a Message-ID and the draft's AUTH line are whole, a key is cut.
const MAX_WORD: usize = 56;

/// A line of a recorded conversation.
pub type Line = (Side, String);

/// Tells the story and keeps the score.
pub struct Narrator {
    out: Output,
    begin: Instant,
    steps: Vec<Step>,
}

/// One step, done or not.
struct Step {
    title: String,
    ok: bool,
}

impl Narrator {
    /// At the beginning.
    pub fn new(out: Output) -> Self {
        Self { out, begin: Instant::now(), steps: Vec::new() }
    }

    /// Begins a step; it counts as failed until [`Narrator::done`].
    pub fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps.push(Step { title: title.to_owned(), ok: false });
        let heading = format!("{}. {title}", self.steps.len());
        self.out.line("")?;
        self.out.line(self.out.paint(Style::Bold, &heading))?;
        self.out.line(self.out.paint(Style::Dim, &"─".repeat(heading.chars().count())))
    }

    /// The step worked; `text` says what that means.
    pub fn done(&mut self, text: &str) -> io::Result<()> {
        if let Some(step) = self.steps.last_mut() {
            step.ok = true;
        }
        for (number, line) in wrap(text, WIDTH - 2).into_iter().enumerate() {
            let mark = if number == 0 { self.out.paint(Style::Good, "✓") } else { " ".to_owned() };
            self.out.line(format!("{mark} {line}"))?;
        }
        Ok(())
    }

    /// The step failed.
    pub fn failed(&self, why: &str) -> io::Result<()> {
        self.out.line(format!("{} {}", self.out.paint(Style::Bad, "✗ this step failed:"), printable(why)))
    }

    /// Running text.
    pub fn explain(&self, text: &str) -> io::Result<()> {
        wrap(text, WIDTH).iter().try_for_each(|line| self.out.line(line))
    }

    /// A conversation, below a line that says what it is.
    pub fn dialogue(&self, about: &str, lines: &[Line]) -> io::Result<()> {
        self.out.line("")?;
        self.explain(about)?;
        let lines = shortened(&told_apart(lines));
        for (side, text) in lines.iter().take(MAX_LINES) {
            let text = one_line(text);
            self.out.line(match side {
                Side::Client => format!("  {} {text}", self.out.paint(Style::Good, "C:")),
                Side::Server => format!("  {} {text}", self.out.paint(Style::Warn, "S:")),
                Side::Note => format!("  {}", self.out.paint(Style::Dim, &format!("   [{text}]"))),
            })?;
        }
        if lines.len() > MAX_LINES {
            self.out.line(format!("     … and {} lines more", lines.len() - MAX_LINES))?;
        }
        Ok(())
    }

    /// Text as it lies in a file or came in a message.
    pub fn quote(&self, lines: &[String]) -> io::Result<()> {
        for line in lines {
            self.out.line(format!("  {} {}", self.out.paint(Style::Dim, "│"), one_line(line)))?;
        }
        Ok(())
    }

    /// The end: what was shown, in how long.
    pub fn summary(&self) -> io::Result<()> {
        self.out.line("")?;
        self.out.line(self.out.paint(Style::Bold, "Summary"))?;
        for (number, step) in self.steps.iter().enumerate() {
            let mark =
                if step.ok { self.out.paint(Style::Good, "✓") } else { self.out.paint(Style::Bad, "✗") };
            self.out.line(format!("{mark} {:>2}. {}", number + 1, step.title))?;
        }
        let seconds = self.begin.elapsed().as_secs_f32();
        self.out.line(format!("{seconds:.1} s, two servers, two people, nothing outside this machine."))?;
        let steps: Vec<_> =
            self.steps.iter().map(|s| serde_json::json!({ "step": s.title, "ok": s.ok })).collect();
        let ok = self.steps.iter().all(|s| s.ok);
        self.out.object(&serde_json::json!({ "ok": ok, "steps": steps, "seconds": seconds }))
    }
}

/// Says where a conversation goes on after another one, held in the middle of it, has ended.
fn told_apart(lines: &[Line]) -> Vec<Line> {
    let mut kept: Vec<Line> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    for (number, (side, text)) in lines.iter().enumerate() {
        let first = number == 0 || lines[number - 1].0 == Side::Note;
        let word = text.split(' ').nth(1).unwrap_or_default();
        kept.push((*side, text.clone()));
        if *side == Side::Server && first && text.starts_with("220 ") {
            open.push(word.to_owned());
        } else if *side == Side::Server && text.starts_with("221 ") {
            open.pop();
            if let (Some(host), true) = (open.last(), number + 1 < lines.len()) {
                kept.push((Side::Note, format!("on with {host}")));
            }
        }
    }
    kept
}

/// The conversation without what only repeats: of an EHLO reply, the lines the draft speaks of (the first
/// conversation of the demo shows what else there is), of long words the beginning.
fn shortened(lines: &[Line]) -> Vec<Line> {
    let spoken_of = ["ENCRYPTMESSAGE", "SIGNMESSAGE", "AUTH", "STARTTLS", "XSEALPOST"];
    let mut kept: Vec<Line> = Vec::new();
    let (mut in_ehlo, mut left_out) = (false, false);
    for (side, text) in lines {
        match side {
            Side::Client => in_ehlo = text.starts_with("EHLO "),
            Side::Server if in_ehlo => {
                let keyword = text.get(4..).unwrap_or("");
                let first = kept.last().is_some_and(|(side, _)| *side == Side::Client);
                if !first && !spoken_of.iter().any(|k| keyword.starts_with(k)) {
                    if !std::mem::replace(&mut left_out, true) {
                        kept.push((*side, "250-…".to_owned()));
                    }
                    continue;
                }
            }
            Side::Server | Side::Note => {}
        }
        if !in_ehlo {
            left_out = false;
        }
        kept.push((*side, text.split(' ').map(short_word).collect::<Vec<_>>().join(" ")));
    }
    kept
}

/// Keys, statements and salts are long; their beginning tells them apart.
fn short_word(word: &str) -> String {
    match word.char_indices().nth(MAX_WORD) {
        Some((at, _)) => format!("{}…", &word[..at]),
        None => word.to_owned(),
    }
}

/// Lines of at most `width` columns, cut between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Line, Side, shortened, told_apart, wrap};

    #[test]
    fn a_conversation_inside_another_is_told_apart() {
        let line = |side, text: &str| -> Line { (side, text.to_owned()) };
        let spoken = [
            line(Side::Note, "TLS"),
            line(Side::Server, "220 home ESMTP"),
            line(Side::Note, "TLS"),
            line(Side::Server, "220 away ESMTP"),
            line(Side::Server, "221 2.0.0 Bye"),
            line(Side::Client, "MAIL FROM:<a@b>"),
            line(Side::Server, "221 2.0.0 Bye"),
        ];
        let shown = told_apart(&spoken);
        assert_eq!(shown.len(), spoken.len() + 1);
        assert_eq!(shown[5], line(Side::Note, "on with home"));
    }

    #[test]
    fn an_ehlo_reply_keeps_what_the_draft_speaks_of() {
        let line = |side, text: &str| -> Line { (side, text.to_owned()) };
        let (client, server) = (Side::Client, Side::Server);
        let spoken = [
            line(client, "EHLO a"),
            line(server, "250-b"),
            line(server, "250-PIPELINING"),
            line(server, "250-SIZE 1"),
            line(server, "250-AUTH HASHEDPASS"),
            line(server, "250 ENCRYPTMESSAGE"),
            line(client, "QUIT"),
            line(server, "221 2.0.0 Bye"),
        ];
        let shown: Vec<String> = shortened(&spoken).into_iter().map(|(_, text)| text).collect();
        let expected = [
            "EHLO a",
            "250-b",
            "250-…",
            "250-AUTH HASHEDPASS",
            "250 ENCRYPTMESSAGE",
            "QUIT",
            "221 2.0.0 Bye",
        ];
        assert_eq!(shown, expected);
        let long = shortened(&[line(server, &format!("220 ed25519 {}", "Q".repeat(92)))]);
        assert_eq!(long[0].1, format!("220 ed25519 {}…", "Q".repeat(56)));
    }

    #[test]
    fn text_is_cut_between_words() {
        assert_eq!(wrap("one two  three\nfour", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("unbreakable word", 4), ["unbreakable", "word"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
