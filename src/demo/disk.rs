//! What lies on a server's disk: looks for plain text in every file, in every disguise that costs nothing to undo.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// How much of a file is read at once; a needle that crosses the border is still found.
const CHUNK_OCTETS: usize = 1 << 20;

/// What was looked at.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files.
    pub files: usize,
    /// Octets.
    pub octets: u64,
    /// Where a needle was found: its name and the file.
    pub found: Vec<(String, PathBuf)>,
}

/// The forms in which `text` could lie about: as it is, in base64 at each of the three alignments, in UTF-16, in
/// hexadecimal. The ends of the base64 forms are cut, since they depend on the neighbours.
fn disguises(text: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![text.to_vec()];
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(text);
        let encoded = sealpost_proto::base64::encode(&shifted).into_bytes();
        let from = [0, 2, 3][shift];
        let to = encoded.len().saturating_sub(4);
        if to > from + 8 {
            forms.push(encoded[from..to].to_vec());
        }
    }
    let words: Vec<u16> = String::from_utf8_lossy(text).encode_utf16().collect();
    forms.push(words.iter().flat_map(|w| w.to_le_bytes()).collect());
    forms.push(words.iter().flat_map(|w| w.to_be_bytes()).collect());
    let hex = hex(text);
    forms.push(hex.to_uppercase().into_bytes());
    forms.push(hex.into_bytes());
    forms
}

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|w| w[0] == needle[0] && w == needle)
}

/// Every regular file below `folder`, sorted.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Calls `each` with overlapping pieces of a file until it returns true.
fn pieces(path: &Path, overlap: usize, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut buffer, mut kept, mut total) = (vec![0; overlap + CHUNK_OCTETS], 0, 0);
    loop {
        let n = file.read(&mut buffer[kept..])?;
        if n == 0 {
            return Ok(total);
        }
        total += n as u64;
        let filled = kept + n;
        if each(&buffer[..filled]) {
            return Ok(total);
        }
        kept = overlap.min(filled);
        buffer.copy_within(filled - kept..filled, 0);
    }
}

/// Looks for `needles` (name, text) in every file below `folders`.
pub fn scan(folders: &[&Path], needles: &[(&str, &[u8])]) -> io::Result<Scan> {
    let needles: Vec<(&str, Vec<Vec<u8>>)> = needles.iter().map(|(n, t)| (*n, disguises(t))).collect();
    let longest = needles.iter().flat_map(|(_, f)| f).map(Vec::len).max().unwrap_or(0);
    let mut result = Scan::default();
    for folder in folders {
        for path in files(folder)? {
            let mut hits = vec![false; needles.len()];
            result.octets += pieces(&path, longest, |piece| {
                for (hit, (_, forms)) in hits.iter_mut().zip(&needles) {
                    *hit |= forms.iter().any(|form| contains(piece, form));
                }
                false
            })?;
            result.files += 1;
            let names = hits.iter().zip(&needles).filter(|(hit, _)| **hit);
            result.found.extend(names.map(|(_, (name, _))| ((*name).to_owned(), path.clone())));
        }
    }
    Ok(result)
}

/// The first `octets` octets from where `mark` begins, in the first file below `folder` that holds it.
pub fn excerpt(folder: &Path, mark: &[u8], octets: usize) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    for path in files(folder)? {
        let mut found = None;
        pieces(&path, octets + mark.len(), |piece| {
            let at = piece.windows(mark.len()).position(|w| w == mark);
            // A mark at the very end of a piece is seen again, with what follows it, in the next one.
            found = at.map(|at| piece[at..(at + octets).min(piece.len())].to_vec()).or_else(|| found.take());
            found.as_ref().is_some_and(|f| f.len() == octets)
        })?;
        if let Some(found) = found {
            return Ok(Some((path, found)));
        }
    }
    Ok(None)
}

/// Lines as `hexdump -C` prints them.
pub fn hexdump(octets: &[u8]) -> Vec<String> {
    let line = |(row, chunk): (usize, &[u8])| {
        let hex: Vec<String> = chunk.iter().map(|b| format!("{b:02x}")).collect();
        let text: String =
            chunk.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }).collect();
        format!("{:08x}  {:<47}  |{text}|", row * 16, hex.join(" "))
    };
    octets.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = "Grüße, and a plan that nobody else may read".as_bytes();

    fn found_in(content: &[u8]) -> bool {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir(dir.path().join("deep")).expect("made");
        fs::write(dir.path().join("deep/file"), content).expect("written");
        let scan = scan(&[dir.path()], &[("text", TEXT)]).expect("read");
        assert_eq!((scan.files, scan.octets), (1, content.len() as u64));
        !scan.found.is_empty()
    }

    #[test]
    fn plain_text_is_found_in_every_disguise() {
        let base64 =
            |pad: &[u8]| sealpost_proto::base64::encode([pad, TEXT, b"and more"].concat()).into_bytes();
        for content in [
            TEXT.to_vec(),
            [b"x".repeat(77), TEXT.to_vec()].concat(),
            base64(b""),
            base64(b"a"),
            base64(b"ab"),
        ] {
            assert!(found_in(&content), "{}", String::from_utf8_lossy(&content));
        }
        let hex = hex(TEXT);
        assert!(found_in(hex.as_bytes()) && found_in(hex.to_uppercase().as_bytes()));
    }

    #[test]
    fn a_needle_on_the_border_of_two_reads_is_found() {
        for shift in [0, 1, TEXT.len() / 2, TEXT.len() - 1, TEXT.len()] {
            let mut content = vec![b'.'; 3 * CHUNK_OCTETS];
            let at = CHUNK_OCTETS - shift;
            content[at..at + TEXT.len()].copy_from_slice(TEXT);
            assert!(found_in(&content), "shift {shift}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(!found_in(b"") && !found_in(&[0; 100]) && !found_in(&TEXT[1..]));
    }

    #[test]
    fn excerpt_begins_at_the_mark() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("a"), b"nothing here").expect("written");
        fs::write(dir.path().join("b"), b"before -----BEGIN and after").expect("written");
        let (path, text) = excerpt(dir.path(), b"-----BEGIN", 14).expect("read").expect("found");
        assert_eq!(
            (path.file_name().and_then(|n| n.to_str()), &text[..]),
            (Some("b"), &b"-----BEGIN and"[..])
        );
        assert!(excerpt(dir.path(), b"absent", 5).expect("read").is_none());
    }

    #[test]
    fn hexdump_is_laid_out_as_usual() {
        assert_eq!(
            hexdump(b"0123456789abcdef\x00\xff"),
            [
                "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|",
                "00000010  00 ff                                            |..|"
            ]
        );
    }
}
