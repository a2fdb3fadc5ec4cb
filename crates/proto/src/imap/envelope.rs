//! ENVELOPE (RFC 9051 §7.5.2) read back.

use super::{
    lex::{Cursor, ParseError, Result},
    structure::{ADDRESSES_MAX, Address},
};

/// What an ENVELOPE says; strings as the message has them, encoded words and all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Date
    pub date: Option<Vec<u8>>,
    /// Subject
    pub subject: Option<Vec<u8>>,
    /// From
    pub from: Vec<Address>,
    /// Sender, or From.
    pub sender: Vec<Address>,
    /// Reply-To, or From.
    pub reply_to: Vec<Address>,
    /// To
    pub to: Vec<Address>,
    /// Cc
    pub cc: Vec<Address>,
    /// Bcc
    pub bcc: Vec<Address>,
    /// In-Reply-To
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// Inverse of [`super::structure::envelope`].
    pub fn read(written: &[u8]) -> Result<Self> {
        let from = &mut Cursor::new(written);
        from.need(b'(', "an envelope")?;
        let mut envelope = Self { date: from.nstring()?, ..Self::default() };
        from.space()?;
        envelope.subject = from.nstring()?;
        for list in [
            &mut envelope.from,
            &mut envelope.sender,
            &mut envelope.reply_to,
            &mut envelope.to,
            &mut envelope.cc,
            &mut envelope.bcc,
        ] {
            from.space()?;
            *list = addresses(from)?;
        }
        from.space()?;
        envelope.in_reply_to = from.nstring()?;
        from.space()?;
        envelope.message_id = from.nstring()?;
        from.need(b')', "the end of the envelope")?;
        if from.rest().is_empty() {
            Ok(envelope)
        } else {
            Err(ParseError { expected: "nothing behind the envelope" })
        }
    }
}

/// `"(" 1*address ")" / nil`
fn addresses(from: &mut Cursor<'_>) -> Result<Vec<Address>> {
    if from.word("NIL") {
        return Ok(Vec::new());
    }
    from.need(b'(', "a list of addresses")?;
    let mut all = Vec::new();
    while !from.take(b')') {
        // The writer looks at the limit before each token, of which the last may add two.
        if all.len() > ADDRESSES_MAX + 2 {
            return Err(ParseError { expected: "fewer addresses" });
        }
        from.need(b'(', "an address")?;
        let name = from.nstring()?;
        from.space()?;
        from.nstring()?;
        from.space()?;
        let mailbox = from.nstring()?;
        from.space()?;
        let host = from.nstring()?;
        from.need(b')', "the end of the address")?;
        all.push(Address { name, mailbox, host });
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{
        super::{
            mime::{Field, Scanner},
            structure,
        },
        *,
    };
    use proptest::prelude::*;

    fn written(message: &[u8]) -> Vec<u8> {
        let mut scanner = Scanner::new();
        scanner.push(message);
        let mut out = Vec::new();
        structure::envelope(&mut out, &scanner.finish().nodes[0]);
        out
    }

    #[test]
    fn says_what_the_message_says() {
        let envelope = Envelope::read(&written(
            b"Date: now\r\nSubject: \"NIL\"\r\nFrom: A <a@example.net>\r\nTo: b@example.com, g: c@x;\r\n\
              In-Reply-To: <1@x>\r\nMessage-ID: \xff<2@x>\r\n\r\n",
        ))
        .unwrap();
        assert_eq!(envelope.date.as_deref(), Some(&b"now"[..]));
        assert_eq!(envelope.subject.as_deref(), Some(&b"\"NIL\""[..]));
        assert_eq!(envelope.from[0].name.as_deref(), Some(&b"A"[..]));
        assert_eq!(envelope.from, envelope.sender);
        assert_eq!(envelope.from, envelope.reply_to);
        assert_eq!(envelope.to.len(), 4);
        assert_eq!((envelope.cc.len(), envelope.bcc.len()), (0, 0));
        assert_eq!(envelope.in_reply_to.as_deref(), Some(&b"<1@x>"[..]));
        assert_eq!(envelope.message_id.as_deref(), Some(&b"\xff<2@x>"[..]));
        assert!(Envelope::read(b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ").is_err());
    }

    proptest! {
        #[test]
        fn reads_what_is_written(
            fields in proptest::collection::vec(("(Date|Subject|From|Sender|Reply-To|To|Cc|Bcc|In-Reply-To|Message-ID)",
                proptest::collection::vec(any::<u8>(), 0..60)), 0..8),
        ) {
            let mut message = Vec::new();
            for (name, value) in &fields {
                message.extend_from_slice(name.as_bytes());
                message.extend_from_slice(b": ");
                message.extend_from_slice(value);
                message.extend_from_slice(b"\r\n");
            }
            let mut scanner = Scanner::new();
            scanner.push(&message);
            let parsed = scanner.finish();
            let mut out = Vec::new();
            structure::envelope(&mut out, &parsed.nodes[0]);
            let envelope = Envelope::read(&out).unwrap();
            // NUL cannot be written.
            let clean = |field| parsed.nodes[0].field(field)
                .map(|v| v.iter().copied().filter(|b| *b != 0).collect::<Vec<u8>>());
            prop_assert_eq!(envelope.subject, clean(Field::Subject));
            prop_assert_eq!(envelope.message_id, clean(Field::MessageId));
            for cut in 0..out.len() {
                prop_assert!(Envelope::read(&out[..cut]).is_err());
            }
        }
    }
}
