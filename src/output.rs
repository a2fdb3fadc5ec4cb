//! What is printed: text for people or one JSON object for programs.

use crate::exit::{Exit, Failure};
use sealpost_client::qr::Qr;
use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// A terminal that says it is narrower knows nothing of its width.
const COLUMNS_MIN: usize = 20;

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

/// A look for a piece of text, on terminals only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Headings.
    Bold,
    /// What is well.
    Good,
    /// What needs attention.
    Warn,
    /// What is wrong.
    Bad,
    /// What may be skipped.
    Dim,
}

impl Style {
    /// The SGR parameter (ECMA-48 §8.3.117).
    fn sgr(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
        }
    }
}

impl Output {
    /// For `--json` or for people.
    pub fn new(json: bool) -> Self {
        // https://no-color.org: any value that is not empty.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { json, colour: !no_colour && !dumb && !json && io::stdout().is_terminal() }
    }

    /// Whether standard output is one JSON object.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// How many characters a line of the terminal has; `None` where there is no terminal.
    pub fn columns(self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| !self.json)?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns >= COLUMNS_MIN)
    }

    /// `text` in a style where colour is wanted.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", style.sgr()) } else { text.to_owned() }
    }

    /// A line for people: standard output, or standard error with `--json`.
    pub fn line(self, text: impl AsRef<str>) -> io::Result<()> {
        let text = text.as_ref();
        if self.json { writeln!(io::stderr(), "{text}") } else { writeln!(io::stdout(), "{text}") }
    }

    /// A QR code for people.
    pub fn qr(self, text: &str) -> Result<(), Failure> {
        let qr = Qr::new(text, false)?;
        Ok(self.line(qr.terminal(self.colour).trim_end_matches('\n'))?)
    }

    /// Text from a message: control characters other than line feed and tab cannot reach the terminal, where they
    /// could move the cursor and fake a verdict.
    pub fn untrusted(self, text: &str) -> io::Result<()> {
        self.line(printable(text).trim_end_matches('\n'))
    }

    /// The one JSON object; nothing without `--json`.
    pub fn object(self, value: &serde_json::Value) -> io::Result<()> {
        if self.json {
            let mut out = io::stdout().lock();
            serde_json::to_writer(&mut out, value)?;
            out.write_all(b"\n")?;
            out.flush()?;
        }
        Ok(())
    }

    /// Ends a command that failed: a sentence on standard error, with `--json` an object too.
    pub fn failure(self, failure: &Failure) -> ExitCode {
        if failure.exit == Exit::Closed {
            return ExitCode::from(Exit::Closed as u8);
        }
        let mut object = match failure.details.clone() {
            Some(serde_json::Value::Object(map)) => map,
            _ => serde_json::Map::new(),
        };
        object.insert("error".into(), failure.message.clone().into());
        object.insert("exit".into(), (failure.exit as u8).into());
        // Nothing can be done about a standard output or error that is gone.
        drop(self.object(&object.into()));
        drop(writeln!(io::stderr(), "sealpost: {}", printable(&failure.message)));
        ExitCode::from(failure.exit as u8)
    }
}

/// `text` without control characters (but LF and TAB), and without the marks that turn text around (UAX #9), which
/// could make an address or a file name look like another.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}

/// [`printable`] on one line.
pub fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\x07\u{9b}c\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d");
        assert_eq!(printable("line\r\nnext\tü ☃"), "line\nnext\tü ☃");
        assert_eq!(one_line("a\nverdict: good"), "a verdict: good");
    }

    #[test]
    fn paint_is_plain_without_a_terminal() {
        assert_eq!(Output { json: false, colour: false }.paint(Style::Bad, "x"), "x");
        assert_eq!(Output { json: false, colour: true }.paint(Style::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
