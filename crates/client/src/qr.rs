//! QR codes (ISO/IEC 18004): for the terminal, and as SVG for a printed page.

use crate::error::ClientError;
use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write as _;

/// Empty modules on each side (ISO/IEC 18004 §6.3.8).
const QUIET_ZONE: i32 = 4;

/// A QR code.
#[derive(Clone)]
pub struct Qr(QrCode);

impl Qr {
    /// For `text`, with a quarter of it restorable where `printed` (paper is folded and stained), else 15 %.
    pub fn new(text: &str, printed: bool) -> Result<Self, ClientError> {
        let level = if printed { QrCodeEcc::Quartile } else { QrCodeEcc::Medium };
        QrCode::encode_text(text, level)
            .map(Self)
            .map_err(|_| ClientError::Refused("this is too long for a QR code".to_owned()))
    }

    /// For a terminal, two modules a character, quiet zone included. With `colour` black on white, whatever the terminal
    /// looks like; without, light modules are drawn, which is right on dark terminals (and most cameras take either).
    pub fn terminal(&self, colour: bool) -> String {
        let mut text = String::new();
        let range = || -QUIET_ZONE..self.0.size() + QUIET_ZONE;
        for y in range().step_by(2) {
            if colour {
                text.push_str("\x1b[30;107m");
            }
            for x in range() {
                // Under the last line of an odd number there is nothing, which is light.
                let (upper, lower) = (!self.0.get_module(x, y), !self.0.get_module(x, y + 1));
                let drawn = if colour { (!upper, !lower) } else { (upper, lower) };
                text.push(match drawn {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            if colour {
                text.push_str("\x1b[0m");
            }
            text.push('\n');
        }
        text
    }

    /// As an SVG element that stands by itself or inside HTML, `width_mm` wide on paper.
    pub fn svg(&self, width_mm: u32) -> String {
        let side = self.0.size() + 2 * QUIET_ZONE;
        let mut path = String::new();
        for y in 0..self.0.size() {
            for x in (0..self.0.size()).filter(|x| self.0.get_module(*x, y)) {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{},{}h1v1h-1z", x + QUIET_ZONE, y + QUIET_ZONE);
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width_mm}mm\" height=\"{width_mm}mm\" \
             viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\"><rect width=\"{side}\" height=\"{side}\" \
             fill=\"#fff\"/><path d=\"{path}\" fill=\"#000\"/></svg>"
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn the_terminal_shows_every_module() {
        let qr = Qr::new("bob@example.com", false).expect("short");
        let side = usize::try_from(qr.0.size() + 2 * QUIET_ZONE).expect("positive");
        for colour in [false, true] {
            let text = qr.terminal(colour).replace("\x1b[30;107m", "").replace("\x1b[0m", "");
            let rows: Vec<Vec<char>> = text.lines().map(|l| l.chars().collect()).collect();
            assert_eq!(rows.len(), side.div_ceil(2));
            for (y, row) in rows.iter().enumerate() {
                assert_eq!(row.len(), side);
                for (x, c) in row.iter().enumerate() {
                    let at = |n: usize| i32::try_from(n).expect("small") - QUIET_ZONE;
                    let drawn = |y: usize| qr.0.get_module(at(x), at(y)) == colour;
                    let want = match (drawn(2 * y), drawn(2 * y + 1)) {
                        (true, true) => '█',
                        (true, false) => '▀',
                        (false, true) => '▄',
                        (false, false) => ' ',
                    };
                    assert_eq!(*c, want, "{x},{y}");
                }
            }
        }
    }

    /// What a camera before the terminal reads.
    pub(crate) fn scanned(rows: &[Vec<bool>]) -> String {
        const PIXELS: usize = 4;
        let (height, width) = (rows.len() * PIXELS, rows[0].len() * PIXELS);
        let light = |x: usize, y: usize| if rows[y / PIXELS][x / PIXELS] { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, light);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code is found");
        grids[0].decode().expect("it can be read").1
    }

    #[test]
    fn other_software_reads_it() {
        for text in
            ["bob@example.com SHA256:R6UCkibq6VKLCRAFkGv2L/PsdiLEpMc1k3TVjkgyF9s", "ÜBER@example.com x"]
        {
            for printed in [false, true] {
                let qr = Qr::new(text, printed).expect("short");
                let side = || -QUIET_ZONE..qr.0.size() + QUIET_ZONE;
                let rows: Vec<Vec<bool>> =
                    side().map(|y| side().map(|x| qr.0.get_module(x, y)).collect()).collect();
                assert_eq!(scanned(&rows), text);
            }
        }
    }

    #[test]
    fn svg_has_a_square_for_each_dark_module() {
        let qr = Qr::new("bob@example.com", true).expect("short");
        let dark = (0..qr.0.size()).flat_map(|y| (0..qr.0.size()).map(move |x| (x, y)));
        let dark = dark.filter(|(x, y)| qr.0.get_module(*x, *y)).count();
        let svg = qr.svg(40);
        assert_eq!(svg.matches("h1v1h-1z").count(), dark);
        assert!(svg.contains("width=\"40mm\""), "{svg}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        // Version 40 holds 2,331 octets at the medium level.
        assert!(Qr::new(&"ü".repeat(1_165), false).is_ok());
        assert!(Qr::new(&"ü".repeat(1_166), false).is_err());
    }
}
