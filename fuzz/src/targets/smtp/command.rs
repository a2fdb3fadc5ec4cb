//! Command lines: what the client writes, the server reads as the same.

use crate::targets::lines;
use sealpost_proto::{
    address::Mailbox,
    sasl::Mechanism,
    smtp::{
        client::{Command, MailParameters},
        parse,
        verb::{AskedFor, KeyCommand, KeyringCommand, Rcpt, Verb, line_max},
    },
};

/// The arguments of a command that the client wrote.
fn arguments<'a>(command: &'a Command, verb: &str) -> &'a [u8] {
    let line = command.wire().split(|b| *b == b'\r').next().unwrap_or_default();
    let rest = line.strip_prefix(verb.as_bytes()).expect("it begins with its verb");
    rest.strip_prefix(b" ").unwrap_or(rest)
}

fn written(mailbox: &Mailbox) -> String {
    mailbox.to_string()
}

/// Each line as the arguments of every verb.
pub(crate) fn command(input: &[u8]) {
    assert!(line_max(input) >= 512);
    for raw in input.split(|b| *b == b'\n').take(50) {
        let keyword = raw.split(|b| *b == b' ').next().unwrap_or_default();
        let args = match Verb::from_keyword(keyword) {
            Some(_) => &raw[(keyword.len() + 1).min(raw.len())..],
            None => raw,
        };
        if args.iter().any(u8::is_ascii_control) {
            continue; // the state machine refuses these before it looks at arguments
        }
        mail(args);
        keys(args);
        let _ = (parse::nothing(args), parse::hello(args));
        if let Ok((mechanism, initial)) = parse::auth(args) {
            assert!(Mechanism::ALL.contains(&mechanism));
            assert!(initial.is_none_or(|text| text.len() <= args.len()));
        }
    }
    for line in lines(input) {
        if let Ok(command) = Command::ehlo(line) {
            assert!(
                command.wire().ends_with(b"\r\n")
                    && command.wire().iter().position(|b| *b == b'\n') == Some(command.wire().len() - 1)
            );
        }
    }
}

fn mail(args: &[u8]) {
    if let Ok(mail) = parse::mail(args) {
        let path = mail.reverse_path.as_ref().map(written);
        let parameters =
            MailParameters { size: mail.size, eight_bit: mail.eight_bit, smtputf8: mail.smtputf8 };
        let command = Command::mail(path.as_deref(), parameters).expect("what was read can be written");
        assert_eq!(parse::mail(arguments(&command, "MAIL")), Ok(mail));
    }
    for smtputf8 in [false, true] {
        match parse::rcpt(args, smtputf8) {
            Ok(Rcpt::Mailbox(mailbox)) => {
                assert!(smtputf8 || mailbox.is_ascii());
                let command = Command::rcpt(&written(&mailbox)).expect("what was read can be written");
                let again = parse::rcpt(arguments(&command, "RCPT"), smtputf8);
                assert_eq!(again, Ok(Rcpt::Mailbox(mailbox)));
            }
            Ok(Rcpt::Postmaster) => {
                // A source route before it is cut off, whatever it says.
                let args = args.to_ascii_lowercase();
                let named = |name: &[u8]| args.windows(name.len()).any(|w| w == name);
                assert!(named(b"<postmaster>") || (named(b"<@") && named(b":postmaster>")));
            }
            Err(_) => {}
        }
    }
    if let Ok(chunk) = parse::bdat(args) {
        assert_eq!(parse::bdat(arguments(&Command::bdat(chunk.len, chunk.last), "BDAT")), Ok(chunk));
    }
}

fn keys(args: &[u8]) {
    for (what, verb) in [(AskedFor::Key, "PUBKEY"), (AskedFor::Chain, "XKEYINFO")] {
        if let Ok(asked) = parse::asked(what, args) {
            assert!(!asked.as_sent.chars().any(|c| c == '\r' || c == '\n'));
            let command = if what == AskedFor::Key { Command::pubkey } else { Command::key_info };
            let command = command(&asked.mailbox).expect("what was read can be written");
            let again = parse::asked(what, arguments(&command, verb)).expect("what was written can be read");
            assert_eq!(again.mailbox.canonical(), asked.mailbox.canonical());
        }
    }
    if let Ok(KeyCommand::SetPubKey { key, statement }) = parse::set_pub_key(args) {
        let command = Command::setpubkey(&key, statement.as_deref()).expect("what was read can be written");
        match parse::set_pub_key(arguments(&command, "SETPUBKEY")) {
            Ok(KeyCommand::SetPubKey { key: again, statement: same }) => {
                assert!(again == key && same == statement);
            }
            _ => panic!("SETPUBKEY does not read back"),
        }
    }
    if let Ok(change) = parse::change_password(args) {
        let command = Command::passwd(&change.login, &change.key, &change.statement);
        let Ok(command) = command else { return };
        let again = parse::change_password(arguments(&command, "XPASSWD"));
        assert!(again.is_ok_and(|again| again.key == change.key && again.statement == change.statement));
    }
    if let Ok(enrol) = parse::enrol(args)
        && let (Some(address), Ok(login)) = (&enrol.address, &enrol.login)
        && !enrol.code.is_empty()
    {
        assert!(login.challenge.cost.is_acceptable());
        let command = Command::enrol(address, &enrol.code, login).expect("what was read can be written");
        let again = parse::enrol(arguments(&command, "XENROL"));
        assert!(again.is_ok_and(|again| again.code == enrol.code && again.address == enrol.address));
    }
    if let Ok(KeyringCommand::Store { replaces, len }) = parse::keyring(args) {
        assert!((1..=1024 * 1024).contains(&len));
        let command = Command::put_keyring(replaces, &vec![b'x'; len]).expect("it is not too long");
        let again = parse::keyring(arguments(&command, "XKEYRING"));
        assert_eq!(again, Ok(KeyringCommand::Store { replaces, len }));
    }
}
