//! Addresses, base64, times.

use super::lines;
use sealpost_proto::{
    address::{Address, Domain, Mailbox},
    base64,
    message::{MAX_MAILBOXES, MailboxList},
    time::Timestamp,
};

/// What is canonical stays as it is, and what was written is kept.
pub(crate) fn address(input: &[u8]) {
    for line in lines(input) {
        if let Ok(domain) = Domain::parse(line) {
            assert_eq!(
                Domain::parse(domain.as_str()).as_ref(),
                Ok(&domain),
                "a domain is its own canonical form"
            );
        }
        if let Ok(mailbox) = Mailbox::parse(line) {
            assert_eq!(mailbox.to_string(), line, "a mailbox is kept as written");
            let address = mailbox.canonical();
            assert_eq!(Address::parse(line).as_ref(), Ok(&address));
            assert_eq!(
                Address::parse_canonical(address.as_str()).as_ref(),
                Ok(&address),
                "canonical is canonical"
            );
            assert_eq!(Domain::parse(address.domain().as_str()), Ok(address.domain()));
            assert!(!line.chars().any(char::is_control), "no control character gets through");
            let again = Mailbox::parse(&format!("{}@{}", mailbox.local(), mailbox.domain()));
            assert_eq!(again.map(|m| m.canonical()), Ok(address.clone()), "as it goes on the wire");
            if let Some(shorter) = address.without_detail() {
                assert_eq!(Address::parse_canonical(shorter.as_str()), Ok(shorter));
            }
        } else {
            assert!(Address::parse(line).is_err() && Address::parse_canonical(line).is_err());
        }
    }
}

/// Every mailbox that is read stands alone too; counts are bounded; one is one.
pub(crate) fn mailboxes(input: &[u8]) {
    let list = MailboxList::parse(input);
    assert!(list.mailboxes.len() <= MAX_MAILBOXES);
    for named in &list.mailboxes {
        let text = named.mailbox.to_string();
        let alone = MailboxList::parse(format!("<{text}>").as_bytes());
        assert_eq!(alone.exactly_one().map(|n| &n.mailbox), Some(&named.mailbox), "{text:?} alone");
    }
    if let Some(one) = list.exactly_one() {
        assert_eq!(list.mailboxes.len(), 1);
        assert_eq!(&list.mailboxes[0], one);
    }
}

/// There is one spelling for each value, with padding and without.
pub(crate) fn base64(input: &[u8]) {
    assert_eq!(base64::decode(base64::encode(input)).as_deref(), Ok(input));
    assert_eq!(base64::decode_unpadded(base64::encode_unpadded(input)).as_deref(), Ok(input));
    for line in lines(input) {
        if let Ok(octets) = base64::decode(line) {
            assert_eq!(base64::encode(octets), line);
        }
        if let Ok(octets) = base64::decode_unpadded(line) {
            assert_eq!(base64::encode_unpadded(octets), line);
        }
    }
}

/// RFC 3339 in the one form of the profile.
pub(crate) fn time(input: &[u8]) {
    for line in lines(input) {
        if let Some(time) = Timestamp::from_rfc3339(line) {
            assert_eq!(time.to_rfc3339(), line);
            assert!(time.to_rfc5322().is_ascii());
        }
        if let Some(day) = sealpost_proto::imap::Day::parse(line) {
            let (year, month, of_month) = day.civil();
            assert_eq!(sealpost_proto::imap::Day::new(year, month, of_month), Some(day));
        }
        if let Some(time) = sealpost_proto::imap::date::parse_date_time(line) {
            let written = sealpost_proto::imap::date_time(time);
            assert_eq!(sealpost_proto::imap::date::parse_date_time(&written), Some(time), "{written:?}");
        }
        let _ = sealpost_proto::imap::date::header_day(line);
    }
}
