//! One command line: is it allowed now, and what does it ask for.

use super::{
    Asking, Channel, Event, Mode, Role, Server, SignedIn, Transaction, authentication_required, out_of_order,
    starttls_first, without_end,
};
use crate::{
    sasl::Exchange,
    smtp::{
        body::{self, DotReader, Judge},
        parse,
        reply::Reply,
        verb::{AskedFor, Chunk, KeyCommand, KeyringCommand, Needs, Verb},
    },
};

impl Server {
    pub(super) fn command(&mut self, line: &[u8]) -> Option<Event> {
        let (keyword, args) = match line.iter().position(|b| *b == b' ') {
            Some(space) => (&line[..space], trim(&line[space..])),
            None => (line, &line[line.len()..]),
        };
        let Some(verb) = Verb::from_keyword(keyword) else {
            return self.fail(&Reply::new(500, "5.5.2", "Command not recognized"));
        };
        if args.iter().any(u8::is_ascii_control) {
            let reply = if verb.brings_octets() {
                malformed_length()
            } else {
                Reply::new(500, "5.5.2", "Control characters in the command line")
            };
            return self.fail(&reply);
        }
        if !self.settings.draft && verb.is_of_the_draft() {
            let reply = Reply::new(502, "5.5.1", "Command not implemented");
            // The octets behind XKEYRING must not be read as commands.
            return self.fail(&if verb.brings_octets() { reply.and_close() } else { reply });
        }
        // XKEYRING brings octets, which must be read whatever the answer is.
        let lack = self.lack(verb.needs());
        if verb == Verb::XKeyring {
            return self.keyring(args, lack);
        }
        if let Some(lack) = lack {
            return self.fail(&lack);
        }
        match self.allowed(verb, args) {
            Ok(event) => event,
            Err(reply) => self.fail(&reply),
        }
    }

    /// What the channel lacks for a verb (profile §5's table).
    fn lack(&self, needs: Needs) -> Option<Reply> {
        match (&self.channel, needs) {
            (_, Needs::Nothing)
            | (Channel::Tls(_), Needs::Tls)
            | (Channel::Tls(SignedIn::HashedPass), Needs::HashedPass) => None,
            (Channel::Clear, _) => Some(starttls_first()),
            (Channel::Tls(_), Needs::HashedPass) => Some(authentication_required()),
        }
    }

    /// A verb whose needs of the channel are met.
    fn allowed(&mut self, verb: Verb, args: &[u8]) -> Result<Option<Event>, Reply> {
        match verb {
            Verb::Helo | Verb::Ehlo => {
                let name = parse::hello(args)?;
                let extended = verb == Verb::Ehlo;
                self.hello = Some((name, extended));
                let reply =
                    if extended { self.ehlo() } else { Reply::bare(250, self.settings.hostname.clone()) };
                reply.write(&mut self.output);
                Ok(self.reset())
            }
            Verb::Mail => {
                self.needs_hello()?;
                if self.transaction.is_some() {
                    return Err(out_of_order("A mail transaction is open; finish it or send RSET"));
                }
                if self.settings.role == Role::Submission {
                    match self.channel {
                        Channel::Clear => return Err(starttls_first()),
                        Channel::Tls(SignedIn::Nobody) => return Err(authentication_required()),
                        Channel::Tls(_) => {}
                    }
                }
                let mail = parse::mail(args)?;
                if mail.size.is_some_and(|size| size > self.settings.message_size) {
                    return Err(self.too_big());
                }
                Ok(Some(self.ask(Asking::Mail { smtputf8: mail.smtputf8 }, Event::Mail(mail))))
            }
            Verb::Rcpt => {
                let limit = self.settings.recipients;
                let transaction = self.open_transaction()?;
                let rcpt = parse::rcpt(args, transaction.smtputf8)?;
                if transaction.recipients >= limit {
                    return Err(Reply::new(452, "4.5.3", "Too many recipients"));
                }
                Ok(Some(self.ask(Asking::Rcpt, Event::Rcpt(rcpt))))
            }
            Verb::Data => {
                parse::nothing(args)?;
                if self.open_transaction()?.recipients == 0 {
                    return Err(out_of_order("No valid recipients"));
                }
                Reply::bare(354, "End data with <CR><LF>.<CR><LF>").write(&mut self.output);
                self.mode = Mode::Data(DotReader::default(), Judge::new(self.settings.message_size));
                Ok(None)
            }
            Verb::Bdat => {
                let chunk = parse::bdat(args)?;
                self.bdat(chunk);
                Ok(None)
            }
            Verb::Rset => {
                parse::nothing(args)?;
                Reply::new(250, "2.0.0", "OK").write(&mut self.output);
                Ok(self.reset())
            }
            Verb::Noop => {
                self.say(&Reply::new(250, "2.0.0", "OK"));
                Ok(None)
            }
            Verb::Quit => {
                parse::nothing(args)?;
                self.say(&Reply::new(221, "2.0.0", "Bye").and_close());
                Ok(None)
            }
            Verb::Vrfy => {
                self.say(&Reply::new(252, "2.1.5", "Cannot verify; send mail and see"));
                Ok(None)
            }
            Verb::Expn => Err(Reply::new(502, "5.5.1", "Command not implemented")),
            Verb::Help => {
                self.say(&Reply::new(214, "2.0.0", "See RFC 5321"));
                Ok(None)
            }
            Verb::StartTls => {
                parse::nothing(args)?;
                if matches!(self.channel, Channel::Tls(_)) {
                    return Err(out_of_order("TLS is on already"));
                }
                Reply::new(220, "2.0.0", "Ready to start TLS").write(&mut self.output);
                Ok(Some(self.ask(Asking::StartTls, Event::StartTls)))
            }
            Verb::Auth => {
                if self.transaction.is_some() {
                    return Err(out_of_order("Not inside a mail transaction"));
                }
                if !matches!(self.channel, Channel::Tls(SignedIn::Nobody)) {
                    return Err(out_of_order("Already signed in"));
                }
                let (mechanism, initial) = parse::auth(args)?;
                if !self.offers(mechanism) {
                    return Err(Reply::new(504, "5.5.4", "Authentication mechanism not offered"));
                }
                let mut exchange = Exchange::new(mechanism);
                let step = exchange.start(initial.as_deref().map(Vec::as_slice));
                Ok(self.sasl(exchange, step))
            }
            Verb::PubKey => self.asked(AskedFor::Key, args),
            Verb::XKeyInfo => self.asked(AskedFor::Chain, args),
            Verb::GetSalt => {
                parse::nothing(args)?;
                Ok(Some(self.ask(Asking::Other, Event::Key(KeyCommand::GetSalt))))
            }
            Verb::RstSalt => {
                parse::nothing(args)?;
                Ok(Some(self.ask(Asking::Other, Event::Key(KeyCommand::RstSalt))))
            }
            Verb::SetPubKey => {
                let command = parse::set_pub_key(args)?;
                Ok(Some(self.ask(Asking::Other, Event::Key(command))))
            }
            Verb::XPasswd => {
                let command = KeyCommand::XPasswd(parse::change_password(args));
                Ok(Some(self.ask(Asking::Other, Event::Key(command))))
            }
            Verb::XEnrol => {
                if matches!(self.channel, Channel::Tls(SignedIn::HashedPass)) {
                    return Err(out_of_order("Already signed in"));
                }
                let enrol = parse::enrol(args)?;
                Ok(Some(self.ask(Asking::Other, Event::Enrol(enrol))))
            }
            // Handled by `keyring`, which reads the octets behind the line.
            Verb::XKeyring => Ok(None),
        }
    }

    fn asked(&mut self, what: AskedFor, args: &[u8]) -> Result<Option<Event>, Reply> {
        let asked = parse::asked(what, args)?;
        Ok(Some(self.ask(Asking::Other, Event::Asked(asked))))
    }

    fn keyring(&mut self, args: &[u8], lack: Option<Reply>) -> Option<Event> {
        match (parse::keyring(args), lack) {
            (Err(reply), _) => self.fail(&reply),
            (Ok(KeyringCommand::Store { len, .. }), Some(lack)) => {
                self.mode = Mode::Drop { left: len as u64, then: lack };
                None
            }
            (Ok(KeyringCommand::Fetch), Some(lack)) => self.fail(&lack),
            (Ok(KeyringCommand::Fetch), None) => {
                Some(self.ask(Asking::Other, Event::Key(KeyCommand::FetchKeyring)))
            }
            (Ok(KeyringCommand::Store { replaces, len }), None) => {
                self.mode = Mode::Keyring { replaces, len };
                None
            }
        }
    }

    fn bdat(&mut self, chunk: Chunk) {
        let limit = self.settings.message_size;
        let refusal = match &self.transaction {
            None => Some(out_of_order("No mail transaction is open; send MAIL first")),
            Some(t) if t.recipients == 0 => Some(out_of_order("No valid recipients")),
            Some(_) => None,
        };
        self.mode = match (refusal, &mut self.transaction) {
            (None, Some(t)) => {
                t.chunks.get_or_insert_with(|| Judge::new(limit)).expect(chunk.len);
                Mode::Chunk { left: chunk.len, last: chunk.last }
            }
            // Longer than any message that is taken here: it is not waited for.
            (Some(refusal), _) if chunk.len > body::read_max(limit) => {
                self.fail(&refusal);
                if !matches!(self.mode, Mode::Closed) {
                    self.close(&without_end());
                }
                return;
            }
            // RFC 3030 §2: the octets of a refused BDAT are read all the same.
            (refusal, _) => Mode::Drop {
                left: chunk.len,
                then: refusal.unwrap_or_else(|| out_of_order("No mail transaction is open")),
            },
        };
    }

    fn ehlo(&self) -> Reply {
        let mut lines = vec![
            self.settings.hostname.clone(),
            "PIPELINING".into(),
            format!("SIZE {}", self.settings.message_size),
            "8BITMIME".into(),
            "ENHANCEDSTATUSCODES".into(),
            "SMTPUTF8".into(),
            "CHUNKING".into(),
        ];
        lines.push(match self.channel {
            Channel::Clear => "STARTTLS".into(),
            Channel::Tls(_) => self.mechanisms(),
        });
        if self.settings.draft {
            lines.extend(["ENCRYPTMESSAGE".into(), "SIGNMESSAGE".into(), "XSEALPOST 1".into()]);
        }
        Reply::lines(250, lines)
    }

    fn needs_hello(&self) -> Result<(), Reply> {
        if self.hello.is_some() { Ok(()) } else { Err(out_of_order("Send EHLO or HELO first")) }
    }

    fn open_transaction(&self) -> Result<&Transaction, Reply> {
        match &self.transaction {
            Some(t) if t.chunks.is_some() => Err(out_of_order("Send the rest of the chunks, or RSET")),
            Some(t) => Ok(t),
            None => Err(out_of_order("No mail transaction is open; send MAIL first")),
        }
    }
}

/// What follows such a line may be octets of a message or a keyring, and must not be read as commands.
pub(super) fn malformed_length() -> Reply {
    Reply::new(501, "5.5.4", "Malformed length of the octets that follow").and_close()
}

/// Without white space at the ends, which RFC 5321 §4.1.1 asks to tolerate before the CRLF.
fn trim(args: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = args.iter().position(|b| !blank(b)).unwrap_or(args.len());
    let end = args.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &args[start..end]
}
