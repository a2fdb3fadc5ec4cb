//! Names under which attachments are saved: the sender chooses them, so they are hostile.

use super::words::safe_line;
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Longest name in octets: common file systems take 255, and room for a number is left.
const MAX_NAME_OCTETS: usize = 200;

/// Most numbered names tried before giving up.
const MAX_NUMBER: u32 = 10_000;

/// A name without path, control characters, leading dot or what other systems forbid; never empty.
pub(crate) fn sanitised(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String =
        safe_line(last).chars().map(|c| if "<>:\"|?*".contains(c) { '_' } else { c }).collect();
    let clean = clean.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']);
    let clean = cut(clean, MAX_NAME_OCTETS);
    if clean.is_empty() { "attachment".to_owned() } else { clean }
}

/// Cuts the middle out, so that the ending stays.
fn cut(name: &str, octets: usize) -> String {
    if name.len() <= octets {
        return name.to_owned();
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() <= 16 => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    let mut end = (octets - ending.len()).min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &stem[..end])
}

/// Creates a new file for `name` in `folder`, for the user alone; a name that is taken gets a number, nothing is ever
/// overwritten and no link is followed.
pub(crate) fn create(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let name = sanitised(name);
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => (stem.to_owned(), format!(".{ending}")),
        _ => (name.clone(), String::new()),
    };
    for number in 1..=MAX_NUMBER {
        let path = folder.join(if number == 1 { name.clone() } else { format!("{stem} ({number}){ending}") });
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("there are too many files called {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_lose_their_teeth() {
        let rows = [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("/etc/passwd", "passwd"),
            ("C:\\windows\\x.dll", "x.dll"),
            (".bashrc", "bashrc"),
            ("..", "attachment"),
            ("", "attachment"),
            ("a/", "attachment"),
            ("a\u{0}b\n.txt", "a b .txt"),
            ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
            ("a:b?.txt", "a_b_.txt"),
            ("grün 日.txt", "grün 日.txt"),
        ];
        for (name, want) in rows {
            assert_eq!(sanitised(name), want, "{name:?}");
        }
        let long = sanitised(&format!("{}.pdf", "ü".repeat(300)));
        assert!(long.len() <= MAX_NAME_OCTETS && long.ends_with("ü.pdf"));
    }

    #[test]
    fn taken_names_are_numbered_and_links_not_followed() {
        let folder = tempfile::tempdir().expect("temp folder");
        let other = folder.path().join("outside");
        std::os::unix::fs::symlink(&other, folder.path().join("a.txt")).expect("link");
        let names: Vec<_> = (0..3)
            .map(|_| create(folder.path(), "a.txt").expect("created").1)
            .map(|p| p.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["a (2).txt", "a (3).txt", "a (4).txt"]);
        assert!(!other.exists());
    }

    proptest! {
        #[test]
        fn a_name_is_a_name(name in "[\\PC\0-\x1f./\\\\]{0,300}") {
            let clean = sanitised(&name);
            prop_assert!(!clean.is_empty() && clean.len() <= MAX_NAME_OCTETS);
            prop_assert!(!clean.contains(['/', '\\', '\0', '\n']) && !clean.starts_with('.'));
        }
    }
}
