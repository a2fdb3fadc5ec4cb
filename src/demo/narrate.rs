//! How the demo speaks: a heading and a few lines for each step, conversations as the draft prints them.

use crate::output::{Output, Style, one_line, printable};
use sealpost_proto::transcript::Side;
use std::{io, time::Instant};

/// Columns of running text.
const WIDTH: usize = 96;

/// Lines of one conversation that are shown; the rest is counted.
const MAX_LINES: usize = 60;

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
    use super::wrap;

    #[test]
    fn text_is_cut_between_words() {
        assert_eq!(wrap("one two  three\nfour", 9), ["one two", "three", "four"]);
        assert_eq!(wrap("unbreakable word", 4), ["unbreakable", "word"]);
        assert_eq!(wrap("", 4), [""]);
    }
}
