//! Opening: whatever becomes of a signed or sealed message on its way, nobody's words pass for Alice's.

use crate::{Rng, seeds};
use sealpost_client::open::{Facts, Message, Verdict};
use sealpost_proto::{address::Address, time::Timestamp};
use std::{
    cell::OnceCell,
    fs::{self, File},
    io::{Seek as _, Write as _},
};
use tempfile::TempDir;

thread_local! {
    /// One file, written anew for each input.
    static FILE: OnceCell<File> = const { OnceCell::new() };
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
    static WRITTEN: OnceCell<Vec<seeds::Written>> = const { OnceCell::new() };
}

fn message(input: &[u8]) -> Message {
    FILE.with(|cell| {
        let mut file = cell.get_or_init(|| tempfile::tempfile().expect("a temporary file"));
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(input)).expect("written");
        Message::read(file.try_clone().expect("a handle")).expect("read")
    })
}

fn facts() -> Facts {
    Facts {
        keys: vec![seeds::alice().public()],
        confirmed: true,
        own_addresses: vec![Address::parse("bob@example.org").expect("an address")],
        now: Timestamp(seeds::NOW),
        ..Facts::default()
    }
}

/// A verdict that shows what is called Alice's is given to what Alice wrote, and to that only; what is withheld is
/// not shown; an attachment's name leads nowhere but into the folder.
pub(crate) fn open(input: &[u8]) {
    let stranger = message(input).judge(&[seeds::mallory()], &facts()).expect("no disk fails");
    assert!(!stranger.sealed || stranger.verdict.is_withheld(), "opened by whom it is not sealed to");

    let mut opened = message(input).judge(&[seeds::bob()], &facts()).expect("no disk fails");
    assert!(!opened.notes.iter().any(|note| note.contains(['\u{1b}', '\0'])), "a note steers the terminal");
    let shown = opened.content(false, None).expect("no disk fails");
    assert_eq!(shown.is_some(), !opened.verdict.is_withheld());
    let vouched =
        matches!(opened.verdict, Verdict::Good | Verdict::GoodAltered | Verdict::SenderNotYetConfirmed);
    if opened.sealed && !opened.verdict.is_withheld() {
        assert!(vouched, "sealed, shown and not signed: {:?}", opened.verdict);
    }
    if let Some(content) = &shown {
        let header = [&content.from, &content.subject, &content.date, &content.message_id];
        assert!(!header.iter().any(|field| field.chars().any(char::is_control)), "{content:?}");
        assert!(!content.text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')), "{content:?}");
    }
    if vouched {
        let content = shown.expect("it is not withheld");
        assert_eq!(opened.signer, Some(seeds::alice().public()));
        assert!(opened.payload_sha256.is_some());
        assert_eq!(content.from, "alice@example.net");
        WRITTEN.with(|cell| {
            let written = cell.get_or_init(seeds::written);
            let known =
                written.iter().find(|w| w.id == content.message_id).expect("Alice wrote no such message");
            assert_eq!(content.subject, known.subject);
            assert_eq!(content.text.trim_end(), known.text.trim_end());
        });
    } else {
        assert!(opened.verdict == Verdict::Plain || opened.payload_sha256.is_none());
    }
    // Forced, it is read whatever it is; now and then with its attachments.
    if Rng::of(input).below(4) > 0 {
        let _ = opened.content(true, None);
        return;
    }
    FOLDER.with(|cell| {
        let folder = cell.get_or_init(|| TempDir::new().expect("a temporary folder"));
        if let Ok(Some(content)) = opened.content(true, Some(folder.path())) {
            for path in &content.saved {
                assert_eq!(path.parent(), Some(folder.path()), "saved elsewhere");
                assert!(
                    fs::symlink_metadata(path).is_ok_and(|m| m.is_file()),
                    "{} is no file",
                    path.display()
                );
                let _ = fs::remove_file(path);
            }
        }
    });
}
