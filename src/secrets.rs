//! Passwords, codes and tokens: from a file, a prompt or standard input, never from the command line.

use crate::exit::Failure;
use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Read as _, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
};
use zeroize::Zeroizing;

/// Longest secret file taken, in octets: a password has at most 1,024 (profile §3), and a mistaken file name must
/// not be read whole.
const MAX_SECRET_OCTETS: u64 = 4_096;

/// A secret; cleared on drop, never printed but by the command whose purpose it is.
pub type Secret = Zeroizing<String>;

/// Reads a secret file; one trailing line feed is cut, nothing else.
pub fn from_file(path: &Path) -> Result<Secret, Failure> {
    let file = File::open(path).map_err(|e| Failure::file("cannot read", path, &e))?;
    from_reader(file).map_err(|e| Failure::file("cannot read", path, &e))
}

fn from_reader(reader: impl io::Read) -> io::Result<Secret> {
    // Sized beforehand, so that no half-filled buffer is left behind by a reallocation.
    let capacity = usize::try_from(MAX_SECRET_OCTETS).unwrap_or(usize::MAX) + 1;
    let mut octets = Zeroizing::new(Vec::with_capacity(capacity));
    reader.take(MAX_SECRET_OCTETS + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_SECRET_OCTETS {
        return Err(io::Error::other(format!("longer than {MAX_SECRET_OCTETS} octets, so no secret file")));
    }
    if octets.last() == Some(&b'\n') {
        octets.pop();
    }
    let text = std::str::from_utf8(&octets).map_err(|_| io::Error::other("not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Asks on the terminal without echo; where standard input is no terminal, takes its next line. `None` at its end.
pub fn ask(question: &str) -> Result<Option<Secret>, Failure> {
    if io::stdin().is_terminal() {
        let answer = rpassword::prompt_password(format!("{question}: "))
            .map_err(|e| Failure::failed(format_args!("cannot ask on the terminal: {e}")))?;
        return Ok(Some(Zeroizing::new(answer)));
    }
    // The descriptor itself: the buffer of the standard library would keep what went through it.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    Ok(line_of(input)?)
}

/// The next line, octet by octet, so that what follows it is left for whoever reads next.
fn line_of(mut input: impl io::Read) -> io::Result<Option<Secret>> {
    let mut line =
        Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_SECRET_OCTETS).unwrap_or(usize::MAX)));
    let (mut octet, mut end) = (Zeroizing::new([0]), true);
    while (line.len() as u64) < MAX_SECRET_OCTETS {
        match input.read(&mut *octet) {
            Ok(0) => break,
            Ok(_) if *octet == *b"\n" => {
                end = false;
                break;
            }
            Ok(_) => line.push(octet[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if line.is_empty() && end {
        return Ok(None);
    }
    let text = std::str::from_utf8(&line).map_err(|_| io::Error::other("not UTF-8"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// From `file` if given, else asked for.
pub fn obtain(file: Option<&Path>, question: &str, option: &str) -> Result<Secret, Failure> {
    if let Some(path) = file {
        return from_file(path);
    }
    ask(question)?.ok_or_else(|| {
        Failure::usage(format_args!(
            "no {} on standard input; give it there or use {option} FILE",
            question.to_lowercase()
        ))
    })
}

/// A new password that is typed is typed twice, since a slip of the finger would lock its owner out.
pub fn ask_new(question: &str) -> Result<Option<Secret>, Failure> {
    let first = ask(question)?;
    let Some(first) = first else { return Ok(None) };
    if io::stdin().is_terminal() && !first.is_empty() {
        let second = ask("The same again")?;
        if second.as_deref() != Some(&*first) {
            return Err(Failure::failed("the two passwords differ; nothing was changed"));
        }
    }
    Ok(Some(first))
}

/// Writes a secret to a file that must not exist yet, readable by its owner alone, with one line feed at its end.
pub fn to_new_file(path: &Path, secret: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(secret.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|e| Failure::file("cannot write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trailing_line_feed_is_cut_and_nothing_else() {
        for (input, secret) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\n\n", "secret\n"),
            ("secret\r\n", "secret\r"),
            (" secret \n", " secret "),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(*from_reader(input.as_bytes()).expect("short"), *secret, "{input:?}");
        }
    }

    #[test]
    fn lines_are_taken_one_by_one_without_what_follows() {
        let mut input = &b"one\n\ntwo \r\nlast"[..];
        for want in [Some("one"), Some(""), Some("two \r"), Some("last"), None, None] {
            let line = line_of(&mut input).expect("memory can be read");
            assert_eq!(line.as_deref().map(String::as_str), want);
        }
        assert!(line_of(&b"\xff\n"[..]).is_err());
        let endless = line_of(io::repeat(b'x')).expect("cut").expect("a line");
        assert_eq!(endless.len() as u64, MAX_SECRET_OCTETS);
    }

    #[test]
    fn endless_or_binary_files_are_refused() {
        assert!(from_reader(io::repeat(b'x')).is_err());
        assert!(from_reader(&b"\xff\xfe"[..]).is_err());
    }

    #[test]
    fn a_secret_file_is_private_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("pw");
        to_new_file(&path, "correct horse").expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(*from_file(&path).expect("read"), *"correct horse");
        assert!(to_new_file(&path, "other").is_err());
    }
}
