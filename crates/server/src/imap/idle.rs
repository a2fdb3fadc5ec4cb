//! IDLE (RFC 2177): changes are told as they happen, until DONE.

use super::session::{Done, Event, IDLE_TIMEOUT, Refusal, Session, ok};
use sealpost_proto::imap::Received;
use tokio::time::Instant;

impl Session {
    pub(super) async fn idle(&mut self) -> Result<Done, Refusal> {
        self.account()?;
        self.out.extend_from_slice(b"+ idling\r\n");
        let end = Instant::now() + IDLE_TIMEOUT;
        loop {
            self.updates(true).await;
            if self.over {
                return Err(Refusal::Silent);
            }
            self.flush().await?;
            if let Some(conn) = &mut self.conn {
                match self.receiver.receive(&mut conn.input) {
                    Received::More => {}
                    Received::Whole => {
                        let line = self.receiver.take();
                        return if line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") {
                            ok("IDLE done")
                        } else {
                            Err(Refusal::Bad("expected DONE".to_owned()))
                        };
                    }
                    Received::TooLong => {
                        drop(self.receiver.take());
                        return Err(Refusal::Bad("expected DONE".to_owned()));
                    }
                    Received::Endless => return Err(Refusal::endless()),
                    Received::Literal(head) => {
                        if self.drop_literal(head) {
                            return Err(Refusal::Bad("expected DONE".to_owned()));
                        }
                        return if self.over {
                            Err(Refusal::Silent)
                        } else {
                            Err(Refusal::Bad("expected DONE".into()))
                        };
                    }
                }
            }
            let silence = end.saturating_duration_since(Instant::now());
            // What may change is taken out for the wait: both it and the connection are waited for.
            let (mut view, mut heard) = (self.selected.take(), self.heard.take());
            let event = {
                let changed = async {
                    match (&mut view, &mut heard) {
                        // Both see every change in the account.
                        (Some(view), _) => view.changed().await,
                        (None, Some(heard)) => heard.changed().await,
                        (None, None) => std::future::pending().await,
                    }
                };
                tokio::select! {
                    event = self.wait(silence) => Some(event),
                    () = changed => None,
                }
            };
            (self.selected, self.heard) = (view, heard);
            let Some(event) = event.transpose()? else { continue };
            if matches!(event, Event::End) {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            if let Some(text) = event.bye() {
                return Err(Refusal::Bye(text.to_owned()));
            }
        }
    }
}
