//! The printable page of a recovery kit: plain text, or one HTML file that needs nothing else.

use crate::{error::ClientError, qr::Qr};
use sealpost_crypto::recovery::RecoveryKey;
use sealpost_proto::{address::Address, time::Timestamp};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Side of the code on paper: modules of a millimetre, which any camera takes.
const QR_MM: u32 = 45;

/// What stands on a page.
pub struct Page<'a> {
    /// Whose.
    pub address: &'a Address,
    /// The key.
    pub kit: &'a RecoveryKey,
    /// When it was made.
    pub made: Timestamp,
}

impl Page<'_> {
    /// `SHA256:…` of the kit's public half, by which `recovery show` names the page in force.
    pub fn fingerprint(&self) -> String {
        self.kit.key(self.address).public().fingerprint()
    }

    fn words(&self) -> Vec<Zeroizing<String>> {
        self.kit.words().split(' ').map(|word| Zeroizing::new(word.to_owned())).collect()
    }

    fn day(&self) -> String {
        self.made.to_rfc3339().chars().take(10).collect()
    }

    /// For a terminal or a printer, in 72 columns.
    pub fn text(&self) -> Zeroizing<String> {
        // Written in place, so that no copy of a word is left behind; writing to a String cannot fail.
        let mut text = Zeroizing::new(String::with_capacity(4_096));
        text.push_str("SEALPOST RECOVERY KIT\n\n");
        let _ = writeln!(*text, "Address   {}", self.address);
        let _ = writeln!(*text, "Made on   {}", self.day());
        let _ = write!(*text, "Kit       {}\n\n", self.fingerprint());
        text.push_str(PURPOSE);
        text.push_str("\n\nThe twelve words:\n\n");
        for (n, word) in self.words().iter().enumerate() {
            let _ = match n % 4 {
                3 => writeln!(*text, "  {:>2} {}", n + 1, **word),
                _ => write!(*text, "  {:>2} {:<12}", n + 1, **word),
            };
        }
        text.push_str("\nThe same as text:\n\n  ");
        text.push_str(&self.kit.text());
        text.push_str("\n\nIf the password is forgotten:\n\n");
        for (n, step) in self.steps().iter().enumerate() {
            let _ = writeln!(*text, "  {}. {step}", n + 1);
        }
        text.push('\n');
        text.push_str(AFTERWARDS);
        text.push('\n');
        text
    }

    fn steps(&self) -> [String; 3] {
        [
            "Ask the administrator of your mail server for a new code.".to_owned(),
            format!("sealpost enrol {}   (choose a new password)", self.address),
            "sealpost recovery use   (type the words, or the text)".to_owned(),
        ]
    }

    /// One file with the QR code in it.
    pub fn html(&self) -> Result<Zeroizing<String>, ClientError> {
        let qr = Zeroizing::new(Qr::new(&self.kit.text(), true)?.svg(QR_MM));
        let mut html = Zeroizing::new(String::with_capacity(qr.len() + 8_192));
        html.push_str(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sealpost recovery kit</title>\n\
             <style>body{font:12pt/1.45 serif;max-width:17cm;margin:2cm auto;color:#000;background:#fff}\
             ol.words{columns:3;font:13pt/1.7 monospace}code{font-size:11pt;overflow-wrap:anywhere}</style></head><body>\n\
             <h1>Sealpost recovery kit</h1>\n",
        );
        let _ = write!(
            *html,
            "<p>Address: <b>{}</b><br>Made on: {}<br>Kit: <code>{}</code></p>\n<p>{}</p>\n<h2>The twelve words</h2>\n\
             <ol class=\"words\">\n",
            escaped(self.address.as_str()),
            self.day(),
            self.fingerprint(),
            escaped(PURPOSE),
        );
        for word in self.words() {
            html.push_str("<li>");
            html.push_str(&word);
            html.push_str("</li>\n");
        }
        html.push_str("</ol>\n<h2>The same as text and as a code to scan</h2>\n<p><code>");
        html.push_str(&self.kit.text());
        html.push_str("</code></p>\n<p>");
        html.push_str(&qr);
        html.push_str("</p>\n<h2>If the password is forgotten</h2>\n<ol>\n");
        for step in self.steps() {
            let _ = writeln!(*html, "<li>{}</li>", escaped(&step));
        }
        let _ = writeln!(*html, "</ol>\n<p>{}</p>\n</body></html>", escaped(AFTERWARDS));
        Ok(html)
    }
}

const PURPOSE: &str = "Whoever has this page and what lies on your mail server can read all your\n\
    mail. Keep it as you keep a passport, away from the computer. It brings back\n\
    all mail and contacts, and stays good when the password or the key changes.";

const AFTERWARDS: &str = "Your contacts will see that your key has changed: tell them the new words\n\
    (`sealpost key show`). If this page is lost, `sealpost recovery revoke`, then\n\
    `sealpost key rotate`, and make a new one.";

/// An address may have any of these in its local part.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_hold_the_key_whole() {
        let address = Address::parse("\"a<b>&c\"@example.net").expect("an address");
        let kit = RecoveryKey::new([0x7f; 16]);
        let page = Page { address: &address, kit: &kit, made: Timestamp(1_795_469_760) };
        let (text, html) = (page.text(), page.html().expect("short"));
        for (n, word) in kit.words().split(' ').enumerate() {
            assert!(text.contains(&format!("{:>2} {word}", n + 1)), "{n} {word}");
            assert!(html.contains(&format!("<li>{word}</li>")), "{n} {word}");
        }
        for form in [&text, &html] {
            assert!(form.contains(&*kit.text()) && form.contains(&page.fingerprint()));
            assert!(form.contains("Made on") && form.contains("2026-11-23") && form.contains("recovery use"));
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80 && line.trim_end() == line), "{}", *text);
        assert!(html.contains("a&lt;b&gt;&amp;c") && !html.contains("a<b>"), "{}", *html);
        assert!(html.contains("<svg") && !html.contains("http-equiv") && !html.contains("src="));
    }

    #[test]
    fn a_camera_reads_the_code_on_the_page() {
        let address = Address::parse("alice@example.net").expect("an address");
        let kit = RecoveryKey::new([3; 16]);
        let page = Page { address: &address, kit: &kit, made: Timestamp(0) };
        let html = page.html().expect("short");
        let (_, path) = html.split_once("<path d=\"").expect("a path");
        let (path, _) = path.split_once('"').expect("its end");
        let (_, side) = html.split_once("viewBox=\"0 0 ").expect("a size");
        let side: usize = side.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        let mut rows = vec![vec![false; side]; side];
        for square in path.split('M').skip(1) {
            let place = square.trim_end_matches("h1v1h-1z");
            let (x, y) = place.split_once(',').expect("a place");
            rows[y.parse::<usize>().expect("y")][x.parse::<usize>().expect("x")] = true;
        }
        let scanned = crate::qr::tests::scanned(&rows);
        assert_eq!(scanned, *kit.text());
        let Ok(read) = RecoveryKey::parse(&scanned) else { panic!("{scanned} is a kit") };
        assert_eq!(*read.words(), *kit.words());
    }
}
