//! What relays do to messages, and what attackers do.

use super::*;
use proptest::prelude::*;
use sealpost_client::open::Verdict;
use sealpost_proto::message::write;

fn verdict(octets: &[u8]) -> Verdict {
    judge(octets, &facts()).verdict
}

fn split(message: &[u8]) -> (String, String) {
    let message = text(message);
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

#[test]
fn r08_header_changes_that_keep_the_meaning_are_still_good() {
    for message in [sealed(draft()), plain(draft())] {
        let (head, body) = split(&message);
        let whole = |head: &str| format!("{head}\r\n{body}").into_bytes();
        assert_eq!(verdict(&whole(&head)), Verdict::Good);
        // Reordered, added to, refolded, other case of names, other white space.
        let fields: Vec<String> =
            Header::read(head.as_bytes()).unwrap().0.fields().iter().rev().map(|f| text(f.raw())).collect();
        assert_eq!(verdict(&whole(&fields.concat())), Verdict::Good);
        assert_eq!(
            verdict(&whole(&format!("Received: by x\r\n\tfor y\r\nDKIM-Signature: z\r\n{head}"))),
            Verdict::Good
        );
        assert_eq!(verdict(&whole(&head.replace("To: ", "TO:\r\n   "))), Verdict::Good);
        assert_eq!(verdict(&whole(&head.replace("Date: Mon, ", "Date:  Mon,\t "))), Verdict::Good);
        assert_eq!(
            verdict(&whole(
                &head.replace("X-Sender-Signature: ed25519 ", "X-Sender-Signature:\r\n ed25519\r\n ")
            )),
            Verdict::Good
        );
        let (start, hex) = head.split_once("X-Sender-Signature: ed25519 ").unwrap();
        assert_eq!(
            verdict(&whole(&format!("{start}X-Sender-Signature: ed25519 {}", hex.to_uppercase()))),
            Verdict::Good
        );
    }
}

#[test]
fn plain_mail_with_other_line_ends_at_its_end_is_altered() {
    let message = plain(draft());
    assert_eq!(verdict(&[message.as_slice(), b"\r\n\r\n"].concat()), Verdict::GoodAltered);
    assert_eq!(verdict(&message[..message.len() - 2]), Verdict::GoodAltered);
    assert_eq!(verdict(&[message.as_slice(), b"-- \r\nfooter\r\n"].concat()), Verdict::SignatureBad);
}

#[test]
fn sealed_mail_that_was_laid_out_anew_is_altered() {
    let (head, body) = split(&sealed(draft()));
    let encoding = |head: &str, to: &str| {
        head.replace("Content-Transfer-Encoding: 7bit", &format!("Content-Transfer-Encoding: {to}"))
    };
    let data: String = body.lines().filter(|l| !l.starts_with('-')).collect();
    let narrow: Vec<&str> = data.as_bytes().chunks(40).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let multipart = head
        .replace("Content-Type: application/age", "Content-Type: multipart/mixed; boundary=\"list\"")
        .replace("Content-Transfer-Encoding: 7bit\r\n", "");
    let rows = [
        format!("{head}\r\n{body}\r\n\r\n"),
        format!("{head}\r\n\r\n{body}"),
        format!("{head}\r\n{body}_______\r\nlist footer\r\n"),
        format!("{head}\r\n{}", body.trim_end()),
        format!(
            "{head}\r\n-----BEGIN AGE ENCRYPTED FILE-----\r\n{}\r\n-----END AGE ENCRYPTED FILE-----\r\n",
            narrow.join("\r\n")
        ),
        format!("{}\r\n{}", encoding(&head, "base64"), write::base64_lines(body.as_bytes())),
        format!("{}\r\n{}", encoding(&head, "quoted-printable"), write::quoted_printable(&body)),
        format!("{}\r\n{body}", head.replace("Content-Type: application/age", "Content-Type: text/plain")),
        format!("{}\r\n{body}", head.replace("Content-Transfer-Encoding: 7bit\r\n", "")),
        format!(
            "{multipart}\r\n--list\r\nContent-Type: application/age\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n\
             --list\r\nContent-Type: text/plain\r\n\r\nfooter\r\n--list--\r\n",
            write::base64_lines(body.as_bytes())
        ),
    ];
    for message in rows {
        let mut opened = judge(message.as_bytes(), &facts());
        assert_eq!(opened.verdict, Verdict::GoodAltered, "{message}");
        let content = opened.content(false, None).unwrap().unwrap();
        assert_eq!(content.subject, "Grüße aus Basel");
        assert!(!content.text.contains("footer"));
        assert_eq!(opened.payload_sha256, Some(compose(draft()).payload_sha256().unwrap()));
    }
}

#[test]
fn lf_line_ends_of_an_exported_message_are_altered() {
    let message = text(&sealed(draft())).replace("\r\n", "\n");
    assert_eq!(verdict(message.as_bytes()), Verdict::GoodAltered);
}

/// A CR turned into LF makes an empty line, which ends the header before the signature: nothing sealed or signed is left
/// of the message, and nothing of it is shown as if there were.
#[test]
fn r08_a_header_that_ends_early_leaves_plain_mail() {
    let message = sealed(draft());
    let at = message.iter().position(|octet| *octet == b'\r').unwrap();
    let mut changed = message.clone();
    changed[at] = b'\n';
    let mut opened = judge(&changed, &facts());
    assert_eq!((opened.verdict, opened.payload_sha256), (Verdict::Plain, None));
    let content = opened.content(false, None).unwrap().unwrap();
    assert!(!content.text.contains("Hello Bob") && content.subject.is_empty());
    let signs = Facts { signs: true, ..facts() };
    assert_eq!(judge(&changed, &signs).verdict, Verdict::PlainThoughSigns);
}

/// One field after the other, in sealed and in plain mail: what a change of it leads to is that it is said.
#[test]
fn r08_each_field_that_is_bound_and_the_body_is_noticed_when_changed() {
    for message in [text(&sealed(draft())), text(&plain(draft()))] {
        assert_eq!(judge(message.as_bytes(), &facts()).verdict, Verdict::Good);
        for field in ["From", "To", "Date", "Subject", "Message-ID"] {
            let before = message.lines().find(|line| line.starts_with(&format!("{field}: "))).unwrap();
            let value = before.split_once(": ").unwrap().1;
            let after = match field {
                "From" | "To" => format!("{field}: mallory@example.com"),
                "Date" => before.replace("2026", "2027"),
                "Subject" => format!("Subject: x{value}"),
                _ => format!("Message-ID: <x{}", &value[1..]),
            };
            let changed = message.replacen(before, &after, 1);
            assert_ne!(changed, message);
            let opened = judge(changed.as_bytes(), &facts());
            assert_eq!(opened.verdict, Verdict::SignatureBad, "{after}: {:?}", opened.notes);
        }
    }
    let message = text(&plain(draft()));
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let changed = format!("{header}\r\n\r\nx{body}");
    assert_eq!(judge(changed.as_bytes(), &facts()).verdict, Verdict::SignatureBad);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No octet of a sealed message can be changed into another that matters: it is withheld, or the change is one
    /// that the relaxed form takes no notice of and everything signed and sealed is as before.
    #[test]
    fn r08_a_changed_octet_is_noticed(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let message = sealed(draft());
        let good = judge(&message, &facts());
        let mut changed = message.clone();
        let at = at.index(changed.len());
        changed[at] ^= by;
        let opened = judge(&changed, &facts());
        if opened.verdict.is_withheld() {
            return Ok(());
        }
        // Content-Disposition and X-Sender-Pubkey are not signed; white space and the case of names do not count.
        if opened.verdict <= Verdict::Good {
            prop_assert_eq!(opened.payload_sha256, good.payload_sha256);
        } else {
            // The header ended early: what is left is unsigned plain text, and is called so.
            let header = Header::read(&changed).unwrap().0;
            prop_assert_eq!(opened.verdict, Verdict::Plain, "octet {} of the message", at);
            prop_assert_eq!(header.count("X-Sender-Signature"), 0, "octet {} of the message", at);
        }
    }

    #[test]
    fn r08_a_changed_octet_of_plain_mail_is_noticed(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let message = plain(draft());
        let mut changed = message.clone();
        let at = at.index(changed.len());
        changed[at] ^= by;
        let mut opened = judge(&changed, &facts());
        if matches!(opened.verdict, Verdict::Good | Verdict::GoodAltered) {
            let content = opened.content(false, None).unwrap().unwrap();
            let before = judge(&message, &facts()).content(false, None).unwrap().unwrap();
            prop_assert_eq!((content.from, content.to, content.subject, content.text), (before.from, before.to, before.subject, before.text));
        } else {
            // Hitting the signature's name leaves unsigned mail, which says so.
            prop_assert!(opened.verdict.is_withheld() || opened.verdict == Verdict::Plain);
        }
    }

    #[test]
    fn cutting_a_message_short_is_noticed(at in any::<prop::sample::Index>()) {
        let message = sealed(draft());
        // Without its last line end it is whole.
        let cut = &message[..at.index(message.len() - 2)];
        let opened = judge(cut, &facts());
        prop_assert!(opened.verdict.is_withheld() || opened.verdict == Verdict::Plain);
    }

    #[test]
    fn odd_mail_never_panics(
        octets in "(From: |To: |a@x.org|X-Sender-Encrypted: yes|X-Sender-Signature: ed25519 |X-Sender-Pubkey: |\
                   Content-Type: multipart/mixed; boundary=b|--b|-----BEGIN AGE ENCRYPTED FILE-----|\
                   -----END AGE ENCRYPTED FILE-----|\r\n|\n|00|=|é| ){0,40}"
    ) {
        let mut opened = judge(octets.as_bytes(), &facts());
        opened.content(true, None).unwrap();
    }
}
