//! What a reader sees.

use super::*;
use proptest::prelude::*;
use sealpost_client::open::{Content, Summary, Verdict};

fn content(octets: &[u8]) -> Content {
    judge(octets, &facts()).content(true, None).unwrap().unwrap()
}

#[test]
fn a_message_comes_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["grüße 日本.pdf", "a;b\"c.txt", "empty"];
    let mut draft = draft();
    for (i, name) in names.iter().enumerate() {
        let path = folder.path().join(name);
        std::fs::write(&path, vec![u8::try_from(i).unwrap(); i * 10_000 % 30_000 + 1 - usize::from(i == 2)])
            .unwrap();
        draft.attachments.push(path);
    }
    draft.cc = vec![mailbox("carol@example.org")];
    draft.references = vec!["<q@example.com>".into()];
    for message in [sealed(draft.clone()), plain(draft.clone())] {
        let saved = tempfile::tempdir().unwrap();
        let mut opened = judge(&message, &facts());
        let content = opened.content(false, Some(saved.path())).unwrap().unwrap();
        assert_eq!(content.from, "alice@example.net");
        assert_eq!(content.to, ["bob@example.com"]);
        assert_eq!(content.cc, ["carol@example.org"]);
        assert_eq!(content.date, "Mon, 23 Nov 2026 21:36:00 +0000");
        assert_eq!(content.subject, draft.subject);
        assert_eq!(content.text.trim_end(), draft.text.trim_end());
        assert_eq!(content.message_id, compose(draft.clone()).message_id());
        assert_eq!(content.references, draft.references);
        let parts: Vec<_> = content
            .attachments()
            .map(|a| (a.number, a.name.as_str(), a.media_type.as_str(), a.size))
            .collect();
        let want = [
            (2, "grüße 日本.pdf", "application/pdf", 1),
            (3, "a;b_c.txt", "text/plain", 10_001),
            (4, "empty", "application/octet-stream", 20_000),
        ];
        assert_eq!(parts, want);
        assert_eq!((content.parts[0].name.as_str(), content.parts[0].attachment), ("text.txt", false));
        for ((path, source), part) in content.saved.iter().zip(&draft.attachments).zip(content.attachments())
        {
            assert_eq!(std::fs::read(path).unwrap(), std::fs::read(source).unwrap());
            assert_eq!(std::fs::metadata(path).unwrap().len(), part.size);
        }
        // Saving again overwrites nothing.
        let again = opened.content(false, Some(saved.path())).unwrap().unwrap();
        assert!(again.saved[0].ends_with("grüße 日本 (2).pdf"));
    }
}

#[test]
fn withheld_content_is_shown_by_force_alone_and_saves_nothing_without() {
    let message = text(&sealed(draft())).replace("Subject: [...]", "Subject: other");
    let folder = tempfile::tempdir().unwrap();
    let mut opened = judge(message.as_bytes(), &facts());
    assert!(opened.content(false, Some(folder.path())).unwrap().is_none());
    assert_eq!(opened.content(true, None).unwrap().unwrap().subject, "Grüße aus Basel");
}

#[test]
fn hostile_headers_and_names_are_made_harmless() {
    let message = "From: =?utf-8?q?Bank=1B]0;x=07?= <a@x.org>\r\nSubject: =?utf-8?q?a=0D=0Ab?=\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\x1b[2J\r\n--b\r\n\
        Content-Disposition: attachment; filename=\"../../.ssh/authorized_keys\"\r\n\r\nkey\r\n--b--\r\n";
    let folder = tempfile::tempdir().unwrap();
    let content = judge(message.as_bytes(), &facts()).content(false, Some(folder.path())).unwrap().unwrap();
    assert_eq!(content.from, "Bank ]0;x  <a@x.org>");
    assert_eq!(content.subject, "a  b");
    assert_eq!(content.text, "hi[2J");
    assert_eq!(content.saved, [folder.path().join("authorized_keys")]);
}

/// Content-Disposition is not signed. Found by the fuzzer: one added on the way hid the text of a message that read as
/// good.
#[test]
fn r08_a_disposition_added_on_the_way_does_not_hide_signed_text() {
    let message = plain(draft());
    let before = content(&message);
    assert!(!before.text.is_empty());
    for disposition in ["attachment", "attachment; filename=x.txt", "inline; filename=\"x.txt\""] {
        let changed = format!("Content-Disposition: {disposition}\r\n{}", text(&message));
        let mut opened = judge(changed.as_bytes(), &facts());
        assert_eq!(opened.verdict, Verdict::Good);
        let shown = opened.content(false, None).unwrap().unwrap();
        assert_eq!((&shown.text, shown.attachments().count()), (&before.text, 0), "{disposition}");
    }
}

#[test]
fn html_only_and_alternative_mail() {
    let html = "From: a@x.org\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: \
                quoted-printable\r\n\r\n<p>Gr=FC=DFe</p><img src=3D\"https://track.example/x.gif\">\r\n";
    let shown = content(html.as_bytes());
    assert_eq!(shown.text, "Grüße\n");
    assert!(shown.notes.iter().any(|n| n.contains("nothing it refers to was loaded")));
    let both = "From: a@x.org\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
                plain\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>html</p>\r\n--b--\r\n";
    assert_eq!(content(both.as_bytes()).text, "plain");
    let empty = both.replace("\r\nplain\r\n", "\r\n \r\n");
    assert_eq!(content(empty.as_bytes()).text.trim(), "html");
    let mixed = both.replace("alternative", "mixed");
    assert_eq!(content(mixed.as_bytes()).text, "plain\nhtml\n");
}

#[test]
fn what_an_answer_needs_is_told() {
    let message = |fields: &str| {
        format!("From: A <a@x.org>\r\nTo: b@x.org, c@x.org\r\nCc: d@x.org\r\n{fields}\r\nhi\r\n")
    };
    let addresses = |list: &[sealpost_proto::address::Mailbox]| {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    for (fields, references, reply_to, note) in [
        ("", "", "a@x.org", None),
        ("References: <1@x> <2@x>\r\nIn-Reply-To: <3@x>\r\n", "<1@x> <2@x>", "a@x.org", None),
        ("In-Reply-To: your letter <3@x>\r\n", "<3@x>", "a@x.org", None),
        ("In-Reply-To: <3@x> <4@x>\r\n", "", "a@x.org", None),
        ("Reply-To: A@X.org\r\n", "", "A@X.org", None),
        ("Reply-To: E <e@x.org>\r\n", "", "e@x.org", Some("an answer goes to e@x.org, as its Reply-To says")),
        ("Reply-To: \r\n", "", "a@x.org", None),
    ] {
        let shown = content(message(fields).as_bytes());
        assert_eq!(shown.references.join(" "), references, "{fields}");
        assert_eq!(addresses(&shown.reply_to), reply_to, "{fields}");
        assert_eq!(shown.notes.first().map(String::as_str), note, "{fields}");
        let [to, cc] = &shown.recipients;
        assert_eq!((addresses(to).as_str(), addresses(cc).as_str()), ("b@x.org c@x.org", "d@x.org"));
    }
}

#[test]
fn long_text_is_cut_and_said() {
    let most = format!("From: a@x.org\r\n\r\n{}", "x".repeat(2 * 1024 * 1024));
    assert!(content(most.as_bytes()).notes.is_empty());
    let more = content(format!("{most}y").as_bytes());
    assert_eq!(more.text.len(), 2 * 1024 * 1024);
    assert!(more.notes[0].contains("cut"));
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing_half() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = judge(&plain(draft()), &facts()).content(false, Some(&file)).err().unwrap();
    assert!(error.to_string().contains("cannot be saved"), "{error}");
}

#[test]
fn r09_a_summary_shows_only_what_is_outside() {
    let message = sealed(draft());
    let (_, body) = Header::read(&message).unwrap();
    let summary = Summary::read(&message[..body]);
    assert_eq!(summary.subject, "[...]");
    assert!(summary.sealed && summary.signed);
    assert_eq!(summary.from, "alice@example.net");
    assert_eq!(super::message(&message).summary().message_id, summary.message_id);
    let plain = Summary::read(&plain(draft()));
    assert_eq!((plain.subject.as_str(), plain.sealed), ("Grüße aus Basel", false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn r09_subject_and_text_round_trip(subject in "[ -~äß日🎉]{0,150}", body in "[ -~\t\näF.=日🎉]{0,500}") {
        let mut draft = draft();
        draft.subject.clone_from(&subject);
        draft.text.clone_from(&body);
        let shown = content(&sealed(draft));
        prop_assert_eq!(shown.subject, subject.trim());
        prop_assert_eq!(shown.text, format!("{}\n", body.trim_end_matches('\n')));
    }
}
